//! Beginnings of lines that have been seen, and what they lead to. A log says the same few things over and over: who
//! writes a line and the first bytes of its message are looked up at once, instead of one after the other. Where
//! messages with an opening have led nowhere, it is found out whether any can (`Messages::may_begin`); if none can, whatever
//! follows, no such line is read again.
//!
//! A tag is not taken apart to be looked up: the beginning that has its place tells how long the name is, and the tag is
//! compared with what it says. Each beginning has one place, and the last that came has it: nothing is lost but time.

use super::dispatch::Start;
use super::header::{TAG, Tag};
use super::identifiers::SHORT;
use super::openings::{OPENING, is_whole};
use crate::bytes;
use crate::simd;

/// Beginnings that are remembered, a power of two. A log has a few dozen at a time.
const PLACES: usize = 256;
/// Most digits of a process id that are looked at.
const DIGITS: usize = 8;
/// Bytes in front of a tag: so the digits that end two bytes before the end of a tag can be loaded wherever that is.
const MARGIN: usize = DIGITS + 2;

/// A line from shortly before its tag on, as far as it is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Front<'a>(&'a [u8; MARGIN + TAG + OPENING]);

/// What a beginning leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lead {
    /// The service that reads the line.
    pub(super) service: u16,
    /// Where to begin to read its message.
    pub(super) at: Start,
    /// Whether it may mean something.
    pub(super) means: bool,
}

/// Who writes a line, and the first bytes of the message; what they lead to.
#[derive(Clone, Copy, Debug)]
struct Beginning {
    /// The name and the byte behind it, a bracket or a colon; zeros behind that.
    name: u128,
    opening: u128,
    /// Bytes of the name.
    length: u8,
    /// Bytes of the tag that are no digits.
    around: u8,
    /// The fewest digits there are, and how many more there may be.
    digits: (u8, u8),
    /// How the tag ends, and ones where that counts.
    tail: u16,
    tail_mask: u16,
    lead: Lead,
    past: Past,
}

/// How messages that begin alike have fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Past {
    /// Nobody has read one in vain.
    Clean,
    /// One has been read in vain.
    Missed,
    /// They may mean something.
    Tried,
}

/// The beginnings that have been seen.
#[derive(Clone, Debug)]
pub(super) struct Familiar(Box<[Beginning; PLACES]>);

impl Familiar {
    /// None yet.
    pub(super) fn new() -> Self {
        Self(Box::new([Beginning::NONE; PLACES]))
    }

    /// The tag of a line and what its beginning leads to, if that is remembered. The tag is well formed.
    #[inline(always)]
    pub(super) fn find(&self, front: Front<'_>) -> Option<(Tag, Lead)> {
        let end = front.end();
        let known = &self.0[front.place(end)];
        known.is(front, end).then_some((Tag { name: known.length, end: end as u8 }, known.lead))
    }

    /// Remembers what a beginning leads to, if its name is not longer than what is compared at once.
    pub(super) fn keep(&mut self, front: Front<'_>, tag: Tag, lead: Lead) {
        if let Some(beginning) = Beginning::of(front, tag, lead) {
            self.0[front.place(front.end())] = beginning;
        }
    }

    /// A message with this beginning has been read in vain. The second time, `may_begin` is asked whether any message with its
    /// opening means something; finding that out costs more than reading one.
    pub(super) fn missed(&mut self, front: Front<'_>, may_begin: impl FnOnce(&[u8; OPENING]) -> bool) {
        let end = front.end();
        let known = &mut self.0[front.place(end)];
        if !known.is(front, end) {
            return;
        }
        let opening = known.opening.to_le_bytes();
        match known.past {
            Past::Clean => known.past = Past::Missed,
            Past::Missed if is_whole(&opening) && !may_begin(&opening) => known.lead.means = false,
            Past::Missed => known.past = Past::Tried,
            Past::Tried => {}
        }
    }
}

impl Beginning {
    /// A beginning that no line has: no tag has so many digits.
    const NONE: Self = Self {
        name: 0,
        opening: 0,
        length: 0,
        around: 0,
        digits: (u8::MAX, 0),
        tail: 0,
        tail_mask: 0,
        lead: Lead { service: 0, at: Start::ROOT, means: false },
        past: Past::Clean,
    };

