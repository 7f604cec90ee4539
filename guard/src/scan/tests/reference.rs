//! The fast scan against a plain one: regular expressions over whole lines, written down a second time.

use std::sync::OnceLock;

use proptest::prelude::*;
use regex_automata::meta::Regex;

use super::{REFERENCE, scanner};
use crate::sighting::{Kind, Sighting};

/// Some of what sshd writes, each with the kind it is. Names are greedy and everything is anchored, so what
/// stands after one is the last that fits, as it must be; sshd cuts them at a colon.
const MESSAGES: [(Kind, &str); 9] = [
    (
        Kind::FailedPassword,
        r"Failed password for (?:invalid user |illegal user )(?<u>(?s-u:[^:]*)) from (?<a>[0-9a-fA-F.:]+)(?: port (?<p>[0-9]{1,5}))?(?: ssh[12])?",
    ),
    (
        Kind::FailedPassword,
        r"Failed password for (?<u>(?s-u:[^:]*)) from (?<a>[0-9a-fA-F.:]+)(?: port (?<p>[0-9]{1,5}))?(?: ssh[12])?",
    ),
    (
        Kind::InvalidUser,
        r"(?:Invalid|Illegal) user (?<u>(?s-u:[^:]*)) from (?<a>[0-9a-fA-F.:]+)(?: port (?<p>[0-9]{1,5}))?",
    ),
    (
        Kind::FailedPam,
        r"pam_unix\(sshd:auth\): authentication failure; logname=(?-u:[^ ]*) uid=[0-9]+ euid=[0-9]+ tty=(?-u:[^ ]*) ruser=(?-u:[^ ]*) rhost=(?<a>[0-9a-fA-F.:]+)(?:  ?user=(?<u>(?s-u:[^:]*)))?",
    ),
    (
        Kind::PreauthClose,
        r"Connection closed by (?:authenticating|invalid) user (?<u>(?s-u:[^:]*)) (?<a>[0-9a-fA-F.:]+) port (?<p>[0-9]{1,5})(?: \[preauth\])?",
    ),
    (
        Kind::TooManyAttempts,
        r"(?:error: )?maximum authentication attempts exceeded for (?:invalid user |illegal user )(?<u>(?s-u:[^:]*)) from (?<a>[0-9a-fA-F.:]+) port (?<p>[0-9]{1,5})(?: ssh2)?(?: \[preauth\])?",
    ),
    (
        Kind::TooManyAttempts,
        r"(?:error: )?maximum authentication attempts exceeded for (?<u>(?s-u:[^:]*)) from (?<a>[0-9a-fA-F.:]+) port (?<p>[0-9]{1,5})(?: ssh2)?(?: \[preauth\])?",
    ),
    (
        Kind::KeyLogin,
        r"Accepted publickey for (?-u:[^ ]*) from (?<a>[0-9a-fA-F.:]+) port (?<p>[0-9]{1,5})(?: ssh2(?:: (?s-u:.*))?)?",
    ),
    (
        Kind::SessionEnd,
        r"Received disconnect from (?<a>[0-9a-fA-F.:]+)(?: port (?<p>[0-9]{1,5}):|: )11: disconnected by user",
    ),
];

const HEADER: &str = r"(?:<[0-9]{1,3}>)?(?:[A-Z](?s-u:..) (?s-u:..) (?s-u:..):(?s-u:..):(?s-u:..)|[A-Z][a-z][a-z] [0-9] [0-9][0-9]:[0-9][0-9]:[0-9][0-9]) (?-u:[^ ]*[^ :]) (?-u:sshd|sshd-session|sshd-auth)(?:\[[0-9]{1,8}\])?: ";

type Seen = (Kind, String, u16, Option<Vec<u8>>);

/// What the plain scan sees in a line: of the messages that fit, the first.
fn plain(line: &[u8]) -> Option<Seen> {
    static PATTERNS: OnceLock<Vec<(Kind, Regex)>> = OnceLock::new();
    let patterns = PATTERNS.get_or_init(|| {
        let config = regex_automata::util::syntax::Config::new().utf8(false);
        let compile = |text: &str| Regex::builder().syntax(config).build(text).unwrap();
        MESSAGES.iter().map(|(kind, text)| (*kind, compile(&format!(r"^{HEADER}{text}$")))).collect()
    });
    let line = match line {
        [rest @ .., b'\r' | b' '] => rest.trim_ascii_end(),
        _ => line,
    };
    patterns.iter().find_map(|(kind, pattern)| {
        let mut groups = pattern.create_captures();
        pattern.captures(line, &mut groups);
        let text = |name| groups.get_group_by_name(name).map(|span| &line[span.start..span.end]);
        let address: std::net::IpAddr = std::str::from_utf8(text("a")?).ok()?.parse().ok()?;
        let port = text("p").map_or(Some(0), |port| std::str::from_utf8(port).ok()?.parse().ok())?;
        Some((*kind, address.to_canonical().to_string(), port, text("u").map(<[u8]>::to_vec)))
    })
}

fn fast(line: &[u8]) -> Option<Seen> {
    let mut scanner = scanner();
    scanner.line(line, REFERENCE).as_ref().map(parts)
}

fn parts(sighting: &Sighting<'_>) -> Seen {
    (sighting.kind, sighting.address.to_string(), sighting.port, sighting.account.map(<[u8]>::to_vec))
}

