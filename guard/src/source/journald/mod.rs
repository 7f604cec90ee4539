//! The systemd journal, read from its files without a library or a child process.
//!
//! Only system journals are read: users' own journals are theirs to write. Of these, only entries whose
//! identifier a filter wants, and of these only what comes from a process the filter trusts.
//!
//! journald announces new entries up to a quarter of a second late, so the reader looks at the file's header each time
//! journald has worked ([`writer`]): one `pread` of 208 bytes. Where the kernel does not tell that, it looks on a beat
//! that follows the entries: after a silence, a small part of that silence passes before the next one is seen.

mod cursor;
mod decompress;
mod fields;
mod folder;
mod format;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod journal;
mod window;
mod writer;

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use self::cursor::Cursor;
use self::fields::{Fields, Known};
use self::folder::{Candidate, Seen};
use self::format::Header;
use self::journal::{Found, Journal, JournalError};
use self::writer::Writers;
use super::watch::{Change, Wake, Watch, WatchId};
use super::{Batch, Closed, Delivery, Entry, Position, ReadCount, Scan, Sink, SourceStatus, Stop};
use crate::sighting::SourceId;
use crate::time::{Wall, boot_nanoseconds};

/// Name of the source in positions and status.
pub const NAME: &str = "journald";

/// How the journal is followed.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Longest time between two looks for new entries without a sign. Default 100 ms: ten wake-ups a second stay
    /// under 0.1 % of a core even where a wake-up costs a virtual machine 50 µs.
    pub poll: Duration,
    /// Shortest time between two looks. Default 1 ms.
    pub poll_busy: Duration,
    /// How often the folders are looked at without a sign from the kernel. Default 30 s.
    pub rescan: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            poll: Duration::from_millis(100),
            poll_busy: Duration::from_millis(1),
            rescan: Duration::from_secs(30),
        }
    }
}

/// Entries a batch holds at most.
const BATCH: usize = 1024;

/// Bytes of messages a batch holds at most.
const BATCH_BYTES: u64 = 1 << 20;

/// How often a place is told that moved past entries nobody wants.
const SAVE: Duration = Duration::from_secs(1);

/// How often folders without a readable journal are looked at.
const RETRY: Duration = Duration::from_secs(2);

/// Without signs of journald's work, the time since the last wanted entry over the time between two looks. After an
/// entry that makes a thousand looks or so in the first second and about 2300 in the minute after it.
const SILENCE: u32 = 500;

/// Names of files that are kept from one look to the next.
const PUT_AWAY: usize = 1024;

/// Why the reader ended.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The kernel gives no more inotify instances or events.
    #[error("cannot watch the journal: {0}")]
    Watch(#[from] io::Error),
    /// Nobody takes the entries.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// Follows the journal.
pub struct JournalReader {
    source: SourceId,
    folders: Vec<PathBuf>,
    options: Options,
    scan: Box<dyn Scan>,
    watch: Watch,
    watches: Vec<WatchId>,
    writers: Writers,
    /// `None` until a first look has found where the journal ends.
    cursor: Option<Cursor>,
    /// Files in reading order; the ones that are still written to come last.
    open: Vec<Open>,
    seen: Seen,
    /// Files whose names the kernel has told since the last look: series, and number of the first entry.
    put_away: HashSet<(u128, u64)>,
    fields: Fields,
    /// What the next batch is to tell beside its own.
    pending: ReadCount,
    /// The last damage that was found.
    trouble: Option<String>,
    reported: Option<SourceStatus>,
    /// When a wanted entry was read last.
    busy_since: Option<Instant>,
    /// When the files were looked at last.
    looked: Instant,
    saved: Instant,
    /// Whether the cursor has moved since it was told.
    unsaved: bool,
    next_look: Instant,
}

#[derive(Debug)]
struct Open {
    journal: Journal,
    known: Known,
    path: PathBuf,
    /// Device and inode.
    id: (u64, u64),
    /// Number of the newest entry at the look before: every entry up to it was listed when this one was taken.
    settled: u64,
    /// Entries counted so far.
    counted: u64,
    /// Where entries begin that cannot have been read before under another number.
    floor: Floor,
    /// Nobody writes to it any more.
    finished: bool,
}

/// What tells an entry that was read before in another file. journald copies the entries it wrote before its
/// disk was there, with numbers of their own.
#[derive(Clone, Copy, Debug)]
struct Floor {
    boot: u128,
    monotonic: u64,
    realtime: u64,
    /// Whether the file goes on with a series whose numbers tell, too.
    known: bool,
}

impl std::fmt::Debug for JournalReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JournalReader").field("open", &self.open).finish_non_exhaustive()
    }
}

