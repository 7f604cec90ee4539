//! Enforcement by the XDP program.

mod compare;
mod key;
mod read;
mod room;
mod write;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use guard_common::{Cidr4, Cidr6, Entry};

use self::compare::Round;
use self::key::{PLACES, deadline};
use self::room::Growing;
use self::write::Pending;
use super::{
    Backend, Change, Counters, Desired, Drift, EnforceError, Enforcer, EnforcerStatus, Held, LiveEntry,
    Unknown, Verdict,
};
use crate::config::Interfaces;
use crate::datapath::{Datapath, DatapathError, Options};
use crate::target::Target;
use crate::time::Moment;

/// A full comparison may take this part of the time.
const COMPARE_SHARE: u32 = 200;
/// When maps that were new at the start are first compared: for each ban what keeps to that part of the time, as far as
/// can be told before, but not later than this.
const FIRST_COMPARISON: Duration = Duration::from_secs(30);
const FIRST_FOR_EACH: Duration = Duration::from_micros(60);
/// How often attachments are looked at during a comparison.
const ATTACH_PAUSE: Duration = Duration::from_millis(100);

/// How the XDP enforcer is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XdpOptions {
    /// Folder on bpffs for the pins.
    pub bpffs: PathBuf,
    /// Which interfaces are covered.
    pub interfaces: Interfaces,
    /// Host entries the maps hold from the start; they grow on demand.
    pub capacity: u32,
    /// Count what would be dropped, and pass it.
    pub observe: bool,
}

/// Bans in XDP maps. What is pinned goes on when this is dropped.
#[derive(Debug)]
pub struct Xdp {
    datapath: Datapath,
    /// Entries in each map of bans, at least as many as there are; `None` for a large map that was taken over, until it
    /// is compared.
    entries: [Option<u64>; PLACES],
    /// What is known of the bans that were in the maps when they were taken over.
    held: Held,
    /// Whether something could not be written at some time.
    failed: bool,
    /// Whether entries were handed over as unknown, which the caller may not have kept.
    handed_over: bool,
    /// The comparison under way.
    round: Option<Round>,
    /// What comparisons have put right that no reconciliation has told of.
    drift: Drift,
    /// When the maps are next compared with the ban table as a whole.
    compare_at: Option<Instant>,
    /// When attachments are looked at again while a comparison is under way.
    attach_at: Instant,
    /// Why they could not all be put right when they were last looked at.
    unattached: Option<DatapathError>,
    /// The map that is being exchanged for a larger one.
    growing: Option<Growing>,
    /// When the next growth may begin.
    grow_at: Instant,
    /// Why the last one failed, until it is told.
    ungrown: Option<EnforceError>,
}

impl Xdp {
    /// Takes over what is pinned, or sets it up, and attaches to the interfaces.
    pub fn open(options: XdpOptions) -> Result<Self, EnforceError> {
        let XdpOptions { bpffs, interfaces, capacity, observe } = options;
        Self::with(Datapath::open(Options { bpffs, interfaces, capacity, enforce: !observe, object: None })?)
    }

    /// The same over a kernel side that is open already.
    pub fn with(datapath: Datapath) -> Result<Self, EnforceError> {
        let entries = read::sizes(datapath.maps())?;
        let mut xdp = Self {
            datapath,
            entries,
            held: if entries == [Some(0); PLACES] { Held::Known } else { Held::Unread },
            failed: false,
            handed_over: false,
            round: None,
            drift: Drift::default(),
            compare_at: None,
            attach_at: Instant::now(),
            unattached: None,
            growing: None,
            grow_at: Instant::now(),
            ungrown: None,
        };
        xdp.datapath.attach()?;
        Ok(xdp)
    }

    /// The kernel side.
    pub fn datapath(&self) -> &Datapath {
        &self.datapath
    }

