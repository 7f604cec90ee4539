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
mod look;
mod open;
pub(crate) mod past;
mod read;
mod window;
mod writer;

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use self::cursor::Cursor;
use self::fields::Fields;
pub(crate) use self::folder::NoJournal;
use self::folder::Seen;
#[cfg(test)]
pub(crate) use self::folder::header_of;
use self::open::Open;
use self::writer::Writers;
use super::watch::{Change, Wake, Watch, WatchId};
use super::{Closed, Delivery, Position, ReadCount, Scan, Sink, SourceStatus, Stop};
use crate::sighting::SourceId;

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
    /// The file that was given up last.
    given_up: Option<(u64, u64)>,
    /// The boot that lasts; 0 where the kernel does not tell.
    boot: u128,
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

impl std::fmt::Debug for JournalReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JournalReader").field("open", &self.open).finish_non_exhaustive()
    }
}

/// A file of this machine's journal in these folders, if journald has written to it since the machine started.
pub(crate) fn live(folders: &[PathBuf]) -> Result<PathBuf, NoJournal> {
    folder::live(folders, folder::this_boot())
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
            given_up: None,
            boot: present_boot(),
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

/// The id of the boot that lasts (random(4)), as entries have it; 0 where the kernel does not tell.
fn present_boot() -> u128 {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    u128::from_str_radix(&id.trim().replace('-', ""), 16).unwrap_or(0)
}

#[cfg(test)]
mod tests;
