//! The course of a simulation: whatever is due next happens, guard learns of it, and what must always hold is checked.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};
use std::net::IpAddr;

use guard::config::Config;
use guard::enforce::Change;
use guard::store::{StoredEvent, Write};
use guard::target::Target;

use crate::chance::Chance;
use crate::clock::{Clocks, MINUTE, SECOND, show};
use crate::daemon::{Daemon, Died};
use crate::facts::Reader;
use crate::faults::{Fault, Place, Plan, Wish};
use crate::machine::{ALLOWLIST, Machine, target};
use crate::people::{Hand, Person, Role, Tally};
use crate::scenarios::{Casting, Scenario};
use crate::store::Store;
use crate::watch::{Broken, Watch};

/// Something that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    /// Somebody acts.
    Act(usize),
    /// The daemon looks what is to be done.
    Turn,
    /// The store's thread writes what waits.
    Commit,
    /// The store gives the next bans back.
    Chunk,
    /// The daemon is started.
    Start,
    /// Something goes wrong.
    Fault(Fault),
}

/// A decision, in time and words of the simulation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decided {
    pub(crate) at: i64,
    pub(crate) what: String,
    pub(crate) target: Option<Target>,
    /// Which strike it is, and how many milliseconds the ban lasts.
    pub(crate) strike: u64,
}

/// All there is.
pub(crate) struct World {
    pub(crate) config: Config,
    pub(crate) machine: Machine,
    pub(crate) store: Store,
    pub(crate) daemon: Option<Daemon>,
    pub(crate) reader: Reader,
    pub(crate) plan: Plan,
    /// Chance of what happens to the daemon; people have their own.
    pub(crate) chance: Chance,
    pub(crate) watch: Watch,
    /// Where the next crash hits.
    pub(crate) doom: Option<Place>,
    pub(crate) decided: Vec<Decided>,
    /// Changes that the kernel was given, in order.
    pub(crate) changes: Vec<(i64, Change)>,
    /// The engine's own seed, the same after each start, so that a restart changes nothing.
    pub(crate) engine_seed: u64,
    pub(crate) tallies: Vec<Tally>,
    /// Accounts that guard has told to be under attack.
    attacked: BTreeSet<String>,
    people: Vec<(Box<dyn Person>, Chance)>,
    by_address: HashMap<IpAddr, Vec<usize>>,
    agenda: BinaryHeap<Reverse<(i64, u64, Due)>>,
    sequence: u64,
    turn_at: Option<i64>,
    commit_at: Option<i64>,
    trace: Option<Vec<String>>,
}

impl World {
    pub(crate) fn new(scenario: &Scenario, plan: Plan, seed: u64, traced: bool) -> Self {
        let mut config = Config::default();
        config.allow.targets = ALLOWLIST.map(|text| target(text).into()).into();
        (scenario.configure)(&mut config);
        let mut casting = Casting::new(Chance::new(seed, scenario.name));
        (scenario.cast)(&mut casting);
        let mut world = Self {
            config,
            machine: Machine::new(Chance::new(seed, "machine")),
            store: Store::new(plan.capacity),
            daemon: None,
            reader: Reader::new(plan.form),
            chance: Chance::new(seed, "daemon"),
            watch: Watch::default(),
            doom: None,
            decided: Vec::new(),
            changes: Vec::new(),
            engine_seed: seed,
            tallies: Vec::new(),
            attacked: BTreeSet::new(),
            people: Vec::new(),
            by_address: HashMap::new(),
            agenda: BinaryHeap::new(),
            sequence: 0,
            turn_at: None,
            commit_at: None,
            trace: traced.then(Vec::new),
            plan,
        };
        world.machine.delays = world.plan.delays;
        world.put(0, Due::Start);
        for (number, (first, role, person)) in casting.people.into_iter().enumerate() {
            world.tallies.push(Tally::new(role));
            world.people.push((person, Chance::new(seed ^ (number as u64) << 32, "person")));
            world.put(first, Due::Act(number));
        }
        for (at, fault) in world.plan.faults.clone() {
            world.put(at, Due::Fault(fault));
        }
        world
    }

    /// Lets everything happen until then.
    pub(crate) fn run(&mut self, until: i64) -> Result<(), Broken> {
        loop {
            let agenda = self.agenda.peek().map(|Reverse((at, ..))| *at);
            let Some(at) = agenda.into_iter().chain(self.machine.next()).min() else { return Ok(()) };
            if at > until {
                return Ok(());
            }
            self.machine.clocks.pass(at);
            self.machine.advance();
            if agenda == Some(at)
                && let Some(Reverse((_, _, due))) = self.agenda.pop()
            {
                self.happen(due);
            }
            if self.read_logs().is_err() {
                self.died();
            }
            self.plan_turn();
            self.check()?;
        }
    }

