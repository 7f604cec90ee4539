//! The shapes a value can have: how each is read from TOML, what is wrong with it, and how it is written back.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::{Enabled, FileSource, Interfaces, units};
use crate::sighting::Points;
use crate::target::Target;

/// A value where it stands in the file.
pub(crate) type Input<'a, 'i> = &'a Spanned<DeValue<'i>>;

/// What is wrong with a value, and at which byte of the file.
pub(crate) type Wrong = (usize, String);

/// One shape.
pub(crate) trait Shape {
    /// What it is read into.
    type Value;

    /// Reads it; everything that is wrong otherwise.
    fn read(&self, input: Input<'_, '_>) -> Result<Self::Value, Vec<Wrong>>;

    /// As TOML that [`Shape::read`] reads back.
    fn show(&self, value: &Self::Value) -> String;
}

/// `true` or `false`.
pub(crate) struct Flag;

impl Shape for Flag {
    type Value = bool;

    fn read(&self, input: Input<'_, '_>) -> Result<bool, Vec<Wrong>> {
        input.get_ref().as_bool().ok_or_else(|| mistyped(input, "true or false"))
    }

    fn show(&self, value: &bool) -> String {
        value.to_string()
    }
}

/// A whole number within bounds.
pub(crate) struct Whole(pub(crate) RangeInclusive<u64>);

impl Whole {
    fn number(&self, input: Input<'_, '_>) -> Result<u64, Vec<Wrong>> {
        let expected = format!("a whole number from {} to {}", self.0.start(), self.0.end());
        let DeValue::Integer(integer) = input.get_ref() else {
            return Err(mistyped(input, &expected));
        };
        u64::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .filter(|number| self.0.contains(number))
            .ok_or_else(|| wrong(input, format!("{integer} is out of range: {expected}")))
    }
}

impl Shape for Whole {
    type Value = usize;

    fn read(&self, input: Input<'_, '_>) -> Result<usize, Vec<Wrong>> {
        self.number(input).map(|number| number as usize)
    }

    fn show(&self, value: &usize) -> String {
        value.to_string()
    }
}

/// A whole number that is kept in 32 bits.
pub(super) struct Whole32(pub(super) RangeInclusive<u64>);

impl Shape for Whole32 {
    type Value = u32;

    fn read(&self, input: Input<'_, '_>) -> Result<u32, Vec<Wrong>> {
        Whole(self.0.clone()).number(input).map(|number| number as u32)
    }

    fn show(&self, value: &u32) -> String {
        value.to_string()
    }
}

/// Points, with up to three decimals.
pub(crate) struct Score(pub(crate) RangeInclusive<f64>);

impl Shape for Score {
    type Value = Points;

    fn read(&self, input: Input<'_, '_>) -> Result<Points, Vec<Wrong>> {
        let points = decimal(input, &self.0)?;
        Points::from_f64(points).ok_or_else(|| wrong(input, "out of range".into()))
    }

    fn show(&self, value: &Points) -> String {
        value.as_f64().to_string()
    }
}

/// A share from 0 to 1, kept in thousandths.
pub(super) struct Share;

impl Shape for Share {
    type Value = u32;

    fn read(&self, input: Input<'_, '_>) -> Result<u32, Vec<Wrong>> {
        Ok((decimal(input, &(0.0..=1.0))? * 1000.0).round() as u32)
    }

    fn show(&self, value: &u32) -> String {
        (f64::from(*value) / 1000.0).to_string()
    }
}

/// A duration within bounds, given in seconds.
pub(crate) struct Span(pub(crate) RangeInclusive<u64>);

impl Shape for Span {
    type Value = Duration;

    fn read(&self, input: Input<'_, '_>) -> Result<Duration, Vec<Wrong>> {
        let duration = with_unit(input, "a duration", "\"90s\", \"10m\" or \"1h 30m\"", units::duration)?;
        let (least, most) = (Duration::from_secs(*self.0.start()), Duration::from_secs(*self.0.end()));
        if (least..=most).contains(&duration) {
            return Ok(duration);
        }
        let (least, most) = (units::show_duration(least), units::show_duration(most));
        Err(wrong(input, format!("out of range: from {least} to {most}")))
    }

    fn show(&self, value: &Duration) -> String {
        quoted(&units::show_duration(*value))
    }
}

/// The length of a ban: a duration, or `"permanent"` (also 0) for good.
pub(crate) struct BanLength;

