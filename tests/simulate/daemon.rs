//! The daemon around the judge, as `guard::daemon` has it, with models in place of the kernel and the store: the same
//! order of things, and the same places where it can die.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;

use guard::enforce::Change;
use guard::judge::{Asker, Judge, Voucher};
use guard::protect::Protection;
use guard::sighting::SourceId;
use guard::source::Position;
use guard::store::{StoredBan, Write};
use guard::time::Moment;

use crate::clock::{MINUTE, SECOND};
use crate::facts::{FILTERS, What};
use crate::faults::{Place, Wish, length};
use crate::machine::{Machine, SOURCES, WEB};
use crate::store::targets;
use crate::world::{Due, World};

/// Names of the sources in the store.
const NAMES: [&str; SOURCES] = ["journald", "/var/log/auth.log", "/var/log/nginx/access.log"];
/// How often sessions are compared with the connections.
const SESSIONS: i64 = 5 * SECOND;
/// How often the daemon looks around when nothing is due. The real one does so twice a second, and finds nothing.
const IDLE: i64 = 10 * MINUTE;
/// How often the store gets what the engine is to recall.
const RECALL: i64 = 5 * MINUTE;
/// First and longest pause after a change that was refused.
const RETRY: (i64, i64) = (50, 5 * SECOND);
/// Lines of a batch at most.
const BATCH: u64 = 40;

/// The daemon has died on the way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Died;

/// How far the restore has come.
#[derive(Debug, PartialEq)]
enum Restore {
    Reading(VecDeque<Vec<StoredBan>>),
    Adopting,
    Settling,
    Done,
}

/// A running daemon.
#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) judge: Judge,
    restore: Restore,
    /// Lines read of each source.
    positions: [usize; SOURCES],
    next_reconcile: Option<i64>,
    retry: Option<i64>,
    next_sessions: i64,
    next_recall: i64,
}

impl Daemon {
    /// When the judge has something to do that nobody asks for.
    pub(crate) fn next_due(&mut self) -> Moment {
        self.judge.next_due().unwrap_or(Moment(i64::MAX))
    }

    /// When the daemon looks around again.
    pub(crate) fn next_turn(&self, now: i64) -> i64 {
        let sessions = self.judge.protection().has_sessions().then_some(self.next_sessions);
        let due = sessions.into_iter().chain(self.next_reconcile).min();
        due.unwrap_or(now + IDLE).clamp(now + 1, now + IDLE)
    }

    /// Whether the store's thread is busy with giving bans back.
    pub(crate) fn is_reading_store(&self) -> bool {
        matches!(self.restore, Restore::Reading(_))
    }

    /// Whether store and kernel have given all they had.
    pub(crate) fn is_settled(&self) -> bool {
        self.restore == Restore::Done
    }
}

impl World {
    /// Starts the daemon with what store and kernel have.
    pub(crate) fn start(&mut self) -> Result<(), Died> {
        if self.daemon.is_some() {
            return Ok(());
        }
        self.say(|| "guard starts".to_owned());
        let clock = self.machine.clocks.read();
        let (snapshot, bans) = self.store.open(clock.wall);
        let mut protection = Protection::new(&self.config.allow, clock);
        protection.set_system(Machine::system());
        for (&(peer, port), session) in &mut self.machine.connections {
            session.is_known = true;
            protection.found_session(peer, port, clock.moment);
        }
        let judge = Judge::new(&self.config, FILTERS.clone(), protection, &snapshot, self.engine_seed, clock);
        self.watch.starts(&snapshot, &targets(&bans));
        let chunks = bans.chunks(self.plan.chunk).map(<[_]>::to_vec).collect();
        let place = |name: &str| {
            let position = snapshot.positions.iter().find(|position| position.source == name);
            position.map_or(0, |position| position.place.parse().expect("a position of this program"))
        };
        self.daemon = Some(Daemon {
            judge,
            restore: Restore::Reading(chunks),
            positions: NAMES.map(place),
            next_reconcile: None,
            retry: None,
            next_sessions: self.machine.clocks.now(),
            next_recall: self.machine.clocks.now() + RECALL,
        });
        self.watch.kernel_is_behind = true;
        self.sync_allowed()?;
        self.put(self.machine.clocks.now() + 1, Due::Chunk);
        Ok(())
    }

    /// Stops the daemon in order and starts it again.
    pub(crate) fn restart(&mut self) -> Result<(), Died> {
        if self.daemon.is_none() {
            return Ok(());
        }
        let clock = self.machine.clocks.read();
        if let Some(daemon) = &mut self.daemon {
            daemon.judge.keep_recalled(clock);
        }
        self.flush()?;
        // A restore that goes on ends first; then the store's thread writes what it has, or loses it.
        let now = self.machine.clocks.now();
        self.store.commit(now);
        self.store.forget_waiting();
        self.say(|| "guard is stopped".to_owned());
        self.watch.died(&self.machine);
        self.daemon = None;
        self.start()
    }

