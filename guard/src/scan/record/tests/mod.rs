//! Records of every format: real shapes, hostile ones, and JSON against `serde_json`.

mod access;
mod json;
mod logfmt;
mod plain;

use proptest::prelude::*;

use super::*;
use crate::scan::timestamp::Stamps;
use crate::time::Wall;

/// 2026-11-20T12:30:00Z.
const REFERENCE: Wall = Wall(1_795_177_800_000);

/// What a line has of these fields, and when it was written; `None` if it is no record.
fn read(format: Format, names: &[&str], line: &[u8]) -> Option<(Vec<Option<String>>, Option<String>)> {
    let mut fields = Fields::default();
    let ids: Vec<FieldId> = names.iter().map(|name| fields.id(name).unwrap()).collect();
    let mut records = Records::new(&fields);
    let record = records.read(format, line)?;
    let text = |id: &FieldId| record.get(*id).map(|text| String::from_utf8_lossy(text).into_owned());
    let at = record.stamp().and_then(|stamp| Stamps::new(jiff::tz::TimeZone::UTC).read(stamp, REFERENCE));
    Some((ids.iter().map(text).collect(), at.map(|at| at.to_string())))
}

/// The fields alone; `-` for one that is missing.
fn values(format: Format, names: &[&str], line: &str) -> Option<Vec<String>> {
    let (fields, _) = read(format, names, line.as_bytes())?;
    Some(fields.into_iter().map(|field| field.unwrap_or_else(|| "-".into())).collect())
}

#[test]
fn a_line_shows_its_format() {
    for (line, format) in [
        (r#"{"ts":1}"#, Some(Format::Json)),
        ("2026-11-20 12:00:00 text", Some(Format::Stamped)),
        ("[Fri Nov 20 12:00:00 2026] [error] text", Some(Format::Stamped)),
        ("[  123.456789] text", Some(Format::Stamped)),
        ("t=2026-11-20T12:00:00Z level=info", Some(Format::Logfmt)),
        ("level=info msg=\"a b\"", Some(Format::Logfmt)),
        ("192.0.2.1 - - [20/Nov/2026:12:00:00 +0000] \"GET / HTTP/1.1\" 200 5", Some(Format::Access)),
        ("192.0.2.1:5 [20/Nov/2026:12:00:00.123] a b/c 0/0/0 5 -- 1/1/0/0/0 0/0", Some(Format::Access)),
        ("", None),
        ("text", None),
        ("192.0.2.1 - text", None),
        ("192.0.2.1 - - [text] \"x\"", None),
        ("=1", None),
        ("a b=1", None),
    ] {
        assert_eq!(Format::of(line.as_bytes()), format, "{line}");
    }
}

#[test]
fn names_are_checked() {
    let mut fields = Fields::default();
    let first = fields.id("a.b").unwrap();
    assert_eq!(fields.id("a.b"), Some(first));
    assert_ne!(fields.id("a"), Some(first));
    for name in ["", ".", "a.", ".a", "a..b", "a.b.c.d.e.f.g.h.i"] {
        assert_eq!(fields.id(name), None, "{name}");
    }
    for number in 0..MAX_NAMES - 2 {
        assert!(fields.id(&number.to_string()).is_some());
    }
    assert_eq!(fields.id("one-too-many"), None);
}

/// Lines that look like records of any format.
fn any_line() -> impl Strategy<Value = Vec<u8>> {
    let parts = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        "\"",
        "\\",
        ":",
        ",",
        " ",
        "a",
        "request",
        "client_ip",
        "headers",
        "\"a\":",
        "\\u00e9",
        "\\x22",
        "192.0.2.1",
        "2001:db8::1",
        "192.0.2.1:80",
        "web:80 ",
        " - ",
        "- ",
        "[20/Nov/2026:12:00:00 +0000] ",
        "\"GET /a?b HTTP/1.1\"",
        " 200 612",
        " \"-\"",
        " \"agent\"",
        "key=",
        "key=\"",
        "1e5",
        "-0",
        "true",
        "null",
        "http-in bck/srv 0/0/0/0/0 200 5 - - ---- 1/1/0/0/0 0/0 {} {} ",
    ]);
    prop_oneof![
        4 => proptest::collection::vec(parts, 0..24).prop_map(|parts| parts.concat().into_bytes()),
        1 => proptest::collection::vec(any::<u8>(), 0..120),
        2 => "192\\.0\\.2\\.1 - [ -~]{0,30}\\[20/Nov/2026:12:00:00 \\+0000\\] \"[ -~]{0,30}\" 200 5( \"[ -~]{0,20}\"){0,3}".prop_map(String::into_bytes),
    ]
}

proptest! {
    #[test]
    fn nothing_panics_and_values_lie_in_the_line_or_the_buffer(line in any_line()) {
        let mut fields = Fields::default();
        let names = ["a", "key", "request.client_ip", "request.headers.a.0", "client", "user", "path", "agent", "request"];
        let ids = names.map(|name| fields.id(name).unwrap());
        let mut records = Records::new(&fields);
        for format in [Format::Json, Format::Logfmt, Format::Access, Format::Stamped] {
            let mut decoded = 0;
            if let Some(record) = records.read(format, &line) {
                for value in ids.iter().filter_map(|id| record.get(*id)) {
                    let within = line.as_ptr_range().contains(&value.as_ptr()) || value.as_ptr() == line.as_ptr_range().end;
                    decoded += if within { 0 } else { value.len() };
                }
            }
            prop_assert!(decoded <= records.values.decoded.len());
        }
        let _ = Format::of(&line);
    }

    #[test]
    fn a_reader_forgets_the_last_line(first in any_line(), second in any_line()) {
        let names = ["a", "key", "request.client_ip", "client", "user", "status"];
        let mut fields = Fields::default();
        let ids = names.map(|name| fields.id(name).unwrap());
        let mut used = Records::new(&fields);
        let mut fresh = used.clone();
        for format in [Format::Json, Format::Logfmt, Format::Access] {
            let _ = used.read(format, &first);
            let all = |record: Record<'_>| ids.map(|id| record.get(id).map(<[u8]>::to_vec));
            prop_assert_eq!(used.read(format, &second).map(all), fresh.read(format, &second).map(all));
        }
    }
}

#[test]
fn time_grows_with_the_length_of_a_line_and_no_faster() {
    let parts = [
        "[",
        "{",
        "\"",
        "\\",
        "\\\\",
        "\\\"",
        "{\"a\":",
        "[[",
        ",",
        "] \"x",
        "[20/Nov/2026:12:00:00 +0000] \"x",
        "a=",
        "a=\"",
        "= ",
        " ",
        "1",
    ];
    let heads = [
        "",
        "{\"a\":",
        "{\"a\":\"",
        "192.0.2.1 - ",
        "192.0.2.1 - - [20/Nov/2026:12:00:00 +0000] \"GET / HTTP/1.1\" 200 5 ",
        "a=",
    ];
    let mut fields = Fields::default();
    fields.id("a").unwrap();
    let mut records = Records::new(&fields);
    for head in heads {
        for part in parts {
            let line = format!("{head}{}", part.repeat(256 * 1024 / part.len()));
            let start = std::time::Instant::now();
            for format in [Format::Json, Format::Logfmt, Format::Access] {
                let _ = records.read(format, line.as_bytes());
            }
            let _ = Format::of(line.as_bytes());
            // Four times the longest line: milliseconds, even unoptimised; quadratic time would be minutes.
            assert!(start.elapsed() < std::time::Duration::from_secs(5), "{head}{part}");
        }
    }
}
