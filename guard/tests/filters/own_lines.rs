//! Lines of services' own files, read a second time: the stamp cut off by plain expressions, or the record taken apart
//! by another JSON library, and then by the slow reading of the patterns.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use guard::scan::{FilterSet, Mode, Scanner, shipped};
use jiff::tz::TimeZone;
use proptest::prelude::*;
use regex_automata::meta::Regex;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::{Case, NOW, corpora, hostile_text, reference};

/// Notations of stamps as they may stand bare or in brackets, each with the longest reading first.
static STAMPS: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let (day, clock, fraction) = (r"\d{4}-\d\d-\d\d", r"\d\d:\d\d:\d\d", r"(?:[.,]\d{1,9})?");
    let offset = r"[+-]\d\d(?::?\d\d)?";
    let zone = format!("(?: (?:{offset}|Z|UTC|GMT|CES?T|[EP][SD]T))");
    [
        format!(r"[A-Z][a-z]{{2}} [ \d]\d {clock}"),
        format!(r"{day}[Tt]{clock}{fraction}(?:[Zz]|{offset})?"),
        format!(r"{day} {clock}{fraction}(?:[Zz]|{offset})?{zone}"),
        format!(r"{day} {clock}{fraction}(?:[Zz]|{offset})?"),
        format!(r"{day}  \d:\d\d:\d\d{fraction}{zone}"),
        format!(r"{day}  \d:\d\d:\d\d{fraction}"),
        format!(r"\d{{4}}/\d\d/\d\d {clock}{fraction}"),
        format!(r"\d\d/[A-Z][a-z]{{2}}/\d{{4}}:{clock}{fraction} {offset}"),
        format!(r"\d\d/[A-Z][a-z]{{2}}/\d{{4}}:{clock}{fraction}"),
        format!(r"\d\d-[A-Z][a-z]{{2}}-\d{{4}} {clock}{fraction}{zone}"),
        format!(r"\d\d-[A-Z][a-z]{{2}}-\d{{4}} {clock}{fraction}"),
        format!(r"[A-Z][a-z]{{2}} [A-Z][a-z]{{2}} [ \d]\d {clock}{fraction}{zone}? \d{{4}}"),
        r"\d{6} [ \d]\d:\d\d:\d\d".to_owned(),
        r"\d{10}(?:[.,]\d{1,9})?".to_owned(),
        r"\d{13}".to_owned(),
    ]
    .iter()
    .map(|notation| Regex::builder().syntax(bytes()).build(&format!(r"^\[?(?-u:{notation})")).unwrap())
    .collect()
});

fn bytes() -> regex_automata::util::syntax::Config {
    regex_automata::util::syntax::Config::new().unicode(false).utf8(false)
}

/// What follows a stamp, its bracket and blanks.
pub(crate) fn behind_stamp(text: &[u8]) -> Option<&[u8]> {
    STAMPS.iter().find_map(|notation| {
        let end = notation.find(text)?.end();
        let rest = &text[end..];
        let is_part = |b: &u8| b.is_ascii_alphanumeric() || b".-+_".contains(b) || !b.is_ascii();
        if rest.first().is_some_and(is_part) {
            return None;
        }
        let rest = if text[0] == b'[' { rest.strip_prefix(b"]").unwrap_or(rest) } else { rest };
        let blanks = rest.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
        Some(&rest[blanks..])
    })
}

/// Program and message behind a syslog header with one of the two common stamps; the host may be left out.
fn behind_header(line: &[u8]) -> Option<(String, &[u8])> {
    static HEADER: LazyLock<Regex> = LazyLock::new(|| {
        let stamp = r"(?:[A-Z].. .. ..:..:..|\d.{9}T[^ ]{8,28})";
        let tag = r"(?:[^ ]*[^ :] |)([^ ]+?)(?:\[(\d{1,10})\])?: ";
        Regex::builder().syntax(bytes()).build(&format!("^{stamp} {tag}")).unwrap()
    });
    let mut groups = HEADER.create_captures();
    HEADER.captures(line, &mut groups);
    let identifier = &line[groups.get_group(1)?.range()];
    Some((String::from_utf8(identifier.to_vec()).ok()?, &line[groups.get_group(0)?.end..]))
}

/// Different addresses in a line of a filter's own file: as what a program gave to a syslog daemon, as such a message
/// with a stamp of its own, as a stamp and text.
fn stamped(filter: &str, line: &[u8]) -> Vec<IpAddr> {
    let message = behind_header(line).filter(|(identifier, _)| reference::reads(filter, identifier));
    let message = message.map(|(_, message)| message);
    let texts = [message, message.and_then(behind_stamp), behind_stamp(line)];
    let mut found = texts.into_iter().flatten().map(|text| reference::addresses_of(filter, text));
    found.find(|addresses| !addresses.is_empty()).unwrap_or_default()
}

/// Fields that say when a record was written.
const TIMES: [&str; 9] =
    ["time", "ts", "timestamp", "@timestamp", "t", "datetime", "time_local", "time_iso8601", "StartUTC"];

