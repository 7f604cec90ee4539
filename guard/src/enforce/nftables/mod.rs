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
use rustix::net::netdevice::name_to_index;
use rustix::net::{AddressFamily, SocketType, socket};

use super::{
    Backend, Change, Counters, Desired, Drift, EnforceError, Enforcer, EnforcerStatus, Held, InterfaceStatus,
    LiveEntry, MapStatus, Unknown, Verdict,
};
use crate::ban::BanId;
use crate::config::Config;
use crate::time::Moment;
use batch::Batch;
use compare::{Compared, Round};
use elements::Renewal;
use live::{Live, Structure};
use plan::{ForcedTargets, Plan};
use refusal::{changing, is_too_much, reading};
use set::{Role, Set};

mod attributes;
mod batch;
mod compare;
mod elements;
mod live;
mod netlink;
mod plan;
mod reading;
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
    /// What is known of the bans that were in the table when it was taken over.
    held: Held,
    /// Targets of bans whose elements say that they are forced, or may say so.
    forced: ForcedTargets,
    /// The comparison under way.
    round: Option<Round>,
    /// Whether the table itself had to be put right, until a reconciliation has told of it: 1, else 0.
    rebuilt: u64,
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
            held: if present.is_some() { Held::Unread } else { Held::Known },
            forced: ForcedTargets::default(),
            round: None,
            rebuilt: 0,
            counts: None,
        };
        let sets = present.map(|structure| structure.sets).unwrap_or_default();
        this.build(&sets.into_iter().chain(Set::BASE).collect(), &[])?;
        Ok(this)
    }

    /// Whether the kernel gives an element a new end in place, so that its counter goes on; found out by trying.
    pub fn renews_in_place(&self) -> bool {
        self.renewal == Renewal::InPlace
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
        let made = self.commit("making the table anew", &mut anew);
        // What was in it is gone.
        self.give_up();
        made?;
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
        let forced = plan.bans().filter(|ban| ban.is_forced);
        self.forced.extend(forced.map(|ban| ban.target));
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
        if !self.forced.is_empty() {
            for ban in plan.bans().filter(|ban| !ban.is_forced) {
                self.forced.remove(&ban.target);
            }
        }
        Ok(())
    }

    /// Ends the comparison under way, if there is one, without a result. The next reconciliation compares everything,
    /// however short ago that was done.
    fn give_up(&mut self) {
        self.round = None;
        self.known = None;
        self.read.may = Instant::now();
    }

    /// Begins to compare every element if there is reason to, and puts the table itself right before; whether it has
    /// begun.
    fn begin_if_due(&mut self) -> Result<bool, EnforceError> {
        let now = Instant::now();
        let changed = self.known != Some(self.live.generation().map_err(reading)?);
        if !changed && now < self.read.must {
            return Ok(false);
        }
        if changed && !self.is_intact()? {
            self.rebuilt = 1;
            self.build(&self.structure.sets.clone(), &[])?;
        } else if now < self.read.may {
            return Ok(false);
        }
        self.known = Some(self.live.generation().map_err(reading)?);
        self.begin_round()?;
        Ok(true)
    }

    /// Begins a comparison if there is reason to, or goes on with the one under way.
    fn compare(&mut self, desired: Desired<'_>) -> Result<Option<Drift>, EnforceError> {
        if self.round.is_none() && !self.begin_if_due()? {
            return Ok(Some(Drift::default()));
        }
        let Some(compared) = self.compare_part(desired, None)? else { return Ok(None) };
        let Compared { drift, took, is_whole } = compared;
        self.known = self.known.filter(|_| is_whole);
        let now = Instant::now();
        self.read = Schedule { may: now + took * READ_SHARE, must: now + READ_ANYWAY };
        self.held = Held::Known;
        Ok(Some(Drift { attachments: std::mem::take(&mut self.rebuilt), ..drift }))
    }

    /// Begins or goes on with a comparison that puts what the table of bans does not have into `unknown`. Whether it is over.
    fn look_for_unknown(
        &mut self,
        desired: Desired<'_>,
        unknown: &mut Vec<LiveEntry>,
    ) -> Result<bool, EnforceError> {
        if self.round.is_none() {
            self.begin_round()?;
        }
        Ok(self.compare_part(desired, Some(unknown))?.is_some())
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
        let plan = Plan::of(changes, Moment::now(), &self.forced);
        if self.round.as_mut().is_some_and(|round| round.note(&plan)) {
            self.give_up();
        }
        // A comparison takes what is changed meanwhile for done.
        self.write(&plan).inspect_err(|_| self.give_up())
    }

    /// A table that was taken over holds nearly all of it, some for longer than the store knows: to write it would
    /// shorten those. [`Self::unknown`] writes what is missing. From the time that has begun, all is written.
    fn restore(&mut self, bans: &[Change], _to_come: u64) -> Result<(), EnforceError> {
        if self.held == Held::Unread { Ok(()) } else { self.apply(bans) }
    }

    fn reconcile(&mut self, desired: Desired<'_>) -> Result<Drift, EnforceError> {
        loop {
            if let Some(drift) = self.reconcile_part(desired)? {
                return Ok(drift);
            }
        }
    }

    fn reconcile_part(&mut self, desired: Desired<'_>) -> Result<Option<Drift>, EnforceError> {
        self.compare(desired).inspect_err(|_| self.give_up())
    }

    fn live(&mut self) -> Result<Vec<LiveEntry>, EnforceError> {
        let mut live = Vec::new();
        for set in self.structure.sets.clone().into_iter().filter(|set| set.role == Role::Ban) {
            let elements = self.live.elements(set).map_err(reading)?;
            live.extend(elements.iter().map(live_entry));
        }
        Ok(live)
    }

    /// This is a comparison as [`Self::reconcile_part`] makes it, only that what is foreign is handed over. A table that
    /// was new holds what was put into it since.
    fn unknown(&mut self, desired: Desired<'_>) -> Result<Unknown, EnforceError> {
        if self.held == Held::Known {
            return Ok(Unknown::default());
        }
        self.held = Held::BeingRead;
        let mut entries = Vec::new();
        let is_over = self.look_for_unknown(desired, &mut entries).inspect_err(|_| self.give_up())?;
        if is_over {
            self.held = Held::Known;
        }
        Ok(Unknown { entries, more: !is_over })
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
