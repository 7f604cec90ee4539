//! IPv4 addresses at the front or the end of a text, without a branch on any of their digits: octets of random
//! length would cost a mispredicted branch each.

use std::net::Ipv4Addr;

use super::simd;

/// Longest text of an IPv4 address.
const LONGEST: usize = 15;
const WINDOW: usize = 16;
/// Bytes in front of the window, so that three digits before any byte of it can be loaded.
const MARGIN: usize = 4;

/// The address that `text` begins with, and its length; what follows is neither digit nor dot.
#[inline(always)]
pub(super) fn at_front(text: &[u8]) -> Option<(Ipv4Addr, usize)> {
    let mut padded = [0; MARGIN + WINDOW];
    match text.first_chunk::<WINDOW>() {
        Some(window) => padded[MARGIN..].copy_from_slice(window),
        None => padded[MARGIN..MARGIN + text.len()].copy_from_slice(text),
    }
    let (digits, dots) = kinds(&padded);
    let length = (digits | dots).trailing_ones() as usize;
    Some((read(&padded, dots, 0, length)?, length))
}

/// The address that `text` ends with, and its length; what precedes is neither digit nor dot.
#[inline(always)]
pub(super) fn at_end(text: &[u8]) -> Option<(Ipv4Addr, usize)> {
    let mut padded = [0; MARGIN + WINDOW];
    match text.last_chunk::<WINDOW>() {
        Some(window) => padded[MARGIN..].copy_from_slice(window),
        None => padded[MARGIN + WINDOW - text.len()..].copy_from_slice(text),
    }
    let (digits, dots) = kinds(&padded);
    let length = (digits | dots).leading_ones() as usize;
    Some((read(&padded, dots, WINDOW - length, WINDOW)?, length))
}

#[inline(always)]
fn kinds(padded: &[u8; MARGIN + WINDOW]) -> (u16, u16) {
    match padded.last_chunk() {
        Some(window) => simd::digits_and_dots(window),
        None => (0, 0),
    }
}

/// The address between `start` and `end` of the window, which holds nothing but digits and dots there.
#[inline(always)]
fn read(padded: &[u8; MARGIN + WINDOW], dots: u16, start: usize, end: usize) -> Option<Ipv4Addr> {
    if end - start > LONGEST {
        return None;
    }
    let dots = u32::from(dots) & ((1 << end) - (1 << start));
    if dots.count_ones() != 3 {
        return None;
    }
    let first = dots.trailing_zeros() as usize;
    let second = (dots & (dots - 1)).trailing_zeros() as usize;
    let third = dots.ilog2() as usize;
    let (a, a_right) = octet(padded, start, first);
    let (b, b_right) = octet(padded, first + 1, second);
    let (c, c_right) = octet(padded, second + 1, third);
    let (d, d_right) = octet(padded, third + 1, end);
    let right = a_right & b_right & c_right & d_right;
    right.then(|| Ipv4Addr::from_bits(a << 24 | b << 16 | c << 8 | d))
}

/// A decimal number of one to three digits at most 255 without leading zeros, and whether it is that.
#[inline(always)]
#[expect(clippy::needless_bitwise_bool, reason = "a lazy operator is a branch")]
fn octet(padded: &[u8; MARGIN + WINDOW], start: usize, end: usize) -> (u32, bool) {
    let length = end - start;
    let mut word = [0; 4];
    word.copy_from_slice(&padded[end..end + MARGIN]);
    // The digits are the last bytes of the word; what stands before them is taken away.
    let kept = (1u32 << (8 * (length as u32 & 3))) - 1;
    let digits = (u32::from_be_bytes(word) ^ 0x3030_3030) & kept;
    let value = (digits & 0xff) + 10 * (digits >> 8 & 0xff) + 100 * (digits >> 16 & 0xff);
    let unpadded = (length == 1) | (digits > kept >> 8);
    (value, (length.wrapping_sub(1) < 3) & (value <= 255) & unpadded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn equals_the_standard_library(text in "([0-9]{1,4}\\.){3}[0-9]{1,4}|[0-9.]{0,18}|([0-9]{1,3}\\.){2,4}[0-9]{0,3}", pad in "[ =a]{0,20}") {
            let expected = text.parse::<Ipv4Addr>().ok().map(|address| (address, text.len()));
            prop_assert_eq!(at_front(text.as_bytes()), expected);
            prop_assert_eq!(at_end(text.as_bytes()), expected);
            prop_assert_eq!(at_front(format!("{text} {pad}").as_bytes()), expected);
            prop_assert_eq!(at_end(format!("{pad} {text}").as_bytes()), expected);
        }

        #[test]
        fn reads_every_address(bits: u32) {
            let address = Ipv4Addr::from_bits(bits);
            let text = address.to_string();
            prop_assert_eq!(at_end(text.as_bytes()), Some((address, text.len())));
            prop_assert_eq!(at_front(text.as_bytes()), Some((address, text.len())));
        }
    }
}
