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

use std::cell::OnceCell;

use foldhash::{HashMap, HashMapExt};

use super::byte_set::ByteSet;
use super::form::{Field, Form, Part};
#[cfg(test)]
use crate::scan::address;

/// Two forms, by their number, and a message that they read with different addresses.
pub(in crate::scan) type Clash = (usize, usize, String);

/// The first clash between forms, which are sorted by their heads. Pairs that may `pass` are not looked at.
pub(in crate::scan) fn clash(forms: &[&Form], pass: impl Fn(usize, usize) -> bool) -> Option<Clash> {
    let automata: Vec<Automata> = forms.iter().map(|form| Automata::new(form)).collect();
    // Forms whose way to the address is the same find the same address.
    let paths: Vec<_> = forms.iter().map(|form| form.path_to_address()).collect();
    let mut seen = Seen::default();
    for (number, form) in forms.iter().enumerate() {
        // Sorted: once a head does not begin with this one, none does any more.
        let rivals = forms.iter().enumerate().skip(number);
        for (rival, _) in rivals.take_while(|(_, rival)| rival.head().starts_with(form.head())) {
            let same = paths[number].is_some() && paths[number] == paths[rival];
            if same || pass(number, rival) {
                continue;
            }
            let (a, b) = (&automata[number], &automata[rival]);
            // Any bytes of addresses are more than all notations together.
            let (coarse_a, coarse_b) = (&a.coarse, &b.coarse);
            if !agree(&coarse_a.1, &coarse_b.1, &mut seen)
                || same_in_front(&coarse_a.1, &coarse_b.1, &mut seen)
                || !differ(&coarse_a.0, &coarse_b.0, &mut seen)
            {
                continue;
            }
            for (a, front_a) in a.whole(form) {
                for (b, front_b) in b.whole(forms[rival]) {
                    if same_in_front(front_a, front_b, &mut seen) || !differ(a, b, &mut seen) {
                        continue;
                    }
                    if let Some(message) = witness(a, b) {
                        return Some((number, rival, message));
                    }
                }
            }
        }
    }
    None
}

/// What a form accepts, in each notation that its address can have.
#[derive(Debug)]
struct Automata {
    /// From the end of the message to its front, and from the front to the first gap that holds any byte. Made when the
    /// coarse ones do not do.
    whole: OnceCell<Vec<(Steps, Steps)>>,
    /// The same with any bytes of addresses for the address.
    coarse: (Steps, Steps),
}

/// A way through a message, byte by byte.
#[derive(Debug)]
struct Steps {
    each: Vec<Step>,
    /// Where nothing of the address comes any more; 0 if there is none.
    settled: usize,
    /// Whether more of the message may follow, of which nothing is known.
    open: bool,
}

/// One step of a form.
#[derive(Clone, Copy, Debug)]
struct Step {
    takes: ByteSet,
    /// Whether it may take any number of bytes, none included; otherwise exactly one.
    repeats: bool,
    /// Whether its bytes are the address.
    address: bool,
}

/// A way to write an address.
#[derive(Clone, Copy, Debug)]
enum Notation {
    Dotted,
    /// IPv6, with a digit at its end and two colons at least.
    Colons,
    /// IPv6, with `::` after a digit at its end. A single colon never ends an address.
    Open,
    /// `::` itself.
    Unspecified,
    /// Whatever has the bytes of one.
    Any,
}

/// How far each form has come, and whether their addresses have differed.
type State = (usize, usize, bool);

/// Which states a search has met. Kept from one search to the next, because there are thousands of small ones.
#[derive(Debug, Default)]
struct Seen {
    marks: Vec<u32>,
    round: u32,
    width: usize,
}

impl Seen {
    fn begin(&mut self, a: &Steps, b: &Steps) {
        self.round += 1;
        self.width = b.each.len() + 1;
        let size = (a.each.len() + 1) * self.width * 2;
        if self.marks.len() < size {
            self.marks.resize(size, 0);
        }
    }

