//! One backend, a second beside it as soon as an interface is not covered by the first, and the end of what
//! an earlier run left in a backend that is no longer used.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;

use super::{
    Backend, Change, Counters, Desired, Drift, EnforceError, Enforcer, EnforcerStatus, InterfaceStatus,
    LiveEntry, Unknown, Verdict,
};
use crate::causes::chain;
use crate::target::Target;
use crate::time::Moment;

/// How the second enforcer is opened when it is needed; its argument says why.
pub(super) type Open = Box<dyn Fn(&str) -> Result<Box<dyn Enforcer>, EnforceError> + Send>;

/// Takes away what an earlier run left in another backend; false if there was nothing.
pub(super) type Clear = Box<dyn Fn() -> Result<bool, EnforceError> + Send>;

/// Two enforcers that are fed the same. The second covers every interface, so it is only there when the first
/// leaves one uncovered; it then stays until the end.
pub struct Pair {
    first: Box<dyn Enforcer>,
    second: Option<Box<dyn Enforcer>>,
    open: Option<Open>,
    /// Cleared once the first holds everything, so that nothing opens in between.
    leftover: Option<Clear>,
    /// Why the second could not be opened when it was needed.
    refused: Option<String>,
    /// What the first has come to, while the second is compared, and whether that is new.
    compared: Option<(Result<Drift, EnforceError>, bool)>,
    /// Whether the first has told all it knows, while the second is asked.
    is_first_known: bool,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pair")
            .field("first", &self.first)
            .field("second", &self.second)
            .finish_non_exhaustive()
    }
}

impl Pair {
    /// The first alone, until an interface needs the second. Without `open` there is never a second.
    pub(super) fn new(first: Box<dyn Enforcer>, open: Option<Open>, leftover: Clear) -> Self {
        Self {
            first,
            second: None,
            open,
            leftover: Some(leftover),
            refused: None,
            compared: None,
            is_first_known: false,
        }
    }

    /// Why the second could not be opened although it is needed.
    pub(super) fn refusal(&self) -> Option<&str> {
        self.refused.as_deref()
    }

    /// Opens the second if an interface is uncovered; `true` if it is new.
    pub(super) fn cover(&mut self) -> bool {
        if self.second.is_some() {
            return false;
        }
        self.refused = None;
        let Some(open) = &self.open else { return false };
        let Some(reason) = left_open(&self.first.status()) else { return false };
        match open(&reason) {
            Ok(second) => self.second = Some(second),
            Err(error) => self.refused = Some(chain(&error)),
        }
        self.second.is_some()
    }

    /// What cannot be cleared is told and left: the bans in it end by themselves.
    fn clear(&mut self) {
        let Some(clear) = self.leftover.take().filter(|_| self.second.is_none()) else { return };
        match clear() {
            Ok(true) => tracing::info!("took away what an earlier run left in another backend"),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!("what an earlier run left in another backend stays: {}", chain(&error));
            }
        }
    }
}

impl Enforcer for Pair {
    fn backend(&self) -> Backend {
        self.first.backend()
    }

    fn apply(&mut self, changes: &[Change]) -> Result<(), EnforceError> {
        let first = self.first.apply(changes);
        let second = self.second.as_mut().map_or(Ok(()), |second| second.apply(changes));
        first.and(second)
    }

    fn restore(&mut self, bans: &[Change], to_come: u64) -> Result<(), EnforceError> {
        let first = self.first.restore(bans, to_come);
        let second = self.second.as_mut().map_or(Ok(()), |second| second.restore(bans, to_come));
        first.and(second)
    }

    fn has_room(&mut self, bans: usize) -> bool {
        self.first.has_room(bans) && self.second.as_mut().is_none_or(|second| second.has_room(bans))
    }

    fn reconcile(&mut self, desired: Desired<'_>) -> Result<Drift, EnforceError> {
        loop {
            if let Some(drift) = self.reconcile_part(desired)? {
                return Ok(drift);
            }
        }
    }

    /// The second, where it is needed now, gets its bans with the next comparison.
    fn attach(&mut self) -> Result<u64, EnforceError> {
        let first = self.first.attach();
        let opened = self.cover();
        let second = self.second.as_mut().map_or(Ok(0), |second| second.attach());
        Ok(first? + second? + u64::from(opened))
    }

