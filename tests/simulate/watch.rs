//! What must hold after every step, whoever attacks and whatever fails.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;

use guard::ban::{BanRef, Origin};
use guard::judge::is_recovered;
use guard::store::Snapshot;
use guard::target::Target;

use crate::daemon::Daemon;
use crate::kernel::Entry;
use crate::machine::{Machine, PROTECTED, address};
use crate::world::World;

/// Banned hosts in a prefix that guard bans by itself, at least; in a prefix of IPv6 twice as many that failed will do.
const HOSTS_OF_PREFIX: usize = 10;
/// The widest prefix that guard bans by itself, IPv4 and IPv6.
const WIDEST: (u8, u8) = (24, 48);
/// No score is higher: twice the highest threshold there can be.
const HIGHEST_SCORE: i32 = 20_000;

/// Something that must hold does not.
#[derive(Debug)]
pub(crate) struct Broken(pub(crate) String);

/// Whether something holds; if not, what is told of it.
fn ensure(holds: bool, what: impl FnOnce() -> String) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(Broken(what())) }
}

/// A ban as it was seen last.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// When it ends, in the time of the simulation.
    until: i64,
}

/// What has been seen so far.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, not a state")]
pub(crate) struct Watch {
    /// Whether kernel or table may have changed since the last look.
    pub(crate) has_changed: bool,
    /// Whether the kernel is known to differ from the table: it has refused something, or others have changed it.
    pub(crate) kernel_is_behind: bool,
    /// Addresses that the judge has heard of.
    judged: HashSet<IpAddr>,
    just_judged: Vec<IpAddr>,
    /// Targets that people have asked to ban.
    by_hand: BTreeSet<Target>,
    bans: BTreeMap<Target, Held>,
    /// Each identity, and whose it is.
    ids: HashMap<u64, Target>,
    /// Bans that have to come back after a start.
    to_come: BTreeSet<Target>,
    /// Strikes that the store had at the start.
    stored_strikes: BTreeMap<Target, u32>,
    /// What people have lifted since.
    lifted: BTreeSet<Target>,
    all_lifted: bool,
    restored: bool,
    evicted: u64,
    /// Hosts that were banned, each with the last time.
    hosts: BTreeMap<IpAddr, i64>,
    /// The last strike of each target, and the deaths of the daemon by then.
    strikes: BTreeMap<Target, (u64, u64)>,
    deaths: u64,
    decided: usize,
}

impl Watch {
    /// The judge has had a line about this address.
    pub(crate) fn judged(&mut self, address: IpAddr) {
        self.judged.insert(address);
        self.just_judged.push(address);
    }

    /// A person asks to ban this.
    pub(crate) fn by_hand(&mut self, target: Target) {
        self.by_hand.insert(target);
    }

    /// A person lifts this.
    pub(crate) fn lifted(&mut self, target: Target) {
        self.lifted.insert(target);
        self.strikes.remove(&target);
        self.has_changed = true;
    }

    /// A person lifts everything.
    pub(crate) fn all_lifted(&mut self) {
        self.all_lifted = true;
        self.strikes.clear();
        self.has_changed = true;
    }

    /// The machine has booted: its clock since boot begins anew, and nothing is in the kernel.
    pub(crate) fn rebooted(&mut self) {
        self.bans.clear();
    }

    /// The daemon has died or was stopped. What the kernel holds now is what must not be lost.
    pub(crate) fn died(&mut self, machine: &Machine) {
        let now = machine.clocks.now();
        let time_of = |entry: &Entry| entry.until.map_or(i64::MAX, |until| machine.clocks.time_of(until));
        let held =
            machine.kernel.bans.iter().map(|(target, entry)| (*target, Held { until: time_of(entry) }));
        self.bans = held.filter(|(_, held)| held.until > now).collect();
        self.lifted.clear();
        self.all_lifted = false;
        self.evicted = 0;
        self.deaths += 1;
    }

    /// The daemon starts with what the store has.
    pub(crate) fn starts(&mut self, snapshot: &Snapshot, bans: &BTreeSet<Target>) {
        self.to_come = self.bans.keys().copied().chain(bans.iter().copied()).collect();
        self.stored_strikes = snapshot.strikes.iter().map(|stored| (stored.target, stored.strikes)).collect();
        self.restored = false;
        self.has_changed = true;
    }

    /// Store and kernel have given all they had.
    pub(crate) fn is_restored(&mut self) {
        self.restored = true;
    }

