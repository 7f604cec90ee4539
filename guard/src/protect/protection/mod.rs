//! The pure part: who is protected, why, and since what changed.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use super::overlap::TargetMap;
use super::ranges;
use super::system::{Connection, SystemAddresses};
use crate::config::Allow;
use crate::target::{Allowable, Target, widest};
use crate::time::{Clock, Moment};

mod forced;
mod names;

pub use names::{NameState, Resolved};

use names::Names;

/// Addresses that are remembered for their logins at most. Only who holds a key can fill this.
const MAX_ADDRESSES: usize = 65_536;

/// The reason of who is logged in by the login records.
const RECORDED: &str = "login session in the system's records";

/// How the reason of what the configuration allows begins.
const CONFIGURED: &str = "configuration";

/// A wall clock that is so far from where it was was set: a drift that is put right little by little matters to no end.
const CLOCK_SET: Duration = Duration::from_secs(1);

/// Sessions of one address that are remembered: any one of them protects it.
const MAX_SESSIONS: usize = 256;

/// What must never be banned.
#[derive(Clone, Debug)]
pub struct Protection {
    allow: Allow,
    /// [`Allow::targets`], with their ends on the engine's timeline.
    configured: Vec<(Target, Reason)>,
    /// What the clocks showed when those were found.
    clock: Clock,
    names: Names,
    system: SystemAddresses,
    /// What holds until configuration, machine or the addresses of a name change, or until an end that is known.
    fixed: TargetMap<Vec<Reason>>,
    /// What comes and goes by itself.
    passing: TargetMap<Passing>,
    /// Local ports of the SSH server.
    ssh_ports: BTreeSet<u16>,
    /// Connections that were opened by a password.
    password_logins: BTreeSet<(IpAddr, u16)>,
    /// Bans that people forced: they hold whatever covers them.
    forced: BTreeSet<Target>,
    /// What [`Protection::take_changes`] has told last.
    told: BTreeSet<Target>,
    /// Until when that holds if nothing else changes; `None` once something has.
    told_until: Option<Moment>,
    evicted: u64,
}

/// Reasons that end.
#[derive(Clone, Debug, Default)]
struct Passing {
    sessions: Vec<Session>,
    /// Whether the login records have somebody from there, and he is connected.
    recorded: bool,
    /// End of the time after the last key login.
    login_until: Option<Moment>,
    allowance: Option<Allowance>,
}

/// A connection that has authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Session {
    /// The peer's port, 0 if unknown.
    port: u16,
    since: Moment,
    /// Whether it was open before guard started, so that nobody knows how it authenticated.
    found: bool,
}

/// An allowance with its end and its comment.
#[derive(Clone, Debug)]
struct Allowance {
    until: Option<Moment>,
    comment: String,
}

/// What the kernel has to learn about allowed targets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Newly allowed.
    pub allow: Vec<Target>,
    /// No longer allowed.
    pub disallow: Vec<Target>,
}

impl Changes {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.allow.is_empty() && self.disallow.is_empty()
    }
}

impl Protection {
    /// Protects what is configured, and the ranges that are always protected.
    pub fn new(allow: &Allow, clock: Clock) -> Self {
        let mut protection = Self {
            allow: allow.clone(),
            configured: configured(allow, clock),
            clock,
            names: Names::default(),
            system: SystemAddresses::default(),
            fixed: TargetMap::default(),
            passing: TargetMap::default(),
            ssh_ports: BTreeSet::from([22]),
            password_logins: BTreeSet::new(),
            forced: BTreeSet::new(),
            told: BTreeSet::new(),
            told_until: None,
            evicted: 0,
        };
        protection.names.configure(allow, clock);
        protection.rebuild();
        protection
    }

    /// Takes a new configuration over. Logins that are remembered keep the time they were given.
    pub fn configure(&mut self, allow: &Allow, clock: Clock) {
        if self.allow == *allow {
            self.follow_clock(clock);
        } else {
            self.allow = allow.clone();
            self.place_ends(clock);
        }
    }