impl Shape for BanLength {
    type Value = Option<Duration>;

    fn read(&self, input: Input<'_, '_>) -> Result<Option<Duration>, Vec<Wrong>> {
        match input.get_ref() {
            DeValue::String(text) if text == "permanent" => Ok(None),
            DeValue::Integer(integer) if integer.as_str() == "0" => Ok(None),
            _ => Span(1..=100 * 365 * 86_400).read(input).map(Some),
        }
    }

    fn show(&self, value: &Option<Duration>) -> String {
        value.map_or_else(|| quoted("permanent"), |length| quoted(&units::show_duration(length)))
    }
}

/// A size in bytes up to a bound.
pub(super) struct Size(pub(super) RangeInclusive<u64>);

impl Shape for Size {
    type Value = u64;

    fn read(&self, input: Input<'_, '_>) -> Result<u64, Vec<Wrong>> {
        let size = with_unit(input, "a size", "\"512B\", \"64KiB\" or \"10MiB\"", units::size)?;
        if self.0.contains(&size) {
            return Ok(size);
        }
        let (least, most) = (units::show_size(*self.0.start()), units::show_size(*self.0.end()));
        Err(wrong(input, format!("out of range: {least} to {most}")))
    }

    fn show(&self, value: &u64) -> String {
        quoted(&units::show_size(*value))
    }
}

/// One of some words.
pub(super) struct Choice<T: 'static>(pub(super) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq> Shape for Choice<T> {
    type Value = T;

    fn read(&self, input: Input<'_, '_>) -> Result<T, Vec<Wrong>> {
        let names: Vec<_> = self.0.iter().map(|(name, _)| *name).collect();
        let text = text(input, &format!("one of {}", names.join(", ")))?;
        self.0.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
            let hint = super::load::did_you_mean(text, names.iter().copied(), '"');
            wrong(input, format!("\"{text}\" is none of {}{hint}", names.join(", ")))
        })
    }

    fn show(&self, value: &T) -> String {
        let name = self.0.iter().find(|(_, known)| known == value).map_or("", |(name, _)| name);
        quoted(name)
    }
}

/// An absolute path.
pub(crate) struct Absolute;

impl Shape for Absolute {
    type Value = PathBuf;

    fn read(&self, input: Input<'_, '_>) -> Result<PathBuf, Vec<Wrong>> {
        let text = text(input, "an absolute path")?;
        if text.starts_with('/') && !text.contains('\0') {
            return Ok(PathBuf::from(text));
        }
        Err(wrong(input, format!("\"{text}\" is not an absolute path: it must begin with /")))
    }

    fn show(&self, value: &PathBuf) -> String {
        quoted(&value.to_string_lossy())
    }
}

/// A name of letters, digits, `_`, `-`, `.`, `@`, up to a length.
pub(crate) struct Name(pub(crate) usize);

impl Shape for Name {
    type Value = String;

    fn read(&self, input: Input<'_, '_>) -> Result<String, Vec<Wrong>> {
        let text = text(input, "a name")?;
        let known = |c: char| c.is_ascii_alphanumeric() || "_-.@".contains(c);
        if !text.is_empty() && text.len() <= self.0 && text.chars().all(known) {
            return Ok(text.to_owned());
        }
        Err(wrong(
            input,
            format!("{text:?} is not a name of up to {} letters, digits, `_`, `-`, `.` or `@`", self.0),
        ))
    }

    fn show(&self, value: &String) -> String {
        quoted(value)
    }
}

/// An address or CIDR prefix.
pub(crate) struct Net;

impl Shape for Net {
    type Value = Target;

    fn read(&self, input: Input<'_, '_>) -> Result<Target, Vec<Wrong>> {
        let text = text(input, "an address or CIDR prefix")?;
        text.parse().map_err(|error: crate::target::ParseTargetError| wrong(input, error.to_string()))
    }

    fn show(&self, value: &Target) -> String {
        quoted(&value.to_string())
    }
}

/// An address with a port, or `"off"`.
pub(crate) struct Listen;

impl Shape for Listen {
    type Value = Option<SocketAddr>;

    fn read(&self, input: Input<'_, '_>) -> Result<Option<SocketAddr>, Vec<Wrong>> {
        let text = text(input, "an address with a port, or \"off\"")?;
        if text == "off" {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| {
            let example = "\"127.0.0.1:19187\", \"[::1]:19187\" or \"off\"";
            wrong(input, format!("\"{text}\" is not an address with a port: write {example}"))
        })
    }

