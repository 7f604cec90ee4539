//! Lines of services' own files, and messages that hold such lines.

use std::path::Path;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::REFERENCE;
use crate::scan::{Explainer, FilterFile, FilterSet, Mode, Scanner};
use crate::time::Wall;

fn file(name: &str, head: &str, pattern: &str) -> FilterFile {
    let text = format!("{head}\n[[pattern]]\nkind = \"failed-auth\"\n{pattern}\n");
    FilterFile { name: name.into(), path: format!("{name}.toml").into(), text, shipped: false }
}

/// One filter of each sort: a stamp and text, a record, and text behind a syslog header.
fn filters() -> FilterSet {
    let files = [
        file(
            "stamped",
            "identifiers = [\"stampd\"]\nfiles = [\"/var/log/stampd/*.log\"]\nformat = \"stamped\"",
            "text = 'login of <account> from <address> failed'",
        ),
        file(
            "record",
            "identifiers = [\"recordd\"]\nfiles = [\"/var/log/recordd.log\"]\nformat = \"json\"",
            "fields = { msg = 'denied', ip = '<address>' }",
        ),
        file("plain", "identifiers = [\"plaind\"]", "text = 'refused <address>'"),
    ];
    FilterSet::compile(&files, Mode::Normal).unwrap()
}

fn scanner(filters: FilterSet) -> Scanner {
    Scanner::with_zone(Arc::new(filters), TimeZone::UTC)
}

/// Whom a line blames, and when it was written.
fn read(scanner: &mut Scanner, line: &str) -> Option<(String, Option<Wall>)> {
    let sighting = scanner.line(line.as_bytes(), REFERENCE)?;
    Some((sighting.address.to_string(), sighting.at))
}

const MESSAGE: &str = "login of root from 192.0.2.1 failed";
const RECORD: &str = r#"{"time":"2026-11-20T00:00:00Z","msg":"denied","ip":"192.0.2.2"}"#;

#[test]
fn stamped_lines_of_a_file_of_their_own() {
    let mut scanner = scanner(filters());
    let stamps = [
        "2026-11-20 00:00:00",
        "2026/11/20 00:00:00",
        "2026-11-20T01:00:00+01:00",
        "20-Nov-2026 00:00:00.000",
        "Fri Nov 20 00:00:00 2026",
        "2026-11-20 00:00:00",
    ];
    for stamp in stamps {
        let line = format!("{stamp} {MESSAGE}");
        assert_eq!(read(&mut scanner, &line), Some(("192.0.2.1".into(), Some(REFERENCE))), "{line}");
    }
    for line in [MESSAGE, "2026-11-20 00:00:00", "2026-11-20 00:00:00 x", ""] {
        assert_eq!(read(&mut scanner, line), None, "{line}");
    }
    // What is in no syslog line is in no stamped line either.
    assert_eq!(read(&mut scanner, "2026-11-20 00:00:00 refused 192.0.2.1"), None);
}

#[test]
fn a_chunk_of_stamped_lines_and_records() {
    let text = format!("2026-11-20 00:00:00 {MESSAGE}\nx\n{RECORD}\r\n2026-11-20 00:00:01 {MESSAGE}");
    let mut seen = Vec::new();
    let scanned = scanner(filters()).scan(text.as_bytes(), REFERENCE, |s| {
        seen.push((s.address.to_string(), s.at.unwrap().0 - REFERENCE.0));
    });
    assert_eq!((scanned.lines, scanned.matched), (4, 3));
    assert_eq!(seen, [("192.0.2.1".into(), 0), ("192.0.2.2".into(), 0), ("192.0.2.1".to_owned(), 1000)]);
}

