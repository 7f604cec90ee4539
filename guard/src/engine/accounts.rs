//! Accounts that many addresses try: no single address may stand out, and yet somebody is being attacked.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::members::Members;
use super::second::Second;
use super::sources::{DRAW, address_bits};
use crate::dense::{Chance, Dense, Key, Record, Seed};
use crate::sighting::{Kind, Sighting};
use crate::time::Moment;

/// Accounts that are remembered.
const MOST: usize = 4096;
/// An attack on an account is told of again after this time at the earliest.
const TELL_AGAIN: Duration = Duration::from_secs(3600);

/// Hash of an account's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct AccountKey(pub(super) u64);

impl Key for AccountKey {
    fn hash(self, _: Seed) -> u64 {
        self.0 // made with a seed already
    }
}

/// An account, and the last addresses that failed to get into it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Account {
    key: AccountKey,
    addresses: Members,
    /// Whether a line has said that there is no such account.
    is_absent: bool,
    told: Option<Second>,
}

impl Record for Account {
    type Key = AccountKey;

    fn key(&self) -> AccountKey {
        self.key
    }
}

impl Account {
    fn shifted(&self, seconds: i64) -> Self {
        let told = self.told.map(|told| told.shifted(seconds));
        Self { addresses: self.addresses.shifted(seconds), told, ..*self }
    }
}

/// The accounts that were tried lately.
#[derive(Debug)]
pub(super) struct Accounts {
    all: Dense<Account>,
    seed: Seed,
    chance: Chance,
}

impl Accounts {
    /// None yet.
    pub(super) fn new(seed: Seed, chance: Chance) -> Self {
        Self { all: Dense::new(seed), seed, chance }
    }

    /// Hash of an account's name, which is an attacker's text.
    pub(super) fn key(&self, account: &[u8]) -> AccountKey {
        let mut hash = account.len() as u64;
        for chunk in account.chunks(8) {
            let mut bytes = [0; 8];
            bytes[..chunk.len()].copy_from_slice(chunk);
            hash = self.seed.hash(u128::from(hash) << 64 | u128::from(u64::from_le_bytes(bytes)));
        }
        AccountKey(hash)
    }

    /// Somebody failed to get into an account. Answers how many addresses did within the time, if there were `enough`
    /// and that was not told lately. An account that is not there cannot be got into.
    pub(super) fn fail(
        &mut self,
        key: AccountKey,
        s: &Sighting<'_>,
        at: Moment,
        enough: usize,
        within: Duration,
    ) -> Option<u32> {
        let now = Second::of(at);
        let address = self.seed.hash(address_bits(s.address)) as u32;
        let place = self.find(key, now, within);
        let account = self.all.at_mut(place);
        account.is_absent |= s.kind == Kind::InvalidUser;
        account.addresses.see(address, now);
        if account.is_absent || account.told.is_some_and(|told| now.since(told) < TELL_AGAIN) {
            return None;
        }
        let addresses = account.addresses.within(now, within);
        (addresses >= enough).then(|| {
            account.told = Some(now);
            addresses as u32
        })
    }

    /// How many addresses failed to get into an account within the time.
    pub(super) fn addresses(&self, key: AccountKey, at: Moment, within: Duration) -> usize {
        self.all.get(key).map_or(0, |account| account.addresses.within(Second::of(at), within))
    }

    /// All of them, on a timeline that is so many seconds ahead.
    pub(super) fn shifted(&self, seconds: i64) -> Vec<Account> {
        self.all.records().iter().map(|account| account.shifted(seconds)).collect()
    }

    /// Takes accounts over that were kept under the same seed, on a timeline that is so many seconds ahead.
    pub(super) fn restore(&mut self, accounts: &[Account], seconds: i64) {
        for account in accounts.iter().take(MOST) {
            self.all.insert(account.shifted(seconds));
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.all.bytes()
    }

    fn find(&mut self, key: AccountKey, now: Second, within: Duration) -> usize {
        if let Some(place) = self.all.place(key) {
            return place;
        }
        if self.all.len() >= MOST {
            self.evict(now, within);
        }
        self.all.insert(Account { key, addresses: Members::new(), is_absent: false, told: None });
        self.all.len() - 1
    }

    /// Forgets the least attacked of a few drawn by lot.
    fn evict(&mut self, now: Second, within: Duration) {
        let all = self.all.records();
        let draw = std::array::from_fn::<_, DRAW, _>(|_| self.chance.below(all.len() as u64) as usize);
        if let Some(place) = draw.into_iter().min_by_key(|place| all[*place].addresses.within(now, within)) {
            let key = all[place].key;
            self.all.remove(key);
        }
    }
}
