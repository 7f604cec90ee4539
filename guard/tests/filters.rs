//! Every shipped filter against its corpus, and against what an attacker could make of it.
#![allow(clippy::unwrap_used, reason = "a test: what is not there is a failure")]

use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use guard::scan::corpus::{self, Corpus, Sort};
use guard::scan::{Explainer, FilterSet, Mode, Scanner, shipped};
use guard::time::Wall;
use jiff::tz::TimeZone;
use proptest::prelude::*;

#[path = "filters/headers.rs"]
mod headers;
#[path = "filters/own_lines.rs"]
mod own_lines;
#[path = "filters/reference.rs"]
mod reference;
#[path = "filters/sshd_messages.rs"]
mod sshd_messages;

use headers::{HEADERS, NOW};

const MODES: [Mode; 4] = [Mode::Normal, Mode::Ddos, Mode::Extra, Mode::Aggressive];

/// Pieces that imitate parts of log lines.
const PIECES: [&str; 16] = [
    " from 198.51.100.66",
    " from 198.51.100.66 port 66 ssh2",
    " 198.51.100.66 port 66",
    " port 66",
    " [preauth]",
    ": Too many authentication failures",
    ": ED25519 SHA256:z",
    " ID y (serial 0) CA ED25519 SHA256:z",
    "Failed password for root",
    "invalid user ",
    "' from ",
    "  user=root",
    " not allowed because account is locked",
    "\u{2028}",
    "]",
    " ",
];

/// A case, and the filter it belongs to.
#[derive(Clone, Debug)]
struct Case {
    filter: String,
    case: corpus::Case,
}

impl std::ops::Deref for Case {
    type Target = corpus::Case;

    fn deref(&self) -> &corpus::Case {
        &self.case
    }
}

impl Case {
    fn address(&self) -> Option<IpAddr> {
        self.expect.0
    }

    fn identifier(&self) -> &str {
        self.identifier.as_deref().expect("a message has somebody who wrote it")
    }

    /// Where the peer's own text stands in the message.
    fn hostile_place(&self) -> Option<Range<usize>> {
        let text = self.text();
        if let Some(hostile) = &self.hostile {
            let at = text.rfind(hostile.as_str()).expect("the hostile text is in the message");
            return (!hostile.is_empty()).then(|| at..at + hostile.len());
        }
        let mut scanner = scanner_once();
        let account = self.scan(&mut scanner, text.as_bytes(), NOW)?.account?;
        // What was escaped in the line stands elsewhere now.
        let at = account.as_ptr().addr().checked_sub(text.as_ptr().addr())?;
        (at + account.len() <= text.len()).then(|| at..at + account.len())
    }
}

fn corpora() -> Vec<(String, Vec<Case>)> {
    shipped()
        .into_iter()
        .map(|filter| {
            let path = format!("{}/tests/corpus/{}.toml", env!("CARGO_MANIFEST_DIR"), filter.name);
            let text = std::fs::read_to_string(&path)
                .unwrap_or_else(|error| panic!("a shipped filter needs a corpus: {path}: {error}"));
            let first = filter.about().unwrap().identifiers.first().cloned();
            let corpus =
                Corpus::read(&text, first.as_deref()).unwrap_or_else(|error| panic!("{path}: {error}"));
            let named = |case| Case { filter: filter.name.clone(), case };
            (filter.name.clone(), corpus.cases.into_iter().map(named).collect())
        })
        .collect()
}

fn cases() -> Vec<Case> {
    corpora().into_iter().flat_map(|(_, cases)| cases).collect()
}

fn scanner(mode: Mode) -> Scanner {
    Scanner::with_zone(Arc::new(FilterSet::shipped(mode).unwrap()), TimeZone::UTC)
}

fn address(scanner: &mut Scanner, case: &Case, message: &[u8]) -> Option<IpAddr> {
    case.scan(scanner, message, NOW).map(|sighting| sighting.address)
}

