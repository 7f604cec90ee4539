//! The stamp of the last line as a template: in one log it keeps its notation and its length, so the next one is
//! recognised by a few wide comparisons.

use super::{Notation, Stamp, shape, zone};

/// Bytes of a line that the template covers.
const WINDOW: usize = 48;
const WORDS: usize = WINDOW / 8;

const TENS: u64 = 0x0606_0606_0606_0606;
const HIGH: u64 = 0xf0f0_f0f0_f0f0_f0f0;

/// Recognises stamps as [`shape::stamp`] does, the kind of the last line faster. One for each file.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::scan) struct Usual {
    notation: Option<Notation>,
    /// Where the stamp's text lies.
    start: u8,
    end: u8,
    /// The first byte that is not the stamp's or its bracket's.
    rest: u8,
    /// Whether the blank behind the stamp may be one before a zone.
    may_grow: bool,
    /// Ones in the high half of each byte that is a digit.
    digits: [u64; WORDS],
    /// Ones in each byte that stays as it is, and those bytes.
    same: [u64; WORDS],
    bytes: [u64; WORDS],
}

impl Usual {
    /// The stamp that `text` begins with and where the rest begins, as [`shape::stamp`] answers.
    #[inline]
    pub(in crate::scan) fn stamp<'a>(&mut self, text: &'a [u8]) -> Option<(Stamp<'a>, usize)> {
        if let Some(notation) = self.notation
            && let Some(window) = text.first_chunk()
            && self.fits(window)
            && !self.grows(text)
        {
            let rest = usize::from(self.rest);
            let stamp = Stamp { notation, text: &text[usize::from(self.start)..usize::from(self.end)] };
            return Some((stamp, rest + shape::blanks(&text[rest..])));
        }
        self.learn(text)
    }

    #[inline(always)]
    fn fits(&self, window: &[u8; WINDOW]) -> bool {
        let (words, _) = window.as_chunks::<8>();
        let mut wrong = 0;
        for (index, word) in words.iter().enumerate() {
            let word = u64::from_le_bytes(*word);
            let values = word ^ 0x3030_3030_3030_3030;
            // A byte above 9 has, or carries into, its high half. A carry out of a byte is of one that is wrong.
            wrong |= (values | values.wrapping_add(TENS)) & self.digits[index];
            wrong |= (word & self.same[index]) ^ self.bytes[index];
        }
        wrong == 0
    }

    /// Whether a zone stands behind the stamp that a text with this template begins with: then it is part of the stamp.
    #[inline(always)]
    fn grows(&self, text: &[u8]) -> bool {
        let end = usize::from(self.end);
        self.may_grow
            && matches!(text.get(end + 1), Some(b'+' | b'-' | b'A'..=b'Z'))
            && zone::detached(&text[end..], true) > 0
    }

    #[cold]
    fn learn<'a>(&mut self, text: &'a [u8]) -> Option<(Stamp<'a>, usize)> {
        let (stamp, rest) = shape::stamp(text)?;
        *self = Self::of(text, stamp).unwrap_or_default();
        Some((stamp, rest))
    }

    /// The template of a stamp: its digits may be others, except behind the seconds, where a zone is, which is a zone
    /// only for some digits; the byte behind it must stay, so that it does not grow.
    fn of(text: &[u8], stamp: Stamp<'_>) -> Option<Self> {
        let window: &[u8; WINDOW] = text.first_chunk()?;
        let open = usize::from(text[0] == b'[');
        let start = match stamp.notation {
            Notation::Boot => open + shape::blanks(&text[open..]),
            Notation::Iso if text[open].is_ascii_alphabetic() => open + shape::WEEKDAY,
            _ => open,
        };
        let end = start + stamp.text.len();
        let rest = end + usize::from(open == 1 && text.get(end) == Some(&b']'));
        if rest >= WINDOW {
            return None;
        }
        let zone = match stamp.notation.minute() {
            Some(length) => {
                let seconds = length + 3;
                start + seconds + super::civil::fraction(&stamp.text[seconds..]).1
            }
            None => end,
        };
        let may_grow = window[end] == b' '
            && match stamp.notation {
                Notation::Iso => stamp.text[10] == b' ',
                Notation::Clf | Notation::Dashed => true,
                _ => false,
            };
        let mut masks = [[0; WINDOW]; 3];
        for (at, b) in window[..=rest].iter().enumerate() {
            if b.is_ascii_digit() && at < zone {
                masks[0][at] = 0xf0;
            } else {
                masks[1][at] = 0xff;
                masks[2][at] = *b;
            }
        }
        let [digits, same, bytes] = masks.map(|mask| words(&mask));
        debug_assert!(digits.iter().all(|word| word & !HIGH == 0));
        Some(Self {
            notation: Some(stamp.notation),
            start: start as u8,
            end: end as u8,
            rest: rest as u8,
            may_grow,
            digits,
            same,
            bytes,
        })
    }
}

fn words(bytes: &[u8; WINDOW]) -> [u64; WORDS] {
    let mut words = [0; WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}
