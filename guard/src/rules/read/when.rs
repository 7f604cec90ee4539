//! Conditions. The keys of one table must all hold; of a list of values one is enough.

use toml::Spanned;
use toml::de::DeValue;

use super::{Room, each, unknown};
use crate::config::shape::{Input, Name, Net, Shape, Wrong, gather, mistyped, text, wrong};
use crate::rules::addresses::AddressSet;
use crate::rules::condition::{Condition, bit};
use crate::rules::limits::{MAX_ALL_REGEX, MAX_CONDITIONS, MAX_DEPTH, MAX_TEXT};
use crate::rules::pattern::Patterns;
use crate::rules::texts::Texts;
use crate::sighting::Kind;
use crate::target::Target;

/// Keys of a condition.
const KEYS: [&str; 14] = [
    "all", "any", "not", "pattern", "user", "service", "filter", "kind", "ip", "cidr", "country", "asn",
    "path", "status",
];

/// Reads a condition.
pub(super) fn read(input: Input<'_, '_>, room: &mut Room) -> Result<Condition, Vec<Wrong>> {
    table(input, room, 0)
}

fn table(input: Input<'_, '_>, room: &mut Room, depth: usize) -> Result<Condition, Vec<Wrong>> {
    let Some(table) = input.get_ref().as_table() else {
        return Err(mistyped(
            input,
            "a table of conditions, like { filter = \"sshd\", user = [\"root\", \"admin\"] }",
        ));
    };
    if depth >= MAX_DEPTH {
        return Err(wrong(input, format!("conditions stand inside each other more than {MAX_DEPTH} deep")));
    }
    if table.is_empty() {
        let reason = "an empty condition; a rule for every sighting has no `when`";
        return Err(wrong(input, reason.into()));
    }
    let (mut parts, mut faults) = (Vec::new(), Vec::new());
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        if !KEYS.contains(&name) {
            faults.push((key.span().start, unknown(name, KEYS)));
            continue;
        }
        let Some(left) = room.conditions.checked_sub(1) else {
            faults.push((key.span().start, format!("the rule has more than {MAX_CONDITIONS} conditions")));
            return Err(faults);
        };
        room.conditions = left;
        match one(name, value, room, depth) {
            Ok(part) => parts.push(part),
            Err(more) => faults.extend(super::told(&format!("`{name}`"), more)),
        }
    }
    if faults.is_empty() { Ok(Condition::all(parts)) } else { Err(faults) }
}

fn one(name: &str, value: Input<'_, '_>, room: &mut Room, depth: usize) -> Result<Condition, Vec<Wrong>> {
    match name {
        "all" => several(value, room, depth).map(Condition::all),
        "any" => several(value, room, depth).map(Condition::any),
        "not" => Ok(Condition::Not(Box::new(table(value, room, depth + 1)?))),
        "pattern" => patterns(value, room),
        "user" => texts(value, room).map(Condition::User),
        "service" => texts(value, room).map(Condition::Service),
        "path" => texts(value, room).map(Condition::Path),
        "filter" => {
            let names = values(value, room, |item| Name(64).read(item).map(String::into_boxed_str))?;
            Ok(Condition::Filter(sorted(names)))
        }
        "kind" => {
            Ok(Condition::Kind(values(value, room, kind)?.into_iter().fold(0, |all, kind| all | bit(kind))))
        }
        "ip" => Ok(Condition::Address(AddressSet::new(&values(value, room, host)?))),
        "cidr" => Ok(Condition::Address(AddressSet::new(&values(value, room, |item| Net.read(item))?))),
        "country" => Ok(Condition::Country(sorted(values(value, room, country)?))),
        "asn" => Ok(Condition::Asn(sorted(values(value, room, asn)?))),
        // The caller has looked for it among the keys.
        _ => Ok(Condition::Status(sorted(values(value, room, status)?))),
    }
}

/// A list of conditions.
fn several(input: Input<'_, '_>, room: &mut Room, depth: usize) -> Result<Vec<Condition>, Vec<Wrong>> {
    let Some(items) = input.get_ref().as_array().filter(|items| !items.is_empty()) else {
        return Err(mistyped(
            input,
            "a list of conditions, like [{ user = \"root\" }, { kind = \"probe\" }]",
        ));
    };
    gather(items.iter().map(|item| table(item, room, depth + 1)))
}

/// One value, or each of a list.
fn values<T>(
    input: Input<'_, '_>,
    room: &mut Room,
    read: impl Fn(Input<'_, '_>) -> Result<T, Vec<Wrong>>,
) -> Result<Vec<T>, Vec<Wrong>> {
    gather(each(input, room)?.iter().map(read))
}