#[test]
fn every_shipped_filter_is_a_file_and_has_a_whole_corpus() {
    let mut files: Vec<String> = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../config/filters"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    files.sort_unstable();
    let names: Vec<String> = shipped().into_iter().map(|filter| filter.name).collect();
    assert_eq!(names, files, "in alphabetical order");
    for (filter, cases) in corpora() {
        for sort in [Sort::Attack, Sort::Benign, Sort::Injected] {
            assert!(cases.iter().any(|case| case.sort == sort), "{filter} has no {sort:?} case");
        }
        for case in cases {
            assert!(!case.source.is_empty(), "{case:?}");
            assert_eq!(case.address().is_some(), case.kind.is_some(), "{case:?}");
        }
    }
}

#[test]
fn no_line_has_two_readings() {
    FilterSet::prove(&shipped(), Mode::Aggressive).unwrap();
}

#[test]
fn every_case_in_every_mode() {
    for mode in MODES {
        let mut scanner = scanner(mode);
        let faults: Vec<String> =
            cases().iter().filter_map(|case| case.check(&mut scanner, NOW).err()).collect();
        assert!(faults.is_empty(), "{mode:?}: {} cases:\n{}", faults.len(), faults.join("\n"));
    }
}

#[test]
fn a_filter_alone_reads_its_corpus_and_so_does_the_file_it_owns() {
    for filter in shipped() {
        let (_, cases) = corpora().into_iter().find(|(name, _)| *name == filter.name).unwrap();
        let set = FilterSet::compile(std::slice::from_ref(&filter), Mode::Aggressive).unwrap();
        let own = filter.about().unwrap().files.into_iter().map(|file| file.replace('*', "")).next();
        let own = own.map(|file| set.for_own_files(&set.owners(file.as_ref())).unwrap());
        let mut alone = Scanner::with_zone(Arc::new(set), TimeZone::UTC);
        let mut own = own.map(|own| Scanner::with_zone(Arc::new(own), TimeZone::UTC));
        for case in cases {
            case.check(&mut alone, NOW).unwrap_or_else(|fault| panic!("{}: {fault}", filter.name));
            if let (Some(own), Some(_)) = (&mut own, &case.line) {
                case.check(own, NOW).unwrap_or_else(|fault| panic!("{}: {fault}", filter.name));
            }
        }
    }
}

/// Files that a client can write whole lines into, and such lines: as the file's service would write them, as a syslog
/// daemon would, with a pid and without, as PAM would.
const FORGED: [(&str, &[&str]); 4] = [
    (
        "/var/log/proftpd/proftpd.log",
        &[
            "2026-11-21 09:40:53,069 h proftpd[1] x (y[198.51.100.1]): USER a (Login failed): Incorrect password",
            "2026-11-21 09:40:53,069 x (y[198.51.100.1]) - USER a (Login failed): Incorrect password",
            "Nov 21 09:40:53 h proftpd[1]: x (y[198.51.100.1]) - USER a (Login failed): Incorrect password",
            "Nov 21 09:40:53 h proftpd: x (y[198.51.100.1]) - USER a (Login failed): Incorrect password",
            "2026-11-21T09:40:53.069+00:00 h proftpd[1]: x (y[198.51.100.1]) - SECURITY VIOLATION: root login attempted.",
            "Nov 21 09:40:53 h proftpd[1]: pam_unix(proftpd:auth): authentication failure; logname= uid=0 euid=0 \
             tty=/dev/ftpd1 ruser=a rhost=198.51.100.1  user=a",
            "2026-11-21 09:40:53,069 pam_unix(proftpd:auth): authentication failure; logname= uid=0 euid=0 \
             tty=/dev/ftpd1 ruser=a rhost=198.51.100.1  user=a",
            "Nov 21 09:40:53 h sshd[1]: Failed password for root from 198.51.100.1 port 22 ssh2",
        ],
    ),
    (
        "/var/log/asterisk/messages",
        &[
            "[2026-11-22 02:10:00] NOTICE[1234] manager.c: 198.51.100.1 failed to authenticate as 'admin'",
            "[2026-11-22 02:10:00] NOTICE[1234] chan_sip.c: Registration from '<sip:a@192.0.2.1>' failed for \
             '198.51.100.1:5060' - Wrong password",
            "Nov 22 02:10:00 h asterisk[1]: NOTICE[1234]: manager.c:3572 in authenticate: 198.51.100.1 failed to \
             authenticate as 'admin'",
            "Nov 22 02:10:00 h sshd[1]: Failed password for root from 198.51.100.1 port 22 ssh2",
        ],
    ),
    (
        "/var/log/asterisk/security",
        &["[2026-11-22 02:10:00] SECURITY[1] res_security_log.c: SecurityEvent=\"ChallengeResponseFailed\",\
             Service=\"PJSIP\",AccountID=\"a\",RemoteAddress=\"IPV4/UDP/198.51.100.1/5060\",Challenge=\"1/2\",\
             Response=\"3\",ExpectedResponse=\"\""],
    ),
    (
        "/var/log/mysqld.log",
        &[
            "2026-11-21T09:45:55.123456Z 4 [Note] [MY-010926] [Server] Access denied for user 'x'@'198.51.100.1'",
            "2026-11-21T09:45:55.123456Z 4 [Note] Access denied for user 'x'@'198.51.100.1' (using password: NO)",
        ],
    ),
];

