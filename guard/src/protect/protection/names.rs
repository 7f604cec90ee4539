//! Names whose addresses are allowed: who allows them, which addresses they have, and for how long that is believed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::{Allowance, Protection, Reason};
use crate::config::{Allow, MAX_NAMES};
use crate::protect::names::{Answer, Found};
use crate::target::{Allowable, HostName, Target, canonical};
use crate::time::{Clock, Moment};

/// Addresses of a name that are allowed; the others are left out.
const MAX_ADDRESSES: usize = 64;

/// Begins the reason of what a name allows.
pub(super) const NAME: &str = "name ";

/// What is allowed by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    all: BTreeMap<HostName, Known>,
    /// Times that one could not be resolved.
    failures: u64,
}

/// What is known of a name.
#[derive(Clone, Debug, Default)]
struct Known {
    configured: Option<Allowance>,
    by_hand: Option<Allowance>,
    /// Its addresses, and when they were last told of.
    seen: BTreeMap<IpAddr, Moment>,
    /// When all of it was last told.
    answered: Option<Moment>,
    /// Why it was not the last time.
    failure: Option<String>,
    failures: u64,
    /// What was told and is not allowed.
    refused: BTreeSet<IpAddr>,
    /// Whether there were more addresses than are taken.
    is_cut: bool,
}

/// What an answer changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Addresses that are the name's from now on.
    pub added: Vec<IpAddr>,
    /// Addresses that were.
    pub removed: Vec<IpAddr>,
    /// Addresses that nobody may allow, told of for the first time.
    pub refused: Vec<IpAddr>,
    /// Why it could not be resolved, if that is news.
    pub failure: Option<String>,
}

/// How a name is, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameState {
    /// The name.
    pub name: HostName,
    /// Who allows it, and why.
    pub because: String,
    /// When the allowance ends, if it does.
    pub until: Option<Moment>,
    /// Its addresses, each with the time after which it is believed no more.
    pub addresses: Vec<(IpAddr, Moment)>,
    /// When all of it was last told.
    pub answered: Option<Moment>,
    /// Why it was not the last time.
    pub failure: Option<String>,
    /// How often that happened since the start.
    pub failures: u64,
    /// What was told and is not allowed: loopback, multicast and the like.
    pub refused: Vec<IpAddr>,
    /// Whether it has more addresses than are taken.
    pub is_cut: bool,
}

impl Known {
    fn is_wanted(&self) -> bool {
        self.configured.is_some() || self.by_hand.is_some()
    }

    fn allowances(&self) -> impl Iterator<Item = (&'static str, &Allowance)> {
        let configured = self.configured.iter().map(|allowance| ("by the configuration", allowance));
        configured.chain(self.by_hand.iter().map(|allowance| ("by hand", allowance)))
    }

    /// Takes the word of one family. Of what is not known, what was known before stays.
    fn hear(&mut self, said: &Result<Found, String>, is_ipv4: bool, now: Moment) {
        let Ok(found) = said else { return };
        self.seen.retain(|address, _| address.is_ipv4() != is_ipv4);
        self.refused.retain(|address| address.is_ipv4() != is_ipv4);
        let (refused, fit): (Vec<IpAddr>, Vec<IpAddr>) = found
            .addresses
            .iter()
            .copied()
            .partition(|address| Protection::never(Target::host(*address)).is_some());
        self.refused.extend(refused.into_iter().take(MAX_ADDRESSES));
        self.seen.extend(fit.into_iter().map(|address| (address, now)));
    }

    fn cut(&mut self) {
        self.is_cut = self.seen.len() > MAX_ADDRESSES;
        while self.seen.len() > MAX_ADDRESSES {
            self.seen.pop_last();
        }
    }
}

impl Names {
    /// Takes the names of a configuration over. Nothing is forgotten of those that stay.
    pub(super) fn configure(&mut self, allow: &Allow, clock: Clock) {
        for known in self.all.values_mut() {
            known.configured = None;
        }
        for allowance in &allow.targets {
            if let Allowable::Name(name) = &allowance.target {
                let until = allowance.until.map(|until| clock.moment_of(until));
                let comment = allowance.comment.clone();
                self.all.entry(name.clone()).or_default().configured = Some(Allowance { until, comment });
            }
        }
        self.all.retain(|_, known| known.is_wanted());
    }

    /// What they allow, for as long as their answers are believed.
    pub(super) fn reasons(&self, keep: Duration) -> impl Iterator<Item = (Target, Reason)> {
        self.all.iter().flat_map(move |(name, known)| {
            known.allowances().flat_map(move |(who, allowance)| {
                let comment = &allowance.comment;
                let because = if comment.is_empty() {
                    format!("{NAME}{name}, allowed {who}")
                } else {
                    format!("{NAME}{name}, allowed {who}: {comment}")
                };
                known.seen.iter().map(move |(address, seen)| {
                    let believed = *seen + keep;
                    let until = allowance.until.map_or(believed, |until| until.min(believed));
                    (Target::host(*address), Reason { because: because.clone(), until: Some(until) })
                })
            })
        })
    }
}

impl Protection {
    /// The names that are to be kept current.
    pub fn names(&self, now: Moment) -> BTreeSet<HostName> {
        let wanted = |known: &Known| known.allowances().any(|(_, allowance)| allowance.holds(now));
        self.names.all.iter().filter(|(_, known)| wanted(known)).map(|(name, _)| name.clone()).collect()
    }