#[test]
fn a_message_may_hold_a_stamp_of_its_own() {
    let mut scanner = scanner(filters());
    let header = "Nov 20 00:00:00 web1 ";
    for message in [MESSAGE.to_owned(), format!("2001-01-01 00:00:00 {MESSAGE}")] {
        let line = format!("{header}stampd[7]: {message}");
        // The header is the syslog daemon's: it is the one that is believed.
        assert_eq!(read(&mut scanner, &line), Some(("192.0.2.1".into(), Some(REFERENCE))), "{line}");
        let entry = scanner.message(b"stampd", 7, None, message.as_bytes()).unwrap();
        assert_eq!((entry.pid, entry.account), (7, Some(&b"root"[..])));
    }
    // Only where a filter says that its service's lines begin with one.
    let stamped = "2001-01-01 00:00:00 refused 192.0.2.1";
    assert_eq!(read(&mut scanner, &format!("{header}plaind[7]: refused 192.0.2.1")).unwrap().0, "192.0.2.1");
    assert_eq!(read(&mut scanner, &format!("{header}plaind[7]: {stamped}")), None);
    assert_eq!(read(&mut scanner, &format!("{header}stampd[7]: {stamped}")), None);
}

#[test]
fn a_message_may_be_a_record() {
    let mut scanner = scanner(filters());
    let line = format!("Nov 20 00:00:00 web1 recordd[7]: {RECORD}");
    assert_eq!(read(&mut scanner, &line), Some(("192.0.2.2".into(), Some(REFERENCE))));
    for identifier in ["plaind", "stampd", "nobody"] {
        let line = format!("Nov 20 00:00:00 web1 {identifier}[7]: {RECORD}");
        assert_eq!(read(&mut scanner, &line), None, "{line}");
    }
}

#[test]
fn haproxy_logs_requests_through_syslog() {
    let request = |path: &str, status: u16| {
        format!(
            "192.0.2.1:51745 [20/Nov/2026:00:00:00.000] web~ app/one 0/0/1/2/3 {status} 217 - - ---- 1/1/0/0/0 0/0 \
             \"GET {path} HTTP/1.1\""
        )
    };
    let mut scanner = super::scanner();
    for (message, expected) in [
        (request("/.env", 404), true),
        (request("/index.html", 200), false),
        ("192.0.2.1:51745 [20/Nov/2026:00:00:00.000] web/1: SSL handshake failure".into(), true),
    ] {
        for line in [
            format!("Nov 20 00:00:00 web1 haproxy[7]: {message}"),
            format!("2026-11-20T00:00:00+00:00 web1 haproxy[7]: {message}"),
        ] {
            let sighting = scanner.line(line.as_bytes(), REFERENCE);
            assert_eq!(
                sighting.map(|s| s.address.to_string()),
                expected.then(|| "192.0.2.1".into()),
                "{line}"
            );
        }
        let line = format!("Nov 20 00:00:00 web1 sshd[7]: {message}");
        assert!(scanner.line(line.as_bytes(), REFERENCE).is_none(), "{line}");
    }
}

#[test]
fn a_file_of_a_service_is_read_by_its_filters_only() {
    let filters = filters();
    let owners = filters.owners(Path::new("/var/log/stampd/a.log"));
    assert_eq!(owners, filters.numbers(&["stamped".to_owned()]));
    assert!(filters.owners(Path::new("/var/log/other.log")).is_empty());
    let mut own = scanner(filters.for_own_files(&owners).unwrap());
    for (line, expected) in [
        (format!("2026-11-20 00:00:00 {MESSAGE}"), true),
        // A syslog daemon may write the file.
        (format!("Nov 20 00:00:00 web1 stampd[7]: {MESSAGE}"), true),
        (RECORD.to_owned(), false),
        (format!("Nov 20 00:00:00 web1 recordd[7]: {RECORD}"), false),
        ("Nov 20 00:00:00 web1 plaind[7]: refused 192.0.2.1".to_owned(), false),
    ] {
        assert_eq!(read(&mut own, &line).is_some(), expected, "{line}");
    }
}

