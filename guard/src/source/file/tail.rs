//! One configured path through all the files that come to stand there.
//!
//! The files are kept in reading order: what rotation moved away comes first and stays open for a while, because
//! its writer may not have noticed yet; the file that has the path now comes last.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::finished::Finished;
use super::folder::{self, After, Listings, Refusal};
use super::followed::{Followed, Origin};
use super::identity::{FINGERPRINT, Identity, modified};
use super::position::{self, Mark};
use super::reader::{Reader, Step};
use super::zone::Zone;
use crate::sighting::SourceId;
use crate::source::watch::{Watch, WatchId};
use crate::source::{Batch, Position, ReadCount, Reading, Scan, SourceStatus};
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
    /// Files that are read to their end and closed.
    finished: Finished,
    /// Where a file that appears at the path is read from.
    start: Start,
    /// Whether it is given up when its file has gone.
    found: bool,
    /// Since when the path stands for nothing.
    absent_since: Option<Instant>,
    state: State,
    /// What its stamps without a zone mean.
    zone: Zone,
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
    /// Whether it had no name any more when it was read last, without the path.
    deleted: bool,
}

/// The other paths of a reader.
#[derive(Clone, Copy)]
pub(super) struct Others<'a>(&'a [Tail], &'a [Tail]);

/// One of these paths, and the others.
pub(super) fn among(tails: &mut [Tail], at: usize) -> Option<(&mut Tail, Others<'_>)> {
    let (before, rest) = tails.split_at_mut_checked(at)?;
    let (tail, after) = rest.split_first_mut()?;
    Some((tail, Others(before, after)))
}

impl<'a> Others<'a> {
    fn iter(self) -> impl Iterator<Item = &'a Tail> {
        self.0.iter().chain(self.1)
    }

    /// Whether another has this file open: it is read there, whatever path it has.
    fn have_open(self, identity: Identity) -> bool {
        self.iter().any(|tail| tail.logs.iter().any(|log| log.reader.identity() == identity))
    }

    fn follow(self, path: &Path) -> bool {
        self.iter().any(|tail| tail.path == path)
    }
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

/// What there is where a file was listed.
enum Reopened {
    Open(Reader),
    /// The file, or one with its number, that holds nothing of what is to be read on.
    Other,
    /// Nothing, or another file.
    Moved,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    New,
    Reading,
    Wrong(String),
}

