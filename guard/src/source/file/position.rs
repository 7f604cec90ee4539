//! The saved place in a log: for each file of it that is followed or remembered, who the file is and how far it was
//! read. Text, so that it can be read in the store:
//!
//! ```text
//! 1 <device>:<inode>:<born>:<offset>:<flags>:<head>:<tail>:<read> …
//! ```
//!
//! The leading number is the version. Of the flags, 1 is [`Mark::skipping`] and 2 is [`Mark::ended`]. Files are in reading
//! order: what a rotation has left unfinished comes first.

use std::fmt::Write as _;

use super::identity::Identity;
use crate::source::Position;
use crate::time::Wall;

const VERSION: &str = "1";

const SKIPPING: u64 = 1;
const ENDED: u64 = 2;

/// How far one file was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) identity: Identity,
    /// Where the next line starts.
    pub(super) offset: u64,
    /// Whether that is inside a line that was cut, whose rest must not be taken for a line.
    pub(super) skipping: bool,
    /// Whether it was read to its end and closed: nothing is lost if it goes.
    pub(super) ended: bool,
    /// Fingerprint of the file's first bytes, as many as there are up to `offset`.
    pub(super) head: u64,
    /// Fingerprint of the bytes just before `offset`.
    pub(super) tail: u64,
    /// When it was read last.
    pub(super) read: Wall,
}

/// Writes marks as a place.
pub(super) fn encode(marks: impl Iterator<Item = Mark>) -> String {
    let mut out = String::from(VERSION);
    for m in marks {
        let Identity { device, inode, born } = m.identity;
        // Writing to a string cannot fail.
        let _ = write!(
            out,
            " {device:x}:{inode:x}:{born:x}:{:x}:{}:{:x}:{:x}:{}",
            m.offset,
            if m.skipping { SKIPPING } else { 0 } | if m.ended { ENDED } else { 0 },
            m.head,
            m.tail,
            m.read.0
        );
    }
    out
}

/// Reads a place; `None` if it is not one, or of another version.
pub(super) fn decode(place: &str) -> Option<Vec<Mark>> {
    let mut words = place.split(' ');
    if words.next() != Some(VERSION) {
        return None;
    }
    words.map(mark).collect()
}

/// When the file was read last that a position speaks of; `None` if it is of no file.
pub fn last_read(position: &Position) -> Option<Wall> {
    decode(&position.place)?.iter().map(|mark| mark.read).max()
}

fn mark(word: &str) -> Option<Mark> {
    let mut parts = word.split(':');
    let mut hex = || u64::from_str_radix(parts.next()?, 16).ok();
    let identity = Identity { device: hex()?, inode: hex()?, born: hex()? };
    let (offset, flags) = (hex()?, hex()?);
    let mark = Mark {
        identity,
        offset,
        skipping: flags & SKIPPING != 0,
        ended: flags & ENDED != 0,
        head: hex()?,
        tail: hex()?,
        read: Wall(parts.next()?.parse().ok()?),
    };
    parts.next().is_none().then_some(mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back_and_nothing_else_is() {
        let mark = |offset| Mark {
            identity: Identity { device: 0xfe00, inode: 17, born: u64::MAX },
            offset,
            skipping: offset == 7,
            ended: offset == 8,
            head: 1,
            tail: 2,
            read: Wall(-5),
        };
        let marks = vec![mark(7), mark(8), mark(u64::MAX)];
        assert_eq!(decode(&encode(marks.iter().copied())), Some(marks.clone()));
        assert_eq!(decode("1"), Some(vec![]));
        let text = encode(marks.into_iter());
        for bad in ["", "2 0:0:0:0:0:0:0:0", "1 x", "1 ", "1 0:0:0:0:0:0:0:0:0", &text[..text.len() / 2]] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
