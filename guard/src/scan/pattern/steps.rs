//! The parts of a form as steps: a literal and what is read behind it. Most lines that matter take the same few steps,
//! so a step costs one comparison of a word and one jump.

use super::form::{Field, Found, Free, Part};
use crate::scan::{bytes, simd};

/// Bytes of a literal that are compared at once.
const WORD: usize = 16;

/// Steps, in the order in which they are taken.
#[derive(Clone, Debug)]
pub(super) struct Steps(Box<[Step]>);

#[derive(Clone, Debug)]
struct Step {
    literal: Literal,
    then: Then,
}

/// A literal and, if it fits in a word, that word.
#[derive(Clone, Debug)]
struct Literal {
    /// Zeros where `mask` has them.
    word: u128,
    /// Ones for the bytes of the literal, as they stand in the text: from the front or up to the end.
    mask: u128,
    bytes: Box<[u8]>,
}

/// What the beginning of a text says about steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beginning<'a> {
    /// No text that begins like this takes them.
    No,
    /// What follows decides.
    Open,
    /// They have been taken; this is left.
    Whole(&'a [u8]),
}

/// What stands behind a literal.
#[derive(Clone, Copy, Debug)]
enum Then {
    /// Nothing: a literal or the end follows.
    Nothing,
    Field(Field),
    /// Text up to a space.
    Token(Free),
    /// Text up to another byte it cannot hold.
    Free(Free),
}

impl Steps {
    /// The steps over parts that are read from the front.
    pub(super) fn forwards(parts: &[Part]) -> Self {
        Self::new(parts, Literal::forwards)
    }

    /// The steps over parts, last part first, that are read from the end.
    pub(super) fn backwards(parts: &[Part]) -> Self {
        Self::new(parts, Literal::backwards)
    }

    fn new(parts: &[Part], literal: impl Fn(&[u8]) -> Literal) -> Self {
        let mut steps: Vec<Step> = Vec::with_capacity(parts.len());
        for part in parts {
            let then = match part {
                Part::Literal(bytes) => {
                    steps.push(Step { literal: literal(bytes), then: Then::Nothing });
                    continue;
                }
                Part::Field(field) => Then::Field(*field),
                Part::Free(free) if free.is_token() => Then::Token(*free),
                Part::Free(free) => Then::Free(*free),
            };
            match steps.last_mut() {
                Some(last) if matches!(last.then, Then::Nothing) => last.then = then,
                _ => steps.push(Step { literal: literal(b""), then }),
            }
        }
        Self(steps.into())
    }

    /// Takes the steps from the front of `text` and answers what is left.
    #[inline(always)]
    pub(super) fn read_front<'a>(&self, mut text: &'a [u8], found: &mut Found<'a>) -> Option<&'a [u8]> {
        for step in &self.0 {
            text = step.literal.after(text)?;
            text = match step.then {
                Then::Nothing => text,
                Then::Field(field) => field.read_front(text, found)?,
                Then::Token(free) => free.read_front(text, simd::find(text, b' '), found),
                Then::Free(free) => free.read_front(text, free.except.first_in(text), found),
            };
        }
        Some(text)
    }

    /// Takes the steps from the front of a text of which only the beginning is known.
    pub(super) fn may_begin<'a>(&self, mut text: &'a [u8]) -> Beginning<'a> {
        for step in &self.0 {
            let literal = &*step.literal.bytes;
            if text.len() < literal.len() {
                return if literal.starts_with(text) { Beginning::Open } else { Beginning::No };
            }
            let Some(behind) = text.strip_prefix(literal) else { return Beginning::No };
            let end = match step.then {
                Then::Nothing => Some(0),
                Then::Field(field) => behind.iter().position(|b| !field.takes(*b)),
                Then::Token(free) | Then::Free(free) => free.except.first_in(behind),
            };
            match (step.then, end) {
                (_, None) => return Beginning::Open,
                (Then::Field(_), Some(0)) => return Beginning::No,
                // Where an address ends is not always where its kind of byte does.
                (Then::Field(field), _) if field.is_address() => return Beginning::Open,
                (_, Some(end)) => text = &behind[end..],
            }
        }
        Beginning::Whole(text)
    }

    /// Takes the steps from the end of `text` and answers what is left.
    #[inline(always)]
    pub(super) fn read_back<'a>(&self, mut text: &'a [u8], found: &mut Found<'a>) -> Option<&'a [u8]> {
        for step in &self.0 {
            text = step.literal.before(text)?;
            text = match step.then {
                Then::Nothing => text,
                Then::Field(field) => field.read_back(text, found)?,
                Then::Token(free) | Then::Free(free) => free.read_back(text, found),
            };
        }
        Some(text)
    }
}

impl Literal {
    fn forwards(bytes: &[u8]) -> Self {
        Self::new(bytes, 0)
    }

    fn backwards(bytes: &[u8]) -> Self {
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

    #[inline(always)]
    fn is(&self, text: &[u8; WORD]) -> bool {
        u128::from_le_bytes(*text) & self.mask == self.word
    }

    /// What follows the literal at the front of `text`.
    #[inline(always)]
    fn after<'a>(&self, text: &'a [u8]) -> Option<&'a [u8]> {
        match text.first_chunk() {
            Some(front) if self.bytes.len() <= WORD => self.is(front).then(|| &text[self.bytes.len()..]),
            _ => bytes::after(text, &self.bytes),
        }
    }

    /// What precedes the literal at the end of `text`.
    #[inline(always)]
    fn before<'a>(&self, text: &'a [u8]) -> Option<&'a [u8]> {
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
