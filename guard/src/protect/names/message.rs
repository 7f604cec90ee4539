//! Messages of the domain name system (RFC 1035), as far as the addresses of a name need them. What arrives may be
//! anybody's: nothing of it is believed that does not answer the question, and every walk through it goes backwards only.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::target::HostName;

/// Aliases that are followed.
const ALIASES: usize = 16;
/// Bytes of a name on the wire.
const NAME: usize = 255;

/// Which addresses are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// Type A.
    V4,
    /// Type AAAA (RFC 3596).
    V6,
}

impl Family {
    const fn code(self) -> u16 {
        match self {
            Self::V4 => 1,
            Self::V6 => 28,
        }
    }
}

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// The name has these addresses; there may be none.
    Addresses(Vec<IpAddr>, Option<Duration>),
    /// There is no such name.
    NoSuchName,
    /// It was too long for a datagram.
    Truncated,
    /// The server could not, or would not (its response code).
    Failed(u8),
}

const CLASS: u16 = 1;
const ALIAS: u16 = 5;

/// The question for the addresses of a name, answered under this number.
pub(super) fn question(name: &HostName, family: Family, number: u16) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.as_str().len() + 18);
    out.extend(number.to_be_bytes());
    // A query that wants recursion, with one question.
    out.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    for label in name.as_str().split('.') {
        out.push(label.len() as u8);
        out.extend(label.bytes());
    }
    out.push(0);
    out.extend(family.code().to_be_bytes());
    out.extend(CLASS.to_be_bytes());
    out
}

/// Reads what came back. `None` if it does not answer this question.
pub(super) fn reply(bytes: &[u8], name: &HostName, family: Family, number: u16) -> Option<Reply> {
    let mut message = Message { bytes, at: 0 };
    if message.two()? != number {
        return None;
    }
    let flags = message.two()?;
    let (is_answer, opcode, is_cut, code) = (flags >> 15, flags >> 11 & 15, flags >> 9 & 1, flags & 15);
    let (questions, answers) = (message.two()?, message.two()?);
    message.skip(4)?;
    if is_answer == 0 || opcode != 0 || questions != 1 {
        return None;
    }
    if message.name()? != name.as_str() || message.two()? != family.code() || message.two()? != CLASS {
        return None;
    }
    Some(match code {
        _ if is_cut == 1 => Reply::Truncated,
        0 => match message.records(answers, family) {
            Some(records) => records.addresses_of(name.as_str()),
            None => Reply::Failed(1),
        },
        3 => Reply::NoSuchName,
        code => Reply::Failed(code as u8),
    })
}

/// The records of an answer that matter.
#[derive(Default)]
struct Records {
    aliases: Vec<(String, String, u32)>,
    addresses: Vec<(String, IpAddr, u32)>,
}

impl Records {
    /// The addresses of a name, or of what it is an alias of, and for how long all of that holds.
    fn addresses_of(&self, name: &str) -> Reply {
        let (mut name, mut holds) = (name, u32::MAX);
        for _ in 0..ALIASES {
            let Some((_, other, time)) = self.aliases.iter().find(|(from, ..)| from == name) else { break };
            (name, holds) = (other, holds.min(*time));
        }
        let own = self.addresses.iter().filter(|(of, ..)| of == name);
        let mut addresses = Vec::new();
        for (_, address, time) in own {
            holds = holds.min(*time);
            addresses.push(*address);
        }
        addresses.sort_unstable();
        addresses.dedup();
        let holds = (!addresses.is_empty()).then(|| Duration::from_secs(holds.into()));
        Reply::Addresses(addresses, holds)
    }
}

struct Message<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Message<'_> {
    fn take(&mut self, count: usize) -> Option<&[u8]> {
        let taken = self.bytes.get(self.at..self.at + count)?;
        self.at += count;
        Some(taken)
    }

    fn skip(&mut self, count: usize) -> Option<()> {
        self.take(count).map(drop)
    }

    fn two(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn four(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// The name here, in lower case. Pointers lead backwards only, so it ends.
    fn name(&mut self) -> Option<String> {
        let mut out = String::new();
        let (mut at, mut end) = (self.at, None);
        loop {
            let length = *self.bytes.get(at)?;
            match length {
                0 => {
                    self.at = end.unwrap_or(at + 1);
                    return Some(out);
                }
                1..=63 => {
                    let label = self.bytes.get(at + 1..=at + usize::from(length))?;
                    if !out.is_empty() {
                        out.push('.');
                    }
                    // What is not ASCII, or has a dot in a label, must not look like another name.
                    let plain = |b: &u8| if b.is_ascii_graphic() && *b != b'.' { *b } else { b'?' };
                    out.extend(label.iter().map(|b| char::from(plain(b).to_ascii_lowercase())));
                    if out.len() > NAME {
                        return None;
                    }
                    at += 1 + usize::from(length);
                }
                0xc0.. => {
                    let low = *self.bytes.get(at + 1)?;
                    end = end.or(Some(at + 2));
                    let to = usize::from(length & 0x3f) << 8 | usize::from(low);
                    if to >= at {
                        return None;
                    }
                    at = to;
                }
                _ => return None,
            }
        }
    }

    fn records(&mut self, count: u16, family: Family) -> Option<Records> {
        let mut records = Records::default();
        for _ in 0..count {
            let owner = self.name()?;
            let (kind, class, time, length) = (self.two()?, self.two()?, self.four()?, self.two()?);
            // One with the highest bit set is none (RFC 2181, 8).
            let time = if time > i32::MAX as u32 { 0 } else { time };
            let next = self.at + usize::from(length);
            if class == CLASS && kind == ALIAS {
                let other = self.name()?;
                records.aliases.push((owner, other, time));
            } else if class == CLASS && kind == family.code() {
                let data = self.take(length.into())?;
                let address = match family {
                    Family::V4 => Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).into(),
                    Family::V6 => Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).into(),
                };
                records.addresses.push((owner, address, time));
            }
            if next > self.bytes.len() {
                return None;
            }
            self.at = next;
        }
        Some(records)
    }
}