    /// The wall clock may have been set: what the configuration allows ends by it.
    pub fn follow_clock(&mut self, clock: Clock) {
        let off = clock.wall_of(self.clock.moment).0.abs_diff(self.clock.wall.0);
        if off > CLOCK_SET.as_millis() as u64 {
            self.place_ends(clock);
        }
    }

    fn place_ends(&mut self, clock: Clock) {
        self.clock = clock;
        self.configured = configured(&self.allow, clock);
        self.names.configure(&self.allow, clock);
        self.rebuild();
    }

    /// Takes over the machine's own addresses, gateways and resolvers.
    pub fn set_system(&mut self, system: SystemAddresses) {
        self.ssh_ports = system.ssh_ports.iter().copied().chain([22]).collect();
        if self.system != system {
            self.system = system;
            self.rebuild();
        }
    }

    /// Someone logged in with a key: the address is protected while the session lives, and
    /// [`Allow::key_login_for`] from the login on. `port` is the peer's, 0 if unknown.
    pub fn key_login(&mut self, address: IpAddr, port: u16, at: Moment) {
        let until = at + self.allow.key_login_for;
        let passing = self.passing(address);
        passing.login_until = passing.login_until.max(Some(until));
        passing.open(Session { port, since: at, found: false });
    }

    /// A key login of before a restart: it protects until then.
    pub fn restore_login(&mut self, address: IpAddr, until: Moment) {
        let passing = self.passing(address);
        passing.login_until = passing.login_until.max(Some(until));
    }

    /// Addresses with a live session, and whether one is known to have authenticated by key.
    pub fn sessions(&self) -> impl Iterator<Item = (IpAddr, bool)> {
        let with_sessions = self.passing.iter().filter(|(_, passing)| !passing.sessions.is_empty());
        with_sessions.map(|(target, passing)| (target.address(), passing.sessions.iter().any(|s| !s.found)))
    }

    /// Peers of these connections that have logged in, by key or by password, and where login records have somebody.
    pub fn logged_in(&self, connections: &[Connection]) -> BTreeSet<IpAddr> {
        let by_password = |c: &&Connection| self.password_logins.contains(&(c.peer, c.peer_port));
        let by_password = connections.iter().filter(by_password).map(|c| c.peer);
        let is_there = |passing: &Passing| passing.recorded || !passing.sessions.is_empty();
        let others = self.passing.iter().filter(|(_, passing)| is_there(passing));
        by_password.chain(others.map(|(target, _)| target.address())).collect()
    }

    /// Whether a live session of this address has this port.
    pub fn has_session(&self, address: IpAddr, port: u16) -> bool {
        let known = |passing: &Passing| passing.sessions.iter().any(|session| session.port == port);
        self.passing.get(Target::host(address)).is_some_and(known)
    }

    /// The machine's own addresses, gateways and resolvers as they are protected.
    pub const fn system(&self) -> &SystemAddresses {
        &self.system
    }

    /// Someone logged in with a password alone. That earns no trust, so no login record speaks for this connection.
    pub fn password_login(&mut self, address: IpAddr, port: u16) {
        if self.password_logins.len() < MAX_ADDRESSES {
            self.password_logins.insert((address, port));
        }
    }

    /// Who is logged in from elsewhere, as the machine's login records say, and has a connection: protected as long
    /// as both last, unless a password opened one of his connections.
    pub fn set_recorded_logins(&mut self, records: &BTreeSet<IpAddr>, connections: &[Connection]) {
        let connected: BTreeSet<IpAddr> = connections.iter().map(|c| c.peer).collect();
        let by_port: BTreeSet<(IpAddr, u16)> = connections.iter().map(|c| (c.peer, c.peer_port)).collect();
        self.password_logins.retain(|(address, port)| match port {
            0 => connected.contains(address),
            _ => by_port.contains(&(*address, *port)),
        });
        let by_password = |address: IpAddr| {
            let mut logins = self.password_logins.range((address, 0)..=(address, u16::MAX));
            logins.next().is_some()
        };
        let protected: Vec<IpAddr> =
            records.intersection(&connected).copied().filter(|address| !by_password(*address)).collect();
        self.told_until = None;
        self.passing.retain(|target, passing| {
            passing.recorded = passing.recorded && protected.contains(&target.address());
            !passing.is_empty()
        });
        for address in protected {
            self.passing(address).recorded = true;
        }
    }

