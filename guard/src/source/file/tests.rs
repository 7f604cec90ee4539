//! The reader on real files. Every line is one sighting here, so that what arrives can be compared word by word.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::*;
use crate::sighting::{Kind, PatternId, Points, Sighting, SourceId};
use crate::source::{Batch, Entry, Position, ReadCount, Scanned, Sender};
use crate::time::{Wall, boot_nanoseconds};

const PATIENCE: Duration = Duration::from_secs(60);

/// Takes every line for a sighting.
struct EveryLine;

impl Scan for EveryLine {
    fn lines(&mut self, chunk: &[u8], _: Wall, hit: &mut dyn FnMut(&Sighting<'_>)) -> Scanned {
        let mut scanned = Scanned::default();
        for line in chunk.split_inclusive(|b| *b == b'\n') {
            scanned.lines += 1;
            hit(&Sighting {
                at: None,
                address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                kind: Kind::FailedPassword,
                points: Points(1000),
                pattern: PatternId::default(),
                pid: 0,
                port: 0,
                account: None,
                line: line.strip_suffix(b"\n").unwrap_or(line),
            });
        }
        scanned
    }

    fn wants(&self, _: &[u8]) -> bool {
        false
    }

    fn trusts(&self, _: &[u8], sender: &Sender<'_>) -> bool {
        sender.uid == 0
    }

    fn entry<'a>(&'a mut self, _: &Entry<'a>) -> Option<Sighting<'a>> {
        None
    }
}

struct Channel {
    to: SyncSender<Delivery>,
    /// Deliveries until the engine is gone.
    left: usize,
}

impl Sink for Channel {
    fn deliver(&mut self, delivery: Delivery) -> Result<(), Closed> {
        self.left = self.left.checked_sub(1).ok_or(Closed)?;
        self.to.send(delivery).map_err(|_| Closed)
    }
}

/// A running reader and what it has delivered.
struct Run {
    stop: Stop,
    thread: Option<JoinHandle<Result<(), FileError>>>,
    from: Receiver<Delivery>,
    lines: Vec<String>,
    count: ReadCount,
    position: Option<Position>,
    status: Option<SourceStatus>,
    read_at: u64,
    inbox: Inbox,
    gone: bool,
}

impl Run {
    fn new(path: &Path, position: Option<Position>) -> Self {
        Self::with(
            path,
            position,
            Options { linger: Duration::from_millis(50), ..Options::default() },
            usize::MAX,
        )
    }

    fn with(path: &Path, position: Option<Position>, options: Options, left: usize) -> Self {
        let (to, from) = sync_channel(4);
        let stop = Stop::new().unwrap();
        let file = Followed { position: position.clone(), ..Followed::named(SourceId(0), path.to_owned()) };
        let (inbox, waiting) = inbox().unwrap();
        let reader = FileReader::new(vec![file], waiting, options, Box::new(EveryLine)).unwrap();
        let signal = stop.clone();
        let thread = Some(std::thread::spawn(move || reader.run(&mut Channel { to, left }, &signal)));
        let (lines, count) = (Vec::new(), ReadCount::default());
        Self { stop, thread, from, lines, count, position, status: None, read_at: 0, inbox, gone: false }
    }

    fn take(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Batch(batch) => self.take_batch(&batch),
            Delivery::Status(_, status) => self.status = Some(status),
            Delivery::Gone(_) => self.gone = true,
        }
    }

    fn take_batch(&mut self, batch: &Batch) {
        let lines = batch.sightings().map(|s| String::from_utf8(s.line.to_vec()).unwrap());
        self.lines.extend(lines);
        self.count.add(&batch.read);
        self.read_at = batch.read_at;
        self.position = batch.position.clone().or(self.position.take());
    }

    fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.from.recv_timeout(left) {
                Ok(delivery) => self.take(delivery),
                Err(e) => {
                    panic!("{what}: {e}; {} lines, {:?}, {:?}", self.lines.len(), self.count, self.status)
                }
            }
        }
    }

    fn expect(&mut self, lines: &[&str]) {
        self.until(&format!("expecting {lines:?}"), |run| run.lines.len() >= lines.len());
        assert_eq!(self.lines, lines);
    }

    fn reading(mut self) -> Self {
        self.until("reading", |run| run.status.as_ref().is_some_and(|s| s.healthy));
        self
    }

    fn says(&mut self, word: &str) {
        self.until(word, |run| run.status.as_ref().is_some_and(|s| s.state.contains(word)));
    }

    /// Stops the reader and takes what it still delivers.
    fn end(mut self) -> Self {
        self.stop.set();
        let thread = self.thread.take().unwrap();
        while let Ok(delivery) = self.from.recv() {
            self.take(delivery);
        }
        match thread.join().unwrap() {
            Ok(()) | Err(FileError::Closed(_)) => self,
            Err(e) => panic!("{e}"),
        }
    }
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("auth.log");
    (dir, log)
}

fn append(path: &Path, text: &str) {
    OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn beside(log: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", log.display()))
}

#[test]
fn a_first_start_reads_only_what_is_new_and_at_once() {
    let (_dir, log) = place();
    append(&log, "old\n");
    let mut run = Run::new(&log, None).reading();
    let mut took = Vec::new();
    for n in 0..200 {
        let written = boot_nanoseconds();
        append(&log, &format!("line {n}\n"));
        run.until("a line", |run| run.lines.len() > n);
        took.push((boot_nanoseconds() - written) / 1000);
    }
    took.sort_unstable();
    println!("written to delivered: median {} µs, p99 {} µs", took[100], took[197]);
    assert_eq!(run.lines[0], "line 0");
    assert!(took[100] < 50_000, "median {} µs", took[100]);
    assert_eq!(run.end().count.gaps, 0);
}

#[test]
fn read_back_takes_the_last_lines_along() {
    let (_dir, log) = place();
    append(&log, "one\ntwo\nthree\n");
    let mut run = Run::with(&log, None, Options { read_back: 10, ..Options::default() }, usize::MAX);
    run.expect(&["two", "three"]);
}

#[test]
fn a_renamed_file_is_read_to_its_end_first_and_its_last_line_once() {
    let (_dir, log) = place();
    append(&log, "");
    let mut run = Run::new(&log, None).reading();
    let mut writer = OpenOptions::new().append(true).open(&log).unwrap();
    writer.write_all(b"a\n").unwrap();
    run.expect(&["a"]);
    fs::rename(&log, beside(&log, ".1")).unwrap();
    // The writer has not noticed yet.
    writer.write_all(b"b\nc without newline").unwrap();
    append(&log, "");
    run.expect(&["a", "b", "c without newline"]);
    append(&log, "d\n");
    run.expect(&["a", "b", "c without newline", "d"]);
    let run = run.end();
    assert_eq!(run.count.gaps, 0);
    append(&log, "e\n");
    Run::new(&log, run.position).expect(&["e"]);
}

#[test]
fn copy_and_truncate_goes_on_with_the_new_lines() {
    let (_dir, log) = place();
    append(&log, "");
    let mut run = Run::new(&log, None).reading();
    append(&log, "a\nb\n");
    run.expect(&["a", "b"]);
    fs::copy(&log, beside(&log, ".1")).unwrap();
    File::options().write(true).truncate(true).open(&log).unwrap();
    append(&log, "c\n");
    run.expect(&["a", "b", "c"]);
    let run = run.end();
    // Truncated again while nobody looked, and longer than before now.
    fs::write(&log, "d has more bytes\ne\n").unwrap();
    let mut run = Run::new(&log, run.position);
    run.expect(&["d has more bytes", "e"]);
    assert_eq!(run.count.gaps, 1);
}

#[test]
fn a_file_may_be_absent_and_appear_and_go_and_come() {
    let (dir, _) = place();
    let log = dir.path().join("later/auth.log");
    let mut run = Run::new(&log, None);
    run.says("waiting");
    fs::create_dir(log.parent().unwrap()).unwrap();
    append(&log, "a\n");
    run.expect(&["a"]);
    run.says("reading");
    fs::remove_file(&log).unwrap();
    run.says("waiting");
    append(&log, "b\n");
    run.expect(&["a", "b"]);
    let position = run.end().position;
    append(&log, "c\n");
    Run::new(&log, position).expect(&["c"]);
}

#[test]
fn a_path_that_becomes_something_else_is_refused_without_blocking() {
    let (dir, log) = place();
    append(&log, "");
    let mut run = Run::new(&log, None).reading();
    let elsewhere = dir.path().join("elsewhere");
    append(&elsewhere, "not for us\n");
    fs::remove_file(&log).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &log).unwrap();
    run.says("symbolic link");
    fs::remove_file(&log).unwrap();
    fs::create_dir(&log).unwrap();
    run.says("folder");
    fs::remove_dir(&log).unwrap();
    let mode = rustix::fs::Mode::RUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &log, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    run.says("FIFO");
    fs::remove_file(&log).unwrap();
    append(&log, "a\n");
    run.expect(&["a"]);
    run.says("reading");
}

