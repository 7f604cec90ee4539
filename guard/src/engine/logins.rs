//! Addresses that somebody has logged in from lately, and how many have. A login with a password earns no trust; but what
//! many share is not taken from them because of others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::accounts::AccountKey;
use super::kept::KeptLogin;
use super::trail::{REMEMBERED, Sorts};
use crate::target::Target;
use crate::time::Moment;

/// Addresses that are remembered. Only who can log in adds to them.
const MOST: usize = 65_536;
/// A login so soon after the last one that is remembered of its address changes nothing: a mail server has a hundred a
/// second, mostly from the same addresses, and each change is a row for the store.
const FRESH: Duration = Duration::from_secs(900);
/// For how long a login counts: a day at least.
const LASTS: Duration = REMEMBERED.saturating_add(FRESH);

/// The accounts of an address: a bit for each of 32 sorts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LoginAccounts(pub u32);

impl LoginAccounts {
    /// Whoever holds a key speaks for all who share his address.
    pub(super) const TRUSTED: Self = Self(u32::MAX);

    /// Those that an engine of another seed told apart, as one of this seed may take them: it cannot tell them from others.
    #[must_use]
    pub fn of_another_seed(self) -> Self {
        if self == Self::TRUSTED { self } else { Self::default() }
    }

    /// An account that a line may not name.
    pub(super) fn of(account: Option<AccountKey>) -> Self {
        Self(1 << (account.map_or(0, |key| key.0) >> 59))
    }

    /// The same, as coarse as a trail tells them apart: each of its sorts is four of these.
    fn sorts(self) -> Sorts {
        let sort = |n: u8| u8::from(self.0 >> (4 * n) & 15 != 0) << n;
        Sorts((0..8).map(sort).sum())
    }
}

/// What is remembered of an address.
#[derive(Clone, Copy, Debug)]
struct Login {
    last: Moment,
    accounts: LoginAccounts,
}

/// Addresses, and when somebody last logged in from each.
#[derive(Debug, Default)]
pub(super) struct Logins {
    all: BTreeMap<IpAddr, Login>,
    /// The same, the oldest first.
    by_age: BTreeSet<(Moment, IpAddr)>,
    /// Those that have changed, once anybody asks.
    changed: Option<BTreeSet<IpAddr>>,
    /// Addresses that were forgotten to make room.
    pub(super) evicted: u64,
}

impl Logins {
    /// Somebody logged in to these accounts.
    pub(super) fn add(&mut self, address: IpAddr, accounts: LoginAccounts, at: Moment) {
        while let Some((last, oldest)) = self.by_age.first().copied()
            && at.since(last) > LASTS
        {
            self.remove(oldest);
        }
        let known = self.all.get(&address).copied();
        let before = known.map_or_else(LoginAccounts::default, |known| known.accounts);
        let accounts = LoginAccounts(before.0 | accounts.0);
        if known.is_some_and(|known| accounts == known.accounts && at < known.last + FRESH) {
            return;
        }
        if known.is_none() && self.all.len() >= MOST {
            // One that is older than all others makes no room for itself.
            let Some((last, oldest)) = self.by_age.first().copied() else { return };
            self.evicted += 1;
            if at <= last {
                return;
            }
            self.remove(oldest);
        }
        self.put(address, Login { last: known.map_or(at, |known| known.last.max(at)), accounts });
    }

    /// Who logged in from an address is still there.
    pub(super) fn stays(&mut self, address: IpAddr, at: Moment) {
        self.add(address, LoginAccounts::default(), at);
    }

    /// Whether somebody logged in from an address lately.
    pub(super) fn from(&self, address: IpAddr, now: Moment) -> bool {
        self.lately(address, now).is_some()
    }

    /// Whether others share an address with whoever guesses there at accounts of these sorts: more accounts have logged in
    /// from it than are guessed at besides them. So who owns one account, and logs in to it, gains nothing by that.
    pub(super) fn outnumber(&self, guessed: Sorts, address: IpAddr, now: Moment) -> bool {
        self.lately(address, now).is_some_and(|login| {
            let others = guessed.0 & !login.accounts.sorts().0;
            login.accounts.0.count_ones() > others.count_ones()
        })
    }

    /// An address of a prefix that somebody logged in from lately.
    pub(super) fn within(&self, prefix: Target, now: Moment) -> Option<IpAddr> {
        let net = prefix.net();
        let mut inside = self.all.range(net.network()..=net.broadcast());
        inside.find(|(_, login)| now.since(login.last) <= LASTS).map(|(address, _)| *address)
    }

    /// All of them, for the store.
    pub(super) fn all(&self) -> impl Iterator<Item = KeptLogin> {
        self.all.iter().map(|(address, login)| kept(*address, Some(*login)))
    }

    /// From here on [`Self::changed`] is asked, from time to time.
    pub(super) fn follow(&mut self) {
        self.changed.get_or_insert_default();
    }

    /// Those that changed since the last call, each once.
    pub(super) fn changed(&mut self) -> Vec<KeptLogin> {
        let changed = self.changed.as_mut().map(std::mem::take).unwrap_or_default();
        changed.into_iter().map(|address| kept(address, self.all.get(&address).copied())).collect()
    }

