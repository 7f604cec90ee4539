//! From the name of a program to what reads its lines: one look-up, however many names there are.

use super::header::FACILITIES;
use crate::bytes::{first_eight, same};

/// Bits of the sieve.
const SIEVE: usize = 4096;

/// Longest name that is compared as one number.
pub(super) const SHORT: usize = 16;
/// No number.
const NONE: u32 = u32::MAX;

/// Names of programs, each with a number.
#[derive(Debug)]
pub(super) struct Identifiers {
    /// Names of at most [`SHORT`] bytes. Open addressing, at most a quarter full, so that the first place decides.
    short: Vec<Short>,
    /// Longer names. Open addressing, at most half full.
    long: Vec<Option<(Box<[u8]>, u32)>>,
    /// Which four bytes a name and what follows it in a line, or a priority in words, can begin with: most lines of other programs are
    /// known as such before their name has been read.
    sieve: Box<[u64; SIEVE / 64]>,
}

/// A name in as many bytes as a comparison takes.
#[derive(Clone, Copy, Debug)]
struct Short {
    /// The name, zeros behind it.
    block: u128,
    length: u32,
    number: u32,
}

impl Identifiers {
    /// A table of names with their numbers.
    pub(super) fn new<'a>(names: impl ExactSizeIterator<Item = (&'a [u8], u32)>) -> Self {
        let free = Short { block: 0, length: 0, number: NONE };
        let mut short = vec![free; (names.len() * 4).next_power_of_two()];
        let mut long = vec![None; (names.len() * 2).next_power_of_two()];
        let mut sieve = Box::new([0; SIEVE / 64]);
        let mut add = |start: u32| sieve[bit(start) / 64] |= 1 << (bit(start) % 64);
        // A priority may stand where the tag of other lines does.
        FACILITIES.map(u32::from_le_bytes).into_iter().for_each(&mut add);
        for (name, number) in names {
            if let Some(block) = padded(name) {
                let mut at = short_slot(block) & (short.len() - 1);
                while short[at].number != NONE {
                    at = (at + 1) & (short.len() - 1);
                }
                short[at] = Short { block, length: name.len() as u32, number };
            } else {
                let mut at = slot(name) & (long.len() - 1);
                while long[at].is_some() {
                    at = (at + 1) & (long.len() - 1);
                }
                long[at] = Some((name.into(), number));
            }
            match first_four(name) {
                Some(start) => add(start),
                None => starts(name, &mut add),
            }
        }
        Self { short, long, sieve }
    }

    /// The number of a name.
    #[inline]
    pub(super) fn find(&self, name: &[u8]) -> Option<u32> {
        if let Some(block) = padded(name) {
            return self.find_short(block, name.len());
        }
        let mut at = slot(name) & (self.long.len() - 1);
        while let Some((known, number)) = &self.long[at] {
            if same(known, name) {
                return Some(*number);
            }
            at = (at + 1) & (self.long.len() - 1);
        }
        None
    }

    /// The number of a name with a host in brackets behind it: `wordpress(www.example.org)`.
    pub(super) fn find_before_host(&self, identifier: &[u8]) -> Option<u32> {
        let open = memchr::memchr(b'(', identifier)?;
        let is_host = identifier.get(open + 1).is_some_and(|byte| HOST.contains(byte));
        if open > 1 && is_host { self.find(&identifier[..open]) } else { None }
    }

    /// The number of the name that a block begins with, if it has `length` bytes and they are at most as many as
    /// the block has.
    #[inline(always)]
    pub(super) fn find_in(&self, block: &[u8; SHORT], length: usize) -> Option<u32> {
        let kept = u128::MAX.checked_shr((8 * SHORT).checked_sub(8 * length)? as u32)?;
        self.find_short(u128::from_le_bytes(*block) & kept, length)
    }

    #[inline(always)]
    fn find_short(&self, block: u128, length: usize) -> Option<u32> {
        let mut at = short_slot(block) & (self.short.len() - 1);
        loop {
            let known = self.short[at];
            if known.number == NONE {
                return None;
            }
            if known.block == block && known.length as usize == length {
                return Some(known.number);
            }
            at = (at + 1) & (self.short.len() - 1);
        }
    }

    /// Whether a name of the table may stand at the front of `tag`, which is four bytes of `name[7]: `, `name: ` or
    /// `name(host)[7]: `.
    #[inline(always)]
    pub(super) fn may_begin(&self, tag: [u8; 4]) -> bool {
        let bit = bit(u32::from_le_bytes(tag));
        self.sieve[bit / 64] >> (bit % 64) & 1 == 1
    }
}