    /// The second is compared once the first is done.
    fn reconcile_part(&mut self, desired: Desired<'_>) -> Result<Option<Drift>, EnforceError> {
        if self.compared.is_none() {
            let Some(first) = self.first.reconcile_part(desired).transpose() else { return Ok(None) };
            self.compared = Some((first, self.cover()));
        }
        let second = match &mut self.second {
            Some(second) => second.reconcile_part(desired).transpose(),
            None => Some(Ok(Drift::default())),
        };
        let Some(second) = second else { return Ok(None) };
        let (first, is_new) = self.compared.take().unwrap_or((Ok(Drift::default()), false));
        let (mut drift, second) = (first?, second?);
        // A new one was empty because it is new: nothing has been lost.
        drift.add(&if is_new { Drift { attachments: 1, ..Drift::default() } } else { second });
        self.clear();
        Ok(Some(drift))
    }

    fn live(&mut self) -> Result<Vec<LiveEntry>, EnforceError> {
        let mut live = self.first.live()?;
        if let Some(second) = &mut self.second {
            let known: HashSet<Target> = live.iter().map(|entry| entry.target).collect();
            live.extend(second.live()?.into_iter().filter(|entry| !known.contains(&entry.target)));
        }
        Ok(live)
    }

    /// What both hold is told twice at most.
    fn unknown(&mut self, desired: Desired<'_>) -> Result<Unknown, EnforceError> {
        if !self.is_first_known {
            let first = self.first.unknown(desired)?;
            self.is_first_known = !first.more && self.second.is_some();
            return Ok(Unknown { more: first.more || self.is_first_known, ..first });
        }
        let second = match &mut self.second {
            Some(second) => second.unknown(desired)?,
            None => Unknown::default(),
        };
        self.is_first_known = second.more;
        Ok(second)
    }

    /// Dropped if both say so, since the first leaves interfaces uncovered and the second covers all.
    fn check(&mut self, address: IpAddr, now: Moment) -> Result<Verdict, EnforceError> {
        let first = self.first.check(address, now)?;
        let Some(second) = &mut self.second else {
            let dropped = first.dropped && left_open(&self.first.status()).is_none();
            return Ok(Verdict { dropped, ..first });
        };
        let second = second.check(address, now)?;
        Ok(Verdict {
            dropped: second.dropped,
            entries: join(first.entries, second.entries),
            allowed_by: first.allowed_by.or(second.allowed_by),
        })
    }

    fn status(&mut self) -> EnforcerStatus {
        let mut status = self.first.status();
        let Some(second) = &mut self.second else {
            if let Some(refused) = &self.refused {
                status.reason = joined(&status.reason, refused);
            }
            return status;
        };
        let second = second.status();
        status.reason = joined(&status.reason, &second.reason);
        for interface in status.interfaces.iter_mut().filter(|interface| interface.mode == "none") {
            if let Some(other) = second.interfaces.iter().find(|other| other.index == interface.index) {
                interface.mode.clone_from(&other.mode);
            }
        }
        status.maps.extend(second.maps);
        status
    }

    /// A packet is counted by one of the two: what the first drops never reaches the second.
    fn counters(&mut self) -> Result<Counters, EnforceError> {
        let mut counters = self.first.counters()?;
        if let Some(second) = &mut self.second {
            let Counters { reasons, drops } = second.counters()?;
            for (reason, packets, bytes) in reasons {
                match counters.reasons.iter_mut().find(|(name, ..)| *name == reason) {
                    Some(sum) => (sum.1, sum.2) = (sum.1 + packets, sum.2 + bytes),
                    None => counters.reasons.push((reason, packets, bytes)),
                }
            }
            counters.drops.extend(drops);
        }
        Ok(counters)
    }

    fn remove(&mut self) -> Result<(), EnforceError> {
        let first = self.first.remove();
        let second = self.second.as_mut().map_or(Ok(()), |second| second.remove());
        self.second = None;
        first.and(second)
    }
}

/// Which interfaces are not covered, and why, those among them that are not there; `None` if there is none.
pub(super) fn uncovered(status: &EnforcerStatus) -> Option<String> {
    told(status.interfaces.iter().filter(|interface| interface.mode == "none"))
}

/// Which interfaces the first leaves open, and why; `None` if there is none. Nothing comes in where no interface is.
fn left_open(status: &EnforcerStatus) -> Option<String> {
    told(status.interfaces.iter().filter(|interface| interface.mode == "none" && interface.index != 0))
}

fn told<'a>(interfaces: impl Iterator<Item = &'a InterfaceStatus>) -> Option<String> {
    let list: Vec<String> =
        interfaces.map(|interface| format!("{}: {}", interface.name, interface.reason)).collect();
    (!list.is_empty()).then(|| list.join("; "))
}

