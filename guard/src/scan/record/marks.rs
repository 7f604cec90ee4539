//! Where the quotes and backslashes of a line are, a bit for each byte.

use crate::simd;

#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    words: Vec<u64>,
}

impl Marks {
    /// Marks the quotes and backslashes of a line.
    pub(super) fn mark(&mut self, line: &[u8]) {
        self.words.clear();
        let (blocks, rest) = line.as_chunks::<64>();
        self.words.extend(blocks.iter().map(marks));
        let mut last = [0; 64];
        last[..rest.len()].copy_from_slice(rest);
        self.words.push(marks(&last));
    }

    /// The first marked place from `at` on.
    #[inline(always)]
    pub(super) fn next(&self, at: usize) -> Option<usize> {
        let (mut index, bit) = (at / 64, at % 64);
        let mut word = *self.words.get(index)? & (!0 << bit);
        while word == 0 {
            index += 1;
            word = *self.words.get(index)?;
        }
        Some(index * 64 + word.trailing_zeros() as usize)
    }
}

#[inline(always)]
fn marks(block: &[u8; 64]) -> u64 {
    let (halves, _) = block.as_chunks::<32>();
    let half = |half| u64::from(simd::equal(half, b'"') | simd::equal(half, b'\\'));
    half(&halves[0]) | half(&halves[1]) << 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_what_a_plain_search_finds(texts in proptest::collection::vec(proptest::collection::vec(prop::sample::select(b"\"\\aaaaaaaaaaaaaaaa\0".to_vec()), 0..200), 1..4)) {
            let mut marks = Marks::default();
            for text in texts {
                marks.mark(&text);
                for at in 0..=text.len() {
                    let plain = text[at..].iter().position(|b| matches!(b, b'"' | b'\\')).map(|place| at + place);
                    prop_assert_eq!(marks.next(at), plain);
                }
            }
        }
    }
}
