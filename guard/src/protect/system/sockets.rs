//! TCP sockets of this network namespace (`sock_diag(7)`, else `/proc/net/tcp`).

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use netlink_packet_core::Nla as _;
use netlink_packet_sock_diag::SockDiagMessage as Message;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::nlas::Nla;
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
pub(super) struct Found {
    pub(super) connection: Connection,
    pub(super) inode: u64,
    /// Whose it is.
    pub(super) uid: u32,
    /// The control group it was made in; only netlink tells, since Linux 5.8.
    pub(super) group: Option<u64>,
}

/// `INET_DIAG_CGROUP_ID` in `include/uapi/linux/inet_diag.h`.
const GROUP: u16 = 21;

/// Every established TCP connection, IPv4 and IPv6.
pub fn connections() -> io::Result<Vec<Connection>> {
    Ok(sockets(State::Established)?.into_iter().map(|found| found.connection).collect())
}

/// Every TCP socket that listens.
pub(super) fn listening() -> io::Result<Vec<Found>> {
    sockets(State::Listen)
}

#[derive(Clone, Copy)]
enum State {
    Established,
    Listen,
}

fn sockets(state: State) -> io::Result<Vec<Found>> {
    // The module that answers for TCP may be missing, or netlink forbidden by a sandbox.
    by_netlink(state).or_else(|_| by_proc(state, Path::new(OWN)))
}

/// Inodes of the sockets that listen in the network namespace of a process, which everybody may see.
pub(super) fn listening_beside(process: &Path) -> io::Result<Vec<u64>> {
    Ok(by_proc(State::Listen, &process.join("net"))?.into_iter().map(|socket| socket.inode).collect())
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
                found.push(Found {
                    connection,
                    inode: u64::from(response.header.inode),
                    uid: response.header.uid,
                    group: response.nlas.iter().find_map(group),
                });
            }
        })?;
    }
    Ok(found)
}

fn group(attribute: &Nla) -> Option<u64> {
    let Nla::Other(attribute) = attribute else { return None };
    let mut bytes = [0; 8];
    if attribute.kind() != GROUP || attribute.value_len() != bytes.len() {
        return None;
    }
    attribute.emit_value(&mut bytes);
    Some(u64::from_ne_bytes(bytes))
}

/// The thread's own folder: threads can be in other network namespaces than their process.
const OWN: &str = "/proc/thread-self/net";

fn by_proc(state: State, folder: &Path) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for table in ["tcp", "tcp6"] {
        match fs::read_to_string(folder.join(table)) {
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
    let uid = words.nth(3)?.parse().ok()?;
    let inode = words.nth(1)?.parse().ok()?;
    Some(Found { connection: Connection { local_port, peer, peer_port }, inode, uid, group: None })
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
            let by_proc = |state| by_proc(state, Path::new(OWN));
            let sources: [&dyn Fn(State) -> io::Result<Vec<Found>>; 2] = [&by_netlink, &by_proc];
            for source in sources {
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
                    00000000:00000000 00:00000000 00000000    33        0 4242 1";
        let found = proc_line(line, State::Established).unwrap();
        assert_eq!((found.inode, found.uid, found.group), (4242, 33, None));
        if cfg!(target_endian = "little") {
            let expected =
                Connection { local_port: 22, peer: "203.113.0.7".parse().unwrap(), peer_port: 50122 };
            assert_eq!(found.connection, expected);
        }
    }
}