    /// Takes a chunk of stored bans in, or goes on with what the kernel knows.
    pub(crate) fn restore_chunk(&mut self) -> Result<(), Died> {
        let clock = self.machine.clocks.read();
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        let Restore::Reading(chunks) = &mut daemon.restore else { return Ok(()) };
        if let Some(chunk) = chunks.pop_front() {
            let to_come = chunks.iter().map(Vec::len).sum::<usize>() as u64;
            let changes = daemon.judge.restore(&chunk, to_come, clock);
            self.say(|| format!("{} bans come back from the store", chunk.len()));
            let now = self.machine.clocks.now();
            self.watch.has_changed = true;
            if self.machine.kernel.restore(&changes, now).is_err() {
                self.retry();
            } else {
                self.applied(&changes);
            }
            self.flush()?;
            let pause = self.chance.within(1..=50);
            self.put(self.machine.clocks.now() + pause, Due::Chunk);
            return Ok(());
        }
        daemon.restore = Restore::Adopting;
        self.plan_commit(20);
        self.adopt()
    }

    /// Has what is new in the logs judged, a batch of each at most.
    pub(crate) fn read_logs(&mut self) -> Result<(), Died> {
        for source in 0..SOURCES {
            let Some(daemon) = &self.daemon else { return Ok(()) };
            let from = daemon.positions[source];
            if from < self.machine.logs[source].len() {
                let most = 1 + self.chance.below(BATCH) as usize;
                let to = self.machine.logs[source].len().min(from + most);
                self.judge_lines(source, from, to)?;
                self.turn()?;
                if to < self.machine.logs[source].len() {
                    self.put(self.machine.clocks.now(), Due::Turn);
                }
            }
        }
        Ok(())
    }

    fn judge_lines(&mut self, source: usize, from: usize, to: usize) -> Result<(), Died> {
        let clock = self.machine.clocks.read();
        let vouched = self.plan.vouched && source != WEB;
        let Self { daemon, reader, machine, watch, .. } = self;
        let Some(daemon) = daemon else { return Ok(()) };
        for at in from..to {
            let line = &machine.logs[source][at];
            let fact = &line.fact;
            let connections = &machine.connections;
            let is_connected = |address: IpAddr, port: u16| Some(connections.contains_key(&(address, port)));
            let voucher = if vouched { Voucher::Kernel } else { Voucher::Sockets(&is_connected) };
            reader.read(fact, line.at, clock.wall, |sighting| {
                daemon.judge.sighting(sighting, SourceId(source as u16), voucher, clock);
            });
            watch.judged(fact.from);
            let peer = (fact.from, fact.port);
            if fact.what == What::KeyLogin
                && let Some(session) = machine.connections.get_mut(&peer).filter(|s| s.pid == fact.pid)
            {
                session.is_known = true;
                watch.has_changed = true;
            }
        }
        if self.is_traced() {
            for at in from..to {
                let line = self.machine.logs[source][at].clone();
                let text = line.fact.line(line.at, self.plan.form);
                self.say(|| format!("  line {at} of {}: {text}", NAMES[source]));
            }
        }
        self.apply()?;
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        daemon.positions[source] = to;
        let position = Position { source: NAMES[source].to_owned(), place: to.to_string() };
        daemon.judge.write(Write::Position(position));
        Ok(())
    }

    /// What is due after every input and from time to time.
    pub(crate) fn turn(&mut self) -> Result<(), Died> {
        let (now, clock) = (self.machine.clocks.now(), self.machine.clocks.read());
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        daemon.judge.expire(clock);
        if now >= daemon.next_sessions {
            daemon.next_sessions = now + SESSIONS;
            let records: BTreeSet<IpAddr> = self.machine.connections.keys().map(|(peer, _)| *peer).collect();
            if daemon.judge.protection().has_sessions() || !records.is_empty() {
                let connections = self.machine.established();
                daemon.judge.live_connections(&connections, clock);
                daemon.judge.recorded_logins(&records, &connections);
            }
            daemon.judge.expire_protections(clock);
            if now >= daemon.next_recall {
                daemon.next_recall = now + RECALL;
                daemon.judge.keep_recalled(clock);
            }
            self.apply()?;
        }
        self.sync_allowed()?;
        self.flush()?;
        let Some(daemon) = &self.daemon else { return Ok(()) };
        let compares = daemon.next_reconcile.is_some_and(|at| now >= at);
        if self.store.needs_resync(now) {
            self.store.resync(daemon.judge.everything(clock));
            self.plan_commit(20);
        }
        if compares { self.reconcile() } else { Ok(()) }
    }

    /// The next comparison is within so many milliseconds.
    pub(crate) fn reconcile_within(&mut self, most: i64) {
        let at = self.machine.clocks.now() + self.chance.within(1..=most);
        if let Some(daemon) = &mut self.daemon {
            daemon.next_reconcile = Some(daemon.next_reconcile.map_or(at, |known| known.min(at)));
        }
    }

    /// Decides by the configuration as it is.
    pub(crate) fn reload(&mut self) {
        let clock = self.machine.clocks.read();
        if let Some(daemon) = &mut self.daemon {
            daemon.judge.configure(&self.config, clock);
        }
    }