/// The names and values of an object, with those that come twice.
struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Pairs;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Pairs, M::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// Different addresses in a line of JSON. Bytes that are no UTF-8 may stand in a string.
fn record(filter: &str, line: &[u8]) -> Vec<IpAddr> {
    let text = String::from_utf8_lossy(line);
    let Ok(Pairs(pairs)) = serde_json::from_str(&text) else { return Vec::new() };
    // Of a name that matters and comes twice nobody can tell which is meant.
    let is_asked = |name: &str| TIMES.contains(&name) || reference::asks(filter, name);
    let mut names: Vec<_> =
        pairs.iter().map(|(name, _)| name.as_str()).filter(|name| is_asked(name)).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Vec::new();
    }
    reference::addresses_in(filter, |name| match &pairs.iter().find(|(known, _)| known == name)?.1 {
        Value::String(text) => Some(text.clone()),
        Value::Object(_) | Value::Array(_) => None,
        other => Some(other.to_string()),
    })
}

/// Cases that are lines of their own, of filters whose files have this format.
fn lines(format: &str) -> Vec<Case> {
    let is_of = |name: &str| {
        let filter = shipped().into_iter().find(|filter| filter.name == name).unwrap();
        filter.text.contains(&format!("\nformat = \"{format}\""))
    };
    let of_format = corpora().into_iter().filter(|(name, _)| is_of(name));
    of_format.flat_map(|(_, cases)| cases).filter(|case| case.line.is_some()).collect()
}

/// A scanner of a filter's own file.
fn scanner(filter: &str) -> Scanner {
    static SCANNERS: LazyLock<BTreeMap<String, Scanner>> = LazyLock::new(|| {
        let all = FilterSet::compile(&shipped(), Mode::Aggressive).unwrap();
        let of = |name: String| {
            let set = all.for_own_files(&all.numbers(std::slice::from_ref(&name))).unwrap();
            (name, Scanner::with_zone(Arc::new(set), TimeZone::UTC))
        };
        shipped().into_iter().map(|filter| of(filter.name)).collect()
    });
    SCANNERS[filter].clone()
}

/// Text that tries to be another part of a record.
fn hostile_json() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: [&str; 14] = [
        r#"""#,
        r"\",
        r#"\""#,
        r"\u0022",
        r"\u00e9\n",
        r#"",""#,
        r#"","remoteAddr":"198.51.100.66"#,
        r#"","remote_ip":"198.51.100.66","ip":"198.51.100.66"#,
        r#"","remote_host":"198.51.100.66"#,
        r#"","time":"x"#,
        r#"","a":{"remoteAddr":"198.51.100.66"},"b":""#,
        r#"","a":[1,{"ip":"198.51.100.66"}],"b":"198.51.100.66"#,
        "}",
        " ",
    ];
    let piece = prop::sample::select(PIECES.to_vec()).prop_map(|piece| piece.as_bytes().to_vec());
    prop_oneof![2 => prop::collection::vec(piece, 1..4).prop_map(|pieces| pieces.concat()), 1 => hostile_text()]
}

fn mutated(case: &Case, text: &[u8], part: f64, removed: usize) -> Vec<u8> {
    let line = case.text().as_bytes();
    let at = (line.len() as f64 * part) as usize;
    [&line[..at], text, &line[(at + removed).min(line.len())..]].concat()
}

/// Compares both readings of a line. Blanks at the end are the scanner's own affair.
fn same(case: &Case, line: &[u8], readings: &[IpAddr]) -> Result<(), TestCaseError> {
    if line.trim_ascii_end().len() != line.len() || line.contains(&b'\n') {
        return Ok(());
    }
    let mut scanner = scanner(&case.filter);
    let found = scanner.line(line, NOW).map(|sighting| sighting.address);
    let text = String::from_utf8_lossy(line);
    prop_assert!(readings.len() <= 1, "two readings: {:?} in {}", readings, text);
    prop_assert_eq!(found, readings.first().copied(), "{}: {}", case.filter, text);
    Ok(())
}

#[test]
fn the_reference_reads_every_line_of_the_corpora() {
    for (format, read) in [("stamped", stamped as fn(&str, &[u8]) -> Vec<IpAddr>), ("json", record)] {
        let cases = lines(format);
        assert!(cases.len() > 100, "{} lines are {format}", cases.len());
        for case in cases {
            let readings = read(&case.filter, case.text().as_bytes());
            same(&case, case.text().as_bytes(), &readings).unwrap();
            assert_eq!(readings.first().copied(), case.address(), "{case:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_reference_reads_stamped_lines_the_same(
        case in prop::sample::select(lines("stamped")), text in hostile_text(), part in 0.0..1.0f64, removed in 0..4usize,
    ) {
        let line = mutated(&case, &text, part, removed);
        same(&case, &line, &stamped(&case.filter, &line))?;
    }

    #[test]
    fn the_reference_reads_records_the_same(
        case in prop::sample::select(lines("json")), text in hostile_json(), part in 0.0..1.0f64, removed in 0..4usize,
    ) {
        let line = mutated(&case, &text, part, removed);
        same(&case, &line, &record(&case.filter, &line))?;
    }
}
