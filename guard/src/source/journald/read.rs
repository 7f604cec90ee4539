//! From entries to batches.

use std::path::PathBuf;
use std::time::Instant;

use super::journal::{Found, JournalError};
use super::open::Open;
use super::{BATCH, BATCH_BYTES, JournalReader, RETRY};
use crate::source::{Batch, Closed, Delivery, Sink, Stop};
use crate::time::{Wall, boot_nanoseconds};

impl JournalReader {
    /// Reads what is new in every file, in order.
    pub(super) fn read(&mut self, sink: &mut dyn Sink, stop: &Stop) -> Result<(), Closed> {
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

    /// Passes over the rest of a damaged file, and goes on behind it if journald does.
    fn pass_over(&mut self, at: usize, error: &JournalError) {
        let open = &mut self.open[at];
        if open.finished || open.journal.skip_to_end().is_err() {
            // Its header's numbers are not believed either: one that is too high would hide what comes later.
            let open = self.open.remove(at);
            self.give_up(open.path, open.id, error);
        } else {
            self.pending.gaps += 1;
            self.trouble = Some(format!("{}: {error}", open.path.display()));
        }
    }

    /// Reads a file no further. The one that journald writes to is tried again, and is one gap however often.
    pub(super) fn give_up(&mut self, path: PathBuf, id: (u64, u64), error: &JournalError) {
        self.trouble = Some(format!("{}: {error}", path.display()));
        self.pending.gaps += u64::from(self.given_up.replace(id) != Some(id));
        self.seen.add(path, id);
        self.next_look = self.next_look.min(Instant::now() + RETRY);
    }

    pub(super) fn new_batch(&mut self) -> Batch {
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
        let Open { journal, known, path, .. } = open;
        match fields.sighting(journal, known, found, &mut **scan, &mut batch.read) {
            Ok(None) => {}
            Ok(Some(sighting)) => batch.push(&sighting),
            Err(e) => {
                batch.read.gaps += 1;
                self.trouble = Some(format!("{}: {e}", path.display()));
            }
        }
    }

    pub(super) fn hand_over(&mut self, mut batch: Batch, sink: &mut dyn Sink) -> Result<(), Closed> {
        batch.position = Some(self.position());
        self.unsaved = false;
        self.saved = Instant::now();
        sink.deliver(Delivery::Batch(batch))
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

/// Microseconds since the epoch. An entry from later than tomorrow is damaged or was written under a wrong clock;
/// as a place it would hide what comes until then.
fn latest_believed() -> u64 {
    (Wall::now().0.unsigned_abs() + 86_400_000) * 1000
}
