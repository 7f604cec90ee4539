//! The loop over lines and journal entries.

use std::sync::Arc;

use jiff::tz::TimeZone;

use super::header;
use super::layout::Layout;
use super::lines::Ends;
use super::own::OwnLines;
use super::pattern::Found;
use super::set::{FilterSet, Hit};
use super::timestamp::Stamps;
use crate::sighting::Sighting;
use crate::source::{Entry, Scan, Scanned, Sender};
use crate::time::Wall;

/// Scans lines and journal entries with a set of filters.
#[derive(Clone, Debug)]
pub struct Scanner {
    filters: Arc<FilterSet>,
    stamps: Stamps,
    layout: Layout,
    own: OwnLines,
}

impl Scanner {
    /// A scanner that reads stamps without a zone in this machine's zone.
    pub fn new(filters: Arc<FilterSet>) -> Self {
        Self::with_zone(filters, TimeZone::system())
    }

    /// A scanner that reads stamps without a zone in `zone`.
    pub fn with_zone(filters: Arc<FilterSet>, zone: TimeZone) -> Self {
        Self { filters, stamps: Stamps::new(zone), layout: Layout::default(), own: OwnLines::default() }
    }

    /// The filters it scans with.
    pub fn filters(&self) -> &FilterSet {
        &self.filters
    }

    /// Scans every line of `text`, newline-terminated or not, and calls `hit` for each sighting.
    #[inline]
    pub fn scan(&mut self, text: &[u8], reference: Wall, mut hit: impl FnMut(&Sighting<'_>)) -> Scanned {
        let mut scanned = Scanned::default();
        let mut ends = Ends::new();
        let (mut start, mut from) = (0, 0);
        while from < text.len() {
            from = ends.find(text, from);
            scanned.lines += ends.places().len() as u64;
            // First all lines that may matter, then what they say: the two are hard to predict together.
            let mut wanted = [(0, 0); Ends::MOST];
            let mut count = 0;
            for &end in ends.places() {
                wanted[count] = (start as u32, end);
                count += usize::from(!self.layout.skips(text, start, |tag| self.filters.may_begin(tag)));
                start = end as usize + 1;
            }
            for (start, end) in &wanted[..count] {
                let window = &text[*start as usize..];
                if let Some(sighting) = self.read(window, &window[..(end - start) as usize], reference) {
                    scanned.matched += 1;
                    hit(&sighting);
                }
            }
        }
        // A line that was cut, or the last of a file, may have no newline.
        if start < text.len() {
            scanned.lines += 1;
            if let Some(sighting) = self.line(&text[start..], reference) {
                scanned.matched += 1;
                hit(&sighting);
            }
        }
        scanned
    }

    /// Scans one line without its newline.
    pub fn line<'a>(&'a mut self, line: &'a [u8], reference: Wall) -> Option<Sighting<'a>> {
        self.read(line, line, reference)
    }

    /// Scans a line at the front of a window, which may reach beyond it.
    #[inline]
    fn read<'a>(&'a mut self, window: &[u8], line: &'a [u8], reference: Wall) -> Option<Sighting<'a>> {
        let header = match self.layout.split(window, line) {
            Some((stamp, identifier)) => header::split_tag(&line[identifier..], stamp),
            None => header::split(line).inspect(|_| self.layout.learn(line)),
        };
        let known = header.and_then(|header| Some((header, self.filters.service(header.identifier)?)));
        let Some((header, service)) = known else { return self.own_line(line, reference) };
        let mut found = Found::default();
        let hit = self.filters.read(service, trim_end(header.message), &mut found)?;
        let at = header.stamp.read(&mut self.stamps, reference);
        Some(sighting(hit, &found, at, header.pid, line))
    }

    /// Scans a line without a syslog header of a known program.
    #[inline]
    fn own_line<'a>(&'a mut self, line: &'a [u8], reference: Wall) -> Option<Sighting<'a>> {
        if !self.filters.has_formats() {
            return None;
        }
        let read = self.own.read(&self.filters, trim_end(line))?;
        let at = read.stamp.and_then(|stamp| self.stamps.read(stamp, reference));
        Some(sighting(read.hit, &read.found, at, 0, line))
    }

    /// Scans a message of a program, without a header.
    pub fn message<'a>(
        &'a mut self,
        identifier: &[u8],
        pid: u32,
        at: Option<Wall>,
        message: &'a [u8],
    ) -> Option<Sighting<'a>> {
        let service = self.filters.service(identifier)?;
        let mut found = Found::default();
        let hit = self.filters.read(service, trim_end(message), &mut found)?;
        Some(sighting(hit, &found, at, pid, message))
    }

    /// Reads a stamp.
    pub(super) fn stamp(&mut self, stamp: header::Stamp<'_>, reference: Wall) -> Option<Wall> {
        stamp.read(&mut self.stamps, reference)
    }
}

impl Scan for Scanner {
    fn lines(&mut self, chunk: &[u8], reference: Wall, hit: &mut dyn FnMut(&Sighting<'_>)) -> Scanned {
        self.scan(chunk, reference, |sighting| hit(sighting))
    }

    fn wants(&self, identifier: &[u8]) -> bool {
        self.filters.service(identifier).is_some()
    }

    fn trusts(&self, identifier: &[u8], sender: &Sender<'_>) -> bool {
        self.filters.trusts(identifier, sender)
    }

    fn entry<'a>(&'a mut self, entry: &Entry<'a>) -> Option<Sighting<'a>> {
        let filters = Arc::clone(&self.filters);
        let sighting = self.message(entry.identifier, entry.pid, Some(entry.at), entry.message)?;
        // Several filters may read an identifier, and each believes others.
        filters.believes(sighting.pattern, &entry.sender).then_some(sighting)
    }
}

#[inline(always)]
fn sighting<'a>(hit: Hit, found: &Found<'a>, at: Option<Wall>, pid: u32, line: &'a [u8]) -> Sighting<'a> {
    Sighting {
        at,
        address: found.address.address(),
        kind: hit.kind,
        points: hit.points,
        pattern: hit.pattern,
        pid,
        port: found.port,
        account: found.has_account.then_some(found.account),
        line,
    }
}

/// A carriage return or spaces at the end of a line are some syslog daemon's, not the program's.
#[inline]
fn trim_end(message: &[u8]) -> &[u8] {
    match message {
        [rest @ .., b'\r' | b' '] => rest.trim_ascii_end(),
        _ => message,
    }
}
