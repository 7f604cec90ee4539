//! What a line costs in memory: nothing. A global allocator counts what the scanning thread asks for.
//!
//! A call of `scan` keeps the sightings of some hundred lines in one list, which grows to that size once, however long
//! the text is. Nothing else asks for memory.
#![allow(clippy::unwrap_used, reason = "a test: what is not there is a failure")]
#![allow(unsafe_code, reason = "an allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fmt::Write as _;
use std::sync::Arc;

use guard::scan::corpus::Corpus;
use guard::scan::{FilterSet, Mode, Scanner, shipped};
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
