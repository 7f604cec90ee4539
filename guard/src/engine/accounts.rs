//! Accounts that many addresses try: no single address may stand out, and yet somebody is being attacked.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::groups::{Group, Groups, Note};
use super::second::Second;
use crate::bytes::first_eight;
use crate::dense::{Chance, Key, Seed};
use crate::sighting::{Kind, Sighting};
use crate::time::Moment;

/// Accounts that are remembered.
const MOST: usize = 4096;
/// An attack on an account is told of again after this time at the earliest.
const TELL_AGAIN: Duration = Duration::from_secs(3600);

/// Hash of an account's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct AccountKey(pub(super) u64);

impl AccountKey {
    /// The account as a filter's service has it: another service may have one of the same name, or none.
    pub(super) const fn at(self, filter: u16) -> Self {
        Self(self.0 ^ (filter as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}

impl Key for AccountKey {
    fn hash(self, _: Seed) -> u64 {
        self.0 // made with a seed already
    }
}

/// What is remembered of an account besides the addresses that failed to get into it.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// Whether a line has said that there is no such account.
    is_absent: bool,
    told: Option<Second>,
}

impl Note for State {
    fn shifted(self, seconds: i64) -> Self {
        Self { told: self.told.map(|told| told.shifted(seconds)), ..self }
    }
}

/// An account, and the last addresses that failed to get into it.
pub(super) type Account = Group<AccountKey, State>;

/// The accounts that were tried lately.
#[derive(Debug)]
pub(super) struct Accounts {
    all: Groups<AccountKey, State>,
    seed: Seed,
}

impl Accounts {
    /// None yet.
    pub(super) fn new(seed: Seed, chance: Chance) -> Self {
        Self { all: Groups::new(MOST, seed, chance), seed }
    }

    /// Hash of an account's name, which is an attacker's text.
    pub(super) fn key(&self, account: &[u8]) -> AccountKey {
        let mut hash = account.len() as u64;
        for chunk in account.chunks(8) {
            hash = self.seed.hash(u128::from(hash) << 64 | u128::from(first_eight(chunk)));
        }
        AccountKey(hash)
    }

    /// Somebody failed to get into an account, from an address ([`super::sources::address_bits`]). Answers how many addresses did within the time, if there were `enough`
    /// and that was not told lately. An account that is not there cannot be got into.
    pub(super) fn fail(
        &mut self,
        key: AccountKey,
        address: u128,
        s: &Sighting<'_>,
        at: Moment,
        enough: usize,
        within: Duration,
    ) -> Option<u32> {
        let now = Second::of(at);
        let address = self.seed.hash(address) as u32;
        let Group { members, note, .. } = self.all.find(key, now, within);
        note.is_absent |= s.kind == Kind::InvalidUser;
        members.see(address, now);
        if note.is_absent || note.told.is_some_and(|told| now.since(told) < TELL_AGAIN) {
            return None;
        }
        let addresses = members.enough(enough, now, within)?;
        note.told = Some(now);
        Some(addresses as u32)
    }

    /// Somebody got into an account: it is there, whatever lines have said.
    pub(super) fn let_in(&mut self, key: AccountKey) {
        if let Some(account) = self.all.get_mut(key) {
            account.note.is_absent = false;
        }
    }

    /// How many addresses failed to get into an account within the time.
    pub(super) fn addresses(&self, key: AccountKey, at: Moment, within: Duration) -> usize {
        self.all.get(key).map_or(0, |account| account.members.within(Second::of(at), within))
    }

    /// Whether an address ([`super::sources::address_bits`]) is among the last that failed to get into an account of this
    /// hash, as a filter's service has it.
    pub(super) fn was_tried_by(&self, account: u64, filter: u16, address: u128) -> bool {
        let address = self.seed.hash(address) as u32;
        self.all.get(AccountKey(account).at(filter)).is_some_and(|account| account.members.has(address))
    }

    /// All of them, on a timeline that is so many seconds ahead.
    pub(super) fn shifted(&self, seconds: i64) -> Vec<Account> {
        self.all.shifted(seconds)
    }

    /// Takes accounts over that were kept under the same seed, on a timeline that is so many seconds ahead.
    pub(super) fn restore(&mut self, accounts: &[Account], seconds: i64) {
        self.all.restore(accounts, seconds);
    }

    /// Accounts forgotten to make room.
    pub(super) const fn evicted(&self) -> u64 {
        self.all.evicted
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.all.bytes()
    }
}
