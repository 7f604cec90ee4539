//! From the name of a program to what reads its lines: one look-up, however many names there are.

use super::bytes::{first_eight, same};

/// Bits of the sieve.
const SIEVE: usize = 4096;

/// Names of programs, each with a number.
#[derive(Debug)]
pub(super) struct Identifiers {
    /// Open addressing, at most half full.
    slots: Vec<Option<(Box<[u8]>, u32)>>,
    /// Which four bytes a name, and what follows it in a line, can begin with: most lines of other programs are
    /// known as such before their name has been read.
    sieve: Box<[u64; SIEVE / 64]>,
}

impl Identifiers {
    /// A table of names with their numbers.
    pub(super) fn new<'a>(names: impl ExactSizeIterator<Item = (&'a [u8], u32)>) -> Self {
        let mut slots = vec![None; (names.len() * 2).next_power_of_two()];
        let mut sieve = Box::new([0; SIEVE / 64]);
        for (name, number) in names {
            let mut at = slot(name) & (slots.len() - 1);
            while slots[at].is_some() {
                at = (at + 1) & (slots.len() - 1);
            }
            slots[at] = Some((name.into(), number));
            let mut add = |start: u32| sieve[bit(start) / 64] |= 1 << (bit(start) % 64);
            match first_four(name) {
                Some(start) => add(start),
                None => starts(name, &mut add),
            }
        }
        Self { slots, sieve }
    }

    /// The number of a name.
    #[inline]
    pub(super) fn find(&self, name: &[u8]) -> Option<u32> {
        let mut at = slot(name) & (self.slots.len() - 1);
        while let Some((known, number)) = &self.slots[at] {
            if same(known, name) {
                return Some(*number);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        None
    }

    /// Whether a name of the table may stand at the front of `tag`, which is four bytes of `name[7]: ` or `name: `.
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
        Some(b':') => b" ",
        // After `]:` and the space the message begins.
        Some(b' ') => &ANY,
        Some(b']') => b":",
        Some(b'[') => b"0123456789",
        Some(b'0'..=b'9') if tag.contains(&b'[') => b"0123456789]",
        _ => b"[:",
    };
    for byte in next {
        starts(&[tag, &[*byte]].concat(), add);
    }
}

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
        let names: Vec<String> =
            ["sshd", "su", "w", "ssh", "postfix/smtps/smtpd", "a1"].map(Into::into).to_vec();
        let table = Identifiers::new(
            names.iter().enumerate().map(|(i, n)| (n.as_bytes(), i as u32)).collect::<Vec<_>>().into_iter(),
        );
        for (number, name) in names.iter().enumerate() {
            assert_eq!(table.find(name.as_bytes()), Some(number as u32));
            for tag in [format!("{name}[1]: x"), format!("{name}[12345]: x"), format!("{name}: yz")] {
                assert!(table.may_begin(*tag.as_bytes().first_chunk().unwrap()), "{tag}");
            }
        }
        assert_eq!(table.find(b"sshd-session"), None);
        assert_eq!(table.find(b""), None);
        let others = ["CRON", "syst", "sudo", "kern", "dbus", "root"];
        assert!(
            others.iter().filter(|tag| table.may_begin(*tag.as_bytes().first_chunk().unwrap())).count() < 3
        );
    }
}