    /// A time from then on before which nobody has written a line for three minutes: longer than an attempt lasts.
    pub(crate) fn quiet_time(&self, from: i64) -> Option<i64> {
        let start = Clocks::new().read().wall.0;
        let mut lines: Vec<i64> = self.machine.logs.iter().flatten().map(|line| line.at.0 - start).collect();
        lines.sort_unstable();
        let pairs = lines.windows(2).filter(|pair| pair[0] > from && pair[1] - pair[0] > 3 * MINUTE);
        pairs.map(|pair| pair[1] - SECOND).next()
    }

    /// What the simulation did, line by line.
    pub(crate) fn take_trace(&mut self) -> Vec<String> {
        self.trace.take().unwrap_or_default()
    }

    /// Whether somebody wants to know.
    pub(crate) fn is_traced(&self) -> bool {
        self.trace.is_some()
    }

    /// Notes what happens for the trace.
    pub(crate) fn say(&mut self, what: impl FnOnce() -> String) {
        let now = self.machine.clocks.now();
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{} {}", show(now), what()));
        }
    }

    pub(crate) fn put(&mut self, at: i64, due: Due) {
        self.sequence += 1;
        self.agenda.push(Reverse((at, self.sequence, due)));
    }

    /// The store's thread writes before long.
    pub(crate) fn plan_commit(&mut self, after: i64) {
        let at = self.machine.clocks.now() + after;
        if self.commit_at.is_none_or(|known| at < known) {
            self.commit_at = Some(at);
            self.put(at, Due::Commit);
        }
    }

    /// The kernel has taken changes: who is banned by them?
    pub(crate) fn applied(&mut self, changes: &[Change]) {
        let now = self.machine.clocks.now();
        for change in changes {
            self.changes.push((now, *change));
            let Change::Ban { target, .. } = change else { continue };
            self.say(|| format!("  kernel: drops {target}"));
            let hit: Vec<usize> = if target.is_host() {
                self.by_address.get(&target.address()).cloned().unwrap_or_default()
            } else {
                let hit = |tally: &Tally| tally.addresses.iter().any(|address| target.covers(*address));
                (0..self.tallies.len()).filter(|number| hit(&self.tallies[*number])).collect()
            };
            for number in hit {
                self.hit(number);
            }
        }
    }

    /// A ban covers an address that somebody has used.
    fn hit(&mut self, number: usize) {
        let now = self.machine.clocks.now();
        let tally = &mut self.tallies[number];
        tally.banned.get_or_insert(now);
        let Some(address) = tally.addresses.last().copied() else { return };
        let has_session = self.machine.connections.keys().any(|(peer, _)| *peer == address);
        if tally.role == Role::Honest && has_session && self.machine.drops(address) {
            self.tallies[number].dropped += 1;
        }
    }

    /// What was written for people.
    pub(crate) fn told(&mut self, write: &Write) {
        let Write::Event(StoredEvent { kind, target, detail, .. }) = write else { return };
        let mut known: serde_json::Value = serde_json::from_str(detail).unwrap_or_default();
        self.say(|| {
            let target = target.map(|target| target.to_string()).unwrap_or_default();
            let mut brief = known.clone();
            for long in ["lines", "pattern"] {
                brief.as_object_mut().map(|brief| brief.remove(long));
            }
            format!("  event: {kind} {target} {brief}")
        });
        let at = self.machine.clocks.now();
        if matches!(&**kind, "ban" | "refuse" | "incident") {
            let strike = known["strike"].take().as_u64().unwrap_or_default();
            self.decided.push(Decided { at, what: kind.clone(), target: *target, strike });
            if kind == "incident" {
                let account = known["account"].as_str().unwrap_or_default();
                if target.is_none() {
                    self.attacked.insert(account.to_owned());
                }
                for tally in &mut self.tallies {
                    let is_named = |address: &IpAddr| target.is_some_and(|target| target.covers(*address));
                    let is_after = !account.is_empty() && tally.account == account;
                    tally.seen |= is_after || tally.addresses.iter().any(is_named);
                }
            }
        }
    }

    fn happen(&mut self, due: Due) {
        let done = match due {
            Due::Act(number) => {
                self.act(number);
                Ok(())
            }
            // One that was put off, or came earlier than was thought.
            Due::Turn if self.turn_at.is_some_and(|at| at != self.machine.clocks.now()) => Ok(()),
            Due::Turn => {
                self.turn_at = None;
                self.turn()
            }
            Due::Commit => {
                self.commit();
                Ok(())
            }
            Due::Chunk => self.restore_chunk(),
            Due::Start => self.start(),
            Due::Fault(fault) => self.go_wrong(fault),
        };
        if done.is_err() {
            self.died();
        }
    }

    fn act(&mut self, number: usize) {
        let (person, chance) = &mut self.people[number];
        let tally = &mut self.tallies[number];
        let (tries, dropped) = (tally.tries, tally.dropped);
        let mut hand = Hand { machine: &mut self.machine, tally, chance };
        let next = person.act(&mut hand);
        let (role, now) = (tally.role, self.machine.clocks.now());
        if let Some(address) = tally.addresses.last().copied() {
            let known = self.by_address.entry(address).or_default();
            if !known.contains(&number) {
                known.push(number);
            }
            if tally.dropped > dropped {
                tally.banned.get_or_insert(now);
            }
            // The account he is after is known to be under attack.
            tally.seen |= tally.tries > tries && self.attacked.contains(tally.account);
            let what = match (tally.dropped > dropped, tally.tries - tries) {
                (true, _) => "is dropped".to_owned(),
                (false, 0) => "got through".to_owned(),
                (false, tries) => format!("got through, {tries} failures"),
            };
            self.say(|| format!("person {number} ({role:?}) from {address} {what}"));
        }
        if let Some(pause) = next {
            self.put(now + pause.max(1), Due::Act(number));
        }
    }

    fn commit(&mut self) {
        let now = self.machine.clocks.now();
        if self.commit_at.take_if(|at| *at == now).is_none() {
            return;
        }
        if self.daemon.as_ref().is_none_or(Daemon::is_reading_store) {
            // The thread is gone, or busy with the restore: it writes afterwards.
            return;
        }
        if !self.store.commit(now) {
            self.plan_commit(100);
        }
    }

    fn go_wrong(&mut self, fault: Fault) -> Result<(), Died> {
        self.say(|| format!("fault: {fault:?}"));
        let now = self.machine.clocks.now();
        match fault {
            Fault::ClockStep(by) => self.machine.clocks.step(by),
            Fault::Stall(by) => self.machine.delays.stalled_until = now + by,
            Fault::StoreDown(by) => self.store.down_until = now + by,
            Fault::KernelRefuses(by) => self.machine.kernel.refuses_until = now + by,
            Fault::KernelLoses(one_in) => {
                let chance = std::cell::RefCell::new(&mut self.chance);
                self.machine.kernel.lose(|_| !chance.borrow_mut().one_in(one_in.into()));
                self.watch.kernel_is_behind = true;
                self.reconcile_within(5000);
            }
            Fault::Crash(Place::Idle) => return Err(Died),
            Fault::Crash(place) => self.doom = Some(place),
            Fault::Restart => self.restart()?,
            Fault::Reboot => {
                self.machine.reboot();
                self.watch.rebooted();
                return Err(Died);
            }
            Fault::Reload => self.reload(),
            Fault::Asked(wish) => self.asked(wish)?,
        }
        Ok(())
    }

    /// The daemon is gone, with what it had not given away. It comes back.
    fn died(&mut self) {
        self.doom = None;
        if self.daemon.take().is_none() {
            return;
        }
        self.say(|| "guard is dead".to_owned());
        self.watch.died(&self.machine);
        self.store.forget_waiting();
        let pause = *self.chance.pick(&[10, 1000, 30_000]);
        self.put(self.machine.clocks.now() + pause, Due::Start);
    }

    fn plan_turn(&mut self) {
        let now = self.machine.clocks.now();
        let Some(daemon) = &mut self.daemon else { return };
        let at = self.machine.clocks.time_of(daemon.next_due()).max(now + 1).min(daemon.next_turn(now));
        if self.turn_at.is_none_or(|known| at < known) {
            self.turn_at = Some(at);
            self.put(at, Due::Turn);
        }
    }

    fn check(&mut self) -> Result<(), Broken> {
        let mut watch = std::mem::take(&mut self.watch);
        let outcome = watch.check(self);
        self.watch = watch;
        outcome
    }

    fn asked(&mut self, wish: Wish) -> Result<(), Died> {
        match wish {
            Wish::Ban(target, _) => self.watch.by_hand(target),
            Wish::Unban(target) => self.watch.lifted(target),
            Wish::UnbanAll => self.watch.all_lifted(),
            Wish::Allow(..) | Wish::Disallow(_) => {}
        }
        self.grant(wish)
    }
}
