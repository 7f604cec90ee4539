//! The first bytes of a message decide most of what a service writes: whether any form begins like it, and where in
//! the tree of heads the rest is to be compared. One look-up for the first four bytes says how many bytes the heads
//! with these four have in common at least, a second one for that many says where they lead. No byte of
//! the message is branched on, and the number of heads does not matter.

/// Bytes of a message that are looked at.
pub(super) const OPENING: usize = 16;
/// Bytes that choose how many are compared.
const FIRST: usize = 4;

/// Where bytes at the front of a message lead.
#[derive(Clone, Debug)]
pub(super) struct Openings<T> {
    /// How many bytes count. Open addressing, at most a quarter full; empty if every message may be of some form.
    lengths: Vec<Length>,
    /// Open addressing, at most a quarter full.
    places: Vec<Place<T>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Length {
    first: u32,
    /// Ones for the bytes that count; none for a free place.
    mask: u128,
}

#[derive(Clone, Copy, Debug)]
struct Place<T> {
    /// Zeros where bytes do not count; 0 for a free place.
    bytes: u128,
    leads: Opening<T>,
}

/// What is known of a message from its opening.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opening<T> {
    /// It begins with none of the heads.
    None,
    /// It may begin with some of them: they begin with what leads here.
    At(T),
    /// The opening does not tell.
    Any,
}

impl<T: Copy> Openings<T> {
    /// A table for these heads. `place` tells where the given bytes, with which some of them begin, lead.
    pub(super) fn new(heads: &[&[u8]], place: impl Fn(&[u8]) -> T) -> Self {
        let mut table = Self { lengths: Vec::new(), places: Vec::new() };
        let tells = |head: &&[u8]| head.len() >= FIRST && !head.starts_with(&[0]);
        if heads.is_empty() || !heads.iter().all(tells) {
            return table;
        }
        table.lengths = vec![Length::default(); (heads.len() * 4).next_power_of_two()];
        table.places = vec![Place { bytes: 0, leads: Opening::None }; (heads.len() * 4).next_power_of_two()];
        let mut sorted: Vec<&[u8]> = heads.to_vec();
        sorted.sort_unstable();
        for group in sorted.chunk_by(|a, b| a[..FIRST] == b[..FIRST]) {
            let count = group.iter().map(|head| head.len()).min().unwrap_or(0).min(OPENING);
            let first = first_four(group[0]);
            let at = table.length_slot(first);
            table.lengths[at] = Length { first, mask: u128::MAX >> (8 * (OPENING - count)) };
            for same in group.chunk_by(|a, b| a[..count] == b[..count]) {
                let mut block = [0; OPENING];
                block[..count].copy_from_slice(&same[0][..count]);
                let key = u128::from_le_bytes(block);
                let at = table.place_slot(key);
                table.places[at] = Place { bytes: key, leads: Opening::At(place(&same[0][..count])) };
            }
        }
        table
    }

    /// Where the first bytes of a message lead.
    #[inline(always)]
    pub(super) fn find(&self, opening: &[u8; OPENING]) -> Opening<T> {
        if self.lengths.is_empty() {
            return Opening::Any;
        }
        let length = self.lengths[self.length_slot(first_four(opening))];
        // Nothing counts in a free place, and nothing leads nowhere.
        let bytes = u128::from_le_bytes(*opening) & length.mask;
        self.places[self.place_slot(bytes)].leads
    }

    /// The place of these four bytes, or a free one.
    #[inline(always)]
    #[allow(clippy::needless_bitwise_bool, reason = "a lazy operator is a branch")]
    fn length_slot(&self, first: u32) -> usize {
        let mask = self.lengths.len() - 1;
        let mut at = (u64::from(first).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize & mask;
        while (self.lengths[at].mask != 0) & (self.lengths[at].first != first) {
            at = (at + 1) & mask;
        }
        at
    }

    /// The place of these bytes, or a free one.
    #[inline(always)]
    #[allow(clippy::needless_bitwise_bool, reason = "a lazy operator is a branch")]
    fn place_slot(&self, key: u128) -> usize {
        let mask = self.places.len() - 1;
        let mixed = (key as u64) ^ ((key >> 64) as u64).rotate_left(29);
        let mut at = (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as usize & mask;
        while (self.places[at].bytes != 0) & (self.places[at].bytes != key) {
            at = (at + 1) & mask;
        }
        at
    }
}

/// Whether a message with this opening has all of it when the spaces at its end have been taken away.
pub(super) fn is_whole(opening: &[u8; OPENING]) -> bool {
    !opening.contains(&b'\n') && !opening[OPENING - 1].is_ascii_whitespace()
}

#[inline(always)]
fn first_four(text: &[u8]) -> u32 {
    text.first_chunk().map_or(0, |four| u32::from_le_bytes(*four))
}
