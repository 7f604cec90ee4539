//! Where the lines of a chunk end. Log lines are short: a search that starts anew for each costs more than the bytes
//! it looks at, and a branch for each is often mispredicted. So the newlines of 64 bytes at a time become bits, and
//! the bits places in a list.

use crate::simd;

const BLOCK: usize = 64;
/// Ends after which a list counts as full; the next block may bring another 64.
const ENOUGH: usize = 448;
/// Ends of a block that are written without asking how many there are.
const USUAL: usize = 2;

/// Ends of lines: places of newlines in a chunk.
#[derive(Clone)]
pub(super) struct Ends {
    places: [u32; Self::MOST],
    count: usize,
}

impl Ends {
    /// Ends it has room for.
    pub(super) const MOST: usize = ENOUGH + BLOCK;

    /// No ends.
    pub(super) const fn new() -> Self {
        Self { places: [0; Self::MOST], count: 0 }
    }

    /// The places, in order.
    #[inline(always)]
    pub(super) fn places(&self) -> &[u32] {
        &self.places[..self.count]
    }

    /// Finds the newlines of `text` from `from` on, as many as there is room for, and answers up to where it has
    /// looked. `text` is shorter than 4 GiB.
    pub(super) fn find(&mut self, text: &[u8], from: usize) -> usize {
        self.count = 0;
        let rest = &text[from..];
        let blocks = rest.as_chunks::<BLOCK>().0;
        let looked = simd::each_block(blocks, |index, newlines| {
            self.add(from + index * BLOCK, newlines);
            self.count < ENOUGH
        });
        if looked < blocks.len() || self.count >= ENOUGH {
            return from + looked * BLOCK;
        }
        let tail = &rest[looked * BLOCK..];
        let newlines = tail.iter().enumerate().fold(0, |bits, (at, b)| bits | u64::from(*b == b'\n') << at);
        self.add(from + looked * BLOCK, newlines);
        text.len()
    }

    #[inline(always)]
    fn add(&mut self, base: usize, mut newlines: u64) {
        let Some(room) = self.places[self.count..].first_chunk_mut::<BLOCK>() else { return };
        let (usual, more) = room.split_at_mut(USUAL);
        let count = newlines.count_ones() as usize;
        for place in usual.iter_mut() {
            *place = base as u32 + newlines.trailing_zeros();
            newlines &= newlines.wrapping_sub(1);
        }
        if count > USUAL {
            for place in &mut more[..count - USUAL] {
                *place = base as u32 + newlines.trailing_zeros();
                newlines &= newlines.wrapping_sub(1);
            }
        }
        self.count += count;
    }
}

impl std::fmt::Debug for Ends {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.places()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(text: &[u8]) -> Vec<u32> {
        let (mut ends, mut found, mut from) = (Ends::new(), Vec::new(), 0);
        while from < text.len() {
            from = ends.find(text, from);
            found.extend_from_slice(ends.places());
        }
        found
    }

    fn plain(text: &[u8]) -> Vec<u32> {
        memchr::memchr_iter(b'\n', text).map(|place| place as u32).collect()
    }

    proptest! {
        #[test]
        fn equals_a_plain_search(text in proptest::collection::vec(prop_oneof![1 => Just(b'\n'), 9 => any::<u8>()], 0..400)) {
            prop_assert_eq!(all(&text), plain(&text));
        }
    }

    #[test]
    fn a_full_list_goes_on_where_it_stopped() {
        for length in [ENOUGH - 1, ENOUGH, ENOUGH + BLOCK, 5 * ENOUGH + 7] {
            let text = vec![b'\n'; length];
            assert_eq!(all(&text), plain(&text));
        }
    }
}