/// Every four bytes that a tag with a name of less than four bytes can begin with.
fn starts(tag: &[u8], add: &mut impl FnMut(u32)) {
    if let Some(start) = first_four(tag) {
        return add(start);
    }
    let next: &[u8] = match tag.last() {
        _ if tag.contains(&b'(') => HOST,
        Some(_) if tag.len() == 1 => b"[:",
        Some(b':') => b" ",
        // After `]:` and the space the message begins.
        Some(b' ') => &ANY,
        Some(b']') => b":",
        Some(b'[') => b"0123456789",
        Some(b'0'..=b'9') if tag.contains(&b'[') => b"0123456789]",
        _ => b"[:(",
    };
    for byte in next {
        starts(&[tag, &[*byte]].concat(), add);
    }
}

/// What a host in brackets behind a name can begin with: `wp(www.example.org)`. Not any byte, because each makes the
/// sieve coarser; for the same reason names of one byte have no host behind them.
const HOST: &[u8] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._[";

const ANY: [u8; 256] = {
    let mut all = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        all[byte] = byte as u8;
        byte += 1;
    }
    all
};

fn first_four(name: &[u8]) -> Option<u32> {
    name.first_chunk().map(|four| u32::from_le_bytes(*four))
}

#[inline(always)]
fn bit(start: u32) -> usize {
    (start.wrapping_mul(0x9e37_79b1) >> 20) as usize
}

/// A name of at most [`SHORT`] bytes as a number, zeros behind it.
#[inline]
fn padded(name: &[u8]) -> Option<u128> {
    let mut block = [0; SHORT];
    block.get_mut(..name.len())?.copy_from_slice(name);
    Some(u128::from_le_bytes(block))
}

#[inline(always)]
fn short_slot(block: u128) -> usize {
    let mixed = ((block as u64) ^ ((block >> 64) as u64).rotate_left(29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 40) as usize
}

/// Names come from files, they are not attackers' choices: a plain multiplication spreads them well enough.
#[inline]
fn slot(name: &[u8]) -> usize {
    let mixed = (first_eight(name) ^ name.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 40) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_passes_the_sieve() {
        let names: Vec<String> = ["sshd", "su", "w", "ssh", "postfix/smtps/smtpd", "postfix/submiss/", "a1"]
            .map(Into::into)
            .to_vec();
        let table = Identifiers::new(
            names.iter().enumerate().map(|(i, n)| (n.as_bytes(), i as u32)).collect::<Vec<_>>().into_iter(),
        );
        for (number, name) in names.iter().enumerate() {
            assert_eq!(table.find(name.as_bytes()), Some(number as u32));
            let block = *format!("{name}[1]: 0123456789abcdef").as_bytes().first_chunk().unwrap();
            assert_eq!(table.find_in(&block, name.len()), (name.len() <= SHORT).then_some(number as u32));
            for tag in ["[1]: x", "[12345]: x", ": yz"].map(|behind| format!("{name}{behind}")) {
                assert!(table.may_begin(*tag.as_bytes().first_chunk().unwrap()), "{tag}");
            }
            for identifier in
                ["(www.example.org)", "(203.0.113.7)", "([::1])"].map(|host| format!("{name}{host}"))
            {
                let found = table.find_before_host(identifier.as_bytes());
                assert_eq!(found, (name.len() > 1).then_some(number as u32), "{identifier}");
                let may_begin = table.may_begin(*identifier.as_bytes().first_chunk().unwrap());
                assert!(may_begin || found.is_none(), "{identifier}");
            }
            assert_eq!(table.find_before_host(format!("{name}()").as_bytes()), None);
        }
        assert_eq!(table.find(b"sshd-session"), None);
        assert_eq!(table.find(b""), None);
        assert_eq!(table.find(b"sshd\0"), None);
        let others = ["CRON", "syst", "sudo", "kern", "dbus", "root"];
        assert!(
            others.iter().filter(|tag| table.may_begin(*tag.as_bytes().first_chunk().unwrap())).count() < 3
        );
    }
}
