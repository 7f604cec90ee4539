//! Bans in an nftables table of our own, for machines where XDP does not run.
//!
//! One table of family `inet` holds a hash set for each role, family and prefix length ([`set`]), and a chain
//! in `prerouting` before defragmentation and connection tracking. A packet's source is looked up in each set of
//! bans; only if one has it, the allowances are asked. Elements carry their timeouts, so bans end without us.
//! Changes ([`batch`]) and reads ([`live`]) go to the kernel over netlink; no other program is needed.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use guard_common::Reason;
use hashbrown::HashMap;
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType, socket};

use super::{
    Backend, Change, Counters, Desired, Drift, EnforceError, Enforcer, EnforcerStatus, InterfaceStatus,
    LiveEntry, MapStatus, Unknown, Verdict, unknown_of,
};
use crate::ban::BanId;
use crate::config::Config;
use crate::target::Target;
use crate::time::Moment;
use batch::Batch;
use elements::{Element, Renewal};
use live::{Live, Structure};
use plan::Plan;
use refusal::{changing, is_too_much, reading};
use set::{Role, Set};

mod attributes;
mod batch;
mod elements;
mod live;
mod netlink;
mod plan;
mod refusal;
mod rule;
mod set;
mod skeleton;
mod table;
mod watch;

pub use table::{is_offered, is_present, nftables_remove};
pub use watch::{Watch, watch};

/// Elements changed in one transaction. More would gain nothing, and where somebody listens to changes the kernel
/// holds a page for each element until the transaction ends.
const TRANSACTION: usize = 4096;

/// Deadlines closer than this are equal: the kernel's ticks, and the time it takes to read a large set.
const TOLERANCE: Duration = Duration::from_secs(2);

/// Reading every element may take this share of the time, one in so many.
const READ_SHARE: u32 = 20;

/// Even if nobody changed anything, every element is read this often: the timeouts stand still in suspend.
const READ_ANYWAY: Duration = Duration::from_secs(600);

/// The bans and allowances in a table of nftables.
#[derive(Debug)]
pub struct Nftables {
    table: String,
    reason: String,
    live: Live,
    renewal: Renewal,
    /// The table as we last left it.
    structure: Structure,
    /// The generation at which everything was as desired or became so by our own changes alone.
    known: Option<u32>,
    /// When every element may and when it must be read again.
    read: Schedule,
    /// Whether the table was there already, and its elements have not been looked at.
    taken_over: bool,
    counts: Option<(Instant, Vec<MapStatus>)>,
}

#[derive(Clone, Copy, Debug)]
struct Schedule {
    may: Instant,
    must: Instant,
}

impl Nftables {
    /// Makes the table, or adopts the one that is there with everything in it. `reason` says why this backend
    /// is used, empty if it was asked for.
    pub fn open(config: &Config, reason: &str) -> Result<Self, EnforceError> {
        let table = config.enforce.nftables_table.clone();
        let mut live = table::open(&table)?;
        let renewal = table::probe(&table)?;
        let present = live.structure().map_err(reading)?;
        let now = Instant::now();
        let mut this = Self {
            table,
            reason: reason.to_owned(),
            live,
            renewal,
            structure: Structure::default(),
            known: None,
            read: Schedule { may: now, must: now },
            taken_over: present.is_some(),
            counts: None,
        };
        let sets = present.map(|structure| structure.sets).unwrap_or_default();
        this.build(&sets.into_iter().chain(Set::BASE).collect(), &[])?;
        Ok(this)
    }

    /// Makes the table's structure, with these sets in it and without the obsolete ones. What others made of
    /// the table is undone; if it has become something else altogether, it is made anew.
    fn build(&mut self, sets: &BTreeSet<Set>, obsolete: &[Set]) -> Result<(), EnforceError> {
        let mut batch = Batch::new();
        skeleton::make(&mut batch, &self.table, sets, obsolete);
        let built = self.commit("making the table", &mut batch);
        let structure = self.live.structure().map_err(reading)?;
        self.structure = match (built, structure) {
            (Ok(()), Some(structure)) if structure.sound => structure,
            (Err(error @ EnforceError::Permission { .. }), _) => return Err(error),
            _ => self.rebuild(sets)?,
        };
        Ok(())
    }

