//! The loop over lines and journal entries.

use std::sync::Arc;

use jiff::tz::TimeZone;

use super::dispatch::Start;
use super::familiar::{Familiar, Front, Lead};
use super::groups::{Fate, Groups};
use super::header::{self, Header, Stamp, Tag};
use super::identifiers::SHORT;
use super::layout::{Layout, Row, Rows};
use super::lines::Ends;
use super::own::OwnLines;
use super::pattern::Found;
use super::set::{FilterSet, Hit};
use super::timestamp::{BSD_LENGTH, Stamps};
use crate::sighting::{Sighting, Take};
use crate::source::{Entry, Reading, Scan, Scanned, Sender};
use crate::time::Wall;

/// Scans lines and journal entries with a set of filters.
#[derive(Clone, Debug)]
pub struct Scanner {
    filters: Arc<FilterSet>,
    stamps: Stamps,
    layout: Layout,
    familiar: Familiar,
    own: OwnLines,
}

impl Scanner {
    /// A scanner that reads stamps without a zone in this machine's zone.
    pub fn new(filters: Arc<FilterSet>) -> Self {
        Self::with_zone(filters, TimeZone::system())
    }

    /// A scanner that reads stamps without a zone in `zone`.
    pub fn with_zone(filters: Arc<FilterSet>, zone: TimeZone) -> Self {
        let own = OwnLines::new(&filters);
        let (stamps, layout) = (Stamps::new(zone), Layout::default());
        Self { filters, stamps, layout, familiar: Familiar::new(), own }
    }

    /// The filters it scans with.
    pub fn filters(&self) -> &FilterSet {
        &self.filters
    }

