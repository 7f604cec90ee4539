//! What the configuration allows: a target, until when, and why.

use toml::de::DeValue;

use super::shape::{Input, List, Shape, Wrong, mistyped, quoted, text, wrong};
use crate::encode::printable;
use crate::target::{Allowable, ParseAllowableError, Target};
use crate::time::Wall;

/// Characters of a comment.
const COMMENT: usize = 200;

/// Milliseconds of a day.
const DAY: i64 = 86_400_000;

/// Names that may be allowed: each is a question to a server now and then.
pub const MAX_NAMES: usize = 256;

/// A target, or the addresses of a name, that may pass, as the configuration says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// The target or name.
    pub target: Allowable,
    /// Until when; `None`: as long as it stands there.
    pub until: Option<Wall>,
    /// Why.
    pub comment: String,
}

impl From<Target> for Allowance {
    fn from(target: Target) -> Self {
        Allowable::Target(target).into()
    }
}

impl From<Allowable> for Allowance {
    fn from(target: Allowable) -> Self {
        Self { target, until: None, comment: String::new() }
    }
}

/// All of them.
pub(super) struct Allowances;

impl Shape for Allowances {
    type Value = Vec<Allowance>;

    fn read(&self, input: Input<'_, '_>) -> Result<Vec<Allowance>, Vec<Wrong>> {
        let all = List(Allowed, 0).read(input)?;
        let names = all.iter().filter(|allowance| matches!(allowance.target, Allowable::Name(_))).count();
        if names > MAX_NAMES {
            return Err(wrong(input, format!("{names} names: at most {MAX_NAMES} can be kept current")));
        }
        Ok(all)
    }

    fn show(&self, value: &Vec<Allowance>) -> String {
        List(Allowed, 0).show(value)
    }
}

/// An address, CIDR prefix or name.
struct What;

impl Shape for What {
    type Value = Allowable;

    fn read(&self, input: Input<'_, '_>) -> Result<Allowable, Vec<Wrong>> {
        let text = text(input, "an address, CIDR prefix or name")?;
        text.parse().map_err(|error: ParseAllowableError| wrong(input, error.to_string()))
    }

    fn show(&self, value: &Allowable) -> String {
        quoted(&value.to_string())
    }
}

/// A target or name, or a table with `target` and more.
struct Allowed;

impl Shape for Allowed {
    type Value = Allowance;

    fn read(&self, input: Input<'_, '_>) -> Result<Allowance, Vec<Wrong>> {
        let table = match input.get_ref() {
            DeValue::String(_) => return What.read(input).map(Allowance::from),
            DeValue::Table(table) => table,
            _ => {
                let expected =
                    "an address, CIDR prefix or name, or { target = \"…\", until = \"…\", comment = \"…\" }";
                return Err(mistyped(input, expected));
            }
        };
        let mut faults = Vec::new();
        let (mut target, mut until, mut comment) = (None, None, String::new());
        for (key, value) in table {
            let read = match key.get_ref().as_ref() {
                "target" => What.read(value).map(|read| target = Some(read)),
                "until" => end(value).map(|read| until = Some(read)),
                "comment" => text(value, "a text").map(|read| comment = printable(read.as_bytes(), COMMENT)),
                other => Err(vec![(
                    key.span().start,
                    super::load::unknown_name(other, ["target", "until", "comment"]),
                )]),
            };
            faults.extend(read.err().into_iter().flatten());
        }
        match target {
            Some(target) if faults.is_empty() => Ok(Allowance { target, until, comment }),
            None if faults.is_empty() => Err(wrong(input, "`target` is missing".into())),
            _ => Err(faults),
        }
    }

    fn show(&self, value: &Allowance) -> String {
        let target = What.show(&value.target);
        if value.until.is_none() && value.comment.is_empty() {
            return target;
        }
        let until = value.until.map(|until| format!("until = {}", quoted(&until.to_string())));
        let comment = (!value.comment.is_empty()).then(|| format!("comment = {}", quoted(&value.comment)));
        let parts: Vec<_> =
            [Some(format!("target = {target}")), until, comment].into_iter().flatten().collect();
        format!("{{ {} }}", parts.join(", "))
    }
}

/// An end: a time with its zone (RFC 3339), or a day in UTC, to its end. As a text, or as TOML's own dates.
fn end(input: Input<'_, '_>) -> Result<Wall, Vec<Wrong>> {
    let written = match input.get_ref() {
        DeValue::Datetime(time) => time.to_string(),
        _ => text(input, "a date like \"2026-12-31\" or \"2026-12-31T18:00:00Z\"")?.to_owned(),
    };
    if let Ok(day) = written.parse::<jiff::civil::Date>()
        && !written.contains([':', 'T', ' '])
        && let Ok(start) = day.to_zoned(jiff::tz::TimeZone::UTC)
    {
        return Ok(Wall(start.timestamp().as_millisecond() + DAY));
    }
    written.parse().map_err(|()| {
        let like =
            "write it like \"2026-12-31\" (to the end of that day in UTC) or \"2026-12-31T18:00:00+01:00\"";
        wrong(input, format!("\"{written}\" is not a date: {like}"))
    })
}
