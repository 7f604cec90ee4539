//! The pattern language: literal text with typed fields, matched so that an attacker cannot move a field.
//!
//! | written | matches |
//! |---|---|
//! | `<address>` | an IPv4 or IPv6 address: the peer |
//! | `<port>` | the peer's port, 0 to 65535 |
//! | `<account>` | free text: the account that was tried |
//! | `<text>` | free text |
//! | `<token>` | bytes other than space, perhaps none |
//! | `<number>` | decimal digits |
//! | `[…]` | what is inside, or nothing |
//! | `(a|b)` | one of these |
//! | `\x` | the byte `x` itself |
//!
//! Free text is what an attacker writes. A pattern may have one free field at most: what stands before it is matched
//! from the front of the message, what stands after it from the end, and the message must be used up. So there is
//! only one way to read a message, and text that imitates the rest of a line stays inside the free field. All other
//! fields end where their kind of byte ends, and the literal behind them must begin with another kind: this is
//! checked when the pattern is loaded. Matching is linear and allocates nothing.

use std::net::IpAddr;

use super::address;

/// Combinations of optional parts and alternatives one pattern may have.
const MAX_FORMS: usize = 256;
/// Bytes of a pattern's text.
const MAX_PATTERN: usize = 1024;

/// One way to write a message: no options or alternatives any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Form {
    /// Matched from the front.
    front: Vec<Part>,
    /// Whether free text stands between front and back, and whether it is the account.
    free: Option<Free>,
    /// Matched from the end, last part first.
    back: Vec<Part>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Free {
    Account,
    Text,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Box<[u8]>),
    Field(Field),
    Free(Free),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Address,
    Port,
    Number,
    Token,
}

/// What a form found in a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Found<'a> {
    pub(super) address: Option<IpAddr>,
    pub(super) port: u16,
    pub(super) account: Option<&'a [u8]>,
}

/// Every form of a pattern's text, or why it is refused.
pub(super) fn compile(text: &str) -> Result<Vec<Form>, String> {
    if text.len() > MAX_PATTERN {
        return Err(format!("it is longer than {MAX_PATTERN} bytes"));
    }
    let mut reader = Reader { text: text.as_bytes(), at: 0 };
    let sequences = reader.alternatives(0)?;
    if reader.at < text.len() {
        return Err(format!("`{}` has no beginning", text.as_bytes()[reader.at] as char));
    }
    sequences.into_iter().map(Form::new).collect()
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

type Sequences = Vec<Vec<Part>>;

impl Reader<'_> {
    /// `a|b|c` up to a closing bracket or the end.
    fn alternatives(&mut self, depth: usize) -> Result<Sequences, String> {
        if depth > 8 {
            return Err("brackets are nested more than 8 deep".into());
        }
        let mut all = self.sequence(depth)?;
        while depth > 0 && self.text.get(self.at) == Some(&b'|') {
            self.at += 1;
            all.extend(self.sequence(depth)?);
        }
        Ok(all)
    }

    fn sequence(&mut self, depth: usize) -> Result<Sequences, String> {
        let mut forms: Sequences = vec![Vec::new()];
        while let Some(&b) = self.text.get(self.at) {
            match b {
                b'|' if depth > 0 => break,
                b')' | b']' => break,
                b'(' | b'[' => {
                    self.at += 1;
                    let mut inner = self.alternatives(depth + 1)?;
                    let close = if b == b'(' { b')' } else { b']' };
                    if self.text.get(self.at) != Some(&close) {
                        return Err(format!("`{}` is not closed", b as char));
                    }
                    if b == b'[' {
                        inner.push(Vec::new());
                    }
                    self.at += 1;
                    forms = product(&forms, &inner)?;
                }
                b'<' => {
                    let part = self.field()?;
                    for form in &mut forms {
                        form.push(part.clone());
                    }
                }
                _ => {
                    if b == b'\\' {
                        self.at += 1;
                    }
                    let byte = *self.text.get(self.at).ok_or("`\\` stands at the end")?;
                    self.at += 1;
                    for form in &mut forms {
                        push_literal(form, &[byte]);
                    }
                }
            }
        }
        Ok(forms)
    }

    fn field(&mut self) -> Result<Part, String> {
        let rest = &self.text[self.at..];
        let end = rest
            .iter()
            .position(|b| *b == b'>')
            .ok_or("`<` is not closed; a literal one is written `\\<`")?;
        let name = std::str::from_utf8(&rest[1..end]).unwrap_or_default();
        self.at += end + 1;
        Ok(match name {
            "address" => Part::Field(Field::Address),
            "port" => Part::Field(Field::Port),
            "number" => Part::Field(Field::Number),
            "token" => Part::Field(Field::Token),
            "account" => Part::Free(Free::Account),
            "text" => Part::Free(Free::Text),
            _ => {
                return Err(format!(
                    "`<{name}>` is not a field; there are address, port, account, text, token and number"
                ));
            }
        })
    }
}

