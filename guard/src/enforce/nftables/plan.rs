//! From changes to transactions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::HashMap;

use super::Change;
use super::script::{Element, Renewal, Script};
use super::set::{Role, Set};
use crate::target::Target;
use crate::time::Moment;

/// Elements changed in one transaction. The kernel takes more, but holds its lock and the script's memory longer.
const TRANSACTION: usize = 65_536;

/// What is to be done to elements, by set: at most one thing to each target.
#[derive(Debug, Default)]
pub(super) struct Plan {
    put: BTreeMap<Set, Vec<Element>>,
    take: BTreeMap<Set, Vec<Element>>,
}

impl Plan {
    /// What changes come to in the end: the last one to a target counts.
    pub(super) fn of(changes: &[Change], now: Moment) -> Self {
        let mut last: HashMap<(Role, Target), Step, RandomState> =
            HashMap::with_capacity_and_hasher(changes.len(), RandomState::default());
        for change in changes {
            match *change {
                Change::Ban { target, until, .. } => last.insert((Role::Ban, target), Step::ban(until, now)),
                Change::Unban(target) => last.insert((Role::Ban, target), Step::Take),
                Change::Allow(target) => last.insert((Role::Allow, target), Step::Put(None)),
                Change::Disallow(target) => last.insert((Role::Allow, target), Step::Take),
            };
        }
        let mut plan = Self::default();
        for ((role, target), step) in last {
            match step {
                Step::Put(left) => plan.put(role, target, left),
                Step::Take => plan.take(role, target),
            }
        }
        plan
    }

    pub(super) fn put(&mut self, role: Role, target: Target, left: Option<Duration>) {
        self.put.entry(Set::of(role, target)).or_default().push((target, left));
    }

    pub(super) fn take(&mut self, role: Role, target: Target) {
        self.take.entry(Set::of(role, target)).or_default().push((target, None));
    }

    /// The sets that must be there.
    pub(super) fn needs(&self) -> impl Iterator<Item = Set> {
        self.put.keys().copied()
    }

    /// The transactions. Allowances come before bans and bans are taken before others are put, so that no
    /// moment between two transactions drops what should pass.
    pub(super) fn scripts(&self, table: &str, present: &BTreeSet<Set>, renewal: Renewal) -> Vec<String> {
        let allow = |(set, _): &(&Set, &Vec<Element>)| set.role == Role::Allow;
        let there = |(set, _): &(&Set, &Vec<Element>)| present.contains(set);
        let steps = (self.put.iter().filter(allow).map(|(set, elements)| (*set, elements, true)))
            .chain(self.take.iter().filter(there).map(|(set, elements)| (*set, elements, false)))
            .chain(self.put.iter().filter(|step| !allow(step)).map(|(set, elements)| (*set, elements, true)));
        let (mut scripts, mut script, mut size) = (Vec::new(), Script::new(table), 0);
        for (set, mut elements, put) in steps.map(|(set, elements, put)| (set, elements.as_slice(), put)) {
            while !elements.is_empty() {
                let (now, later) = elements.split_at(elements.len().min(TRANSACTION - size));
                if put {
                    script.put(set, now, renewal);
                } else {
                    script.take(set, now);
                }
                (elements, size) = (later, size + now.len());
                if size == TRANSACTION {
                    scripts.push(std::mem::replace(&mut script, Script::new(table)).finish());
                    size = 0;
                }
            }
        }
        scripts.push(script.finish());
        scripts
    }
}

/// What becomes of one target.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// It is in its set for so long; `None` for good.
    Put(Option<Duration>),
    /// It is not.
    Take,
}

impl Step {
    /// A ban that has ended is one that is taken away.
    fn ban(until: Option<Moment>, now: Moment) -> Self {
        match until {
            Some(until) if until <= now => Self::Take,
            until => Self::Put(until.map(|until| until.since(now))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ban::BanId;

    #[test]
    fn the_last_change_to_a_target_counts() {
        let target: Target = "192.0.2.1".parse().unwrap();
        let ban = |until| Change::Ban { target, id: BanId(1), until };
        let now = Moment(5000);
        for (changes, put) in [
            (vec![ban(None), Change::Unban(target)], false),
            (vec![Change::Unban(target), ban(None)], true),
            (vec![ban(None), ban(Some(now))], false),
        ] {
            let plan = Plan::of(&changes, now);
            assert_eq!((plan.put.len(), plan.take.len()), if put { (1, 0) } else { (0, 1) });
        }
    }

    #[test]
    fn large_changes_are_cut_and_nothing_is_lost() {
        let set = Set::BASE[0];
        let mut plan = Plan::default();
        let count = TRANSACTION as u32 * 2 + 10;
        for n in 0..count {
            plan.put(Role::Ban, Target::host(std::net::Ipv4Addr::from(n).into()), None);
        }
        let scripts = plan.scripts("guard", &[set].into(), Renewal::InPlace);
        let sizes: Vec<usize> = scripts.iter().map(|script| script.matches(',').count() + 1).collect();
        assert_eq!(sizes, [TRANSACTION, TRANSACTION, 10]);
    }
}
