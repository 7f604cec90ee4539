//! Addresses that somebody has logged in from lately. A login earns no trust; but what many share is not taken from
//! them because of others.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::trail::REMEMBERED;
use crate::target::Target;
use crate::time::Moment;

/// Addresses that are remembered. Only who can log in adds to them.
const MOST: usize = 65_536;

/// Addresses, and when somebody last logged in from each.
#[derive(Debug, Default)]
pub(super) struct Logins {
    all: BTreeMap<IpAddr, Moment>,
    /// Logins until it is rid of what is too old: as many as it holds, so that each pays for one.
    until_sweep: usize,
}

impl Logins {
    /// Somebody logged in.
    pub(super) fn add(&mut self, address: IpAddr, at: Moment) {
        if self.until_sweep == 0 {
            self.all.retain(|_, last| at.since(*last) <= REMEMBERED);
            self.until_sweep = self.all.len().max(1024);
        }
        self.until_sweep -= 1;
        if self.all.len() < MOST || self.all.contains_key(&address) {
            let last = self.all.entry(address).or_insert(at);
            *last = at.max(*last);
        }
    }

    /// Whether somebody logged in from an address lately.
    pub(super) fn from(&self, address: IpAddr, now: Moment) -> bool {
        self.all.get(&address).is_some_and(|last| now.since(*last) <= REMEMBERED)
    }

    /// An address of a prefix that somebody logged in from lately.
    pub(super) fn within(&self, prefix: Target, now: Moment) -> Option<IpAddr> {
        let net = prefix.net();
        let mut inside = self.all.range(net.network()..=net.broadcast());
        inside.find(|(_, last)| now.since(**last) <= REMEMBERED).map(|(address, _)| *address)
    }

    /// All of them, for the store.
    pub(super) fn all(&self) -> impl Iterator<Item = (IpAddr, Moment)> {
        self.all.iter().map(|(address, last)| (*address, *last))
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.all.len() * 2 * size_of::<(IpAddr, Moment)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_found_by_its_prefix_for_a_day() {
        let mut logins = Logins::default();
        let address: IpAddr = "203.0.113.9".parse().unwrap();
        logins.add(address, Moment(5000));
        logins.add(address, Moment(1000));
        let (day, prefix) = (Moment(86_405_000), "203.0.113.0/24".parse().unwrap());
        assert_eq!(logins.within(prefix, day), Some(address));
        assert_eq!(logins.within("203.0.112.0/24".parse().unwrap(), day), None);
        assert_eq!(logins.within(prefix, Moment(day.0 + 1)), None);
        assert!(logins.from(address, day) && !logins.from(address, Moment(day.0 + 1)));
    }

    #[test]
    fn their_number_is_bounded() {
        let mut logins = Logins::default();
        for address in 0..100_000u32 {
            logins.add(IpAddr::from(address.to_be_bytes()), Moment(0));
        }
        assert_eq!(logins.all().count(), MOST);
    }
}
