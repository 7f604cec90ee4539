//! What the machine tells of itself (own addresses, gateways, name servers, ports of the SSH server), read in a thread
//! beside the engine's: routes may be many, and so may processes.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;

use super::control::{Control, Input};
use crate::protect::SystemAddresses;
use crate::time::Clock;

/// What one reading gave, and what of it could not be read.
pub(super) type Reading = (SystemAddresses, Vec<io::Error>);

/// The problem that is set when something cannot be read.
pub(super) const PROBLEM: &str = "system";

/// The thread that reads. It ends when this is dropped, or when nobody takes what it has read.
#[derive(Debug)]
pub(super) struct Surroundings(SyncSender<()>);

impl Surroundings {
    /// Starts the thread, which knows this much. What it reads goes to `inputs`.
    pub(super) fn start(inputs: SyncSender<Input>, known: SystemAddresses) -> io::Result<Self> {
        let tell = move |reading| inputs.send(Input::Surroundings(reading)).is_ok();
        Self::start_with(known, SystemAddresses::read, tell)
    }

    fn start_with(
        known: SystemAddresses,
        read: impl FnMut(&SystemAddresses) -> Reading + Send + 'static,
        tell: impl FnMut(Reading) -> bool + Send + 'static,
    ) -> io::Result<Self> {
        // One more that waits: what changes during a reading leads to another one, however often it changes.
        let (ask, asked) = sync_channel(1);
        thread::Builder::new()
            .name("surroundings".into())
            .spawn(move || follow(&asked, known, read, tell))?;
        Ok(Self(ask))
    }

    /// Has everything read anew. `false` if nobody reads any more.
    fn read(&self) -> bool {
        !matches!(self.0.try_send(()), Err(TrySendError::Disconnected(())))
    }
}

fn follow(
    asked: &Receiver<()>,
    mut known: SystemAddresses,
    mut read: impl FnMut(&SystemAddresses) -> Reading,
    mut tell: impl FnMut(Reading) -> bool,
) {
    while let Ok(()) = asked.recv() {
        let (system, faults) = read(&known);
        known.clone_from(&system);
        if !tell((system, faults)) {
            return;
        }
    }
}

/// What is wrong with a reading, for people.
pub(super) fn problems(faults: &[io::Error]) -> Vec<String> {
    faults.iter().map(|fault| format!("{fault}; guard tries again")).collect()
}

impl Control {
    /// Has own addresses, gateways and resolvers read anew.
    pub(super) fn read_surroundings(&mut self) {
        if !self.surroundings.read() {
            let text =
                "own addresses and gateways are not read any more: their thread has ended; restart guard";
            self.problems.set(PROBLEM, text.into());
        }
    }

    /// Takes over what was read.
    pub(super) fn hear_of_surroundings(&mut self, (system, faults): Reading) {
        self.problems.replace(PROBLEM, problems(&faults));
        self.judge.protection_mut().set_system(system);
        self.judge.sync_allowed(Clock::now());
        self.apply();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::{Duration, Instant};

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn nobody_waits_for_a_reading_and_what_changes_meanwhile_is_one_more() {
        let ((go, gate), (tell, told)) = (channel(), channel());
        let (began, begun) = channel();
        let read = move |known: &SystemAddresses| {
            began.send(known.ssh_ports.len()).unwrap();
            gate.recv().unwrap();
            let mut system = known.clone();
            system.ssh_ports.insert(known.ssh_ports.len() as u16);
            (system, Vec::new())
        };
        let tell = move |reading: Reading| tell.send(reading.0.ssh_ports.len()).is_ok();
        let surroundings = Surroundings::start_with(SystemAddresses::default(), read, tell).unwrap();
        let start = Instant::now();
        assert!(surroundings.read());
        assert_eq!(begun.recv_timeout(SOON), Ok(0));
        // A reading is under way and takes its time.
        assert!((0..1000).all(|_| surroundings.read()) && start.elapsed() < SOON);
        go.send(()).unwrap();
        assert_eq!(begun.recv_timeout(SOON), Ok(1), "what was read before is known");
        go.send(()).unwrap();
        assert_eq!((told.recv_timeout(SOON), told.recv_timeout(SOON)), (Ok(1), Ok(2)));
        assert!(begun.recv_timeout(Duration::from_millis(50)).is_err(), "a thousand wishes are one");
        // Nobody takes what is read: the thread ends.
        drop(told);
        go.send(()).unwrap();
        assert!(surroundings.read());
        let until = Instant::now() + SOON;
        while surroundings.read() {
            assert!(Instant::now() < until);
            thread::sleep(Duration::from_millis(5));
        }
    }
}
