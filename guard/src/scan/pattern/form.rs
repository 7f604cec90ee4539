//! One form of a pattern, and reading a message with it.

use crate::scan::address::{self, Bits};
use crate::scan::bytes;

/// One way to write a message: no options or alternatives any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::scan) struct Form {
    /// The literal a message begins with; empty if a field stands there.
    head: Box<[u8]>,
    /// Matched from the front, behind the head.
    front: Box<[Part]>,
    /// Whether free text stands between front and back, and whether it is the account.
    free: Option<Free>,
    /// Matched from the end, last part first.
    back: Box<[Part]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Free {
    Account,
    Text,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Literal(Box<[u8]>),
    Field(Field),
    Free(Free),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Address,
    Port,
    Number,
    Token,
}

/// What a form found in a message. Plain fields, filled in place: this is copied for every line that matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::scan) struct Found<'a> {
    /// The peer; every form of a loaded filter has one.
    pub(in crate::scan) address: Bits,
    /// The peer's port, 0 if the form has none.
    pub(in crate::scan) port: u16,
    /// The account, empty if the form has none.
    pub(in crate::scan) account: &'a [u8],
    /// Whether the form has an account.
    pub(in crate::scan) has_account: bool,
}

impl Form {
    /// A form of these parts, or why an attacker could steer it.
    pub(super) fn new(mut parts: Vec<Part>) -> Result<Self, String> {
        check_neighbours(&parts)?;
        if parts.iter().filter(|part| matches!(part, Part::Field(Field::Address))).count() > 1 {
            return Err("it has more than one `<address>`: which one is the peer?".into());
        }
        let is_free = |part: &Part| matches!(part, Part::Free(_));
        let first = parts.iter().position(is_free);
        if first != parts.iter().rposition(is_free) {
            return Err(
                "it has two free fields (`<account>`, `<text>`) in one form: an attacker's text in one \
                        could pass for what stands between them"
                    .into(),
            );
        }
        let mut back = parts.split_off(first.unwrap_or(parts.len()));
        let free = match back.first() {
            Some(Part::Free(free)) => Some(*free),
            _ => None,
        };
        if free.is_some() {
            back.remove(0);
            if parts.is_empty() {
                return Err("free text stands at its beginning: any message could be read as this one".into());
            }
        }
        if back.windows(2).any(is_glued_token) {
            return Err(
                "a `<token>` after free text has to stand behind a space, because it is read backwards"
                    .into(),
            );
        }
        back.reverse();
        let head = match parts.first_mut() {
            Some(Part::Literal(bytes)) => {
                let head = std::mem::take(bytes);
                parts.remove(0);
                head
            }
            _ => Box::default(),
        };
        Ok(Self { head, front: parts.into(), free, back: back.into() })
    }

    /// The literal that a message must begin with.
    pub(in crate::scan) fn head(&self) -> &[u8] {
        &self.head
    }

    /// Whether the form has an address.
    pub(in crate::scan) fn has_address(&self) -> bool {
        self.front.iter().chain(&self.back).any(|part| *part == Part::Field(Field::Address))
    }

    /// Its parts from the last to the first, the head among them.
    pub(super) fn backwards(&self) -> impl Iterator<Item = Part> {
        let free = self.free.map(Part::Free);
        let head = (!self.head.is_empty()).then(|| Part::Literal(self.head.clone()));
        self.back.iter().cloned().chain(free).chain(self.front.iter().rev().cloned()).chain(head)
    }

    /// The parts that decide where the address is, in the order in which they are matched, and whether that is from
    /// the end of the message.
    pub(super) fn path_to_address(&self) -> (bool, Vec<Part>) {
        let is_address = |part: &Part| *part == Part::Field(Field::Address);
        let path = |parts: &mut dyn Iterator<Item = Part>| {
            let mut path = Vec::new();
            for part in parts {
                path.push(part);
                if path.last().is_some_and(is_address) {
                    break;
                }
            }
            path
        };
        if self.back.iter().any(is_address) {
            return (true, path(&mut self.back.iter().cloned()));
        }
        let head = std::iter::once(Part::Literal(self.head.clone()));
        (false, path(&mut head.chain(self.front.iter().cloned())))
    }

