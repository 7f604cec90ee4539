//! What fuzzers drive: each parser of text from outside, private ones too, as a function of bytes that panics when the
//! parser breaks a promise. Only in builds for tests and for `cargo xtask fuzz`.

use std::fmt;

use crate::scan::fuzz as scan;
use crate::source::journald::fuzz as journald;

mod seeds;
#[cfg(test)]
mod tests;

/// A parser under test.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, for people and folders.
    pub name: &'static str,
    /// Parses an input and checks what can be checked about the result.
    pub run: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every parser.
pub const TARGETS: [Target; 15] = [
    Target { name: "line", run: scan::line, seeds: seeds::lines },
    Target { name: "stamp", run: scan::timestamp, seeds: seeds::stamps },
    Target { name: "address", run: scan::addresses, seeds: seeds::addresses },
    Target { name: "pattern", run: scan::pattern, seeds: seeds::patterns },
    Target { name: "filter", run: scan::filter, seeds: seeds::filters },
    Target { name: "json", run: scan::json, seeds: seeds::records },
    Target { name: "logfmt", run: scan::logfmt, seeds: seeds::records },
    Target { name: "access", run: scan::access, seeds: seeds::records },
    Target { name: "journal", run: journald::file, seeds: journald::files },
    Target { name: "decompress", run: journald::compressed, seeds: journald::payloads },
    Target { name: "request", run: request, seeds: seeds::requests },
    Target { name: "answer", run: answer, seeds: seeds::answers },
    Target { name: "config", run: config, seeds: seeds::configs },
    Target { name: "feed", run: feed, seeds: seeds::feeds },
    Target {
        name: "dns",
        run: crate::protect::names::message::fuzz,
        seeds: crate::protect::names::message::seeds,
    },
];

impl Target {
    /// The target of this name.
    pub fn named(name: &str) -> Option<Self> {
        TARGETS.into_iter().find(|target| target.name == name)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// What a peer asks: what was understood is understood the same way when it is written again.
fn request(bytes: &[u8]) {
    let Ok(request) = serde_json::from_slice::<crate::api::Request>(bytes) else { return };
    let again = serde_json::to_vec(&request).expect("a request can be written");
    assert_eq!(serde_json::from_slice::<crate::api::Request>(&again).ok(), Some(request));
}

/// What the daemon answers, as guardctl reads it.
fn answer(bytes: &[u8]) {
    if let Ok(answer) = serde_json::from_slice::<crate::api::Answer>(bytes) {
        serde_json::to_vec(&answer).expect("an answer can be written");
    }
}

/// A feed in each format: targets of which none covers another and none is too wide, or an error that can be told.
fn feed(bytes: &[u8]) {
    use crate::feed::parse::{Column, Form, Format, parse};
    const WIDEST: [u8; 2] = [8, 19];
    for format in [Format::Auto, Format::Plain, Format::Csv, Format::Json] {
        for column in [Column::First, Column::Number(2), Column::Named("ip".to_owned())] {
            let form = Form { format, column, field: String::new(), widest: WIDEST, max_entries: 1000 };
            match parse(bytes, &form) {
                Err(error) => assert!(!error.to_string().is_empty()),
                Ok(parsed) => {
                    let list: Vec<_> = parsed.list.iter().collect();
                    assert!(list.len() <= 1000);
                    assert!(list.windows(2).all(|pair| pair[0] < pair[1] && !pair[0].overlaps(pair[1])));
                    let widest =
                        |target: &crate::target::Target| WIDEST[usize::from(target.address().is_ipv6())];
                    assert!(list.iter().all(|target| target.length() >= widest(target)));
                    for named in [parsed.rubbish, parsed.too_wide] {
                        assert!(named.first.len() as u64 <= named.count);
                        assert!(named.first.iter().all(|text| !text.contains(char::is_control)));
                    }
                }
            }
        }
    }
}

/// The configuration: a value, or an error that can be told.
fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(error) = crate::config::parse(text, "guard.toml".as_ref()) {
        assert!(!error.to_string().is_empty());
    }
}
