//! TCP sockets of this network namespace (`sock_diag(7)`, else `/proc/net/tcp`).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_sock_diag::SockDiagMessage as Message;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use super::netlink::dump;
use crate::target::canonical;

/// An established TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Connection {
    /// The port at this end.
    pub local_port: u16,
    /// The other end.
    pub peer: IpAddr,
    /// Its port.
    pub peer_port: u16,
}

/// A socket as both sources tell it.
struct Found {
    connection: Connection,
    inode: u64,
}

/// Every established TCP connection, IPv4 and IPv6.
pub fn connections() -> io::Result<Vec<Connection>> {
    Ok(sockets(State::Established)?.into_iter().map(|found| found.connection).collect())
}

/// Ports on which a process named `sshd` listens. Where another process listens for it (socket activation), none.
pub(super) fn ssh_ports() -> io::Result<BTreeSet<u16>> {
    let listening = sockets(State::Listen)?;
    let inodes = sockets_of_sshd()?;
    Ok(listening.iter().filter(|s| inodes.contains(&s.inode)).map(|s| s.connection.local_port).collect())
}

#[derive(Clone, Copy)]
enum State {
    Established,
    Listen,
}

fn sockets(state: State) -> io::Result<Vec<Found>> {
    // The module that answers for TCP may be missing, or netlink forbidden by a sandbox.
    by_netlink(state).or_else(|_| by_proc(state))
}

fn by_netlink(state: State) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for family in [AF_INET, AF_INET6] {
        let request = InetRequest {
            family,
            protocol: IPPROTO_TCP,
            extensions: ExtensionFlags::empty(),
            states: match state {
                State::Established => StateFlags::ESTABLISHED,
                State::Listen => StateFlags::LISTEN,
            },
            socket_id: if family == AF_INET { SocketId::new_v4() } else { SocketId::new_v6() },
        };
        dump(NETLINK_SOCK_DIAG, &Message::InetRequest(request), |message| {
            if let Message::InetResponse(response) = message {
                let id = &response.header.socket_id;
                let connection = Connection {
                    local_port: id.source_port,
                    peer: canonical(id.destination_address),
                    peer_port: id.destination_port,
                };
                found.push(Found { connection, inode: u64::from(response.header.inode) });
            }
        })?;
    }
    Ok(found)
}

fn by_proc(state: State) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for table in ["tcp", "tcp6"] {
        // The thread's own file: threads can be in other network namespaces than their process.
        match fs::read_to_string(format!("/proc/thread-self/net/{table}")) {
            Ok(text) => found.extend(text.lines().skip(1).filter_map(|line| proc_line(line, state))),
            Err(e) if e.kind() == io::ErrorKind::NotFound && table == "tcp6" => {} // no IPv6 here
            Err(e) => return Err(e),
        }
    }
    Ok(found)
}

/// One line of /proc/net/tcp: `sl local remote state queues timer retransmits uid timeout inode …` (`proc_net_tcp`).
fn proc_line(line: &str, state: State) -> Option<Found> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let (_, local_port) = proc_address(words.next()?)?;
    let (peer, peer_port) = proc_address(words.next()?)?;
    let wanted = match state {
        State::Established => "01",
        State::Listen => "0A",
    };
    if words.next()? != wanted {
        return None;
    }
    let inode = words.nth(5)?.parse().ok()?;
    Some(Found { connection: Connection { local_port, peer, peer_port }, inode })
}

/// `0100007F:0016`: each 32-bit word of the address as this machine reads it from memory, then the port.
fn proc_address(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let word = |n: usize| {
        let digits = address.get(n * 8..n * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let address = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for n in 0..4 {
                bytes[n * 4..n * 4 + 4].copy_from_slice(&word(n)?);
            }
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some((canonical(address), u16::from_str_radix(port, 16).ok()?))
}

/// Inodes of the sockets that processes named `sshd` hold open.
fn sockets_of_sshd() -> io::Result<BTreeSet<u64>> {
    let mut inodes = BTreeSet::new();
    for process in fs::read_dir("/proc")?.flatten() {
        let path = process.path();
        // Processes come and go while this reads; what cannot be read any more is not listening.
        if fs::read(path.join("comm")).is_ok_and(|name| name == b"sshd\n")
            && let Ok(files) = fs::read_dir(path.join("fd"))
        {
            for link in files.flatten().filter_map(|file| fs::read_link(file.path()).ok()) {
                let inode: Option<u64> =
                    link.to_str().and_then(|l| l.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok());
                inodes.extend(inode);
            }
        }
    }
    Ok(inodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sources_see_the_same_connection() {
        for bind in ["127.0.0.1:0", "[::1]:0"] {
            let listener = std::net::TcpListener::bind(bind).unwrap();
            let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (_server, _) = listener.accept().unwrap();
            let expected = Connection {
                local_port: listener.local_addr().unwrap().port(),
                peer: client.local_addr().unwrap().ip(),
                peer_port: client.local_addr().unwrap().port(),
            };
            for source in [by_netlink, by_proc] {
                let found = source(State::Established).unwrap();
                assert_eq!(found.iter().filter(|f| f.connection == expected).count(), 1, "{bind}");
                let listening = source(State::Listen).unwrap();
                assert!(listening.iter().any(|f| f.connection.local_port == expected.local_port), "{bind}");
                assert!(!found.iter().any(|f| f.connection.peer_port == 0), "only connections");
            }
        }
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        let line = "   0: 0000000000000000FFFF00000100007F:0016 0000000000000000FFFF0000070071CB:C3CA 01 \
                    00000000:00000000 00:00000000 00000000     0        0 4242 1";
        let found = proc_line(line, State::Established).unwrap();
        assert_eq!(found.inode, 4242);
        if cfg!(target_endian = "little") {
            let expected =
                Connection { local_port: 22, peer: "203.113.0.7".parse().unwrap(), peer_port: 50122 };
            assert_eq!(found.connection, expected);
        }
    }
}