    /// Scans every line of `text`, newline-terminated or not, and calls `hit` for each sighting, in their order.
    #[inline]
    pub fn scan(&mut self, text: &[u8], reference: Wall, hit: impl FnMut(&Sighting<'_>)) -> Scanned {
        self.scan_for(text, reference, &mut Each(hit))
    }

    /// The same for something that likes to know of a sighting before its turn comes.
    ///
    /// Hundreds of lines are taken through one step after the other, because what a line is cannot be foreseen: where
    /// lines end, which programs filters read, which messages begin like one of theirs; then those of one form after
    /// the other.
    #[inline]
    pub fn scan_for(&mut self, text: &[u8], reference: Wall, to: &mut impl Take) -> Scanned {
        let mut scanned = Scanned::default();
        let (mut ends, mut rows, mut groups) = (Ends::new(), Rows::new(), Groups::new());
        let (mut sightings, mut last) = (Vec::new(), LastStamps::NONE);
        let (mut start, mut from) = (0, 0);
        while from < text.len() {
            from = ends.find(text, from);
            scanned.lines += ends.places().len() as u64;
            let layout = self.layout;
            rows.sift(text, start, ends.places(), &layout, |tag| self.filters.may_begin(tag));
            scanned.known += rows.get().len() as u64;
            start = ends.places().last().map_or(start, |end| *end as usize + 1);
            groups.clear();
            for row in rows.get() {
                let (candidate, meant) = self.open(&layout, text, *row);
                groups.add(candidate, candidate.group(), meant);
            }
            sightings.clear();
            groups.each(|candidate| {
                if candidate.is_unknown() {
                    return Fate::Late;
                }
                match self.opened(&layout, text, candidate, &mut last, reference) {
                    Some(sighting) => {
                        to.expect(&sighting);
                        sightings.push(sighting);
                        Fate::Kept
                    }
                    None => Fate::Gone,
                }
            });
            for (candidate, place) in groups.in_order() {
                if let Some(place) = place {
                    scanned.matched += 1;
                    to.take(&sightings[place]);
                    continue;
                }
                let strange = candidate.service == STRANGE;
                if let Some(sighting) = self.read(candidate.line(text), strange, reference) {
                    scanned.matched += 1;
                    to.take(&sighting);
                }
            }
        }
        // A line that was cut, or the last of a file, may have no newline.
        if start < text.len() {
            scanned.lines += 1;
            scanned.known += 1;
            if let Some(sighting) = self.line(&text[start..], reference) {
                scanned.matched += 1;
                to.take(&sighting);
            }
        }
        scanned
    }

    /// Scans one line without its newline.
    pub fn line<'a>(&'a mut self, line: &'a [u8], reference: Wall) -> Option<Sighting<'a>> {
        self.read(line, false, reference)
    }

    /// Finds service and form of a line by its tag and the first bytes of its message, and answers whether it may
    /// mean something.
    #[inline(always)]
    fn open(&mut self, layout: &Layout, text: &[u8], row: Row) -> (Candidate, bool) {
        let begin = row.start as usize + layout.identifier();
        let front = Front::of(text, begin).filter(|_| row.fits);
        let Some(front) = front else { return (Candidate::unknown(row), true) };
        match self.familiar.find(front) {
            Some((tag, lead)) if row.holds(begin, tag) => Candidate::led(row, tag, lead),
            Some(_) => (Candidate::unknown(row), true),
            None => self.first_seen(text, row, begin, front),
        }
    }

    /// The same for a line whose beginning is not familiar.
    #[inline(never)]
    fn first_seen(&mut self, text: &[u8], row: Row, begin: usize, front: Front<'_>) -> (Candidate, bool) {
        let unknown = (Candidate::unknown(row), true);
        let Some((tag, true)) = Tag::find(front.tag()) else { return unknown };
        // Nothing is known of a line whose header is of no known form, nor of a name that is longer than what is compared.
        if !row.holds(begin, tag) || usize::from(tag.name) > SHORT || tag.pid(text, begin).is_none() {
            return unknown;
        }
        let name = front.name().to_le_bytes();
        let Some(service) = self.filters.service_in(&name, usize::from(tag.name)) else {
            return (unknown.0, !self.is_nobodys(front, tag));
        };
        let Some(messages) = self.filters.messages(service) else { return unknown };
        let opening = front.opening(usize::from(tag.end)).to_le_bytes();
        // What such a message means stands behind its label.
        if header::may_be_labelled(&opening) {
            return unknown;
        }
        let start = messages.start(&opening);
        let lead = Lead { service: service as u16, at: start.unwrap_or_default(), means: start.is_some() };
        self.familiar.keep(front, tag, lead);
        Candidate::led(row, tag, lead)
    }

    /// Whether the program that a tag names, which is no service by itself, is none of those that filters read: not
    /// one program that speaks for many, nor in a service's own file, where lines mean something else.
    fn is_nobodys(&self, front: Front<'_>, tag: Tag) -> bool {
        !front.tag()[..usize::from(tag.name)].contains(&b'(') && !self.filters.is_own()
    }

    /// Reads a line whose opening is known.
    #[inline(always)]
    fn opened<'a>(
        &mut self,
        layout: &Layout,
        text: &'a [u8],
        candidate: &Candidate,
        last: &mut LastStamps,
        reference: Wall,
    ) -> Option<Sighting<'a>> {
        let Candidate { service, tag, at, .. } = *candidate;
        let line = candidate.line(text);
        let message = &line[layout.identifier() + usize::from(tag.end) + 1..];
        let mut found = Found::default();
        let hit = self.filters.messages(service.into())?.read_from(at, trim_end(message), &mut found);
        let Some(hit) = hit else {
            self.missed(text, candidate.start as usize + layout.identifier(), service);
            return None;
        };
        let pid = tag.pid(line, layout.identifier())?;
        let at = last.read(layout, line, &mut self.stamps, reference);
        let service = &line[layout.identifier()..layout.identifier() + usize::from(tag.name)];
        Some(sighting(hit, &found, at, pid, service, line))
    }

    /// A message has been read in vain whose tag begins at `begin` of a text.
    #[inline(never)]
    fn missed(&mut self, text: &[u8], begin: usize, service: u16) {
        let messages = self.filters.messages(service.into());
        if let (Some(front), Some(messages)) = (Front::of(text, begin), messages) {
            self.familiar.missed(front, |opening| messages.may_begin(opening));
        }
    }

    /// Scans a line of which nothing is known, and remembers its layout if it is to be `learnt`.
    fn read<'a>(&'a mut self, line: &'a [u8], learnt: bool, reference: Wall) -> Option<Sighting<'a>> {
        let header = header::split(line);
        if let Some(header) = header.filter(|_| learnt) {
            self.layout.learn(line, header.identifier);
        }
        let service = header.and_then(|header| self.filters.service(header.identifier));
        if let (Some(header), Some(service)) = (header, service) {
            let mut found = Found::default();
            if let Some(hit) = self.filters.read(service, trim_end(header.message), &mut found) {
                let at = header.stamp.read(&mut self.stamps, reference);
                return Some(sighting(hit, &found, at, header.pid, header.identifier, line));
            }
        }
        self.other(header, service, line, reference)
    }

    /// Scans what is not plain text behind a syslog header.
    #[cold]
    fn other<'a>(
        &'a mut self,
        header: Option<Header<'a>>,
        service: Option<u32>,
        line: &'a [u8],
        reference: Wall,
    ) -> Option<Sighting<'a>> {
        let message = header.zip(service).map(|(header, service)| (service, trim_end(header.message)));
        // A line that some program gave to a syslog daemon is none of a service's own file.
        let is_own = header.is_none() || self.filters.is_own() || header::is_hostless(line);
        let own = (is_own && self.filters.has_formats()).then(|| trim_end(line));
        if own.is_none() && service.is_none_or(|service| self.filters.is_plain(service)) {
            return None;
        }
        let read = self.own.read(&self.filters, message, own)?;
        let at = match (header, read.stamp) {
            (Some(header), _) => header.stamp.read(&mut self.stamps, reference),
            (None, Some(stamp)) => self.stamps.read(stamp, reference),
            (None, None) => None,
        };
        let (pid, service) = header.map_or((0, &[][..]), |header| (header.pid, header.identifier));
        Some(Sighting { request: read.request, ..sighting(read.hit, &read.found, at, pid, service, line) })
    }

    /// Scans a message of a program, without a header.
    pub fn message<'a>(
        &'a mut self,
        identifier: &'a [u8],
        pid: u32,
        at: Option<Wall>,
        message: &'a [u8],
    ) -> Option<Sighting<'a>> {
        let service = self.filters.service(identifier)?;
        let text = trim_end(message);
        let mut found = Found::default();
        if let Some(hit) = self.filters.read(service, text, &mut found) {
            return Some(sighting(hit, &found, at, pid, identifier, message));
        }
        let read = self.own.read(&self.filters, Some((service, text)), None)?;
        Some(Sighting {
            request: read.request,
            ..sighting(read.hit, &read.found, at, pid, identifier, message)
        })
    }

    /// Reads a stamp.
    pub(super) fn stamp(&mut self, stamp: Stamp<'_>, reference: Wall) -> Option<Wall> {
        stamp.read(&mut self.stamps, reference)
    }
}

