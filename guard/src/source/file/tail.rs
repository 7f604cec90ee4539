//! One configured path through all the files that come to stand there.
//!
//! The files are kept in reading order: what rotation moved away comes first and stays open for a while, because
//! its writer may not have noticed yet; the file that has the path now comes last.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::folder::{self, After, Refusal};
use super::followed::{Followed, Origin};
use super::identity::{FINGERPRINT, Identity, modified};
use super::position::{self, Mark};
use super::reader::{Reader, Step};
use crate::sighting::SourceId;
use crate::source::watch::{Watch, WatchId};
use crate::source::{Batch, Position, ReadCount, Scan, SourceStatus};
use crate::time::{Wall, boot_nanoseconds};

/// Files of one path that are open at once. With more, the oldest is ended without waiting for its writer.
const MAX_OPEN: usize = 16;

/// Files that rotation may have put between two looks. More are counted as gaps.
const MAX_SUCCESSORS: usize = 256;

/// How far behind the clock the times are that the kernel gives files, in nanoseconds: a tick, at most 10 ms
/// (`ktime_get_coarse_real_ts64`, with `CONFIG_HZ=100`).
const TICK: i128 = 10_000_000;

/// One configured path.
#[derive(Debug)]
pub(super) struct Tail {
    source: SourceId,
    path: PathBuf,
    folder: PathBuf,
    folder_watch: Option<WatchId>,
    logs: VecDeque<Log>,
    /// The last file that was read and is closed, when none is open.
    gone: Option<Mark>,
    /// Files that are read to their end and closed, and are not older than one that may still have successors: those
    /// were closed before it, or were born with it in one tick of the kernel's clock. At most [`MAX_OPEN`].
    done: Vec<Mark>,
    /// Where a file that appears at the path is read from.
    start: Start,
    /// Whether it is given up when its file has gone.
    found: bool,
    /// Since when the path stands for nothing.
    absent_since: Option<Instant>,
    state: State,
    /// Gaps found between files, for the next batch.
    gaps: u64,
    /// Whether there may be something to read.
    pub(super) dirty: bool,
    /// Whether the path may stand for another file now.
    pub(super) moved: bool,
}

#[derive(Debug)]
struct Log {
    reader: Reader,
    watch: Option<WatchId>,
    /// When it lost the path, or was read last since then. `None` while it has the path.
    quiet_since: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
enum Start {
    Beginning,
    End {
        read_back: u64,
    },
    /// From the beginning if the file was born later, else from its end.
    Since {
        since: Wall,
        read_back: u64,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    New,
    Reading,
    Wrong(String),
}

impl Tail {
    /// Follows a file, on from its saved position.
    pub(super) fn new(file: Followed, read_back: u64) -> Self {
        let Followed { source, path, origin, position } = file;
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
            _ => PathBuf::from("."),
        };
        let start = match origin {
            Origin::Found { since: Some(since) } => Start::Since { since, read_back },
            Origin::Found { since: None } | Origin::Named => Start::End { read_back },
        };
        let mut tail = Self {
            source,
            path,
            folder,
            folder_watch: None,
            logs: VecDeque::new(),
            gone: None,
            done: Vec::new(),
            start,
            found: origin != Origin::Named,
            absent_since: None,
            state: State::New,
            gaps: 0,
            dirty: true,
            moved: true,
        };
        if let Some(position) = position {
            tail.resume(&position.place);
        }
        tail
    }

    /// Whether others have read the file that is at the path: it is a file of theirs under another name, or what
    /// rotation or somebody else has copied from one.
    pub(super) fn is_known_to<'a>(&self, mut others: impl Iterator<Item = &'a Self>) -> bool {
        if !matches!(self.start, Start::Since { .. }) {
            return false;
        }
        let Ok((file, meta)) = folder::open(&self.path) else { return false };
        let identity = Identity::of(&meta);
        let head = Reader::head_of(&file);
        others.any(|other| {
            let read = |mark: &Mark| {
                is_same(mark.identity, identity)
                    || mark.offset >= FINGERPRINT as u64 && head == Some(mark.head)
            };
            folder::is_rotated(&other.path, &self.path)
                || other.gone.as_ref().is_some_and(read)
                || other.logs.iter().any(|log| read(&log.reader.mark()))
        })
    }