#[test]
fn a_line_that_a_client_writes_into_a_services_own_file_has_no_points() {
    let all = FilterSet::shipped(Mode::Aggressive).unwrap();
    for (path, lines) in FORGED {
        let owners = all.owners(path.as_ref());
        assert!(!owners.is_empty(), "{path}");
        let mut own = Scanner::with_zone(Arc::new(all.for_own_files(&owners).unwrap()), TimeZone::UTC);
        for line in lines {
            let sighting = own.line(line.as_bytes(), NOW);
            assert!(sighting.is_none_or(|sighting| sighting.points.0 == 0), "{path}: {line}: {sighting:?}");
        }
        let mut seen = 0;
        own.scan(format!("{}\n", lines.join("\n")).as_bytes(), NOW, |sighting| {
            seen += 1;
            assert_eq!(sighting.points.0, 0, "{path}: {sighting:?}");
        });
        assert!(seen > 0, "{path}: nothing is shown");
    }
}

/// No filter reads them unless the administrator says so.
#[test]
fn logs_that_a_client_can_write_lines_into_have_no_owner() {
    let all = FilterSet::shipped(Mode::Aggressive).unwrap();
    for path in [
        "/var/log/nginx/error.log",
        "/var/log/apache2/error.log",
        "/var/log/httpd/error_log",
        "/var/log/traefik/access.log",
    ] {
        assert!(all.owners(path.as_ref()).is_empty(), "{path}");
    }
}

#[test]
fn every_case_behind_every_header() {
    let mut scanner = scanner(Mode::Aggressive);
    for case in cases().into_iter().filter(|case| case.message.is_some()) {
        for (before, after) in HEADERS {
            let line = format!("{before}{}{after}{}", case.identifier(), case.text());
            let sighting = scanner.line(line.as_bytes(), NOW);
            assert_eq!(sighting.as_ref().map(|s| s.address), case.address(), "{line:?}");
            if let Some(sighting) = sighting {
                assert_eq!(sighting.pid, 4711, "{line:?}");
                // A record says its own time, and it counts more than the header's.
                let is_record = case.text().starts_with('{') || case.text().contains("level=");
                assert!(is_record || sighting.at.map(Wall::seconds) == Some(NOW.seconds()), "{line:?}");
            }
            let other = format!("{before}nobody{after}{}", case.text());
            assert_eq!(scanner.line(other.as_bytes(), NOW), None, "another program: {other:?}");
        }
    }
}

#[test]
fn a_cut_message_names_no_other_address() {
    let mut scanner = scanner(Mode::Aggressive);
    for case in cases() {
        let Some(expected) = case.address() else { continue };
        // A cut inside the address itself leaves another address, and an account may hold one: such lines are far
        // shorter than the server's limit, so only what follows the address can be lost.
        let written = expected.to_string();
        let Some(at) = case.text().rfind(&written) else { continue };
        // The last colon separates an IPv6 address without brackets from its port: that is a cut inside of it too.
        let port = format!(":{}", case.port);
        let behind = at + written.len();
        let is_peer = expected.is_ipv6() && case.text()[behind..].starts_with(&port);
        for end in behind + if is_peer { port.len() } else { 0 }..case.text().len() {
            let found = address(&mut scanner, &case, &case.text().as_bytes()[..end]);
            assert!(found.is_none_or(|found| found == expected), "{found:?} in {end} bytes of {case:?}");
        }
    }
}