/// Tags and messages of which a log has many: some begin alike and mean something or not, some are cut short.
fn common() -> impl Strategy<Value = String> {
    let tag = prop_oneof![
        Just("CRON[7]"),
        Just("sudo"),
        Just("sshd[7]"),
        Just("sshd[77x]"),
        Just("postfix/smtpd[7]"),
        Just("systemd[1]"),
        Just("postfix/submission/smtpd[7]"),
    ];
    let message = prop_oneof![
        Just("pam_unix(cron:session): session closed for user root"),
        Just(
            "pam_unix(cron:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.1"
        ),
        Just(
            "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=192.0.2.1"
        ),
        Just("Invalid user a from 192.0.2.1"),
        Just("Invalid user from from 192.0.2.2"),
        Just("Received disconnect from 192.0.2.1 port 7:11: disconnected by user"),
        Just("connect from unknown[192.0.2.1]"),
        Just("lost connection after AUTH from unknown[192.0.2.1]"),
        Just("0123456789: lost connection after AUTH from unknown[192.0.2.1]"),
        Just("message repeated 2 times: [ Invalid user a from 192.0.2.1]"),
        Just("message repeated"),
        Just("               x"),
    ];
    let end = prop_oneof![4 => Just(""), 1 => Just(" "), 1 => Just("\r")];
    (tag, message, 0..80usize, any::<bool>(), end).prop_map(|(tag, message, length, is_cut, end)| {
        let length = if is_cut { length.min(message.len()) } else { message.len() };
        format!("{tag}: {}{end}", &message[..length])
    })
}

fn account() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[a-z]{0,12}".prop_map(String::into_bytes),
        2 => "( from 10\\.1\\.1\\.2| port 55| ssh2| \\[preauth\\]|invalid user |  user=x| rhost=1\\.1\\.1\\.1|: RSA x){1,4}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>().prop_filter("a line has no newline", |b| *b != b'\n'), 0..30),
    ]
}

fn address() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<std::net::Ipv4Addr>().prop_map(|address| address.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|address| address.to_string()),
        any::<std::net::Ipv4Addr>().prop_map(|address| format!("::ffff:{address}")),
        "[0-9a-f:.]{1,12}",
    ]
}

/// A line of sshd as it could be.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let host = prop_oneof![Just("web1".to_owned()), "[a-z.]{1,40}"];
    let tag = prop_oneof![3 => Just("sshd[7]"), 1 => Just("sshd-session[12345]"), 1 => Just("sshd"), 1 => Just("systemd-logind[7]"), 1 => Just("sshdx[1]")];
    (host, tag, account(), address(), any::<u16>(), 0..9usize).prop_map(|(host, tag, account, address, port, shape)| {
        let account = account.as_slice();
        let [front, back] = match shape {
            0 => ["Failed password for ".to_owned(), format!(" from {address} port {port} ssh2")],
            1 => ["Failed password for invalid user ".to_owned(), format!(" from {address} port {port} ssh2")],
            2 => ["Invalid user ".to_owned(), format!(" from {address}")],
            3 => ["Invalid user ".to_owned(), format!(" from {address} port {port}")],
            4 => [
                format!("pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={address}  user="),
                String::new(),
            ],
            5 => ["Connection closed by invalid user ".to_owned(), format!(" {address} port {port} [preauth]")],
            6 => [
                "error: maximum authentication attempts exceeded for ".to_owned(),
                format!(" from {address} port {port} ssh2 [preauth]"),
            ],
            7 => ["Accepted publickey for ".to_owned(), format!(" from {address} port {port} ssh2: ED25519 SHA256:abc")],
            _ => [format!("Received disconnect from {address} port {port}:11: disconnected by user"), String::new()],
        };
        let header = format!("Nov  1 00:00:00 {host} {tag}: ");
        let account = if shape == 8 { b"" } else { account };
        [header.as_bytes(), front.as_bytes(), account, back.as_bytes()].concat()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn equals_the_plain_scan(line in line()) {
        prop_assert_eq!(fast(&line), plain(&line), "{}", String::from_utf8_lossy(&line));
    }

    #[test]
    fn equals_the_plain_scan_on_mutated_lines(mut line in line(), at in any::<prop::sample::Index>(), byte in prop_oneof![Just(b' '), Just(b':'), Just(b'['), b'0'..=b'9', any::<u8>()], how in 0..3) {
        let at = at.index(line.len());
        match how {
            _ if byte == b'\n' => {}
            0 => line[at] = byte,
            1 => line.insert(at, byte),
            _ => line.truncate(at),
        }
        // What the plain scan knows, the fast one must see the same way; it knows more messages.
        if let Some(seen) = plain(&line) {
            prop_assert_eq!(fast(&line), Some(seen), "{}", String::from_utf8_lossy(&line));
        }
    }

    #[test]
    fn what_is_familiar_is_seen_as_if_it_were_new(messages in proptest::collection::vec(common(), 1..12)) {
        let lines: Vec<String> = messages.iter().map(|text| format!("Nov  1 00:00:00 web1 {text}\n")).collect();
        let mut scanner = scanner();
        let expected: Vec<_> = lines.iter().filter_map(|line| fast(line.trim_end_matches('\n').as_bytes())).collect();
        for time in 0..5 {
            let mut seen = Vec::new();
            scanner.scan(lines.concat().as_bytes(), REFERENCE, |sighting| seen.push(parts(sighting)));
            prop_assert_eq!(&seen, &expected, "the time {}", time);
        }
    }

    #[test]
    fn a_chunk_is_its_lines(lines in proptest::collection::vec(line(), 0..40)) {
        let mut text = Vec::new();
        for line in &lines {
            text.extend_from_slice(line);
            text.push(b'\n');
        }
        let mut seen = Vec::new();
        let scanned = scanner().scan(&text, REFERENCE, |sighting| seen.push(sighting.line.to_vec()));
        let expected: Vec<Vec<u8>> = lines.iter().filter(|line| fast(line).is_some()).cloned().collect();
        prop_assert_eq!(&seen, &expected);
        prop_assert_eq!((scanned.lines, scanned.matched), (lines.len() as u64, expected.len() as u64));
    }
}