    /// A session that was open before guard started: protected while its connection lives, because it cannot be
    /// known how it authenticated and the owner may be the one who sits there.
    pub fn found_session(&mut self, address: IpAddr, port: u16, at: Moment) {
        self.passing(address).open(Session { port, since: at, found: true });
    }

    /// A session ended, as its log says. Without a port [`Protection::set_live_sessions`] has to find out which.
    pub fn session_end(&mut self, address: IpAddr, port: u16) {
        if let Some(passing) = self.passing.get_mut(Target::host(address)).filter(|_| port != 0) {
            passing.sessions.retain(|s| s.port != port);
            self.told_until = None;
        }
    }

    /// Tells which TCP connections were established at `seen_at`: sessions that began before and have none are
    /// over. A session whose port is unknown lives while its address has any connection to the SSH server, or to
    /// anything where the server's ports cannot be seen.
    pub fn set_live_sessions(&mut self, connections: &[Connection], seen_at: Moment) {
        let by_port: BTreeSet<(IpAddr, u16)> = connections.iter().map(|c| (c.peer, c.peer_port)).collect();
        let to_ssh = |c: &&Connection| self.system.ssh_unseen || self.ssh_ports.contains(&c.local_port);
        let by_address: BTreeSet<IpAddr> = connections.iter().filter(to_ssh).map(|c| c.peer).collect();
        self.passing.retain(|target, passing| {
            let address = target.address();
            let before = passing.sessions.len();
            passing.sessions.retain(|s| {
                let lives = match s.port {
                    0 => by_address.contains(&address),
                    port => by_port.contains(&(address, port)),
                };
                lives || s.since >= seen_at
            });
            if passing.sessions.len() < before {
                self.told_until = None;
            }
            !passing.is_empty()
        });
    }

    /// What is not known of this machine, and what guard does about it, in words.
    pub fn unknown(&self) -> Option<String> {
        self.system.ssh_unseen.then(|| {
            "the ports of the SSH server cannot be seen from here: a session whose log line names no port stays \
             protected while its address has any connection"
                .to_owned()
        })
    }

    /// What is forced and does not hold, in words: see [`forced::without`].
    pub fn unheld(&self, now: Moment) -> Option<String> {
        let around = self.too_fine(&self.forced, |_| true, now)?;
        Some(format!(
            "{around} is allowed and so many bans are forced inside it that none of them holds; guardctl unban takes them back"
        ))
    }

    /// Whether any session is believed to live: then connections are worth looking at.
    pub fn has_sessions(&self) -> bool {
        !self.password_logins.is_empty()
            || self.passing.iter().any(|(_, p)| !p.sessions.is_empty() || p.recorded)
    }

    /// What not even a person can ban: loopback, and what is nobody's address.
    pub fn never(target: Target) -> Option<String> {
        let ranges = ranges::ALWAYS.iter().filter_map(|(text, name)| Some((text.parse().ok()?, *name)));
        let mut hit = ranges.filter(|(range, _): &(Target, _)| range.overlaps(target));
        hit.next().map(|(range, name)| told(target, range, name))
    }

    /// A person's ban of this target holds whatever allows or protects it, until [`Self::unforce`].
    pub fn force(&mut self, target: Target) {
        self.forced.insert(target);
        self.told_until = None;
    }

    /// No forced ban of this target stands any more.
    pub fn unforce(&mut self, target: Target) {
        if self.forced.remove(&target) {
            self.told_until = None;
        }
    }

