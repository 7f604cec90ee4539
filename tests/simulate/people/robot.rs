//! A job that logs in by the clock, with a password that has expired.

use std::net::IpAddr;

use super::{Hand, Person};
use crate::clock::{MINUTE, SECOND};

#[derive(Debug)]
pub(crate) struct Robot {
    pub(crate) from: IpAddr,
    pub(crate) account: &'static str,
    /// Minutes between two runs.
    pub(crate) every: i64,
    pub(crate) runs: u64,
    /// Tries of one run.
    pub(crate) tries: u64,
    pub(crate) tried: u64,
}

impl Person for Robot {
    fn act(&mut self, hand: &mut Hand<'_>) -> Option<i64> {
        if self.runs == 0 {
            return None;
        }
        if let Some(on) = hand.connect(self.from) {
            hand.wrong_password(on, self.account);
        }
        self.tried += 1;
        if self.tried < self.tries {
            return Some(5 * SECOND);
        }
        self.tried = 0;
        self.runs -= 1;
        Some(self.every * MINUTE)
    }
}
