//! The thread that keeps the answers of names current. The engine's thread never waits for a name server.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use super::schedule::Schedule;
use super::{Answer, Pace, client};
use crate::target::HostName;
use crate::time::Moment;

/// What is to be kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The names.
    pub names: BTreeSet<HostName>,
    /// How often they are asked for.
    pub pace: Pace,
    /// Who is asked; nobody: those of the machine.
    pub servers: Vec<SocketAddr>,
}

/// The other end of a keeper's thread, which ends when this is dropped.
#[derive(Debug)]
pub struct Keeper(Sender<Wanted>);

impl Keeper {
    /// Starts the thread. It gives each answer to `tell`, which says whether anybody listens still.
    pub fn start(tell: impl Fn(HostName, Answer) -> bool + Send + 'static) -> io::Result<Self> {
        let (sender, wanted) = channel();
        thread::Builder::new().name("names".into()).spawn(move || keep(&wanted, tell))?;
        Ok(Self(sender))
    }

    /// Keeps these from now on. What was wanted before and still is goes on.
    pub fn keep(&self, wanted: Wanted) {
        // Where the thread has ended, so has the engine's.
        let _ = self.0.send(wanted);
    }
}

fn keep(inbox: &Receiver<Wanted>, tell: impl Fn(HostName, Answer) -> bool) {
    let mut schedule = Schedule::default();
    let mut wanted = Wanted::default();
    loop {
        let now = Moment::now();
        if let Some(name) = schedule.due(now) {
            let answer = client::ask(&name, &wanted.servers);
            schedule.answered(&name, &answer, wanted.pace, Moment::now());
            if !tell(name, answer) {
                return;
            }
        }
        let patience = schedule.next().map_or(Duration::MAX, |due| due.since(Moment::now()));
        match inbox.recv_timeout(patience.min(Duration::from_secs(3600))) {
            Ok(new) => {
                if new.servers != wanted.servers || new.pace != wanted.pace {
                    schedule = Schedule::default();
                }
                schedule.want(&new.names, Moment::now());
                wanted = new;
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
