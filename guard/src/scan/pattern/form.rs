//! One form of a pattern: its parts, and from which side each is matched.
//!
//! What stands before the first gap is matched from the front, what stands after the last one from the end. Between
//! two gaps stands a piece that is searched for, from the left. The search decides nothing about the address: that
//! all readings of a message agree on it has been shown by `ambiguity` when the form was loaded.

use std::sync::Arc;

use super::byte_set::ByteSet;
use super::ending::Ending;
use crate::scan::address::{self, Bits};
use crate::{bytes, simd};

/// One way to write a message: no options or alternatives any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::scan) struct Form {
    /// Matched from the front.
    pub(super) front: Vec<Part>,
    /// What stands behind the front.
    pub(super) end: End,
}

/// What stands behind the front of a form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct End {
    /// Matched between the first gap and the last.
    pub(super) pieces: Vec<Piece>,
    /// The last gap. Without one, the front is the whole form.
    pub(super) gap: Option<Free>,
    /// Matched from the end, last part first.
    pub(super) back: Vec<Part>,
}

/// A gap, and what stands behind it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Piece {
    pub(super) gap: Free,
    pub(super) literal: Arc<[u8]>,
    pub(super) rest: Vec<Part>,
}

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Part {
    Literal(Arc<[u8]>),
    Field(Field),
    /// Text of any length. It ends where a byte stands that it cannot hold, or it is a gap.
    Free(Free),
}

/// Text of any length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Free {
    /// Whether it is the account.
    pub(super) account: bool,
    /// Bytes it cannot hold.
    pub(super) except: ByteSet,
}

/// What ends where its kind of byte ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Field {
    Address,
    /// An IPv4 address only.
    V4,
    /// An IPv6 address only.
    V6,
    /// An address, a colon and a port: the last colon separates.
    Peer,
    Port,
    Number,
}

/// Where a form is matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::scan) enum Place {
    /// A message: whatever the program wrote.
    Message,
    /// A field of a record, whose bounds are settled.
    Field,
}

/// What a form found in a message. Plain fields, filled in place: this is copied for every line that matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::scan) struct Found<'a> {
    /// The peer.
    pub(in crate::scan) address: Bits,
    /// The peer's port, 0 if the form has none.
    pub(in crate::scan) port: u16,
    /// The account, empty if the form has none.
    pub(in crate::scan) account: &'a [u8],
    /// Whether the form has an account.
    pub(in crate::scan) has_account: bool,
}

impl Form {
    /// A form of these parts, or why it cannot be read in one way only.
    pub(super) fn new(parts: Vec<Part>, place: Place) -> Result<Self, String> {
        let mut parts = join_peers(parts);
        check_neighbours(&parts)?;
        at_most_one(&parts, "<address>", "which one is the peer?", Part::is_address)?;
        at_most_one(&parts, "<account>", "which one was tried?", |part| {
            matches!(part, Part::Free(Free { account: true, .. }))
        })?;
        let first = (0..parts.len()).find(|at| is_gap_forwards(&parts, *at));
        let is_any = |part: &Part| matches!(part, Part::Free(free) if free.except.is_empty());
        if first == Some(0) && is_any(&parts[0]) && place == Place::Message {
            return Err("free text stands at its beginning: any message could be read as this one".into());
        }
        let last = first.and_then(|_| (0..parts.len()).rfind(|at| is_gap_backwards(&parts, *at)));
        // A gap from one side only: the other side settles it.
        let (first, last) = match (first, last) {
            (Some(first), Some(last)) if first <= last => (first, last),
            (Some(first), _) => (first, first),
            (None, _) => (parts.len(), parts.len()),
        };
        check_before(&parts[(last + 1).min(parts.len())..])?;
        let back: Vec<Part> = parts.drain((last + 1).min(parts.len())..).rev().collect();
        let middle = parts.split_off(first);
        let (pieces, gap) = pieces(middle)?;
        Ok(Self { front: parts, end: End { pieces, gap, back } })
    }

