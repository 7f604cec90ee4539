//! Whether one message could be read by two forms with different addresses.
//!
//! Free text could make a message of one form look like a message of another: with `user <account> <address>` beside
//! `user <account> <address> banned`, nothing is wrong; with `user <account> <address> <token> <token>` beside it, the
//! peer whose account is `x 192.0.2.1` and whose real address is followed by nothing would be read as `192.0.2.1`. And
//! a form with free text on both sides of its address could be read in two ways by itself. So all pairs of forms, and
//! such forms with themselves, are searched for a message that both read, with different bytes as the address. The
//! search walks both forms from the end of the message at once, like the product of two automata, and answers such a
//! message. It knows neither that fields take as many bytes as they can nor which of several places a search
//! finds first, so it may only err towards refusing.

use std::collections::VecDeque;

use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};

use super::byte_set::ByteSet;
use super::form::{Field, Form, Part};

/// Two forms, by their number, and a message that they read with different addresses.
pub(in crate::scan) type Clash = (usize, usize, String);

/// The first clash between forms, which are sorted by their heads.
pub(in crate::scan) fn clash(forms: &[&Form]) -> Option<Clash> {
    let alphabet = alphabet(forms);
    let automata: Vec<Vec<_>> = forms
        .iter()
        .map(|form| Notation::of(form).iter().map(|notation| Automaton::new(form, *notation)).collect())
        .collect();
    // Forms whose way to the address is the same find the same address.
    let paths: Vec<_> = forms.iter().map(|form| form.path_to_address()).collect();
    for (number, form) in forms.iter().enumerate() {
        // Sorted: once a head does not begin with this one, none does any more.
        let rivals = forms.iter().enumerate().skip(number);
        for (rival, _) in rivals.take_while(|(_, rival)| rival.head().starts_with(form.head())) {
            if paths[number].is_some() && paths[number] == paths[rival] {
                continue;
            }
            for a in &automata[number] {
                for b in &automata[rival] {
                    if let Some(message) = search(a, b, &alphabet) {
                        return Some((number, rival, message));
                    }
                }
            }
        }
    }
    None
}