    /// Looks at everything that may have changed.
    pub(crate) fn check(&mut self, world: &World) -> Result<(), Broken> {
        if let Some(daemon) = &world.daemon {
            self.check_scores(world, daemon)?;
        }
        // Time alone makes the kernel drop less, and what has been judged shows in changes for the kernel.
        if !std::mem::take(&mut self.has_changed) {
            return Ok(());
        }
        self.check_strikes(world)?;
        let protected = protected(&world.machine);
        if !self.kernel_is_behind {
            for address in &protected {
                ensure(!world.machine.drops(*address), || format!("{address} is protected and is dropped"))?;
            }
        }
        let Some(daemon) = &world.daemon else { return Ok(()) };
        self.check_bans(world, daemon, &protected)?;
        if self.restored {
            self.restored = false;
            self.check_restored(world, daemon)?;
        }
        if daemon.is_settled() && !self.kernel_is_behind {
            check_equal(world, daemon)?;
        }
        check_caps(world, daemon)
    }

    fn check_scores(&mut self, world: &World, daemon: &Daemon) -> Result<(), Broken> {
        let now = world.machine.clocks.read().moment;
        for address in std::mem::take(&mut self.just_judged) {
            let score = daemon.judge.engine().score(address, now).0;
            ensure((0..HIGHEST_SCORE).contains(&score), || format!("{address} has a score of {score}"))?;
        }
        Ok(())
    }

    fn check_bans(&mut self, world: &World, daemon: &Daemon, protected: &[IpAddr]) -> Result<(), Broken> {
        let clocks = &world.machine.clocks;
        let now = clocks.now();
        let mut bans = BTreeMap::new();
        for ban in daemon.judge.bans().iter() {
            let target = ban.target;
            let mut until = ban.until.map_or(i64::MAX, |until| clocks.time_of(until));
            if !daemon.is_settled() {
                // What the store says of its end may be earlier, until the kernel has been asked.
                until = world.machine.end(target).unwrap_or(until);
            }
            if let Some(before) = self.bans.get(&target) {
                let is_earlier = until < before.until && !self.is_lifted(target);
                ensure(!is_earlier, || {
                    let by = before.until - until;
                    format!("the end of the ban of {target} has moved: it is {by} ms earlier")
                })?;
            }
            let owner = *self.ids.entry(ban.id.0).or_insert(target);
            ensure(owner == target, || format!("{owner} and {target} have the same ban {:?}", ban.id))?;
            let covered = protected.iter().find(|address| target.covers(**address));
            ensure(covered.is_none(), || {
                format!("{target} is banned and covers {covered:?}, which is protected")
            })?;
            self.check_cause(ban, now)?;
            bans.insert(target, Held { until });
        }
        // While bans come back, those that have not are still to come.
        if daemon.is_settled() {
            self.check_gone(daemon, &bans, now)?;
            self.bans = bans;
        } else {
            self.bans.extend(bans);
        }
        Ok(())
    }

    /// Who is banned has done something, or a person wanted it.
    fn check_cause(&mut self, ban: BanRef<'_>, now: i64) -> Result<(), Broken> {
        let target = ban.target;
        if ban.origin.is_manual() || is_recovered(ban.origin) {
            return Ok(());
        }
        ensure(target.is_host() == matches!(ban.origin, Origin::Filter(_)), || {
            format!("{target} is banned by {:?}", ban.origin)
        })?;
        if target.is_host() {
            self.hosts.insert(target.address(), now);
            let known = self.judged.contains(&target.address());
            return ensure(known, || format!("{target} is banned, and nobody has heard of it"));
        }
        let widest = if target.address().is_ipv4() { WIDEST.0 } else { WIDEST.1 };
        ensure(target.length() >= widest, || format!("{target} is too wide to be banned by guard itself"))?;
        let hosts = self.hosts.keys().filter(|host| target.covers(**host)).count();
        let heard_of = self.judged.iter().filter(|host| host.is_ipv6() && target.covers(**host)).count();
        ensure(hosts >= HOSTS_OF_PREFIX || heard_of >= 2 * HOSTS_OF_PREFIX, || {
            format!("{target} is banned for {hosts} hosts that were banned and {heard_of} that failed")
        })
    }

    /// A ban that is gone before its end was lifted, or made room, or something protects its target now.
    fn check_gone(&mut self, daemon: &Daemon, bans: &BTreeMap<Target, Held>, now: i64) -> Result<(), Broken> {
        let evicted = daemon.judge.count().evicted;
        let made_room = evicted != std::mem::replace(&mut self.evicted, evicted);
        for (target, held) in &self.bans {
            let may_go =
                held.until <= now || bans.contains_key(target) || made_room || self.is_lifted(*target);
            ensure(may_go || is_protected(daemon, *target), || {
                format!("the ban of {target} is gone {} ms before its end", held.until - now)
            })?;
        }
        Ok(())
    }