    /// The bans that people forced.
    pub fn forced(&self) -> impl Iterator<Item = Target> {
        self.forced.iter().copied()
    }

    /// Allows a target at run time, in place of an earlier allowance of the same.
    pub fn allow_runtime(&mut self, target: Target, until: Option<Moment>, comment: &str) {
        let comment = comment.chars().take(200).collect();
        self.told_until = None;
        self.passing.entry(target, Passing::default).allowance = Some(Allowance { until, comment });
    }

    /// Takes a run-time allowance back; `false` if there was none.
    pub fn disallow_runtime(&mut self, target: Target) -> bool {
        let taken = self.passing.get_mut(target).and_then(|p| p.allowance.take()).is_some();
        if taken {
            self.told_until = None;
            self.passing.retain(|_, p| !p.is_empty());
        }
        taken
    }

    /// Whether a person has allowed this very target at run time.
    pub fn is_allowed_by_hand(&self, target: Target) -> bool {
        self.passing.get(target).is_some_and(|passing| passing.allowance.is_some())
    }

    /// The run-time allowances, each with its end and its comment.
    pub fn runtime_allowances(&self) -> impl Iterator<Item = (Target, Option<Moment>, String)> {
        self.passing.iter().filter_map(|(target, passing)| {
            let allowance = passing.allowance.as_ref()?;
            Some((target, allowance.until, allowance.comment.clone()))
        })
    }

    /// Forgets what has ended; the run-time allowances among it.
    pub fn expire(&mut self, now: Moment) -> Vec<Target> {
        let mut ended = Vec::new();
        self.passing.retain(|target, passing| {
            passing.login_until = passing.login_until.filter(|until| *until > now);
            if passing.allowance.as_ref().is_some_and(|a| !a.holds(now)) {
                passing.allowance = None;
                ended.push(target);
            }
            !passing.is_empty()
        });
        ended
    }

    /// What protects `target` or something inside it, in words; `None` if it may be banned.
    pub fn refusal(&self, target: Target, now: Moment) -> Option<String> {
        let (protected, because) = self
            .fixed
            .overlapping(target)
            .find_map(|(t, reasons)| Some((t, reasons.iter().find(|r| r.holds(now))?.because.clone())))
            .or_else(|| {
                self.passing.overlapping(target).find_map(|(t, p)| Some((t, p.reason(now)?.because)))
            })?;
        Some(told(target, protected, &because))
    }

    /// Everything protected, the reason, and the seconds left where it ends by itself.
    pub fn allowed(&self, now: Moment) -> Vec<(Target, String, Option<u64>)> {
        let fixed = self.fixed.iter().flat_map(|(t, reasons)| reasons.iter().map(move |r| (t, r.clone())));
        let passing = self.passing.iter().flat_map(|(t, p)| p.reasons(now).map(move |r| (t, r)));
        let held = fixed.chain(passing).filter(|(_, reason)| reason.holds(now));
        let left = |until: Moment| until.since(now).as_secs();
        let mut all: Vec<_> = held.map(|(t, r)| (t, r.because, r.until.map(left))).collect();
        all.sort();
        all
    }

    /// The targets that may pass, sorted; what another covers is left out, and what is forced.
    pub fn targets(&self, now: Moment) -> Vec<Target> {
        forced::without(self.allowances(now), &self.forced)
    }

    /// The same with what is forced.
    fn allowances(&self, now: Moment) -> Vec<Target> {
        let passing = self.passing.iter().filter(|(_, p)| p.protects(now)).map(|(t, _)| t);
        let fixed =
            self.fixed.iter().filter(|(_, r)| r.iter().any(|reason| reason.holds(now))).map(|(t, _)| t);
        widest(fixed.chain(passing).collect::<BTreeSet<_>>())
    }