#[test]
fn long_hostile_lines_take_linear_time() {
    // Compiling the filters is not what is timed.
    let mut scanner = scanner_once();
    let started = Instant::now();
    for (number, case) in cases().into_iter().enumerate() {
        // Two pieces each: over all cases, every piece is tried with every sort of line.
        for piece in [PIECES[number % PIECES.len()], PIECES[(number + 5) % PIECES.len()]] {
            let Some(place) = case.hostile_place() else { continue };
            let mut line = match &case.message {
                Some(_) => format!("{}{}{}", HEADERS[0].0, case.identifier(), HEADERS[0].1),
                None => String::new(),
            };
            line.push_str(&case.text()[..place.start]);
            line.push_str(&piece.repeat(100 * 1024 / piece.len()));
            line.push_str(&case.text()[place.end..]);
            let found = scanner.line(line.as_bytes(), NOW).map(|sighting| sighting.address);
            assert!(found.is_none() || found == case.address(), "{piece:?} repeated in {case:?}");
        }
    }
    // Some 200 MB, read within seconds on a busy machine; a quadratic reading of a few such lines alone takes longer.
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}

/// Text that tries to look like the rest of a line.
fn hostile_text() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => prop::sample::select(PIECES.to_vec()).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..8),
    ];
    prop::collection::vec(piece, 1..5).prop_map(|pieces| pieces.concat())
}

fn spliced(message: &str, at: usize, text: &[u8]) -> Vec<u8> {
    [&message.as_bytes()[..at], text, &message.as_bytes()[at..]].concat()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn hostile_text_never_moves_the_address(
        case in prop::sample::select(cases()), text in hostile_text(), part in 0.0..1.0f64,
    ) {
        let mut scanner = scanner_once();
        if let (Some(expected), Some(place)) = (case.address(), case.hostile_place()) {
            let at = place.start + (place.len() as f64 * part) as usize;
            let found = address(&mut scanner, &case, &spliced(case.text(), at, &text));
            prop_assert!(found.is_none_or(|found| found == expected), "{:?}", found);
            // sshd cuts a name at its first colon; what is left is read from the end and cannot be used to hide either.
            if case.filter == "sshd" && case.account.is_some() {
                let name: Vec<u8> = text.iter().copied().filter(|b| *b != b':').collect();
                let found = address(&mut scanner, &case, &spliced(case.text(), at, &name));
                prop_assert_eq!(found, Some(expected));
            }
        }
        // sshd cuts a name at its first colon.
        if let (Some(expected), Some(name)) = (case.address(), &case.name) {
            let name_at = case.text().find(&format!(" {name} ")).expect("the name is in the message") + 1;
            let text: Vec<u8> = text.into_iter().filter(|b| *b != b':').collect();
            let found = address(&mut scanner, &case, &spliced(case.text(), name_at + name.len(), &text));
            prop_assert!(found.is_none_or(|found| found == expected), "{:?}", found);
        }
    }

    #[test]
    fn junk_behind_a_message_names_no_other_address(
        case in prop::sample::select(cases()), junk in prop::collection::vec(any::<u8>(), 1..40),
    ) {
        let message = [case.text().as_bytes(), b" ", &junk].concat();
        if let Some(found) = address(&mut scanner_once(), &case, &message) {
            // What named nobody may become a message of another form: of the peer that it is about.
            let about = case.address().is_none() && case.text().contains(&found.to_string());
            prop_assert!(about || Some(found) == case.address(), "{}", found);
        }
    }

    #[test]
    fn a_pattern_that_has_an_end_reads_no_junk_behind_it(
        case in prop::sample::select(ended()), junk in "[!-~\\x1b]{1,20}( [!-~]{1,20}){0,2}",
    ) {
        // Junk that ends as the pattern does would be part of the free text before that end.
        let message = format!("{} {junk}~", case.text());
        let mut scanner = scanner_once();
        // A pattern that goes on with free text may read it, of the same peer.
        let pattern = case.scan(&mut scanner, message.as_bytes(), NOW).map(|sighting| sighting.pattern);
        let pattern = pattern.map(|pattern| scanner.filters().pattern_text(pattern));
        prop_assert!(!pattern.is_some_and(reference::has_end), "{:?} reads {}", pattern, message);
    }

    #[test]
    fn the_reference_reads_the_same(
        case in prop::sample::select(messages()), text in hostile_text(), part in 0.0..1.0f64, removed in 0..4usize,
    ) {
        let at = (case.text().len() as f64 * part) as usize;
        let end = (at + removed).min(case.text().len());
        let message = case.text().as_bytes();
        let mutated = [&message[..at], &text, &message[end..]].concat();
        for message in [message, &mutated] {
            // Repetitions are the scanner's own affair, and so are spaces at the end.
            if message.starts_with(b"message repeated") || message.trim_ascii_end().len() != message.len() {
                continue;
            }
            let readings = reference::addresses(case.identifier(), message);
            let found = address(&mut scanner_once(), &case, message);
            prop_assert!(readings.len() <= 1, "two readings: {:?}", readings);
            prop_assert_eq!(found, readings.first().copied(), "{}", String::from_utf8_lossy(message));
        }
    }

    #[test]
    fn any_bytes_are_read(line in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut scanner = scanner_once();
        for (before, after) in HEADERS {
            scanner.line(&[before.as_bytes(), b"sshd", after.as_bytes(), &line].concat(), NOW);
        }
        scanner.line(&line, NOW);
    }
}

