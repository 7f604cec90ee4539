//! Decide and record only: nothing reaches the kernel.

use std::net::IpAddr;

use hashbrown::{HashMap, HashSet};

use super::{
    Backend, Change, Counters, Desired, Drift, EnforceError, Enforcer, EnforcerStatus, LiveEntry, MapStatus,
    Verdict,
};
use crate::ban::BanId;
use crate::target::{Target, canonical};
use crate::time::Moment;

/// Holds what would be in the kernel, and drops nothing.
#[derive(Debug)]
pub struct Observe {
    reason: String,
    bans: HashMap<Target, (BanId, Option<Moment>), foldhash::fast::RandomState>,
    allowed: HashSet<Target, foldhash::fast::RandomState>,
}

impl Observe {
    /// `reason` says why nothing is enforced, empty if that was asked for.
    pub fn new(reason: &str) -> Self {
        Self { reason: reason.to_owned(), bans: HashMap::default(), allowed: HashSet::default() }
    }
}

impl Enforcer for Observe {
    fn backend(&self) -> Backend {
        Backend::Observe
    }

    fn apply(&mut self, changes: &[Change]) -> Result<(), EnforceError> {
        for change in changes {
            match *change {
                Change::Ban { target, id, until } => {
                    self.bans.insert(target, (id, until));
                }
                Change::Unban(target) => {
                    self.bans.remove(&target);
                }
                Change::Allow(target) => {
                    self.allowed.insert(target);
                }
                Change::Disallow(target) => {
                    self.allowed.remove(&target);
                }
            }
        }
        Ok(())
    }

    /// Takes the desired set over. There is no kernel that could differ from it.
    fn reconcile(&mut self, desired: Desired<'_>) -> Result<Drift, EnforceError> {
        self.bans.clear();
        self.bans.extend(desired.bans.iter().map(|ban| (ban.target, (ban.id, ban.until))));
        self.allowed.clear();
        self.allowed.extend(desired.allowed);
        Ok(Drift::default())
    }

    /// Nothing is in the kernel.
    fn live(&mut self) -> Result<Vec<LiveEntry>, EnforceError> {
        Ok(Vec::new())
    }

    /// The entries that would drop the address; `dropped` is always false.
    fn check(&mut self, address: IpAddr, now: Moment) -> Result<Verdict, EnforceError> {
        let entries = covering(address).filter_map(|target| {
            let &(id, until) = self.bans.get(&target)?;
            let seconds_left = until.map(|until| until.since(now).as_secs());
            Some(LiveEntry { target, id: id.0, seconds_left, packets: None, bytes: None })
        });
        Ok(Verdict {
            dropped: false,
            entries: entries.collect(),
            allowed_by: covering(address).find(|target| self.allowed.contains(target)),
        })
    }

    fn status(&mut self) -> EnforcerStatus {
        EnforcerStatus {
            backend: Backend::Observe.name().to_owned(),
            reason: self.reason.clone(),
            interfaces: Vec::new(),
            maps: vec![MapStatus {
                name: "observed".to_owned(),
                entries: self.bans.len() as u64,
                capacity: 0,
            }],
        }
    }

    fn counters(&mut self) -> Result<Counters, EnforceError> {
        Ok(Counters::default())
    }

    fn remove(&mut self) -> Result<(), EnforceError> {
        self.bans.clear();
        self.allowed.clear();
        Ok(())
    }
}

/// Every target that covers an address, itself first.
fn covering(address: IpAddr) -> impl Iterator<Item = Target> {
    let address = canonical(address);
    let bits = if address.is_ipv4() { 32 } else { 128 };
    (0..=bits).rev().filter_map(move |length| Target::prefix(address, length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn tells_what_would_be_dropped() {
        let now = Moment(1000);
        let target = |text: &str| text.parse::<Target>().unwrap();
        let mut observe = Observe::new("");
        observe
            .apply(&[
                Change::Ban {
                    target: target("203.0.113.7"),
                    id: BanId(1),
                    until: Some(now + Duration::from_secs(60)),
                },
                Change::Ban { target: target("203.0.113.0/24"), id: BanId(2), until: None },
                Change::Allow(target("203.0.113.8")),
            ])
            .unwrap();
        let verdict = observe.check("::ffff:203.0.113.7".parse().unwrap(), now).unwrap();
        assert!(!verdict.dropped);
        let entries: Vec<_> = verdict.entries.iter().map(|e| (e.id, e.seconds_left)).collect();
        assert_eq!(entries, [(1, Some(60)), (2, None)]);
        let verdict = observe.check("203.0.113.8".parse().unwrap(), now).unwrap();
        assert_eq!(verdict.allowed_by, Some(target("203.0.113.8")));
        observe.apply(&[Change::Unban(target("203.0.113.0/24"))]).unwrap();
        assert!(observe.check("203.0.113.9".parse().unwrap(), now).unwrap().entries.is_empty());
    }
}