    /// The literal that a message must begin with; empty if a field stands there.
    pub(in crate::scan) fn head(&self) -> &[u8] {
        match self.front.first() {
            Some(Part::Literal(head)) => head,
            _ => &[],
        }
    }

    /// Whether it begins with a gap.
    pub(in crate::scan) fn is_frontless(&self) -> bool {
        self.front.is_empty()
    }

    /// What stands behind its front.
    pub(in crate::scan) fn ending(&self) -> Ending {
        Ending::new(&self.end)
    }

    /// The longest literal behind the first gap, which a message must hold.
    pub(in crate::scan) fn needle(&self) -> &[u8] {
        let pieces = self.end.pieces.iter().map(|piece| &*piece.literal);
        let back = self.end.back.iter().filter_map(|part| match part {
            Part::Literal(bytes) => Some(&**bytes),
            _ => None,
        });
        pieces.chain(back).max_by_key(|literal| literal.len()).unwrap_or_default()
    }

    /// Whether the form has an address.
    pub(in crate::scan) fn has_address(&self) -> bool {
        let pieces = self.end.pieces.iter().flat_map(|piece| &piece.rest);
        self.front.iter().chain(&self.end.back).chain(pieces).any(Part::is_address)
    }

    /// Whether the address stands between two gaps, where only a search finds it.
    pub(super) fn is_searched(&self) -> bool {
        self.end.pieces.iter().any(|piece| piece.rest.iter().any(Part::is_address))
    }

    /// Its parts from the last to the first, and whether each is a gap.
    pub(super) fn backwards(&self) -> Vec<(Part, bool)> {
        let plain = |part: &Part| (part.clone(), false);
        let mut all: Vec<_> = self.end.back.iter().map(plain).collect();
        all.extend(self.end.gap.map(|gap| (Part::Free(gap), true)));
        for piece in self.end.pieces.iter().rev() {
            all.extend(piece.rest.iter().rev().map(plain));
            all.push((Part::Literal(Arc::clone(&piece.literal)), false));
            all.push((Part::Free(piece.gap), true));
        }
        all.extend(self.front.iter().rev().map(plain));
        all
    }

    /// The parts that decide where the address is, in the order in which they are matched, and whether that is from
    /// the end of the message. `None` if it is searched for.
    pub(super) fn path_to_address(&self) -> Option<(bool, Vec<Part>)> {
        let path = |parts: &mut dyn Iterator<Item = &Part>| {
            let mut path = Vec::new();
            for part in parts {
                path.push(part.clone());
                if part.is_address() {
                    break;
                }
            }
            path
        };
        if self.is_searched() {
            return None;
        }
        if self.end.back.iter().any(Part::is_address) {
            return Some((true, path(&mut self.end.back.iter())));
        }
        Some((false, path(&mut self.front.iter())))
    }

    /// Reads a whole text, one part after the other.
    #[cfg(any(test, feature = "fuzz"))]
    pub(in crate::scan) fn read<'a>(&self, text: &'a [u8], found: &mut Found<'a>) -> bool {
        let rest = self.front.iter().try_fold(text, |rest, part| part.read_front(rest, found));
        rest.is_some_and(|rest| self.ending().read(rest, found))
    }

    /// How many bytes of a message fit from the front: how near a miss was.
    pub(in crate::scan) fn nearness(&self, message: &[u8]) -> usize {
        let common =
            |literal: &[u8], text: &[u8]| literal.iter().zip(text).take_while(|(a, b)| a == b).count();
        let (mut rest, mut found) = (message, Found::default());
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

impl Free {
    /// Whether it ends at a space and nowhere else.
    pub(super) fn is_token(self) -> bool {
        self.except == ByteSet::SPACE
    }

    /// Takes the text up to a byte it cannot hold, of which the first is at `end`, and answers what follows.
    #[inline(always)]
    pub(super) fn read_front<'a>(
        self,
        text: &'a [u8],
        end: Option<usize>,
        found: &mut Found<'a>,
    ) -> &'a [u8] {
        let (value, rest) = text.split_at(end.unwrap_or(text.len()));
        self.keep(value, found);
        rest
    }

    /// Takes the text behind the last byte it cannot hold, and answers what precedes.
    #[inline(always)]
    pub(super) fn read_back<'a>(self, text: &'a [u8], found: &mut Found<'a>) -> &'a [u8] {
        let (rest, value) = text.split_at(self.except.last_in(text).map_or(0, |last| last + 1));
        self.keep(value, found);
        rest
    }

    #[inline(always)]
    pub(super) fn keep<'a>(self, text: &'a [u8], found: &mut Found<'a>) {
        if self.account {
            found.account = text;
            found.has_account = true;
        }
    }
}