/// The steps of a form, from the end of the message towards its front.
#[derive(Debug)]
struct Automaton {
    steps: Vec<Step>,
    /// The first step behind which there is no address any more.
    settled: usize,
    /// The steps from the front of the message to the first gap.
    front: Vec<Step>,
    /// Whether there is a gap.
    gaps: bool,
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
    AllBut(ByteSet),
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

/// One byte for each way in which bytes can differ between the forms.
fn alphabet(forms: &[&Form]) -> Vec<u8> {
    let mut literal = [false; 256];
    for (part, _) in forms.iter().flat_map(|form| form.backwards()) {
        match part {
            Part::Literal(bytes) => bytes.iter().for_each(|b| literal[usize::from(*b)] = true),
            Part::Free(free) => free.except.bytes().for_each(|b| literal[usize::from(b)] = true),
            Part::Field(_) => {}
        }
    }
    let (literal, rest): (Vec<u8>, Vec<u8>) = (0..=255u8).partition(|byte| literal[usize::from(*byte)]);
    let mut kinds = std::collections::BTreeMap::new();
    // Readable ones, for the message that is shown.
    for byte in rest.into_iter().filter(|byte| *byte == b' ' || byte.is_ascii_graphic()) {
        let fields = [Field::Number, Field::Address].map(|field| field.takes(byte));
        kinds.entry((fields, byte == b':', byte == b'.')).or_insert(byte);
    }
    literal.into_iter().chain(kinds.into_values()).collect()
}

/// A message that both forms read with different addresses.
fn search(a: &Automaton, b: &Automaton, alphabet: &[u8]) -> Option<String> {
    let mut ends = false;
    both(&a.steps, 0, &b.steps, 0, alphabet, |_, _, _| ends = true);
    if !ends || !fronts_agree(a, b, alphabet) {
        return None;
    }
    let mut from: HashMap<State, (State, u8)> = HashMap::new();
    let start = (0, 0, false);
    let mut queue = VecDeque::from([start]);
    while let Some(state) = queue.pop_front() {
        let (at_a, at_b, differs) = state;
        if differs && is_end(&a.steps[at_a..]) && is_end(&b.steps[at_b..]) {
            return Some(message(&from, state));
        }
        if !differs && at_a >= a.settled && at_b >= b.settled {
            continue;
        }
        both(&a.steps, at_a, &b.steps, at_b, alphabet, |byte, (next_a, in_a), (next_b, in_b)| {
            let next = (next_a, next_b, differs || in_a != in_b);
            if next != start && !from.contains_key(&next) {
                from.insert(next, (state, byte));
                queue.push_back(next);
            }
        });
    }
    None
}

/// Whether a message can begin as both forms do, up to the free text of one of them. Cheap, and most pairs fail.
fn fronts_agree(a: &Automaton, b: &Automaton, alphabet: &[u8]) -> bool {
    let mut seen = HashSet::new();
    let mut queue = vec![(0, 0)];
    while let Some(state @ (at_a, at_b)) = queue.pop() {
        let (done_a, done_b) = (is_end(&a.front[at_a..]), is_end(&b.front[at_b..]));
        if (done_a && a.gaps) || (done_b && b.gaps) || (done_a && done_b) {
            return true;
        }
        if seen.insert(state) {
            both(&a.front, at_a, &b.front, at_b, alphabet, |_, (a, _), (b, _)| queue.push((a, b)));
        }
    }
    false
}

/// Calls `each` for every byte that both forms can take next, with where each is then.
fn both(
    a: &[Step],
    at_a: usize,
    b: &[Step],
    at_b: usize,
    alphabet: &[u8],
    mut each: impl FnMut(u8, (usize, bool), (usize, bool)),
) {
    let only = only_byte(a, at_a).or_else(|| only_byte(b, at_b));
    for &byte in only.as_ref().map_or(alphabet, std::slice::from_ref) {
        for next_a in moves(a, at_a, byte) {
            for next_b in moves(b, at_b, byte) {
                each(byte, next_a, next_b);
            }
        }
    }
}

/// The only byte that can come next, where that is plain.
fn only_byte(steps: &[Step], at: usize) -> Option<u8> {
    match steps.get(at) {
        Some(Step { takes: Takes::Byte(byte), repeats: false, .. }) => Some(*byte),
        _ => None,
    }
}

/// Where a form can be after one more byte, and whether that byte was part of its address.
fn moves(steps: &[Step], at: usize, byte: u8) -> impl Iterator<Item = (usize, bool)> {
    let rest = &steps[at..];
    // Steps that may take nothing can be skipped.
    let reachable = rest.iter().take_while(|step| step.repeats).count() + 1;
    let possible = rest.iter().take(reachable).enumerate();
    possible.filter(move |(_, step)| step.takes(byte)).map(move |(skipped, step)| {
        let here = at + skipped;
        (if step.repeats { here } else { here + 1 }, step.address)
    })
}

/// Whether nothing more has to come.
fn is_end(rest: &[Step]) -> bool {
    rest.iter().all(|step| step.repeats)
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
        // Where the steps behind the last gap seen begin; from the end, the last gap seen is the first of the message.
        let mut front = 0;
        for (part, is_gap) in form.backwards() {
            let address = || notation.steps().into_iter().map(Step::address);
            let digits = [once(Takes::Field(Field::Number)), repeat(Takes::Field(Field::Number))];
            match part {
                Part::Literal(bytes) => steps.extend(bytes.iter().rev().map(|b| once(Takes::Byte(*b)))),
                Part::Free(free) => steps.push(repeat(Takes::AllBut(free.except))),
                Part::Field(Field::Address | Field::V4 | Field::V6) => steps.extend(address()),
                Part::Field(Field::Peer) => {
                    steps.extend(digits);
                    steps.push(once(Takes::Byte(b':')));
                    steps.extend(address());
                }
                Part::Field(Field::Port | Field::Number) => steps.extend(digits),
            }
            if is_gap {
                front = steps.len();
            }
        }
        let settled = steps.iter().rposition(|step| step.address).map_or(0, |last| last + 1);
        let gaps = front > 0;
        let front = steps[front..].iter().rev().copied().collect();
        Self { steps, settled, front, gaps }
    }
}

impl Notation {
    const ALL: [Self; 4] = [Self::Dotted, Self::Colons, Self::Open, Self::Unspecified];

    /// The notations that the address of a form can have.
    fn of(form: &Form) -> &'static [Self] {
        let field = form.backwards().into_iter().find(|(part, _)| part.is_address());
        match field {
            Some((Part::Field(Field::V4), _)) => &Self::ALL[..1],
            Some((Part::Field(Field::V6), _)) => &Self::ALL[1..],
            _ => &Self::ALL,
        }
    }

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
            Takes::AllBut(bytes) => !bytes.has(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Place, compile};

    fn clash(a: &str, b: &str) -> Option<String> {
        let mut forms = compile(a, Place::Message).unwrap();
        forms.extend(compile(b, Place::Message).unwrap());
        forms.sort_by(|a, b| a.head().cmp(b.head()));
        super::clash(&forms.iter().collect::<Vec<_>>()).map(|(_, _, message)| message)
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
    fn a_form_that_has_two_readings_by_itself_is_found() {
        for (form, steered) in [
            ("x <account> from <address> because <text>", true),
            ("x <account^:> from <address> because <text>", true),
            ("user <account^:>, client: <address>, <text>", false),
            ("user \"<account^:>\" was not found in \"<text^:>\", client: <address>, <text>", false),
            ("user \"<account>\" was not found in \"<text^:>\", client: <address>, <text>", true),
            ("user <account> at <address>:<port> \\(<text^()>\\)", false),
            ("user <account> at <address>:<port> \\(<text^)>\\)", true),
        ] {
            assert_eq!(clash(form, "other").is_some(), steered, "{form}");
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
