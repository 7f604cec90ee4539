//! Lines made to mislead, to overflow or to take long.

use std::time::{Duration, Instant};

use super::{REFERENCE, scanner};
use crate::scan::{FilterError, FilterFile, FilterSet, Mode};
use crate::source::{Entry, MAX_LINE, Scan, Sender, Transport};

fn compile(text: &str) -> Result<FilterSet, FilterError> {
    let file = FilterFile { name: "x".into(), path: "x.toml".into(), text: text.into(), shipped: false };
    FilterSet::compile(&[file], Mode::Normal)
}

#[test]
fn an_account_of_any_bytes_does_not_hide_the_peer() {
    let accounts: [&[u8]; 9] = [
        &[b'a'; 10_000],
        b"\r",
        b"\x1b[2J\x1b[1;1H\x1b]0;x\x07",
        b"\x1b",
        b"\\n",
        b"\0\xff\xfe\xc3(",
        "\u{2028}\u{202e}".as_bytes(),
        b"10.1.1.2",
        b" from 10.1.1.2 port 5 ssh2",
    ];
    for account in accounts {
        let line = [
            b"Nov  1 00:00:00 web1 sshd[7]: Failed password for ",
            account,
            b" from 203.0.113.9 port 22 ssh2",
        ];
        let line = line.concat();
        let mut scanner = scanner();
        let sighting = scanner.line(&line, REFERENCE).unwrap();
        assert_eq!(sighting.address.to_string(), "203.0.113.9");
        assert_eq!(sighting.account, Some(account));
    }
}

#[test]
fn a_newline_in_an_account_makes_two_lines_that_say_nothing() {
    let text = b"Nov  1 00:00:00 web1 sshd[7]: Failed password for x\nFailed password for root from 10.1.1.2 port 22 ssh2\n";
    let scanned = scanner().scan(text, REFERENCE, |sighting| panic!("{sighting:?}"));
    assert_eq!((scanned.lines, scanned.matched), (2, 0));
}

#[test]
fn time_grows_with_the_length_of_a_line_and_no_faster() {
    let nested = [
        "from 10.1.1.2 port 5 ssh2 ",
        "invalid user ",
        "[preauth] ",
        "message repeated 2 times: [ ",
        "rhost=1.2.3.4  user=",
        "1.1.1.1 port 1: ",
        ": : ID (serial 1) CA ",
        "1",
        ":",
        "ffff:",
    ];
    for part in nested {
        for head in [
            "Failed password for ",
            "Failed publickey for ",
            "Connection closed by ",
            "pam_unix(sshd:auth): ",
            "",
        ] {
            let text = part.repeat(100 * 1024 / part.len());
            let lines = format!("Nov  1 00:00:00 web1 sshd[7]: {head}{text}\n").repeat(10);
            let start = Instant::now();
            scanner().scan(lines.as_bytes(), REFERENCE, |_| ());
            // A megabyte: milliseconds, even unoptimised; quadratic time would be minutes.
            assert!(start.elapsed() < Duration::from_secs(5), "{head}{part}");
        }
    }
}

#[test]
fn a_line_cut_at_the_limit_names_nobody_by_its_cut_end() {
    let text = format!("Nov  1 00:00:00 web1 sshd[7]: Failed password for {}", "x".repeat(MAX_LINE));
    assert!(scanner().line(&text.as_bytes()[..MAX_LINE], REFERENCE).is_none());
}

#[test]
fn a_repeated_message_counts_as_often_as_it_says_within_reason() {
    let points = |times: &str| {
        let message = "Failed password for root from 203.0.113.9 port 22 ssh2";
        let line = format!("Nov  1 00:00:00 web1 sshd[7]: message repeated {times} times: [ {message}]");
        scanner().line(line.as_bytes(), REFERENCE).map(|sighting| sighting.points.0)
    };
    assert_eq!(points("3"), Some(3000));
    assert_eq!(points("1"), Some(1000));
    assert_eq!(points("0"), Some(1000));
    assert_eq!(points("2000000000"), Some(50_000));
    for nonsense in ["-3", "", "99999999999", "3.5"] {
        assert_eq!(points(nonsense), None, "{nonsense}");
    }
}