    fn rebuild(&mut self, sets: &BTreeSet<Set>) -> Result<Structure, EnforceError> {
        let mut anew = Batch::new();
        skeleton::delete(&mut anew, &self.table);
        skeleton::make(&mut anew, &self.table, sets, &[]);
        self.commit("making the table anew", &mut anew)?;
        let structure = self.live.structure().map_err(reading)?.filter(|structure| structure.sound);
        structure.ok_or_else(|| EnforceError::Unavailable {
            backend: "nftables",
            reason: format!("table inet {} is not what was just made: something else changes it", self.table),
        })
    }

    /// Makes a transaction take effect and keeps track of whether it was the only one: it is to build on the
    /// generation that is known, and if the kernel refuses that, on whatever others have made.
    fn commit(&mut self, operation: &str, batch: &mut Batch) -> Result<(), EnforceError> {
        let known = self.known.take();
        let failed = |error| changing(&format!("{operation} (inet {})", self.table), error);
        match self.live.transact(batch, known) {
            Ok(()) => {}
            Err(error) if known.is_some() && error.raw_os_error() == Some(libc::ERESTART) => {
                return self.live.transact(batch, None).map_err(failed);
            }
            Err(error) => return Err(failed(error)),
        }
        if let Some(known) = known {
            let now = self.live.generation().map_err(reading)?;
            // One that finds everything as it is to be makes no generation.
            self.known = (now.wrapping_sub(known) <= 1).then_some(now);
        }
        Ok(())
    }