    /// Marks a state; whether it is new.
    fn add(&mut self, (a, b, differs): State) -> bool {
        let mark = &mut self.marks[(a * self.width + b) * 2 + usize::from(differs)];
        std::mem::replace(mark, self.round) != self.round
    }
}

/// Whether a message can begin as both forms do. Cheap, and most pairs fail.
fn agree(a: &Steps, b: &Steps, seen: &mut Seen) -> bool {
    reaches(a, b, seen, |(at_a, at_b, _)| is_front(a, at_a, b, at_b))
}

/// Whether both addresses stand in front of the first gap and no message has two there.
fn same_in_front(a: &Steps, b: &Steps, seen: &mut Seen) -> bool {
    let settled = |(at_a, at_b, differs): State| differs && at_a >= a.settled && at_b >= b.settled;
    // A form that is through while the other is still to come to its address leaves it unknown.
    let left = |(at_a, at_b, _): State| {
        a.is_through(at_a) && at_b < b.settled || b.is_through(at_b) && at_a < a.settled
    };
    a.settled > 0 && b.settled > 0 && !reaches(a, b, seen, |state| settled(state) || left(state))
}

/// Whether both forms read some message with different addresses.
fn differ(a: &Steps, b: &Steps, seen: &mut Seen) -> bool {
    reaches(a, b, seen, |state| is_clash(a, b, state))
}

fn is_front(a: &Steps, at_a: usize, b: &Steps, at_b: usize) -> bool {
    let (through_a, through_b) = (a.is_through(at_a), b.is_through(at_b));
    through_a && a.open || through_b && b.open || through_a && through_b
}

fn is_clash(a: &Steps, b: &Steps, (at_a, at_b, differs): State) -> bool {
    differs && a.is_through(at_a) && b.is_through(at_b)
}

/// Whether a search through both at once comes to a state that `is`.
fn reaches(a: &Steps, b: &Steps, seen: &mut Seen, is: impl Fn(State) -> bool) -> bool {
    seen.begin(a, b);
    let start = (0, 0, false);
    seen.add(start);
    let mut open = vec![start];
    while let Some(state) = open.pop() {
        if is(state) {
            return true;
        }
        each_next(a, b, state, |next, _| {
            if seen.add(next) {
                open.push(next);
            }
        });
    }
    false
}

/// Calls `each` for every state that one more byte leads to, with the bytes that do.
fn each_next(a: &Steps, b: &Steps, (at_a, at_b, differs): State, mut each: impl FnMut(State, ByteSet)) {
    for (next_a, step_a) in a.next(at_a) {
        for (next_b, step_b) in b.next(at_b) {
            let takes = step_a.takes.and(step_b.takes);
            if !takes.is_empty() {
                each((next_a, next_b, differs || step_a.address != step_b.address), takes);
            }
        }
    }
}