impl Part {
    pub(super) fn is_address(&self) -> bool {
        matches!(self, Self::Field(field) if field.is_address())
    }

    pub(super) fn read_front<'a>(&self, text: &'a [u8], found: &mut Found<'a>) -> Option<&'a [u8]> {
        match self {
            Self::Literal(literal) => bytes::after(text, literal),
            Self::Field(field) => field.read_front(text, found),
            Self::Free(free) => Some(free.read_front(text, free.except.first_in(text), found)),
        }
    }
}

impl Field {
    /// Whether it is the peer's address.
    pub(super) const fn is_address(self) -> bool {
        matches!(self, Self::Address | Self::V4 | Self::V6 | Self::Peer)
    }

    /// Whether a byte can be part of the field.
    #[inline]
    pub(super) const fn takes(self, b: u8) -> bool {
        match self {
            Self::Address | Self::V6 | Self::Peer => address::is_address_byte(b),
            Self::V4 => b.is_ascii_digit() || b == b'.',
            Self::Port | Self::Number => b.is_ascii_digit(),
        }
    }

    /// Reads the field at the front of a text, and answers what follows it.
    #[inline(always)]
    pub(super) fn read_front<'a>(self, text: &'a [u8], found: &mut Found<'a>) -> Option<&'a [u8]> {
        let (address, length) = match self {
            Self::Address => address::at_front(text)?,
            Self::V4 => address::v4_at_front(text)?,
            Self::V6 => address::v6_at_front(text)?,
            Self::Peer => {
                let (address, port, length) = address::with_port_at_front(text)?;
                found.port = port;
                (address, length)
            }
            Self::Port | Self::Number => {
                let (digits, rest) = text.split_at(simd::digits_at_front(text));
                self.number(digits, found)?;
                return Some(rest);
            }
        };
        found.address = address;
        Some(&text[length..])
    }

    /// Reads the field at the end of a text, and answers what precedes it.
    #[inline(always)]
    pub(super) fn read_back<'a>(self, text: &'a [u8], found: &mut Found<'a>) -> Option<&'a [u8]> {
        let (address, length) = match self {
            Self::Address => address::at_end(text)?,
            Self::V4 => address::v4_at_end(text)?,
            Self::V6 => address::v6_at_end(text)?,
            Self::Peer => {
                let (address, port, length) = address::with_port_at_end(text)?;
                found.port = port;
                (address, length)
            }
            Self::Port | Self::Number => {
                let (rest, digits) = text.split_at(text.len() - simd::digits_at_end(text));
                self.number(digits, found)?;
                return Some(rest);
            }
        };
        found.address = address;
        Some(&text[..text.len() - length])
    }

    /// Takes the digits of a field of digits.
    #[inline(always)]
    fn number(self, digits: &[u8], found: &mut Found<'_>) -> Option<()> {
        if self == Self::Port {
            found.port = address::port(digits)?;
        }
        (!digits.is_empty()).then_some(())
    }
}

/// Whether a part is free text whose end cannot be seen when it is read from the front: it needs a byte it cannot
/// hold right behind it, or the end of the message.
fn is_gap_forwards(parts: &[Part], at: usize) -> bool {
    let Part::Free(free) = parts[at] else { return false };
    match parts.get(at + 1) {
        None => free.except.is_empty(),
        Some(Part::Literal(next)) => !next.first().is_some_and(|b| free.except.has(*b)),
        Some(_) => true,
    }
}

