//! From changes to transactions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashSet};

use super::Change;
use super::batch::Batch;
use super::elements::{self, Element, Renewal};
use super::set::{Role, Set};
use crate::target::Target;
use crate::time::Moment;

/// Targets of forced bans.
pub(super) type ForcedTargets = HashSet<Target, RandomState>;

/// What is to be done to elements, by set: at most one thing to each target.
#[derive(Debug, Default)]
pub(super) struct Plan {
    put: BTreeMap<Set, Vec<Element>>,
    take: BTreeMap<Set, Vec<Element>>,
}

impl Plan {
    /// What changes come to in the end: the last one to a target counts. Elements of the targets in `forced` may say
    /// that their bans are forced; a ban that is not takes their place.
    pub(super) fn of(changes: &[Change], now: Moment, forced: &ForcedTargets) -> Self {
        let mut last: HashMap<(Role, Target), End, RandomState> =
            HashMap::with_capacity_and_hasher(changes.len(), RandomState::default());
        for change in changes {
            match *change {
                Change::Ban { target, id, until } => {
                    last.insert((Role::Ban, target), End::ban(id.is_forced(), until, now))
                }
                Change::Unban(target) => last.insert((Role::Ban, target), End::Take),
                Change::Allow(target) => last.insert((Role::Allow, target), End::Put(false, None)),
                Change::Disallow(target) => last.insert((Role::Allow, target), End::Take),
            };
        }
        let mut plan = Self::default();
        for ((role, target), step) in last {
            match step {
                End::Put(true, left) => plan.put(role, Element::forced(target, left)),
                End::Put(false, left) => {
                    let is_anew = role == Role::Ban && forced.contains(&target);
                    plan.put(role, Element { is_anew, ..Element::plain(target, left) });
                }
                End::Take => plan.take(role, target),
            }
        }
        plan
    }

    pub(super) fn put(&mut self, role: Role, element: Element) {
        self.put.entry(Set::of(role, element.target)).or_default().push(element);
    }

    pub(super) fn take(&mut self, role: Role, target: Target) {
        self.take.entry(Set::of(role, target)).or_default().push(Element::plain(target, None));
    }

    /// What is put or taken.
    pub(super) fn targets(&self) -> impl Iterator<Item = (Role, Target)> {
        let all = self.put.iter().chain(&self.take);
        all.flat_map(|(set, elements)| elements.iter().map(|element| (set.role, element.target)))
    }

    /// The bans that are put or taken.
    pub(super) fn bans(&self) -> impl Iterator<Item = &Element> {
        let all = self.put.iter().chain(&self.take);
        all.filter(|(set, _)| set.role == Role::Ban).flat_map(|(_, elements)| elements)
    }

    /// The sets that must be there.
    pub(super) fn needs(&self) -> impl Iterator<Item = Set> {
        self.put.keys().copied()
    }

    /// The steps in their order. Allowances come before bans and bans are taken before others are put, so that
    /// no moment between two transactions drops what should pass.
    pub(super) fn steps(&self, present: &BTreeSet<Set>) -> Steps<'_> {
        let puts = |role| {
            let of_role = self.put.iter().filter(move |(set, _)| set.role == role);
            of_role.map(|(&set, elements)| Step { set, elements, is_put: true })
        };
        let there = self.take.iter().filter(|(set, _)| present.contains(set));
        let takes = there.map(|(&set, elements)| Step { set, elements, is_put: false });
        Steps(puts(Role::Allow).chain(takes).chain(puts(Role::Ban)).collect())
    }
}

/// Steps towards a plan, in their order.
#[derive(Debug)]
pub(super) struct Steps<'a>(Vec<Step<'a>>);

/// Elements that go into a set or out of it.
#[derive(Clone, Copy, Debug)]
struct Step<'a> {
    set: Set,
    elements: &'a [Element],
    is_put: bool,
}

impl Steps<'_> {
    /// Number of elements.
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|step| step.elements.len()).sum()
    }

    /// The first `limit` elements, and the rest.
    pub(super) fn split(&self, limit: usize) -> (Self, Self) {
        let (mut now, mut later, mut room) = (Vec::new(), Vec::new(), limit);
        for &step in &self.0 {
            let (first, rest) = step.elements.split_at(step.elements.len().min(room));
            room -= first.len();
            now.push(Step { elements: first, ..step });
            later.push(Step { elements: rest, ..step });
        }
        for part in [&mut now, &mut later] {
            part.retain(|step| !step.elements.is_empty());
        }
        (Self(now), Self(later))
    }

    /// Appends them to a transaction.
    pub(super) fn append(&self, batch: &mut Batch, table: &str, renewal: Renewal) {
        for step in &self.0 {
            if step.is_put {
                elements::put(batch, table, step.set, step.elements, renewal);
            } else {
                elements::take(batch, table, step.set, step.elements);
            }
        }
    }
}

/// What becomes of one target.
#[derive(Clone, Copy, Debug)]
enum End {
    /// It is in its set, forced or not, for so long; `None` for good.
    Put(bool, Option<Duration>),
    /// It is not.
    Take,
}

impl End {
    /// A ban that has ended is one that is taken away.
    fn ban(is_forced: bool, until: Option<Moment>, now: Moment) -> Self {
        match until {
            Some(until) if until <= now => Self::Take,
            until => Self::Put(is_forced, until.map(|until| until.since(now))),
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
            let plan = Plan::of(&changes, now, &ForcedTargets::default());
            assert_eq!((plan.put.len(), plan.take.len()), if put { (1, 0) } else { (0, 1) });
        }
    }

    #[test]
    fn large_changes_are_cut_and_nothing_is_lost() {
        let mut plan = Plan::default();
        for n in 0..30u32 {
            plan.put(Role::Ban, Element::plain(Target::host(std::net::Ipv4Addr::from(n).into()), None));
        }
        plan.put(Role::Allow, Element::plain("192.0.2.0/24".parse().unwrap(), None));
        plan.take(Role::Ban, "198.51.100.1".parse().unwrap());
        plan.take(Role::Ban, "198.51.100.0/24".parse().unwrap());
        let mut rest = plan.steps(&Set::BASE.into());
        assert_eq!(rest.len(), 32, "what is in no set need not be taken out");
        let mut seen = Vec::new();
        while rest.len() > 0 {
            let (now, later) = rest.split(7);
            assert!(now.len() == 7 || later.len() == 0);
            for step in &now.0 {
                seen.extend(step.elements.iter().map(|element| (step.set.role, step.is_put, element.target)));
            }
            rest = later;
        }
        assert_eq!(seen.len(), 32);
        assert_eq!((seen[0].0, seen[0].1), (Role::Allow, true), "allowances come first");
        assert_eq!((seen[1].0, seen[1].1), (Role::Ban, false));
        let targets: std::collections::HashSet<Target> = seen.iter().map(|&(_, _, target)| target).collect();
        assert_eq!(targets.len(), 32);
    }
}
