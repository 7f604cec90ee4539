//! IPv4 addresses at the front or the end of a text, without a branch on any of their digits: octets of random
//! length would cost a mispredicted branch each.

use std::net::Ipv4Addr;

use crate::simd::{self, Kinds};

/// Longest text of an IPv4 address.
const LONGEST: usize = 15;
const WINDOW: usize = 16;

/// The address that `text` begins with, and its length; what follows is neither digit nor dot.
#[inline(always)]
pub(super) fn at_front(text: &[u8]) -> Option<(Ipv4Addr, usize)> {
    let mut short = [0; WINDOW];
    let window = text.first_chunk().unwrap_or_else(|| {
        short[..text.len()].copy_from_slice(text);
        &short
    });
    let kinds = simd::kinds(window);
    let length = (kinds.digits | kinds.dots).trailing_ones() as usize;
    Some((read(window, kinds, 0, length)?, length))
}

/// The address that `text` ends with, and its length; what precedes is neither digit nor dot.
#[inline(always)]
pub(super) fn at_end(text: &[u8]) -> Option<(Ipv4Addr, usize)> {
    let mut short = [0; WINDOW];
    let window = text.last_chunk().unwrap_or_else(|| {
        short[WINDOW - text.len()..].copy_from_slice(text);
        &short
    });
    let kinds = simd::kinds(window);
    let length = (kinds.digits | kinds.dots).leading_ones() as usize;
    Some((read(window, kinds, WINDOW - length, WINDOW)?, length))
}

/// The address between `start` and `end` of the window, which holds nothing but digits and dots there: three dots, and
/// around them numbers of one to three digits, at most 255, without leading zeros. A bit stands for each byte, so that
/// what is wrong with any of the numbers shows at once.
#[inline(always)]
fn read(window: &[u8; WINDOW], kinds: Kinds, start: usize, end: usize) -> Option<Ipv4Addr> {
    if end - start > LONGEST {
        return None;
    }
    let range = (1u32 << end) - (1 << start);
    let dots = u32::from(kinds.dots) & range;
    let behind_first = dots & dots.wrapping_sub(1);
    let behind_second = behind_first & behind_first.wrapping_sub(1);
    if behind_second == 0 || behind_second & (behind_second - 1) != 0 {
        return None;
    }
    let digits = range & !dots;
    let (starts, ends) = (dots << 1 | 1 << start, dots | 1 << end);
    let pairs = digits & digits >> 1;
    let (empty, long) = (starts & ends, pairs & pairs >> 2);
    let zero_led = starts & u32::from(kinds.zeros) & digits >> 1;
    if empty | long | zero_led != 0 {
        return None;
    }
    let place = |bits: u32| bits.trailing_zeros() as usize;
    let (first, second, third) = (place(dots), place(behind_first), place(behind_second));
    let ab = values(leading(window, start, first), leading(window, first + 1, second));
    let cd = values(trailing(window, second + 1, third), trailing(window, third + 1, end));
    let octets = |two: u64| (two >> 24 | two & 0xff) as u32;
    ((ab | cd) & !BYTES == 0).then(|| Ipv4Addr::from_bits(octets(ab) << 16 | octets(cd)))
}

/// The lowest byte of each half.
const BYTES: u64 = 0x0000_00ff_0000_00ff;
/// Four digits of zero.
const ZEROS: u32 = 0x3030_3030;

/// The digits of a number of one to three that so many follow that four bytes can be loaded from where it begins: the
/// last in the highest byte, zeros below.
#[inline(always)]
fn leading(window: &[u8; WINDOW], start: usize, end: usize) -> u32 {
    (four(window, start) ^ ZEROS).wrapping_shl(unused(start, end))
}

/// The same of a number that so many precede that four bytes can be loaded up to where it ends.
#[inline(always)]
fn trailing(window: &[u8; WINDOW], start: usize, end: usize) -> u32 {
    (four(window, end.wrapping_sub(4)) ^ ZEROS) & u32::MAX.wrapping_shl(unused(start, end))
}

#[inline(always)]
fn four(window: &[u8; WINDOW], at: usize) -> u32 {
    window[at.min(WINDOW - 4)..].first_chunk().map_or(0, |four| u32::from_le_bytes(*four))
}

/// Bits of four bytes that the digits between two places leave.
#[inline(always)]
fn unused(start: usize, end: usize) -> u32 {
    (start.wrapping_sub(end) as u32).wrapping_mul(8)
}

/// Two numbers, one in each half.
#[inline(always)]
fn values(high: u32, low: u32) -> u64 {
    let digits = u64::from(high) << 32 | u64::from(low);
    (digits >> 24 & BYTES) + 10 * (digits >> 16 & BYTES) + 100 * (digits >> 8 & BYTES)
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
