//! Beginnings of lines that have been seen, and what they lead to. A log says the same few things over and over: who
//! writes a line and the first bytes of its message are looked up at once, instead of one after the other. Where
//! messages with an opening have led nowhere, it is found out whether any can (`Messages::may_begin`); if none can, whatever
//! follows, no such line is read again.
//!
//! Each beginning has one place, and the last that came has it: nothing is lost but time.

use super::dispatch::Start;
use super::header::{TAG, Tag};
use super::identifiers::SHORT;
use super::openings::OPENING;

/// Beginnings that are remembered, a power of two. A log has a few dozen at a time.
const PLACES: usize = 256;

/// A line from its tag on, as far as it is looked at.
pub(super) type Block = [u8; TAG + OPENING];

/// Who writes a line, and the first bytes of the message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Front {
    /// The name, zeros behind it.
    name: u128,
    opening: u128,
    /// Of the name.
    length: u8,
}

/// What a beginning leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lead {
    /// The service that reads the line.
    pub(super) service: u16,
    /// Where to begin to read its message; `None` if it means nothing.
    pub(super) at: Option<Start>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Beginning {
    front: Front,
    lead: Lead,
    past: Past,
}

/// How messages that begin alike have fared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Past {
    /// Nobody has read one in vain.
    #[default]
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
        Self(Box::new([Beginning::default(); PLACES]))
    }

    /// What a beginning leads to, if it is remembered.
    #[inline(always)]
    pub(super) fn find(&self, front: &Front) -> Option<Lead> {
        let known = &self.0[front.place()];
        (known.front == *front).then_some(known.lead)
    }

    /// Remembers what a beginning leads to.
    pub(super) fn keep(&mut self, front: &Front, lead: Lead) {
        self.0[front.place()] = Beginning { front: *front, lead, past: Past::Clean };
    }

    /// A message with this beginning has been read in vain. The second time, `may_begin` is asked whether any message with its
    /// opening means something; finding that out costs more than reading one.
    pub(super) fn missed(&mut self, front: &Front, may_begin: impl FnOnce(&[u8; OPENING]) -> bool) {
        let known = &mut self.0[front.place()];
        if known.front != *front {
            return;
        }
        match known.past {
            Past::Clean => known.past = Past::Missed,
            Past::Missed if front.is_whole() && !may_begin(&front.opening()) => known.lead.at = None,
            Past::Missed => known.past = Past::Tried,
            Past::Tried => {}
        }
    }
}

impl Front {
    /// The front of a line, of which `block` begins with the tag; `None` if the name is longer than what is compared at
    /// once.
    #[inline(always)]
    pub(super) fn of(block: &Block, tag: Tag) -> Option<Self> {
        let kept = KEPT.get(usize::from(tag.name))?;
        let name: &[u8; SHORT] = block.first_chunk()?;
        // A tag that has been found ends in its part of the block.
        let opening = block[usize::from(tag.end) % TAG + 1..].first_chunk()?;
        Some(Self {
            name: u128::from_le_bytes(*name) & kept,
            opening: u128::from_le_bytes(*opening),
            length: tag.name,
        })
    }

    /// The first bytes of the message.
    pub(super) fn opening(&self) -> [u8; OPENING] {
        self.opening.to_le_bytes()
    }

    /// Attackers choose what follows the first words of a message. All they could bring about is that their own lines, and
    /// those that share their place, are looked up as if they were new.
    #[inline(always)]
    fn place(&self) -> usize {
        let fold = |number: u128| number as u64 ^ ((number >> 64) as u64).rotate_left(29);
        let mixed = fold(self.name).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ fold(self.opening);
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize % PLACES
    }

    /// Whether a message with this opening has all of it when the spaces at its end have been taken away.
    fn is_whole(&self) -> bool {
        let opening = self.opening();
        !opening.contains(&b'\n') && !opening[OPENING - 1].is_ascii_whitespace()
    }
}

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
