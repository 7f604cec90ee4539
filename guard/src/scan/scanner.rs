//! The loop over lines and journal entries.

use std::sync::Arc;

use jiff::tz::TimeZone;

use super::groups::Groups;
use super::header::{self, TAG, Tag};
use super::layout::{Layout, Row, Rows};
use super::lines::Ends;
use super::openings::OPENING;
use super::dispatch::Start;
use super::pattern::Found;
use super::set::{FilterSet, Hit};
use super::timestamp::Stamps;
use crate::sighting::Sighting;
use crate::source::{Entry, Scan, Scanned};
use crate::time::Wall;

/// Scans lines and journal entries with a set of filters.
#[derive(Clone, Debug)]
pub struct Scanner {
    filters: Arc<FilterSet>,
    stamps: Stamps,
    layout: Layout,
}

impl Scanner {
    /// A scanner that reads stamps without a zone in this machine's zone.
    pub fn new(filters: Arc<FilterSet>) -> Self {
        Self::with_zone(filters, TimeZone::system())
    }

    /// A scanner that reads stamps without a zone in `zone`.
    pub fn with_zone(filters: Arc<FilterSet>, zone: TimeZone) -> Self {
        Self { filters, stamps: Stamps::new(zone), layout: Layout::default() }
    }

    /// The filters it scans with.
    pub fn filters(&self) -> &FilterSet {
        &self.filters
    }

    /// Scans every line of `text`, newline-terminated or not, and calls `hit` for each sighting, in their order.
    ///
    /// Hundreds of lines are taken through one step after the other, because each step is hard to predict for the
    /// processor when it depends on what a line is: where lines end, which programs filters read, which messages
    /// begin like one of theirs; then those of one form after the other.
    #[inline]
    pub fn scan<'a>(
        &mut self,
        text: &'a [u8],
        reference: Wall,
        mut hit: impl FnMut(&Sighting<'a>),
    ) -> Scanned {
        let mut scanned = Scanned::default();
        let (mut ends, mut rows, mut groups) = (Ends::new(), Rows::new(), Groups::new());
        let mut sightings = Vec::new();
        let (mut start, mut from) = (0, 0);
        while from < text.len() {
            from = ends.find(text, from);
            scanned.lines += ends.places().len() as u64;
            let layout = self.layout;
            rows.sift(text, start, ends.places(), &layout, |tag| self.filters.may_begin(tag));
            start = ends.places().last().map_or(start, |end| *end as usize + 1);
            groups.clear();
            for row in rows.get() {
                let (candidate, meant) = self.open(&layout, text, *row);
                groups.add(candidate, candidate.group(), meant);
            }
            sightings.clear();
            groups.each(|candidate| {
                let sighting = self.candidate(&layout, text, candidate, reference);
                sightings.extend(sighting);
                sighting.is_some()
            });
            scanned.matched += sightings.len() as u64;
            for place in groups.kept() {
                hit(&sightings[place]);
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
    pub fn line<'a>(&mut self, line: &'a [u8], reference: Wall) -> Option<Sighting<'a>> {
        let header = header::split(line)?;
        let service = self.filters.service(header.identifier)?;
        let mut found = Found::default();
        let hit = self.filters.read(service, trim_end(header.message), &mut found)?;
        let at = header.stamp.read(&mut self.stamps, reference);
        Some(sighting(hit, &found, at, header.pid, line))
    }

    /// Finds service and form of a line by its tag and the first bytes of its message, and answers whether it may
    /// mean something.
    #[inline(always)]
    #[allow(clippy::needless_bitwise_bool, reason = "a lazy operator is a branch")]
    fn open(&self, layout: &Layout, text: &[u8], row: Row) -> (Candidate, bool) {
        let unknown = Candidate { row, at: None };
        let begin = row.start as usize + layout.identifier();
        let Some(block) = text.get(begin..).and_then(|rest| rest.first_chunk::<{ TAG + OPENING }>()) else {
            return (unknown, true);
        };
        let (Some(front), Some(name)) = (block.first_chunk(), block.first_chunk()) else {
            return (unknown, true);
        };
        let Some((tag, well_formed)) = Tag::find(front).filter(|_| row.fits) else { return (unknown, true) };
        let message = usize::from(tag.end) + 1;
        let Some(opening) = block.get(message..).and_then(|rest| rest.first_chunk()) else {
            return (unknown, true);
        };
        if usize::from(tag.name) > name.len() {
            return (unknown, true);
        }
        let Some(service) = self.filters.service_in(name, usize::from(tag.name)) else {
            return (unknown, false);
        };
        let start = self.filters.start(service, opening);
        let meant = well_formed & start.is_some() & (begin + message <= row.end as usize);
        (Candidate { row, at: Some((tag, service as u16, start.unwrap_or_default())) }, meant)
    }

    /// Reads a line that may mean something.
    #[inline(always)]
    fn candidate<'a>(
        &mut self,
        layout: &Layout,
        text: &'a [u8],
        candidate: &Candidate,
        reference: Wall,
    ) -> Option<Sighting<'a>> {
        let Row { start, end, fits } = candidate.row;
        let line = &text[start as usize..end as usize];
        let Some((tag, service, at)) = candidate.at else {
            if !fits {
                self.layout.learn(line);
            }
            return self.line(line, reference);
        };
        let message = &line[layout.identifier() + usize::from(tag.end) + 1..];
        let mut found = Found::default();
        let hit = self.filters.read_from(service.into(), at, trim_end(message), &mut found)?;
        let pid = tag.pid(line, layout.identifier())?;
        let at = layout.stamp(line).read(&mut self.stamps, reference);
        Some(sighting(hit, &found, at, pid, line))
    }

    /// Scans a message of a program, without a header.
    pub fn message<'a>(
        &self,
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

    fn trusts(&self, identifier: &[u8], uid: u32) -> bool {
        self.filters.trusts(identifier, uid, None)
    }

    fn entry<'a>(&mut self, entry: &Entry<'a>) -> Option<Sighting<'a>> {
        let command = (!entry.comm.is_empty()).then_some(entry.comm);
        if !self.filters.trusts(entry.identifier, entry.uid, command) {
            return None;
        }
        self.message(entry.identifier, entry.pid, Some(entry.at), entry.message)
    }
}

/// A line that may mean something.
#[derive(Clone, Copy, Debug, Default)]
struct Candidate {
    row: Row,
    /// Its tag, the service and where to begin to read its message; `None` if it has to be looked at from its
    /// beginning.
    at: Option<(Tag, u16, Start)>,
}

impl Candidate {
    /// A number that lines of one form have in common.
    #[inline(always)]
    fn group(&self) -> u16 {
        self.at.map_or(u16::MAX, |(_, service, start)| start.number().wrapping_add(service.wrapping_mul(7)))
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