    /// Reads a whole message, given what follows the head, and answers whether it is of this form. If it is not,
    /// what was found means nothing.
    #[inline(always)]
    pub(in crate::scan) fn read<'a>(&self, after_head: &'a [u8], found: &mut Found<'a>) -> bool {
        let mut rest = after_head;
        // The end differs more often than the front.
        for part in &self.back {
            match part.read_back(rest, found) {
                Some(left) => rest = left,
                None => return false,
            }
        }
        for part in &self.front {
            match part.read_front(rest, found) {
                Some(left) => rest = left,
                None => return false,
            }
        }
        match self.free {
            None => rest.is_empty(),
            Some(free) => {
                found.account = rest;
                found.has_account = free == Free::Account;
                true
            }
        }
    }

    /// How many bytes of a message fit from the front: how near a miss was.
    pub(in crate::scan) fn nearness(&self, message: &[u8]) -> usize {
        let common =
            |literal: &[u8], text: &[u8]| literal.iter().zip(text).take_while(|(a, b)| a == b).count();
        let Some(mut rest) = bytes::after(message, &self.head) else {
            return common(&self.head, message);
        };
        let mut found = Found::default();
        for part in &self.front {
            let Some(left) = part.read_front(rest, &mut found) else {
                let more = if let Part::Literal(literal) = part { common(literal, rest) } else { 0 };
                return message.len() - rest.len() + more;
            };
            rest = left;
        }
        message.len() - rest.len()
    }
}

impl Part {
    #[inline]
    fn read_front<'a>(&self, text: &'a [u8], found: &mut Found<'_>) -> Option<&'a [u8]> {
        match self {
            Self::Literal(literal) => bytes::after(text, literal),
            Self::Field(Field::Address) => {
                let (address, length) = address::at_front(text)?;
                found.address = address;
                Some(&text[length..])
            }
            Self::Field(Field::Token) => Some(&text[memchr::memchr(b' ', text).unwrap_or(text.len())..]),
            Self::Field(field) => {
                let end = text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
                let (value, rest) = text.split_at(end);
                field.number(value, found)?;
                Some(rest)
            }
            // Free text is between front and back, never in one of them.
            Self::Free(_) => None,
        }
    }

    #[inline]
    fn read_back<'a>(&self, text: &'a [u8], found: &mut Found<'_>) -> Option<&'a [u8]> {
        match self {
            Self::Literal(literal) => bytes::before(text, literal),
            Self::Field(Field::Address) => {
                let (address, length) = address::at_end(text)?;
                found.address = address;
                Some(&text[..text.len() - length])
            }
            Self::Field(Field::Token) => {
                Some(&text[..memchr::memrchr(b' ', text).map_or(0, |last| last + 1)])
            }
            Self::Field(field) => {
                let start = text.iter().rposition(|b| !b.is_ascii_digit()).map_or(0, |last| last + 1);
                let (rest, value) = text.split_at(start);
                field.number(value, found)?;
                Some(rest)
            }
            Self::Free(_) => None,
        }
    }
}

impl Field {
    /// Whether a byte can be part of the field.
    #[inline]
    pub(super) const fn takes(self, b: u8) -> bool {
        match self {
            Self::Address => address::is_address_byte(b),
            Self::Port | Self::Number => b.is_ascii_digit(),
            Self::Token => b != b' ',
        }
    }

    /// Takes the digits of a field of digits.
    #[inline]
    fn number(self, digits: &[u8], found: &mut Found<'_>) -> Option<()> {
        if self == Self::Port {
            found.port = port(digits)?;
        }
        (!digits.is_empty()).then_some(())
    }
}

#[inline]
fn port(text: &[u8]) -> Option<u16> {
    if text.is_empty() || text.len() > 5 {
        return None;
    }
    u16::try_from(text.iter().fold(0u32, |n, b| n * 10 + u32::from(b - b'0'))).ok()
}

/// A field ends where its kind of byte ends, so no byte of that kind may follow or precede it.
fn check_neighbours(parts: &[Part]) -> Result<(), String> {
    for pair in parts.windows(2) {
        let clash = match pair {
            [Part::Field(Field::Address), Part::Literal(next)] if next.starts_with(b": ") => false,
            [Part::Field(field), Part::Literal(next)] => next.first().is_some_and(|b| field.takes(*b)),
            [Part::Literal(before), Part::Field(field)] => before.last().is_some_and(|b| field.takes(*b)),
            [Part::Literal(_), _] | [_, Part::Literal(_)] => false,
            _ => true,
        };
        if clash && !is_front_token(pair) {
            return Err(
                "two fields meet, or a field meets a literal that could be part of it: put a byte between \
                        them that cannot be in the field"
                    .into(),
            );
        }
    }
    Ok(())
}

/// `key=<token>`: read from the front, where the token begins is settled by the literal before it.
fn is_front_token(pair: &[Part]) -> bool {
    matches!(pair, [Part::Literal(_), Part::Field(Field::Token)])
}

/// A token that is read backwards and has no space to stop at.
fn is_glued_token(pair: &[Part]) -> bool {
    is_front_token(pair) && matches!(&pair[0], Part::Literal(before) if before.last() != Some(&b' '))
}
