//! An office that works with a web server all day, and whose people mistype their passwords there now and then. No line
//! says of any of them that he was let in.

use std::net::IpAddr;

use super::{Hand, Person};
use crate::clock::{HOUR, MINUTE};

const EDGE: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Edg/142.0";
const PEOPLE: [&str; 5] = ["alice", "bob", "carol", "dora", "emil"];
/// Requests that work, to each that does not.
const GOOD: u64 = 15;

#[derive(Debug)]
pub(crate) struct Intranet {
    from: IpAddr,
    days: u64,
    /// Wrong passwords of a day.
    mistakes: u64,
    made: u64,
    good: u64,
}

impl Intranet {
    /// So many days with so many mistakes each, half an hour apart.
    pub(crate) fn new(from: IpAddr, days: u64, mistakes: u64) -> Self {
        Self { from, days, mistakes, made: 0, good: 0 }
    }
}

impl Person for Intranet {
    fn act(&mut self, hand: &mut Hand<'_>) -> Option<i64> {
        if self.days == 0 {
            return None;
        }
        let account = *hand.chance.pick(&PEOPLE);
        self.good += 1;
        if self.good <= GOOD {
            hand.request_as(self.from, account, true, EDGE);
            return Some(2 * MINUTE);
        }
        self.good = 0;
        hand.request_as(self.from, account, false, EDGE);
        self.made += 1;
        if self.made < self.mistakes {
            return Some(hand.between(MINUTE / 2, MINUTE));
        }
        self.made = 0;
        self.days -= 1;
        Some(15 * HOUR)
    }
}
