//! The layout of the last line's header. In one log it hardly changes: the stamp has its length and the host its name,
//! so where the identifier stands is known before a line has been looked at, and most lines are another program's.

use super::header::{self, Stamp};
use super::simd;
use super::timestamp::BSD_LENGTH;

/// Bytes compared after the stamp: a space, the host and another space.
const WINDOW: usize = 32;
/// Bytes of a line that are looked at.
const WHOLE: usize = 64;

/// Where things were in the last line, if it was of a form that is remembered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Layout {
    /// Length of the stamp; 0 if no layout is known.
    stamp: usize,
    /// Bits of the first byte that tell an RFC 3164 stamp (a capital letter) from an RFC 3339 one (a digit), and
    /// their values.
    first_mask: u8,
    first: u8,
    /// Places among the first 32 at which no space may stand, a bit for each.
    no_spaces: u32,
    /// The space after the stamp, the host and the space after it; then zeros.
    host: [u128; 2],
    /// Ones where `host` counts.
    mask: [u128; 2],
    /// Where the identifier begins.
    identifier: usize,
}

impl Layout {
    /// Whether the line that begins at `start` has this layout and an identifier that `may_begin` refuses: then no
    /// filter reads it. No branch depends on the line. What stands behind a short line may be looked at as if
    /// it belonged to it; a newline is part of neither a host nor an identifier, so such a line is never skipped wrongly.
    #[inline(always)]
    pub(super) fn skips(&self, text: &[u8], start: usize, may_begin: impl Fn([u8; 4]) -> bool) -> bool {
        let Some(line) = text.get(start..).and_then(|line| line.get(..WHOLE)) else { return false };
        let Some(tag) = line.get(self.identifier..).and_then(|tag| tag.first_chunk()) else { return false };
        self.stamp > 0 && self.fits(line) & !may_begin(*tag)
    }

    /// Whether a line, of which at least [`WHOLE`] bytes are given, has this layout.
    #[inline(always)]
    #[allow(
        clippy::needless_bitwise_bool,
        reason = "three comparisons cost less than branches nobody can predict"
    )]
    fn fits(&self, line: &[u8]) -> bool {
        let Some(window) = line.get(self.stamp..).and_then(|rest| rest.first_chunk()) else { return false };
        let Some(stamp) = line.first_chunk() else { return false };
        let halves = halves(window);
        let differs = (halves[0] & self.mask[0] ^ self.host[0]) | (halves[1] & self.mask[1] ^ self.host[1]);
        // An RFC 3164 stamp has spaces inside, an RFC 3339 stamp ends at the first.
        let spaces = simd::equal(stamp, b' ') & self.no_spaces;
        (differs == 0) & (spaces == 0) & (line[0] & self.first_mask == self.first)
    }

    /// The stamp of a line and the place of its identifier, if it has this layout. `window` begins with the line and
    /// may reach beyond it.
    #[inline(always)]
    pub(super) fn split<'a>(&self, window: &[u8], line: &'a [u8]) -> Option<(Stamp<'a>, usize)> {
        if !self.fits(window.get(..WHOLE)?) {
            return None;
        }
        let stamp = match self.stamp {
            0 => return None,
            BSD_LENGTH if line[0].is_ascii_uppercase() => header::bsd_stamp(line)?,
            BSD_LENGTH => return None,
            _ => header::iso_stamp(line)?.0,
        };
        Some((stamp, self.identifier))
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
        if stamp > WINDOW || host + 2 > WINDOW || host == 0 || line[stamp + host] == b':' {
            return;
        }
        let mut window = [0; WINDOW];
        let mut mask = [0; WINDOW];
        window[..host + 2].copy_from_slice(&line[stamp..stamp + host + 2]);
        mask[..host + 2].fill(0xff);
        let bsd = stamp == BSD_LENGTH;
        *self = Self {
            stamp,
            first_mask: if bsd { 0xe0 } else { 0xf0 },
            first: if bsd { 0x40 } else { 0x30 },
            no_spaces: if bsd { 0 } else { ((1u64 << stamp) - 1) as u32 },
            host: halves(&window),
            mask: halves(&mask),
            identifier: stamp + host + 2,
        };
    }
}

#[inline(always)]
fn halves(window: &[u8; WINDOW]) -> [u128; 2] {
    let (halves, _) = window.as_chunks::<16>();
    [u128::from_le_bytes(halves[0]), u128::from_le_bytes(halves[1])]
}
