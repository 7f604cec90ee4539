//! Many lines together against each by itself: what is remembered of a log's layout and stamp changes nothing.

use proptest::prelude::*;

use super::{REFERENCE, scanner};
use crate::scan::Scanner;
use crate::sighting::Sighting;
use crate::source::{Reading, Scan};

/// All that a sighting says, in a form that outlives the text.
fn seen(sighting: &Sighting<'_>) -> String {
    format!("{sighting:?}")
}

/// What a scanner sees that never saw another line.
fn alone(line: &[u8]) -> Option<String> {
    scanner().line(line, REFERENCE).map(|sighting| seen(&sighting))
}

fn together(scanner: &mut Scanner, lines: &[Vec<u8>]) -> Vec<String> {
    let mut all = Vec::new();
    scanner.scan(&lines.join(&b'\n'), REFERENCE, |sighting| all.push(seen(sighting)));
    all
}

#[test]
fn lines_without_a_zone_stand_back_and_the_others_are_counted() {
    let behind = 3_600_000;
    let failed = "host sshd[7]: Failed password for root from 203.0.113.7 port 4711 ssh2";
    for (stamp, zoned) in [
        ("Nov 20 12:00:00", false),
        ("2026-11-20T12:00:00", false),
        ("2026-11-20T12:00:00Z", true),
        ("2026-11-20T12:00:00.5+01:00", true),
    ] {
        let line = format!("{stamp} {failed}\n");
        let usual = scanner().line(line.trim_end().as_bytes(), REFERENCE).unwrap().at.unwrap();
        let reading = Reading { at: REFERENCE, behind };
        let mut times = Vec::new();
        let scanned = scanner()
            .lines(line.repeat(9).as_bytes(), reading, &mut |s| times.push(s.at.unwrap().0 - usual.0));
        assert_eq!(times, [if zoned { 0 } else { behind }; 9], "{stamp}");
        assert_eq!(scanned.zoned, if zoned { 9 } else { 0 }, "{stamp}");
    }
}

/// What stands in front of the tag in most lines of a log: one notation, one zone, one host.
#[derive(Clone, Debug)]
struct Log {
    bsd: bool,
    fraction: usize,
    zone: String,
    host: String,
}

fn log() -> impl Strategy<Value = Log> {
    let zone = prop_oneof![
        Just("Z".to_owned()),
        Just("+01:00".to_owned()),
        Just("-09:30".to_owned()),
        Just(String::new())
    ];
    let host = prop_oneof![4 => "[a-z]{1,8}[0-9]", 1 => "[a-z.]{1,40}", 1 => "[a-z]{0,3}:?", 1 => "<auth\\.(info|err)> [a-z]{1,4}"];
    (prop::bool::weighted(0.2), 0..10usize, zone, host).prop_map(|(bsd, fraction, zone, host)| Log {
        bsd,
        fraction,
        zone,
        host,
    })
}

impl Log {
    /// The stamp and the host at some second.
    fn header(&self, second: u32) -> String {
        let (hour, minute, of_minute) = (second / 3600 % 24, second / 60 % 60, second % 60);
        let Self { fraction, zone, host, .. } = self;
        if self.bsd {
            return format!("Nov {:2} {hour:02}:{minute:02}:{of_minute:02} {host} ", 1 + second % 19);
        }
        let fraction = match *fraction {
            0 => String::new(),
            digits => format!(".{:0digits$}", second % 10),
        };
        format!("2026-11-{:02}T{hour:02}:{minute:02}:{of_minute:02}{fraction}{zone} {host} ", 1 + second % 19)
    }
}

/// A tag and a message, of programs that are read and of others.
fn rest() -> impl Strategy<Value = String> {
    let tag = prop_oneof![
        6 => "sshd\\[[0-9]{1,8}\\]: ",
        1 => Just("sshd-session[12345]: ".to_owned()),
        1 => Just("sshd: ".to_owned()),
        1 => Just("su: ".to_owned()),
        1 => "(wp|wordpress)\\([A-Za-z0-9.-]{1,12}\\)(\\[7\\])?: ",
        1 => "(auth|user|uucp|auth2)\\.(info|warn|x) (sshd|su)\\[7\\]: ",
        1 => "(sshx|sudo|CRON|sshdx|)(\\[[0-9]{0,9}\\])?:? ?",
    ];
    let address = prop_oneof![
        any::<std::net::Ipv4Addr>().prop_map(|address| address.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|address| address.to_string()),
    ];
    let port = any::<u16>();
    (tag, address, port, "[ -~]{0,12}", 0..8usize).prop_map(|(tag, address, port, account, shape)| {
        let message = match shape {
            0 => format!("Failed password for {account} from {address} port {port} ssh2"),
            1 => format!("Invalid user {account} from {address} port {port}"),
            2 => format!(
                "Accepted publickey for deploy from {address} port {port} ssh2: ED25519 SHA256:{account}"
            ),
            3 => format!("Received disconnect from {address} port {port}:11: disconnected by user"),
            4 => format!(
                "message repeated 2 times: [ Failed password for root from {address} port {port} ssh2]"
            ),
            5 => format!("Failed passwor{account}"),
            6 => format!("Authentication failure for {account} from {address}"),
            _ => account,
        };
        format!("{tag}{message}")
    })
}

