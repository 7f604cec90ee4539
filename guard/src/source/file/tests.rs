//! The reader on real files. Every line is one sighting here, so that what arrives can be compared word by word.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::*;
use crate::sighting::{Kind, PatternId, Points, Sighting, SourceId};
use crate::source::{Batch, Entry, Position, ReadCount, Reading, Scanned, Sender};
use crate::time::{Wall, boot_nanoseconds};

mod kernel;
mod random;
mod rotated;

const PATIENCE: Duration = Duration::from_secs(60);

/// Takes every line for a sighting.
struct EveryLine;

impl Scan for EveryLine {
    fn lines(&mut self, chunk: &[u8], _: Reading, hit: &mut dyn FnMut(&Sighting<'_>)) -> Scanned {
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
                service: &[],
                request: None,
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
    /// Deliveries begun.
    begun: Arc<AtomicUsize>,
}

impl Sink for Channel {
    fn deliver(&mut self, delivery: Delivery) -> Result<(), Closed> {
        self.begun.fetch_add(1, Ordering::SeqCst);
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
        let channel = Channel { to, left, begun: Arc::default() };
        Self::start(path, position, options, (channel, from), || {})
    }

    /// A reader whose thread does something `first`.
    fn start(
        path: &Path,
        position: Option<Position>,
        options: Options,
        (mut channel, from): (Channel, Receiver<Delivery>),
        first: impl FnOnce() + Send + 'static,
    ) -> Self {
        let stop = Stop::new().unwrap();
        let file = Followed { position: position.clone(), ..Followed::named(SourceId(0), path.to_owned()) };
        let (inbox, waiting) = inbox().unwrap();
        let reader = FileReader::new(vec![file], waiting, options, Box::new(EveryLine)).unwrap();
        let signal = stop.clone();
        let thread = Some(std::thread::spawn(move || {
            first();
            reader.run(&mut channel, &signal)
        }));
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
fn ten_thousand_rotations_lose_and_double_nothing() {
    const ROTATIONS: usize = 10_000;
    const KEPT: usize = 40;
    let (_dir, log) = place();
    append(&log, "");
    let mut run = Run::new(&log, None).reading();
    let seen = Arc::new(AtomicUsize::new(0));
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
            while line > delivered.load(Ordering::Relaxed) + KEPT {
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
        seen.store(run.lines.len(), Ordering::Relaxed);
        run.lines.len() >= all
    });
    assert_eq!(writer.join().unwrap(), all);
    let run = run.end();
    let mut numbers: Vec<usize> = run.lines.iter().map(|line| line.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert!(numbers.iter().copied().eq(0..all), "{} of {all}", numbers.len());
    assert_eq!(run.count.gaps, 0);
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