    /// Reads the file at the path from its end, whenever it was born.
    pub(super) const fn begin_at_end(&mut self, read_back: u64) {
        self.start = Start::End { read_back };
    }

    /// Finds the files a saved place speaks of, wherever rotation has moved them, and goes on there. A place that
    /// cannot be understood counts as a gap.
    fn resume(&mut self, place: &str) {
        self.start = Start::Beginning;
        let Some(marks) = position::decode(place) else {
            self.gaps += 1;
            return;
        };
        let files = folder::files(&self.folder);
        for mark in marks {
            let mut found = files.iter().filter(|(_, meta)| is_same(mark.identity, Identity::of(meta)));
            let reader = found.find_map(|(path, _)| self.reopen(path, &mark));
            if let Some(reader) = reader.or_else(|| self.same_bytes(&mark)) {
                self.logs.push_back(Log { reader, watch: None, quiet_since: Some(Instant::now()) });
            } else {
                self.gaps += 1;
                self.gone = Some(mark);
            }
        }
    }

    /// Opens a file that has the identity of `mark`. Other bytes than those that were read mean that the log was
    /// truncated meanwhile; where births are not kept, a file of another name may also just have its number.
    fn reopen(&mut self, path: &Path, mark: &Mark) -> Option<Reader> {
        let (file, meta) = folder::open(path).ok()?;
        let again = file.try_clone().ok()?;
        match Reader::resume(file, &meta, mark) {
            Ok(Some(reader)) => Some(reader),
            Ok(None) if path == self.path || mark.identity.born != 0 => {
                self.gaps += 1;
                Some(Reader::from_start(again, &meta))
            }
            _ => None,
        }
    }

    /// The file at the path, if it begins with all that was read of another: a log that was edited in place or
    /// restored has a new identity, and reading it again would count everything twice.
    fn same_bytes(&self, mark: &Mark) -> Option<Reader> {
        if mark.offset < FINGERPRINT as u64 {
            return None;
        }
        let (file, meta) = folder::open(&self.path).ok()?;
        Reader::resume(file, &meta, mark).ok()?
    }

    /// Looks what is at the path now and takes it up. Cheap when nothing has changed.
    pub(super) fn attach(&mut self, watch: &Watch) {
        self.moved = false;
        if self.folder_watch.is_none() {
            self.folder_watch = watch.folder(&self.folder).ok();
        }
        for log in &mut self.logs {
            log.watch(watch);
        }
        let mut absent = false;
        let state = match self.take_up(watch) {
            Ok(()) => State::Reading,
            Err(refusal) => {
                absent = matches!(refusal, Refusal::Absent);
                if absent {
                    self.start = Start::Beginning;
                }
                self.retire_all();
                State::Wrong(refusal.to_string())
            }
        };
        self.dirty |= state == State::Reading;
        self.state = state;
        self.absent_since = self.absent_since.filter(|_| absent).or_else(|| absent.then(Instant::now));
    }

    fn take_up(&mut self, watch: &Watch) -> Result<(), Refusal> {
        let now = folder::look(&self.path)?;
        if let Some(at) = self.logs.iter().position(|log| log.reader.identity() == now) {
            // Usually the last already; a file that was renamed back is not.
            self.retire_all();
            if let Some(mut log) = self.logs.remove(at) {
                log.quiet_since = None;
                self.logs.push_back(log);
            }
            return Ok(());
        }
        let (file, meta) = folder::open(&self.path)?;
        self.retire_all();
        let reader = self.begin(file, &meta, watch).map_err(Refusal::Open)?;
        self.start = Start::Beginning;
        self.gone = None;
        let mut log = Log { reader, watch: None, quiet_since: None };
        log.watch(watch);
        self.logs.push_back(log);
        Ok(())
    }