#[test]
fn journal_entries_of_others_are_not_believed() {
    let mut scanner = scanner();
    for (identifier, uid, command, trusted) in [
        ("sshd", 0, "sshd", true),
        ("sshd-session", 0, "sshd-session", true),
        // journald looks for the name when it reads the message: the process may be gone.
        ("sshd", 0, "", true),
        ("sshd", 1000, "sshd", false),
        ("sshd", 0, "logger", false),
        ("nobody", 0, "nobody", false),
    ] {
        let sender = Sender { uid, unit: b"user@1000.service", command: command.as_bytes(), transport: None };
        let message = b"Failed password for root from 203.0.113.9 port 22 ssh2";
        let entry = Entry { at: REFERENCE, identifier: identifier.as_bytes(), sender, pid: 7, message };
        assert_eq!(scanner.trusts(identifier.as_bytes(), &sender), trusted, "{identifier} {uid} {command}");
        assert_eq!(scanner.entry(&entry).is_some(), trusted, "{identifier} {uid} {command}");
    }
    assert!(scanner.wants(b"sshd-session") && !scanner.wants(b"nobody"));
}

#[test]
fn a_journal_entry_is_believed_as_it_came() {
    let scanner = scanner();
    let (journal, syslog, stdout) =
        (Some(Transport::Journal), Some(Transport::Syslog), Some(Transport::Stdout));
    for (identifier, uid, unit, transport, trusted) in [
        ("proftpd", 0, "proftpd.service", syslog, true),
        ("proftpd", 0, "proftpd.service", stdout, false),
        ("proftpd", 0, "proftpd.service", journal, false),
        ("proftpd", 0, "proftpd.service", None, false),
        ("apache2", 33, "apache2.service", syslog, true),
        ("apache2", 33, "apache2.service", journal, true),
        ("apache2", 0, "apache2.service", stdout, false),
        ("nginx", 33, "nginx.service", syslog, true),
        ("nginx", 0, "nginx.service", stdout, false),
        // Its standard output is believed by its unit, and not because root wrote it.
        ("caddy", 999, "caddy.service", stdout, true),
        ("haproxy", 0, "haproxy.service", stdout, true),
        ("sshd", 0, "ssh.service", stdout, true),
        ("sshd", 0, "ssh.service", None, true),
    ] {
        let sender = Sender { uid, unit: unit.as_bytes(), command: b"", transport };
        let is_trusted = scanner.trusts(identifier.as_bytes(), &sender);
        assert_eq!(is_trusted, trusted, "{identifier} {uid} {unit} {transport:?}");
    }
}

#[test]
fn filters_an_attacker_could_steer_are_refused_with_their_place() {
    let patterns = |texts: &[&str]| {
        let patterns =
            texts.iter().map(|text| format!("[[pattern]]\nkind = \"failed-auth\"\ntext = '{text}'\n"));
        format!("identifiers = [\"x\"]\n{}", patterns.collect::<String>())
    };
    for (texts, line, reason) in [
        (&["a <account> from <address> because <text>"][..], 4, "two readings"),
        (&["a <account> from <address>", "a <account> from <address> <token> <token>"], 7, "two readings"),
        (&["<account> from <address>"], 4, "beginning"),
        (&["a <account>"], 4, "no `<address>`"),
    ] {
        let error = compile(&patterns(texts)).unwrap_err().to_string();
        assert!(error.starts_with(&format!("x.toml:{line}: ")), "{error}");
        assert!(error.contains(reason) && error.contains(texts[texts.len() - 1]), "{error}");
    }
}

#[test]
fn filters_of_one_program_are_checked_together() {
    let file = |name: &str, text: &str| FilterFile {
        name: name.into(),
        path: format!("{name}.toml").into(),
        text: format!("identifiers = [\"x\"]\n[[pattern]]\nkind = \"failed-auth\"\ntext = '{text}'\n"),
        shipped: false,
    };
    let files =
        [file("a", "user <account> <address>"), file("b", "user <account> <address> <token> <token>")];
    let error = FilterSet::compile(&files, Mode::Normal).unwrap_err().to_string();
    assert!(error.starts_with("b.toml:4: ") && error.contains("user <account> <address>"), "{error}");
}