impl Scan for Scanner {
    fn lines(&mut self, chunk: &[u8], reading: Reading, hit: &mut dyn FnMut(&Sighting<'_>)) -> Scanned {
        self.stamps.stand_back(reading.behind);
        let before = self.stamps.zoned();
        let scanned = self.scan(chunk, reading.at, |sighting| hit(sighting));
        Scanned { zoned: self.stamps.zoned() - before, ..scanned }
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

/// Calls a function for each sighting.
struct Each<F>(F);

impl<F: FnMut(&Sighting<'_>)> Take for Each<F> {
    #[inline(always)]
    fn take(&mut self, sighting: &Sighting<'_>) {
        (self.0)(sighting);
    }
}

/// A line that may mean something, in sixteen bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Candidate {
    start: u32,
    end: u32,
    /// The rest is known if this is neither [`UNKNOWN`] nor [`STRANGE`].
    service: u16,
    tag: Tag,
    /// Where to begin to read its message.
    at: Start,
}

/// Instead of a service: the line has to be looked at from its beginning.
const UNKNOWN: u16 = u16::MAX;
/// The same, because it has another layout.
const STRANGE: u16 = u16::MAX - 1;

impl Candidate {
    fn unknown(row: Row) -> Self {
        let service = if row.fits { UNKNOWN } else { STRANGE };
        Self { start: row.start, end: row.end, service, tag: Tag::default(), at: Start::default() }
    }

    /// What a beginning led to, and whether it may mean something.
    #[inline(always)]
    fn led(row: Row, tag: Tag, lead: Lead) -> (Self, bool) {
        let Lead { service, at, means } = lead;
        (Self { start: row.start, end: row.end, service, tag, at }, means)
    }

    #[inline(always)]
    fn line<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        &text[self.start as usize..self.end as usize]
    }

    #[inline(always)]
    fn is_unknown(&self) -> bool {
        self.service >= STRANGE
    }

    /// A number that lines of one form have in common.
    #[inline(always)]
    fn group(&self) -> u16 {
        self.at.number().wrapping_add(self.service.wrapping_mul(7))
    }
}

/// The last stamps and what they say. Most lines have one of them, whatever order they are read in: each second of a
/// while has its place.
#[derive(Clone, Copy, Debug)]
struct LastStamps([LastStamp; LastStamps::PLACES]);

#[derive(Clone, Copy, Debug)]
struct LastStamp {
    /// An RFC 3164 stamp and the space behind it.
    text: [u8; BSD_LENGTH + 1],
    at: Option<Wall>,
}

impl LastStamps {
    const PLACES: usize = 32;
    const NONE: Self = Self([LastStamp { text: [0; BSD_LENGTH + 1], at: None }; Self::PLACES]);

    /// Reads the stamp of a line that has a layout. `reference` is always the same.
    #[inline(always)]
    fn read(&mut self, layout: &Layout, line: &[u8], stamps: &mut Stamps, reference: Wall) -> Option<Wall> {
        let text: [u8; BSD_LENGTH + 1] = line.first_chunk().copied().unwrap_or_default();
        // The digits of the second.
        let place = usize::from(text[BSD_LENGTH - 1] & 15 | text[BSD_LENGTH - 2] << 4) % Self::PLACES;
        let last = &mut self.0[place];
        if text == last.text {
            return last.at;
        }
        let stamp = layout.stamp(line);
        let at = stamp.read(stamps, reference);
        if let Stamp::Bsd(_) = stamp {
            *last = LastStamp { text, at };
        }
        at
    }
}

#[inline(always)]
fn sighting<'a>(
    hit: Hit,
    found: &Found<'a>,
    at: Option<Wall>,
    pid: u32,
    service: &'a [u8],
    line: &'a [u8],
) -> Sighting<'a> {
    Sighting {
        at,
        address: found.address.address(),
        kind: hit.kind,
        points: hit.points,
        pattern: hit.pattern,
        pid,
        port: found.port,
        account: found.has_account.then_some(found.account),
        service,
        request: None,
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