    /// A reader for a file that is new at the path, after the files that stood there in between.
    fn begin(&mut self, file: File, meta: &Metadata, watch: &Watch) -> io::Result<Reader> {
        let last = self.logs.back().map(|log| log.reader.mark()).or(self.gone);
        if let Some(mark) = last {
            if mark.offset >= FINGERPRINT as u64
                && let Some(reader) = Reader::resume(file.try_clone()?, meta, &mark)?
            {
                return Ok(reader);
            }
            self.take_successors(&mark, Identity::of(meta), watch);
        }
        match self.start {
            Start::End { read_back } => Reader::from_end(file, meta, read_back),
            Start::Since { since, read_back } if !Identity::of(meta).is_born_after(since) => {
                Reader::from_end(file, meta, read_back)
            }
            Start::Beginning | Start::Since { .. } => Ok(Reader::from_start(file, meta)),
        }
    }

    fn take_successors(&mut self, last: &Mark, now: Identity, watch: &Watch) {
        let written = self.logs.back().and_then(|log| log.reader.metadata().ok()).map(|meta| modified(&meta));
        let after = After {
            born: last.identity.born,
            modified: written.unwrap_or(i128::from(last.read.0) * 1_000_000 - TICK),
        };
        let found = folder::successors(&self.path, after);
        let skipped = found.files.len().saturating_sub(MAX_SUCCESSORS);
        self.gaps += found.compressed + skipped as u64;
        for path in &found.files[skipped..] {
            let Ok((file, meta)) = folder::open(path) else { continue };
            let identity = Identity::of(&meta);
            let known = identity == now
                || identity == last.identity
                || self.done.iter().any(|done| done.identity == identity)
                || self.logs.iter().any(|log| log.reader.identity() == identity);
            if !known {
                let reader = Reader::from_start(file, &meta);
                let mut log = Log { reader, watch: None, quiet_since: Some(Instant::now()) };
                log.watch(watch);
                self.logs.push_back(log);
            }
        }
    }

    fn retire_all(&mut self) {
        for log in &mut self.logs {
            log.quiet_since.get_or_insert_with(Instant::now);
        }
    }

    /// Whether a change of this watch, or of this name in it, concerns this path; notes what is to be done.
    pub(super) fn note(&mut self, id: WatchId, name: Option<&OsStr>) {
        if self.folder_watch == Some(id) {
            // Without a name it is the folder itself, whose permissions may have changed.
            self.moved |= name.is_none() || self.path.file_name() == name;
        } else if name.is_none() {
            self.dirty |= self.logs.iter().any(|log| log.watch == Some(id));
        }
    }

    /// A watch has ended: what it watched is gone.
    pub(super) fn ended(&mut self, watch: &Watch, id: WatchId) {
        if self.folder_watch == Some(id) {
            watch.remove(id);
            self.folder_watch = None;
            self.moved = true;
        }
        for log in &mut self.logs {
            if log.watch == Some(id) {
                log.watch = None;
                self.dirty = true;
            }
        }
    }

    /// Something may have been missed.
    pub(super) fn suspect(&mut self) {
        self.moved = true;
        self.dirty = true;
    }

    /// When this tail wants to be called without a change: to end a file that lost the path, or to be given up.
    pub(super) fn deadline(&self, linger: Duration) -> Option<Instant> {
        let over = self.absent_since.filter(|_| self.found && self.logs.is_empty());
        self.closable().filter_map(|log| log.quiet_since).chain(over).min().map(|since| since + linger)
    }

    /// Whether the file was found, has gone and has been read to its end.
    pub(super) fn is_over(&self, linger: Duration) -> bool {
        self.found
            && self.logs.is_empty()
            && !self.moved
            && self.absent_since.is_some_and(|since| since.elapsed() >= linger)
    }