#[test]
fn what_rotated_while_stopped_is_read_to_its_end_before_the_new_file() {
    let (_dir, log) = place();
    append(&log, "");
    let mut run = Run::new(&log, None).reading();
    append(&log, "a\n");
    run.expect(&["a"]);
    let position = run.end().position;
    append(&log, "b\n");
    fs::rename(&log, beside(&log, ".1")).unwrap();
    append(&log, "c\n");
    fs::rename(beside(&log, ".1"), beside(&log, ".2")).unwrap();
    fs::rename(&log, beside(&log, ".1")).unwrap();
    append(&log, "d\n");
    let mut run = Run::new(&log, position.clone());
    run.expect(&["b", "c", "d"]);
    assert_eq!(run.count.gaps, 0);
    drop(run.end());
    // The first was compressed meanwhile: a gap, and on with the rest.
    fs::remove_file(beside(&log, ".2")).unwrap();
    fs::write(beside(&log, ".2.gz"), "").unwrap();
    let mut run = Run::new(&log, position);
    run.expect(&["c", "d"]);
    assert!(run.count.gaps > 0);
}

#[test]
fn a_new_file_with_an_old_inode_is_read_from_its_beginning() {
    let (_dir, log) = place();
    append(&log, "");
    let mut run = Run::new(&log, None).reading();
    append(&log, "a line of the old file\n");
    run.expect(&["a line of the old file"]);
    let mut saved = run.end().position.unwrap();
    fs::remove_file(&log).unwrap();
    append(&log, "b\nand enough to be longer than the old one\n");
    // The number of the new file in the place, whatever the file system gave it.
    let identity = identity::Identity::of(&log.metadata().unwrap());
    let mut marks = position::decode(&saved.place).unwrap();
    marks[0].identity = identity;
    saved.place = position::encode(marks.into_iter());
    Run::new(&log, Some(saved)).expect(&["b", "and enough to be longer than the old one"]);
}

#[test]
fn a_log_edited_in_place_is_not_counted_twice() {
    let (_dir, log) = place();
    append(&log, "");
    let mut run = Run::new(&log, None).reading();
    append(&log, &"many lines\n".repeat(50));
    run.until("lines", |run| run.lines.len() == 50);
    fs::copy(&log, beside(&log, ".new")).unwrap();
    fs::rename(beside(&log, ".new"), &log).unwrap();
    append(&log, "next\n");
    run.until("the next line", |run| run.lines.len() > 50);
    assert_eq!(run.lines[50], "next");
}

#[test]
fn what_the_kernel_did_not_tell_is_found_by_a_look() {
    let (_dir, log) = place();
    append(&log, "");
    let (to, from) = sync_channel(100);
    let mut sink = Channel { to, left: usize::MAX };
    let files = vec![Followed::named(SourceId(0), log.clone())];
    let (_, waiting) = inbox().unwrap();
    let mut reader = FileReader::new(files, waiting, Options::default(), Box::new(EveryLine)).unwrap();
    reader.tails[0].attach(&reader.watch);
    reader.read_once(&mut sink, &mut 0).unwrap();
    append(&log, "a\n");
    fs::rename(&log, beside(&log, ".1")).unwrap();
    append(&log, "b\n");
    // As if the queue had overflowed: every event is lost.
    reader.watch.changes(|_| {}).unwrap();
    reader.read_once(&mut sink, &mut 0).unwrap();
    assert!(from.try_iter().all(|d| matches!(d, Delivery::Batch(b) if b.is_empty())));
    reader.rescan();
    reader.tails[0].attach(&reader.watch);
    for _ in 0..3 {
        reader.read_once(&mut sink, &mut 0).unwrap();
    }
    let lines: Vec<_> = from
        .try_iter()
        .filter_map(|d| if let Delivery::Batch(batch) = d { Some(batch) } else { None })
        .flat_map(|batch| batch.sightings().map(|s| s.line.to_vec()).collect::<Vec<_>>())
        .collect();
    assert_eq!(lines, [b"a".to_vec(), b"b".to_vec()]);
}