#[test]
fn a_file_of_a_syslog_daemon_holds_no_line_without_a_header() {
    let mut syslog = scanner(filters().for_syslog().unwrap());
    for (line, expected) in [
        (format!("Nov 20 00:00:00 web1 stampd[7]: {MESSAGE}"), true),
        (format!("Nov 20 00:00:00 web1 stampd[7]: 2026-11-20 00:00:00 {MESSAGE}"), true),
        (format!("Nov 20 00:00:00 web1 recordd[7]: {RECORD}"), true),
        ("Nov 20 00:00:00 web1 plaind[7]: refused 192.0.2.1".to_owned(), true),
        // What a service writes there as it likes would be another's word.
        (format!("2026-11-20 00:00:00 {MESSAGE}"), false),
        (RECORD.to_owned(), false),
    ] {
        assert_eq!(read(&mut syslog, &line).is_some(), expected, "{line}");
    }
}

/// Two filters that a peer can play off against each other: `x 192.0.2.1` as an account.
fn rivals(one: &str, other: &str) -> [FilterFile; 2] {
    let stamped = |files: &str| format!("files = [\"{files}\"]\nformat = \"stamped\"");
    rivals_with(&stamped(one), &stamped(other))
}

fn rivals_with(one: &str, other: &str) -> [FilterFile; 2] {
    [
        file("one", one, "text = 'user <account> <address>'"),
        file("other", other, "text = 'user <account> <address> <token> <token>'"),
    ]
}

