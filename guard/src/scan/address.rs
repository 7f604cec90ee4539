//! Addresses in text: strict, canonical, without allocation.
//!
//! Accepts exactly what [`std::net::IpAddr`] accepts (no octal, hexadecimal or shortened IPv4, no zone, no
//! brackets) and answers IPv4-mapped IPv6 as IPv4. A property test holds it against the standard library.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::dotted;
use crate::bytes;

/// Longest text of an IPv4 address.
const MAX_V4: usize = 15;
/// Longest text of an IPv6 address, with an IPv4 tail.
pub(super) const MAX_TEXT: usize = 45;
/// The same with a colon and a port behind it.
const MAX_WITH_PORT: usize = MAX_TEXT + 6;

/// Whether a byte can be part of an address.
pub(super) const fn is_address_byte(b: u8) -> bool {
    matches!(b, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F' | b':' | b'.')
}

/// An address as a number: IPv6, or IPv4 mapped into it. Sixteen plain bytes move through registers where an
/// [`IpAddr`] of seventeen goes through memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bits(u128);

impl Bits {
    #[inline(always)]
    const fn v4(address: Ipv4Addr) -> Self {
        Self(0xffff << 32 | address.to_bits() as u128)
    }

    /// The address, canonical.
    #[inline(always)]
    pub(super) const fn address(self) -> IpAddr {
        if self.0 >> 32 == 0xffff {
            IpAddr::V4(Ipv4Addr::from_bits(self.0 as u32))
        } else {
            IpAddr::V6(Ipv6Addr::from_bits(self.0))
        }
    }
}

/// The address that `text` begins with, as far as bytes of addresses go, and its length.
#[inline(always)]
pub(super) fn at_front(text: &[u8]) -> Option<(Bits, usize)> {
    if let Some((v4, length)) = dotted::at_front(text)
        && text.get(length).is_none_or(|b| !is_address_byte(*b))
    {
        return Some((Bits::v4(v4), length));
    }
    long_at_front(text)
}

/// The IPv4 address that `text` begins with, as far as digits and dots go, and its length.
pub(super) fn v4_at_front(text: &[u8]) -> Option<(Bits, usize)> {
    let window = &text[..text.len().min(MAX_V4 + 2)];
    let mut length = window.iter().position(|b| !is_v4_byte(*b)).unwrap_or(window.len());
    if length > 0 && text[length - 1] == b'.' {
        length -= 1;
    }
    Some((Bits::v4(parse_v4(&text[..length])?), length))
}

/// The IPv4 address that `text` ends with, as far as digits and dots go, and its length.
pub(super) fn v4_at_end(text: &[u8]) -> Option<(Bits, usize)> {
    let window = &text[text.len().saturating_sub(MAX_V4 + 1)..];
    let length = window.iter().rev().position(|b| !is_v4_byte(*b)).unwrap_or(window.len());
    Some((Bits::v4(parse_v4(&window[window.len() - length..])?), length))
}

const fn is_v4_byte(b: u8) -> bool {
    matches!(b, b'0'..=b'9' | b'.')
}

/// The IPv6 address that `text` begins with, as far as bytes of addresses go, and its length.
pub(super) fn v6_at_front(text: &[u8]) -> Option<(Bits, usize)> {
    let (address, length) = long_at_front(text)?;
    memchr::memchr(b':', &text[..length])?;
    Some((address, length))
}

/// The IPv6 address that `text` ends with, as far as bytes of addresses go, and its length.
pub(super) fn v6_at_end(text: &[u8]) -> Option<(Bits, usize)> {
    let (address, length) = long_at_end(text)?;
    memchr::memchr(b':', &text[text.len() - length..])?;
    Some((address, length))
}

#[inline(never)]
fn long_at_front(text: &[u8]) -> Option<(Bits, usize)> {
    // One byte more than the longest address and a colon decides that it is none, whatever follows.
    let window = &text[..text.len().min(MAX_TEXT + 2)];
    let mut length = window.iter().position(|b| !is_address_byte(*b)).unwrap_or(window.len());
    if length > 1 && (text[length - 1] == b'.' || text[length - 1] == b':' && text[length - 2] != b':') {
        // `1.2.3.4: text`, as old servers write it, or the end of a sentence: no address ends in a single colon or a
        // full stop.
        length -= 1;
    }
    Some((parse(&text[..length])?, length))
}

/// The address that `text` ends with, as far as bytes of addresses go, and its length.
#[inline(always)]
pub(super) fn at_end(text: &[u8]) -> Option<(Bits, usize)> {
    if let Some((v4, length)) = dotted::at_end(text)
        && (length == text.len() || !is_address_byte(text[text.len() - length - 1]))
    {
        return Some((Bits::v4(v4), length));
    }
    long_at_end(text)
}

#[inline(never)]
fn long_at_end(text: &[u8]) -> Option<(Bits, usize)> {
    // One byte more than the longest address decides that it is none, whatever follows.
    let window = &text[text.len().saturating_sub(MAX_TEXT + 1)..];
    let length = window.iter().rev().position(|b| !is_address_byte(*b)).unwrap_or(window.len());
    Some((parse(&window[window.len() - length..])?, length))
}

/// The address and port that `text` begins with, as far as bytes of addresses go, and their length. The last colon
/// separates the two.
pub(super) fn with_port_at_front(text: &[u8]) -> Option<(Bits, u16, usize)> {
    let window = &text[..text.len().min(MAX_WITH_PORT + 2)];
    let mut length = window.iter().position(|b| !is_address_byte(*b)).unwrap_or(window.len());
    if length > 0 && matches!(text[length - 1], b':' | b'.') {
        // `1.2.3.4:22: text`, or the end of a sentence: no port ends in a colon or a full stop.
        length -= 1;
    }
    let (address, port) = parse_with_port(&text[..length])?;
    Some((address, port, length))
}

/// The address and port that `text` ends with, as far as bytes of addresses go, and their length.
pub(super) fn with_port_at_end(text: &[u8]) -> Option<(Bits, u16, usize)> {
    let window = &text[text.len().saturating_sub(MAX_WITH_PORT + 1)..];
    let length = window.iter().rev().position(|b| !is_address_byte(*b)).unwrap_or(window.len());
    let (address, port) = parse_with_port(&window[window.len() - length..])?;
    Some((address, port, length))
}

fn parse_with_port(text: &[u8]) -> Option<(Bits, u16)> {
    let colon = memchr::memrchr(b':', text)?;
    Some((parse(&text[..colon])?, port(&text[colon + 1..])?))
}

/// A port: one to five digits, and no more than 65535.
#[inline]
pub(super) fn port(text: &[u8]) -> Option<u16> {
    if text.len() > 5 {
        return None;
    }
    bytes::number(text).and_then(|number| u16::try_from(number).ok())
}

/// The address that `text` is, all of it.
fn parse(text: &[u8]) -> Option<Bits> {
    match parse_v4(text) {
        Some(v4) => Some(Bits::v4(v4)),
        None => parse_v6(text).map(|v6| Bits(v6.to_bits())),
    }
}

/// Four decimal numbers of one to three digits, without leading zeros.
#[inline]
fn parse_v4(text: &[u8]) -> Option<Ipv4Addr> {
    if !(7..=15).contains(&text.len()) {
        return None;
    }
    let mut octets = [0u8; 4];
    let mut at = 0;
    for (index, octet) in octets.iter_mut().enumerate() {
        if index > 0 {
            if *text.get(at)? != b'.' {
                return None;
            }
            at += 1;
        }
        let first = text.get(at)?.wrapping_sub(b'0');
        if first > 9 {
            return None;
        }
        let mut value = u32::from(first);
        at += 1;
        let mut digits = 1;
        while let Some(digit) = text.get(at).map(|b| b.wrapping_sub(b'0')).filter(|digit| *digit <= 9) {
            digits += 1;
            if value == 0 || digits > 3 {
                return None;
            }
            value = value * 10 + u32::from(digit);
            at += 1;
        }
        *octet = u8::try_from(value).ok()?;
    }
    (at == text.len()).then(|| Ipv4Addr::from(octets))
}

/// Groups of one to four hexadecimal digits, at most one `::`, an IPv4 tail allowed (RFC 4291, section 2.2).
fn parse_v6(text: &[u8]) -> Option<Ipv6Addr> {
    if !(2..=MAX_TEXT).contains(&text.len()) {
        return None;
    }
    let mut groups = [0u16; 8];
    let mut count = 0;
    let mut gap = None;
    let mut at = 0;
    let is_mixed = text.contains(&b'.');
    if text.starts_with(b"::") {
        gap = Some(0);
        at = 2;
    }
    while at < text.len() {
        if count == 8 {
            return None;
        }
        if is_mixed
            && count <= 6
            && let Some(v4) = parse_v4(&text[at..])
        {
            let [a, b, c, d] = v4.octets();
            groups[count] = u16::from_be_bytes([a, b]);
            groups[count + 1] = u16::from_be_bytes([c, d]);
            count += 2;
            break;
        }
        let start = at;
        let mut value = 0u32;
        while let Some(digit) = text.get(at).and_then(|b| hex(*b)) {
            value = value << 4 | u32::from(digit);
            at += 1;
            if at - start > 4 {
                return None;
            }
        }
        if at == start {
            return None;
        }
        groups[count] = value as u16;
        count += 1;
        if at == text.len() {
            break;
        }
        if text[at] != b':' {
            return None;
        }
        at += 1;
        if text.get(at) == Some(&b':') {
            if gap.is_some() {
                return None;
            }
            gap = Some(count);
            at += 1;
        } else if at == text.len() {
            return None;
        }
    }
    match gap {
        None => (count == 8).then(|| Ipv6Addr::from(groups)),
        Some(gap) => {
            if count > 7 {
                return None;
            }
            groups.copy_within(gap..count, 8 - (count - gap));
            groups[gap..8 - (count - gap)].fill(0);
            Some(Ipv6Addr::from(groups))
        }
    }
}

const fn hex(b: u8) -> Option<u8> {
    match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        b'A'..=b'F' => Some(b - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::canonical;
    use proptest::prelude::*;

    fn parse(text: &[u8]) -> Option<IpAddr> {
        super::parse(text).map(Bits::address)
    }

    fn std_parse(text: &[u8]) -> Option<IpAddr> {
        std::str::from_utf8(text).ok()?.parse().ok().map(canonical)
    }

    #[test]
    fn what_is_and_is_not_an_address() {
        for text in [
            "1.2.3.4",
            "255.255.255.255",
            "0.0.0.0",
            "::",
            "::1",
            "1::",
            "2001:db8::1",
            "::ffff:1.2.3.4",
            "1:2:3:4:5:6:7:8",
            "1:2:3:4:5:6:1.2.3.4",
            "1::8",
            "::2:3:4:5:6:7:8",
            "1:2:3:4:5:6:7::",
            "fe80::1",
        ] {
            assert!(parse(text.as_bytes()).is_some(), "{text}");
            assert_eq!(parse(text.as_bytes()), std_parse(text.as_bytes()), "{text}");
        }
        for text in [
            "",
            "127.1",
            "01.2.3.4",
            "1.2.3.256",
            "1.2.3.4.5",
            "1.2.3.",
            "0x1.2.3.4",
            "fe80::1%eth0",
            "[::1]",
            "1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:8:9",
            "1::2::3",
            ":1",
            "1:",
            ":::",
            "12345::",
            "1:2:3:4:5:6:7:1.2.3.4",
            "::1.2.3",
            "1.2.3.4:22",
            "::1.2.3.4.5",
            "1:2:3:4::5:6:7:8",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
            assert_eq!(std_parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn the_last_colon_separates_the_port() {
        for (text, expected) in [
            ("1.2.3.4:22", Some(("1.2.3.4", 22))),
            ("2001:db8::1:4711", Some(("2001:db8::1", 4711))),
            ("::ffff:1.2.3.4:0", Some(("1.2.3.4", 0))),
            ("1:2:3:4:5:6:7:8:65535", Some(("1:2:3:4:5:6:7:8", 65535))),
            ("1.2.3.4", None),
            ("1.2.3.4:", None),
            ("1.2.3.4:65536", None),
            ("1.2.3.4:2f", None),
            (":22", None),
            ("::1", None),
        ] {
            let expected =
                expected.map(|(address, port)| (address.parse::<IpAddr>().unwrap(), port, text.len()));
            let read = |found: Option<(Bits, u16, usize)>| {
                found.map(|(bits, port, length)| (bits.address(), port, length))
            };
            assert_eq!(read(with_port_at_front(text.as_bytes())), expected, "{text}");
            assert_eq!(read(with_port_at_front(format!("{text}: x").as_bytes())), expected, "{text}: x");
            assert_eq!(read(with_port_at_front(format!("{text}.").as_bytes())), expected, "{text}.");
            assert_eq!(read(with_port_at_end(text.as_bytes())), expected, "{text}");
            assert_eq!(read(with_port_at_end(format!("x {text}").as_bytes())), expected, "x {text}");
        }
    }

    proptest! {
        #[test]
        fn equals_the_standard_library(text in "[0-9a-fA-F:.]{0,46}|([0-9]{1,4}\\.){3}[0-9]{1,4}|([0-9a-f]{0,5}:){2,8}[0-9a-f]{0,4}|([0-9a-f]{0,4}:){1,7}[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}\\.[0-9]{1,3}") {
            prop_assert_eq!(parse(text.as_bytes()), std_parse(text.as_bytes()));
        }

        #[test]
        fn reads_what_the_standard_library_writes(bits: u128, zero in 0u32..8) {
            let v6 = Ipv6Addr::from(bits & !(0xffff_ffff_u128 << (zero * 16)));
            prop_assert_eq!(parse(v6.to_string().as_bytes()), Some(canonical(IpAddr::V6(v6))));
            let v4 = Ipv4Addr::from(bits as u32);
            prop_assert_eq!(parse(v4.to_string().as_bytes()), Some(IpAddr::V4(v4)));
        }

        #[test]
        fn finds_the_whole_address_at_either_end(text in "[0-9a-f:.]{1,46}|([0-9]{1,3}\\.){3}[0-9]{1,3}|::ffff:([0-9]{1,3}\\.){3}[0-9]{1,3}", edge in "[ =\\[]x{0,40}") {
            let found = |found: Option<(Bits, usize)>| found.map(|(bits, length)| (bits.address(), length));
            let expected = std_parse(text.as_bytes()).map(|address| (address, text.len()));
            prop_assert_eq!(found(at_end(text.as_bytes())), expected);
            let reversed: String = edge.chars().rev().collect();
            prop_assert_eq!(found(at_end(format!("{reversed}{text}").as_bytes())), expected);
            if !text.ends_with(':') || text.ends_with("::") {
                // A full stop behind an address ends a sentence.
                let sentence = text.strip_suffix('.').filter(|rest| !rest.is_empty()).unwrap_or(&text);
                let expected = std_parse(sentence.as_bytes()).map(|address| (address, sentence.len()));
                prop_assert_eq!(found(at_front(text.as_bytes())), expected);
                prop_assert_eq!(found(at_front(format!("{text}{edge}").as_bytes())), expected);
            }
        }
    }
}