#[test]
fn ten_thousand_rotations_lose_and_double_nothing() {
    const ROTATIONS: usize = 10_000;
    const KEPT: usize = 40;
    let (_dir, log) = place();
    append(&log, "");
    let mut run = Run::new(&log, None).reading();
    let seen = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let delivered = seen.clone();
    let path = log.clone();
    let writer = std::thread::spawn(move || {
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        let mut line = 0;
        for rotation in 0..ROTATIONS {
            for _ in 0..rotation % 4 {
                file.write_all(format!("{line}\n").as_bytes()).unwrap();
                line += 1;
            }
            // Rotated files are kept for a while only, so a reader that is far behind must be waited for.
            while line > delivered.load(std::sync::atomic::Ordering::Relaxed) + KEPT {
                std::thread::yield_now();
            }
            fs::rename(&path, beside(&path, &format!(".{rotation}"))).unwrap();
            file.write_all(format!("{line}\n").as_bytes()).unwrap();
            line += 1;
            file = OpenOptions::new().append(true).create(true).open(&path).unwrap();
            if let Some(old) = rotation.checked_sub(2 * KEPT) {
                fs::remove_file(beside(&path, &format!(".{old}"))).unwrap();
            }
        }
        line
    });
    let all = ROTATIONS / 4 * 6 + ROTATIONS;
    run.until("all lines", |run| {
        seen.store(run.lines.len(), std::sync::atomic::Ordering::Relaxed);
        run.lines.len() >= all
    });
    assert_eq!(writer.join().unwrap(), all);
    let run = run.end();
    let mut numbers: Vec<usize> = run.lines.iter().map(|line| line.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..all), "{} of {all}", numbers.len());
    assert_eq!(run.count.gaps, 0);
}

/// Small, seeded, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

#[test]
fn random_actions_with_random_kills_equal_the_written_lines() {
    for seed in 0..40 {
        let (_dir, log) = place();
        append(&log, "");
        let options = Options { linger: Duration::from_millis(5), ..Options::default() };
        let mut dice = Dice(seed);
        let mut written = Vec::new();
        let mut run = Run::with(&log, None, options, usize::MAX).reading();
        let (mut half, mut rotations) = (false, 0);
        for step in 0..120 {
            match dice.roll(8) {
                0..=2 => {
                    for _ in 0..=dice.roll(5) {
                        let text = format!("{seed} {step} {}", written.len());
                        if half {
                            written.last_mut().map(|last: &mut String| last.push_str(&text)).unwrap();
                            half = false;
                        } else {
                            written.push(text.clone());
                        }
                        append(&log, &format!("{text}\n"));
                    }
                }
                3 if !half => {
                    written.push(format!("half {step} "));
                    append(&log, written.last().unwrap());
                    half = true;
                }
                // By rename; half a line stays the last of its file.
                4 => {
                    rotations += 1;
                    fs::rename(&log, beside(&log, &format!(".{rotations}"))).unwrap();
                    append(&log, "");
                    half = false;
                }
                // By copy and truncation, when the reader has everything: what it has not is lost by nature.
                5 if !half => {
                    let all = written.len();
                    run.until("before truncation", |run| run.lines.len() >= all);
                    fs::copy(&log, beside(&log, ".copy")).unwrap();
                    File::options().write(true).truncate(true).open(&log).unwrap();
                }
                // A kill: what was delivered stands, the rest comes again from the last position.
                6 => {
                    let left = if dice.roll(2) == 0 { usize::MAX } else { 3 };
                    let before = run.end();
                    run = Run::with(&log, before.position, options, left);
                    run.lines = before.lines;
                    run.count = before.count;
                    if left != usize::MAX {
                        let dead = run.end();
                        run = Run::with(&log, dead.position, options, usize::MAX);
                        run.lines = dead.lines;
                        run.count = dead.count;
                    }
                }
                _ => {}
            }
        }
        if half {
            append(&log, "\n");
        }
        let all = written.len();
        run.until(&format!("seed {seed}"), |run| run.lines.len() >= all);
        let run = run.end();
        let (mut got, mut expected) = (run.lines, written);
        got.sort();
        expected.sort();
        assert_eq!(got, expected, "seed {seed}");
    }
}

