//! The fronts of many forms as one tree: what several of them begin with, literals and fields, is read once, and what
//! cannot follow is never looked at. So a message costs what it has in common with some form, however many there are.
//!
//! A level is a tree over literals; behind a literal follow the fields that forms have next, and behind those the next
//! level. At each place the longest literal that fits is tried first, among equals the form that comes first; a field
//! ends where its kind of byte ends, so there is one way to read it and nothing is searched.

use std::hash::Hash;

use foldhash::{HashMap, HashMapExt};

use super::ending::Ending;
use super::form::{End, Form, Found, Part};
use super::steps::{Beginning, Steps};
use crate::scan::dispatch::{Fit, Heads, Start};
use crate::scan::openings::{OPENING, is_whole};

/// Forms, each with what it says.
#[derive(Debug)]
pub(in crate::scan) struct Fronts<T> {
    /// The root comes first.
    levels: Vec<Level<T>>,
    /// What stands behind the fronts. Many forms of one pattern have the same end.
    ends: Vec<Ending>,
}

#[derive(Debug)]
struct Level<T> {
    /// The literals that stand next, one for each way.
    heads: Heads,
    ways: Vec<Way<T>>,
}

/// What can follow a literal.
#[derive(Debug)]
struct Way<T> {
    /// What all its forms have in common.
    lead: Steps,
    then: Then<T>,
}

#[derive(Clone, Copy, Debug)]
enum Then<T> {
    /// The front of a form ends here.
    End(Leaf<T>),
    Level(u32),
}

/// The end of a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Leaf<T> {
    end: u32,
    says: T,
}

/// What is left of the front of a form.
type Rest<'f, T> = (&'f [Part], Leaf<T>);

/// Levels being built. Forms that go on in the same ways share a level, however they began.
struct Builder<'f, T> {
    levels: Vec<Option<Level<T>>>,
    known: HashMap<Vec<Rest<'f, T>>, u32>,
}

impl<T> Default for Fronts<T> {
    /// Those of no form.
    fn default() -> Self {
        Self { levels: vec![Level { heads: Heads::empty(), ways: Vec::new() }], ends: Vec::new() }
    }
}

impl<T: Copy + Eq + Hash> Fronts<T> {
    /// The fronts of these forms; `None` if they are too many. A message that begins with one of `others` may mean
    /// something as well.
    pub(in crate::scan) fn new(forms: &[(&Form, T)], others: &[&[u8]]) -> Option<Self> {
        let mut numbers: HashMap<&End, u32> = HashMap::new();
        let mut ends = Vec::new();
        let mut rests: Vec<Rest<'_, T>> = Vec::with_capacity(forms.len());
        for (form, says) in forms {
            let next = u32::try_from(ends.len()).ok()?;
            let end = *numbers.entry(&form.end).or_insert(next);
            if end == next {
                ends.push(Ending::new(&form.end));
            }
            rests.push((&form.front, Leaf { end, says: *says }));
        }
        let mut builder = Builder { levels: Vec::new(), known: HashMap::new() };
        builder.level(rests, Some(others))?;
        Some(Self { levels: builder.levels.into_iter().collect::<Option<_>>()?, ends })
    }

    /// Where to begin to read a message with this opening; `None` if it means nothing, whatever follows.
    pub(in crate::scan) fn start(&self, opening: &[u8; OPENING]) -> Option<Start> {
        let root = &self.levels[0];
        let start = root.heads.start(opening)?;
        let is_alone = is_whole(opening) && !self.ways_may_begin(root, root.heads.above(start), opening);
        Some(if is_alone { start.alone() } else { start })
    }

    /// Whether a text that begins like this may be one of the forms, whatever follows. Asked of the tree, not of its
    /// table of openings, it sees fields as well; `true` where it cannot tell.
    pub(in crate::scan) fn may_begin(&self, front: &[u8]) -> bool {
        self.level_may_begin(&self.levels[0], front)
    }

