//! Short comparisons, in a few wide loads instead of a call.

/// The rest of `text` after `literal`, if it begins with it.
#[inline(always)]
pub(crate) fn after<'a>(text: &'a [u8], literal: &[u8]) -> Option<&'a [u8]> {
    let (front, rest) = text.split_at_checked(literal.len())?;
    equal(front, literal).then_some(rest)
}

/// The rest of `text` before `literal`, if it ends with it.
#[inline(always)]
pub(crate) fn before<'a>(text: &'a [u8], literal: &[u8]) -> Option<&'a [u8]> {
    let (rest, back) = text.split_at_checked(text.len().checked_sub(literal.len())?)?;
    equal(back, literal).then_some(rest)
}

/// Whether two texts are the same.
#[inline(always)]
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && equal(a, b)
}

/// Whether two texts of the same length are the same.
#[inline(always)]
fn equal(a: &[u8], b: &[u8]) -> bool {
    match a.len() {
        0 => true,
        1 => a[0] == b[0],
        2..4 => ends::<2>(a) == ends::<2>(b),
        4..8 => ends::<4>(a) == ends::<4>(b),
        8..=16 => ends::<8>(a) == ends::<8>(b),
        17..=32 => ends::<16>(a) == ends::<16>(b),
        _ => a == b,
    }
}

/// The first and the last `N` bytes, which together are the whole of a text of `N` to `2 * N` bytes.
#[inline(always)]
fn ends<const N: usize>(text: &[u8]) -> (Option<&[u8; N]>, Option<&[u8; N]>) {
    (text.first_chunk(), text.last_chunk())
}

/// The first eight bytes as a little-endian number, zero where there are fewer.
#[inline(always)]
pub(crate) fn first_eight(text: &[u8]) -> u64 {
    if let Some(eight) = text.first_chunk() {
        return u64::from_le_bytes(*eight);
    }
    let length = text.len();
    // What lies in both halves is the same in both.
    if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        let last = u64::from(u32::from_le_bytes(*last)) << (8 * (length - 4));
        return u64::from(u32::from_le_bytes(*first)) | last;
    }
    let byte = |place: usize| text.get(place).map_or(0, |byte| u64::from(*byte) << (8 * place));
    byte(0) | byte(1) | byte(2)
}

/// A decimal number of one to eight digits, all of the text.
#[inline(always)]
pub(crate) fn number(text: &[u8]) -> Option<u32> {
    let length = text.len();
    let digits = match (text.first_chunk(), text.last_chunk()) {
        (Some(first), Some(last)) if length <= 8 => {
            u64::from(u32::from_le_bytes(*first)) << (8 * (8 - length))
                | u64::from(u32::from_le_bytes(*last)) << 32
        }
        (None, _) if length > 0 => first_eight(text) << (8 * (8 - length)),
        _ => return None,
    };
    last_digits(digits, length)
}

/// Whether those of eight bytes are decimal digits for which `kept` has ones.
#[inline(always)]
pub(crate) fn are_digits(eight: u64, kept: u64) -> bool {
    let values = (eight ^ ZEROS) & kept;
    // A byte above 9 carries into its high half.
    (values | values.wrapping_add(0x0606_0606_0606_0606)) & 0xf0f0_f0f0_f0f0_f0f0 == 0
}

/// Eight digits of zero.
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// The number of which the last `count` of eight bytes are the digits, without a branch for each.
#[inline(always)]
pub(crate) fn last_digits(eight: u64, count: usize) -> Option<u32> {
    if count.wrapping_sub(1) >= 8 {
        return None;
    }
    // What stands before the digits becomes zeros.
    let kept = u64::MAX << (64 - 8 * count);
    if !are_digits(eight, kept) {
        return None;
    }
    let values = (eight ^ ZEROS) & kept;
    // Neighbours are joined: bytes to pairs, pairs to fours, fours to eight digits.
    let pairs = (values * 10 + (values >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours * 10_000 + (fours >> 32)) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_the_plain_comparison_at_every_length() {
        let text: Vec<u8> = (1..=100).collect();
        for length in 0..=text.len() {
            let literal = &text[..length];
            assert_eq!(after(&text, literal), Some(&text[length..]));
            assert_eq!(before(&text, &text[length..]), Some(literal));
            for changed in 0..length {
                let mut other = literal.to_vec();
                other[changed] ^= 1;
                assert_eq!(after(&text, &other), None, "{length}, {changed}");
                assert_eq!(before(literal, &other), None, "{length}, {changed}");
            }
        }
        assert_eq!(after(b"ab", b"abc"), None);
        assert_eq!(before(b"bc", b"abc"), None);
        assert_eq!(first_eight(b"\x01\x02"), 0x0201);
        for length in 0..8 {
            let number = 0x0807_0605_0403_0201 & ((1 << (8 * length)) - 1);
            assert_eq!(first_eight(&[1, 2, 3, 4, 5, 6, 7, 8][..length]), number);
        }
        assert_eq!(first_eight(b"\x01\0\0\0\0\0\0\x02\xff"), 0x0200_0000_0000_0001);
    }

    proptest::proptest! {
        #[test]
        fn reads_numbers_like_the_standard_library(text in "[0-9]{0,9}|[0-9/:a]{1,9}") {
            let plain = text.bytes().all(|b| b.is_ascii_digit()) && text.len() <= 8;
            let expected = text.parse::<u32>().ok().filter(|_| plain);
            proptest::prop_assert_eq!(number(text.as_bytes()), expected);
        }
    }
}
