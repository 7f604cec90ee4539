//! Which files are read: those that are new, those that are finished, and those that are gone.

use std::collections::HashSet;
use std::time::Instant;

use super::cursor::Cursor;
use super::fields::Known;
use super::folder::{self, Candidate};
use super::journal::Journal;
use super::open::{Floor, Open, entries_up_to};
use super::{JournalReader, RETRY};

impl JournalReader {
    /// Takes up files that are new, and notes which ones are finished.
    pub(super) fn look_around(&mut self) {
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
            open.finished |= folder::is_put_away(&open.path, open.id);
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
        let floor = Floor::new(cursor, self.boot, known.is_some());
        let past = || floor.is_past(header.tail_boot, header.tail_monotonic, header.tail_realtime);
        let old = header.entries > 0 && known.map_or_else(past, |last| header.tail_seqnum <= last);
        if old && !active {
            self.seen.add(path, id);
            return;
        }
        let after = known.unwrap_or(0);
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
            Err(e) => self.give_up(path, id, &e),
        }
    }
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