#[test]
fn filters_that_a_person_puts_on_one_file_are_shown_to_agree() {
    let filters = FilterSet::compile(&rivals("/a/*.log", "/b/*.log"), Mode::Normal).unwrap();
    for alone in [0, 1] {
        filters.for_own_files(&[alone]).unwrap();
    }
    let refused = filters.for_own_files(&[0, 1]).unwrap_err().to_string();
    assert!(refused.contains("two readings"), "{refused}");
    let good = FilterSet::shipped(Mode::Aggressive).unwrap();
    // The second are those with the most forms: this takes seconds where nothing is optimised, and no more.
    for owners in [&["nginx", "http"][..], &["openvpn", "dovecot", "exim"]] {
        let owners = good.numbers(&owners.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        good.for_own_files(&owners).unwrap();
    }
}

#[test]
fn filters_whose_files_may_be_the_same_are_shown_to_agree() {
    for (one, other) in [("/var/log/*/app.log", "/var/log/myapp/*.log"), ("/a/**/x", "/a/b/?")] {
        let refused = FilterSet::compile(&rivals(one, other), Mode::Normal).unwrap_err().to_string();
        assert!(refused.contains("two readings"), "{refused}");
    }
}

#[test]
fn a_line_whose_services_disagree_is_explained_as_nobodys() {
    let explained = |filters: &[FilterFile], line: &str| {
        let filters = FilterSet::compile(filters, Mode::Normal).unwrap();
        let explanation = Explainer::new(Arc::new(filters)).unwrap().explain(line.as_bytes(), REFERENCE);
        let address = explanation.matched.map(|matched| matched.address.to_string());
        (address, explanation.bare, explanation.miss)
    };
    let own = rivals("/a/*.log", "/b/*.log");
    let plain = rivals_with("identifiers = [\"one\"]", "identifiers = [\"other\"]");
    // To one filter the account is `x 192.0.2.1 y`, to the other the peer is 192.0.2.1.
    let message = "user x 192.0.2.1 y 192.0.2.2";
    for (filters, front, bare) in [(&plain, "", true), (&own, "2026-11-20 00:00:00 ", false)] {
        let line = format!("{front}{message}");
        let (address, _, miss) = explained(filters, &line);
        assert_eq!(address, None, "{line}");
        assert!(miss.contains("192.0.2.1") && miss.contains("192.0.2.2"), "{miss}");
        let alone = |number: usize| explained(&filters[number..=number], &line).0;
        assert_eq!(alone(0), Some("192.0.2.2".to_owned()));
        assert_eq!(alone(1), Some("192.0.2.1".to_owned()));
        let line = format!("{front}user x 192.0.2.7");
        assert_eq!(explained(filters, &line), (Some("192.0.2.7".into()), bare, String::new()));
    }
    // Where the program is named there is nothing to disagree about.
    let line = format!("Nov 20 00:00:00 web1 one[7]: {message}");
    assert_eq!(explained(&plain, &line).0, Some("192.0.2.2".to_owned()));
}

/// A shipped filter explains these lines so.
fn explained_by(name: &str, line: &str) -> Option<(String, bool)> {
    let files: Vec<FilterFile> =
        crate::scan::shipped().into_iter().filter(|file| file.name == name).collect();
    let filters = FilterSet::compile(&files, Mode::Normal).unwrap();
    let explanation = Explainer::new(Arc::new(filters)).unwrap().explain(line.as_bytes(), REFERENCE);
    explanation.matched.map(|matched| (matched.address.to_string(), explanation.bare))
}

#[test]
fn what_stands_in_front_of_a_containers_line_is_left_out_when_it_is_explained() {
    let line = r#"192.0.2.7 - - [20/Nov/2026:00:00:00 +0000] "GET /.env HTTP/1.1" 404 5"#;
    for front in ["web-1  | ", "my_app.web.1 | ", "2026-11-20 00:00:00 web-1 | ", "2026-11-20 00:00:00 | "] {
        let expected = Some(("192.0.2.7".to_owned(), true));
        assert_eq!(explained_by("http", &format!("{front}{line}")), expected, "{front}");
    }
    assert_eq!(explained_by("http", line), Some(("192.0.2.7".to_owned(), false)));
    for front in ["web-1| ", "web-1 |", "ERROR | ", "a b | ", "| "] {
        assert_eq!(explained_by("http", &format!("{front}{line}")), None, "{front}");
    }
}

#[test]
fn a_line_that_docker_kept_is_read_and_never_counts() {
    let mut scanner = super::scanner();
    let kept = |line: &str| {
        let line = serde_json::Value::from(format!("{line}\n"));
        format!(r#"{{"log":{line},"stream":"stdout","time":"2026-11-20T00:00:00.000000001Z"}}"#)
    };
    for line in [
        r#"192.0.2.7 - - [20/Nov/2026:00:00:00 +0000] "GET /.env HTTP/1.1" 404 5"#,
        "[2026-11-20 00:00:00.000][vaultwarden::api::admin][ERROR] Invalid admin token. IP: 192.0.2.7",
        r#"{"remoteAddr":"192.0.2.7","message":"Login failed: a (Remote IP: 192.0.2.7)"}"#,
    ] {
        let line = kept(line);
        let sighting = scanner.line(line.as_bytes(), REFERENCE).unwrap();
        assert_eq!((sighting.address.to_string(), sighting.points.0), ("192.0.2.7".into(), 0), "{line}");
        assert_eq!(
            (sighting.kind, sighting.at),
            (crate::sighting::Kind::Spoofable, Some(REFERENCE)),
            "{line}"
        );
    }
    for line in [kept("x"), kept(r#"{"log":"y"}"#), r#"{"log":"192.0.2.7"#.to_owned()] {
        assert!(scanner.line(line.as_bytes(), REFERENCE).is_none(), "{line}");
    }
}

#[test]
fn old_lines_of_gitlab_without_a_stamp_are_explained() {
    for (line, expected) in [
        ("November 06, 2026 11:14: Failed Login: username=a ip=192.0.2.7", true),
        (r#"Started GET "/.env" for 192.0.2.7 at 2026-11-20 00:00:00 +0000"#, true),
        (
            r#"Started GET "/.env" for 198.51.100.1 at 2026-11-20 00:00:00 UTC" for 192.0.2.7 at 2026-11-20 00:00:00 UTC"#,
            true,
        ),
        (r#"Started GET "/a/b" for 192.0.2.7 at 2026-11-20 00:00:00 +0000"#, false),
        ("Smarch 06, 2026 11:14: Failed Login: username=a ip=192.0.2.7", false),
    ] {
        assert_eq!(
            explained_by("gitlab-text", line),
            expected.then(|| ("192.0.2.7".to_owned(), true)),
            "{line}"
        );
    }
}
