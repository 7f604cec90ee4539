//! What the engine recalls after a restart besides scores, strikes and logins, which the store keeps one by one: trails, accounts
//! under attack, prefixes, a storm, how much was going on.
//!
//! It is one piece, bounded, that only the engine reads. Hashes in it depend on the seed, so the seed is in it too, and
//! its file is root's. What is left of an attempt that was under way is not kept: its next line begins a new one.

use std::cmp::Reverse;

use serde::{Deserialize, Serialize};

use super::accounts::Account;
use super::attacked::{Attacks, KeptAttack};
use super::groups::Group;
use super::pace::Pace;
use super::prefixes::Prefix;
use super::score::Leak;
use super::sources::{address_bits, address_of};
use super::state::Engine;
use super::storm::{KeptStorm, Storm};
use super::trail::Trail;
use crate::sighting::PatternId;
use crate::time::Clock;

/// First byte of what is kept: what other versions have kept is forgotten.
const VERSION: u8 = 5;
/// Trails that are kept: those of the most guesses.
const TRAILS: usize = 16_384;
/// Accounts and prefixes of either sort that are kept: those with most members.
const GROUPS: usize = 2048;

/// What an engine recalls. Its times are milliseconds and seconds of the wall clock.
#[derive(Debug, Serialize, Deserialize)]
pub struct Recalled {
    seed: u64,
    /// How the scores that the store has were leaking.
    leak: Leak,
    trails: Vec<(u128, Trail)>,
    accounts: Vec<Account>,
    attacks: Vec<KeptAttack>,
    banned: Vec<Prefix>,
    failing: Vec<Prefix>,
    storm: KeptStorm,
    pace: Vec<(i64, u32)>,
}

impl Recalled {
    /// Reads what [`Engine::recall_later`] has written; `None` if this is nothing of the kind.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        (*version == VERSION).then(|| postcard::from_bytes(rest).ok())?
    }

    /// The seed of the engine that wrote it: the one that reads it needs the same.
    pub const fn seed(&self) -> u64 {
        self.seed
    }
}

/// Keeps the groups that have most members.
fn fullest<K: Ord + Copy, N>(groups: &mut Vec<Group<K, N>>) {
    if groups.len() > GROUPS {
        groups.select_nth_unstable_by_key(GROUPS, |group| (Reverse(group.members.len()), group.key));
        groups.truncate(GROUPS);
    }
}

impl Engine {
    /// What is to be recalled after a restart, a few MiB at most. `name` knows a pattern's filter and text: another start
    /// may have other filters, and other numbers for them.
    pub fn recall_later<'n>(&self, clock: Clock, name: impl Fn(PatternId) -> (&'n str, &'n str)) -> Vec<u8> {
        let ahead = clock.wall.0.saturating_sub(clock.moment.0);
        let seconds = ahead.div_euclid(1000);
        let mut trails: Vec<_> = self.sources.trails().collect();
        if trails.len() > TRAILS {
            trails.select_nth_unstable_by_key(TRAILS, |(_, trail)| Reverse(trail.guesses()));
            trails.truncate(TRAILS);
        }
        let mut recalled = Recalled {
            seed: self.seed,
            leak: self.leak,
            trails: trails
                .into_iter()
                .map(|(address, trail)| (address_bits(address), trail.shifted(seconds)))
                .collect(),
            accounts: self.accounts.shifted(seconds),
            attacks: self.attacks.kept(ahead, &name),
            banned: self.banned.shifted(seconds),
            failing: self.failing.shifted(seconds),
            storm: self.storm.kept(ahead, name),
            pace: self
                .pace
                .kept()
                .into_iter()
                .map(|(second, count)| (second.saturating_add(seconds), count))
                .collect(),
        };
        fullest(&mut recalled.accounts);
        fullest(&mut recalled.banned);
        fullest(&mut recalled.failing);
        postcard::to_extend(&recalled, vec![VERSION]).unwrap_or_default()
    }

    /// Takes over what another engine has kept under the same seed. `number` finds a pattern by its filter and its text.
    pub fn recall(&mut self, recalled: Recalled, clock: Clock, number: impl Fn(&str, &str) -> PatternId) {
        let behind = clock.moment.0.saturating_sub(clock.wall.0);
        let seconds = behind.div_euclid(1000);
        self.stored_leak = recalled.leak.checked();
        for (address, trail) in recalled.trails {
            let trail = trail.shifted(seconds);
            if !trail.is_over(clock.moment) {
                let place = self.sources.find(address_bits(address_of(address)), clock.moment, self.leak);
                self.sources.at_mut(place).trail = trail;
            }
        }
        self.accounts.restore(&recalled.accounts, seconds);
        self.banned.restore(&recalled.banned, seconds);
        self.failing.restore(&recalled.failing, seconds);
        let lasts = self.decide.storm_lasts;
        self.attacks = Attacks::restored(recalled.attacks, behind, clock.moment, &number);
        self.storm = Storm::restored(recalled.storm, behind, clock.moment, lasts, number);
        self.pace = Pace::restored(&recalled.pace, seconds, clock.moment);
    }
}
