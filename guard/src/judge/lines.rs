//! The lines that counted, for people: what each gave, and how the score went from one to the next.

use std::net::IpAddr;

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
    /// The pattern it fits, as the filter's file has it.
    pub pattern: String,
    /// What it says.
    pub kind: String,
    /// Points it gave: less, or none, if it was joined.
    pub points: f64,
    /// Whether it was joined with earlier lines of the same attempt.
    pub joined: bool,
    /// The score after it.
    pub score: f64,
    /// Points that had leaked away since the line before.
    pub leaked: f64,
    /// The line, printable and cut.
    pub line: String,
}

impl Judge {
    /// The last lines about an address that counted, oldest first.
    pub fn lines(&self, address: IpAddr, clock: Clock) -> Vec<Line> {
        let mut before = Points(0);
        let evidence = self.engine.evidence(address);
        let line = |evidence: &crate::engine::Evidence| {
            // A score that has led to a ban starts anew.
            let left = if before >= self.decide.threshold { Points(0) } else { before };
            let leaked = (left.0 + evidence.points.0 - evidence.score.0).max(0);
            before = evidence.score;
            Line {
                at: clock.wall_of(evidence.at),
                filter: self.filters.filter_name(evidence.pattern.filter).to_owned(),
                pattern: self.filters.pattern_text(evidence.pattern).to_owned(),
                kind: evidence.kind.name().to_owned(),
                points: evidence.points.as_f64(),
                joined: evidence.joined,
                score: evidence.score.as_f64(),
                leaked: Points(leaked).as_f64(),
                line: printable(&evidence.line, EVIDENCE),
            }
        };
        evidence.iter().map(line).collect()
    }
}
