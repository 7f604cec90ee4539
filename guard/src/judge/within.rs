//! Who is banned or has points inside a prefix, the worst first: gathered in parts, between which everything may change.

use super::Judge;
use crate::ban::Walk;
use crate::sighting::Points;
use crate::target::Target;
use crate::time::Moment;

/// A banned target or scored address inside a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Inside {
    // The order of a list is that of the fields: banned ones first, then by their scores.
    rank: (bool, i32),
    /// The target.
    pub target: Target,
    /// When its ban ends, `None` for good or if it has none.
    pub until: Option<Moment>,
}

impl Inside {
    fn new(target: Target, is_banned: bool, score: Points, until: Option<Moment>) -> Self {
        Self { rank: (!is_banned, -score.0), target, until }
    }

    /// Whether it has a ban of its own.
    pub fn is_banned(&self) -> bool {
        !self.rank.0
    }

    /// The score that led to the ban, else the present one.
    pub fn score(&self) -> Points {
        Points(-self.rank.1)
    }
}

/// The list of a prefix, as far as it is gathered.
#[derive(Debug)]
pub struct Within {
    prefix: Target,
    bans: Walk,
    /// Sources of the engine that are still to be looked at.
    sources: usize,
    found: Worst,
}

/// The worst of what is found.
#[derive(Debug)]
struct Worst {
    most: usize,
    /// The first ones so far, and some more.
    first: Vec<Inside>,
    count: u64,
}

impl Within {
    /// Begins with the first `most` inside a prefix.
    pub fn new(prefix: Target, most: usize, judge: &Judge) -> Self {
        let sources = usize::try_from(judge.engine.tracked()).unwrap_or(usize::MAX);
        let found = Worst { most: most.max(1), first: Vec::new(), count: 0 };
        Self { prefix, bans: judge.bans.walk(), sources, found }
    }

    /// The prefix.
    pub fn prefix(&self) -> Target {
        self.prefix
    }

    /// Looks at the next bans or sources, at most `part`. Whether there are more.
    pub fn step(&mut self, judge: &Judge, part: usize, now: Moment) -> bool {
        let Self { prefix, bans, sources, found } = self;
        if let Some(bans) = judge.bans.part(bans, part) {
            let is_inside =
                |target: Target| target.length() > prefix.length() && prefix.covers(target.address());
            for (ban, _) in bans.filter(|(ban, _)| is_inside(ban.target)) {
                found.add(Inside::new(ban.target, true, ban.score, ban.until));
            }
            return true;
        }
        if *sources == 0 {
            return false;
        }
        // From the last to the first, as a walk over the bans goes and for the same reason.
        let end = *sources;
        *sources = end.saturating_sub(part);
        let scores = judge.engine.scores_in(*sources..end);
        for address in scores.map(|kept| kept.address).filter(|address| prefix.covers(*address)) {
            let (target, score) = (Target::host(address), judge.engine.score(address, now));
            if score.0 > 0 && judge.bans.get(target).is_none() {
                found.add(Inside::new(target, false, score, None));
            }
        }
        true
    }

    /// The first ones in their order, and how many there are. What changed its place while it was gone through may have
    /// been counted twice.
    pub fn finish(self) -> (Vec<Inside>, u64) {
        let Worst { most, mut first, count } = self.found;
        first.sort_unstable();
        first.dedup_by_key(|inside| inside.target);
        first.truncate(most);
        (first, count)
    }
}

impl Worst {
    fn add(&mut self, inside: Inside) {
        self.count += 1;
        self.first.push(inside);
        if self.first.len() >= self.most * 2 {
            self.first.select_nth_unstable(self.most - 1);
            self.first.truncate(self.most);
        }
    }
}