/// A datagram of a stranger: it is read, in bounded time, or it is not.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn fuzz(bytes: &[u8]) {
    let Ok(name) = "vpn.example.org".parse::<HostName>() else { return };
    let number = bytes.get(..2).map_or(0, |two| u16::from_be_bytes([two[0], two[1]]));
    for family in [Family::V4, Family::V6] {
        if let Some(Reply::Addresses(addresses, holds)) = reply(bytes, &name, family, number) {
            assert_eq!(addresses.is_empty(), holds.is_none());
            assert!(addresses.windows(2).all(|pair| pair[0] < pair[1]));
            assert!(addresses.iter().all(|address| address.is_ipv4() == (family == Family::V4)));
        }
    }
}

/// Answers to begin with: an address behind an alias, and refusals.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let Ok(name) = "vpn.example.org".parse::<HostName>() else { return Vec::new() };
    let answer = |family, flags: [u8; 2], records: &[&[u8]]| {
        let mut bytes = question(&name, family, 7);
        bytes[2..4].copy_from_slice(&flags);
        bytes[7] = records.len() as u8;
        bytes.extend(records.concat());
        bytes
    };
    // Offset 12 is the name of the question; 16 is `example.org` in it.
    let alias = b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x01\x2c\x00\x05\x02gw\xc0\x10";
    // Where the alias has its name.
    let place = [0xc0, 12 + 17 + 4 + 12];
    let v4 = [&place[..], b"\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\xcb\x00\x71\x07"].concat();
    let v6 = [&b"\xc0\x0c\x00\x1c\x00\x01\x00\x00\x00\x3c\x00\x10\x20\x01\x0d\xb8"[..], &[7; 12]].concat();
    vec![
        answer(Family::V4, [0x81, 0x80], &[alias, &v4]),
        answer(Family::V6, [0x81, 0x80], &[&v6]),
        answer(Family::V6, [0x81, 0x80], &[]),
        answer(Family::V4, [0x81, 0x83], &[]),
        answer(Family::V4, [0x83, 0x80], &[]),
        question(&name, Family::V4, 7),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], family: Family) -> Option<Reply> {
        reply(bytes, &"vpn.example.org".parse().unwrap(), family, 7)
    }

    #[test]
    fn addresses_come_through_aliases_and_hold_as_long_as_the_shortest() {
        let seeds = seeds();
        let address = "203.0.113.7".parse().unwrap();
        let minute = Some(Duration::from_secs(60));
        assert_eq!(read(&seeds[0], Family::V4), Some(Reply::Addresses(vec![address], minute)));
        let Some(Reply::Addresses(found, holds)) = read(&seeds[1], Family::V6) else { panic!() };
        assert_eq!((found[0].to_string().as_str(), holds), ("2001:db8:707:707:707:707:707:707", minute));
        assert_eq!(read(&seeds[2], Family::V6), Some(Reply::Addresses(vec![], None)));
        assert_eq!(read(&seeds[3], Family::V4), Some(Reply::NoSuchName));
        assert_eq!(read(&seeds[4], Family::V4), Some(Reply::Truncated));
    }

    #[test]
    fn what_answers_another_question_is_nothing() {
        let good = &seeds()[0];
        assert_eq!(read(&seeds()[5], Family::V4), None, "a question");
        assert_eq!(read(good, Family::V6), None, "another type");
        assert_eq!(reply(good, &"vpn.example.com".parse().unwrap(), Family::V4, 7), None);
        assert_eq!(reply(good, &"vpn.example.org".parse().unwrap(), Family::V4, 8), None);
        // An address of another name is not the name's.
        let mut other = good.clone();
        let end = other.len() - 16;
        other[end..end + 2].copy_from_slice(&[0xc0, 16]);
        assert_eq!(read(&other, Family::V4), Some(Reply::Addresses(vec![], None)));
    }

    #[test]
    fn what_is_cut_or_leads_in_circles_ends() {
        for seed in seeds() {
            for length in 0..seed.len() {
                fuzz(&seed[..length]);
            }
            for (place, value) in
                (0..seed.len()).flat_map(|place| [0, 0xc0, 0xff].map(|value| (place, value)))
            {
                let mut bytes = seed.clone();
                bytes[place] = value;
                fuzz(&bytes);
            }
        }
        // Two aliases of each other, and one of itself by a pointer to itself.
        let seed = &seeds()[5];
        let mut circle = seed.clone();
        circle[2..4].copy_from_slice(&[0x81, 0x80]);
        circle[7] = 1;
        circle.extend(b"\xc0\x0c\x00\x05\x00\x01\x00\x00\x00\x01\x00\x02\xc0\x0c");
        assert_eq!(read(&circle, Family::V4), Some(Reply::Addresses(vec![], None)));
        let here = circle.len() as u8 - 2;
        *circle.last_mut().unwrap() = here;
        assert_eq!(read(&circle, Family::V4), Some(Reply::Failed(1)));
    }
}