    /// Applies changes of one kind, which are independent of each other.
    fn apply_run(&mut self, run: &[Change]) -> Result<(), EnforceError> {
        let mut pending = Pending::default();
        let mut allow = Vec::new();
        for change in run {
            match *change {
                Change::Ban { target, id, until } => {
                    let entry = Entry { deadline: deadline(until), id: id.0, ..Entry::default() };
                    pending.push(target, entry);
                }
                Change::Unban(target) => pending.push(target, Entry::default()),
                Change::Allow(target) | Change::Disallow(target) => allow.push(target),
            }
        }
        match run.first() {
            Some(Change::Ban { .. }) => self.put_pending(&pending),
            Some(Change::Unban(_)) => self.take_pending(&pending),
            Some(Change::Allow(_)) => self.allow(&allow),
            Some(Change::Disallow(_)) => self.disallow(&allow),
            None => Ok(()),
        }
    }

    /// Goes on with growing, without waiting.
    fn keep_growing(&mut self) {
        if let Err(error) = self.grow(false) {
            self.ungrown = Some(error);
        }
        // One map grows at a time: a bitmap may have had to wait for another.
        self.make_bits_room::<[u8; 4]>(0);
        self.make_bits_room::<[u8; 16]>(0);
    }

    /// Waits until every map has the size it is to have. Nothing in guard waits like this but who measures.
    pub fn settle(&mut self) -> Result<(), EnforceError> {
        self.keep_growing();
        while self.is_growing() {
            self.grow(true)?;
            self.keep_growing();
        }
        Ok(())
    }

    /// What was written is unknown: the next reconciliation looks at everything.
    fn look_at_everything(&mut self) {
        (self.compare_at, self.round, self.failed) = (None, None, true);
    }

    fn allow(&self, targets: &[Target]) -> Result<(), EnforceError> {
        let (v4, v6) = cidrs(targets);
        let maps = self.datapath.maps();
        maps.allow4.set_all(&v4.iter().map(|key| (*key, key.length)).collect::<Vec<_>>())?;
        maps.allow6.set_all(&v6.iter().map(|key| (*key, key.length)).collect::<Vec<_>>())?;
        Ok(())
    }

    fn disallow(&self, targets: &[Target]) -> Result<(), EnforceError> {
        let (v4, v6) = cidrs(targets);
        self.datapath.maps().allow4.remove_all(&v4)?;
        self.datapath.maps().allow6.remove_all(&v6)?;
        Ok(())
    }
}

impl Enforcer for Xdp {
    fn backend(&self) -> Backend {
        Backend::Xdp
    }

    fn apply(&mut self, changes: &[Change]) -> Result<(), EnforceError> {
        let same = |a: &Change, b: &Change| std::mem::discriminant(a) == std::mem::discriminant(b);
        self.keep_growing();
        // What cannot be written holds nothing up that comes behind it: an allowance, say.
        let mut done = Ok(());
        for run in changes.chunk_by(same) {
            done = done.and(self.apply_run(run));
        }
        if done.is_err() {
            self.look_at_everything();
        }
        done
    }

    /// Maps that were taken over hold nearly all of it: [`Self::unknown`] finds what is missing, and reads them once
    /// instead of asking for each ban. From the time that has begun, each is asked for and written.
    fn restore(&mut self, bans: &[Change], to_come: u64) -> Result<(), EnforceError> {
        if self.held == Held::Unread {
            return Ok(());
        }
        self.keep_growing();
        let mut pending = Pending::default();
        for change in bans {
            if let Change::Ban { target, id, until } = *change {
                pending.push(target, Entry { deadline: deadline(until), id: id.0, ..Entry::default() });
            }
        }
        let done = match self.held {
            Held::Known => self.put_absent(&pending, to_come),
            Held::Unread | Held::BeingRead => self.put_pending(&pending),
        };
        if done.is_err() {
            self.look_at_everything();
        }
        done
    }

    fn has_room(&mut self, bans: usize) -> bool {
        self.keep_growing();
        self.has_room_for(bans as u64)
    }

    fn reconcile(&mut self, desired: Desired<'_>) -> Result<Drift, EnforceError> {
        loop {
            if let Some(drift) = self.reconcile_part(desired)? {
                return Ok(drift);
            }
        }
    }