    /// A name's addresses, each with when it was last told of, for the store.
    pub fn addresses_of(&self, name: &HostName) -> Vec<(IpAddr, Moment)> {
        let known = self.names.all.get(name);
        known.map_or_else(Vec::new, |known| known.seen.iter().map(|(address, at)| (*address, *at)).collect())
    }

    /// Allows the addresses of a name at run time, in place of an earlier allowance of the same. `false` if there are too
    /// many names.
    #[must_use]
    pub fn allow_name(&mut self, name: &HostName, until: Option<Moment>, comment: &str) -> bool {
        if self.names.all.len() >= MAX_NAMES && !self.names.all.contains_key(name) {
            return false;
        }
        let comment = comment.chars().take(200).collect();
        self.names.all.entry(name.clone()).or_default().by_hand = Some(Allowance { until, comment });
        self.rebuild();
        true
    }

    /// Takes a run-time allowance of a name back; `false` if there was none.
    pub fn disallow_name(&mut self, name: &HostName) -> bool {
        let taken = self.names.all.get_mut(name).and_then(|known| known.by_hand.take()).is_some();
        if taken {
            self.names.all.retain(|_, known| known.is_wanted());
            self.rebuild();
        }
        taken
    }

    /// Whether anything allows a name.
    pub fn allows_name(&self, name: &HostName) -> bool {
        self.names.all.contains_key(name)
    }

    /// The names allowed at run time, each with its end and its comment.
    pub fn runtime_names(&self) -> impl Iterator<Item = (&HostName, Option<Moment>, &str)> {
        self.names.all.iter().filter_map(|(name, known)| {
            let allowance = known.by_hand.as_ref()?;
            Some((name, allowance.until, allowance.comment.as_str()))
        })
    }

    /// Takes over which addresses a name had before a restart. `false` if nobody allows that name any more.
    pub fn recall_name(
        &mut self,
        name: &HostName,
        addresses: impl IntoIterator<Item = (IpAddr, Moment)>,
    ) -> bool {
        let Some(known) = self.names.all.get_mut(name) else { return false };
        let fit = |address: &IpAddr| Self::never(Target::host(*address)).is_none();
        let addresses = addresses.into_iter().map(|(address, at)| (canonical(address), at));
        known.seen.extend(addresses.filter(|(address, _)| fit(address)));
        known.cut();
        self.rebuild();
        true
    }

    /// Takes what was said of a name. `None` if nobody allows it any more.
    pub fn resolve(&mut self, name: &HostName, answer: &Answer, now: Moment) -> Option<Resolved> {
        let keep = self.allow.name_keep;
        let known = self.names.all.get_mut(name)?;
        let seen_before = known.seen.clone();
        let refused_before = known.refused.clone();
        known.hear(&answer.v4, true, now);
        known.hear(&answer.v6, false, now);
        // A name that has lost every address was misspelt in its zone, or is going: what it had stays for a while.
        let is_empty = answer.failure().is_some() && answer.v4.is_ok() && answer.v6.is_ok();
        if is_empty {
            known.seen.clone_from(&seen_before);
        }
        known.cut();
        known.seen.retain(|_, seen| *seen + keep > now);
        let mut resolved = Resolved::default();
        if let Some(failure) = answer.failure() {
            resolved.failure = known.failure.is_none().then(|| failure.to_owned());
            self.names.failures += 1;
            known.failures += 1;
            known.failure = Some(failure.to_owned());
        } else {
            known.failure = None;
            known.answered = Some(now);
        }
        let lacks = |one: &BTreeMap<IpAddr, Moment>, other: &BTreeMap<IpAddr, Moment>| {
            one.keys().copied().filter(|address| !other.contains_key(address)).collect()
        };
        resolved.added = lacks(&known.seen, &seen_before);
        resolved.removed = lacks(&seen_before, &known.seen);
        resolved.refused = known.refused.difference(&refused_before).copied().collect();
        self.rebuild();
        Some(resolved)
    }

    /// Times that a name could not be resolved.
    pub fn name_failures(&self) -> u64 {
        self.names.failures
    }

    /// Forgets run-time allowances of names that have ended.
    pub fn expire_names(&mut self, now: Moment) -> Vec<HostName> {
        let is_over = |known: &Known| known.by_hand.as_ref().is_some_and(|allowance| !allowance.holds(now));
        let over = self.names.all.iter().filter(|(_, known)| is_over(known));
        let ended: Vec<HostName> = over.map(|(name, _)| name.clone()).collect();
        for name in &ended {
            self.disallow_name(name);
        }
        ended
    }

    /// How the names are.
    pub fn name_states(&self, now: Moment) -> Vec<NameState> {
        let state = |(name, known): (&HostName, &Known)| {
            let held = || known.allowances().filter(|(_, allowance)| allowance.holds(now));
            let words = held().map(|(who, allowance)| match allowance.comment.as_str() {
                "" => format!("allowed {who}"),
                comment => format!("allowed {who}: {comment}"),
            });
            let because = words.collect::<Vec<_>>().join("; ");
            let until = if held().all(|(_, allowance)| allowance.until.is_some()) {
                held().filter_map(|(_, allowance)| allowance.until).max()
            } else {
                None
            };
            let believed = known.seen.iter().map(|(address, seen)| (*address, *seen + self.allow.name_keep));
            held().next().is_some().then(|| NameState {
                name: name.clone(),
                because,
                until,
                addresses: believed.filter(|(_, until)| *until > now).collect(),
                answered: known.answered,
                failure: known.failure.clone(),
                failures: known.failures,
                refused: known.refused.iter().copied().collect(),
                is_cut: known.is_cut,
            })
        };
        self.names.all.iter().filter_map(state).collect()
    }
}
