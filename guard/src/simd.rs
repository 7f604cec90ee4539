//! Which bytes of a block are of a kind, as a bit for each byte: 16 bytes in one instruction where the processor
//! has one (SSE2, part of every `x86_64`), one by one elsewhere.

/// Calls `each` with the number of a block and a bit for each newline in it, the first byte's bit lowest, until it
/// answers `false`; answers how many blocks were looked at.
#[inline]
pub(crate) fn each_block(blocks: &[[u8; 64]], each: impl FnMut(usize, u64) -> bool) -> usize {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2")
        && std::arch::is_x86_feature_detected!("bmi1")
        && std::arch::is_x86_feature_detected!("popcnt")
    {
        return wide::each_block(blocks, each);
    }
    walk(blocks, newlines, each)
}

#[inline(always)]
fn walk(
    blocks: &[[u8; 64]],
    newlines: impl Fn(&[u8; 64]) -> u64,
    mut each: impl FnMut(usize, u64) -> bool,
) -> usize {
    for (index, block) in blocks.iter().enumerate() {
        if !each(index, newlines(block)) {
            return index + 1;
        }
    }
    blocks.len()
}

#[inline(always)]
fn newlines(block: &[u8; 64]) -> u64 {
    let mut bits = 0;
    for (index, quarter) in block.as_chunks::<16>().0.iter().enumerate() {
        bits |= u64::from(lanes::equal(quarter, b'\n')) << (16 * index);
    }
    bits
}

/// A bit for each byte of the block that equals `byte`.
#[inline(always)]
pub(crate) fn equal(block: &[u8; 32], byte: u8) -> u32 {
    let (halves, _) = block.as_chunks::<16>();
    u32::from(lanes::equal(&halves[0], byte)) | u32::from(lanes::equal(&halves[1], byte)) << 16
}

/// The same for a block of sixteen.
#[inline(always)]
pub(crate) fn equal_of_16(block: &[u8; 16], byte: u8) -> u16 {
    lanes::equal(block, byte)
}

/// Where a byte first stands in a text; near its front more likely than not.
#[inline(always)]
pub(crate) fn find(text: &[u8], byte: u8) -> Option<usize> {
    if let Some(block) = text.first_chunk() {
        let places = lanes::equal(block, byte);
        if places != 0 {
            return Some(places.trailing_zeros() as usize);
        }
    }
    memchr::memchr(byte, text)
}

/// Whether the first `N` quarters of two blocks are the same where `mask` has ones; `wanted` has zeros elsewhere.
#[inline(always)]
pub(crate) fn same_where<const N: usize>(block: &[u8; 64], mask: &[u8; 64], wanted: &[u8; 64]) -> bool {
    let quarters = |block: &'_ [u8; 64]| -> [[u8; 16]; N] {
        let (quarters, _) = block.as_chunks();
        std::array::from_fn(|at| quarters[at])
    };
    lanes::same_where(&quarters(block), &quarters(mask), &quarters(wanted))
}

/// Whether words are the same where `mask` has ones; `wanted` has zeros elsewhere.
#[inline(always)]
pub(crate) fn same<const N: usize>(words: [u128; N], mask: [u128; N], wanted: [u128; N]) -> bool {
    let [words, mask, wanted] = [words, mask, wanted].map(|words| words.map(u128::to_le_bytes));
    lanes::same_where(&words, &mask, &wanted)
}

/// How many decimal digits a text begins with.
#[inline(always)]
pub(crate) fn digits_at_front(text: &[u8]) -> usize {
    let here = match text.first_chunk() {
        Some(block) => lanes::digits(block).trailing_ones() as usize,
        None => 16,
    };
    if here < 16 { here } else { text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len()) }
}

/// How many decimal digits a text ends with.
#[inline(always)]
pub(crate) fn digits_at_end(text: &[u8]) -> usize {
    let here = match text.last_chunk() {
        Some(block) => lanes::digits(block).leading_ones() as usize,
        None => 16,
    };
    if here < 16 { here } else { text.iter().rev().position(|b| !b.is_ascii_digit()).unwrap_or(text.len()) }
}

/// A bit for each byte of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kinds {
    /// Decimal digits.
    pub(crate) digits: u16,
    pub(crate) zeros: u16,
    pub(crate) dots: u16,
}

/// What the bytes of a number with dots are.
#[inline(always)]
pub(crate) fn kinds(block: &[u8; 16]) -> Kinds {
    Kinds { digits: lanes::digits(block), zeros: lanes::equal(block, b'0'), dots: lanes::equal(block, b'.') }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "vector loads take pointers")]
mod lanes {
    use std::arch::x86_64::{
        __m128i, _mm_and_si128, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8,
        _mm_or_si128, _mm_set1_epi8, _mm_setzero_si128, _mm_sub_epi8, _mm_xor_si128,
    };

    #[inline(always)]
    fn load(block: &[u8; 16]) -> __m128i {
        // SAFETY: the array has the 16 bytes that are read, and the load needs no alignment.
        unsafe { _mm_loadu_si128(block.as_ptr().cast()) }
    }

    #[inline(always)]
    pub(super) fn equal(block: &[u8; 16], byte: u8) -> u16 {
        // SAFETY: SSE2 is part of the x86_64 baseline.
        unsafe { _mm_movemask_epi8(_mm_cmpeq_epi8(load(block), _mm_set1_epi8(byte as i8))) as u16 }
    }

