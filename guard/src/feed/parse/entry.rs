//! One text that names a target: an address, a prefix, a range, an address with a port.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::target::{Target, canonical};

/// What one text says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    One(Target),
    /// The prefixes that make a range up.
    Range(Vec<Target>),
}

/// Longest text that can be meant: two IPv6 addresses with all their zeros, and what may stand around them.
const LONGEST: usize = 128;

/// Reads a text without what stands around it.
pub(super) fn entry(text: &[u8]) -> Option<Entry> {
    if text.len() > LONGEST {
        return None;
    }
    let text =
        std::str::from_utf8(text).ok()?.trim_matches(|c: char| c.is_whitespace() || c == '"' || c == '\'');
    if let Ok(target) = text.parse() {
        return Some(Entry::One(target));
    }
    if let Some((first, last)) = text.split_once('-') {
        let (first, last) = (first.trim_end().parse().ok()?, last.trim_start().parse().ok()?);
        return range(canonical(first), canonical(last)).map(Entry::Range);
    }
    Some(Entry::One(Target::host(without_port(text)?)))
}

/// The address of `1.2.3.4:80` or `[2001:db8::1]:80`.
fn without_port(text: &str) -> Option<IpAddr> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let port = port.strip_prefix(':').unwrap_or(port);
        let is_port = port.is_empty() || port.parse::<u16>().is_ok();
        return address.parse::<Ipv6Addr>().ok().filter(|_| is_port).map(IpAddr::V6);
    }
    let (address, port) = text.split_once(':')?;
    port.parse::<u16>().ok()?;
    address.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
}

/// The prefixes from one address to another; `None` if these are of two families or in the wrong order.
fn range(first: IpAddr, last: IpAddr) -> Option<Vec<Target>> {
    let (bits, from, to) = match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            (32, u128::from(first.to_bits()), u128::from(last.to_bits()))
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => (128, first.to_bits(), last.to_bits()),
        _ => return None,
    };
    if from > to {
        return None;
    }
    let mut parts = Vec::new();
    let mut next = Some(from);
    while let Some(start) = next.filter(|start| *start <= to) {
        // The largest block that begins here and does not reach beyond the end.
        let room = to - start;
        let fits = if room == u128::MAX { 128 } else { (room + 1).ilog2() };
        let block = start.trailing_zeros().min(fits).min(bits);
        let length = (bits - block) as u8;
        let address = match bits {
            32 => IpAddr::V4(Ipv4Addr::from_bits(start as u32)),
            _ => IpAddr::V6(Ipv6Addr::from_bits(start)),
        };
        let target = Target::prefix(address, length)?;
        // The IPv4-mapped part of a wide range is none of IPv6.
        if target.address().is_ipv4() == (bits == 32) {
            parts.push(target);
        }
        next = 1_u128.checked_shl(block).and_then(|size| start.checked_add(size));
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn forms_of_one_entry() {
        for (text, shown) in [
            ("203.0.113.7", "203.0.113.7"),
            ("203.0.113.7/24", "203.0.113.0/24"),
            ("\"203.0.113.7\"", "203.0.113.7"),
            ("203.0.113.7:8080", "203.0.113.7"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("203.0.113.0-203.0.113.255", "203.0.113.0/24"),
            ("203.0.113.0 - 203.0.113.127", "203.0.113.0/25"),
            ("2001:db8:: - 2001:db8::ffff", "2001:db8::/112"),
            ("0.0.0.0-255.255.255.255", "0.0.0.0/0"),
            ("::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::/0"),
        ] {
            let read = match entry(text.as_bytes()) {
                Some(Entry::One(target)) => target.to_string(),
                Some(Entry::Range(parts)) => {
                    parts.iter().map(Target::to_string).collect::<Vec<_>>().join(" ")
                }
                None => panic!("{text}"),
            };
            assert_eq!(read, shown, "{text}");
        }
        assert_eq!(
            entry(b"203.0.113.1-203.0.113.6"),
            Some(Entry::Range(
                ["203.0.113.1", "203.0.113.2/31", "203.0.113.4/31", "203.0.113.6"]
                    .map(|text| text.parse().unwrap())
                    .into()
            ))
        );
    }

    #[test]
    fn what_is_no_entry() {
        for text in [
            "",
            "example.org",
            "127.1",
            "010.0.0.1",
            "1.2.3.4/33",
            "1.2.3.4:99999",
            "1.2.3.4:",
            "1.2.3.4-1.2.3.3",
            "1.2.3.4-2001:db8::1",
            "[::1",
            "fe80::1%eth0",
            "١.٢.٣.٤",
        ] {
            assert_eq!(entry(text.as_bytes()), None, "{text}");
        }
        assert_eq!(entry(b"\xff1.2.3.4"), None);
        assert_eq!(entry(&b"1".repeat(1 << 20)), None);
    }

    proptest! {
        #[test]
        fn a_range_is_all_from_its_first_to_its_last(from in any::<u32>(), more in 0..100_000u32) {
            let to = from.saturating_add(more);
            let parts = range(Ipv4Addr::from_bits(from).into(), Ipv4Addr::from_bits(to).into()).unwrap();
            let mut next = u64::from(from);
            for part in &parts {
                let IpAddr::V4(start) = part.address() else { panic!() };
                prop_assert_eq!(u64::from(start.to_bits()), next);
                next += 1 << (32 - part.length());
            }
            prop_assert_eq!(next, u64::from(to) + 1);
            prop_assert!(parts.len() <= 62);
        }
    }
}