/// A file of this machine's journal in these folders, if there is one.
pub(crate) fn any_journal(folders: &[PathBuf]) -> Option<PathBuf> {
    folder::any_journal(folders)
}

impl JournalReader {
    /// A reader of the system journals in these folders and their subfolders per machine, on from a saved
    /// position or from now. Reads nothing yet; nothing has to be there.
    pub fn new(
        source: SourceId,
        folders: Vec<PathBuf>,
        position: Option<&Position>,
        options: Options,
        scan: Box<dyn Scan>,
    ) -> Result<Self, ReadError> {
        let cursor = position.and_then(|p| Cursor::decode(&p.place));
        Ok(Self {
            source,
            folders,
            options,
            scan,
            watch: Watch::new()?,
            watches: Vec::new(),
            writers: Writers::default(),
            pending: ReadCount {
                gaps: u64::from(position.is_some() && cursor.is_none()),
                ..ReadCount::default()
            },
            cursor,
            open: Vec::new(),
            seen: Seen::default(),
            put_away: HashSet::new(),
            fields: Fields::default(),
            trouble: None,
            reported: None,
            busy_since: None,
            looked: Instant::now(),
            saved: Instant::now(),
            unsaved: true,
            next_look: Instant::now(),
        })
    }

    /// Follows the journal until `stop` is set or the sink closes.
    pub fn run(mut self, sink: &mut dyn Sink, stop: &Stop) -> Result<(), ReadError> {
        loop {
            if Instant::now() >= self.next_look {
                self.look_around();
            }
            self.looked = Instant::now();
            self.read(sink, stop)?;
            self.save(sink)?;
            self.report(sink)?;
            if self.wait(stop)? == Wake::Stop {
                return Ok(());
            }
        }
    }

    /// Waits until there may be something to read.
    fn wait(&mut self, stop: &Stop) -> io::Result<Wake> {
        let patience = self.patience();
        let wake = self.watch.wait_also(stop, self.writers.descriptors(), patience)?;
        match wake {
            Wake::Changed => self.take_changes()?,
            Wake::Other => {
                if self.writers.check() {
                    self.next_look = self.next_look.min(Instant::now() + RETRY);
                }
                // However often journald works, the files are looked at on a bounded beat: what comes meanwhile is
                // seen at its end.
                return self.watch.wait(stop, self.options.poll_busy.saturating_sub(self.looked.elapsed()));
            }
            Wake::Stop | Wake::Timeout => {}
        }
        Ok(wake)
    }

    /// How long to wait for the kernel before looking at the files again.
    fn patience(&self) -> Duration {
        let now = Instant::now();
        let beat = match self.busy_since {
            _ if self.open.is_empty() => RETRY,
            Some(since) if !self.writers.are_watched() => {
                ((now - since) / SILENCE).max(self.options.poll_busy).min(self.options.poll)
            }
            _ => self.options.poll,
        };
        beat.min(self.next_look.saturating_duration_since(now))
    }

    fn take_changes(&mut self) -> io::Result<()> {
        let mut look = false;
        let put_away = &mut self.put_away;
        self.watch.changes(|change| match change {
            Change::Name(_, name) => {
                look |= folder::concerns(name);
                put_away.extend(folder::put_away(name).filter(|_| put_away.len() < PUT_AWAY));
            }
            Change::Ended(_) | Change::Overflow => look = true,
            Change::File(_) => {}
        })?;
        if look {
            self.next_look = Instant::now();
        }
        Ok(())
    }