    #[inline(always)]
    pub(super) fn same_where<const N: usize>(
        block: &[[u8; 16]; N],
        mask: &[[u8; 16]; N],
        wanted: &[[u8; 16]; N],
    ) -> bool {
        // SAFETY: SSE2 is part of the x86_64 baseline.
        unsafe {
            let differs = (0..N).fold(_mm_setzero_si128(), |differs, at| {
                let kept = _mm_and_si128(load(&block[at]), load(&mask[at]));
                _mm_or_si128(differs, _mm_xor_si128(kept, load(&wanted[at])))
            });
            _mm_movemask_epi8(_mm_cmpeq_epi8(differs, _mm_setzero_si128())) == 0xffff
        }
    }

    #[inline(always)]
    pub(super) fn digits(block: &[u8; 16]) -> u16 {
        // SAFETY: SSE2 is part of the x86_64 baseline.
        unsafe {
            let value = _mm_sub_epi8(load(block), _mm_set1_epi8(b'0' as i8));
            // Unsigned `value <= 9`: the smaller of the two is the value itself.
            _mm_movemask_epi8(_mm_cmpeq_epi8(_mm_min_epu8(value, _mm_set1_epi8(9)), value)) as u16
        }
    }
}

/// The same for processors with 32 bytes in one instruction, asked for at run time.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "instructions beyond the baseline, and vector loads take pointers")]
mod wide {
    use std::arch::x86_64::{_mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_set1_epi8};

    /// The processor has AVX2, BMI1 and POPCNT.
    #[inline]
    pub(super) fn each_block(blocks: &[[u8; 64]], each: impl FnMut(usize, u64) -> bool) -> usize {
        #[target_feature(enable = "avx2,bmi1,popcnt")]
        fn inner(blocks: &[[u8; 64]], each: impl FnMut(usize, u64) -> bool) -> usize {
            let half = |block: &[u8; 32]| {
                // SAFETY: the array has the 32 bytes that are read, and the load needs no alignment.
                let bytes = unsafe { _mm256_loadu_si256(block.as_ptr().cast()) };
                _mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(b'\n' as i8))) as u32
            };
            let newlines = |block: &[u8; 64]| {
                let (halves, _) = block.as_chunks::<32>();
                u64::from(half(&halves[0])) | u64::from(half(&halves[1])) << 32
            };
            super::walk(blocks, newlines, each)
        }
        // SAFETY: the caller has asked the processor for the features.
        unsafe { inner(blocks, each) }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod lanes {
    pub(super) fn equal(block: &[u8; 16], byte: u8) -> u16 {
        bits(block, |b| b == byte)
    }

    pub(super) fn same_where<const N: usize>(
        block: &[[u8; 16]; N],
        mask: &[[u8; 16]; N],
        wanted: &[[u8; 16]; N],
    ) -> bool {
        let number = |quarter: &[u8; 16]| u128::from_le_bytes(*quarter);
        (0..N).fold(0, |differs, at| differs | (number(&block[at]) & number(&mask[at]) ^ number(&wanted[at])))
            == 0
    }

    pub(super) fn digits(block: &[u8; 16]) -> u16 {
        bits(block, |b| b.is_ascii_digit())
    }

    #[inline]
    fn bits(block: &[u8; 16], is: impl Fn(u8) -> bool) -> u16 {
        block.iter().enumerate().fold(0, |bits, (index, b)| bits | u16::from(is(*b)) << index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_byte_has_its_bit(text in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'.'), b'/'..=b':', any::<u8>()], 64)) {
            let block: [u8; 64] = text.try_into().unwrap();
            let mut wide = 0;
            each_block(&[block], |_, bits| {
                wide = bits;
                true
            });
            prop_assert_eq!(newlines(&block), wide);
            for (index, b) in block.iter().enumerate() {
                prop_assert_eq!(wide >> index & 1 == 1, *b == b'\n');
            }
            for quarter in block.as_chunks::<16>().0 {
                let Kinds { digits, zeros, dots } = kinds(quarter);
                for (index, b) in quarter.iter().enumerate() {
                    prop_assert_eq!(digits >> index & 1 == 1, b.is_ascii_digit());
                    prop_assert_eq!(zeros >> index & 1 == 1, *b == b'0');
                    prop_assert_eq!(dots >> index & 1 == 1, *b == b'.');
                }
            }
        }

        #[test]
        fn blocks_are_the_same_where_the_mask_says(block: [u8; 64], masked in proptest::collection::vec(any::<bool>(), 64), changed in 0..64usize, bit in 0..8u32) {
            let mask: [u8; 64] = std::array::from_fn(|at| if masked[at] { 0xff } else { 0 });
            let wanted: [u8; 64] = std::array::from_fn(|at| block[at] & mask[at]);
            prop_assert!(same_where::<4>(&block, &mask, &wanted));
            let mut other = block;
            other[changed] ^= 1 << bit;
            prop_assert_eq!(same_where::<4>(&other, &mask, &wanted), !masked[changed]);
            prop_assert_eq!(same_where::<2>(&other, &mask, &wanted), changed >= 32 || !masked[changed]);
        }

        #[test]
        fn digits_are_counted(text in "[0-9]{0,20}[a-z]?[0-9/:]{0,20}") {
            let text = text.as_bytes();
            prop_assert_eq!(digits_at_front(text), text.iter().take_while(|b| b.is_ascii_digit()).count());
            prop_assert_eq!(find(text, b'/'), text.iter().position(|b| *b == b'/'));
            prop_assert_eq!(digits_at_end(text), text.iter().rev().take_while(|b| b.is_ascii_digit()).count());
        }
    }
}
