//! Guesses passwords: fast, slowly, from many addresses, for many accounts.

use std::net::{IpAddr, Ipv6Addr};
use std::ops::RangeInclusive;

use super::{Hand, Person};

/// Where guesses come from.
#[derive(Clone, Debug)]
pub(crate) enum Addresses {
    /// One address.
    One(IpAddr),
    /// Addresses of an IPv6 prefix, a new one after so many guesses.
    Rotating { network: Ipv6Addr, length: u8, every: u64 },
}

/// Which accounts are tried.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Accounts {
    /// This one.
    One(&'static str),
    /// One of these at random.
    Any(&'static [&'static str]),
    /// One after the other, each once.
    Each(&'static [&'static str]),
}

/// Guesses so many passwords.
#[derive(Debug)]
pub(crate) struct Guesser {
    pub(crate) from: Addresses,
    pub(crate) accounts: Accounts,
    /// Milliseconds between two guesses.
    pub(crate) pause: RangeInclusive<i64>,
    pub(crate) guesses: u64,
    /// Milliseconds after which it comes back once it was dropped; never, if there are none.
    pub(crate) back_after: Option<RangeInclusive<i64>>,
    pub(crate) made: u64,
    pub(crate) at: Option<IpAddr>,
}

impl Guesser {
    /// From one address, as fast as it is told, until it has been dropped a few times.
    pub(crate) fn new(from: IpAddr, accounts: Accounts, pause: RangeInclusive<i64>, guesses: u64) -> Self {
        Self { from: Addresses::One(from), accounts, pause, guesses, back_after: None, made: 0, at: None }
    }

    fn address(&mut self, hand: &mut Hand<'_>) -> IpAddr {
        match self.from {
            Addresses::One(address) => address,
            Addresses::Rotating { network, length, every } => {
                let old = self.at.filter(|_| !self.made.is_multiple_of(every));
                *self.at.insert(old.unwrap_or_else(|| inside(network, length, hand)))
            }
        }
    }
}

impl Person for Guesser {
    fn act(&mut self, hand: &mut Hand<'_>) -> Option<i64> {
        if self.made >= self.guesses {
            return None;
        }
        let from = self.address(hand);
        let account = match self.accounts {
            Accounts::One(account) => account,
            Accounts::Any(accounts) => hand.chance.pick(accounts),
            Accounts::Each(accounts) => accounts[self.made as usize % accounts.len()],
        };
        self.made += 1;
        let through = hand.connect(from).is_some_and(|on| hand.wrong_password(on, account));
        if through {
            return Some(hand.chance.within(self.pause.clone()));
        }
        match (&self.from, self.back_after.clone()) {
            (_, Some(after)) => Some(hand.chance.within(after)),
            // It does not wait: the next address is at hand.
            (Addresses::Rotating { .. }, None) => Some(hand.chance.within(self.pause.clone())),
            (Addresses::One(_), None) => None,
        }
    }
}

/// An address of a prefix.
fn inside(network: Ipv6Addr, length: u8, hand: &mut Hand<'_>) -> IpAddr {
    let host = u128::from(hand.chance.next()) << 64 | u128::from(hand.chance.next());
    IpAddr::V6(Ipv6Addr::from_bits(network.to_bits() | (host & (u128::MAX >> length))))
}
