//! Where a short run of bytes ends, eight bytes at a time: most keys and values are shorter than what a search for one
//! byte needs to begin.

const ONES: u64 = 0x0101_0101_0101_0101;
const TOPS: u64 = 0x8080_8080_8080_8080;

/// The top bit of each byte of a little-endian word that is below `limit`, at most 128. Above the lowest of them a
/// borrow may set others.
#[inline(always)]
pub(super) fn below(word: u64, limit: u8) -> u64 {
    word.wrapping_sub(ONES * u64::from(limit)) & !word & TOPS
}

/// The same for bytes that equal `byte`.
#[inline(always)]
pub(super) fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ (ONES * u64::from(byte)), 1)
}

/// The first place from `at` on of a byte that `is`, or the end of the text. `special` has the top bit of the first
/// such byte of a word, and of none before it.
#[inline(always)]
pub(super) fn find(
    text: &[u8],
    mut at: usize,
    special: impl Fn(u64) -> u64,
    is: impl Fn(u8) -> bool,
) -> usize {
    while let Some(eight) = text.get(at..).and_then(<[u8]>::first_chunk) {
        let special = special(u64::from_le_bytes(*eight));
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = text.get(at..).unwrap_or_default();
    at + rest.iter().position(|b| is(*b)).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_what_a_plain_search_finds(text in proptest::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"\"\\\x1f \x80\x9f\xff!#[]a".to_vec())], 0..40), from in 0..40usize) {
            let at = from.min(text.len());
            let is = |b| matches!(b, b'"' | b'\\' | 0..0x20);
            let special = |word| equal(word, b'"') | equal(word, b'\\') | below(word, 0x20);
            let plain = text[at..].iter().position(|b| is(*b)).map_or(text.len(), |place| at + place);
            prop_assert_eq!(find(&text, at, special, is), plain);
        }
    }
}
