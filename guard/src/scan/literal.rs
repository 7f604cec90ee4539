//! Literals that are compared with the front or the end of a text: most in one comparison of a word.

use crate::bytes;

/// Bytes of a literal that are compared at once.
const WORD: usize = 16;

/// A literal and, if it fits in a word, that word.
#[derive(Clone, Debug)]
pub(super) struct Literal {
    /// Zeros where `mask` has them.
    word: u128,
    /// Ones for the bytes of the literal, as they stand in the text: from the front or up to the end.
    mask: u128,
    bytes: Box<[u8]>,
}

impl Literal {
    /// To be compared with the front of a text.
    pub(super) fn forwards(bytes: &[u8]) -> Self {
        Self::new(bytes, 0)
    }

    /// To be compared with the end of a text.
    pub(super) fn backwards(bytes: &[u8]) -> Self {
        Self::new(bytes, WORD.saturating_sub(bytes.len()))
    }

    fn new(bytes: &[u8], at: usize) -> Self {
        let (mut word, mut mask) = ([0; WORD], [0; WORD]);
        if bytes.len() <= WORD {
            word[at..at + bytes.len()].copy_from_slice(bytes);
            mask[at..at + bytes.len()].fill(0xff);
        }
        Self { word: u128::from_le_bytes(word), mask: u128::from_le_bytes(mask), bytes: bytes.into() }
    }

    /// Its bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    #[inline(always)]
    fn is(&self, text: &[u8; WORD]) -> bool {
        u128::from_le_bytes(*text) & self.mask == self.word
    }

    /// What follows the literal at the front of `text`.
    #[inline(always)]
    pub(super) fn after<'a>(&self, text: &'a [u8]) -> Option<&'a [u8]> {
        match text.first_chunk() {
            Some(front) if self.bytes.len() <= WORD => self.is(front).then(|| &text[self.bytes.len()..]),
            _ => bytes::after(text, &self.bytes),
        }
    }

    /// What precedes the literal at the end of `text`.
    #[inline(always)]
    pub(super) fn before<'a>(&self, text: &'a [u8]) -> Option<&'a [u8]> {
        match text.last_chunk() {
            Some(back) if self.bytes.len() <= WORD => {
                self.is(back).then(|| &text[..text.len() - self.bytes.len()])
            }
            _ => bytes::before(text, &self.bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_literal_is_compared_as_a_whole(literal in "[ab]{0,20}", text in "[ab]{0,40}", fits in 0..3) {
            let text = match fits {
                0 => format!("{literal}{text}"),
                1 => format!("{text}{literal}"),
                _ => text,
            };
            let (literal, text) = (literal.as_bytes(), text.as_bytes());
            prop_assert_eq!(Literal::forwards(literal).after(text), text.strip_prefix(literal));
            prop_assert_eq!(Literal::backwards(literal).before(text), text.strip_suffix(literal));
        }
    }
}