    /// What was in kernel or store before the start is there again, but for what has ended or was lifted meanwhile.
    fn check_restored(&mut self, world: &World, daemon: &Daemon) -> Result<(), Broken> {
        let now = world.machine.clocks.now();
        for target in std::mem::take(&mut self.to_come) {
            let ended = self.bans.get(&target).is_none_or(|held| held.until <= now);
            let is_there = daemon.judge.bans().get(target).is_some();
            ensure(ended || is_there || self.is_lifted(target) || is_protected(daemon, target), || {
                format!("the ban of {target} did not come back")
            })?;
        }
        for (target, stored) in std::mem::take(&mut self.stored_strikes) {
            let known = daemon.judge.engine().past(target).map_or(0, |past| past.count);
            ensure(known >= stored || self.is_lifted(target), || {
                format!("{target} had {stored} strikes in the store and has {known}")
            })?;
        }
        Ok(())
    }

    /// The strikes of a target never become fewer but by quiet time or by hand. What a crash took from the store may
    /// come once more.
    fn check_strikes(&mut self, world: &World) -> Result<(), Broken> {
        let decided = &world.decided[self.decided.min(world.decided.len())..];
        self.decided = world.decided.len();
        for ban in decided.iter().filter(|decided| decided.what == "ban") {
            let Some(target) = ban.target else { continue };
            let before = self.strikes.insert(target, (ban.strike, self.deaths));
            let Some((strike, deaths)) = before.filter(|_| ban.strike > 0) else { continue };
            let least = strike.saturating_sub(self.deaths - deaths);
            ensure(ban.strike >= least, || {
                format!("{target} had strike {strike} and now has strike {}", ban.strike)
            })?;
        }
        Ok(())
    }

    fn is_lifted(&self, target: Target) -> bool {
        self.all_lifted || self.lifted.contains(&target)
    }
}

/// Whether the judge itself would refuse to ban this, for a person's sake or its own.
fn is_protected(daemon: &Daemon, target: Target) -> bool {
    // Whatever the time: what is allowed for a time lifts a ban for good.
    let protection = daemon.judge.protection();
    protection.allowed(guard::time::Moment(i64::MIN)).iter().any(|(allowed, ..)| allowed.overlaps(target))
}

/// Whom guard must not drop: addresses it was told of, and the peers of sessions it knows of.
fn protected(machine: &Machine) -> Vec<IpAddr> {
    let sessions = machine.connections.iter().filter(|(_, session)| session.is_known);
    PROTECTED.into_iter().map(address).chain(sessions.map(|((peer, _), _)| *peer)).collect()
}

/// The kernel holds what the table has.
fn check_equal(world: &World, daemon: &Daemon) -> Result<(), Broken> {
    let moment = world.machine.clocks.read().moment;
    let desired = daemon.judge.desired(moment);
    let kernel = &world.machine.kernel;
    ensure(kernel.bans.len() == desired.bans.len(), || {
        format!("the kernel has {} bans, the table {}", kernel.bans.len(), desired.bans.len())
    })?;
    for ban in desired.bans.iter() {
        let entry = Entry { id: ban.id, until: ban.until };
        let held = kernel.bans.get(&ban.target);
        ensure(held == Some(&entry), || {
            format!("the table has {} as {entry:?}, the kernel as {held:?}", ban.target)
        })?;
    }
    let allowed: BTreeSet<Target> = desired.allowed.iter().copied().collect();
    ensure(kernel.allowed == allowed, || "kernel and judge differ in who is allowed".to_owned())
}

/// No table has more than it may.
fn check_caps(world: &World, daemon: &Daemon) -> Result<(), Broken> {
    let (decide, engine) = (&world.config.decide, daemon.judge.engine());
    let tracked = engine.tracked();
    ensure(tracked <= decide.max_sources as u64, || format!("{tracked} sources are tracked"))?;
    let offenders = engine.count().offenders;
    ensure(offenders <= decide.max_bans as u64 + 1, || format!("{offenders} offenders are remembered"))?;
    let bans = daemon.judge.bans();
    let by_hand: u64 =
        bans.counts().filter(|(origin, _)| origin.is_manual()).map(|(_, n)| n.ipv4 + n.ipv6).sum();
    let most = (decide.max_bans as u64).max(by_hand + 1);
    ensure(bans.len() as u64 <= most, || format!("the table has {} bans", bans.len()))
}