impl Tail {
    /// Follows a file, on from its saved position.
    pub(super) fn new(file: Followed, read_back: u64, listings: &mut Listings) -> Self {
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
            finished: Finished::default(),
            start,
            found: origin != Origin::Named,
            absent_since: None,
            state: State::New,
            zone: Zone::default(),
            gaps: 0,
            dirty: true,
            moved: true,
        };
        if let Some(position) = position {
            tail.resume(&position.place, listings);
        }
        tail
    }

    /// Takes what others have read already out of what is to be read. Of a file that the saved places of two paths speak
    /// of, one reads on. A file at the path that is one of theirs under another name, or what rotation or somebody else
    /// has copied from one, is read from its end.
    pub(super) fn give_way(&mut self, others: Others<'_>, read_back: u64) {
        self.logs.retain(|log| {
            let (identity, offset) = (log.reader.identity(), log.reader.mark().offset);
            let mut theirs = others.iter().flat_map(|other| &other.logs);
            !theirs.any(|other| other.reader.identity() == identity && other.reader.mark().offset >= offset)
        });
        if matches!(self.start, Start::Since { .. }) && self.is_known_to(others) {
            self.start = Start::End { read_back };
        }
    }

    fn is_known_to(&self, others: Others<'_>) -> bool {
        let Ok((file, meta)) = folder::open(&self.path) else { return false };
        let identity = Identity::of(&meta);
        others.iter().any(|other| {
            let rotation = folder::rotation(&other.path, &self.path);
            // With a name that may be of a rotation, the same first line is enough.
            let least = if rotation.is_some() { 1 } else { FINGERPRINT as u64 };
            rotation.is_some_and(|rotation| rotation.dated)
                || other
                    .marks()
                    .any(|mark| mark.identity.is_same(identity) || Reader::begins_like(&file, &mark, least))
        })
    }

    /// How far everything was read that is known of.
    pub(super) fn marks(&self) -> impl Iterator<Item = Mark> {
        let open = self.logs.iter().flat_map(|log| [Some(log.reader.mark()), log.reader.before()]).flatten();
        open.chain(self.finished.marks().copied()).chain(self.gone)
    }

    /// Finds the files a saved place speaks of, wherever rotation has moved them, and goes on there. A place that
    /// cannot be understood counts as a gap.
    fn resume(&mut self, place: &str, listings: &mut Listings) {
        self.start = Start::Beginning;
        let Some(marks) = position::decode(place) else {
            self.gaps += 1;
            return;
        };
        for mark in marks {
            let reader = self.find(&mark, listings).or_else(|| self.same_bytes(&mark));
            if let Some(reader) = reader {
                self.gone = None;
                self.logs.push_back(Log::rotated(reader, None));
            } else {
                self.gaps += u64::from(!mark.ended);
                self.gone = Some(Mark { ended: true, ..mark });
            }
        }
    }

    /// Opens the file of `mark` where it is.
    fn find(&mut self, mark: &Mark, listings: &mut Listings) -> Option<Reader> {
        for _ in 0..2 {
            let paths = listings.find(&self.folder, mark.identity);
            for path in &paths {
                match self.reopen(path, mark) {
                    Reopened::Open(reader) => return Some(reader),
                    Reopened::Other => return None,
                    Reopened::Moved => {}
                }
            }
            if paths.is_empty() {
                return None;
            }
            // Moved since the folder was listed.
            listings.forget(&self.folder);
        }
        None
    }

    /// Opens a file that had the identity of `mark` when its folder was listed. Other bytes than those that were read
    /// mean that the log was truncated meanwhile; where births are not kept, a file of another name may also just have
    /// its number.
    fn reopen(&mut self, path: &Path, mark: &Mark) -> Reopened {
        let Ok((file, meta)) = folder::open(path) else { return Reopened::Moved };
        if !mark.identity.is_same(Identity::of(&meta)) {
            return Reopened::Moved;
        }
        let Ok(again) = file.try_clone() else { return Reopened::Other };
        match Reader::resume(file, &meta, mark) {
            Ok(Some(reader)) => Reopened::Open(reader),
            Ok(None) if !mark.ended && (path == self.path || mark.identity.born != 0) => {
                self.gaps += 1;
                Reopened::Open(Reader::from_new_start(again, &meta, mark))
            }
            _ => Reopened::Other,
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

    /// Looks what is at the path now and takes it up, and closed files that have grown. Cheap when nothing has changed.
    pub(super) fn attach(&mut self, watch: &Watch, others: Others<'_>, listings: &mut Listings) {
        self.moved = false;
        self.dirty = true;
        if self.folder_watch.is_none() {
            self.folder_watch = watch.folder(&self.folder).ok();
        }
        for log in &mut self.logs {
            log.watch(watch);
        }
        let mut absent = false;
        let (again, gaps) = self.finished.grown(listings, watch, |identity| others.have_open(identity));
        self.gaps += gaps;
        for (reader, watched) in again.into_iter().rev() {
            self.logs.push_front(Log::rotated(reader, watched));
        }
        let state = match self.take_up(watch, others) {
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
        self.state = state;
        self.absent_since = self.absent_since.filter(|_| absent).or_else(|| absent.then(Instant::now));
    }

    fn take_up(&mut self, watch: &Watch, others: Others<'_>) -> Result<(), Refusal> {
        let now = Identity::of(&folder::look(&self.path)?);
        if let Some(at) = self.logs.iter().position(|log| log.reader.identity() == now) {
            // Usually the last already; a file that was renamed back is not.
            self.retire_all();
            if let Some(mut log) = self.logs.remove(at) {
                log.quiet_since = None;
                self.logs.push_back(log);
            }
            return Ok(());
        }
        if others.have_open(now) {
            self.retire_all();
            return Ok(());
        }
        let (file, meta) = folder::open(&self.path)?;
        self.retire_all();
        let reader = self.begin(file, &meta, watch, others).map_err(Refusal::Open)?;
        self.start = Start::Beginning;
        self.gone = None;
        let mut log = Log { reader, watch: None, quiet_since: None, deleted: false };
        log.watch(watch);
        self.logs.push_back(log);
        Ok(())
    }

    /// A reader for a file that is new at the path, after the files that stood there in between.
    fn begin(
        &mut self,
        file: File,
        meta: &Metadata,
        watch: &Watch,
        others: Others<'_>,
    ) -> io::Result<Reader> {
        let identity = Identity::of(meta);
        let finished = others.iter().flat_map(|other| other.finished.marks());
        for mark in finished.filter(|mark| mark.identity.is_same(identity)) {
            if let Some(reader) = Reader::resume(file.try_clone()?, meta, mark)? {
                return Ok(reader);
            }
        }
        if let Some(mark) = self.gone.or_else(|| self.logs.back().map(|log| log.reader.mark())) {
            if mark.offset >= FINGERPRINT as u64
                && let Some(reader) = Reader::resume(file.try_clone()?, meta, &mark)?
            {
                return Ok(reader);
            }
            self.take_successors(&mark, identity, watch, others);
        }
        match self.start {
            Start::End { read_back } => Reader::from_end(file, meta, read_back),
            Start::Since { since, read_back } if !identity.is_born_after(since) => {
                Reader::from_end(file, meta, read_back)
            }
            Start::Beginning | Start::Since { .. } => Ok(Reader::from_start(file, meta)),
        }
    }

    fn take_successors(&mut self, last: &Mark, now: Identity, watch: &Watch, others: Others<'_>) {
        let log = self.logs.iter().find(|log| log.reader.identity() == last.identity);
        let written = log.and_then(|log| log.reader.metadata().ok()).map(|meta| modified(&meta));
        let after = After {
            born: last.identity.born,
            modified: written.unwrap_or(i128::from(last.read.0) * 1_000_000 - TICK),
        };
        let found = folder::successors(&self.path, after, |path| others.follow(path));
        let skipped = found.files.len().saturating_sub(MAX_SUCCESSORS);
        self.gaps += found.compressed + skipped as u64;
        for path in &found.files[skipped..] {
            let Ok((file, meta)) = folder::open(path) else { continue };
            let identity = Identity::of(&meta);
            let known = identity == now
                || identity == last.identity
                || self.finished.marks().any(|finished| finished.identity == identity)
                || self.logs.iter().any(|log| log.reader.identity() == identity);
            if !known {
                let reader = Reader::from_start(file, &meta);
                let mut log = Log::rotated(reader, None);
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
            self.moved |= self.finished.note(id);
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
                self.moved = true;
                self.dirty = true;
            }
        }
        self.finished.ended(id);
    }

    /// The path is to be tried again.
    pub(super) fn retry(&mut self) {
        self.moved = true;
        self.dirty = true;
    }

    /// Something may have been missed.
    pub(super) fn suspect(&mut self) {
        self.retry();
        self.finished.suspect();
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

    /// Watches what is closed no more.
    pub(super) fn forget_finished(&mut self, watch: &Watch) {
        self.finished.clear(watch);
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
        self.logs.iter().enumerate().filter(move |(at, log)| *at != last || log.deleted).map(|(_, log)| log)
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
            self.logs[at].look();
            let ending = self.is_ending(at, linger);
            match self.logs[at].take(buffer, (scan, &mut self.zone), &mut batch, ending) {
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
            || (since.elapsed() >= linger && (!last || self.logs[at].deleted))
    }

    fn close(&mut self, at: usize, watch: &Watch) {
        let Some(log) = self.logs.remove(at) else { return };
        let mark = Mark { ended: true, ..log.reader.mark() };
        if self.logs.is_empty() {
            self.gone.get_or_insert(mark);
        }
        if log.deleted {
            log.watch.into_iter().for_each(|id| watch.remove(id));
        } else {
            self.finished.add(mark, log.reader.path(), log.watch);
        }
        let left = self.logs.iter().map(|log| log.reader.identity());
        let left: Vec<Identity> = left.chain(self.gone.map(|gone| gone.identity)).collect();
        self.finished.trim(&left, watch);
        self.dirty = true;
    }

    /// Where to go on after a restart.
    pub(super) fn position(&self) -> Position {
        let marks = self.logs.iter().map(|log| log.reader.mark());
        Position {
            source: self.path.to_string_lossy().into_owned(),
            place: position::encode(self.finished.marks().copied().chain(marks).chain(self.gone)),
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
        status.healthy == (self.state == State::Reading) && status.state == self.words()
    }

    pub(super) fn source(&self) -> SourceId {
        self.source
    }

    fn words(&self) -> Cow<'_, str> {
        match (&self.state, self.zone.behind()) {
            (State::New, _) => "opening".into(),
            (State::Reading, 0) => "reading".into(),
            (State::Reading, behind) => {
                let minutes = behind / 60_000;
                format!("reading; it is written in another zone, {minutes} min behind this machine's").into()
            }
            (State::Wrong(why), _) => why.into(),
        }
    }

    pub(super) fn status(&self) -> SourceStatus {
        SourceStatus {
            name: self.path.to_string_lossy().into_owned(),
            state: self.words().into_owned(),
            healthy: self.state == State::Reading,
            behind: self.logs.iter().map(|log| log.reader.behind()).sum(),
        }
    }
}

impl Log {
    /// A file that does not have the path.
    fn rotated(reader: Reader, watch: Option<WatchId>) -> Self {
        Self { reader, watch, quiet_since: Some(Instant::now()), deleted: false }
    }

    /// Watches the file if it is not yet watched. Without a watch the regular look finds what is new.
    fn watch(&mut self, watch: &Watch) {
        if self.watch.is_none() {
            self.watch = watch.file(self.reader.file()).ok();
        }
    }

    /// Looks whether it still has a name, if it lost the path.
    fn look(&mut self) {
        if self.quiet_since.is_some() {
            self.deleted = self.reader.metadata().is_ok_and(|meta| meta.nlink() == 0);
        }
    }

    /// Reads one buffer, or what is left of an ending file, into the batch.
    fn take(
        &mut self,
        buffer: &mut [u8],
        (scan, zone): (&mut dyn Scan, &mut Zone),
        batch: &mut Batch,
        ending: bool,
    ) -> io::Result<Step> {
        let mut count = ReadCount::default();
        let mut first = 0;
        let mut each = |chunk: &[u8]| {
            if first == 0 {
                first = boot_nanoseconds();
            }
            let reading = Reading { at: Wall::now(), behind: zone.behind() };
            let mut seen = *zone;
            let scanned = scan.lines(chunk, reading, &mut |sighting| {
                seen.note(sighting.at, reading);
                batch.push(sighting);
            });
            // Lines that say their zone say nothing of the others'.
            if scanned.zoned == 0 {
                *zone = seen;
            }
            batch.read.add(&ReadCount {
                lines: scanned.lines,
                known: scanned.known,
                bytes: chunk.len() as u64,
                matched: scanned.matched,
                ..ReadCount::default()
            });
        };
        let step = if ending {
            self.reader.finish(buffer, &mut count, &mut each)
        } else {
            self.reader.step(buffer, &mut count, &mut each)
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
