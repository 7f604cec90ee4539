//! IPv4 addresses at the front or the end of a text, without a branch on any of their digits: octets of random
//! length would cost a mispredicted branch each.

use std::net::Ipv4Addr;

use super::simd::{self, Kinds};

/// Longest text of an IPv4 address.
const LONGEST: usize = 15;
const WINDOW: usize = 16;
/// Bytes in front of the window, so that four bytes before any byte of it can be loaded.
const MARGIN: usize = 4;
/// Places in the window, and more, so that none needs to be compared with its length.
const PLACES: usize = 32;

/// The window with its margin, and zeros behind it.
type Padded = [u8; MARGIN + PLACES];

/// The address that `text` begins with, and its length; what follows is neither digit nor dot.
#[inline(always)]
pub(super) fn at_front(text: &[u8]) -> Option<(Ipv4Addr, usize)> {
    let mut window = [0; WINDOW];
    match text.first_chunk() {
        Some(front) => window = *front,
        None => window[..text.len()].copy_from_slice(text),
    }
    let kinds = simd::kinds(&window);
    let length = (kinds.digits | kinds.dots).trailing_ones() as usize;
    Some((read(&window, kinds, 0, length)?, length))
}

/// The address that `text` ends with, and its length; what precedes is neither digit nor dot.
#[inline(always)]
pub(super) fn at_end(text: &[u8]) -> Option<(Ipv4Addr, usize)> {
    let mut window = [0; WINDOW];
    match text.last_chunk() {
        Some(back) => window = *back,
        None => window[WINDOW - text.len()..].copy_from_slice(text),
    }
    let kinds = simd::kinds(&window);
    let length = (kinds.digits | kinds.dots).leading_ones() as usize;
    Some((read(&window, kinds, WINDOW - length, WINDOW)?, length))
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
    let mut padded: Padded = [0; MARGIN + PLACES];
    padded[MARGIN..MARGIN + WINDOW].copy_from_slice(window);
    let place = |bits: u32| bits.trailing_zeros() as usize;
    let (first, second, third) = (place(dots), place(behind_first), place(behind_second));
    let ab = two(&padded, (start, first), (first + 1, second));
    let cd = two(&padded, (second + 1, third), (third + 1, end));
    let octets = |two: u64| (two >> 24 | two & 0xff) as u32;
    ((ab | cd) & !BYTES == 0).then(|| Ipv4Addr::from_bits(octets(ab) << 16 | octets(cd)))
}

/// The lowest byte of each half.
const BYTES: u64 = 0x0000_00ff_0000_00ff;

/// Two numbers of one to three digits, one in each half.
#[inline(always)]
fn two(padded: &Padded, high: (usize, usize), low: (usize, usize)) -> u64 {
    // The last four bytes before the end, the last of them lowest; what stands before the digits is taken away.
    let last = |(_, end): (usize, usize)| match padded[end % PLACES..].first_chunk() {
        Some(four) => u64::from(u32::from_be_bytes(*four)),
        None => 0,
    };
    let kept = |(start, end): (usize, usize)| [0, 0xff, 0xffff, 0x00ff_ffff][end.wrapping_sub(start) % 4];
    let digits = ((last(high) << 32 | last(low)) ^ 0x3030_3030_3030_3030) & (kept(high) << 32 | kept(low));
    (digits & BYTES) + 10 * (digits >> 8 & BYTES) + 100 * (digits >> 16 & BYTES)
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
