//! Lines that rules ignore: they count for nothing, but whoever asks why is told of them.
//!
//! They are counted by address, and the last of each is kept, for a bounded number of addresses: who is ignored writes as
//! many lines as he likes, and takes no room from the lines that counted.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{Judge, Line};
use crate::sighting::Sighting;
use crate::target::canonical;
use crate::time::Clock;

/// Addresses that are looked after; the one that has been there longest makes room.
const MOST: usize = 4096;

/// What rules have ignored of an address.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct IgnoredLines {
    /// The rules that ignored the last line.
    pub rules: String,
    /// How many lines.
    pub times: u64,
    /// The last of them, and what it would have given.
    pub last: Line,
}

/// What rules have ignored, by address.
#[derive(Debug, Default)]
pub(super) struct Ignored {
    lines: HashMap<IpAddr, IgnoredLines>,
    /// The addresses in the order they came in.
    order: VecDeque<IpAddr>,
}

impl Ignored {
    fn add(&mut self, address: IpAddr, rules: String, last: Line) {
        if let Some(known) = self.lines.get_mut(&address) {
            *known = IgnoredLines { rules, times: known.times + 1, last };
            return;
        }
        if self.lines.len() >= MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.lines.remove(&oldest);
        }
        self.order.push_back(address);
        self.lines.insert(address, IgnoredLines { rules, times: 1, last });
    }
}

impl Judge {
    /// What rules have ignored of an address.
    pub fn ignored(&self, address: IpAddr) -> Option<&IgnoredLines> {
        self.ignored.lines.get(&canonical(address))
    }

    /// Rules have ignored a line.
    pub(super) fn note_ignored(&mut self, rules: &str, sighting: &Sighting<'_>, clock: Clock) {
        let line = self.line_of(sighting, clock);
        self.ignored.add(canonical(sighting.address), rules.to_owned(), line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Wall;

    #[test]
    fn the_oldest_of_too_many_make_room() {
        let line = Line {
            at: Wall(0),
            filter: "sshd".into(),
            pattern: String::new(),
            kind: "failed-password".into(),
            points: 1.0,
            ruled_by: None,
            listed: None,
            earlier: 0.0,
            joined: false,
            score: 1.0,
            leaked: 0.0,
            forgotten: 0.0,
            line: "a line".into(),
        };
        let mut ignored = Ignored::default();
        let address = |number: usize| IpAddr::from((number as u32).to_be_bytes());
        for number in (0..MOST + 10).chain([MOST]) {
            ignored.add(address(number), "one".into(), line.clone());
        }
        let times = |number| ignored.lines.get(&address(number)).map(|lines| lines.times);
        assert_eq!((ignored.lines.len(), ignored.order.len()), (MOST, MOST));
        assert_eq!((times(9), times(10), times(MOST), times(MOST + 9)), (None, Some(1), Some(2), Some(1)));
    }
}
