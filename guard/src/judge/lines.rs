//! The lines that counted, for people: what each gave, and how the score went from one to the next.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Judge;
use crate::encode::{EVIDENCE, printable};
use crate::sighting::Points;
use crate::time::{Clock, Wall};

/// A line that counted, in an event and in the answer to why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// When it happened.
    pub at: Wall,
    /// The filter.
    pub filter: String,
    /// The pattern it fits, as the filter's file has it. Not in the lines of a host's ban, which says its pattern itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pattern: String,
    /// What it says.
    pub kind: String,
    /// Points it gave: less, or none, if it was joined.
    pub points: f64,
    /// The rules that changed its points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ruled_by: Option<String>,
    /// Points that its source began with before it, because a feed lists it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed: Option<Listed>,
    /// Points of lines before it that are not told: too many came since, or guard was started.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub earlier: f64,
    /// Whether it was joined with earlier lines of the same attempt.
    pub joined: bool,
    /// The score after it.
    pub score: f64,
    /// Points that had leaked away since the line before.
    pub leaked: f64,
    /// Points that were forgotten since then: a ban began, it was forgiven, or somebody logged in with a key.
    #[serde(default)]
    pub forgotten: f64,
    /// The line, printable and cut.
    pub line: String,
}

/// What a source began with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    /// The feed that lists it.
    pub feed: String,
    /// Points.
    pub points: f64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(points: &f64) -> bool {
    *points == 0.0
}

impl Judge {
    /// The last lines about an address that counted, oldest first. Of each and the one before it, the score after that, less
    /// what leaked and was forgotten, with what was given earlier, by lists and by the line, is the score.
    pub fn lines(&self, address: IpAddr, clock: Clock) -> Vec<Line> {
        let mut before = Points(0);
        let mut then = None;
        let evidence = self.engine.evidence(address);
        let line = |evidence: &crate::engine::Evidence| {
            let listed = evidence.listed.as_ref().map_or(0, |(_, points)| points.0);
            let due = before.0 + listed + evidence.points.0 - evidence.score.0;
            let (gone, earlier) = (due.max(0), -due.min(0));
            let passed = then.map_or(Duration::ZERO, |then| evidence.at.since(then));
            // More than can leak: somebody took it away, and all of it.
            let leaked = if gone > self.most_leaked(passed) { 0 } else { gone };
            (before, then) = (evidence.score, Some(evidence.at));
            Line {
                at: clock.wall_of(evidence.at),
                filter: self.filters.filter_name(evidence.pattern.filter).to_owned(),
                pattern: self.filters.pattern_text(evidence.pattern).to_owned(),
                kind: evidence.kind.name().to_owned(),
                points: evidence.points.as_f64(),
                ruled_by: evidence.ruled_by.as_deref().map(str::to_owned),
                listed: evidence
                    .listed
                    .as_ref()
                    .map(|(feed, points)| Listed { feed: (**feed).to_owned(), points: points.as_f64() }),
                earlier: Points(earlier).as_f64(),
                joined: evidence.joined,
                score: evidence.score.as_f64(),
                leaked: Points(leaked).as_f64(),
                forgotten: Points(gone - leaked).as_f64(),
                line: printable(&evidence.line, EVIDENCE),
            }
        };
        evidence.iter().map(line).collect()
    }

    /// What leaks away in a time at most, in thousandths: it goes by whole points, one of which may have been due.
    fn most_leaked(&self, time: Duration) -> i32 {
        let window = self.decide.window.as_millis().max(1);
        let leaked = time.as_millis() * u128::from(self.decide.threshold.0.unsigned_abs()) / window;
        i32::try_from(leaked + 1000).unwrap_or(i32::MAX)
    }
}