fn product(left: &Sequences, right: &Sequences) -> Result<Sequences, String> {
    if left.len() * right.len() > MAX_FORMS {
        return Err(format!("its options and alternatives make more than {MAX_FORMS} combinations"));
    }
    let mut all = Vec::with_capacity(left.len() * right.len());
    for head in left {
        for tail in right {
            let mut form = head.clone();
            for part in tail {
                match part {
                    Part::Literal(bytes) => push_literal(&mut form, bytes),
                    part => form.push(part.clone()),
                }
            }
            all.push(form);
        }
    }
    Ok(all)
}

fn push_literal(form: &mut Vec<Part>, bytes: &[u8]) {
    if let Some(Part::Literal(last)) = form.last_mut() {
        *last = [last, bytes].concat().into();
    } else {
        form.push(Part::Literal(bytes.into()));
    }
}

impl Form {
    fn new(parts: Vec<Part>) -> Result<Self, String> {
        check_neighbours(&parts)?;
        let addresses = parts.iter().filter(|part| matches!(part, Part::Field(Field::Address))).count();
        if addresses > 1 {
            return Err("it has more than one `<address>`: which one is the peer?".into());
        }
        let mut free = parts.iter().enumerate().filter_map(|(index, part)| match part {
            Part::Free(free) => Some((index, *free)),
            _ => None,
        });
        let first = free.next();
        if free.next().is_some() {
            return Err(
                "it has two free fields (`<account>`, `<text>`) in one form: an attacker's text in one \
                        could pass for what stands between them"
                    .into(),
            );
        }
        let Some((index, free)) = first else {
            return Ok(Self { front: parts, free: None, back: Vec::new() });
        };
        let mut front = parts;
        let mut back = front.split_off(index);
        back.remove(0);
        let glued = back.windows(2).any(|pair| {
            is_front_token(pair) && matches!(&pair[0], Part::Literal(before) if before.last() != Some(&b' '))
        });
        if glued {
            return Err(
                "a `<token>` after free text has to stand behind a space, because it is read backwards"
                    .into(),
            );
        }
        back.reverse();
        if front.is_empty() {
            return Err("free text stands at its beginning: any message could be read as this one".into());
        }
        Ok(Self { front, free: Some(free), back })
    }

    /// The literal that a message must begin with.
    pub(super) fn head(&self) -> &[u8] {
        match self.front.first() {
            Some(Part::Literal(bytes)) => bytes,
            _ => &[],
        }
    }

    /// Whether the form has an address.
    pub(super) fn has_address(&self) -> bool {
        self.front.iter().chain(&self.back).any(|part| *part == Part::Field(Field::Address))
    }

    /// Reads a whole message; `None` if it is not of this form.
    #[inline]
    pub(super) fn read<'a>(&self, message: &'a [u8]) -> Option<Found<'a>> {
        let mut found = Found::default();
        let mut rest = message;
        for part in &self.front {
            rest = part.read_front(rest, &mut found)?;
        }
        let Some(free) = self.free else {
            return rest.is_empty().then_some(found);
        };
        for part in &self.back {
            rest = part.read_back(rest, &mut found)?;
        }
        if free == Free::Account {
            found.account = Some(rest);
        }
        Some(found)
    }

    /// How many bytes of a message fit from the front: how near a miss was.
    pub(super) fn nearness(&self, message: &[u8]) -> usize {
        let mut found = Found::default();
        let mut rest = message;
        for part in &self.front {
            if let Some(left) = part.read_front(rest, &mut found) {
                rest = left;
            } else {
                let common = match part {
                    Part::Literal(bytes) => bytes.iter().zip(rest).take_while(|(a, b)| a == b).count(),
                    _ => 0,
                };
                return message.len() - rest.len() + common;
            }
        }
        message.len() - rest.len()
    }
}

