//! Lines that rules ignore: they count for nothing, but whoever asks why is told of them.
//!
//! They are counted by address, and the last of each is kept, for a bounded number of addresses: who is ignored writes as
//! many lines as he likes, and takes no room from the lines that counted.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Judge, Line};
use crate::encode::EVIDENCE;
use crate::rules::Rule;
use crate::sighting::{Kind, PatternId, Points, Sighting};
use crate::target::canonical;
use crate::time::Clock;

/// Addresses that are looked after; the one that has been there longest makes room.
const MOST: usize = 4096;

/// What rules have ignored of an address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IgnoredLines {
    /// The rule that ignored the last line; of several, the first.
    pub rule: String,
    /// How many lines.
    pub times: u64,
    /// The last of them, and what it would have given.
    pub last: Line,
}

/// What rules have ignored, by address.
#[derive(Debug, Default)]
pub(super) struct Ignored {
    lines: HashMap<IpAddr, Last>,
    /// The addresses in the order they came in.
    order: VecDeque<IpAddr>,
}

/// The last line of an address, as it came: it is put into words for whoever asks.
#[derive(Debug)]
struct Last {
    rule: Arc<Rule>,
    times: u64,
    at: Clock,
    kind: Kind,
    pattern: PatternId,
    points: Points,
    text: Vec<u8>,
}

impl Ignored {
    fn add(&mut self, rule: &Arc<Rule>, sighting: &Sighting<'_>, at: Clock) {
        let address = canonical(sighting.address);
        let known = self.lines.remove(&address);
        if known.is_none() {
            if self.lines.len() >= MOST
                && let Some(oldest) = self.order.pop_front()
            {
                self.lines.remove(&oldest);
            }
            self.order.push_back(address);
        }
        let (times, mut text) = known.map_or((0, Vec::new()), |known| (known.times, known.text));
        text.clear();
        text.extend_from_slice(&sighting.line[..sighting.line.len().min(EVIDENCE)]);
        let Sighting { kind, pattern, points, .. } = *sighting;
        let last = Last { rule: Arc::clone(rule), times: times + 1, at, kind, pattern, points, text };
        self.lines.insert(address, last);
    }
}

impl Judge {
    /// What rules have ignored of an address.
    pub fn ignored(&self, address: IpAddr) -> Option<IgnoredLines> {
        let last = self.ignored.lines.get(&canonical(address))?;
        let line = Sighting {
            at: None,
            address,
            kind: last.kind,
            points: last.points,
            pattern: last.pattern,
            pid: 0,
            port: 0,
            account: None,
            service: &[],
            request: None,
            line: &last.text,
        };
        let (rule, last_line) = (last.rule.name().to_owned(), self.line_of(&line, last.at));
        Some(IgnoredLines { rule, times: last.times, last: last_line })
    }

    /// A rule has ignored a line.
    pub(super) fn note_ignored(&mut self, rule: &Arc<Rule>, sighting: &Sighting<'_>, clock: Clock) {
        self.ignored.add(rule, sighting, clock);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::rules::RuleSet;
    use crate::time::{Moment, Wall};

    #[test]
    fn the_oldest_of_too_many_make_room() {
        let rules = "[[rule]]\nname = 'one'\nwhen = { user = 'root' }\nthen = { ignore = true }";
        let rules = RuleSet::compile(rules, Path::new("rules.toml")).unwrap();
        let rule = rules.rules().next().unwrap().0;
        let at = Clock { wall: Wall(0), moment: Moment(0) };
        let mut ignored = Ignored::default();
        let address = |number: usize| IpAddr::from((number as u32).to_be_bytes());
        for number in (0..MOST + 10).chain([MOST]) {
            let sighting = Sighting {
                at: None,
                address: address(number),
                kind: Kind::FailedPassword,
                points: Points(1000),
                pattern: PatternId::default(),
                pid: 0,
                port: 0,
                account: None,
                service: &[],
                request: None,
                line: b"a line",
            };
            ignored.add(rule, &sighting, at);
        }
        let times = |number| ignored.lines.get(&address(number)).map(|lines| lines.times);
        assert_eq!((ignored.lines.len(), ignored.order.len()), (MOST, MOST));
        assert_eq!((times(9), times(10), times(MOST), times(MOST + 9)), (None, Some(1), Some(2), Some(1)));
    }
}