/// The shortest message that both forms read with different addresses.
fn witness(a: &Steps, b: &Steps) -> Option<String> {
    let mut from: HashMap<State, (State, u8)> = HashMap::new();
    let start = (0, 0, false);
    let mut queue = std::collections::VecDeque::from([start]);
    while let Some(state) = queue.pop_front() {
        if is_clash(a, b, state) {
            return Some(message(&from, state));
        }
        each_next(a, b, state, |next, takes| {
            if next != start && !from.contains_key(&next) {
                from.insert(next, (state, takes.readable()));
                queue.push_back(next);
            }
        });
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

impl Automata {
    fn new(form: &Form) -> Self {
        Self { whole: OnceCell::new(), coarse: both(&form.backwards(), Notation::Any) }
    }

    /// The ways through the form of these automata, one for each notation.
    fn whole(&self, form: &Form) -> &[(Steps, Steps)] {
        self.whole.get_or_init(|| {
            let parts = form.backwards();
            Notation::of(form).iter().map(|notation| both(&parts, *notation)).collect()
        })
    }
}

/// Both ways through a form whose address has this notation.
fn both(parts: &[(Part, bool)], notation: Notation) -> (Steps, Steps) {
    (back(parts, notation), front(parts, notation))
}

/// From the end of a message to its front.
fn back(parts: &[(Part, bool)], notation: Notation) -> Steps {
    let steps = parts.iter().flat_map(|(part, _)| steps_back(part, notation)).collect();
    Steps::new(steps, false)
}

/// From the front of a message to the first gap that holds any byte.
fn front(parts: &[(Part, bool)], notation: Notation) -> Steps {
    let is_any = |part: &Part| matches!(part, Part::Free(free) if free.except.is_empty());
    let first = parts.iter().rposition(|(part, _)| is_any(part));
    let parts = &parts[first.map_or(0, |first| first + 1)..];
    let mut steps: Vec<Step> = parts.iter().flat_map(|(part, _)| steps_back(part, notation)).collect();
    steps.reverse();
    Steps::new(steps, first.is_some())
}

/// The steps through a part, from its end.
fn steps_back(part: &Part, notation: Notation) -> Vec<Step> {
    let digits = [once(DIGITS), repeat(DIGITS)];
    let address = || notation.steps().into_iter().map(|step| Step { address: true, ..step });
    match part {
        Part::Literal(bytes) => bytes.iter().rev().map(|b| once(ByteSet::of(&[*b]))).collect(),
        Part::Free(free) => vec![repeat(free.except.not())],
        Part::Field(Field::Address | Field::V4 | Field::V6) => address().collect(),
        Part::Field(Field::Peer) => {
            digits.into_iter().chain([once(ByteSet::of(b":"))]).chain(address()).collect()
        }
        Part::Field(Field::Port | Field::Number) => digits.into(),
    }
}

impl Steps {
    fn new(steps: Vec<Step>, open: bool) -> Self {
        let settled = steps.iter().rposition(|step| step.address).map_or(0, |last| last + 1);
        Self { each: steps, settled, open }
    }

    /// Where one more byte can lead, and the step that takes it. Steps that may take nothing can be skipped.
    fn next(&self, at: usize) -> impl Iterator<Item = (usize, &Step)> {
        let rest = &self.each[at..];
        let reachable = rest.iter().take_while(|step| step.repeats).count() + 1;
        let possible = rest.iter().take(reachable).zip(at..);
        possible.map(|(step, here)| (if step.repeats { here } else { here + 1 }, step))
    }

    /// Whether nothing more has to come.
    fn is_through(&self, at: usize) -> bool {
        self.each[at..].iter().all(|step| step.repeats)
    }
}

const DIGITS: ByteSet = ByteSet::of(b"0123456789");
const HEX: ByteSet = ByteSet::of(b"0123456789abcdefABCDEF");
const ADDRESS: ByteSet = ByteSet::of(b"0123456789abcdefABCDEF:.");

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

    /// The steps through an address, from its end.
    fn steps(self) -> Vec<Step> {
        let colon = once(ByteSet::of(b":"));
        let any = repeat(ADDRESS);
        match self {
            Self::Dotted => [[once(DIGITS), repeat(DIGITS)]; 4].join(&once(ByteSet::of(b"."))),
            Self::Colons => vec![once(HEX), any, colon, any, colon, any],
            Self::Open => vec![colon, colon, once(HEX), any],
            Self::Unspecified => vec![colon, colon],
            Self::Any => vec![once(ADDRESS), any],
        }
    }
}

const fn once(takes: ByteSet) -> Step {
    Step { takes, repeats: false, address: false }
}

const fn repeat(takes: ByteSet) -> Step {
    Step { takes, repeats: true, address: false }
}

#[cfg(test)]
mod tests {
    use super::super::{Place, compile};

    fn clash(a: &str, b: &str) -> Option<String> {
        let mut forms = compile(a, Place::Message).unwrap();
        forms.extend(compile(b, Place::Message).unwrap());
        forms.sort_by(|a, b| a.head().cmp(b.head()));
        super::clash(&forms.iter().collect::<Vec<_>>(), |_, _| false).map(|(_, _, message)| message)
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
    fn addresses_have_the_bytes_they_have() {
        for byte in 0..=255 {
            assert_eq!(super::ADDRESS.has(byte), super::address::is_address_byte(byte));
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