impl Part {
    #[inline]
    fn read_front<'a>(&self, text: &'a [u8], found: &mut Found<'_>) -> Option<&'a [u8]> {
        match self {
            Self::Literal(bytes) => text.strip_prefix(&**bytes),
            Self::Field(field) => {
                let mut end = text.iter().position(|b| !field.takes(*b)).unwrap_or(text.len());
                if *field == Field::Address && end > 1 && text[end - 1] == b':' && text[end - 2] != b':' {
                    // `1.2.3.4: text`, as old servers write it: no address ends in a single colon.
                    end -= 1;
                }
                let (value, rest) = text.split_at(end);
                field.value(value, found)?;
                Some(rest)
            }
            // Free text is between front and back, never in one of them.
            Self::Free(_) => None,
        }
    }

    #[inline]
    fn read_back<'a>(&self, text: &'a [u8], found: &mut Found<'_>) -> Option<&'a [u8]> {
        match self {
            Self::Literal(bytes) => text.strip_suffix(&**bytes),
            Self::Field(field) => {
                let start = text.iter().rposition(|b| !field.takes(*b)).map_or(0, |last| last + 1);
                let (rest, value) = text.split_at(start);
                field.value(value, found)?;
                Some(rest)
            }
            Self::Free(_) => None,
        }
    }
}

impl Field {
    /// Whether a byte can be part of the field.
    #[inline]
    const fn takes(self, b: u8) -> bool {
        match self {
            Self::Address => address::is_address_byte(b),
            Self::Port | Self::Number => b.is_ascii_digit(),
            Self::Token => b != b' ',
        }
    }

    #[inline]
    fn value(self, text: &[u8], found: &mut Found<'_>) -> Option<()> {
        match self {
            Self::Address => found.address = Some(address::parse(text)?),
            Self::Port => found.port = port(text)?,
            Self::Number if text.is_empty() => return None,
            Self::Number | Self::Token => {}
        }
        Some(())
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'a>(pattern: &str, message: &'a str) -> Option<(String, u16, Option<&'a str>)> {
        let forms = compile(pattern).unwrap();
        let found = forms.iter().find_map(|form| form.read(message.as_bytes()))?;
        let account = found.account.map(|account| std::str::from_utf8(account).unwrap());
        Some((found.address.map_or_else(String::new, |a| a.to_string()), found.port, account))
    }

    #[test]
    fn free_text_cannot_move_a_field() {
        let pattern = "Failed password for <account> from <address> port <port>[ ssh2]";
        for (message, address, port, account) in [
            ("Failed password for root from 1.2.3.4 port 22 ssh2", "1.2.3.4", 22, "root"),
            (
                "Failed password for x from 9.9.9.9 port 55 ssh2 from 1.2.3.4 port 22 ssh2",
                "1.2.3.4",
                22,
                "x from 9.9.9.9 port 55 ssh2",
            ),
            ("Failed password for  from ::1 port 0", "::1", 0, ""),
        ] {
            assert_eq!(read(pattern, message), Some((address.into(), port, Some(account))), "{message}");
        }
        for message in [
            "Failed password for root from 1.2.3.4 port 22 ssh2 ",
            "Failed password for root from 1.2.3.4 port 22 ssh2 x",
            "Failed password for root from host.example port 22 ssh2",
            "Failed password for root from 1.2.3.4 port 99999 ssh2",
            "xFailed password for root from 1.2.3.4 port 22 ssh2",
        ] {
            assert_eq!(read(pattern, message), None, "{message}");
        }
    }

    #[test]
    fn what_an_attacker_could_steer_is_refused() {
        for (pattern, reason) in [
            ("<account> from <address>", "beginning"),
            ("x <account> from <address> because <text>", "two free fields"),
            ("from <address><port>", "two fields meet"),
            ("from <address>:<port>", "two fields meet"),
            ("from <address> to <address>", "more than one"),
            ("from <peer>", "not a field"),
            ("from [<address>", "not closed"),
            ("from <address>]", "no beginning"),
            ("[a][b][c][d][e][f][g][h][i]", "combinations"),
        ] {
            let error = compile(pattern).unwrap_err();
            assert!(error.contains(reason), "{pattern}: {error}");
        }
    }

    #[test]
    fn options_and_alternatives() {
        let pattern = "(a|b[c]) <address>[ \\[preauth\\]]";
        for message in ["a ::1", "b ::1", "bc ::1 [preauth]"] {
            assert!(read(pattern, message).is_some(), "{message}");
        }
        assert!(read(pattern, "ac ::1").is_none());
    }
}