    /// Takes one over from the store. What lies in the future was no later than now.
    pub(super) fn restore(&mut self, login: &KeptLogin, now: Moment) {
        if let Some(last) = login.last
            && now.since(last) <= LASTS
            && (self.all.len() < MOST || self.all.contains_key(&login.address))
        {
            self.put(login.address, Login { last: last.min(now), accounts: login.accounts });
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.all.len() * 2 * (size_of::<(IpAddr, Login)>() + size_of::<(Moment, IpAddr)>())
    }

    fn lately(&self, address: IpAddr, now: Moment) -> Option<&Login> {
        self.all.get(&address).filter(|login| now.since(login.last) <= LASTS)
    }

    fn put(&mut self, address: IpAddr, login: Login) {
        if let Some(before) = self.all.insert(address, login) {
            self.by_age.remove(&(before.last, address));
        }
        self.by_age.insert((login.last, address));
        self.note(address);
    }

    fn remove(&mut self, address: IpAddr) {
        if let Some(login) = self.all.remove(&address) {
            self.by_age.remove(&(login.last, address));
            self.note(address);
        }
    }

    fn note(&mut self, address: IpAddr) {
        if let Some(changed) = &mut self.changed {
            changed.insert(address);
        }
    }
}

fn kept(address: IpAddr, login: Option<Login>) -> KeptLogin {
    let accounts = login.map_or_else(LoginAccounts::default, |login| login.accounts);
    KeptLogin { address, last: login.map(|login| login.last), accounts }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    /// The account of a number; each is of another sort.
    fn account(number: u64) -> LoginAccounts {
        LoginAccounts::of(Some(AccountKey(number << 59)))
    }

    fn address(number: u32) -> IpAddr {
        IpAddr::from(number.to_be_bytes())
    }

    #[test]
    fn a_login_is_found_by_its_prefix_for_a_day() {
        let mut logins = Logins::default();
        let address: IpAddr = "203.0.113.9".parse().unwrap();
        logins.add(address, account(1), Moment(5000));
        logins.add(address, account(1), Moment(1000));
        let (day, prefix) = (Moment(DAY + 5000 + 900_000), "203.0.113.0/24".parse().unwrap());
        assert_eq!(logins.within(prefix, day), Some(address));
        assert_eq!(logins.within("203.0.112.0/24".parse().unwrap(), day), None);
        assert_eq!(logins.within(prefix, Moment(day.0 + 1)), None);
        assert!(logins.from(address, day) && !logins.from(address, Moment(day.0 + 1)));
    }

    #[test]
    fn every_login_counts_for_a_day_though_few_change_anything() {
        let mut logins = Logins::default();
        logins.follow();
        let mut rows = 0;
        for second in 0..DAY / 1000 {
            logins.add(address(1), account(1), Moment(second * 1000));
            rows += logins.changed().len();
            assert!(logins.from(address(1), Moment(second * 1000 + DAY)));
        }
        assert_eq!(rows, 96, "one for a quarter of an hour");
    }

    #[test]
    fn the_oldest_make_room_and_are_counted() {
        let mut logins = Logins::default();
        logins.follow();
        let most = MOST as u32;
        // The lowest addresses are the newest.
        for n in 0..most + 1000 {
            logins.add(address(most + 1000 - n), account(1), Moment(n.into()));
        }
        let now = Moment(i64::from(most) + 1000);
        assert_eq!((logins.all().count(), logins.evicted), (MOST, 1000));
        assert!(logins.from(address(1), now) && !logins.from(address(most + 1000), now));
        logins.add(address(0), account(1), Moment(0));
        assert_eq!((logins.from(address(0), now), logins.evicted), (false, 1001), "older than all others");
        let gone = logins.changed().iter().filter(|login| login.last.is_none()).count();
        assert_eq!(gone, 1000, "the store forgets them too");

        logins.add(address(9), account(1), Moment(now.0 + 2 * DAY));
        assert_eq!((logins.all().count(), logins.evicted), (1, 1001), "what is over takes no room");
    }

    #[test]
    fn what_is_kept_comes_back_none_of_it_in_the_future() {
        let (mut logins, mut next) = (Logins::default(), Logins::default());
        for (n, at) in [(1, 0), (2, DAY), (3, 3 * DAY)] {
            logins.put(address(n), Login { last: Moment(at), accounts: account(u64::from(n)) });
        }
        for login in logins.all() {
            next.restore(&login, Moment(DAY + 900_001));
        }
        let back: Vec<_> = next.all().map(|login| (login.address, login.last, login.accounts)).collect();
        let now = Some(Moment(DAY + 900_001));
        assert_eq!(back, [(address(2), Some(Moment(DAY)), account(2)), (address(3), now, account(3))]);
    }

    #[test]
    fn an_address_is_shared_if_more_accounts_log_in_than_are_guessed_at_besides() {
        let mut logins = Logins::default();
        let mut outnumber = |own: &[u64], guessed: &[u8]| {
            let accounts = own.iter().map(|n| account(*n).0).fold(0, |all, bit| all | bit);
            logins.put(address(1), Login { last: Moment(0), accounts: LoginAccounts(accounts) });
            let guessed = Sorts(guessed.iter().fold(0, |all, n| all | 1 << n));
            logins.outnumber(guessed, address(1), Moment(0))
        };
        assert!(outnumber(&[0], &[]) && outnumber(&[0], &[0]), "his own password, forgotten");
        assert!(!outnumber(&[0], &[1]), "one account of his own for one of another");
        assert!(outnumber(&[0, 9, 17, 30], &[0, 1, 3, 5]) && !outnumber(&[0, 9, 17, 30], &[0, 1, 3, 5, 6]));
        assert!(!outnumber(&[0, 1, 2, 3], &[1, 2, 3, 4]), "of one sort as a trail tells them apart");
        assert!(!Logins::default().outnumber(Sorts(0), address(1), Moment(0)));
    }
}
