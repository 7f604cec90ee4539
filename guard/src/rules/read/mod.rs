//! From TOML to rules, or everything that is wrong with them.

use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::limits::{MAX_ALL_REGEX, MAX_CONDITIONS, MAX_RULES, MAX_VALUES, RateLimit};
use super::rule::{Place, Rule};
use crate::config::shape::{Flag, Input, Name, Shape, Span, Whole, Wrong, mistyped, quoted, wrong};
use crate::config::{did_you_mean_or_known, units};

mod then;
mod when;

/// Bytes of a rule's name.
const NAME: usize = 64;
/// The longest window of a rate limit: 30 days.
const WINDOW: u64 = 30 * 86_400;
/// Keys of a rule.
const KEYS: [&str; 6] = ["name", "when", "then", "continue", "simulate", "rate_limit"];

/// What rules of one file may still take.
pub(super) struct Room {
    /// Conditions of the present rule.
    conditions: usize,
    /// Values of lists.
    values: usize,
    /// Bytes of compiled regular expressions.
    regex: usize,
}

/// What was read of the rules of one file.
#[derive(Default)]
pub(super) struct Read {
    /// The rules, in their order, each with where in the file it begins, in bytes.
    pub(super) rules: Vec<(usize, Rule)>,
    /// What is wrong.
    pub(super) faults: Vec<Wrong>,
}

/// Reads the list that stands under `[[rule]]`.
pub(super) fn rules(input: Input<'_, '_>) -> Read {
    let mut read = Read::default();
    let Some(items) = input.get_ref().as_array() else {
        read.faults = wrong(input, "`rule` is a list of tables: write [[rule]] on a line of its own".into());
        return read;
    };
    if items.len() > MAX_RULES {
        let many = format!(
            "{} rules, more than the {MAX_RULES} there may be; a list in one rule (`cidr`, `user`) takes many values",
            items.len()
        );
        read.faults = wrong(input, many);
        return read;
    }
    let mut room = Room { conditions: 0, values: MAX_VALUES, regex: MAX_ALL_REGEX };
    for item in items {
        match rule(item, &mut room) {
            Ok(rule) => read.rules.push((item.span().start, rule)),
            Err(faults) => read.faults.extend(faults),
        }
    }
    read
}

fn rule(input: &Spanned<DeValue<'_>>, room: &mut Room) -> Result<Rule, Vec<Wrong>> {
    let Some(table) = input.get_ref().as_table() else {
        return Err(mistyped(input, "a table: [[rule]]"));
    };
    let name = match value(table, "name").map(|value| Name(NAME).read(value)) {
        Some(Ok(name)) => name,
        Some(Err(faults)) => return Err(told("a rule's `name`", faults)),
        None => return Err(wrong(input, "a rule without a `name`: events and counters show it".into())),
    };
    room.conditions = MAX_CONDITIONS;
    let mut faults = Vec::new();
    let (mut condition, mut actions) = (super::condition::Condition::all(Vec::new()), None);
    let (mut go_on, mut simulate, mut limit) = (false, false, None);
    for (key, value) in table {
        let key_name = key.get_ref().as_ref();
        let read = match key_name {
            "name" => Ok(()),
            "when" => when::read(value, room).map(|read| condition = read),
            "then" => then::read(value).map(|read| actions = Some(read)),
            "continue" => Flag.read(value).map(|read| go_on = read),
            "simulate" => Flag.read(value).map(|read| simulate = read),
            "rate_limit" => rate_limit(value).map(|read| limit = Some(read)),
            _ => {
                faults.push((key.span().start, unknown(key_name, KEYS)));
                Ok(())
            }
        };
        faults.extend(read.err().map(|faults| told(&format!("`{key_name}`"), faults)).into_iter().flatten());
    }
    if actions.is_none() && value(table, "then").is_none() {
        faults.push((input.span().start, "`then` is missing: what is the rule to do?".into()));
    }
    let of_rule = |faults| told(&format!("rule `{name}`"), faults);
    match actions {
        Some(actions) if faults.is_empty() => {
            let what = then::refuse_forged(&actions, &condition);
            what.map_err(|reason| of_rule(wrong(input, reason)))?;
            // Who knows the file says where it stands.
            let place = Place { file: Path::new("").into(), line: 0 };
            Ok(Rule {
                text: text(table),
                name: name.into(),
                place,
                condition,
                actions,
                go_on,
                simulate,
                limit,
            })
        }
        _ => Err(of_rule(faults)),
    }
}