    fn show(&self, value: &Option<SocketAddr>) -> String {
        value.map_or_else(|| quoted("off"), |address| quoted(&address.to_string()))
    }
}

/// A name server: an address, with a port if it is not 53.
pub(super) struct NameServer;

impl Shape for NameServer {
    type Value = SocketAddr;

    fn read(&self, input: Input<'_, '_>) -> Result<SocketAddr, Vec<Wrong>> {
        let text = text(input, "an address of a name server")?;
        let alone = || Some(SocketAddr::new(text.parse().ok()?, NAME_SERVER_PORT));
        text.parse().ok().or_else(alone).ok_or_else(|| {
            let example = "\"192.0.2.53\", \"[2001:db8::53]:5353\"";
            wrong(input, format!("\"{text}\" is not the address of a name server: write {example}"))
        })
    }

    fn show(&self, value: &SocketAddr) -> String {
        quoted(&if value.port() == NAME_SERVER_PORT { value.ip().to_string() } else { value.to_string() })
    }
}

/// Where name servers listen (RFC 1035, 4.2).
const NAME_SERVER_PORT: u16 = 53;

/// The inner shape, or an empty text for none.
pub(super) struct OrEmpty<S>(pub(super) S);

impl<S: Shape> Shape for OrEmpty<S> {
    type Value = Option<S::Value>;

    fn read(&self, input: Input<'_, '_>) -> Result<Self::Value, Vec<Wrong>> {
        if input.get_ref().as_str() == Some("") { Ok(None) } else { self.0.read(input).map(Some) }
    }

    fn show(&self, value: &Self::Value) -> String {
        value.as_ref().map_or_else(|| quoted(""), |value| self.0.show(value))
    }
}

/// A list of the inner shape with at least so many items.
pub(crate) struct List<S>(pub(crate) S, pub(crate) usize);

impl<S: Shape> Shape for List<S> {
    type Value = Vec<S::Value>;

    fn read(&self, input: Input<'_, '_>) -> Result<Self::Value, Vec<Wrong>> {
        let Some(items) = input.get_ref().as_array() else {
            return Err(mistyped(input, "a list in [ ]"));
        };
        if items.len() < self.1 {
            return Err(wrong(input, format!("the list needs at least {} item", self.1)));
        }
        gather(items.iter().map(|item| self.0.read(item)))
    }

    fn show(&self, value: &Self::Value) -> String {
        let items: Vec<_> = value.iter().map(|item| self.0.show(item)).collect();
        format!("[{}]", items.join(", "))
    }
}

/// `"auto"`, or a list of interface names.
pub(super) struct InterfaceNames;

/// `IFNAMSIZ` without the terminating NUL (`include/uapi/linux/if.h`).
const INTERFACE_NAME: usize = 15;

impl Shape for InterfaceNames {
    type Value = Interfaces;

    fn read(&self, input: Input<'_, '_>) -> Result<Interfaces, Vec<Wrong>> {
        match input.get_ref() {
            DeValue::String(text) if text == "auto" => Ok(Interfaces::Auto),
            DeValue::Array(_) => List(Name(INTERFACE_NAME), 1).read(input).map(Interfaces::Named),
            DeValue::String(text) => {
                Err(wrong(input, format!("write \"auto\" or a list, like [{}]", quoted(text))))
            }
            _ => Err(mistyped(input, "\"auto\" or a list of interface names")),
        }
    }

    fn show(&self, value: &Interfaces) -> String {
        match value {
            Interfaces::Auto => quoted("auto"),
            Interfaces::Named(names) => List(Name(INTERFACE_NAME), 1).show(names),
        }
    }
}

/// `"all"`, or a list of names of filters.
pub(super) struct FilterNames;

/// Bytes of a filter's name.
const FILTER_NAME: usize = 64;

impl Shape for FilterNames {
    type Value = Enabled;

    fn read(&self, input: Input<'_, '_>) -> Result<Enabled, Vec<Wrong>> {
        match input.get_ref() {
            DeValue::String(text) if text == "all" => Ok(Enabled::All),
            DeValue::Array(_) => List(Name(FILTER_NAME), 0).read(input).map(Enabled::Named),
            DeValue::String(text) => {
                Err(wrong(input, format!("write \"all\" or a list, like [{}]", quoted(text))))
            }
            _ => Err(mistyped(input, "\"all\" or a list of names of filters")),
        }
    }

