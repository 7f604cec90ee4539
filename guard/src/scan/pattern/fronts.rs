//! The fronts of many forms as one tree: what several of them begin with, literals and fields, is read once, and what
//! cannot follow is never looked at. So a message costs what it has in common with some form, however many there are.
//!
//! A level is a tree over literals; behind a literal follow the fields that forms have next, and behind those the next
//! level. At each place the longest literal that fits is tried first, among equals the form that comes first; a field
//! ends where its kind of byte ends, so there is one way to read it and nothing is searched.

use super::form::{Form, Found, Part};
use super::steps::Steps;
use crate::scan::dispatch::{Heads, Start};
use crate::scan::openings::OPENING;

/// The fronts of forms, which are known by their numbers.
#[derive(Debug)]
pub(in crate::scan) struct Fronts {
    /// The root comes first.
    levels: Vec<Level>,
}

#[derive(Debug)]
struct Level {
    /// The literals that stand next, one for each way.
    heads: Heads,
    ways: Vec<Way>,
}

/// What can follow a literal.
#[derive(Debug)]
struct Way {
    /// What all its forms have in common.
    lead: Steps,
    then: Then,
}

#[derive(Clone, Copy, Debug)]
enum Then {
    /// The front of a form ends here.
    Form(u32),
    Level(u32),
}

/// What is left of the front of a form.
struct Rest<'f> {
    literal: &'f [u8],
    behind: &'f [Part],
    form: u32,
}

impl Fronts {
    /// The fronts of these forms; `None` if they are too many. A message that begins with one of `others` may mean
    /// something as well.
    pub(in crate::scan) fn new(forms: &[&Form], others: &[&[u8]]) -> Option<Self> {
        let rest = |(number, form): (usize, &&'_ Form)| -> Option<(u32, Vec<Part>)> {
            Some((u32::try_from(number).ok()?, form.front()))
        };
        let fronts: Vec<(u32, Vec<Part>)> = forms.iter().enumerate().map(rest).collect::<Option<_>>()?;
        let mut tree = Self { levels: Vec::new() };
        tree.add(fronts.iter().map(|(form, parts)| Rest::new(*form, parts)).collect(), others)?;
        Some(tree)
    }

    /// Adds the level at which these forms go on, and answers its number.
    fn add(&mut self, mut forms: Vec<Rest<'_>>, others: &[&[u8]]) -> Option<u32> {
        let number = u32::try_from(self.levels.len()).ok()?;
        // Stable: of forms with one literal the first is tried first.
        forms.sort_by(|a, b| a.literal.cmp(b.literal));
        let (mut heads, mut groups): (Vec<&[u8]>, Vec<Vec<&Rest<'_>>>) = (Vec::new(), Vec::new());
        for same in forms.chunk_by(|a, b| a.literal == b.literal) {
            let first = groups.len();
            for form in same {
                let next = |group: &&mut Vec<&Rest<'_>>| {
                    form.behind.first().is_some_and(|next| group[0].behind.first() == Some(next))
                };
                match groups[first..].iter_mut().find(next) {
                    Some(group) => group.push(form),
                    None => groups.push(vec![form]),
                }
            }
            heads.resize(groups.len(), same[0].literal);
        }
        let heads = if number == 0 { Heads::beside(&heads, others) } else { Heads::new(&heads) }?;
        self.levels.push(Level { heads, ways: Vec::with_capacity(groups.len()) });
        for group in groups {
            let way = self.way(&group)?;
            self.levels[number as usize].ways.push(way);
        }
        Some(number)
    }

    /// The way for forms that go on with the same part, or for one form.
    fn way(&mut self, group: &[&Rest<'_>]) -> Option<Way> {
        let common = common(group);
        let lead = Steps::forwards(&group[0].behind[..common]);
        let then = if let [form] = group {
            Then::Form(form.form)
        } else {
            let rests = group.iter().map(|rest| Rest::new(rest.form, &rest.behind[common..]));
            Then::Level(self.add(rests.collect(), &[])?)
        };
        Some(Way { lead, then })
    }

    /// Where to begin to read a message with this opening; `None` if it means nothing, whatever follows.
    #[inline(always)]
    pub(in crate::scan) fn start(&self, opening: &[u8; OPENING]) -> Option<Start> {
        self.levels[0].heads.start(opening)
    }

    /// Reads the front of a message whose opening led to `start`; any opening leads to the default. Calls `end` for
    /// the forms whose front it has, with what is left of the message, until it answers something.
    #[inline(always)]
    pub(in crate::scan) fn read<'a, T>(
        &self,
        start: Start,
        message: &'a [u8],
        found: &mut Found<'a>,
        mut end: impl FnMut(usize, &'a [u8], &mut Found<'a>) -> Option<T>,
    ) -> Option<T> {
        self.level(&self.levels[0], start, message, found, &mut end)
    }

