//! The pattern language: literal text with typed fields, matched so that an attacker cannot move a field.
//!
//! | written | matches |
//! |---|---|
//! | `<address>` | an IPv4 or IPv6 address: the peer |
//! | `<address>:<port>` | an address and a port; the last colon separates them |
//! | `<v4>`, `<v6>` | an address of this family only |
//! | `<peer>` | an address, perhaps with a port: `(<v4>[:<port>]\|<v6>\|\\[<v6>\\][:<port>])` |
//! | `<port>` | the peer's port, 0 to 65535 |
//! | `<account>` | free text: the account that was tried |
//! | `<text>` | free text |
//! | `<account^:>`, `<text^",\>>` | the same without the bytes after `^` |
//! | `<token>` | bytes other than space, perhaps none: `<text^ >` |
//! | `<number>` | decimal digits |
//! | `[…]` | what is inside, or nothing |
//! | `(a|b)` | one of these |
//! | `\x` | the byte `x` itself |
//!
//! Free text is what an attacker writes. What stands before the first free text is matched from the front of the
//! message, what stands after the last one from the end, what stands between two is searched for, and the message must
//! be used up. A pattern is refused when it is loaded unless all ways to read a message, whatever the free text
//! holds, agree on the address. With one free field that is always so; with two, the bytes that the server's protocol
//! keeps out of them must make it so (`user "<account^:>" …, client: <address>, <text>`: no colon stands before the
//! one of `client:`). All other fields end where their kind of byte ends, and the literal behind them must begin with
//! another kind. Matching is linear and allocates nothing.

mod ambiguity;
mod byte_set;
mod ending;
mod form;
mod fronts;
mod steps;

pub(super) use ambiguity::clash;
pub(super) use ending::Ending;
pub(super) use form::{Form, Found, Place};
pub(super) use fronts::Fronts;

use byte_set::ByteSet;
use form::{Field, Free, Part};

/// Combinations of optional parts and alternatives one pattern may have.
const MAX_FORMS: usize = 1024;
/// What is written for a peer, and what it stands for: as most programs write addresses with a port, and without.
const PEER: (&[u8], &[u8]) = (b"<peer>", br"(<v4>[:<port>]|<v6>|\[<v6>\][:<port>])");
/// Bytes of a pattern's text.
const MAX_PATTERN: usize = 1024;