/// One entry for each target, packets of both added up, widest last.
fn join(first: Vec<LiveEntry>, second: Vec<LiveEntry>) -> Vec<LiveEntry> {
    let mut entries: BTreeMap<_, LiveEntry> = BTreeMap::new();
    for entry in first.into_iter().chain(second) {
        let narrow_first = std::cmp::Reverse(entry.target.length());
        match entries.get_mut(&narrow_first) {
            None => {
                entries.insert(narrow_first, entry);
            }
            Some(sum) => {
                sum.packets = plus(sum.packets, entry.packets);
                sum.bytes = plus(sum.bytes, entry.bytes);
            }
        }
    }
    entries.into_values().collect()
}

fn plus(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    }
}

fn joined(a: &str, b: &str) -> String {
    if a.is_empty() || b.is_empty() { format!("{a}{b}") } else { format!("{a}; {b}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ban::{BanId, BanTable};
    use crate::enforce::Observe;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn nothing_left() -> Clear {
        Box::new(|| Ok(false))
    }

    /// An enforcer that leaves one interface uncovered, the one of this index.
    #[derive(Debug)]
    struct Partial(Observe, u32);

    impl Enforcer for Partial {
        fn backend(&self) -> Backend {
            Backend::Xdp
        }
        fn apply(&mut self, changes: &[Change]) -> Result<(), EnforceError> {
            self.0.apply(changes)
        }
        fn reconcile(&mut self, desired: Desired<'_>) -> Result<Drift, EnforceError> {
            self.0.reconcile(desired)
        }
        fn live(&mut self) -> Result<Vec<LiveEntry>, EnforceError> {
            self.0.live()
        }
        fn check(&mut self, address: IpAddr, now: Moment) -> Result<Verdict, EnforceError> {
            Ok(Verdict { dropped: true, ..self.0.check(address, now)? })
        }
        fn status(&mut self) -> EnforcerStatus {
            let (name, mode, reason) = ("eth9".into(), "none".into(), "busy".into());
            let none = InterfaceStatus { name, index: self.1, mode, reason };
            EnforcerStatus { interfaces: vec![none], ..self.0.status() }
        }
        fn counters(&mut self) -> Result<Counters, EnforceError> {
            Ok(Counters { reasons: vec![("host".into(), 2, 20)], drops: Vec::new() })
        }
        fn remove(&mut self) -> Result<(), EnforceError> {
            self.0.remove()
        }
    }

    #[test]
    fn an_interface_that_is_not_there_opens_nothing() {
        let open: Open = Box::new(|reason| Ok(Box::new(Observe::new(reason))));
        let mut pair = Pair::new(Box::new(Partial(Observe::new(""), 0)), Some(open), nothing_left());
        let bans = BanTable::default();
        let drift = pair.reconcile(Desired { bans: &bans, allowed: &[], now: Moment(0) }).unwrap();
        assert_eq!(drift, Drift::default());
        assert!(pair.check("192.0.2.1".parse().unwrap(), Moment(0)).unwrap().dropped);
        assert!(uncovered(&pair.status()).is_some(), "and is told of all the same");
    }

    #[test]
    fn an_uncovered_interface_brings_the_second_in() {
        let partial = || Box::new(Partial(Observe::new(""), 9));
        let open: Open = Box::new(|reason| Ok(Box::new(Partial(Observe::new(reason), 9))));
        let mut pair = Pair::new(partial(), Some(open), nothing_left());
        let now = Moment(0);
        let target = "192.0.2.1".parse().unwrap();
        let address = "192.0.2.1".parse().unwrap();
        let ban = Change::Ban { target, id: BanId(7), until: None };
        pair.apply(&[ban]).unwrap();
        assert!(!pair.check(address, now).unwrap().dropped, "an interface is open");

        let bans = BanTable::default();
        let drift = pair.reconcile(Desired { bans: &bans, allowed: &[], now }).unwrap();
        assert_eq!(drift, Drift { attachments: 1, ..Drift::default() });
        pair.apply(&[ban]).unwrap();
        let verdict = pair.check(address, now).unwrap();
        assert!(verdict.dropped);
        assert_eq!(verdict.entries.len(), 1);
        assert_eq!(pair.counters().unwrap().reasons, [("host".to_owned(), 4, 40)]);
        assert!(pair.status().reason.contains("eth9: busy"));
    }

    #[test]
    fn an_interface_that_appears_does_not_wait_for_a_comparison() {
        let open: Open = Box::new(|reason| Ok(Box::new(Observe::new(reason))));
        let mut pair = Pair::new(Box::new(Partial(Observe::new(""), 9)), Some(open), nothing_left());
        assert_eq!(pair.attach().unwrap(), 1, "the second is there");
        assert_eq!(pair.attach().unwrap(), 0);
        let ban = Change::Ban { target: "192.0.2.1".parse().unwrap(), id: BanId(7), until: None };
        pair.apply(&[ban]).unwrap();
        assert_eq!(pair.check("192.0.2.1".parse().unwrap(), Moment(0)).unwrap().entries.len(), 1);
    }

    /// Its comparison takes so many parts.
    #[derive(Debug)]
    struct Parts(u32, Observe);

    impl Enforcer for Parts {
        fn backend(&self) -> Backend {
            Backend::Xdp
        }
        fn apply(&mut self, changes: &[Change]) -> Result<(), EnforceError> {
            self.1.apply(changes)
        }
        fn reconcile(&mut self, desired: Desired<'_>) -> Result<Drift, EnforceError> {
            self.1.reconcile(desired)
        }
        fn reconcile_part(&mut self, desired: Desired<'_>) -> Result<Option<Drift>, EnforceError> {
            self.0 = self.0.saturating_sub(1);
            if self.0 > 0 { Ok(None) } else { self.reconcile(desired).map(Some) }
        }
        fn live(&mut self) -> Result<Vec<LiveEntry>, EnforceError> {
            let entry = |target: &str| LiveEntry {
                target: target.parse().unwrap(),
                id: 1,
                seconds_left: None,
                packets: None,
                bytes: None,
            };
            Ok(["192.0.2.1", "192.0.2.2"].map(entry).into())
        }
        fn check(&mut self, address: IpAddr, now: Moment) -> Result<Verdict, EnforceError> {
            self.1.check(address, now)
        }
        fn status(&mut self) -> EnforcerStatus {
            self.1.status()
        }
        fn counters(&mut self) -> Result<Counters, EnforceError> {
            self.1.counters()
        }
        fn remove(&mut self) -> Result<(), EnforceError> {
            self.1.remove()
        }
    }

    #[test]
    fn another_backend_stays_until_the_last_part_is_compared() {
        let cleared = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&cleared);
        let clear: Clear = Box::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(true)
        });
        let mut pair = Pair::new(Box::new(Parts(3, Observe::new(""))), None, clear);
        let bans = BanTable::default();
        let desired = Desired { bans: &bans, allowed: &[], now: Moment(0) };
        for _ in 0..2 {
            assert_eq!(pair.reconcile_part(desired).unwrap(), None);
            assert_eq!(cleared.load(Ordering::Relaxed), 0);
        }
        assert_eq!(pair.reconcile_part(desired).unwrap(), Some(Drift::default()));
        assert_eq!(cleared.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn only_what_the_table_does_not_have_is_unknown() {
        let ban = crate::ban::Ban {
            id: BanId(1),
            target: "192.0.2.1".parse().unwrap(),
            since: Moment(0),
            until: None,
            origin: crate::ban::Origin::Manual(0),
            score: crate::sighting::Points(0),
            strike: 1,
            reason: "".into(),
        };
        let mut bans = BanTable::default();
        bans.set(ban);
        let mut pair = Pair::new(Box::new(Parts(1, Observe::new(""))), None, nothing_left());
        let unknown = pair.unknown(Desired { bans: &bans, allowed: &[], now: Moment(0) }).unwrap();
        let targets: Vec<String> = unknown.entries.iter().map(|entry| entry.target.to_string()).collect();
        assert_eq!((targets, unknown.more), (vec!["192.0.2.2".to_owned()], false));
    }

    #[test]
    fn without_a_second_the_reason_is_told() {
        let refuse: Open = Box::new(|_| {
            Err(EnforceError::Unavailable {
                backend: "nftables",
                reason: "the kernel has no nf_tables".into(),
            })
        });
        let mut pair = Pair::new(Box::new(Partial(Observe::new(""), 9)), Some(refuse), nothing_left());
        let bans = BanTable::default();
        assert!(pair.reconcile(Desired { bans: &bans, allowed: &[], now: Moment(0) }).unwrap().is_none());
        assert!(pair.status().reason.contains("the kernel has no nf_tables"));
    }

    #[test]
    fn another_backend_is_cleared_once_this_one_holds_everything() {
        let cleared = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&cleared);
        let clear: Clear = Box::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
            Ok(true)
        });
        let mut pair = Pair::new(Box::new(Observe::new("")), None, clear);
        assert_eq!(cleared.load(Ordering::Relaxed), 0);
        let bans = BanTable::default();
        for _ in 0..2 {
            pair.reconcile(Desired { bans: &bans, allowed: &[], now: Moment(0) }).unwrap();
            assert_eq!(cleared.load(Ordering::Relaxed), 1);
        }
    }
}
