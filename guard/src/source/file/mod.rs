//! Log files: one thread follows all of them.
//!
//! Lines are read the moment the kernel says that they were written (inotify), through rotation by rename and by
//! copy and truncate, and on from a saved [`Position`] after a restart. What cannot be read is named in the
//! source's status and tried again; what was lost is counted ([`ReadCount::gaps`](super::ReadCount::gaps)).
//!
//! Losses nobody can see from outside a file: lines that a copy-and-truncate rotation drops between its copy and
//! its truncation, and lines written and truncated away again between two reads.

mod folder;
mod identity;
mod position;
mod reader;
mod tail;

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use self::tail::Tail;
use super::watch::{Change, Wake, Watch};
use super::{Closed, Delivery, Position, Scan, Sink, SourceStatus, Stop};
use crate::sighting::SourceId;

/// How files are followed.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bytes read from the end of a file that has no saved position. Default 0.
    pub read_back: u64,
    /// How long a file that lost its path is still listened to after its last line: its writer may not have
    /// opened the new one yet. Only then is a last line without a newline taken as complete. Default 5 s.
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
}

impl std::fmt::Debug for FileReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileReader").field("tails", &self.tails).finish_non_exhaustive()
    }
}

impl FileReader {
    /// A reader for these files, on from the positions that are saved for them. Reads nothing yet; no file has
    /// to be there.
    pub fn new(
        files: Vec<(SourceId, PathBuf)>,
        positions: &[Position],
        options: Options,
        scan: Box<dyn Scan>,
    ) -> Result<Self, FileError> {
        let tails: Vec<Tail> = files
            .into_iter()
            .map(|(source, path)| {
                let saved = positions.iter().find(|p| p.source == path.to_string_lossy());
                let mut tail = Tail::new(source, path, options.read_back);
                if let Some(saved) = saved {
                    tail.resume(&saved.place);
                }
                tail
            })
            .collect();
        Ok(Self {
            reported: vec![None; tails.len()],
            tails,
            watch: Watch::new()?,
            scan,
            buffer: vec![0; reader::BUFFER],
            options,
        })
    }

    /// Follows the files until `stop` is set or the sink closes.
    pub fn run(mut self, sink: &mut dyn Sink, stop: &Stop) -> Result<(), FileError> {
        for tail in &mut self.tails {
            tail.attach(&self.watch);
            if let Some(batch) = tail.first_batch() {
                sink.deliver(Delivery::Batch(batch))?;
            }
        }
        let mut next_look = Instant::now() + self.options.rescan;
        let mut next_retry = Instant::now() + RETRY;
        let mut batches = 0u32;
        loop {
            self.read_once(sink, &mut batches)?;
            self.report(sink)?;
            let wake = self.watch.wait(stop, self.patience(next_look, next_retry))?;
            if wake == Wake::Stop {
                return Ok(());
            }
            if wake == Wake::Changed {
                self.take_changes()?;
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
                if tail.moved {
                    tail.attach(&self.watch);
                }
            }
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
        for tail in self.tails.iter_mut().filter(|tail| tail.needs_retry()) {
            tail.suspect();
        }
    }
}

#[cfg(test)]
mod tests;