    /// Whether another watches the same folder.
    pub(super) fn shares_folder_with(&self, other: &Self) -> bool {
        self.folder_watch.is_some() && self.folder_watch == other.folder_watch
    }

    /// Watches the folder no more.
    pub(super) fn leave_folder(&mut self, watch: &Watch) {
        if let Some(id) = self.folder_watch.take() {
            watch.remove(id);
        }
    }

    /// An empty batch whose place says that nothing is left of the file: another at its path is read from its
    /// beginning, and nobody looks for this one.
    pub(super) fn last_batch(&mut self) -> Batch {
        let place = position::encode(std::iter::empty());
        let read = ReadCount { gaps: std::mem::take(&mut self.gaps), ..ReadCount::default() };
        let position = Some(Position { source: self.path.to_string_lossy().into_owned(), place });
        Batch { source: self.source, read_at: boot_nanoseconds(), read, position, ..Batch::default() }
    }

    /// Files that end once they are quiet: not the last one, whose successor is yet to come, unless it is deleted.
    fn closable(&self) -> impl Iterator<Item = &Log> {
        let last = self.logs.len().saturating_sub(1);
        self.logs
            .iter()
            .enumerate()
            .filter(move |(at, log)| *at != last || log.is_deleted())
            .map(|(_, log)| log)
    }

    /// Reads one buffer from the first file that has something. `None` if there was nothing to read anywhere.
    pub(super) fn read(
        &mut self,
        buffer: &mut [u8],
        scan: &mut dyn Scan,
        watch: &Watch,
        linger: Duration,
    ) -> Option<Batch> {
        self.dirty = false;
        let mut batch = Batch { source: self.source, ..Batch::default() };
        batch.read.gaps = std::mem::take(&mut self.gaps);
        let before = self.logs.len();
        let mut at = 0;
        while at < self.logs.len() {
            let ending = self.is_ending(at, linger);
            match self.logs[at].take(buffer, scan, &mut batch, ending) {
                Ok(Step::More) => self.dirty = true,
                Ok(Step::End) if ending => self.close(at, watch),
                Ok(Step::End) => at += 1,
                Err(_) if ending => {
                    batch.read.gaps += 1;
                    self.close(at, watch);
                }
                Err(e) => {
                    self.state = State::Wrong(format!("cannot be read, trying again: {e}"));
                    at += 1;
                }
            }
            if batch.read.bytes > 0 || self.dirty {
                // The files after this one have to wait for it.
                self.dirty |= at < self.logs.len();
                break;
            }
        }
        let told = batch.read != ReadCount::default() || self.logs.len() != before;
        told.then(|| Batch { position: Some(self.position()), ..batch })
    }

    fn is_ending(&self, at: usize, linger: Duration) -> bool {
        let Some(since) = self.logs[at].quiet_since else { return false };
        let last = at + 1 == self.logs.len();
        (!last && self.logs.len() > MAX_OPEN)
            || (since.elapsed() >= linger && (!last || self.logs[at].is_deleted()))
    }

    fn close(&mut self, at: usize, watch: &Watch) {
        let Some(log) = self.logs.remove(at) else { return };
        if let Some(id) = log.watch {
            watch.remove(id);
        }
        let mark = log.reader.mark();
        if self.logs.is_empty() {
            self.gone = Some(mark);
        }
        self.done.push(mark);
        let left =
            self.logs.iter().map(|log| log.reader.identity()).chain(self.gone.map(|gone| gone.identity));
        let left: Vec<Identity> = left.collect();
        // Where births are not kept, only the time of the last write tells.
        let outlives = |done: &Mark, one: &Identity| {
            done.identity != *one && one.born != 0 && done.identity.born >= one.born
        };
        self.done.retain(|done| left.iter().any(|one| outlives(done, one)));
        let surplus = self.done.len().saturating_sub(MAX_OPEN);
        self.done.drain(..surplus);
        self.dirty = true;
    }

