//! Guesses a password, and guesses right: few failures, then a login.

use std::net::IpAddr;

use super::{Hand, Person};

#[derive(Debug)]
pub(crate) struct Lucky {
    pub(crate) from: IpAddr,
    pub(crate) account: &'static str,
    /// Wrong guesses still to come.
    pub(crate) wrong: u64,
    /// Milliseconds between two guesses.
    pub(crate) pause: i64,
}

impl Person for Lucky {
    fn act(&mut self, hand: &mut Hand<'_>) -> Option<i64> {
        let on = hand.connect(self.from)?;
        if self.wrong == 0 {
            hand.password_login(on, self.account, 600_000);
            return None;
        }
        self.wrong -= 1;
        hand.wrong_password(on, self.account);
        Some(self.pause)
    }
}