    /// What has to be told to the kernel since the last call. At first, that is everything. Asked after every batch of
    /// lines, it costs nothing as long as nothing has changed.
    pub fn take_changes(&mut self, now: Moment) -> Changes {
        if self.told_until.is_some_and(|until| now < until) {
            return Changes::default();
        }
        self.told_until = Some(self.first_end(now));
        let wanted: BTreeSet<Target> = self.targets(now).into_iter().collect();
        let changes = Changes {
            allow: wanted.difference(&self.told).copied().collect(),
            disallow: self.told.difference(&wanted).copied().collect(),
        };
        self.told = wanted;
        changes
    }

    /// When the first of the reasons ends that end by themselves.
    fn first_end(&self, now: Moment) -> Moment {
        let fixed =
            self.fixed.iter().flat_map(|(_, reasons)| reasons.iter().filter_map(|reason| reason.until));
        let ends = fixed.chain(self.passing.iter().flat_map(|(_, passing)| passing.ends()));
        ends.filter(|end| *end > now).min().unwrap_or(Moment(i64::MAX))
    }

    /// Those of the given bans that must not be any more, each with what protects it; those that are forced stay. Worth
    /// asking when [`Changes::allow`] is not empty.
    pub fn conflicts(&self, bans: impl IntoIterator<Item = Target>, now: Moment) -> Vec<(Target, String)> {
        let free = bans.into_iter().filter(|ban| !self.forced.contains(ban));
        free.filter_map(|ban| Some((ban, self.refusal(ban, now)?))).collect()
    }

    /// Addresses whose login was forgotten early because too many were remembered.
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    fn rebuild(&mut self) {
        self.told_until = None;
        self.fixed = TargetMap::default();
        let private: &[_] = if self.allow.private { ranges::PRIVATE } else { &[] };
        for (text, name) in ranges::ALWAYS.iter().chain(private) {
            if let Ok(target) = text.parse() {
                self.fix(target, (*name).to_owned());
            }
        }
        let system = std::mem::take(&mut self.system);
        for (target, because) in system.reasons() {
            self.fix(target, because);
        }
        self.system = system;
        let named = self.names.reasons(self.allow.name_keep);
        for (target, reason) in self.configured.iter().cloned().chain(named) {
            self.fixed.entry(target, Vec::new).push(reason);
        }
    }

    fn fix(&mut self, target: Target, because: String) {
        let reasons = self.fixed.entry(target, Vec::new);
        if !reasons.iter().any(|reason| reason.because == because) {
            reasons.push(Reason { because, until: None });
        }
    }

    fn passing(&mut self, address: IpAddr) -> &mut Passing {
        self.told_until = None;
        let target = Target::host(address);
        if self.passing.len() >= MAX_ADDRESSES && self.passing.get_mut(target).is_none() {
            self.evict();
        }
        self.passing.entry(target, Passing::default)
    }

    /// Forgets the login that ends first, among those that nothing else keeps.
    fn evict(&mut self) {
        let first = self
            .passing
            .iter()
            .filter(|(_, p)| p.allowance.is_none())
            .min_by_key(|(_, p)| (!p.sessions.is_empty(), p.login_until))
            .map(|(target, _)| target);
        if let Some(first) = first {
            self.passing.retain(|target, _| target != first);
            self.evicted += 1;
        }
    }
}

/// One reason and its end.
#[derive(Clone, Debug)]
struct Reason {
    because: String,
    until: Option<Moment>,
}

impl Reason {
    fn holds(&self, now: Moment) -> bool {
        self.until.is_none_or(|until| until > now)
    }
}

/// What the configuration allows, with its ends on the engine's timeline.
fn configured(allow: &Allow, clock: Clock) -> Vec<(Target, Reason)> {
    let reason = |allowance: &crate::config::Allowance| {
        let Allowable::Target(target) = allowance.target else { return None };
        let comment = &allowance.comment;
        let because =
            if comment.is_empty() { CONFIGURED.to_owned() } else { format!("{CONFIGURED}: {comment}") };
        let until = allowance.until.map(|until| clock.moment_of(until));
        Some((target, Reason { because, until }))
    };
    allow.targets.iter().filter_map(reason).collect()
}

