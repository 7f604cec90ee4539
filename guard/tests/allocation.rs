//! What a line costs in memory, and what a rule does about it: nothing. A global allocator counts what the scanning thread asks for.
//!
//! A call of `scan` keeps the sightings of some hundred lines in one list, which grows to that size once, however long
//! the text is. Nothing else asks for memory.
#![allow(clippy::unwrap_used, reason = "a test: what is not there is a failure")]
#![allow(unsafe_code, reason = "an allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

use guard::config::{Allow, Config};
use guard::judge::{Judge, Voucher};
use guard::protect::Protection;
use guard::rules::RuleSet;
use guard::scan::corpus::Corpus;
use guard::scan::{FilterSet, Mode, Scanner, shipped};
use guard::sighting::{Kind, PatternId, Sighting, SourceId};
use guard::store::Snapshot;
use guard::time::{Clock, Moment, Wall};
use jiff::tz::TimeZone;

#[path = "../../benches/authlog.rs"]
#[allow(dead_code, unreachable_pub, reason = "the log of the benchmarks")]
mod authlog;
#[path = "filters/headers.rs"]
mod headers;

use headers::{HEADERS, NOW};

/// Times the list of one call can grow: from 4 places, doubled to at least those of the lines that are taken together.
const GROWTH: u64 = 8;
/// Lines that fit into the list's first places.
const FEW: usize = 4;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, and a count of what each thread asked of it.
struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: every call is the system allocator's own; the count is a thread's plain number, which allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's contract is the same.
        unsafe { System.realloc(place, layout, size) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract is the same.
        unsafe { System.dealloc(place, layout) }
    }
}

fn count() {
    // A thread that ends has no count any more.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

/// How often this thread asked for memory while `run` ran.
fn allocations(run: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    run();
    ALLOCATIONS.get() - before
}

fn scanner() -> Scanner {
    Scanner::with_zone(Arc::new(FilterSet::shipped(Mode::Aggressive).unwrap()), TimeZone::UTC)
}

/// Sightings in a text.
fn scan(scanner: &mut Scanner, text: &[u8]) -> u64 {
    scanner.scan(text, NOW, |_| {}).matched
}

/// Every line of every corpus, messages behind each form of header.
fn corpus_lines() -> Vec<String> {
    let mut lines = Vec::new();
    for filter in shipped() {
        let path = format!("{}/tests/corpus/{}.toml", env!("CARGO_MANIFEST_DIR"), filter.name);
        let first = filter.about().unwrap().identifiers.first().cloned();
        let corpus = Corpus::read(&std::fs::read_to_string(path).unwrap(), first.as_deref()).unwrap();
        for case in corpus.cases {
            let text = case.text();
            let Some(identifier) = case.identifier.as_ref().filter(|_| case.message.is_some()) else {
                lines.push(format!("{text}\n"));
                continue;
            };
            for (before, after) in HEADERS {
                lines.push(format!("{before}{identifier}{after}{text}\n"));
            }
        }
    }
    lines
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(vec![1_u8; 100]))), 1);
    assert_eq!(allocations(|| {}), 0);
}

#[test]
fn a_longer_log_asks_for_no_more_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("auth.log");
    let mut scanner = scanner();
    for attacks in [2_u32, 50] {
        authlog::write(&path, authlog::Recipe { lines: 50_000, attacks, seed: 1 }).unwrap();
        let log = std::fs::read(&path).unwrap();
        let end = |part: usize| line_end(&log, log.len() * part / 100);
        assert!(scan(&mut scanner, &log[..end(30)]) > 0, "the warm-up has sightings");
        let mut counts = Vec::new();
        for (from, to) in [(30, 32), (32, 98)] {
            let mut matched = 0;
            counts.push(allocations(|| matched = scan(&mut scanner, &log[end(from)..end(to)])));
            assert!(matched >= (to - from) as u64 * u64::from(attacks) * 4, "{matched} sightings");
        }
        assert!(counts.iter().all(|count| *count <= GROWTH), "{counts:?} with {attacks} % attacks");
    }
}

#[test]
fn no_line_of_a_corpus_costs_an_allocation() {
    let mut scanner = scanner();
    let mut faults = String::new();
    for line in corpus_lines() {
        let few = line.repeat(FEW);
        // The first of its form may change what the scanner expects.
        let matched = scan(&mut scanner, few.as_bytes());
        let alone = allocations(|| {
            scanner.line(line.trim_end_matches('\n').as_bytes(), NOW);
        });
        let together = allocations(|| {
            scan(&mut scanner, few.as_bytes());
        });
        if alone > 0 || together > u64::from(matched > 0) {
            write!(faults, "{alone} alone, {together} together: {line}").unwrap();
        }
    }
    assert!(faults.is_empty(), "{} lines\n{faults}", faults.lines().count());
}

/// The place behind the first newline from `from` on.
fn line_end(text: &[u8], from: usize) -> usize {
    from + text[from..].iter().position(|b| *b == b'\n').unwrap() + 1
}

const CLOCK: Clock = Clock { wall: Wall(1_800_000_000_000), moment: Moment(1_000_000) };

#[test]
fn a_rule_that_acts_makes_no_text_unless_something_is_told() {
    let config = Config::default();
    let filters = Arc::new(FilterSet::shipped(Mode::Normal).unwrap());
    let protection = Protection::new(&config.allow, CLOCK);
    let mut judge = Judge::new(&config, filters, protection, &Snapshot::default(), 7, CLOCK);
    let rules = "[[rule]]\nname = 'one'\nwhen = { user = 'root' }\nthen = { ignore = true }";
    judge.set_rules(RuleSet::compile(rules, Path::new("rules.toml")).unwrap());
    let sighting = Sighting {
        at: None,
        address: "203.0.113.7".parse().unwrap(),
        kind: Kind::FailedPassword,
        points: Kind::FailedPassword.default_points(),
        pattern: PatternId { filter: 0, pattern: 0 },
        pid: 0,
        port: 0,
        account: Some(b"root"),
        service: b"sshd",
        request: None,
        line: b"Failed password for root from 203.0.113.7 port 4711 ssh2",
    };
    let mut see = || judge.sighting(&sighting, SourceId(0), Voucher::Kernel, CLOCK);
    // What is kept from one sighting to the next grows with the first.
    assert!(!see());
    let asked = allocations(|| assert!(!(0..100).any(|_| see())));
    assert_eq!(asked, 0, "for 100 sightings that a rule ignores");
    assert_eq!(judge.rules().counts()[0].1.acted, 101);
}

#[test]
fn what_may_pass_is_found_without_the_reasons_in_words() {
    let mut protection = Protection::new(&Allow::default(), CLOCK);
    for host in 0..1000u32 {
        protection.key_login(Ipv4Addr::from(0xcb00_0000 + host).into(), 4711, CLOCK.moment);
    }
    let mut count = 0;
    let asked = allocations(|| count = protection.targets(CLOCK.moment).len());
    assert!(count > 1000 && asked < 500, "{asked} for {count} targets");
}
