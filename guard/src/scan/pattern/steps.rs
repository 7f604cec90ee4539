//! The parts of a form as steps: a literal and what is read behind it. Most lines that matter take the same few steps,
//! so a step costs one comparison of a word and one jump.

use super::form::{Field, Found, Free, Part};
use crate::scan::literal::Literal;
use crate::simd;

/// Steps, in the order in which they are taken.
#[derive(Clone, Debug)]
pub(super) struct Steps(Box<[Step]>);

#[derive(Clone, Debug)]
struct Step {
    literal: Literal,
    then: Then,
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
            let literal = step.literal.bytes();
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
