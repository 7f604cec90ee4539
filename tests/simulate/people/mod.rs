//! Who comes to the machine: attackers and honest users. Each acts, learns whether it got through, and says when it
//! acts again.

use std::fmt::Debug;
use std::net::IpAddr;

use crate::chance::Chance;
use crate::facts::{Fact, What};
use crate::machine::{Machine, Session};

mod admin;
mod crawler;
mod guesser;
mod intranet;
mod lucky;
mod office;
mod robot;
mod typist;

pub(crate) use admin::{Admin, Roaming};
pub(crate) use crawler::{Crawler, Visitor};
pub(crate) use guesser::{Accounts, Addresses, Guesser};
pub(crate) use intranet::Intranet;
pub(crate) use lucky::Lucky;
pub(crate) use office::office;
pub(crate) use robot::Robot;
pub(crate) use typist::Typist;

/// Somebody.
pub(crate) trait Person: Debug {
    /// Does the next thing. Answers how many milliseconds later comes the one after it, if any.
    fn act(&mut self, hand: &mut Hand<'_>) -> Option<i64>;
}

/// What somebody is to guard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// To be banned.
    Attacker,
    /// Not to be banned.
    Honest,
    /// An attacker whose address guard must not ban: it is needed, or an honest user's who proved himself.
    Shielded,
}

/// What became of somebody.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    pub(crate) role: Role,
    /// Addresses used, the last one last.
    pub(crate) addresses: Vec<IpAddr>,
    /// When he first got through.
    pub(crate) since: Option<i64>,
    /// Tries that got through.
    pub(crate) tries: u64,
    /// When a ban first covered an address of his.
    pub(crate) banned: Option<i64>,
    /// How often he was dropped.
    pub(crate) dropped: u64,
    /// Whether an incident names his address or the account he was after.
    pub(crate) seen: bool,
    /// The account he was after last.
    pub(crate) account: &'static str,
}

impl Tally {
    pub(crate) fn new(role: Role) -> Self {
        Self {
            role,
            addresses: Vec::new(),
            since: None,
            tries: 0,
            banned: None,
            dropped: 0,
            seen: false,
            account: "",
        }
    }
}

/// An open connection to sshd.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connected {
    pub(crate) from: IpAddr,
    pub(crate) port: u16,
    pub(crate) pid: u32,
}

/// What somebody can do.
#[derive(Debug)]
pub(crate) struct Hand<'a> {
    pub(crate) machine: &'a mut Machine,
    pub(crate) tally: &'a mut Tally,
    pub(crate) chance: &'a mut Chance,
}

impl Hand<'_> {
    /// A number of milliseconds between two.
    pub(crate) fn between(&mut self, least: i64, most: i64) -> i64 {
        self.chance.within(least..=most)
    }

    /// Connects to sshd, unless the packets are dropped.
    pub(crate) fn connect(&mut self, from: IpAddr) -> Option<Connected> {
        self.passes(from).then(|| {
            let (pid, port) = self.machine.next_connection();
            Connected { from, port, pid }
        })
    }

    /// Tries a password that is wrong; whether the packets got through.
    pub(crate) fn wrong_password(&mut self, on: Connected, account: &'static str) -> bool {
        if !self.passes(on.from) {
            return false;
        }
        let known = self.machine.accounts.contains(&account);
        self.tried(on, account);
        if !known {
            self.write(What::InvalidUser, on, account);
        }
        self.write(What::Pam, on, account);
        self.write(What::WrongPassword { known }, on, account);
        true
    }

    /// Offers a key that the server does not take.
    pub(crate) fn wrong_key(&mut self, on: Connected, account: &'static str) -> bool {
        if !self.passes(on.from) {
            return false;
        }
        self.tried(on, account);
        self.write(What::WrongKey, on, account);
        true
    }

    /// Logs in with a key, for so long.
    pub(crate) fn key_login(&mut self, on: Connected, account: &'static str, stay: i64) -> bool {
        self.log_in(What::KeyLogin, on, account, stay)
    }

    /// Logs in with a password, for so long.
    pub(crate) fn password_login(&mut self, on: Connected, account: &'static str, stay: i64) -> bool {
        self.log_in(What::PasswordLogin, on, account, stay)
    }

    /// Asks the web server for something.
    pub(crate) fn request(
        &mut self,
        from: IpAddr,
        path: &'static str,
        status: u16,
        agent: &'static str,
    ) -> bool {
        if !self.passes(from) {
            return false;
        }
        let on = Connected { from, port: 0, pid: 0 };
        if status >= 400 {
            self.tried(on, "");
        }
        self.write(What::Request { path, status, agent }, on, "");
        true
    }

    /// Asks the web server for something that only users get (HTTP basic authentication).
    pub(crate) fn request_as(
        &mut self,
        from: IpAddr,
        account: &'static str,
        is_right: bool,
        agent: &'static str,
    ) -> bool {
        if !self.passes(from) {
            return false;
        }
        let on = Connected { from, port: 0, pid: 0 };
        if !is_right {
            self.tried(on, account);
        }
        let status = if is_right { 200 } else { 401 };
        self.write(What::Request { path: "/intranet/", status, agent }, on, account);
        true
    }

    fn log_in(&mut self, what: What, on: Connected, account: &'static str, stay: i64) -> bool {
        if !self.passes(on.from) {
            return false;
        }
        self.write(what, on, account);
        let session = Session { pid: on.pid, account, is_known: false };
        self.machine.open(on.from, on.port, session, stay);
        true
    }

    /// Whether packets from there get through.
    fn passes(&mut self, from: IpAddr) -> bool {
        if self.tally.addresses.last() != Some(&from) {
            self.tally.addresses.push(from);
        }
        let passes = !self.machine.drops(from);
        if passes {
            self.tally.since.get_or_insert(self.machine.clocks.now());
        } else {
            self.tally.dropped += 1;
        }
        passes
    }

    /// Something was tried that may count against the address.
    fn tried(&mut self, on: Connected, account: &'static str) {
        self.tally.tries += 1;
        self.tally.account = account;
        self.machine.suspects.insert(on.from);
    }

    fn write(&mut self, what: What, on: Connected, account: &'static str) {
        let Connected { from, port, pid } = on;
        self.machine.write(Fact { what, from, port, pid, account });
    }
}