    /// Takes up files that are new, and notes which ones are finished.
    fn look_around(&mut self) {
        self.writers.find();
        let places = folder::places(&self.folders, folder::machine_id().as_deref());
        let watches: Vec<_> = places.iter().filter_map(|place| self.watch.folder(place).ok()).collect();
        for old in self.watches.iter().filter(|old| !watches.contains(old)) {
            self.watch.remove(*old);
        }
        self.watches = watches;
        let (mut candidates, troubles) = folder::candidates(&places, &mut self.seen);
        self.trouble = None;
        for (path, active, error) in troubles {
            // An active file without a header is just being created.
            self.pending.gaps += u64::from(!active);
            self.trouble = Some(format!("{}: {error}", path.display()));
        }
        for open in &mut self.open {
            // Rotation renames a file after its last entry; vacuum deletes it.
            open.finished |= !candidates.iter().any(|c| c.id == open.id && c.active);
        }
        if self.cursor.is_none() {
            self.cursor = Some(at_the_end(&candidates));
        } else {
            self.find_gap(&candidates);
            self.find_vacuumed(&candidates);
        }
        candidates.retain(|c| !self.open.iter().any(|open| open.id == c.id));
        candidates.sort_by_key(|c| (c.active, c.header.head_realtime));
        for candidate in candidates {
            self.take_up(candidate);
        }
        let pause = if self.open.is_empty() { RETRY } else { self.options.rescan };
        self.next_look = Instant::now() + pause;
    }

    /// Counts a gap where what comes next in the series that was read last is gone.
    fn find_gap(&mut self, candidates: &[Candidate]) {
        let Some((series, last)) = self.cursor.as_ref().and_then(Cursor::newest_series) else { return };
        let mut of_series = candidates.iter().map(|c| &c.header).filter(|h| h.series == series);
        let first = of_series.clone().filter(|h| h.entries > 0).map(|h| h.head_seqnum).min();
        let gone = first.map_or_else(|| of_series.next().is_none(), |first| first > last + 1);
        if gone && last > 0 && self.open.is_empty() {
            self.pending.gaps += 1;
        }
    }

    /// Counts a gap for each file that was put away and is gone without having been listed: while nobody looked,
    /// journald has begun it, ended it and given its room away. Numbers alone do not tell, because users' own journals
    /// share them.
    fn find_vacuumed(&mut self, candidates: &[Candidate]) {
        if self.put_away.is_empty() {
            return;
        }
        // What is open can be read although its name is gone.
        let mut known: HashSet<_> = self.open.iter().filter_map(|open| open.journal.begin()).collect();
        known.extend(candidates.iter().map(|c| (c.header.series, c.header.head_seqnum)));
        let Some(cursor) = &self.cursor else { return };
        let unread = |(series, first): &(u128, u64)| cursor.last(*series).is_some_and(|last| *first > last);
        let lost = self.put_away.drain().filter(|file| unread(file) && !known.contains(file)).count();
        self.pending.gaps += lost as u64;
    }

    fn take_up(&mut self, candidate: Candidate) {
        let cursor = self.cursor.get_or_insert_default();
        let Candidate { path, file, id, header, active } = candidate;
        // journald numbers upwards: a file in use that ends below the place contradicts it, and then times tell.
        let known = cursor.last(header.series).filter(|last| !active || *last <= header.tail_seqnum);
        let old = header.entries > 0
            && known.map_or(header.tail_realtime <= cursor.realtime, |last| header.tail_seqnum <= last);
        if old && !active {
            self.seen.add(path, id);
            return;
        }
        let after = known.unwrap_or(0);
        let floor = Floor {
            boot: cursor.boot,
            monotonic: cursor.monotonic,
            realtime: cursor.realtime,
            known: known.is_some(),
        };
        match Journal::open(file, after, &mut |name| self.scan.wants(name)) {
            Ok(journal) => self.open.push(Open {
                counted: entries_up_to(journal.header(), after),
                settled: 0,
                known: Known::default(),
                floor,
                finished: !active,
                journal,
                path,
                id,
            }),
            Err(e) => {
                self.pending.gaps += 1;
                self.trouble = Some(format!("{}: {e}", path.display()));
                self.seen.add(path, id);
            }
        }
    }