#[test]
fn a_kill_at_any_batch_loses_and_doubles_nothing() {
    let (_dir, log) = place();
    append(&log, "");
    let first = Run::new(&log, None).reading().end();
    let mut file = OpenOptions::new().append(true).open(&log).unwrap();
    for n in 0..30_000 {
        writeln!(file, "{n} {}", "x".repeat(n % 300)).unwrap();
    }
    let (mut position, mut lines) = (first.position, Vec::new());
    for left in (0..1000).map(|n| n % 4) {
        let run = Run::with(&log, position, Options::default(), left);
        let run = Run { status: None, ..run };
        let ended = {
            let mut run = run;
            while let Ok(delivery) = run.from.recv() {
                run.take(delivery);
                if run.lines.len() + lines.len() >= 30_000 {
                    run.stop.set();
                }
            }
            let _ = run.thread.take().unwrap().join().unwrap();
            run
        };
        position = ended.position;
        lines.extend(ended.lines);
        if lines.len() >= 30_000 {
            break;
        }
    }
    let numbers = lines.iter().map(|line| line.split(' ').next().unwrap().parse::<usize>().unwrap());
    assert!(numbers.eq(0..30_000), "{}", lines.len());
}

#[test]
fn what_was_found_is_new_unless_it_is_old_or_known_by_another_name() {
    let (dir, log) = place();
    let old = dir.path().join("old.log");
    append(&old, "long ago\n");
    std::thread::sleep(Duration::from_millis(20));
    let since = Wall::now();
    std::thread::sleep(Duration::from_millis(20));
    append(&log, &"line\n".repeat(100));
    let mut run = Run::new(&log, None).reading();
    append(&log, "one\n");
    run.expect(&["one"]);
    let mut next = 1;
    let mut find = |run: &mut Run, path: PathBuf| {
        let origin = Origin::Found { since: Some(since) };
        let taken_up = path.to_string_lossy().into_owned();
        run.inbox.add(Followed { origin, ..Followed::named(SourceId(next), path) });
        next += 1;
        run.until("taken up", |run| run.position.as_ref().is_some_and(|at| at.source == taken_up));
    };
    // What rotation has made of the log, what somebody has copied, what was there before.
    let rotated = dir.path().join("auth-20261120.log");
    fs::copy(&log, &rotated).unwrap();
    fs::write(&rotated, "shorter\n").unwrap();
    let copied = dir.path().join("copy.log");
    fs::copy(&log, &copied).unwrap();
    for path in [rotated.clone(), copied, old] {
        find(&mut run, path.clone());
        append(&path, "more\n");
        run.until("more", |run| run.lines.last().is_some_and(|line| line == "more"));
        run.lines.pop();
    }
    // A new one.
    let new = dir.path().join("new.log");
    append(&new, "two\n");
    find(&mut run, new.clone());
    run.expect(&["one", "two"]);
    fs::remove_file(&new).unwrap();
    run.until("given up", |run| run.gone);
    let given_up = run.position.clone().unwrap();
    assert_eq!((given_up.source.as_str(), given_up.place.as_str()), (new.to_str().unwrap(), "1"));
    // Who named a file waits for it.
    fs::remove_file(rotated).unwrap();
    fs::remove_file(&log).unwrap();
    run.says("waiting");
    append(&log, "three\n");
    run.expect(&["one", "two", "three"]);
}