    fn level_may_begin(&self, level: &Level<T>, front: &[u8]) -> bool {
        let longest = level.heads.longest(Start::default(), front);
        self.ways_may_begin(level, longest, front) || level.heads.is_cut(front)
    }

    /// The same of what can follow a head that fits, and those that are shorter.
    fn ways_may_begin<'t>(&self, level: &'t Level<T>, mut fit: Option<Fit<'t>>, front: &[u8]) -> bool {
        let goes_on = |way: &Way<T>, behind| match (way.lead.may_begin(behind), way.then) {
            (Beginning::Open, _) | (Beginning::Whole(_), Then::End(_)) => true,
            (Beginning::Whole(rest), Then::Level(deeper)) => {
                self.level_may_begin(&self.levels[deeper as usize], rest)
            }
            (Beginning::No, _) => false,
        };
        while let Some(this) = fit {
            let (ways, head) = this.forms();
            if level.ways[ways].iter().any(|way| goes_on(way, &front[head..])) {
                return true;
            }
            fit = level.heads.shorter(this, Start::default());
        }
        false
    }

    /// Reads a message whose opening led to `start`; any opening leads to the default. Calls `take` with what each
    /// form says that the message has, until it answers something. If it never does, what was found means nothing.
    #[inline(always)]
    pub(in crate::scan) fn read<'a, A>(
        &self,
        start: Start,
        message: &'a [u8],
        found: &mut Found<'a>,
        mut take: impl FnMut(T, &mut Found<'a>) -> Option<A>,
    ) -> Option<A> {
        self.level(&self.levels[0], start, message, found, &mut take)
    }

    #[inline(always)]
    fn level<'t, 'a, A>(
        &'t self,
        mut level: &'t Level<T>,
        mut start: Start,
        mut text: &'a [u8],
        found: &mut Found<'a>,
        take: &mut impl FnMut(T, &mut Found<'a>) -> Option<A>,
    ) -> Option<A> {
        let mut fit = level.heads.longest(start, text)?;
        loop {
            let (ways, head) = fit.forms();
            let (ways, shorter) = (&level.ways[ways], level.heads.shorter(fit, start));
            let mut next = None;
            for (left, way) in (0..ways.len()).rev().zip(ways) {
                let is_last = left == 0 && shorter.is_none();
                let before = *found;
                if let Some(rest) = way.lead.read_front(&text[head..], found) {
                    let answer = match way.then {
                        Then::End(leaf) => self.end(leaf, rest, found, take),
                        // There is nothing to come back for.
                        Then::Level(deeper) if is_last => {
                            next = Some((deeper, rest));
                            break;
                        }
                        Then::Level(deeper) => self.deeper(deeper, rest, found, take),
                    };
                    if answer.is_some() {
                        return answer;
                    }
                }
                *found = before;
            }
            fit = match (next, shorter) {
                (Some((deeper, rest)), _) => {
                    (level, start, text) = (&self.levels[deeper as usize], Start::default(), rest);
                    level.heads.longest(start, text)?
                }
                (None, shorter) => shorter?,
            };
        }
    }

    fn deeper<'a, A>(
        &self,
        level: u32,
        text: &'a [u8],
        found: &mut Found<'a>,
        take: &mut impl FnMut(T, &mut Found<'a>) -> Option<A>,
    ) -> Option<A> {
        self.level(&self.levels[level as usize], Start::default(), text, found, take)
    }

    fn end<'a, A>(
        &self,
        leaf: Leaf<T>,
        text: &'a [u8],
        found: &mut Found<'a>,
        take: &mut impl FnMut(T, &mut Found<'a>) -> Option<A>,
    ) -> Option<A> {
        if self.ends[leaf.end as usize].read(text, found) { take(leaf.says, found) } else { None }
    }
}