    /// Where to go on after a restart.
    pub(super) fn position(&self) -> Position {
        let marks = self.logs.iter().map(|log| log.reader.mark());
        let gone = self.gone.filter(|_| self.logs.is_empty());
        Position {
            source: self.path.to_string_lossy().into_owned(),
            place: position::encode(self.done.iter().copied().chain(marks).chain(gone)),
        }
    }

    /// An empty batch that carries the place: without it, what is written while guard is stopped before the
    /// first line arrived would be taken for the past at the next start.
    pub(super) fn first_batch(&mut self) -> Option<Batch> {
        let known = !self.logs.is_empty() || self.gone.is_some();
        (known || matches!(self.start, Start::Beginning)).then(|| Batch {
            source: self.source,
            read_at: boot_nanoseconds(),
            position: Some(self.position()),
            ..Batch::default()
        })
    }

    /// Whether the path has to be tried again without a sign from the kernel.
    pub(super) fn needs_retry(&self) -> bool {
        self.state != State::Reading || self.folder_watch.is_none()
    }

    /// Whether `status` is still what there is to say, however far behind.
    pub(super) fn says(&self, status: &SourceStatus) -> bool {
        status.healthy == (self.state == State::Reading)
            && match &self.state {
                State::Wrong(why) => status.state == *why,
                State::New | State::Reading => status.healthy,
            }
    }

    pub(super) fn source(&self) -> SourceId {
        self.source
    }

    pub(super) fn status(&self) -> SourceStatus {
        SourceStatus {
            name: self.path.to_string_lossy().into_owned(),
            state: match &self.state {
                State::New => "opening".to_owned(),
                State::Reading => "reading".to_owned(),
                State::Wrong(why) => why.clone(),
            },
            healthy: self.state == State::Reading,
            behind: self.logs.iter().map(|log| log.reader.behind()).sum(),
        }
    }
}

impl Log {
    /// Watches the file if it is not yet watched. Without a watch the regular look finds what is new.
    fn watch(&mut self, watch: &Watch) {
        if self.watch.is_none() {
            self.watch = watch.file(self.reader.file()).ok();
        }
    }

    fn is_deleted(&self) -> bool {
        self.reader.metadata().is_ok_and(|meta| meta.nlink() == 0)
    }

    /// Reads one buffer, or what is left of an ending file, into the batch.
    fn take(
        &mut self,
        buffer: &mut [u8],
        scan: &mut dyn Scan,
        batch: &mut Batch,
        ending: bool,
    ) -> io::Result<Step> {
        let mut count = ReadCount::default();
        let mut first = 0;
        let mut each = |chunk: &[u8]| {
            if first == 0 {
                first = boot_nanoseconds();
            }
            let scanned = scan.lines(chunk, Wall::now(), &mut |sighting| batch.push(sighting));
            batch.read.add(&ReadCount {
                lines: scanned.lines,
                known: scanned.known,
                bytes: chunk.len() as u64,
                matched: scanned.matched,
                ..ReadCount::default()
            });
        };
        let step = match self.reader.step(buffer, &mut count, &mut each) {
            Ok(Step::End) if ending => self.reader.finish(buffer, &mut count, &mut each).map(|()| Step::End),
            step => step,
        };
        batch.read.add(&count);
        if first != 0 {
            batch.read_at = first;
            self.quiet_since = self.quiet_since.map(|_| Instant::now());
        } else if batch.read_at == 0 {
            batch.read_at = boot_nanoseconds();
        }
        step
    }
}

/// Whether two identities are one file. Device numbers may change with a reboot; a birth in nanoseconds together
/// with the inode number does not.
fn is_same(a: Identity, b: Identity) -> bool {
    a.inode == b.inode && a.born == b.born && (a.born != 0 || a.device == b.device)
}
