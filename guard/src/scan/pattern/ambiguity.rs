//! Whether one message could be read by two forms with different addresses.
//!
//! Each form by itself reads a message in one way only. But a service has many forms, and free text could make a
//! message of one look like a message of another: with `user <account> <address>` beside `user <account> <address>
//! banned`, nothing is wrong; with `user <account> <address> <token> <token>` beside it, the peer whose account is
//! `x 192.0.2.1` and whose real address is followed by nothing would be read as `192.0.2.1`. So all pairs of forms
//! are searched for a message that both read, with different bytes as the address. The search walks both forms from
//! the end of the message at once, like the product of two automata, and answers such a message. It does not know
//! that fields take as many bytes as they can, so it may only err towards refusing.

use std::collections::VecDeque;

use foldhash::{HashMap, HashMapExt};

use super::form::{Field, Form, Part};

/// A form made ready to be compared with others: one automaton for each way to write an address.
#[derive(Debug)]
pub(in crate::scan) struct Reading {
    head: Box<[u8]>,
    automata: [Automaton; 4],
    /// Bytes that stand in literals.
    literal: [bool; 256],
}

/// The steps of a form, from the end of the message towards its front.
#[derive(Debug)]
struct Automaton {
    steps: Vec<Step>,
    /// The first step behind which there is no address any more.
    settled: usize,
}

/// One step of a form.
#[derive(Clone, Copy, Debug)]
struct Step {
    takes: Takes,
    /// Whether it may take any number of bytes, none included; otherwise exactly one.
    repeats: bool,
    /// Whether its bytes are the address.
    address: bool,
}

#[derive(Clone, Copy, Debug)]
enum Takes {
    Byte(u8),
    Field(Field),
    Hex,
    Any,
}

/// A way to write an address.
#[derive(Clone, Copy, Debug)]
enum Notation {
    Dotted,
    /// IPv6, with a digit at its end.
    Colons,
    /// IPv6, with `::` after a digit at its end. A single colon never ends an address.
    Open,
    /// `::` itself.
    Unspecified,
}

/// How far each form has come, and whether their addresses have differed.
type State = (usize, usize, bool);

impl Reading {
    /// Makes a form ready.
    pub(in crate::scan) fn new(form: &Form) -> Self {
        let mut literal = [false; 256];
        for part in form.backwards() {
            if let Part::Literal(bytes) = part {
                for b in bytes {
                    literal[usize::from(b)] = true;
                }
            }
        }
        let automata = [Notation::Dotted, Notation::Colons, Notation::Open, Notation::Unspecified]
            .map(|notation| Automaton::new(form, notation));
        Self { head: form.head().into(), automata, literal }
    }

    /// A message that both forms read with different addresses.
    pub(in crate::scan) fn clash(&self, other: &Self) -> Option<String> {
        let common = self.head.len().min(other.head.len());
        if self.head[..common] != other.head[..common] {
            return None;
        }
        let alphabet = alphabet(&self.literal, &other.literal);
        self.automata.iter().find_map(|a| other.automata.iter().find_map(|b| search(a, b, &alphabet)))
    }
}

/// One byte for each way in which bytes can differ between two forms.
fn alphabet(a: &[bool; 256], b: &[bool; 256]) -> Vec<u8> {
    let (literal, rest): (Vec<u8>, Vec<u8>) =
        (0..=255u8).partition(|byte| a[usize::from(*byte)] || b[usize::from(*byte)]);
    let kind = |byte: u8| (Field::Number.takes(byte), Field::Address.takes(byte), byte == b':', byte == b'.');
    let mut kinds = std::collections::HashMap::new();
    // Readable ones, for the message that is shown.
    for byte in rest.into_iter().rev().filter(|byte| *byte == b' ' || byte.is_ascii_graphic()) {
        kinds.insert((kind(byte), Field::Token.takes(byte)), byte);
    }
    literal.into_iter().chain(kinds.into_values()).collect()
}

fn search(a: &Automaton, b: &Automaton, alphabet: &[u8]) -> Option<String> {
    let mut from: HashMap<State, (State, u8)> = HashMap::new();
    let start = (0, 0, false);
    let mut queue = VecDeque::from([start]);
    while let Some(state) = queue.pop_front() {
        let (at_a, at_b, differs) = state;
        if differs && a.is_end(at_a) && b.is_end(at_b) {
            return Some(message(&from, state));
        }
        if !differs && at_a >= a.settled && at_b >= b.settled {
            continue;
        }
        for &byte in alphabet {
            for (next_a, in_a) in a.moves(at_a, byte) {
                for (next_b, in_b) in b.moves(at_b, byte) {
                    let next = (next_a, next_b, differs || in_a != in_b);
                    if next != start && !from.contains_key(&next) {
                        from.insert(next, (state, byte));
                        queue.push_back(next);
                    }
                }
            }
        }
    }
    None
}