    fn show(&self, value: &Enabled) -> String {
        match value {
            Enabled::All => quoted("all"),
            Enabled::Named(names) => List(Name(FILTER_NAME), 0).show(names),
        }
    }
}

/// A log file: its path, or a table with `path` and more.
pub(super) struct LogFile;

impl Shape for LogFile {
    type Value = FileSource;

    fn read(&self, input: Input<'_, '_>) -> Result<FileSource, Vec<Wrong>> {
        let table = match input.get_ref() {
            DeValue::String(_) => {
                let path = Absolute.read(input)?;
                return Ok(FileSource { path, journal_copy: false, filters: Vec::new() });
            }
            DeValue::Table(table) => table,
            _ => return Err(mistyped(input, "a path, or { path = \"…\", journal_copy = true }")),
        };
        let mut faults = Vec::new();
        let (mut path, mut journal_copy, mut filters) = (None, false, Vec::new());
        for (key, value) in table {
            let read = match key.get_ref().as_ref() {
                "path" => Absolute.read(value).map(|read| path = Some(read)),
                "journal_copy" => Flag.read(value).map(|read| journal_copy = read),
                "filters" => List(Name(FILTER_NAME), 1).read(value).map(|read| filters = read),
                other => Err(vec![(
                    key.span().start,
                    super::load::unknown_name(other, ["path", "journal_copy", "filters"]),
                )]),
            };
            faults.extend(read.err().into_iter().flatten());
        }
        match path {
            Some(_) if journal_copy && !filters.is_empty() => Err(wrong(
                input,
                "a service's own file (`filters`) is no copy of the journal (`journal_copy`)".into(),
            )),
            Some(path) if faults.is_empty() => Ok(FileSource { path, journal_copy, filters }),
            None if faults.is_empty() => Err(wrong(input, "`path` is missing".into())),
            _ => Err(faults),
        }
    }

    fn show(&self, value: &FileSource) -> String {
        let path = Absolute.show(&value.path);
        if value.journal_copy {
            return format!("{{ path = {path}, journal_copy = true }}");
        }
        if value.filters.is_empty() {
            return path;
        }
        format!("{{ path = {path}, filters = {} }}", List(Name(FILTER_NAME), 1).show(&value.filters))
    }
}

/// All values, or all faults.
pub(crate) fn gather<T>(results: impl Iterator<Item = Result<T, Vec<Wrong>>>) -> Result<Vec<T>, Vec<Wrong>> {
    let (mut values, mut faults) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(value) => values.push(value),
            Err(more) => faults.extend(more),
        }
    }
    if faults.is_empty() { Ok(values) } else { Err(faults) }
}

pub(crate) fn text<'a>(input: Input<'a, '_>, expected: &str) -> Result<&'a str, Vec<Wrong>> {
    input.get_ref().as_str().ok_or_else(|| mistyped(input, expected))
}

fn decimal(input: Input<'_, '_>, range: &RangeInclusive<f64>) -> Result<f64, Vec<Wrong>> {
    let expected = format!("a number from {} to {}", range.start(), range.end());
    let number = match input.get_ref() {
        DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str().parse().ok(),
        DeValue::Float(float) => float.as_str().parse().ok(),
        _ => return Err(mistyped(input, &expected)),
    };
    number
        .filter(|number| range.contains(number))
        .ok_or_else(|| wrong(input, format!("out of range: {expected}")))
}

fn with_unit<T>(
    input: Input<'_, '_>,
    what: &str,
    examples: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<T, Vec<Wrong>> {
    match input.get_ref() {
        DeValue::String(text) => parse(text).map_err(|message| wrong(input, message)),
        DeValue::Integer(number) => {
            Err(wrong(input, format!("{number} has no unit: {what} is written like {examples}")))
        }
        _ => Err(mistyped(input, &format!("{what} like {examples}"))),
    }
}

pub(crate) fn mistyped(input: Input<'_, '_>, expected: &str) -> Vec<Wrong> {
    let found = match input.get_ref() {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    wrong(input, format!("expected {expected}, found {found}"))
}

pub(crate) fn wrong(input: Input<'_, '_>, message: String) -> Vec<Wrong> {
    vec![(input.span().start, message)]
}

/// A TOML basic string.
pub(crate) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