/// Whether a part is free text whose beginning cannot be seen when it is read from the end.
fn is_gap_backwards(parts: &[Part], at: usize) -> bool {
    let Part::Free(free) = parts[at] else { return false };
    match at.checked_sub(1).map(|before| &parts[before]) {
        Some(Part::Literal(before)) => !before.last().is_some_and(|b| free.except.has(*b)),
        _ => true,
    }
}

/// From the first gap to the last: the pieces between them, and the last gap.
fn pieces(middle: Vec<Part>) -> Result<(Vec<Piece>, Option<Free>), String> {
    let mut pieces = Vec::new();
    let mut gap = None;
    let mut parts = middle.into_iter().peekable();
    while let Some(part) = parts.next() {
        let Part::Free(free) = part else { return Err(NO_LITERAL.into()) };
        if parts.peek().is_none() {
            gap = Some(free);
            break;
        }
        let Some(Part::Literal(literal)) = parts.next() else { return Err(NO_LITERAL.into()) };
        let mut rest = Vec::new();
        while let Some(part) = parts.next_if(|part| !matches!(part, Part::Free(_))) {
            rest.push(part);
        }
        pieces.push(Piece { gap: free, literal, rest });
    }
    Ok((pieces, gap))
}

const NO_LITERAL: &str = "between two free fields a literal has to stand behind the first";

/// `<address>:<port>` is one field: which colon separates the two is settled by there being a port.
fn join_peers(parts: Vec<Part>) -> Vec<Part> {
    let mut joined: Vec<Part> = Vec::with_capacity(parts.len());
    for part in parts {
        if let (Part::Field(Field::Port), [.., Part::Field(Field::Address), Part::Literal(colon)]) =
            (&part, &joined[..])
            && **colon == *b":"
        {
            joined.truncate(joined.len() - 2);
            joined.push(Part::Field(Field::Peer));
        } else {
            joined.push(part);
        }
    }
    joined
}

/// A field ends where its kind of byte ends, so no byte of that kind may follow it.
fn check_neighbours(parts: &[Part]) -> Result<(), String> {
    for (at, pair) in parts.windows(2).enumerate() {
        let is_last = at + 2 == parts.len();
        let meets = match pair {
            [part, Part::Literal(next)] if part.is_address() && is_punctuation(next, is_last) => false,
            [Part::Field(field), Part::Literal(next)] => next.first().is_some_and(|b| field.takes(*b)),
            [Part::Literal(_), _] | [_, Part::Literal(_)] => false,
            _ => true,
        };
        if meets {
            return Err(
                "two fields meet, or a field meets a literal that could be part of it: put a byte between \
                        them that cannot be in the field"
                    .into(),
            );
        }
    }
    Ok(())
}

/// Read from the end, a field begins where its kind of byte does, so no byte of that kind may stand before it.
fn check_before(back: &[Part]) -> Result<(), String> {
    for pair in back.windows(2) {
        if let [Part::Literal(before), Part::Field(field)] = pair
            && before.last().is_some_and(|b| field.takes(*b))
        {
            return Err("behind free text, a literal that could be part of a field stands before it: it is read from \
                        the end and could not be told apart"
                .into());
        }
    }
    Ok(())
}

/// A colon or a full stop behind an address: it ends in neither. At the end of a message nothing follows a full stop.
fn is_punctuation(literal: &[u8], is_last: bool) -> bool {
    matches!(literal, [b':' | b'.', b' ', ..]) || is_last && literal == b"."
}

fn at_most_one(parts: &[Part], what: &str, why: &str, is: impl Fn(&Part) -> bool) -> Result<(), String> {
    if parts.iter().filter(|part| is(part)).count() > 1 {
        return Err(format!("it has more than one `{what}`: {why}"));
    }
    Ok(())
}