/// `{ max = 10, window = "1m" }`.
fn rate_limit(input: Input<'_, '_>) -> Result<RateLimit, Vec<Wrong>> {
    let Some(table) = input.get_ref().as_table() else {
        return Err(mistyped(input, "{ max = 10, window = \"1m\" }"));
    };
    let (mut max, mut window, mut faults) = (None, None, Vec::new());
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        let read = match name {
            "max" => Whole(1..=1_000_000).read(value).map(|read| max = Some(read as u32)),
            "window" => Span(1..=WINDOW).read(value).map(|read| window = Some(read)),
            _ => Err(vec![(key.span().start, unknown(name, ["max", "window"]))]),
        };
        faults.extend(read.err().into_iter().flatten());
    }
    match (max, window) {
        (Some(max), Some(window)) if faults.is_empty() => Ok(RateLimit { max, window }),
        _ if faults.is_empty() => {
            Err(wrong(input, "a rate limit needs `max` and `window`: { max = 10, window = \"1m\" }".into()))
        }
        _ => Err(faults),
    }
}

fn value<'a, 'i>(table: &'a DeTable<'i>, name: &str) -> Option<&'a Spanned<DeValue<'i>>> {
    table.iter().find(|(key, _)| key.get_ref() == name).map(|(_, value)| value)
}

/// A value by itself, or those of a list with at least one.
fn each<'a, 'i>(input: Input<'a, 'i>, room: &mut Room) -> Result<&'a [Spanned<DeValue<'i>>], Vec<Wrong>> {
    let items = match input.get_ref().as_array() {
        Some(items) => &items[..],
        None => std::slice::from_ref(input),
    };
    if items.is_empty() {
        return Err(wrong(input, "an empty list holds for nothing".into()));
    }
    let Some(left) = room.values.checked_sub(items.len()) else {
        return Err(wrong(input, format!("the rules of a file hold more than {MAX_VALUES} values")));
    };
    room.values = left;
    Ok(items)
}

/// Faults with what they are in.
fn told(of: &str, faults: Vec<Wrong>) -> Vec<Wrong> {
    faults.into_iter().map(|(at, message)| (at, format!("{of}: {message}"))).collect()
}

fn unknown<'a>(name: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> String {
    format!("unknown key `{name}`{}", did_you_mean_or_known(name, known, '`'))
}

/// The rule as TOML, but for its name: one key a line.
fn text(table: &DeTable<'_>) -> Box<str> {
    let mut out = String::new();
    for key in KEYS.iter().skip(1) {
        if let Some(value) = value(table, key) {
            out.extend([key, " = "]);
            inline(value.get_ref(), &mut out);
            out.push('\n');
        }
    }
    out.into()
}

/// A value as TOML in one line.
fn inline(value: &DeValue<'_>, out: &mut String) {
    let bracketed = |out: &mut String,
                     open: &str,
                     close: &str,
                     items: usize,
                     each: &mut dyn FnMut(usize, &mut String)| {
        out.push_str(open);
        for item in 0..items {
            if item > 0 {
                out.push_str(", ");
            }
            each(item, out);
        }
        out.push_str(close);
    };
    match value {
        DeValue::Array(items) => {
            bracketed(out, "[", "]", items.len(), &mut |at, out| inline(items[at].get_ref(), out));
        }
        DeValue::Table(table) => {
            let entries: Vec<_> = table.iter().collect();
            bracketed(out, "{ ", " }", entries.len(), &mut |at, out| {
                let (key, value) = entries[at];
                out.push_str(&bare(key.get_ref()));
                out.push_str(" = ");
                inline(value.get_ref(), out);
            });
        }
        DeValue::String(text) => out.push_str(&quoted(text)),
        DeValue::Boolean(truth) => out.push_str(if *truth { "true" } else { "false" }),
        DeValue::Integer(number) => out.push_str(&number.to_string()),
        DeValue::Float(number) => out.push_str(&number.to_string()),
        DeValue::Datetime(date) => out.push_str(&date.to_string()),
    }
}

fn bare(key: &str) -> String {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !key.is_empty() && key.chars().all(is_bare) { key.to_owned() } else { quoted(key) }
}

/// Points within what people write by hand.
fn points(input: Input<'_, '_>, least: f64) -> Result<crate::sighting::Points, Vec<Wrong>> {
    crate::config::shape::Score(least..=1000.0).read(input)
}

/// A duration as people read it.
pub(super) fn span(duration: std::time::Duration) -> String {
    units::show_duration(duration)
}
