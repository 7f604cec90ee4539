//! Following what changes beside guard: the network of this machine, and the rules of its packet filter.
//!
//! Each is heard of through a socket with a thread of its own. One that cannot be opened, or whose thread ends, is a
//! problem until it listens again; meanwhile changes are found when guard looks around by itself.

use std::io;
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;
use std::time::Instant;

use tracing::{debug, error, info};

use crate::enforce::{Backend, nftables};
use crate::protect::system;
use crate::source::Stop;

use super::again::Again;
use super::control::{Control, Input};

/// What is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Addresses, routes and interfaces.
    Network,
    /// Rules of the packet filter.
    Ruleset,
}

impl What {
    const ALL: [Self; 2] = [Self::Network, Self::Ruleset];

    const fn name(self) -> &'static str {
        match self {
            Self::Network => "the network",
            Self::Ruleset => "the packet filter",
        }
    }

    /// What is sent when it changes.
    const fn input(self) -> Input {
        match self {
            Self::Network => Input::NetworkChanged,
            Self::Ruleset => Input::RulesetChanged,
        }
    }
}

/// The listening threads.
pub(super) struct Followers {
    inputs: SyncSender<Input>,
    all: Vec<Follower>,
}

struct Follower {
    what: What,
    again: Again,
    ear: Option<Ear>,
}

/// A running thread; it ends when this is dropped.
enum Ear {
    Network { stop: Stop, thread: Option<JoinHandle<io::Result<()>>> },
    Ruleset(nftables::Watch),
}

impl Followers {
    pub(super) fn new(inputs: SyncSender<Input>) -> Self {
        Self { inputs, all: Vec::new() }
    }
}

impl Control {
    /// Begins to follow everything. What cannot be followed now is tried again.
    pub(super) fn start_followers(&mut self) {
        let now = Instant::now();
        for what in What::ALL {
            let mut follower = Follower { what, again: Again::new(now), ear: None };
            match Ear::open(what, &self.followers.inputs) {
                Ok(ear) => follower.ear = Some(ear),
                Err(cause) => self.not_followed(&mut follower, &cause, now),
            }
            self.followers.all.push(follower);
        }
    }

    /// Notices followers that have ended, and starts those whose pause is over.
    pub(super) fn keep_followers(&mut self, now: Instant) {
        let mut all = std::mem::take(&mut self.followers.all);
        for follower in &mut all {
            if follower.ear.as_ref().is_some_and(Ear::is_over) {
                let cause = follower.ear.take().map_or_else(|| io::Error::other("it ended"), Ear::cause);
                self.not_followed(follower, &cause, now);
            }
            if follower.again.is_due(now) {
                match Ear::open(follower.what, &self.followers.inputs) {
                    Ok(ear) => {
                        follower.ear = Some(ear);
                        follower.again.started(now);
                        if self.problems.clear(follower.what.name()) {
                            info!("{} is followed again", follower.what.name());
                        }
                        // What happened meanwhile nobody has told.
                        self.take(follower.what.input());
                    }
                    Err(cause) => self.not_followed(follower, &cause, now),
                }
            }
        }
        self.followers.all = all;
    }

    /// Whether anything depends on rules of the packet filter that others can flush.
    fn enforces_by_rules(&mut self) -> bool {
        self.enforcer.backend() == Backend::Nftables
            || self.enforcer.status().interfaces.iter().any(|interface| interface.mode == "nftables")
    }

    fn not_followed(&mut self, follower: &mut Follower, cause: &io::Error, now: Instant) {
        let pause = follower.again.ended(now).as_secs();
        let what = follower.what.name();
        if follower.what == What::Ruleset && !self.enforces_by_rules() {
            debug!(error = %cause, "{what} is not followed, nor needed");
            return;
        }
        error!(error = %cause, pause, "{what} is not followed");
        self.problems.set(
            what,
            format!("{what} is not followed ({cause}), so changes are seen late; guard tries again after {pause} s"),
        );
    }
}

impl Ear {
    fn open(what: What, inputs: &SyncSender<Input>) -> io::Result<Self> {
        let inputs = inputs.clone();
        // Nobody is left to be told once the engine's thread has ended.
        let tell = move || drop(inputs.send(what.input()));
        match what {
            What::Network => {
                let stop = Stop::new()?;
                let thread = Some(system::watch(stop.clone(), move |_| tell())?);
                Ok(Self::Network { stop, thread })
            }
            What::Ruleset => nftables::watch(tell).map(Self::Ruleset),
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Self::Network { thread, .. } => thread.as_ref().is_none_or(JoinHandle::is_finished),
            Self::Ruleset(watch) => watch.is_over(),
        }
    }

    /// Why it has ended.
    fn cause(mut self) -> io::Error {
        let unknown = || io::Error::other("its thread ended");
        match &mut self {
            Self::Network { thread, .. } => match thread.take().map(JoinHandle::join) {
                Some(Ok(Err(cause))) => cause,
                _ => unknown(),
            },
            Self::Ruleset(_) => unknown(),
        }
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        if let Self::Network { stop, .. } = self {
            stop.set();
        }
    }
}
