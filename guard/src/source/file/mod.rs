//! Log files: one thread follows all of them.
//!
//! Lines are read the moment the kernel says that they were written (inotify), through rotation by rename and by
//! copy and truncate, and on from a saved position after a restart. What cannot be read is named in the
//! source's status and tried again; what was lost is counted ([`ReadCount::gaps`](super::ReadCount::gaps)).
//!
//! Losses nobody can see from outside a file (`docs/sources.md`): lines that a copy-and-truncate rotation drops between
//! its copy and its truncation, and lines written and truncated away again between two reads.

mod finished;
mod folder;
mod followed;
mod identity;
mod position;
mod reader;
mod tail;
mod zone;

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use self::folder::Listings;
pub(crate) use self::folder::Refusal;
pub use self::followed::{Followed, Inbox, Origin, Waiting, inbox};
pub use self::position::last_read;
use self::tail::{Tail, among};
use super::watch::{Change, Wake, Watch};
use super::{Closed, Delivery, Scan, Sink, SourceStatus, Stop};

/// How files are followed.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes read from the end of a file that has no saved position. Default 0.
    pub read_back: u64,
    /// How long a file that lost its path is still listened to after its last line: its writer may not have
    /// opened the new one yet. Only then is a last line without a newline taken as complete. And how long the path of
    /// a file that was found may stand for nothing before it is given up. Default 5 s.
    pub linger: Duration,
    /// How often everything is looked at without a sign from the kernel. Default 30 s.
    pub rescan: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { read_back: 0, linger: Duration::from_secs(5), rescan: Duration::from_secs(30) }
    }
}

/// How often a path that cannot be read is tried again, if no watch tells.
const RETRY: Duration = Duration::from_secs(2);

/// Batches of one file between two reports of how far behind it is.
const REPORT_EVERY: u32 = 64;

/// Why the reader ended.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The kernel gives no more inotify instances or events.
    #[error("cannot watch log files: {0}")]
    Watch(#[from] io::Error),
    /// Nobody takes the lines.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// Follows log files.
pub struct FileReader {
    tails: Vec<Tail>,
    reported: Vec<Option<SourceStatus>>,
    watch: Watch,
    scan: Box<dyn Scan>,
    buffer: Vec<u8>,
    options: Options,
    waiting: Waiting,
}

impl std::fmt::Debug for FileReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileReader").field("tails", &self.tails).finish_non_exhaustive()
    }
}

/// Whether a reader would read the file at this path, and why not.
pub(crate) fn look(path: &Path) -> Result<(), Refusal> {
    folder::open(path).map(drop)
}

impl FileReader {
    /// A reader for these files, and for those that will be `waiting`. Reads nothing yet; no file has to be there.
    pub fn new(
        files: Vec<Followed>,
        waiting: Waiting,
        options: Options,
        scan: Box<dyn Scan>,
    ) -> Result<Self, FileError> {
        let mut reader = Self {
            reported: Vec::new(),
            tails: Vec::new(),
            watch: Watch::new()?,
            scan,
            buffer: vec![0; reader::BUFFER],
            options,
            waiting,
        };
        reader.admit(files);
        Ok(reader)
    }

    /// Follows these files as well. Answers the number of the first.
    fn admit(&mut self, files: Vec<Followed>) -> usize {
        let first = self.tails.len();
        let (read_back, mut listings) = (self.options.read_back, Listings::default());
        self.tails.extend(files.into_iter().map(|file| Tail::new(file, read_back, &mut listings)));
        self.reported.resize(self.tails.len(), None);
        for at in first..self.tails.len() {
            if let Some((tail, others)) = among(&mut self.tails, at) {
                tail.give_way(others, read_back);
            }
        }
        first
    }

    /// Takes up the files from this number on.
    fn take_up(&mut self, first: usize, sink: &mut dyn Sink) -> Result<(), Closed> {
        self.attach();
        for tail in &mut self.tails[first..] {
            if let Some(batch) = tail.first_batch() {
                sink.deliver(Delivery::Batch(batch))?;
            }
        }
        Ok(())
    }

    /// Looks again at every path that may stand for another file.
    fn attach(&mut self) {
        let mut listings = Listings::default();
        for at in 0..self.tails.len() {
            if let Some((tail, others)) = among(&mut self.tails, at)
                && tail.moved
            {
                tail.attach(&self.watch, others, &mut listings);
            }
        }
    }