fn sorted<T: Ord>(mut values: Vec<T>) -> Box<[T]> {
    values.sort_unstable();
    values.dedup();
    values.into()
}

fn bounded<'a>(input: Input<'a, '_>, expected: &str) -> Result<&'a str, Vec<Wrong>> {
    let text = text(input, expected)?;
    if text.len() > MAX_TEXT {
        return Err(wrong(input, format!("longer than {MAX_TEXT} bytes")));
    }
    Ok(text)
}

fn texts(input: Input<'_, '_>, room: &mut Room) -> Result<Texts, Vec<Wrong>> {
    let items = each(input, room)?;
    let texts = gather(items.iter().map(|item| bounded(item, "a text, in which `*` stands for any text")))?;
    Ok(Texts::new(texts))
}

fn patterns(input: Input<'_, '_>, room: &mut Room) -> Result<Condition, Vec<Wrong>> {
    let items: &[Spanned<DeValue<'_>>] = each(input, room)?;
    let texts = gather(items.iter().map(|item| bounded(item, "a regular expression, best in '…'")))?;
    let patterns = Patterns::new(&texts).map_err(|(at, reason)| {
        let item = items.get(at).unwrap_or(input);
        wrong(item, format!("no regular expression that can be used: {reason}"))
    })?;
    let Some(left) = room.regex.checked_sub(patterns.bytes()) else {
        let most = MAX_ALL_REGEX >> 20;
        return Err(wrong(input, format!("the regular expressions of a file take more than {most} MiB")));
    };
    room.regex = left;
    Ok(Condition::Pattern(patterns))
}

fn kind(input: Input<'_, '_>) -> Result<Kind, Vec<Wrong>> {
    let name = text(input, "the name of a kind, like \"failed-password\"")?;
    name.parse().map_err(|()| {
        let known = Kind::ALL.into_iter().map(Kind::name);
        let hint = crate::config::did_you_mean_or_known(name, known, '"');
        wrong(input, format!("\"{name}\" is no kind{hint}"))
    })
}

fn host(input: Input<'_, '_>) -> Result<Target, Vec<Wrong>> {
    let target = Net.read(input)?;
    if target.is_host() {
        return Ok(target);
    }
    Err(wrong(input, format!("{target} is a prefix: it belongs to `cidr`")))
}

fn country(input: Input<'_, '_>) -> Result<[u8; 2], Vec<Wrong>> {
    let code = text(input, "the code of a country, like \"DE\"")?;
    let letters = code.to_ascii_uppercase().into_bytes();
    let letters = <[u8; 2]>::try_from(letters).ok().filter(|code| code.iter().all(u8::is_ascii_uppercase));
    letters.ok_or_else(|| wrong(input, format!("\"{code}\" is no code of two letters, like \"DE\"")))
}

fn asn(input: Input<'_, '_>) -> Result<u32, Vec<Wrong>> {
    let written = match input.get_ref() {
        DeValue::Integer(number) if number.radix() == 10 => number.as_str(),
        DeValue::String(text) => text.strip_prefix("AS").unwrap_or(text),
        _ => return Err(mistyped(input, "the number of a network, like 64500 or \"AS64500\"")),
    };
    let digits = !written.is_empty() && written.bytes().all(|b| b.is_ascii_digit());
    written.parse().ok().filter(|_| digits).ok_or_else(|| {
        wrong(input, format!("\"{written}\" is no number of a network, like 64500 or \"AS64500\""))
    })
}

/// `404`, `"4xx"` or `"500-503"`.
fn status(input: Input<'_, '_>) -> Result<(u16, u16), Vec<Wrong>> {
    let number = |text: &str| {
        let three = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| three)
    };
    let range = match input.get_ref() {
        DeValue::Integer(integer) if integer.radix() == 10 => number(integer.as_str()).map(|one| (one, one)),
        DeValue::String(text) => match (text.strip_suffix("xx"), text.split_once('-')) {
            (Some(class), _) => number(&format!("{class}00")).map(|first| (first, first + 99)),
            (None, Some((first, last))) => {
                number(first).zip(number(last)).filter(|(first, last)| first <= last)
            }
            (None, None) => number(text).map(|one| (one, one)),
        },
        _ => return Err(mistyped(input, "a status like 404, \"4xx\" or \"500-503\"")),
    };
    range.ok_or_else(|| wrong(input, "no status: write 404, \"4xx\" or \"500-503\"".into()))
}
