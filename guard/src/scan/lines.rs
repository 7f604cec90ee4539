//! The lines of a chunk. Log lines are short, so newlines are found 64 bytes at a time and kept as bits: a search
//! that starts anew for each line costs more than the bytes it looks at.

use super::simd;

const BLOCK: usize = 64;

/// Iterates over lines without their newlines. What follows the last newline is a line if it is not empty.
#[derive(Clone, Debug)]
pub(super) struct Lines<'a> {
    text: &'a [u8],
    /// Where the next line begins.
    start: usize,
    /// Where the block of `ahead` begins.
    block: usize,
    /// Newlines of the block that have not been used yet.
    ahead: u64,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, start: 0, block: 0, ahead: newlines(text, 0) }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    #[inline(always)]
    fn next(&mut self) -> Option<&'a [u8]> {
        while self.ahead == 0 {
            if self.block + BLOCK >= self.text.len() {
                let last = &self.text[self.start..];
                self.start = self.text.len();
                return (!last.is_empty()).then_some(last);
            }
            self.block += BLOCK;
            self.ahead = newlines(self.text, self.block);
        }
        let end = self.block + self.ahead.trailing_zeros() as usize;
        self.ahead &= self.ahead - 1;
        let line = &self.text[self.start..end];
        self.start = end + 1;
        Some(line)
    }
}

/// The newlines of a block, which may be the last one and short.
#[inline(always)]
fn newlines(text: &[u8], block: usize) -> u64 {
    let rest = &text[block..];
    match rest.first_chunk::<BLOCK>() {
        Some(full) => simd::newlines(full),
        None => rest.iter().enumerate().fold(0, |bits, (index, b)| bits | u64::from(*b == b'\n') << index),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equals_a_plain_split(text in proptest::collection::vec(prop_oneof![1 => Just(b'\n'), 9 => any::<u8>()], 0..400)) {
            let mut plain: Vec<&[u8]> = text.split(|b| *b == b'\n').collect();
            // What follows the last newline counts only if there is something.
            if plain.last().is_some_and(|last| last.is_empty()) {
                plain.pop();
            }
            prop_assert_eq!(Lines::new(&text).collect::<Vec<_>>(), plain);
        }
    }
}
