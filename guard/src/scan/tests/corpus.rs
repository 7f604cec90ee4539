//! Every shipped filter has a corpus in `tests/corpus`, and sees in it what it must.

use std::path::Path;

use serde::Deserialize;

use super::{REFERENCE, scanner};
use crate::scan::{Scanner, shipped};
use crate::sighting::Sighting;
use crate::source::{Entry, Scan};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Corpus {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    from: String,
    message: Option<String>,
    line: Option<String>,
    sees: Option<Sees>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Sees {
    kind: String,
    address: String,
    #[serde(default)]
    port: u16,
    account: Option<String>,
    points: Option<f64>,
}

impl Sees {
    fn of(sighting: &Sighting<'_>) -> Self {
        Self {
            kind: sighting.kind.name().to_owned(),
            address: sighting.address.to_string(),
            port: sighting.port,
            account: sighting.account.map(|account| String::from_utf8_lossy(account).into_owned()),
            points: Some(sighting.points.as_f64()),
        }
    }

    fn agrees(&self, seen: &Self) -> bool {
        let points = self.points.is_none() || self.points == seen.points;
        points && *self == Self { points: self.points, ..seen.clone() }
    }
}

impl Clone for Sees {
    fn clone(&self) -> Self {
        Self {
            kind: self.kind.clone(),
            address: self.address.clone(),
            account: self.account.clone(),
            ..*self
        }
    }
}

#[test]
fn every_shipped_filter_sees_what_its_corpus_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus");
    let mut wrong = Vec::new();
    for filter in shipped() {
        let path = folder.join(format!("{}.toml", filter.name));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| {
            panic!("filter {} needs a corpus in {}: {error}", filter.name, path.display())
        });
        let corpus: Corpus = toml::from_str(&text).unwrap();
        assert!(
            corpus.case.iter().any(|case| case.sees.is_none()),
            "{}: no line that says nothing",
            filter.name
        );
        for case in &corpus.case {
            check(&mut scanner(), case, &mut wrong);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn check(scanner: &mut Scanner, case: &Case, wrong: &mut Vec<String>) {
    let mut compare = |line: &str, seen: Option<Sees>| {
        let right = match (&case.sees, &seen) {
            (None, None) => true,
            (Some(expected), Some(seen)) => expected.agrees(seen),
            _ => false,
        };
        if !right {
            wrong.push(format!("{}\n  {line:?}\n  expected {:?}\n  seen     {seen:?}", case.from, case.sees));
        }
    };
    match (&case.line, &case.message) {
        (Some(line), None) => compare(line, scanner.line(line.as_bytes(), REFERENCE).as_ref().map(Sees::of)),
        (None, Some(message)) => {
            for line in behind_every_header(message) {
                compare(&line, scanner.line(line.as_bytes(), REFERENCE).as_ref().map(Sees::of));
            }
            let entry = Entry {
                at: REFERENCE,
                identifier: b"sshd-session",
                uid: 0,
                pid: 7,
                comm: b"sshd-session",
                unit: b"ssh.service",
                message: message.as_bytes(),
            };
            compare(message, scanner.entry(&entry).as_ref().map(Sees::of));
        }
        _ => panic!("{}: a case has a line or a message", case.from),
    }
}

fn behind_every_header(message: &str) -> [String; 6] {
    [
        format!("Nov  1 00:00:00 web1 sshd[7]: {message}"),
        format!("Nov  1 00:00:00 a-long-name-of-a-host.in.some.example sshd[1234567]: {message}"),
        format!("2026-11-01T00:00:00.123456+01:00 web1 sshd[7]: {message}"),
        format!("<86>Nov  1 00:00:00 web1 sshd: {message}"),
        format!("<86>1 2026-11-01T00:00:00Z web1 sshd 7 - - {message}"),
        format!("Nov  1 00:00:00 web1 sshd[7]: {message}\r"),
    ]
}