/// The message that led to a state; what was read last stands first.
fn message(from: &HashMap<State, (State, u8)>, mut state: State) -> String {
    let mut text = Vec::new();
    while let Some((before, byte)) = from.get(&state) {
        text.push(*byte);
        state = *before;
    }
    String::from_utf8_lossy(&text).into_owned()
}

impl Automaton {
    fn new(form: &Form, notation: Notation) -> Self {
        let mut steps = Vec::new();
        for part in form.backwards() {
            match part {
                Part::Literal(bytes) => steps.extend(bytes.iter().rev().map(|b| once(Takes::Byte(*b)))),
                Part::Free(_) => steps.push(repeat(Takes::Any)),
                Part::Field(Field::Address) => steps.extend(notation.steps().into_iter().map(Step::address)),
                Part::Field(field @ Field::Token) => steps.push(repeat(Takes::Field(field))),
                Part::Field(field) => {
                    steps.extend([once(Takes::Field(field)), repeat(Takes::Field(field))]);
                }
            }
        }
        let settled = steps.iter().rposition(|step| step.address).map_or(0, |last| last + 1);
        Self { steps, settled }
    }

    /// Where the form can be after one more byte, and whether that byte was part of its address.
    fn moves(&self, at: usize, byte: u8) -> impl Iterator<Item = (usize, bool)> {
        let rest = &self.steps[at..];
        // Steps that may take nothing can be skipped.
        let reachable = rest.iter().take_while(|step| step.repeats).count() + 1;
        let possible = rest.iter().take(reachable).enumerate();
        possible.filter(move |(_, step)| step.takes(byte)).map(move |(skipped, step)| {
            let here = at + skipped;
            (if step.repeats { here } else { here + 1 }, step.address)
        })
    }

    fn is_end(&self, at: usize) -> bool {
        self.steps[at..].iter().all(|step| step.repeats)
    }
}

impl Notation {
    fn steps(self) -> Vec<Step> {
        let colon = once(Takes::Byte(b':'));
        let any = repeat(Takes::Field(Field::Address));
        match self {
            Self::Dotted => {
                let octet = [once(Takes::Field(Field::Number)), repeat(Takes::Field(Field::Number))];
                [octet; 4].join(&once(Takes::Byte(b'.')))
            }
            Self::Colons => vec![once(Takes::Hex), any, colon, any],
            Self::Open => vec![colon, colon, once(Takes::Hex), any],
            Self::Unspecified => vec![colon, colon],
        }
    }
}

const fn once(takes: Takes) -> Step {
    Step { takes, repeats: false, address: false }
}

const fn repeat(takes: Takes) -> Step {
    Step { takes, repeats: true, address: false }
}

impl Step {
    const fn address(self) -> Self {
        Self { address: true, ..self }
    }

    const fn takes(self, byte: u8) -> bool {
        match self.takes {
            Takes::Byte(b) => b == byte,
            Takes::Field(field) => field.takes(byte),
            Takes::Hex => byte.is_ascii_hexdigit(),
            Takes::Any => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::compile;
    use super::*;

    fn clash(a: &str, b: &str) -> Option<String> {
        let (a, b) = (compile(a).unwrap(), compile(b).unwrap());
        a.iter().find_map(|a| b.iter().find_map(|b| Reading::new(a).clash(&Reading::new(b))))
    }

    #[test]
    fn a_message_with_two_readings_is_found() {
        for (a, b) in [
            ("user <account> <address>", "user <account> <address> <token> <token>"),
            ("login <account> from <address>", "login <token> from <address> <text>"),
            (
                "for <account> from <address> port <port>",
                "for <account> from <address>[: <token> <token> <token> <number>]",
            ),
        ] {
            let message = clash(a, b).unwrap_or_else(|| panic!("{a} | {b}"));
            assert!(clash(b, a).is_some(), "{message}");
        }
    }

    #[test]
    fn forms_that_agree_are_left_alone() {
        for (a, b) in [
            ("user <account> <address>", "user <account> <address> banned"),
            (
                "for <account> from <address> port <port>",
                "for invalid user <account> from <address> port <port>",
            ),
            ("for <account> from <address> port <port>", "for <account> from <address> port <port> ssh2"),
            ("closed by <address> port <port>", "closed by user <account> <address> port <port>"),
        ] {
            assert_eq!(clash(a, b), None, "{a} | {b}");
        }
    }
}