    /// Attachments, pins and switches each time. The maps as a whole at first, after an error, and then as often as
    /// keeps the cost at half a percent of the time: each time with thousands of bans, about once a minute with a
    /// million.
    fn reconcile_part(&mut self, desired: Desired<'_>) -> Result<Option<Drift>, EnforceError> {
        let started = Instant::now();
        self.keep_growing();
        if self.round.is_none() || started >= self.attach_at {
            // Bans are compared all the same: what is attached goes by them.
            match self.datapath.attach() {
                Ok(repaired) => {
                    self.drift.attachments += repaired;
                    self.unattached = None;
                }
                Err(error) => self.unattached = Some(error),
            }
            self.attach_at = started + ATTACH_PAUSE;
        }
        if self.round.is_some() || self.compare_at.is_none_or(|at| started >= at) {
            self.compare_at = None;
            let Some(took) = self.compare_part(desired, None)? else { return Ok(None) };
            self.compare_at = Some(started + took * COMPARE_SHARE);
        }
        if let Some(error) = self.unattached.take().map(EnforceError::from).or(self.ungrown.take()) {
            return Err(error);
        }
        if self.is_catching_up() {
            return Ok(None);
        }
        Ok(Some(std::mem::take(&mut self.drift)))
    }

    fn attach(&mut self) -> Result<u64, EnforceError> {
        Ok(self.datapath.attach()?)
    }

    fn live(&mut self) -> Result<Vec<LiveEntry>, EnforceError> {
        self.read_live(Moment::now())
    }

    /// This is a comparison as [`Self::reconcile_part`] makes it, only that what is foreign is handed over. Maps that
    /// were new hold what was put into them since, so their first comparison can wait, the longer the more there are;
    /// unless that is not as much as the table holds, because another backend was in use.
    fn unknown(&mut self, desired: Desired<'_>) -> Result<Unknown, EnforceError> {
        let entries: u64 = self.entries.iter().flatten().sum();
        if self.held == Held::Known && !self.failed && entries >= desired.bans.len() as u64 {
            let bans = u32::try_from(desired.bans.len()).unwrap_or(u32::MAX);
            self.compare_at = Some(Instant::now() + FIRST_COMPARISON.min(FIRST_FOR_EACH * bans));
            return Ok(Unknown::default());
        }
        let mut entries = Vec::new();
        let took = self.compare_part(desired, Some(&mut entries))?;
        self.handed_over |= !entries.is_empty();
        if let Some(took) = took {
            // What the caller does not keep is foreign to the next comparison.
            let is_settled = !std::mem::take(&mut self.handed_over);
            self.compare_at = is_settled.then(|| Instant::now() + took * COMPARE_SHARE);
        }
        Ok(Unknown { entries, more: took.is_none() })
    }

    fn check(&mut self, address: IpAddr, now: Moment) -> Result<Verdict, EnforceError> {
        self.read_verdict(address, now)
    }

    fn status(&mut self) -> EnforcerStatus {
        self.read_status()
    }

    fn counters(&mut self) -> Result<Counters, EnforceError> {
        self.read_counters()
    }

    fn remove(&mut self) -> Result<(), EnforceError> {
        self.growing = None;
        Ok(self.datapath.remove()?)
    }
}

/// Targets as keys of the allow tries, which hold hosts too.
fn cidrs(targets: &[Target]) -> (Vec<Cidr4>, Vec<Cidr6>) {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    for target in targets {
        let length = u32::from(target.length());
        match target.address() {
            IpAddr::V4(address) => v4.push(Cidr4 { length, address: address.octets() }),
            IpAddr::V6(address) => v6.push(Cidr6 { length, address: address.octets() }),
        }
    }
    (v4, v6)
}

impl From<DatapathError> for EnforceError {
    fn from(error: DatapathError) -> Self {
        match error {
            DatapathError::System { operation, source } => Self::Transient { operation, source },
            DatapathError::Permission { operation, hint } => Self::Permission { operation, hint },
            DatapathError::Full { map } => Self::Transient {
                operation: format!("writing map {map}"),
                source: std::io::Error::from_raw_os_error(libc::E2BIG),
            },
            other => Self::Unavailable { backend: Backend::Xdp.name(), reason: other.to_string() },
        }
    }
}