    #[inline(always)]
    fn level<'a, T>(
        &self,
        level: &Level,
        start: Start,
        text: &'a [u8],
        found: &mut Found<'a>,
        end: &mut impl FnMut(usize, &'a [u8], &mut Found<'a>) -> Option<T>,
    ) -> Option<T> {
        let before = *found;
        let mut fit = level.heads.longest_from(start, text);
        while let Some(this) = fit {
            let (ways, head) = level.heads.forms(this);
            for way in &level.ways[ways] {
                if let Some(rest) = way.lead.read_front(&text[head..], found) {
                    let answer = match way.then {
                        Then::Form(form) => end(form as usize, rest, found),
                        Then::Level(deeper) => self.deeper(deeper, rest, found, end),
                    };
                    if answer.is_some() {
                        return answer;
                    }
                }
                *found = before;
            }
            fit = level.heads.shorter(this);
        }
        None
    }

    fn deeper<'a, T>(
        &self,
        level: u32,
        text: &'a [u8],
        found: &mut Found<'a>,
        end: &mut impl FnMut(usize, &'a [u8], &mut Found<'a>) -> Option<T>,
    ) -> Option<T> {
        self.level(&self.levels[level as usize], Start::default(), text, found, end)
    }
}

impl<'f> Rest<'f> {
    fn new(form: u32, parts: &'f [Part]) -> Self {
        match parts {
            [Part::Literal(literal), behind @ ..] => Self { literal, behind, form },
            behind => Self { literal: b"", behind, form },
        }
    }
}

/// How many parts all of them begin with.
fn common(group: &[&Rest<'_>]) -> usize {
    let first = group[0].behind;
    let like = |other: &&Rest<'_>| first.iter().zip(other.behind).take_while(|(a, b)| a == b).count();
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

    proptest! {
        #[test]
        fn finds_the_forms_that_each_alone_would_find(
            patterns in proptest::collection::vec(pattern(), 1..12),
            message in "(a|ab|b |x: |u |7-|from |1\\.2\\.3\\.4| x |y){0,8}",
        ) {
            let forms = forms(&patterns);
            let tree = Fronts::new(&forms.iter().collect::<Vec<_>>(), &[]).unwrap();
            let mut all = Vec::new();
            let none: Option<()> =
                tree.read(Start::default(), message.as_bytes(), &mut Found::default(), |number, rest, found| {
                    let mut found = *found;
                    if forms[number].read_behind_front(rest, &mut found) {
                        all.push((number, found));
                    }
                    None
                });
            prop_assert!(none.is_none());
            all.sort_by_key(|(number, _)| *number);
            let alone = |form: &Form| {
                let mut found = Found::default();
                let rest = message.as_bytes().strip_prefix(form.head())?;
                form.read(rest, &mut found).then_some(found)
            };
            let expected: Vec<_> =
                forms.iter().enumerate().filter_map(|(number, form)| Some((number, alone(form)?))).collect();
            prop_assert_eq!(all, expected, "{:?} {:?}", patterns, message);
        }
    }

    #[test]
    fn the_longer_literal_comes_first_then_the_order() {
        let patterns = ["a <token> <text>", "a <token> b <text>", "<token> <text>", "a <token> <text>"];
        let forms = forms(&patterns.map(str::to_owned));
        let tree = Fronts::new(&forms.iter().collect::<Vec<_>>(), &[]).unwrap();
        let mut order = Vec::new();
        tree.read(Start::default(), b"a x b c", &mut Found::default(), |number, _, _| -> Option<()> {
            order.push(number);
            None
        });
        assert_eq!(order, [1, 0, 3, 2]);
    }
}
