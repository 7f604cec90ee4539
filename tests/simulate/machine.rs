//! The machine that guard protects: its clocks, its servers with their logs, its connections.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;

use guard::protect::{Connection, SystemAddresses};
use guard::target::Target;
use guard::time::Wall;

use crate::chance::Chance;
use crate::clock::Clocks;
use crate::facts::{Fact, What};
use crate::kernel::Kernel;

/// Sources of lines: sshd's by way of the journal or a log file, the same lines once more, and a web server's own file.
pub(crate) const SSH: usize = 0;
pub(crate) const COPY: usize = 1;
pub(crate) const WEB: usize = 2;
pub(crate) const SOURCES: usize = 3;

/// How long a line is on its way from a server to its log.
const LATENCY: i64 = 2;

/// A line in a log.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) fact: Fact,
    /// Its stamp.
    pub(crate) at: Wall,
}

/// A session that has authenticated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session {
    pub(crate) pid: u32,
    pub(crate) account: &'static str,
    /// Whether guard was told: by the line that was judged, or by what it found at its start.
    pub(crate) is_known: bool,
}

/// How lines are hindered.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Delays {
    /// Until when nothing comes through.
    pub(crate) stalled_until: i64,
    /// One line in so many is late by itself; 0 for none.
    pub(crate) late_one_in: u64,
    /// By how much at most.
    pub(crate) late_by: i64,
    /// Whether each line comes by a second source too.
    pub(crate) copies: bool,
}

/// All of it.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) clocks: Clocks,
    pub(crate) chance: Chance,
    pub(crate) kernel: Kernel,
    pub(crate) logs: [Vec<Line>; SOURCES],
    /// Lines on their way, by when they reach their log.
    coming: BTreeMap<(i64, u64), (usize, Line)>,
    sequence: u64,
    pub(crate) connections: BTreeMap<(IpAddr, u16), Session>,
    /// Sessions that end by themselves, by when.
    ends: BTreeSet<(i64, IpAddr, u16)>,
    pub(crate) delays: Delays,
    next_pid: u32,
    /// Addresses that did anything a filter may hold against them.
    pub(crate) suspects: HashSet<IpAddr>,
    /// Accounts that are there.
    pub(crate) accounts: &'static [&'static str],
}

impl Machine {
    pub(crate) fn new(chance: Chance) -> Self {
        Self {
            clocks: Clocks::new(),
            chance,
            kernel: Kernel::default(),
            logs: Default::default(),
            coming: BTreeMap::new(),
            sequence: 0,
            connections: BTreeMap::new(),
            ends: BTreeSet::new(),
            delays: Delays::default(),
            next_pid: 1000,
            suspects: HashSet::new(),
            accounts: &["root", "alice", "bob", "carol", "backup", "deploy", "git"],
        }
    }

    /// Whether packets from an address are dropped now.
    pub(crate) fn drops(&self, address: IpAddr) -> bool {
        self.kernel.drops(address, self.clocks.read().moment)
    }

    /// When the kernel stops to drop a target, if it does so now.
    pub(crate) fn end(&self, target: Target) -> Option<i64> {
        let entry = self.kernel.bans.get(&target)?;
        Some(entry.until.map_or(i64::MAX, |until| self.clocks.time_of(until)))
    }

    /// A server writes a line.
    pub(crate) fn write(&mut self, fact: Fact) {
        let source = if fact.what.is_web() { WEB } else { SSH };
        let line = Line { fact, at: self.clocks.read().wall };
        self.send(source, line.clone());
        if self.delays.copies && source == SSH {
            self.send(COPY, line);
        }
    }

    fn send(&mut self, source: usize, line: Line) {
        let Delays { stalled_until, late_one_in, late_by, .. } = self.delays;
        let mut arrives = (self.clocks.now() + LATENCY + source as i64).max(stalled_until);
        if late_one_in > 0 && self.chance.one_in(late_one_in) {
            arrives += self.chance.within(0..=late_by);
        }
        self.sequence += 1;
        self.coming.insert((arrives, self.sequence), (source, line));
    }

    /// When the next line reaches its log, or the next session ends.
    pub(crate) fn next(&self) -> Option<i64> {
        let line = self.coming.first_key_value().map(|((at, _), _)| *at);
        let end = self.ends.first().map(|(at, ..)| *at);
        line.into_iter().chain(end).min()
    }

    /// Lines reach their logs and sessions end, as far as it is time.
    pub(crate) fn advance(&mut self) {
        let now = self.clocks.now();
        while let Some(&(at, address, port)) = self.ends.first().filter(|(at, ..)| *at <= now) {
            self.ends.remove(&(at, address, port));
            if let Some(session) = self.connections.remove(&(address, port)) {
                let Session { pid, account, .. } = session;
                self.write(Fact { what: What::Disconnected, from: address, port, pid, account });
            }
        }
        while let Some(entry) = self.coming.first_entry().filter(|entry| entry.key().0 <= now) {
            let (source, line) = entry.remove();
            self.logs[source].push(line);
        }
    }

    /// Opens a session that ends by itself.
    pub(crate) fn open(&mut self, from: IpAddr, port: u16, session: Session, stay: i64) {
        self.connections.insert((from, port), session);
        self.ends.insert((self.clocks.now() + stay, from, port));
    }

    /// Process and port of a new connection.
    pub(crate) fn next_connection(&mut self) -> (u32, u16) {
        self.next_pid += 1 + self.chance.below(3) as u32;
        (self.next_pid, self.chance.within(1024..=65_535) as u16)
    }

    /// The connections as the kernel tells them.
    pub(crate) fn established(&self) -> Vec<Connection> {
        let connection = |(peer, peer_port): &(IpAddr, u16)| Connection {
            local_port: 22,
            peer: *peer,
            peer_port: *peer_port,
        };
        self.connections.keys().map(connection).collect()
    }

    /// The machine goes down and comes up again.
    pub(crate) fn reboot(&mut self) {
        self.connections.clear();
        self.ends.clear();
        self.kernel.lose(|_| false);
        self.clocks.boot();
    }

    /// What the machine cannot do without.
    pub(crate) fn system() -> SystemAddresses {
        SystemAddresses {
            own: [("192.0.2.10", "eth0"), ("2001:db8:1::10", "eth0")]
                .map(|(a, i)| (address(a), i.to_owned()))
                .into(),
            gateways: ["192.0.2.1", "2001:db8:1::1"].map(address).into(),
            resolvers: ["9.9.9.9", "2620:fe::fe"].map(address).into(),
            ssh_ports: [22].into(),
            ..SystemAddresses::default()
        }
    }
}

/// Whom guard may never ban, whatever he does: an address of each sort. The last two are on the allowlist.
pub(crate) const PROTECTED: [&str; 14] = [
    "127.0.0.1",
    "::1",
    "127.8.8.8",
    "192.0.2.10",
    "2001:db8:1::10",
    "192.0.2.1",
    "2001:db8:1::1",
    "9.9.9.9",
    "2620:fe::fe",
    "10.1.2.3",
    "192.168.7.7",
    "fe80::7",
    "198.51.100.7",
    "2001:db8:a::7",
];

/// The allowlist of the configuration.
pub(crate) const ALLOWLIST: [&str; 2] = ["198.51.100.0/28", "2001:db8:a::/48"];

/// An address of this program's text.
pub(crate) fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A target of this program's text.
pub(crate) fn target(text: &str) -> Target {
    text.parse().expect("a target")
}
