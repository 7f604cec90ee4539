//! The forms that messages of some programs can have, compiled to a tree over what they begin with.
//!
//! The front of a message leads to the few forms it can have; that no message has two readings with different addresses
//! is checked when the filters are loaded.

use super::dispatch::Start;
use super::filter::FilterError;
use super::openings::OPENING;
use super::pattern::{self, Form, Found, Fronts};
use super::set::{Hit, Use};
use crate::encode::printable;
use crate::sighting::{PatternId, Points};

/// How a syslog daemon begins what stands for a message's repetitions.
const REPEATED: &[u8] = b"message repeated ";
/// How often a message counts at most that a syslog daemon says was repeated.
const MAX_REPEATS: i32 = 50;

/// The forms of every filter that reads messages of some programs.
#[derive(Debug, Default)]
pub(super) struct Messages {
    fronts: Fronts<Hit>,
}

impl Messages {
    /// The message patterns that are in use.
    pub(super) fn new(usage: &Use<'_>) -> Result<Self, FilterError> {
        let mut forms = Vec::new();
        for (pattern, hit) in usage.patterns() {
            forms.extend(usage.message_forms(pattern, hit)?.into_iter().map(|form| (form, hit)));
        }
        // Stable: among forms of the same head the order of the files decides.
        forms.sort_by(|a, b| a.0.head().cmp(b.0.head()));
        let forms: Vec<(&Form, Hit)> = forms.iter().map(|(form, hit)| (form, *hit)).collect();
        refuse_two_readings(usage, &forms)?;
        let fronts = Fronts::new(&forms, &[REPEATED]).ok_or_else(|| usage.too_large())?;
        Ok(Self { fronts })
    }

    /// Where to begin to read a message that begins with `opening`; `None` if it says nothing.
    #[inline(always)]
    pub(super) fn start(&self, opening: &[u8; OPENING]) -> Option<Start> {
        self.fronts.start(opening)
    }

    /// Whether any message with this opening may mean something, whatever follows.
    pub(super) fn may_begin(&self, opening: &[u8; OPENING]) -> bool {
        self.fronts.may_begin(opening) || REPEATED.starts_with(opening) || opening.starts_with(REPEATED)
    }

    /// Reads a message.
    #[inline(always)]
    pub(super) fn read<'a>(&self, message: &'a [u8], found: &mut Found<'a>) -> Option<Hit> {
        self.read_from(Start::default(), message, found)
    }

    /// Reads a message whose opening led to `start`.
    #[inline(always)]
    pub(super) fn read_from<'a>(
        &self,
        start: Start,
        message: &'a [u8],
        found: &mut Found<'a>,
    ) -> Option<Hit> {
        match self.read_once(start, message, found) {
            Some(hit) => Some(hit),
            None if message.starts_with(REPEATED) => self.read_repeated(message, found),
            None => None,
        }
    }

    #[inline(always)]
    fn read_once<'a>(&self, start: Start, message: &'a [u8], found: &mut Found<'a>) -> Option<Hit> {
        self.fronts.read(start, message, found, |hit, _| Some(hit))
    }

    /// `message repeated 3 times: [ … ]`, which syslog daemons write instead of a message's repetitions. It counts
    /// as often as it says, within reason.
    #[cold]
    fn read_repeated<'a>(&self, message: &'a [u8], found: &mut Found<'a>) -> Option<Hit> {
        let rest = message.strip_prefix(REPEATED)?;
        let digits = rest.iter().position(|b| !b.is_ascii_digit())?;
        let times: i32 = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
        let rest = rest[digits..].strip_prefix(b" times: [ ")?.strip_suffix(b"]")?;
        *found = Found::default();
        let hit = self.read_once(Start::default(), rest.trim_ascii_end(), found)?;
        let points = Points(hit.points.0.saturating_mul(times.clamp(1, MAX_REPEATS)));
        Some(Hit { points, ..hit })
    }
}

/// Refuses forms, sorted by head, that would read one text with two addresses: an attacker could choose which.
pub(super) fn refuse_two_readings(usage: &Use<'_>, forms: &[(&Form, Hit)]) -> Result<(), FilterError> {
    let filters = usage.filters;
    let is_known = |hit: &Hit| usage.knows(hit.pattern.filter);
    if forms.iter().all(|(_, hit)| is_known(hit)) {
        return Ok(());
    }
    let meetings = usage.meetings();
    let pass = |a: usize, b: usize| {
        let (a, b) = (&forms[a].1, &forms[b].1);
        let pair = (a.pattern.filter, b.pattern.filter);
        is_known(a) && is_known(b) || !meetings.contains(&pair)
    };
    let only: Vec<&Form> = forms.iter().map(|(form, _)| *form).collect();
    let Some((a, b, message)) = pattern::clash(&only, pass) else { return Ok(()) };
    let (a, b) = (forms[a].1.pattern, forms[b].1.pattern);
    let pattern = |id: PatternId| &filters[usize::from(id.filter)].patterns[usize::from(id.pattern)];
    let (other, later) = (pattern(a.min(b)), pattern(a.max(b)));
    let beside = if a == b { String::new() } else { format!("beside `{}` ", other.text) };
    Err(FilterError::Wrong {
        path: filters[usize::from(a.max(b).filter)].path.clone(),
        line: later.line,
        reason: format!(
            "the pattern `{}` is refused: {beside}a message like `{}` has two readings with different addresses, \
             so that an attacker could choose the one that is banned",
            later.text,
            printable(message.as_bytes(), 300),
        ),
    })
}
