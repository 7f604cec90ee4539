//! Whether one message could be read by two forms with different addresses.
//!
//! Each form by itself reads a message in one way only. But a service has many forms, and free text could make a
//! message of one look like a message of another: with `user <account> <address>` beside `user <account> <address>
//! banned`, nothing is wrong; with `user <account> <address> <token> <token>` beside it, the peer whose account is
//! `x 192.0.2.1` and whose real address is followed by nothing would be read as `192.0.2.1`. So all pairs of forms
//! are searched for a message that both read, with different bytes as the address. The search walks both forms from
//! the end of the message at once, like the product of two automata, and answers such a message. It does not know
//! that fields take as many bytes as they can, so it may only err towards refusing.

use std::collections::{HashMap, VecDeque};

use super::form::{Field, Form, Part};

/// A set of bytes.
type Class = [bool; 256];

/// One step of a form, from the end of the message towards its front.
#[derive(Clone)]
struct Step {
    takes: Box<Class>,
    /// Whether it may take any number of bytes, none included; otherwise exactly one.
    repeats: bool,
    /// Whether its bytes are the address.
    address: bool,
}

/// How far each form has come, and whether their addresses have differed.
type State = (usize, usize, bool);

/// A message that both forms read with different addresses.
pub(in crate::scan) fn two_readings(a: &Form, b: &Form) -> Option<String> {
    let common = a.head().len().min(b.head().len());
    if a.head()[..common] != b.head()[..common] {
        return None;
    }
    // An address is written in one of two ways, and each is a form of its own here.
    for a in [steps(a, true), steps(a, false)] {
        for b in [steps(b, true), steps(b, false)] {
            if let Some(message) = search(&a, &b) {
                return Some(message);
            }
        }
    }
    None
}

fn search(a: &[Step], b: &[Step]) -> Option<String> {
    let alphabet = alphabet(a, b);
    let mut from: HashMap<State, (State, u8)> = HashMap::new();
    let start = (0, 0, false);
    let mut queue = VecDeque::from([start]);
    while let Some(state) = queue.pop_front() {
        let (at_a, at_b, differs) = state;
        if differs && is_end(a, at_a) && is_end(b, at_b) {
            return Some(message(&from, state));
        }
        for &byte in &alphabet {
            for (next_a, in_a) in moves(a, at_a, byte) {
                for (next_b, in_b) in moves(b, at_b, byte) {
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

/// Where a form can be after one more byte, and whether that byte was part of its address.
fn moves(steps: &[Step], at: usize, byte: u8) -> impl Iterator<Item = (usize, bool)> {
    // Steps that may take nothing can be skipped.
    let reachable = steps[at..].iter().take_while(|step| step.repeats).count() + 1;
    steps[at..].iter().take(reachable).enumerate().filter(move |(_, step)| step.takes[usize::from(byte)]).map(
        move |(skipped, step)| {
            let here = at + skipped;
            (if step.repeats { here } else { here + 1 }, step.address)
        },
    )
}

fn is_end(steps: &[Step], at: usize) -> bool {
    steps[at..].iter().all(|step| step.repeats)
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

/// The steps of a form, from its end.
fn steps(form: &Form, v4: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    for part in form.backwards() {
        match part {
            Part::Literal(bytes) => steps.extend(bytes.iter().rev().map(|b| once(|x| x == *b))),
            Part::Free(_) => steps.push(repeat(|_| true)),
            Part::Field(Field::Address) if v4 => {
                for octet in 0..4 {
                    if octet > 0 {
                        steps.push(once(|b| b == b'.').address());
                    }
                    steps.push(once(|b| b.is_ascii_digit()).address());
                    steps.push(repeat(|b| b.is_ascii_digit()).address());
                }
            }
            Part::Field(Field::Address) => {
                let field = |b: u8| Field::Address.takes(b);
                steps.extend([repeat(field), once(|b| b == b':'), repeat(field)].map(Step::address));
            }
            Part::Field(field @ Field::Token) => steps.push(repeat(|b| field.takes(b))),
            Part::Field(field) => steps.extend([once(|b| field.takes(b)), repeat(|b| field.takes(b))]),
        }
    }
    steps
}

fn once(takes: impl Fn(u8) -> bool) -> Step {
    let mut class = Box::new([false; 256]);
    for b in 0..=255u8 {
        class[usize::from(b)] = takes(b);
    }
    Step { takes: class, repeats: false, address: false }
}

fn repeat(takes: impl Fn(u8) -> bool) -> Step {
    Step { repeats: true, ..once(takes) }
}

impl Step {
    fn address(self) -> Self {
        Self { address: true, ..self }
    }
}

/// One byte for each way in which bytes differ between the steps of both forms, readable ones first.
fn alphabet(a: &[Step], b: &[Step]) -> Vec<u8> {
    let mut seen = std::collections::HashSet::new();
    let readable = (b'0'..=b'9').chain(b'a'..=b'z').chain(b' '..=b'~').chain(0..=255);
    readable
        .filter(|byte| {
            let takes = |step: &Step| step.takes[usize::from(*byte)];
            seen.insert(a.iter().chain(b).map(takes).collect::<Vec<bool>>())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::compile;
    use super::*;

    fn clash(a: &str, b: &str) -> Option<String> {
        let (a, b) = (compile(a).unwrap(), compile(b).unwrap());
        a.iter().find_map(|a| b.iter().find_map(|b| two_readings(a, b)))
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
