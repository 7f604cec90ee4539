//! Scores and logins that outlive the daemon.
//!
//! Without scores whoever makes the daemon restart, or waits for it, begins at nothing again.

use std::net::IpAddr;

use super::logins::LoginAccounts;
use super::score::Score;
use crate::sighting::Points;
use crate::time::Moment;

/// The score of an address, as the store keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeptScore {
    /// The address.
    pub address: IpAddr,
    /// Its points when leaking was last accounted for; 0: there is nothing to keep any more.
    pub points: Points,
    /// When that was.
    pub settled: Moment,
}

/// When somebody last logged in from an address, as the store keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeptLogin {
    /// The address.
    pub address: IpAddr,
    /// When that was; `None`: there is nothing to keep any more.
    pub last: Option<Moment>,
    /// The accounts.
    pub accounts: LoginAccounts,
}

impl KeptScore {
    /// What is kept of an address that may have no score.
    pub(super) fn of(address: IpAddr, score: Option<Score>) -> Self {
        let score = score.unwrap_or(Score::empty(Moment(0)));
        Self { address, points: score.points(), settled: score.settled() }
    }

    /// The score it was, none of it in the future.
    pub(super) fn score(&self, now: Moment) -> Score {
        Score::kept(self.points, self.settled.min(now))
    }
}