    /// The beginning of a line; `None` if its name is longer than what is compared at once.
    fn of(front: Front<'_>, tag: Tag, lead: Lead) -> Option<Self> {
        let kept = KEPT.get(usize::from(tag.name) + 1)?;
        let (around, digits, tail, tail_mask) = if tag.has_pid() {
            (3, (1, DIGITS as u8 - 1), u16::from_le_bytes(*b"]:"), u16::MAX)
        } else {
            (1, (0, 0), 0, 0)
        };
        Some(Self {
            name: front.name() & kept,
            opening: front.opening(usize::from(tag.end)),
            length: tag.name,
            around: tag.name + around,
            digits,
            tail,
            tail_mask,
            lead,
            past: Past::Clean,
        })
    }

    /// Whether it is that of a line whose tag ends at `end`.
    #[inline(always)]
    #[allow(clippy::needless_bitwise_bool, reason = "a lazy operator is a branch")]
    fn is(&self, front: Front<'_>, end: usize) -> bool {
        let (least, more) = self.digits;
        let digits = (end as u8).wrapping_sub(self.around);
        let (last, tail) = front.before(end);
        let kept = [KEPT[usize::from(self.length) % SHORT + 1], u128::MAX];
        simd::same([front.name(), front.opening(end)], kept, [self.name, self.opening])
            & (digits.wrapping_sub(least) <= more)
            & (tail & self.tail_mask == self.tail)
            & bytes::are_digits(last, LAST[usize::from(digits) % LAST.len()])
    }
}

impl<'a> Front<'a> {
    /// The front of a line whose tag begins at `begin` of a text; `None` if the text does not reach far enough to both sides.
    #[inline(always)]
    pub(super) fn of(text: &'a [u8], begin: usize) -> Option<Self> {
        text.get(begin.checked_sub(MARGIN)?..)?.first_chunk().map(Self)
    }

    /// The bytes in which a tag ends.
    #[inline(always)]
    pub(super) fn tag(self) -> &'a [u8; TAG] {
        part(self.0, MARGIN)
    }

    /// The first bytes of the tag.
    #[inline(always)]
    pub(super) fn name(self) -> u128 {
        u128::from_le_bytes(*part(self.0, MARGIN))
    }

    /// The first bytes of the message behind a tag that ends at `end`.
    #[inline(always)]
    pub(super) fn opening(self, end: usize) -> u128 {
        u128::from_le_bytes(*part(self.0, MARGIN + 1 + end % TAG))
    }

    /// Where the first space is; 0 if there is none.
    #[inline(always)]
    fn end(self) -> usize {
        simd::equal(self.tag(), b' ').trailing_zeros() as usize % TAG
    }

    /// The bytes before `end`: eight, and the last two behind them.
    #[inline(always)]
    fn before(self, end: usize) -> (u64, u16) {
        let at = end % TAG;
        (u64::from_le_bytes(*part(self.0, at)), u16::from_le_bytes(*part(self.0, at + DIGITS)))
    }

    /// Attackers choose what follows the first words of a message. All they could bring about is that their own lines, and
    /// those that share their place, are looked up as if they were new.
    #[inline(always)]
    fn place(self, end: usize) -> usize {
        const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
        let opening = self.opening(end);
        let folded = opening as u64 ^ ((opening >> 64) as u64).rotate_left(29);
        let name = u64::from(self.name() as u32).wrapping_mul(MIX);
        ((folded ^ name).wrapping_mul(MIX) >> 40) as usize % PLACES
    }
}

/// Some bytes of a front. Zeros where it has none, which no place within bounds leads to.
#[inline(always)]
fn part<const N: usize>(front: &[u8; MARGIN + TAG + OPENING], at: usize) -> &[u8; N] {
    front.get(at..).and_then(|rest| rest.first_chunk()).unwrap_or(&[0; N])
}

/// Ones for as many of the last bytes of eight.
const LAST: [u64; 16] = {
    let mut last = [u64::MAX; 16];
    let mut count = 0;
    while count < DIGITS {
        last[count] = !(u64::MAX >> (8 * count));
        count += 1;
    }
    last
};

/// Ones for as many bytes.
const KEPT: [u128; SHORT + 1] = {
    let mut kept = [0; SHORT + 1];
    let mut length = 1;
    while length <= SHORT {
        kept[length] = u128::MAX >> (8 * (SHORT - length));
        length += 1;
    }
    kept
};