    /// Reads what is new in every file, in order.
    fn read(&mut self, sink: &mut dyn Sink, stop: &Stop) -> Result<(), Closed> {
        let mut at = 0;
        while at < self.open.len() && !stop.is_set() {
            let before = self.open.len();
            match self.read_file(at, sink, stop) {
                Ok(()) => {}
                Err(FileTrouble::Closed(closed)) => return Err(closed),
                Err(FileTrouble::Journal(e)) => self.pass_over(at, &e),
            }
            if self.open.len() < before {
                continue;
            }
            if self.open[at].finished && !stop.is_set() {
                let open = self.open.remove(at);
                self.seen.add(open.path, open.id);
            } else {
                at += 1;
            }
        }
        Ok(())
    }

    fn read_file(&mut self, at: usize, sink: &mut dyn Sink, stop: &Stop) -> Result<(), FileTrouble> {
        let open = &mut self.open[at];
        let scan = &self.scan;
        if !open.journal.refresh(&mut |name| scan.wants(name))? && open.settled != 0 {
            return Ok(());
        }
        if open.settled == 0 {
            // Files before this one have been read since it was taken up.
            let cursor = self.cursor.get_or_insert_default();
            (open.floor.boot, open.floor.monotonic) = (cursor.boot, cursor.monotonic);
        }
        let mut batch = self.new_batch();
        while let Some(found) = self.open[at].journal.next()? {
            self.take(at, &found, &mut batch);
            if batch.len() >= BATCH || batch.read.bytes >= BATCH_BYTES {
                let full = std::mem::replace(&mut batch, self.new_batch());
                self.hand_over(full, sink)?;
                if stop.is_set() {
                    return Ok(());
                }
            }
        }
        self.settle(at);
        let told = batch.read.bytes > 0 || batch.read.untrusted > 0 || batch.read.gaps > 0;
        batch.read.add(&std::mem::take(&mut self.pending));
        if told {
            self.hand_over(batch, sink)?;
        } else {
            self.pending = batch.read;
        }
        Ok(())
    }

    /// Moves the place past entries that nobody wants, once all that are wanted have been read.
    fn settle(&mut self, at: usize) {
        let open = &mut self.open[at];
        let header = *open.journal.header();
        self.pending.lines += header.entries.saturating_sub(open.counted);
        open.counted = header.entries.max(open.counted);
        let passed = if open.finished { header.tail_seqnum } else { open.settled };
        open.settled = header.tail_seqnum.max(1);
        let cursor = self.cursor.get_or_insert_default();
        if passed > cursor.last(header.series).unwrap_or(0) {
            cursor.advance(header.series, passed);
            self.unsaved = true;
        }
    }

    /// Gives the rest of a damaged file up, and goes on behind it if journald does.
    fn pass_over(&mut self, at: usize, error: &JournalError) {
        let open = &mut self.open[at];
        self.pending.gaps += 1;
        self.trouble = Some(format!("{}: {error}", open.path.display()));
        if open.finished || open.journal.skip_to_end().is_err() {
            // Its header's numbers are not believed either: one that is too high would hide what comes later.
            let open = self.open.remove(at);
            self.seen.add(open.path, open.id);
        }
    }

    fn new_batch(&mut self) -> Batch {
        let mut batch = Batch { source: self.source, read_at: boot_nanoseconds(), ..Batch::default() };
        batch.read = std::mem::take(&mut self.pending);
        batch
    }

    /// Takes one entry into the batch.
    fn take(&mut self, at: usize, found: &Found, batch: &mut Batch) {
        let Self { open, fields, scan, .. } = self;
        let open = &mut open[at];
        let cursor = self.cursor.get_or_insert_default();
        let again = open.floor.covers(found);
        cursor.advance(open.journal.header().series, found.seqnum);
        self.unsaved = true;
        if again {
            return;
        }
        if found.realtime <= latest_believed() {
            cursor.boot = found.boot;
            cursor.monotonic = found.monotonic;
            cursor.realtime = found.realtime.max(cursor.realtime);
        }
        self.busy_since = Some(Instant::now());
        if let Err(e) = fields.read(&mut open.journal, &mut open.known, found) {
            batch.read.gaps += 1;
            self.trouble = Some(format!("{}: {e}", open.path.display()));
            return;
        }
        let identifier = open.journal.identifier(found.stream);
        batch.read.bytes += fields.message.len() as u64;
        batch.read.cut += u64::from(fields.cut);
        let sender = fields.sender().filter(|sender| scan.trusts(identifier, sender));
        let Some(sender) = sender else {
            batch.read.untrusted += 1;
            return;
        };
        let entry = Entry {
            at: Wall((found.realtime / 1000) as i64),
            identifier,
            sender,
            pid: fields.pid,
            message: &fields.message,
        };
        batch.read.known += 1;
        if let Some(sighting) = scan.entry(&entry) {
            batch.push(&sighting);
            batch.read.matched += 1;
        }
    }