impl<'f, T: Copy + Eq + Hash> Builder<'f, T> {
    /// The number of the level at which these forms go on. `others` are for the root alone.
    fn level(&mut self, rests: Vec<Rest<'f, T>>, others: Option<&[&[u8]]>) -> Option<u32> {
        if let Some(known) = self.known.get(&rests) {
            return Some(*known);
        }
        let number = u32::try_from(self.levels.len()).ok()?;
        self.levels.push(None);
        let mut sorted = rests.clone();
        // Stable: of forms with one literal the first is tried first.
        sorted.sort_by(|a, b| split(a.0).0.cmp(split(b.0).0));
        let (mut heads, mut groups): (Vec<&[u8]>, Vec<Vec<Rest<'f, T>>>) = (Vec::new(), Vec::new());
        for same in sorted.chunk_by(|a, b| split(a.0).0 == split(b.0).0) {
            let first = groups.len();
            for rest in same {
                let (parts, leaf) = (split(rest.0).1, rest.1);
                let next = |group: &&mut Vec<Rest<'f, T>>| {
                    parts.first().is_some_and(|next| group[0].0.first() == Some(next))
                };
                match groups[first..].iter_mut().find(next) {
                    Some(group) => group.push((parts, leaf)),
                    None => groups.push(vec![(parts, leaf)]),
                }
            }
            heads.resize(groups.len(), split(same[0].0).0);
        }
        let heads = match others {
            Some(others) => Heads::beside(&heads, others),
            None => Heads::new(&heads),
        }?;
        let ways = groups.iter().map(|group| self.way(group)).collect::<Option<_>>()?;
        self.levels[number as usize] = Some(Level { heads, ways });
        self.known.insert(rests, number);
        Some(number)
    }

