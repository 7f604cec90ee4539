//! Attacks on accounts that were told of: whoever asks about one of the addresses that took part is told of them too.
//!
//! No address stands out in such an attack, so the incident is of none. Who took part follows from what is remembered
//! anyway: an account's last addresses, and the accounts that an address has tried lately. Both are hashes, of 32 and 16
//! bits: of a hundred thousand addresses that did something else about one is taken for one that took part.

use std::collections::VecDeque;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::Engine;
use super::sources::address_bits;
use super::trail::REMEMBERED;
use crate::sighting::PatternId;
use crate::target::canonical;
use crate::time::Moment;

/// Attacks that are remembered.
const MOST: usize = 64;
/// Bytes of an account's name.
const NAME: usize = 64;

/// An attack on an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attack {
    /// The account, as lines have it: an attacker's text, and the first of it only.
    pub account: Box<[u8]>,
    /// The pattern of the line that tipped it.
    pub pattern: PatternId,
    /// When it was told of.
    pub at: Moment,
    /// How many addresses had tried the account lately.
    pub addresses: u32,
    /// What lines call the account, as a hash.
    key: u64,
}

/// The attacks that were told of last, the newest first.
#[derive(Debug, Default)]
pub(super) struct Attacks(VecDeque<Attack>);

/// An attack as it is kept: its pattern by names, its moment in milliseconds.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct KeptAttack {
    account: Box<[u8]>,
    filter: String,
    pattern: String,
    at: i64,
    addresses: u32,
    key: u64,
}

impl Attacks {
    /// One more; of an account of this hash.
    pub(super) fn add(&mut self, account: &[u8], key: u64, pattern: PatternId, at: Moment, addresses: u32) {
        let account = account[..account.len().min(NAME)].into();
        self.0.truncate(MOST - 1);
        self.0.push_front(Attack { account, pattern, at, addresses, key });
    }

    /// Patterns have other numbers from now on.
    pub(super) fn renumber(&mut self, mut number: impl FnMut(PatternId) -> PatternId) {
        for attack in &mut self.0 {
            attack.pattern = number(attack.pattern);
        }
    }

    /// What is kept of them, on a timeline that is so many milliseconds ahead. `name` knows a pattern's filter and text.
    pub(super) fn kept<'n>(
        &self,
        ahead: i64,
        name: impl Fn(PatternId) -> (&'n str, &'n str),
    ) -> Vec<KeptAttack> {
        let kept = |attack: &Attack| {
            let (filter, pattern) = name(attack.pattern);
            KeptAttack {
                account: attack.account.clone(),
                filter: filter.to_owned(),
                pattern: pattern.to_owned(),
                at: attack.at.0.saturating_add(ahead),
                addresses: attack.addresses,
                key: attack.key,
            }
        };
        self.0.iter().map(kept).collect()
    }

    /// Those that were kept, on a timeline that is so many milliseconds ahead. None of them lies in the future.
    pub(super) fn restored(
        kept: Vec<KeptAttack>,
        ahead: i64,
        now: Moment,
        number: impl Fn(&str, &str) -> PatternId,
    ) -> Self {
        let attack = |kept: KeptAttack| Attack {
            pattern: number(&kept.filter, &kept.pattern),
            account: kept.account,
            at: Moment(kept.at.saturating_add(ahead)).min(now),
            addresses: kept.addresses,
            key: kept.key,
        };
        Self(kept.into_iter().take(MOST).map(attack).collect())
    }
}

impl Engine {
    /// The attacks on accounts of the last day that an address took part in, the newest first.
    pub fn attacks_by(&self, address: IpAddr, now: Moment) -> Vec<&Attack> {
        let bits = address_bits(canonical(address));
        let trail = self.sources.get(canonical(address)).map(|source| source.trail);
        let took_part = |attack: &&Attack| {
            let tried = trail.is_some_and(|trail| trail.has(attack.key as u16));
            tried || self.accounts.was_tried_by(attack.key, attack.pattern.filter, bits)
        };
        let recent = self.attacks.0.iter().filter(|attack| now.since(attack.at) <= REMEMBERED);
        recent.filter(took_part).collect()
    }
}