    fn hand_over(&mut self, mut batch: Batch, sink: &mut dyn Sink) -> Result<(), Closed> {
        batch.position = Some(self.position());
        self.unsaved = false;
        self.saved = Instant::now();
        sink.deliver(Delivery::Batch(batch))
    }

    /// Tells the place from time to time although no wanted entry came.
    fn save(&mut self, sink: &mut dyn Sink) -> Result<(), Closed> {
        let told = self.unsaved || self.pending != ReadCount::default();
        if told && self.cursor.is_some() && (self.reported.is_none() || self.saved.elapsed() >= SAVE) {
            let batch = self.new_batch();
            self.hand_over(batch, sink)?;
        }
        Ok(())
    }

    /// Tells the state when it has changed.
    fn report(&mut self, sink: &mut dyn Sink) -> Result<(), Closed> {
        let healthy = self.open.iter().any(|open| !open.finished);
        let state = match (&self.trouble, healthy) {
            (None, true) => "reading".to_owned(),
            (Some(trouble), true) => format!("reading, but not everything: {trouble}"),
            (None, false) => format!("waiting for a journal in {}", self.folder_names()),
            (Some(trouble), false) => format!("cannot be read, trying again: {trouble}"),
        };
        let behind = self.open.iter().map(|open| open.journal.behind()).sum();
        let status = SourceStatus { name: NAME.to_owned(), state, healthy, behind };
        if self.reported.as_ref() != Some(&status) {
            sink.deliver(Delivery::Status(self.source, status.clone()))?;
            self.reported = Some(status);
        }
        Ok(())
    }

    fn folder_names(&self) -> String {
        let names: Vec<_> = self.folders.iter().map(|folder| folder.display().to_string()).collect();
        names.join(", ")
    }

    fn position(&self) -> Position {
        let place = self.cursor.as_ref().map(Cursor::encode).unwrap_or_default();
        Position { source: NAME.to_owned(), place }
    }
}

/// What stops the reading of one file.
enum FileTrouble {
    Closed(Closed),
    Journal(JournalError),
}

impl From<Closed> for FileTrouble {
    fn from(e: Closed) -> Self {
        Self::Closed(e)
    }
}

impl From<JournalError> for FileTrouble {
    fn from(e: JournalError) -> Self {
        Self::Journal(e)
    }
}

impl Floor {
    fn covers(&self, found: &Found) -> bool {
        let same_boot = found.boot == self.boot;
        if self.known {
            // Entries of one moment may have been read in part.
            return same_boot && found.monotonic < self.monotonic;
        }
        (same_boot && found.monotonic <= self.monotonic) || found.realtime <= self.realtime
    }
}

/// Microseconds since the epoch. An entry from later than tomorrow is damaged or was written under a wrong clock;
/// as a place it would hide what comes until then.
fn latest_believed() -> u64 {
    (Wall::now().0.unsigned_abs() + 86_400_000) * 1000
}

/// The place behind everything that is there now.
fn at_the_end(candidates: &[Candidate]) -> Cursor {
    let mut cursor = Cursor::default();
    let mut headers: Vec<_> = candidates.iter().map(|c| &c.header).filter(|h| h.entries > 0).collect();
    headers.sort_by_key(|h| h.tail_realtime);
    for header in headers {
        cursor.advance(header.series, header.tail_seqnum);
        cursor.boot = header.tail_boot;
        cursor.monotonic = header.tail_monotonic;
        cursor.realtime = header.tail_realtime.max(cursor.realtime);
    }
    cursor
}

/// How many entries of a file are numbered up to `last`. Numbers may skip, so this is the most there can be.
fn entries_up_to(header: &Header, last: u64) -> u64 {
    if header.tail_seqnum <= last {
        return header.entries;
    }
    header.entries.min(last.saturating_sub(header.head_seqnum.saturating_sub(1)))
}

#[cfg(test)]
mod tests;
