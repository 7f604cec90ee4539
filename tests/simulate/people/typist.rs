//! Logs in with a password, and mistypes it at times: never often enough in a row to be taken for an attacker.

use std::net::IpAddr;

use super::{Hand, Person};
use crate::clock::{MINUTE, SECOND};

#[derive(Debug)]
pub(crate) struct Typist {
    pub(crate) from: IpAddr,
    pub(crate) account: &'static str,
    pub(crate) logins: u64,
    /// Once in so many logins he mistypes, up to three times.
    pub(crate) slips_one_in: u64,
    /// Wrong tries still to come before the right one.
    pub(crate) slips: u64,
}

impl Typist {
    pub(crate) fn new(from: IpAddr, account: &'static str, logins: u64, slips_one_in: u64) -> Self {
        Self { from, account, logins, slips_one_in, slips: 0 }
    }
}

impl Person for Typist {
    fn act(&mut self, hand: &mut Hand<'_>) -> Option<i64> {
        if self.slips > 0 {
            self.slips -= 1;
            let on = hand.connect(self.from);
            on.map(|on| hand.wrong_password(on, self.account));
            return Some(hand.between(3 * SECOND, 20 * SECOND));
        }
        self.logins = self.logins.checked_sub(1)?;
        if let Some(on) = hand.connect(self.from) {
            let stay = hand.between(30 * SECOND, 5 * MINUTE);
            hand.password_login(on, self.account, stay);
        }
        if hand.chance.one_in(self.slips_one_in) {
            self.slips = 1 + hand.chance.below(3);
        }
        Some(hand.between(12 * MINUTE, 40 * MINUTE))
    }
}
