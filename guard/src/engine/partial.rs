//! Logins that need several methods, one of them a key.
//!
//! Where `AuthenticationMethods` asks for a key and a password or code, sshd tells of the accepted key in one line and
//! of the login in a later one that names only the last method. Both come from the process that serves the connection,
//! so process, address and port join them. They must come through the same source too: what everybody can write into a
//! log file must not make more of a line that the journal vouches for.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use crate::sighting::{Sighting, SourceId};
use crate::time::Moment;

/// Time in which the other methods have to follow the key: several times `LoginGraceTime` of sshd.
const PATIENCE: Duration = Duration::from_secs(600);
/// Keys remembered that still wait for the login. Only who holds a key that the server accepts can add to them.
const MOST: usize = 1024;

/// Accepted keys without a login yet, oldest first.
#[derive(Debug, Default)]
pub(super) struct Partials(VecDeque<Partial>);

#[derive(Clone, Copy, Debug)]
struct Partial {
    connection: Connection,
    at: Moment,
}

/// What the lines of one connection have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Connection {
    address: IpAddr,
    port: u16,
    pid: u32,
    via: SourceId,
}

impl Connection {
    /// The connection a line is about, unless it leaves open which one that is.
    fn of(s: &Sighting<'_>, via: SourceId) -> Option<Self> {
        let known = s.port != 0 && s.pid != 0;
        known.then_some(Self { address: s.address, port: s.port, pid: s.pid, via })
    }
}

impl Partials {
    /// A key was accepted, and the server asks for more.
    pub(super) fn begin(&mut self, s: &Sighting<'_>, via: SourceId, at: Moment) {
        let Some(connection) = Connection::of(s, via) else { return };
        self.0.retain(|known| known.connection != connection && at.since(known.at) <= PATIENCE);
        if self.0.len() >= MOST {
            self.0.pop_front();
        }
        self.0.push_back(Partial { connection, at });
    }

    /// Somebody logged in: whether a key was part of it.
    pub(super) fn complete(&mut self, s: &Sighting<'_>, via: SourceId, at: Moment) -> bool {
        let Some(connection) = Connection::of(s, via) else { return false };
        let begun = self.0.iter().position(|known| known.connection == connection);
        begun.and_then(|place| self.0.remove(place)).is_some_and(|key| at.since(key.at) <= PATIENCE)
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.0.capacity() * size_of::<Partial>()
    }
}