    /// Puts and takes elements, in as many transactions as it needs. Sets that are not there yet are made first.
    fn write(&mut self, plan: &Plan) -> Result<(), EnforceError> {
        if plan.needs().any(|set| !self.structure.sets.contains(&set)) {
            let sets = self.structure.sets.iter().copied().chain(plan.needs()).collect();
            self.build(&sets, &[])?;
        }
        let (mut rest, mut limit) = (plan.steps(&self.structure.sets), TRANSACTION);
        while rest.len() > 0 {
            let (now, later) = rest.split(limit);
            let mut batch = Batch::new();
            now.append(&mut batch, &self.table, self.renewal);
            match self.commit("changing bans", &mut batch) {
                Ok(()) => rest = later,
                Err(error) if now.len() > 1 && is_too_much(&error) => limit = now.len() / 2,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Compares every element with the desired set; answers what differs and how to put it right.
    fn compare(&mut self, desired: Desired<'_>) -> Result<(Plan, Drift), EnforceError> {
        let (mut plan, mut drift) = (Plan::default(), Drift::default());
        let mut live: HashMap<(Role, Target), (Option<Duration>, bool), foldhash::fast::RandomState> =
            HashMap::default();
        for &set in &self.structure.sets {
            let elements = self.live.elements(set).map_err(reading)?;
            let held =
                |element: live::Element| ((set.role, element.target), (element.left, element.is_forced));
            live.extend(elements.into_iter().map(held));
        }
        let bans = desired.bans.iter().map(|ban| (Role::Ban, ban.target, ban.until, ban.id.is_forced()));
        let allowances = desired.allowed.iter().map(|&target| (Role::Allow, target, None, false));
        for (role, target, until, is_forced) in bans.chain(allowances) {
            if until.is_some_and(|until| until <= desired.now) {
                continue;
            }
            let left = until.map(|until| until.since(desired.now));
            let actual = live.remove(&(role, target));
            match actual {
                Some((actual, was_forced)) if close(actual, left) && was_forced == is_forced => continue,
                Some(_) => drift.changed += 1,
                None => drift.missing += 1,
            }
            let is_anew = actual.is_some_and(|(_, was_forced)| was_forced != is_forced);
            plan.put(role, Element { target, left, is_forced, is_anew });
        }
        for (role, target) in live.into_keys() {
            drift.foreign += 1;
            plan.take(role, target);
        }
        Ok((plan, drift))
    }

    /// Puts the bans that are not among what the table holds, and renews those that would end too early in it.
    fn put_missing(&mut self, held: &[LiveEntry], desired: Desired<'_>) -> Result<(), EnforceError> {
        let left = |until: Option<Moment>| until.map(|until| until.since(desired.now));
        let held: HashMap<Target, &LiveEntry, foldhash::fast::RandomState> =
            held.iter().map(|entry| (entry.target, entry)).collect();
        let mut plan = Plan::default();
        for ban in desired.bans.iter().filter(|ban| ban.until.is_none_or(|until| until > desired.now)) {
            let (entry, is_forced) = (held.get(&ban.target), ban.id.is_forced());
            let stays = entry.is_some_and(|entry| {
                let actual = entry.seconds_left.map(Duration::from_secs);
                entry.outlasts(ban.until, desired.now) || close(actual, left(ban.until))
            });
            if !stays {
                let (target, left) = (ban.target, left(ban.until));
                let is_anew = entry.is_some_and(|entry| BanId(entry.id).is_forced() != is_forced);
                plan.put(Role::Ban, Element { target, left, is_forced, is_anew });
            }
        }
        self.write(&plan)
    }

    /// Takes away sets that nothing desired is in.
    fn tidy(&mut self, desired: Desired<'_>) -> Result<(), EnforceError> {
        let bans = desired.bans.iter().map(|ban| Set::of(Role::Ban, ban.target));
        let allowances = desired.allowed.iter().map(|&target| Set::of(Role::Allow, target));
        let wanted: BTreeSet<Set> = bans.chain(allowances).chain(Set::BASE).collect();
        let obsolete: Vec<Set> = self.structure.sets.difference(&wanted).copied().collect();
        if obsolete.is_empty() { Ok(()) } else { self.build(&wanted, &obsolete) }
    }

    /// Whether the table is as we left it, without looking at elements.
    fn is_intact(&mut self) -> Result<bool, EnforceError> {
        Ok(self.live.structure().map_err(reading)?.as_ref() == Some(&self.structure))
    }
}

impl Enforcer for Nftables {
    fn backend(&self) -> Backend {
        Backend::Nftables
    }

    fn apply(&mut self, changes: &[Change]) -> Result<(), EnforceError> {
        self.write(&Plan::of(changes, Moment::now()))
    }

    /// A table that was taken over holds nearly all of it, some for longer than the store knows: to write it would
    /// shorten those. [`Self::unknown`] writes what is missing.
    fn restore(&mut self, bans: &[Change], _to_come: u64) -> Result<(), EnforceError> {
        if self.taken_over { Ok(()) } else { self.apply(bans) }
    }

    fn reconcile(&mut self, desired: Desired<'_>) -> Result<Drift, EnforceError> {
        let started = Instant::now();
        let generation = self.live.generation().map_err(reading)?;
        let changed = self.known != Some(generation);
        if !changed && started < self.read.must {
            return Ok(Drift::default());
        }
        let mut attachments = 0;
        if changed && !self.is_intact()? {
            attachments = 1;
            self.build(&self.structure.sets.clone(), &[])?;
        } else if started < self.read.may {
            return Ok(Drift::default());
        }
        let generation = self.live.generation().map_err(reading)?;
        let (plan, drift) = self.compare(desired)?;
        let took = started.elapsed();
        let now = Instant::now();
        self.read = Schedule { may: now + took * READ_SHARE, must: now + READ_ANYWAY };
        self.known = Some(generation);
        self.write(&plan)?;
        self.tidy(desired)?;
        self.taken_over = false;
        Ok(Drift { attachments, ..drift })
    }

    fn live(&mut self) -> Result<Vec<LiveEntry>, EnforceError> {
        let mut live = Vec::new();
        for set in self.structure.sets.clone().into_iter().filter(|set| set.role == Role::Ban) {
            let elements = self.live.elements(set).map_err(reading)?;
            live.extend(elements.iter().map(live_entry));
        }
        Ok(live)
    }

    fn unknown(&mut self, desired: Desired<'_>) -> Result<Unknown, EnforceError> {
        let entries = self.live()?;
        if self.taken_over {
            self.put_missing(&entries, desired)?;
            self.taken_over = false;
        }
        Ok(Unknown { entries: unknown_of(entries, desired), more: false })
    }

    fn check(&mut self, address: IpAddr, _now: Moment) -> Result<Verdict, EnforceError> {
        let mut verdict = Verdict::default();
        let sets: Vec<Set> = self.structure.sets.iter().rev().copied().collect();
        for set in sets {
            let Some(target) = set.covering(address) else { continue };
            let Some(element) = self.live.element(set.role, target).map_err(reading)? else { continue };
            match set.role {
                Role::Allow => verdict.allowed_by = verdict.allowed_by.or(Some(target)),
                Role::Ban => verdict.entries.push(LiveEntry { target, ..live_entry(&element) }),
            }
        }
        if verdict.allowed_by.is_some() {
            // What matched was not dropped, and the element cannot tell since when.
            for entry in &mut verdict.entries {
                (entry.packets, entry.bytes) = (None, None);
            }
        }
        verdict.dropped = !verdict.entries.is_empty() && verdict.allowed_by.is_none() && self.is_intact()?;
        Ok(verdict)
    }

    fn status(&mut self) -> EnforcerStatus {
        let (mode, reason) = match self.is_intact() {
            Ok(true) => ("nftables", self.reason.clone()),
            Ok(false) => (
                "none",
                format!("table inet {} was changed or removed and is about to be put back", self.table),
            ),
            Err(error) => ("none", crate::causes::chain(&error)),
        };
        let interfaces = interfaces().into_iter().map(|(index, name)| InterfaceStatus {
            name,
            index,
            mode: mode.to_owned(),
            reason: reason.clone(),
        });
        EnforcerStatus {
            backend: Backend::Nftables.name().to_owned(),
            reason: self.reason.clone(),
            interfaces: interfaces.collect(),
            maps: self.counts(),
        }
    }

    fn counters(&mut self) -> Result<Counters, EnforceError> {
        let mut counters = Counters::default();
        for (reason, name) in [
            (Reason::Allowed, skeleton::ALLOWED_COUNTER),
            (Reason::Host, skeleton::HOST_COUNTER),
            (Reason::Prefix, skeleton::PREFIX_COUNTER),
        ] {
            let tally = self.live.counter(name).map_err(reading)?.unwrap_or_default();
            counters.reasons.push((reason.name().to_owned(), tally.packets, tally.bytes));
            if reason.is_drop() {
                let any = "all".to_owned();
                counters.drops.push((any, reason.name().to_owned(), tally.packets, tally.bytes));
            }
        }
        Ok(counters)
    }

    fn remove(&mut self) -> Result<(), EnforceError> {
        self.known = None;
        table::delete(&mut self.live, &self.table)?;
        Ok(())
    }
}

impl Nftables {
    /// Elements by set. Counting reads them, so the figures may be as old as their reading took times twenty.
    fn counts(&mut self) -> Vec<MapStatus> {
        let started = Instant::now();
        if let Some((until, maps)) = &self.counts
            && started < *until
        {
            return maps.clone();
        }
        let sets: Vec<Set> = self.structure.sets.iter().copied().collect();
        let maps: Vec<MapStatus> = sets
            .into_iter()
            .filter_map(|set| {
                Some(MapStatus { name: set.name(), entries: self.live.count(set).ok()?, capacity: 0 })
            })
            .collect();
        self.counts = Some((Instant::now() + started.elapsed() * READ_SHARE, maps.clone()));
        maps
    }
}

fn live_entry(element: &live::Element) -> LiveEntry {
    LiveEntry {
        target: element.target,
        id: if element.is_forced { BanId(0).forced().0 } else { 0 },
        seconds_left: element.left.map(|left| elements::without_tick(left).as_millis().div_ceil(1000) as u64),
        packets: element.tally.map(|tally| tally.packets),
        bytes: element.tally.map(|tally| tally.bytes),
    }
}

fn close(a: Option<Duration>, b: Option<Duration>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.abs_diff(b) <= TOLERANCE,
        (a, b) => a == b,
    }
}

/// Interfaces whose packets pass the hook: all but loopback, by index.
fn interfaces() -> Vec<(u32, String)> {
    let Ok(list) = std::fs::read_to_string("/proc/thread-self/net/dev") else { return Vec::new() };
    let Ok(socket) = socket(AddressFamily::UNIX, SocketType::DGRAM, None) else { return Vec::new() };
    let names =
        list.lines().filter_map(|line| Some(line.split_once(':')?.0.trim())).filter(|&name| name != "lo");
    let mut found: Vec<(u32, String)> =
        names.filter_map(|name| Some((name_to_index(&socket, name).ok()?, name.to_owned()))).collect();
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests;
