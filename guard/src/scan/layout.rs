//! The layout of the last line's header. In one log it hardly changes: the stamp has its length and the host its name,
//! so where the identifier stands is known before a line has been looked at, and most lines are another program's.

use super::header::{self, Stamp, Tag};
use super::lines::Ends;
use super::timestamp::BSD_LENGTH;
use crate::simd;

/// Longest stamp.
const STAMP: usize = 32;
/// Bytes of a line that are looked at.
const WHOLE: usize = 64;
/// Where the identifier begins at most if half of these bytes decide.
const NARROW: usize = WHOLE / 2;

/// Where things were in the last line, if it was of a form that is remembered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// What is the same in each line: the marks in the stamp, a space, the host and another space. Zeros elsewhere.
    fixed: [u8; WHOLE],
    /// Ones where `fixed` counts. If nothing does, no layout is known.
    mask: [u8; WHOLE],
    /// The lowest byte a stamp of this form can begin with, and how many more there are.
    first: (u8, u8),
    /// Places at which no space may stand, a bit for each.
    no_spaces: u32,
    /// Where the identifier begins; 0 if no layout is known.
    identifier: usize,
}

impl Default for Layout {
    /// No layout is known.
    fn default() -> Self {
        Self { fixed: [0; WHOLE], mask: [0; WHOLE], first: (0, 0), no_spaces: 0, identifier: 0 }
    }
}

/// A line that a filter may read: where it is in its chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) start: u32,
    /// Where its newline is.
    pub(super) end: u32,
    /// Whether it has the layout.
    pub(super) fits: bool,
}

impl Row {
    /// Whether a tag that begins at `begin` ends in the line.
    #[inline(always)]
    pub(super) fn holds(&self, begin: usize, tag: Tag) -> bool {
        begin + usize::from(tag.end) < self.end as usize
    }
}

/// The lines of a list of ends that filters may read.
#[derive(Clone, Debug)]
pub(super) struct Rows {
    rows: [Row; Ends::MOST],
    count: usize,
}

impl Rows {
    /// No lines.
    pub(super) const fn new() -> Self {
        Self { rows: [Row { start: 0, end: 0, fits: false }; Ends::MOST], count: 0 }
    }

    /// The lines, in order.
    pub(super) fn get(&self) -> &[Row] {
        &self.rows[..self.count]
    }

    /// Takes up the lines of `text` that begin at `start` and end at the given places, except those that have a
    /// known layout and an identifier that `may_begin` refuses: no filter reads them. No branch depends on a line,
    /// because which program writes the next one is hard to predict. What stands behind a short line may be looked
    /// at as if it belonged to it; a newline is part of neither a host nor an identifier, so such a line is never
    /// left out wrongly.
    #[inline(always)]
    pub(super) fn sift(
        &mut self,
        text: &[u8],
        start: usize,
        ends: &[u32],
        layout: &Layout,
        may_begin: impl Fn([u8; 4]) -> bool,
    ) {
        match (layout.identifier, layout.no_spaces) {
            (0, _) => self.each(start, ends, |_| (false, true)),
            (..=NARROW, 0) => self.each(start, ends, |at| layout.look::<2, false>(text, at, &may_begin)),
            (_, 0) => self.each(start, ends, |at| layout.look::<4, false>(text, at, &may_begin)),
            (_, _) => self.each(start, ends, |at| layout.look::<4, true>(text, at, &may_begin)),
        }
    }

    /// Takes up the lines that `look` wants; it answers of each whether it has the layout, too.
    #[inline(always)]
    fn each(&mut self, mut start: usize, ends: &[u32], look: impl Fn(usize) -> (bool, bool)) {
        let mut count = 0;
        for &end in ends {
            let (fits, wanted) = look(start);
            self.rows[count] = Row { start: start as u32, end, fits };
            count += usize::from(wanted);
            start = end as usize + 1;
        }
        self.count = count;
    }
}

impl Layout {
    /// Whether the line that begins at `start` has this layout, and whether a filter may read it. The fixed bytes are in
    /// the first `N` quarters of what is looked at; there may be places without spaces if `SPACES` says so.
    #[inline(always)]
    #[allow(clippy::needless_bitwise_bool, reason = "a lazy operator is a branch")]
    fn look<const N: usize, const SPACES: bool>(
        &self,
        text: &[u8],
        start: usize,
        may_begin: impl Fn([u8; 4]) -> bool,
    ) -> (bool, bool) {
        let Some(line) = text.get(start..).and_then(|line| line.first_chunk()) else { return (false, true) };
        // A layout whose tag does not begin among these bytes has not been learnt.
        let Some(tag) = line[self.identifier.min(WHOLE - 4)..].first_chunk() else { return (false, true) };
        let fits = self.fits::<N, SPACES>(line);
        (fits, !fits | may_begin(*tag))
    }

    /// Whether a line has this layout.
    #[inline(always)]
    #[allow(clippy::needless_bitwise_bool, reason = "comparisons cost less than branches nobody can predict")]
    fn fits<const N: usize, const SPACES: bool>(&self, line: &[u8; WHOLE]) -> bool {
        // An RFC 3164 stamp has spaces inside, an RFC 3339 stamp ends at the first.
        let no_space =
            !SPACES || line.first_chunk().is_some_and(|stamp| simd::equal(stamp, b' ') & self.no_spaces == 0);
        simd::same_where::<N>(line, &self.mask, &self.fixed)
            & no_space
            & (line[0].wrapping_sub(self.first.0) <= self.first.1)
    }

    /// Where the identifier of a line of this layout begins.
    #[inline(always)]
    pub(super) fn identifier(&self) -> usize {
        self.identifier
    }

    /// The stamp of a line of this layout.
    #[inline(always)]
    pub(super) fn stamp<'a>(&self, line: &'a [u8]) -> Stamp<'a> {
        match line.first_chunk() {
            Some(stamp) if self.first.0 == b'A' => Stamp::Bsd(stamp),
            _ => Stamp::Iso(line),
        }
    }

    /// Remembers the layout of a line whose identifier is this part of it.
    #[cold]
    pub(super) fn learn(&mut self, line: &[u8], found: &[u8]) {
        let bsd = line.first().is_some_and(u8::is_ascii_uppercase);
        let stamp = match line.first() {
            _ if bsd => header::bsd_stamp(line).map(|_| BSD_LENGTH),
            Some(first) if first.is_ascii_digit() => header::iso_stamp(line).map(|(_, end)| end),
            _ => None,
        };
        let Some(stamp) = stamp else { return };
        let Some(host) = memchr::memchr(b' ', &line[stamp + 1..]) else { return };
        let identifier = stamp + host + 2;
        // A line without a host has its tag before that, and one with a priority behind the host after it. A priority
        // before the host is no host.
        let is_elsewhere = found.as_ptr().addr() != line.as_ptr().addr() + identifier;
        if stamp > STAMP || identifier + 4 > WHOLE || host == 0 || line[stamp + 1] == b'<' || is_elsewhere {
            return;
        }
        let marks: &[usize] = if bsd { &[3, 6, 9, 12] } else { &[10] };
        let (mut fixed, mut mask) = ([0; WHOLE], [0; WHOLE]);
        for at in marks.iter().copied().chain(stamp..identifier) {
            (fixed[at], mask[at]) = (line[at], 0xff);
        }
        *self = Self {
            fixed,
            mask,
            first: if bsd { (b'A', 25) } else { (b'0', 9) },
            no_spaces: if bsd { 0 } else { ((1u64 << stamp) - 1) as u32 },
            identifier,
        };
    }
}