/// Cases that are messages of filters without records, which the reference reads.
fn messages() -> Vec<Case> {
    let records = |filter: &str| shipped().iter().any(|f| f.name == filter && f.text.contains("\nfields = "));
    let of = |(filter, cases): (String, Vec<Case>)| if records(&filter) { Vec::new() } else { cases };
    corpora().into_iter().flat_map(of).filter(|case| case.message.is_some()).collect()
}

/// Cases whose pattern has an end: a literal, an address, a number or a word, nothing that a peer could go on with.
fn ended() -> Vec<Case> {
    let mut scanner = scanner_once();
    let mut ends = |case: &Case| {
        let pattern = case.scan(&mut scanner, case.text().as_bytes(), NOW).map(|sighting| sighting.pattern);
        pattern.is_some_and(|pattern| reference::has_end(scanner.filters().pattern_text(pattern)))
    };
    let cases: Vec<_> = messages().into_iter().filter(|case| ends(case)).collect();
    assert!(cases.len() > 500, "{} cases", cases.len());
    cases
}

/// A scanner with filters that are compiled once for all rounds of a property.
fn scanner_once() -> Scanner {
    static SCANNER: std::sync::OnceLock<Scanner> = std::sync::OnceLock::new();
    SCANNER.get_or_init(|| scanner(Mode::Aggressive)).clone()
}

/// What a line of a form that guard does not know begins with.
const STRANGE: [&str; 10] = [
    "x ",
    "  ",
    "[2026-11-20 00:00:00] web1 app: ",
    "2026-11-20 00:00:00 web1 app[7]: ",
    "2026-11-20 00:00:00 ",
    "app[7]: ",
    "<134>web1 app: ",
    "Fri Nov 20 00:00:00 2026 web1 app[1]: ",
    "{\"msg\":\"",
    "level=info msg=\"",
];

#[test]
fn explain_names_the_address_of_every_case_and_no_other() {
    let mut explainer = Explainer::new(Arc::new(FilterSet::shipped(Mode::Aggressive).unwrap())).unwrap();
    let mut explained =
        |line: &str| explainer.explain(line.as_bytes(), NOW).matched.map(|matched| matched.address);
    let mut faults = Vec::new();
    for case in cases() {
        let mut lines = vec![case.text().to_owned()];
        if case.message.is_some() {
            let whole = |(front, back)| format!("{front}{}{back}{}", case.identifier(), case.text());
            lines.extend(HEADERS.map(whole));
        }
        for line in lines {
            let found = explained(&line);
            if found != case.address() {
                faults.push(format!("{found:?}, not {:?}: {line}", case.address()));
            }
        }
        for front in STRANGE {
            let line = format!("{front}{}", case.text());
            let found = explained(&line);
            if found.is_some() && found != case.address() {
                faults.push(format!("{found:?}, not {:?} or none: {line}", case.address()));
            }
        }
    }
    assert!(faults.is_empty(), "{} lines:\n{}", faults.len(), faults.join("\n"));
}
