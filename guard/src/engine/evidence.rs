//! The lines that counted, kept in one ring of bounded size for all sources.
//!
//! Each line points at the one before it of the same source, so the last few of a source are found without a
//! search, and the oldest lines of all make room for new ones. Behind a line's text come the names of what changed its
//! points: they are told whatever rules and feeds there are by then.

use std::collections::VecDeque;
use std::net::IpAddr;

use super::Evidence;
use super::attempt::Joined;
use super::sources::address_bits;
use crate::dense::{Dense, Record, Seed};
use crate::encode::EVIDENCE;
use crate::sighting::{Kind, PatternId, Points, Sighting};
use crate::time::Moment;

/// Bytes of text kept for all sources together.
const TEXT: usize = 4 << 20;
/// Lines kept for all sources together.
const LINES: usize = 32_768;
/// Bytes of the names of what changed a line's points.
const NAME: usize = u8::MAX as usize;

/// The ring.
#[derive(Debug)]
pub(super) struct Ring {
    /// Lines given out for each source. If 0, none are kept.
    limit: usize,
    lines: VecDeque<Line>,
    /// The lines' texts, one after the other.
    text: VecDeque<u8>,
    /// Number of the first line in the ring; the first line ever has number 1.
    first: u64,
    /// Bytes of text that have left the ring.
    gone: u64,
    /// The last line of each source.
    last: Dense<Last>,
    /// The rules that have changed the points of the line at hand, as people are told of them.
    pub(super) ruled_by: Box<str>,
}

/// What a line gave.
#[derive(Clone, Copy, Debug)]
pub(super) struct Given<'a> {
    /// Points, after joining.
    pub(super) points: Points,
    /// Whether it was joined with earlier lines of its attempt.
    pub(super) joined: bool,
    /// Points that its source began with, and the feed that lists it.
    pub(super) listed: Option<(&'a str, Points)>,
}

impl Given<'_> {
    /// Nothing.
    pub(super) const NONE: Self = Self { points: Points(0), joined: false, listed: None };

    /// What a line meant to its attempt.
    pub(super) const fn of(joined: Joined) -> Self {
        Self { points: joined.points, joined: joined.joined, listed: None }
    }
}

#[derive(Debug)]
struct Line {
    address: u128,
    at: Moment,
    /// Number of the line before it of the same source, 0 for none.
    before: u64,
    /// Where its text begins, counted from the first byte ever kept.
    start: u64,
    pattern: PatternId,
    points: Points,
    score: Points,
    /// Points that its source began with.
    listed: Points,
    /// Bytes of its text, and of the names behind it.
    length: u16,
    ruled_by: u8,
    feed: u8,
    kind: Kind,
    joined: bool,
}

const _: () = assert!(size_of::<Line>() <= 64);

#[derive(Clone, Copy, Debug)]
struct Last {
    address: u128,
    number: u64,
}

impl Record for Last {
    type Key = u128;

    fn key(&self) -> u128 {
        self.address
    }
}

impl Ring {
    /// A ring that gives out `limit` lines for each source.
    pub(super) fn new(limit: usize, seed: Seed) -> Self {
        Self {
            limit,
            lines: VecDeque::new(),
            text: VecDeque::new(),
            first: 1,
            gone: 0,
            last: Dense::new(seed),
            ruled_by: Box::default(),
        }
    }

    /// Whether lines are kept at all.
    pub(super) const fn is_kept(&self) -> bool {
        self.limit > 0
    }

    /// Keeps a line, what it gave, and the score it led to.
    #[inline]
    pub(super) fn push(&mut self, s: &Sighting<'_>, given: Given<'_>, score: Points, at: Moment) {
        if self.limit > 0 {
            self.keep(s, given, score, at);
        }
    }

    /// The last lines of an address, oldest first.
    pub(super) fn of(&self, address: IpAddr) -> Vec<Evidence> {
        let mut found = Vec::new();
        let mut number = self.last.get(address_bits(address)).map_or(0, |last| last.number);
        while found.len() < self.limit
            && let Some(line) = number.checked_sub(self.first).and_then(|i| self.lines.get(i as usize))
        {
            let mut end = (line.start - self.gone) as usize;
            let mut next = |length: usize| {
                end += length;
                self.text.range(end - length..end).copied().collect::<Vec<u8>>()
            };
            let text = next(line.length.into());
            let mut name = |length: u8| String::from_utf8_lossy(&next(length.into())).into();
            let (ruled_by, feed): (Box<str>, Box<str>) = (name(line.ruled_by), name(line.feed));
            found.push(Evidence {
                at: line.at,
                pattern: line.pattern,
                kind: line.kind,
                points: line.points,
                joined: line.joined,
                score: line.score,
                ruled_by: Some(ruled_by).filter(|names| !names.is_empty()),
                listed: Some((feed, line.listed)).filter(|(feed, _)| !feed.is_empty()),
                line: text.into(),
            });
            number = line.before;
        }
        found.reverse();
        found
    }

    /// Patterns have other numbers from now on.
    pub(super) fn renumber(&mut self, mut number: impl FnMut(PatternId) -> PatternId) {
        for line in &mut self.lines {
            line.pattern = number(line.pattern);
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.lines.capacity() * size_of::<Line>() + self.text.capacity() + self.last.bytes()
    }

    fn keep(&mut self, s: &Sighting<'_>, given: Given<'_>, score: Points, at: Moment) {
        let text = &s.line[..s.line.len().min(EVIDENCE)];
        let (feed, listed) = given.listed.unwrap_or_default();
        let ruled_by = std::mem::take(&mut self.ruled_by);
        let names = [&*ruled_by, feed].map(|name| &name.as_bytes()[..name.len().min(NAME)]);
        let bytes = text.len() + names[0].len() + names[1].len();
        while self.lines.len() >= LINES || self.text.len() + bytes > TEXT {
            self.drop_first();
        }
        let address = address_bits(s.address);
        let number = self.first + self.lines.len() as u64;
        let before = self.last.insert(Last { address, number }).map_or(0, |last| last.number);
        self.lines.push_back(Line {
            address,
            at,
            before,
            start: self.gone + self.text.len() as u64,
            pattern: s.pattern,
            points: given.points,
            score,
            listed,
            joined: given.joined,
            length: text.len() as u16,
            ruled_by: names[0].len() as u8,
            feed: names[1].len() as u8,
            kind: s.kind,
        });
        self.text.extend([text, names[0], names[1]].into_iter().flatten());
    }

    fn drop_first(&mut self) {
        let Some(line) = self.lines.pop_front() else { return };
        if self.last.get(line.address).is_some_and(|last| last.number == self.first) {
            self.last.remove(line.address);
        }
        let bytes = usize::from(line.length) + usize::from(line.ruled_by) + usize::from(line.feed);
        self.text.drain(..bytes);
        self.gone += bytes as u64;
        self.first += 1;
    }
}