/// Every form of a pattern's text, or why it is refused.
pub(super) fn compile(text: &str, place: Place) -> Result<Vec<Form>, String> {
    if text.len() > MAX_PATTERN {
        return Err(format!("it is longer than {MAX_PATTERN} bytes"));
    }
    let mut reader = Reader { text: text.as_bytes(), at: 0 };
    let sequences = reader.alternatives(0)?;
    if reader.at < text.len() {
        return Err(format!("`{}` has no beginning", text.as_bytes()[reader.at] as char));
    }
    sequences.into_iter().map(|parts| Form::new(parts, place)).collect()
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
                b'<' if self.text[self.at..].starts_with(PEER.0) => {
                    self.at += PEER.0.len();
                    let inner = Reader { text: PEER.1, at: 0 }.sequence(depth)?;
                    forms = product(&forms, &inner)?;
                }
                _ => {
                    let part = if b == b'<' { self.field()? } else { self.literal(depth)? };
                    for form in &mut forms {
                        push(form, &part);
                    }
                }
            }
        }
        Ok(forms)
    }

    /// Literal text up to a field, an option or an alternative.
    fn literal(&mut self, depth: usize) -> Result<Part, String> {
        let mut literal = Vec::new();
        while let Some(&b) = self.text.get(self.at) {
            match b {
                b'(' | b'[' | b')' | b']' | b'<' => break,
                b'|' if depth > 0 => break,
                b'\\' => self.at += 1,
                _ => {}
            }
            literal.push(*self.text.get(self.at).ok_or("`\\` stands at the end")?);
            self.at += 1;
        }
        Ok(Part::Literal(literal.into()))
    }

    fn field(&mut self) -> Result<Part, String> {
        let rest = &self.text[self.at + 1..];
        let mut inner = Vec::new();
        let mut at = 0;
        loop {
            match rest.get(at..).unwrap_or_default() {
                [b'>', ..] => break,
                [b'\\', escaped, ..] => {
                    inner.push(*escaped);
                    at += 2;
                }
                [plain, ..] => {
                    inner.push(*plain);
                    at += 1;
                }
                [] => return Err("`<` is not closed; a literal one is written `\\<`".into()),
            }
        }
        self.at += at + 2;
        let (name, except) = match memchr::memchr(b'^', &inner) {
            Some(caret) => (&inner[..caret], ByteSet::of(&inner[caret + 1..])),
            None => (&inner[..], ByteSet::default()),
        };
        let free = |account, except| Part::Free(Free { account, except });
        Ok(match name {
            b"account" => free(true, except),
            b"text" => free(false, except),
            _ if !except.is_empty() => {
                return Err("only `<account>` and `<text>` can go without bytes (`^`)".into());
            }
            b"address" => Part::Field(Field::Address),
            b"v4" => Part::Field(Field::V4),
            b"v6" => Part::Field(Field::V6),
            b"port" => Part::Field(Field::Port),
            b"number" => Part::Field(Field::Number),
            b"token" => free(false, ByteSet::SPACE),
            _ => {
                return Err(format!(
                    "`<{}>` is not a field; there are address, v4, v6, peer, port, account, text, token and number",
                    String::from_utf8_lossy(name)
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
            let mut form = Vec::with_capacity(head.len() + tail.len());
            form.extend_from_slice(head);
            for part in tail {
                push(&mut form, part);
            }
            all.push(form);
        }
    }
    Ok(all)
}

/// Adds a part; literals that meet become one.
fn push(form: &mut Vec<Part>, part: &Part) {
    match (form.last_mut(), part) {
        (Some(Part::Literal(last)), Part::Literal(more)) => *last = [&**last, more].concat().into(),
        _ => form.push(part.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'a>(pattern: &str, message: &'a str) -> Option<(String, u16, Option<&'a str>)> {
        let forms = compile(pattern, Place::Message).unwrap();
        let found = forms.iter().find_map(|form| {
            let mut found = Found::default();
            form.read(message.as_bytes(), &mut found).then_some(found)
        })?;
        let account = found.has_account.then(|| std::str::from_utf8(found.account).unwrap());
        Some((found.address.address().to_string(), found.port, account))
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
            ("from <address><port>", "two fields meet"),
            ("from <address>:<number>", "two fields meet"),
            ("<text> <text><address>", "two fields meet"),
            ("from <address> to <address>", "more than one"),
            ("x <account> by <account>", "more than one"),
            ("from <where>", "not a field"),
            ("from <address^:>", "only"),
            ("from [<address>", "not closed"),
            ("from <address>]", "no beginning"),
            ("[a][b][c][d][e][f][g][h][i][j][k]", "combinations"),
        ] {
            let error = compile(pattern, Place::Message).unwrap_err();
            assert!(error.contains(reason), "{pattern}: {error}");
        }
    }

    #[test]
    fn text_without_some_bytes_lets_what_follows_be_found() {
        let pattern = r#"user "<account^:>" was not found in "<text^:">", client: <address>, <text>"#;
        let read = |message| read(pattern, message).map(|(address, _, account)| (address, account.unwrap()));
        for (message, address, account) in [
            (r#"user "x" was not found in "/f", client: 1.2.3.4, server: _"#, "1.2.3.4", "x"),
            (
                r#"user "x" was not found in "/f", client 9.9.9.9, " was not found in "/f", client: ::1, request: "x", client: 9.9.9.9, ""#,
                "::1",
                r#"x" was not found in "/f", client 9.9.9.9, "#,
            ),
        ] {
            assert_eq!(read(message), Some((address.into(), account)), "{message}");
        }
        for message in [
            r#"user "x:" was not found in "/f", client: 1.2.3.4, server: _"#,
            r#"user "x" was not found in "/f:", client: 1.2.3.4, server: _"#,
            r#"user "x" was not found in "/f", client: 1.2.3.4"#,
        ] {
            assert_eq!(read(message), None, "{message}");
        }
    }

    #[test]
    fn a_peer_has_its_port_behind_the_last_colon() {
        let pattern =
            "(from <address>:<port>: <text>|by <account> at <address>:<port>|from \\[<address>\\]:<port>)";
        for (message, address, port) in [
            ("from 1.2.3.4:22: x", "1.2.3.4", 22),
            ("from 2001:db8::1:22: x", "2001:db8::1", 22),
            ("from [2001:db8::1]:22", "2001:db8::1", 22),
            ("by x at 1.2.3.4:22 at ::1:22", "::1", 22),
        ] {
            let (found, its, _) = read(pattern, message).unwrap();
            assert_eq!((found.as_str(), its), (address, port), "{message}");
        }
        assert!(read(pattern, "from 2001:db8::1: x").is_none());
    }

    #[test]
    fn a_full_stop_ends_a_sentence_and_no_address() {
        let pattern = "(from <peer>.|by <account> at <address>[.]|of <address>. Then <text>)";
        for (message, address, port) in [
            ("from 1.2.3.4.", "1.2.3.4", 0),
            ("from 1.2.3.4:22.", "1.2.3.4", 22),
            ("from 2001:db8::1.", "2001:db8::1", 0),
            ("from [2001:db8::1]:22.", "2001:db8::1", 22),
            ("by x at 9.9.9.9. at 1.2.3.4", "1.2.3.4", 0),
            ("by x at 9.9.9.9 at 1.2.3.4.", "1.2.3.4", 0),
            ("by x at ::1.", "::1", 0),
            ("of 1.2.3.4. Then 9.9.9.9.", "1.2.3.4", 0),
        ] {
            let (found, its, _) = read(pattern, message).unwrap();
            assert_eq!((found.as_str(), its), (address, port), "{message}");
        }
        for message in
            ["from 1.2.3.4", "from 1.2.3.4..", "from 1.2.3.", "by x at 1.2.3.4.5.", "by x at 1.2.3.4.."]
        {
            assert_eq!(read(pattern, message), None, "{message}");
        }
        assert!(compile("from <address>.5", Place::Message).is_err());
        assert!(compile("from <address>.<text>", Place::Message).is_err());
    }

    #[test]
    fn what_a_field_of_a_record_holds() {
        let forms = compile("<text>sql<text>map<text>", Place::Field).unwrap();
        assert_eq!(forms[0].needle(), b"map");
        for (text, fits) in [("sqlmap/1.0", true), ("my sql is a map", true), ("mapsql", false), ("", false)]
        {
            assert_eq!(forms[0].read(text.as_bytes(), &mut Found::default()), fits, "{text}");
        }
        assert!(compile("<text>sql", Place::Message).is_err());
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
