//! Who administers the machine with a key: from one place, or on the road.

use std::net::{IpAddr, Ipv4Addr};

use super::{Hand, Person};
use crate::clock::{MINUTE, SECOND};

/// Logs in with a key several times. His agent offers others first, and once in a while he types a password wrong.
#[derive(Debug)]
pub(crate) struct Admin {
    pub(crate) from: IpAddr,
    pub(crate) logins: u64,
    /// Wrong keys that his agent offers before the right one, at most.
    pub(crate) keys: u64,
}

impl Person for Admin {
    fn act(&mut self, hand: &mut Hand<'_>) -> Option<i64> {
        self.logins = self.logins.checked_sub(1)?;
        visit(hand, self.from, self.keys);
        Some(hand.between(MINUTE, 20 * MINUTE))
    }
}

/// The same with a new address after each visit, out of networks that others use too.
#[derive(Debug)]
pub(crate) struct Roaming {
    /// The networks, /24 each.
    pub(crate) networks: Vec<Ipv4Addr>,
    pub(crate) logins: u64,
}

impl Person for Roaming {
    fn act(&mut self, hand: &mut Hand<'_>) -> Option<i64> {
        self.logins = self.logins.checked_sub(1)?;
        let network = *hand.chance.pick(&self.networks);
        // Odd, so that nobody of a botnet there has had it before.
        let host = hand.chance.within(1..=120) as u32 * 2 + 1;
        let from = IpAddr::V4(Ipv4Addr::from_bits(network.to_bits() + host));
        visit(hand, from, 2);
        Some(hand.between(5 * MINUTE, 30 * MINUTE))
    }
}

fn visit(hand: &mut Hand<'_>, from: IpAddr, keys: u64) {
    let Some(on) = hand.connect(from) else { return };
    for _ in 0..hand.chance.below(keys + 1) {
        hand.wrong_key(on, "root");
    }
    if hand.chance.one_in(4) {
        hand.wrong_password(on, "root");
    }
    let stay = hand.between(20 * SECOND, 8 * MINUTE);
    hand.key_login(on, "root", stay);
}