impl Passing {
    fn is_empty(&self) -> bool {
        self.sessions.is_empty() && !self.recorded && self.login_until.is_none() && self.allowance.is_none()
    }

    fn open(&mut self, session: Session) {
        if let Some(known) = self.sessions.iter_mut().find(|s| s.port == session.port) {
            // A new connection from the same port, or the same one heard of twice: a key login says more.
            known.since = known.since.max(session.since);
            known.found &= session.found;
        } else {
            if self.sessions.len() >= MAX_SESSIONS {
                self.sessions.remove(0);
            }
            self.sessions.push(session);
        }
    }

    /// Whether any reason holds.
    fn protects(&self, now: Moment) -> bool {
        !self.sessions.is_empty()
            || self.recorded
            || self.login_until.is_some_and(|until| until > now)
            || self.allowance.as_ref().is_some_and(|allowance| allowance.holds(now))
    }

    /// The reason that holds longest.
    fn reason(&self, now: Moment) -> Option<Reason> {
        self.reasons(now).next()
    }

    /// When a reason ends, if it does by itself.
    fn ends(&self) -> impl Iterator<Item = Moment> {
        self.login_until.into_iter().chain(self.allowance.iter().filter_map(|allowance| allowance.until))
    }

    fn reasons(&self, now: Moment) -> impl Iterator<Item = Reason> {
        let session = self.sessions.iter().map(|s| Reason { because: s.words(), until: None });
        let allowance = self.allowance.iter().filter(move |a| a.holds(now)).map(|a| Reason {
            because: if a.comment.is_empty() { "allowed".into() } else { format!("allowed: {}", a.comment) },
            until: a.until,
        });
        let login = self.login_until.filter(|until| *until > now).map(move |until| Reason {
            because: format!("key login, protected for another {}", length(until.since(now))),
            until: Some(until),
        });
        let recorded = self.recorded.then(|| Reason { because: RECORDED.into(), until: None });
        session.chain(recorded).chain(allowance).chain(login)
    }
}

impl Allowance {
    fn holds(&self, now: Moment) -> bool {
        self.until.is_none_or(|until| until > now)
    }
}

impl Session {
    fn words(self) -> String {
        let how = if self.found {
            "live SSH session from before guard started"
        } else {
            "live SSH session authenticated by key"
        };
        match self.port {
            0 => how.to_owned(),
            port => format!("{how} (port {port})"),
        }
    }
}

/// What protects `target`, or something inside it, in words.
fn told(target: Target, protected: Target, because: &str) -> String {
    if protected.covers(target.address()) && protected.length() <= target.length() {
        explain(target, protected, because)
    } else {
        format!("{target} covers {protected}: {}", explain(protected, protected, because))
    }
}

/// Why `target`, which is or lies in `protected`, is protected.
fn explain(target: Target, protected: Target, because: &str) -> String {
    if because.starts_with("live SSH") || because == RECORDED {
        format!("{target} has a {because}")
    } else if because == CONFIGURED {
        format!("{target} is allowed by the configuration ({protected})")
    } else if let Some(comment) = because.strip_prefix(CONFIGURED).and_then(|rest| rest.strip_prefix(": ")) {
        format!("{target} is allowed by the configuration ({protected}, {comment})")
    } else if because.starts_with(names::NAME) {
        format!("{target} is an address of the {because}")
    } else if because.starts_with("key login") {
        format!("{target} had a {because}")
    } else if because.starts_with("allowed") {
        format!("{target} was {because} ({protected}, `guardctl allow remove {protected}` takes it back)")
    } else if target == protected {
        format!("{target} is {because}")
    } else {
        format!("{target} is in {protected}, {because}")
    }
}

/// A time as people say it, at most a minute wrong.
fn length(time: Duration) -> String {
    match time.as_secs() {
        s @ 0..60 => format!("{s} s"),
        s @ 60..7200 => format!("{} min", s / 60),
        s => format!("{} h", s / 3600),
    }
}

#[cfg(test)]
mod tests;
