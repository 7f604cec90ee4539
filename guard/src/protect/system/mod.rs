//! Facts about this machine, of the network namespace it is called in: own addresses, gateways, resolvers,
//! established connections, and word when any of them changes.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

mod addresses;
mod netlink;
mod resolvers;
mod sockets;
mod ssh;
mod watch;

pub(super) use resolvers::{RESOLV_CONF, name_servers};
pub use sockets::{Connection, connections};
pub use watch::{Changed, watch};

use crate::target::Target;

/// Addresses this machine cannot do without.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SystemAddresses {
    /// Own addresses with the interface that has them.
    pub own: BTreeSet<(IpAddr, String)>,
    /// Broadcast addresses with their interface.
    pub broadcast: BTreeSet<(IpAddr, String)>,
    /// Next hops of routes in any table, and the far ends of point-to-point links.
    pub gateways: BTreeSet<IpAddr>,
    /// Name servers.
    pub resolvers: BTreeSet<IpAddr>,
    /// Local ports that an SSH server listens on, as far as that can be seen.
    pub ssh_ports: BTreeSet<u16>,
    /// Whether there is an SSH server whose ports cannot be seen.
    pub ssh_unseen: bool,
}

/// What is read from one source.
#[derive(Clone, Copy, Debug)]
enum Part {
    Own,
    Routes,
    Resolvers,
    SshPorts,
}

impl Part {
    const fn name(self) -> &'static str {
        match self {
            Self::Own => "own addresses",
            Self::Routes => "routes",
            Self::Resolvers => "name servers",
            Self::SshPorts => "ports of the SSH server",
        }
    }
}

impl SystemAddresses {
    /// Reads them all. What one source does not give is named, and stays as it was `known`: the others are still worth
    /// having.
    pub fn read(known: &Self) -> (Self, Vec<io::Error>) {
        let mut system = Self::default();
        let mut errors = Vec::new();
        let mut failed = Vec::new();
        let mut note = |part: Part, read: io::Result<()>| {
            if let Err(e) = read {
                errors.push(io::Error::new(e.kind(), format!("reading {} failed: {e}", part.name())));
                failed.push(part);
            }
        };
        note(Part::Own, addresses::read_own(&mut system));
        note(Part::Routes, addresses::read_gateways(&mut system));
        note(Part::Resolvers, resolvers::read(&mut system.resolvers));
        let ssh = ssh::ssh_ports().map(|seen| {
            system.ssh_ports = seen.ports;
            system.ssh_unseen = seen.unseen;
        });
        note(Part::SshPorts, ssh);
        if !failed.is_empty() {
            system.keep(known, &failed);
        }
        (system, errors)
    }

    /// Keeps what is known of the parts that could not be read.
    fn keep(&mut self, known: &Self, failed: &[Part]) {
        for part in failed {
            match part {
                // Both tell of gateways: the far end of an own address is one.
                Part::Own | Part::Routes => {
                    self.own.extend(known.own.iter().cloned());
                    self.broadcast.extend(known.broadcast.iter().cloned());
                    self.gateways.extend(&known.gateways);
                }
                Part::Resolvers => self.resolvers.extend(&known.resolvers),
                Part::SshPorts => {
                    self.ssh_ports.clone_from(&known.ssh_ports);
                    self.ssh_unseen = known.ssh_unseen;
                }
            }
        }
    }

    /// Each protected address with the reason in words.
    pub(super) fn reasons(&self) -> impl Iterator<Item = (Target, String)> {
        let named = |what: &'static str| {
            move |(a, i): &(IpAddr, String)| (Target::host(*a), format!("{what} of {i}"))
        };
        let plain = |what: &'static str| move |a: &IpAddr| (Target::host(*a), what.to_owned());
        self.own
            .iter()
            .map(named("an own address"))
            .chain(self.gateways.iter().map(plain("a gateway")))
            .chain(self.resolvers.iter().map(plain("a resolver")))
            .chain(self.broadcast.iter().map(named("the broadcast address")))
    }
}

#[cfg(test)]
mod tests;
