//! The layout of the last line's header. In one log it hardly changes: the stamp has its length and the host its name,
//! so where the identifier stands is known before a line has been looked at, and most lines are another program's.

use super::header::{self, Header};
use super::timestamp::BSD_LENGTH;

/// Bytes compared after the stamp: a space, the host and another space.
const WINDOW: usize = 32;

/// Where things were in the last line, if it was of a form that is remembered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Layout {
    /// Length of the stamp; 0 if no layout is known.
    stamp: usize,
    /// The space after the stamp, the host and the space after it; then zeros.
    host: [u128; 2],
    /// Ones where `host` counts.
    mask: [u128; 2],
    /// Where the identifier begins.
    identifier: usize,
}

impl Layout {
    /// The first four bytes of the identifier and what follows it, if the line has this layout.
    #[inline(always)]
    pub(super) fn tag(&self, line: &[u8]) -> Option<[u8; 4]> {
        let window: &[u8; WINDOW] = line.get(self.stamp..)?.first_chunk()?;
        let halves = halves(window);
        let differs = (halves[0] & self.mask[0] ^ self.host[0]) | (halves[1] & self.mask[1] ^ self.host[1]);
        if differs != 0 || !self.has_stamp(line) {
            return None;
        }
        line.get(self.identifier..)?.first_chunk().copied()
    }

    /// Whether the line begins with a stamp of the length that is known. Its form is looked at in [`Self::split`],
    /// because a line without it is skipped either way.
    #[inline(always)]
    fn has_stamp(&self, line: &[u8]) -> bool {
        match self.stamp {
            BSD_LENGTH => line[0].is_ascii_uppercase(),
            0 => false,
            length => line[0].is_ascii_digit() && memchr::memchr(b' ', &line[..length]).is_none(),
        }
    }

    /// Takes a line of this layout apart.
    #[inline(always)]
    pub(super) fn split<'a>(&self, line: &'a [u8]) -> Option<Header<'a>> {
        let stamp = match self.stamp {
            BSD_LENGTH => header::bsd_stamp(line)?,
            _ => header::iso_stamp(line)?.0,
        };
        header::split_tag(&line[self.identifier..], stamp)
    }

    /// Remembers the layout of a line.
    #[cold]
    pub(super) fn learn(&mut self, line: &[u8]) {
        let stamp = match line.first() {
            Some(first) if first.is_ascii_uppercase() => header::bsd_stamp(line).map(|_| BSD_LENGTH),
            Some(first) if first.is_ascii_digit() => header::iso_stamp(line).map(|(_, end)| end),
            _ => None,
        };
        let Some(stamp) = stamp else { return };
        let Some(host) = memchr::memchr(b' ', &line[stamp + 1..]) else { return };
        // A host with a colon at its end is a tag without a host.
        if host + 2 > WINDOW || host == 0 || line[stamp + host] == b':' {
            return;
        }
        let mut window = [0; WINDOW];
        let mut mask = [0; WINDOW];
        window[..host + 2].copy_from_slice(&line[stamp..stamp + host + 2]);
        mask[..host + 2].fill(0xff);
        *self = Self { stamp, host: halves(&window), mask: halves(&mask), identifier: stamp + host + 2 };
    }
}

#[inline(always)]
fn halves(window: &[u8; WINDOW]) -> [u128; 2] {
    let (halves, _) = window.as_chunks::<16>();
    [u128::from_le_bytes(halves[0]), u128::from_le_bytes(halves[1])]
}