    /// Gives up the files that were found and have gone.
    fn give_up(&mut self, sink: &mut dyn Sink) -> Result<(), Closed> {
        let linger = self.options.linger;
        while let Some(at) = self.tails.iter().position(|tail| tail.is_over(linger)) {
            let mut tail = self.tails.swap_remove(at);
            self.reported.swap_remove(at);
            tail.forget_finished(&self.watch);
            if !self.tails.iter().any(|other| other.shares_folder_with(&tail)) {
                tail.leave_folder(&self.watch);
            }
            sink.deliver(Delivery::Batch(tail.last_batch()))?;
            sink.deliver(Delivery::Gone(tail.source()))?;
        }
        Ok(())
    }

    /// Follows the files until `stop` is set or the sink closes.
    pub fn run(mut self, sink: &mut dyn Sink, stop: &Stop) -> Result<(), FileError> {
        self.take_up(0, sink)?;
        let mut next_look = Instant::now() + self.options.rescan;
        let mut next_retry = Instant::now() + RETRY;
        let mut batches = 0u32;
        loop {
            self.read_once(sink, &mut batches)?;
            self.give_up(sink)?;
            self.report(sink)?;
            let patience = self.patience(next_look, next_retry);
            match self.watch.wait_also(stop, std::iter::once(self.waiting.bell()), patience)? {
                Wake::Stop => return Ok(()),
                Wake::Changed => self.take_changes()?,
                Wake::Other | Wake::Timeout => {}
            }
            let more = self.waiting.take();
            if !more.is_empty() {
                let first = self.admit(more);
                self.take_up(first, sink)?;
            }
            let now = Instant::now();
            if now >= next_look {
                self.rescan();
                next_look = now + self.options.rescan;
            }
            if now >= next_retry {
                self.retry();
                next_retry = now + RETRY;
            }
            for tail in &mut self.tails {
                let due = tail.deadline(self.options.linger).is_some_and(|due| now >= due);
                tail.dirty |= due;
            }
            self.attach();
        }
    }

    /// One buffer of each file that may have something: none of them starves the others.
    fn read_once(&mut self, sink: &mut dyn Sink, batches: &mut u32) -> Result<(), Closed> {
        for (tail, reported) in self.tails.iter_mut().zip(&mut self.reported) {
            if !tail.dirty {
                continue;
            }
            let read = tail.read(&mut self.buffer, &mut *self.scan, &self.watch, self.options.linger);
            if let Some(batch) = read {
                sink.deliver(Delivery::Batch(batch))?;
            }
            if tail.dirty {
                *batches += 1;
                if batches.is_multiple_of(REPORT_EVERY) {
                    let status = tail.status();
                    sink.deliver(Delivery::Status(tail.source(), status.clone()))?;
                    *reported = Some(status);
                }
            }
        }
        Ok(())
    }

    /// Tells the state of files whose state has changed.
    fn report(&mut self, sink: &mut dyn Sink) -> Result<(), Closed> {
        for (tail, reported) in self.tails.iter().zip(&mut self.reported) {
            if tail.dirty {
                continue;
            }
            // One that was behind has to be told of when it has caught up.
            if reported.as_ref().is_some_and(|old| old.behind == 0 && tail.says(old)) {
                continue;
            }
            let status = tail.status();
            if reported.as_ref() == Some(&status) {
                continue;
            }
            sink.deliver(Delivery::Status(tail.source(), status.clone()))?;
            *reported = Some(status);
        }
        Ok(())
    }

    fn patience(&self, next_look: Instant, next_retry: Instant) -> Duration {
        if self.tails.iter().any(|tail| tail.dirty || tail.moved) {
            return Duration::ZERO;
        }
        let mut until = next_look;
        for tail in &self.tails {
            if tail.needs_retry() {
                until = until.min(next_retry);
            }
            if let Some(due) = tail.deadline(self.options.linger) {
                until = until.min(due);
            }
        }
        until.saturating_duration_since(Instant::now())
    }

    fn take_changes(&mut self) -> io::Result<()> {
        let Self { tails, watch, .. } = self;
        watch.changes(|change| {
            for tail in &mut *tails {
                match change {
                    Change::File(id) => tail.note(id, None),
                    Change::Name(id, name) => tail.note(id, Some(name)),
                    Change::Ended(id) => tail.ended(watch, id),
                    Change::Overflow => tail.suspect(),
                }
            }
        })
    }

    fn rescan(&mut self) {
        for tail in &mut self.tails {
            tail.suspect();
        }
    }

    fn retry(&mut self) {
        self.tails.iter_mut().filter(|tail| tail.needs_retry()).for_each(Tail::retry);
    }
}

#[cfg(test)]
mod tests;