    /// The way for forms that go on with the same part, or for one form.
    fn way(&mut self, group: &[Rest<'f, T>]) -> Option<Way<T>> {
        let first = group[0].0;
        let common = common(group);
        let then = if let [(_, leaf)] = group {
            Then::End(*leaf)
        } else {
            let rests = group.iter().map(|(parts, leaf)| (&parts[common..], *leaf));
            Then::Level(self.level(rests.collect(), None)?)
        };
        Some(Way { lead: Steps::forwards(&first[..common]), then })
    }
}

/// The literal that stands next, perhaps an empty one, and what stands behind it.
fn split(parts: &[Part]) -> (&[u8], &[Part]) {
    match parts {
        [Part::Literal(literal), behind @ ..] => (literal, behind),
        behind => (b"", behind),
    }
}

/// How many parts all of them begin with.
fn common<T>(group: &[Rest<'_, T>]) -> usize {
    let first = group[0].0;
    let like = |other: &Rest<'_, T>| first.iter().zip(other.0).take_while(|(a, b)| a == b).count();
    group[1..].iter().map(like).min().unwrap_or(first.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::pattern::{Place, compile};
    use proptest::prelude::*;

    /// Patterns that have much in common.
    fn pattern() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            Just("a".to_owned()),
            Just("ab".to_owned()),
            Just("b ".to_owned()),
            Just("<text^ :>: ".to_owned()),
            Just("<token> ".to_owned()),
            Just("<number>-".to_owned()),
            Just("<account^ > ".to_owned()),
        ];
        let parts = proptest::collection::vec(part, 0..5).prop_map(|parts| parts.concat());
        let back = prop_oneof![Just(""), Just("from <address>"), Just("<text> x <address>"), Just("[y]")];
        (parts, back).prop_map(|(front, back)| format!("{front}{back}"))
    }

    fn forms(patterns: &[String]) -> Vec<Form> {
        patterns.iter().flat_map(|pattern| compile(pattern, Place::Message).unwrap_or_default()).collect()
    }

    fn tree(forms: &[Form], says: impl Iterator<Item = usize>) -> Fronts<usize> {
        Fronts::new(&forms.iter().zip(says).collect::<Vec<_>>(), &[]).unwrap()
    }

    proptest! {
        #[test]
        fn finds_the_forms_that_each_alone_would_find(
            patterns in proptest::collection::vec(pattern(), 1..12),
            message in "(a|ab|b |x: |u |7-|from |1\\.2\\.3\\.4| x |y){0,8}",
        ) {
            let forms = forms(&patterns);
            let tree = tree(&forms, 0..);
            let mut all = Vec::new();
            tree.read(Start::default(), message.as_bytes(), &mut Found::default(), |number, found| {
                all.push((number, *found));
                None::<()>
            });
            all.sort_by_key(|(number, _)| *number);
            let alone = |form: &Form| {
                let mut found = Found::default();
                form.read(message.as_bytes(), &mut found).then_some(found)
            };
            let expected: Vec<_> =
                (0..).zip(&forms).filter_map(|(number, form)| Some((number, alone(form)?))).collect();
            prop_assert_eq!(all, expected, "{:?} {:?}", patterns, message);
        }
    }

    proptest! {
        #[test]
        fn what_cannot_begin_is_never_read(
            patterns in proptest::collection::vec(pattern(), 1..6),
            message in "(a|ab|b |x: |u |7-|from |1\\.2\\.3\\.4| x |y){0,8}",
        ) {
            let tree = tree(&forms(&patterns), 0..);
            let says = |number, _: &mut Found<'_>| Some(number);
            let read = tree.read(Start::default(), message.as_bytes(), &mut Found::default(), says);
            let cut = (0..=message.len()).find(|length| !tree.may_begin(&message.as_bytes()[..*length]));
            prop_assert!(read.is_none() || cut.is_none(), "{:?} {:?} {:?}", patterns, message, cut);
        }
    }

    proptest! {
        #[test]
        fn a_message_is_read_the_same_from_where_its_opening_leads(
            patterns in proptest::collection::vec(pattern(), 1..12),
            message in "(a|ab|b |x: |u |7-|from |1\\.2\\.3\\.4| x |y){0,12}",
            behind in "[ab\n]{16}",
        ) {
            let tree = tree(&forms(&patterns), 0..);
            let all = |start| {
                let mut all = Vec::new();
                tree.read(start, message.as_bytes(), &mut Found::default(), |number, found| {
                    all.push((number, *found));
                    None::<()>
                });
                all
            };
            // What a reader trims from a message stands behind it.
            let opening = format!("{message}  \n{behind}");
            let start = tree.start(opening.as_bytes().first_chunk().unwrap());
            prop_assert_eq!(start.map_or_else(Vec::new, all), all(Start::default()), "{:?} {:?}", patterns, message);
        }
    }

    #[test]
    fn what_a_beginning_says() {
        let forms =
            forms(&[r"pam_<text^ ()>\(one\): <address>", "x <number> y", "long enough"].map(str::to_owned));
        let tree = tree(&forms, 0..);
        for (front, may_begin) in [
            ("", true),
            ("p", true),
            ("pam_unix", true),
            ("pam_unix(o", true),
            ("pam_unix(t", false),
            ("pam_unixone", true),
            ("pam_unix one", false),
            ("x 1", true),
            ("x 1 y", true),
            ("x 1 z", false),
            ("x a", false),
            ("long en", true),
            ("long", true),
            ("longer", false),
            ("z", false),
        ] {
            assert_eq!(tree.may_begin(front.as_bytes()), may_begin, "{front}");
        }
    }

    #[test]
    fn the_longer_literal_comes_first_then_the_order() {
        let patterns = ["a <token> <text>", "a <token> b <text>", "<token> <text>", "a <token> <text>"];
        let forms = forms(&patterns.map(str::to_owned));
        let mut order = Vec::new();
        tree(&forms, 0..).read(Start::default(), b"a x b c", &mut Found::default(), |number, _| {
            order.push(number);
            None::<()>
        });
        assert_eq!(order, [1, 0, 3, 2]);
    }

    #[test]
    fn forms_that_go_on_alike_share_their_levels() {
        let forms = forms(&["[<number>-][<token> ][x: ](a|b|c) <address>[ y]".to_owned()]);
        assert_eq!(forms.len(), 48);
        let tree = tree(&forms, std::iter::repeat(7));
        assert!(tree.levels.len() < 16, "{} levels", tree.levels.len());
        assert_eq!(tree.ends.len(), 1);
    }
}