    /// Does what a person asks for.
    pub(crate) fn grant(&mut self, wish: Wish) -> Result<(), Died> {
        let clock = self.machine.clocks.read();
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        let judge = &mut daemon.judge;
        let said = match wish {
            Wish::Ban(target, seconds) => {
                let asker = Asker { uid: 0, from: BTreeSet::new(), force: false };
                judge.ban(target, length(seconds), None, &asker, clock)
            }
            Wish::Unban(target) => judge.unban(target, 0, clock),
            Wish::UnbanAll => Ok(judge.unban_all(0, clock).to_string()),
            Wish::Allow(target, seconds) => {
                judge.allow(&[target], length(seconds), "a person", 0, clock).remove(0)
            }
            Wish::Disallow(target) => {
                let said = judge.disallow(target, 0, clock);
                judge.sync_allowed(clock);
                said
            }
        };
        self.say(|| format!("  {said:?}"));
        self.flush()
    }

    fn sync_allowed(&mut self) -> Result<(), Died> {
        let clock = self.machine.clocks.read();
        if let Some(daemon) = &mut self.daemon {
            daemon.judge.sync_allowed(clock);
        }
        self.apply()
    }

    fn flush(&mut self) -> Result<(), Died> {
        self.apply()?;
        self.tell_store()
    }

    /// Gives the pending changes to the kernel.
    fn apply(&mut self) -> Result<(), Died> {
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        let changes = std::mem::take(&mut daemon.judge.outcome().changes);
        self.give(&changes)
    }

    fn give(&mut self, changes: &[Change]) -> Result<(), Died> {
        if changes.is_empty() {
            return Ok(());
        }
        self.watch.has_changed = true;
        if self.doom == Some(Place::WithinChanges) {
            let part = self.chance.below(changes.len() as u64 + 1) as usize;
            self.machine.kernel.take(&changes[..part]);
            self.applied(&changes[..part]);
            self.watch.kernel_is_behind = true;
            return Err(Died);
        }
        let now = self.machine.clocks.now();
        let Self { machine, chance, .. } = self;
        if machine.kernel.apply(changes, now, chance).is_err() {
            self.say(|| format!("  the kernel refuses {} changes", changes.len()));
            self.watch.kernel_is_behind = true;
            self.retry();
            return Ok(());
        }
        self.applied(changes);
        if self.doom == Some(Place::BeforeStore) {
            return Err(Died);
        }
        Ok(())
    }

    fn tell_store(&mut self) -> Result<(), Died> {
        let clock = self.machine.clocks.read();
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        daemon.judge.keep(clock);
        let writes = std::mem::take(&mut daemon.judge.outcome().writes);
        if writes.is_empty() {
            return Ok(());
        }
        let is_urgent = |write: &Write| {
            use Write::{Event, Logins, Position, Scores};
            !matches!(write, Event(_) | Position(_) | Scores(_) | Logins(_))
        };
        let after = if writes.iter().any(is_urgent) { 20 } else { 250 };
        for write in &writes {
            self.told(write);
        }
        self.store.write_all(writes);
        if self.doom == Some(Place::BeforeCommit) {
            return Err(Died);
        }
        self.plan_commit(after);
        Ok(())
    }

    fn retry(&mut self) {
        let now = self.machine.clocks.now();
        if let Some(daemon) = &mut self.daemon {
            let pause = daemon.retry.map_or(RETRY.0, |pause| (pause * 2).min(RETRY.1));
            daemon.retry = Some(pause);
            daemon.next_reconcile = Some(now + pause);
        }
    }

    fn reconcile(&mut self) -> Result<(), Died> {
        let now = self.machine.clocks.now();
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        match daemon.restore {
            Restore::Settling | Restore::Done => {}
            Restore::Reading(_) => {
                daemon.next_reconcile = Some(now + 500);
                return Ok(());
            }
            Restore::Adopting => return self.adopt(),
        }
        self.flush()?;
        let moment = self.machine.clocks.read().moment;
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        let Ok(differed) = self.machine.kernel.reconcile(daemon.judge.desired(moment), now) else {
            self.retry();
            return Ok(());
        };
        daemon.retry = None;
        daemon.next_reconcile = None;
        self.watch.kernel_is_behind = false;
        self.watch.has_changed = true;
        if daemon.restore == Restore::Settling {
            daemon.restore = Restore::Done;
            daemon.judge.restored();
            self.watch.is_restored();
        }
        self.say(|| format!("kernel and table are equal, {differed} entries differed"));
        Ok(())
    }

    /// Takes over what only the kernel knows, after that makes both equal.
    fn adopt(&mut self) -> Result<(), Died> {
        self.flush()?;
        let (now, clock) = (self.machine.clocks.now(), self.machine.clocks.read());
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        let Ok(entries) = self.machine.kernel.unknown(daemon.judge.desired(clock.moment), now) else {
            daemon.next_reconcile = Some(now + 5 * SECOND);
            return Ok(());
        };
        let adopted = daemon.judge.adopt(entries, clock);
        self.say(|| format!("{adopted} bans are adopted from the kernel"));
        self.flush()?;
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        daemon.next_reconcile = Some(now + 1);
        daemon.restore = Restore::Settling;
        daemon.judge.release_presumed();
        Ok(())
    }
}
