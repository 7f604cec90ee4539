//! The parsers of lines, patterns and filters as functions of bytes, each with what must hold of its result.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use jiff::tz::TimeZone;

use super::pattern::{self, Found, Place};
use super::record::{Fields, Format, Records};
use super::timestamp::{Stamps, Usual, stamp};
use super::{FilterFile, FilterSet, Mode, Scanner, address, header};
use crate::source::MAX_LINE;
use crate::time::Wall;

/// 2026-11-20T00:00:00Z.
const NOW: Wall = Wall(1_795_132_800_000);

/// Lines of any sort: a chunk says the same as its lines one by one.
pub(crate) fn line(bytes: &[u8]) {
    static FILTERS: OnceLock<Arc<FilterSet>> = OnceLock::new();
    let filters = FILTERS
        .get_or_init(|| Arc::new(FilterSet::shipped(Mode::Aggressive).expect("shipped filters compile")));
    let bytes = &bytes[..bytes.len().min(MAX_LINE)];
    let scanner = || Scanner::with_zone(Arc::clone(filters), TimeZone::UTC);
    let mut together = Vec::new();
    let scanned =
        scanner().scan(bytes, NOW, |s| together.push((s.line.to_vec(), s.address, s.pattern, s.at)));
    let mut alone = Vec::new();
    let mut one_by_one = scanner();
    let lines = bytes.split_inclusive(|b| *b == b'\n').map(|line| line.strip_suffix(b"\n").unwrap_or(line));
    for line in lines.clone() {
        let _ = header::split(line);
        alone.extend(one_by_one.line(line, NOW).map(|s| (s.line.to_vec(), s.address, s.pattern, s.at)));
    }
    assert_eq!(scanned.lines, lines.count() as u64);
    assert_eq!(together, alone);
}

/// Stamps: the usual notation tried first answers what all notations do, and what was read is read again.
pub(crate) fn timestamp(bytes: &[u8]) {
    let plain = stamp(bytes);
    let mut usual = Usual::default();
    for _ in 0..2 {
        assert_eq!(usual.stamp(bytes), plain);
    }
    let Some((stamp, rest)) = plain else { return };
    assert!(rest <= bytes.len());
    let mut stamps = Stamps::new(TimeZone::UTC);
    let first = stamps.read(stamp, NOW);
    assert_eq!(stamps.read(stamp, NOW), first);
}

/// Addresses: what is taken for one is one, and the same.
pub(crate) fn addresses(bytes: &[u8]) {
    let same = |text: &[u8], found: IpAddr| {
        let text = std::str::from_utf8(text).expect("an address is ASCII");
        assert_eq!(text.parse::<IpAddr>().expect("an address").to_canonical(), found, "{text}");
    };
    for found in [address::at_front, address::v4_at_front, address::v6_at_front] {
        if let Some((bits, length)) = found(bytes) {
            same(&bytes[..length], bits.address());
        }
    }
    for found in [address::at_end, address::v4_at_end, address::v6_at_end] {
        if let Some((bits, length)) = found(bytes) {
            same(&bytes[bytes.len() - length..], bits.address());
        }
    }
    if let Some((_, _, length)) = address::with_port_at_front(bytes) {
        assert!(length <= bytes.len());
    }
    if let Some((_, _, length)) = address::with_port_at_end(bytes) {
        assert!(length <= bytes.len());
    }
    let port = address::port(bytes);
    if port.is_some() {
        assert_eq!(std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok()), port);
    }
}

/// A pattern in the first line, a message in the rest.
pub(crate) fn pattern(bytes: &[u8]) {
    let (text, message) = match memchr::memchr(b'\n', bytes) {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, &b"from 192.0.2.1 port 22"[..]),
    };
    let Ok(text) = std::str::from_utf8(text) else { return };
    for place in [Place::Message, Place::Field] {
        let Ok(forms) = pattern::compile(text, place) else { continue };
        for form in &forms {
            assert!(form.nearness(message) <= message.len());
            form.read(message, &mut Found::default());
        }
    }
}

/// A filter file: refused in words, or scanned with.
pub(crate) fn filter(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let file = FilterFile { name: "x".into(), path: "x.toml".into(), text: text.into(), shipped: false };
    let _ = file.about();
    match FilterSet::compile(&[file], Mode::Aggressive) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(filters) => {
            let mut scanner = Scanner::with_zone(Arc::new(filters), TimeZone::UTC);
            for line in text.lines() {
                let _ = scanner.line(line.as_bytes(), NOW);
            }
        }
    }
}

/// JSON: what is taken for an object is one.
pub(crate) fn json(bytes: &[u8]) {
    let taken = record(Format::Json, &["msg", "request.headers.User-Agent.0", "status", "t.$date"], bytes);
    if taken && std::str::from_utf8(bytes).is_ok() {
        let read = serde_json::from_slice::<serde::de::IgnoredAny>(bytes);
        assert!(read.is_ok(), "taken for JSON: {read:?}");
    }
}

/// `key=value` lines.
pub(crate) fn logfmt(bytes: &[u8]) {
    record(Format::Logfmt, &["msg", "status", "remote_addr", "a.b"], bytes);
}

/// Access logs.
pub(crate) fn access(bytes: &[u8]) {
    let names: Vec<&str> = Format::Access.names().into_iter().flatten().collect();
    record(Format::Access, &names, bytes);
}

/// Reads a record, twice with one reader: what is left of a line says nothing about the next. Whether it is one.
fn record(format: Format, names: &[&str], bytes: &[u8]) -> bool {
    let mut fields = Fields::default();
    let ids: Vec<_> = names.iter().filter_map(|name| fields.id(name)).collect();
    let mut records = Records::new(&fields);
    let mut read = || {
        let record = records.read(format, bytes)?;
        let values: Vec<Option<Vec<u8>>> = ids.iter().map(|id| record.get(*id).map(<[u8]>::to_vec)).collect();
        let at = record.stamp().and_then(|stamp| Stamps::new(TimeZone::UTC).read(stamp, NOW));
        Some((values, at))
    };
    let first = read();
    assert_eq!(read(), first);
    let _ = Format::of(bytes);
    first.is_some()
}