/// How a line departs from the layout of its log.
#[derive(Clone, Debug)]
enum Odd {
    No,
    Cut(prop::sample::Index),
    Byte(prop::sample::Index, u8),
    OtherLog(Log),
}

fn odd() -> impl Strategy<Value = Odd> {
    let byte = prop_oneof![Just(b' '), Just(b':'), Just(b'T'), Just(b'['), b'0'..=b'9', any::<u8>()];
    prop_oneof![
        6 => Just(Odd::No),
        1 => any::<prop::sample::Index>().prop_map(Odd::Cut),
        2 => (any::<prop::sample::Index>(), byte.prop_filter("a line has no newline", |b| *b != b'\n'))
            .prop_map(|(at, byte)| Odd::Byte(at, byte)),
        1 => log().prop_map(Odd::OtherLog),
    ]
}

fn lines() -> impl Strategy<Value = Vec<Vec<u8>>> {
    (log(), prop::collection::vec((rest(), odd(), 0..4u32), 0..40)).prop_map(|(log, lines)| {
        let mut second = 0;
        let write = |(rest, odd, wait): (String, Odd, u32)| {
            second += wait * wait * 20;
            let log = if let Odd::OtherLog(other) = &odd { other } else { &log };
            let header = log.header(second);
            let mut line = format!("{header}{rest}").into_bytes();
            match odd {
                Odd::Cut(at) => line.truncate(at.index(line.len())),
                Odd::Byte(at, byte) => line[at.index(header.len() + 4) % header.len()] = byte,
                Odd::No | Odd::OtherLog(_) => {}
            }
            line
        };
        lines.into_iter().map(write).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_log_is_read_like_its_lines(lines in lines()) {
        let expected: Vec<String> = lines.iter().filter_map(|line| alone(line)).collect();
        let mut scanner = scanner();
        prop_assert_eq!(&together(&mut scanner, &lines), &expected);
        // The second time it knows a layout from the beginning.
        prop_assert_eq!(&together(&mut scanner, &lines), &expected);
    }
}

#[test]
fn a_host_behind_a_short_name_does_not_hide_its_line() {
    let line = |tag: &str| {
        format!("2026-11-19T10:00:00Z web1 {tag}: Authentication failure for x from 192.0.2.1").into_bytes()
    };
    let lines: Vec<_> =
        ["wp(www.example.org)[7]", "wp[7]", "wp(203.0.113.7)", "wordpress(www.example.org)[7]"]
            .map(line)
            .into();
    let mut scanner = scanner();
    for round in ["the layout is new", "the layout is known"] {
        assert_eq!(together(&mut scanner, &lines).len(), lines.len(), "{round}");
    }
}

#[test]
fn lines_with_a_stamp_of_rfc_3339_are_read_by_their_layout() {
    let line = |second: u32, address: &str| {
        format!("2026-11-19T10:00:{second:02}.123456+01:00 web1 sshd[{second}]: Invalid user x from {address} port 9")
            .into_bytes()
    };
    let lines = [line(1, "192.0.2.1"), line(1, "2001:db8::1"), line(59, "192.0.2.2")];
    let (mut times, mut scanner) = (Vec::new(), scanner());
    scanner.scan(&lines.join(&b'\n'), REFERENCE, |s| {
        times.push((s.at.unwrap().0 - REFERENCE.0, s.address.to_string(), s.pid));
    });
    // Fifteen hours before the reference, which is midnight.
    let expected = |after: i64, address: &str, pid| (after - 15 * 3_600_000, address.to_owned(), pid);
    assert_eq!(
        times,
        [expected(1123, "192.0.2.1", 1), expected(1123, "2001:db8::1", 1), expected(59_123, "192.0.2.2", 59)]
    );
}
