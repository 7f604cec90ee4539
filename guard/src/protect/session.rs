//! Sessions that were there before guard: whom a person at this machine is connected from.
//!
//! What is found here is only ever used to refuse a ban of these addresses. None of it proves who authenticated
//! how, so it earns nothing else; and an address counts only while a connection from it really exists.

use std::collections::BTreeSet;
use std::fs;
use std::mem::{offset_of, size_of};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::system::{Connection, connections};
use crate::target::canonical;

/// Generations of ancestors that are looked at.
const GENERATIONS: usize = 64;

/// What says in an environment that a terminal may outlive the connection it was opened from: tmux(1), screen(1).
const OUTLIVING: [&[u8]; 2] = [b"TMUX=", b"STY="];
/// The processes that serve a connection of SSH.
const SERVERS: [&str; 3] = ["(sshd)", "(sshd-session)", "(dropbear)"];

/// The peer of the SSH session in which process `pid` runs, by `SSH_CONNECTION` of it or its nearest ancestor that
/// has it. Any user can set that variable for his own processes, and only who may trace a process can read it.
pub fn caller_peer(pid: i32) -> Option<IpAddr> {
    Some(ssh_connection_of(pid)?.peer)
}

/// Where the session of process `pid` may come from: its peer. In tmux, screen and the like that is the peer of the
/// connection which the terminal was opened from once, and nobody knows which one looks at it now. So there all live
/// sessions count in which the terminal's owner has processes.
pub fn caller_peers(pid: i32) -> BTreeSet<IpAddr> {
    let mut peers: BTreeSet<IpAddr> = caller_peer(pid).into_iter().collect();
    if let Some(owner) = owner_of_terminal(pid) {
        let live = connections().ok();
        let lives = |c: &Connection| live.as_ref().is_none_or(|live| live.contains(c));
        peers.extend(sessions_of(owner).filter(lives).map(|c| c.peer));
    }
    peers
}

/// The user whose terminal a process runs in, where that may outlive its connection: the owner of its last ancestor, if none
/// of them serves a connection.
fn owner_of_terminal(pid: i32) -> Option<u32> {
    let (mut pid, mut owner, mut outlives) = (pid, None, false);
    for _ in 0..GENERATIONS {
        if pid <= 1 {
            break;
        }
        let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
        if SERVERS.iter().any(|name| name_of(&stat) == name.as_bytes()) {
            return None;
        }
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let mut entries = environment.split(|b| *b == 0);
        outlives |= ssh_connection(&environment).is_some()
            || entries.any(|entry| OUTLIVING.iter().any(|name| entry.starts_with(name)));
        owner = Some(fs::metadata(format!("/proc/{pid}")).ok()?.uid());
        pid = parent_of(&stat)?;
    }
    owner.filter(|_| outlives)
}

/// The connections of the sessions in which a user has processes, whether they live or not.
fn sessions_of(user: u32) -> impl Iterator<Item = Connection> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let his = processes.filter(move |process| process.metadata().is_ok_and(|about| about.uid() == user));
    his.filter_map(|process| ssh_connection_of(process.file_name().to_str()?.parse().ok()?))
}

/// Sessions that are open now, each with its live connection: the one this process was started from, and remote
/// logins that systemd-logind or utmp know, or that were `kept` from before. To be asked at every start: sessions may be
/// older than the daemon.
pub fn open_sessions(connections: &[Connection], kept: &BTreeSet<IpAddr>) -> Vec<Connection> {
    let starter = ssh_connection_of(std::process::id() as i32);
    sessions_among(connections, starter, &(&recorded_logins() | kept))
}

/// Where users are logged in from, as systemd-logind and utmp have it now. wtmp, which is a history and keeps logins
/// that a crash left open, is not asked. Names of hosts are no addresses and say nothing.
pub fn recorded_logins() -> BTreeSet<IpAddr> {
    let mut peers = logind_peers(Path::new("/run/systemd/sessions"));
    peers.extend(utmp_peers(&fs::read("/run/utmp").unwrap_or_default()));
    peers
}

/// A login record names an address without a port, so every connection from that address stands for its session.
fn sessions_among(
    connections: &[Connection],
    starter: Option<Connection>,
    remote: &BTreeSet<IpAddr>,
) -> Vec<Connection> {
    connections.iter().filter(|c| Some(**c) == starter || remote.contains(&c.peer)).copied().collect()
}

fn ssh_connection_of(pid: i32) -> Option<Connection> {
    let mut pid = pid;
    for _ in 0..GENERATIONS {
        if pid <= 1 {
            return None;
        }
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        if let Some(found) = ssh_connection(&environment) {
            return Some(found);
        }
        pid = parent_of(&fs::read(format!("/proc/{pid}/stat")).ok()?)?;
    }
    None
}

/// `SSH_CONNECTION=peer port address port` (ssh(1)) in an environment block.
fn ssh_connection(environment: &[u8]) -> Option<Connection> {
    let value = environment.split(|b| *b == 0).find_map(|entry| entry.strip_prefix(b"SSH_CONNECTION="))?;
    let mut words = std::str::from_utf8(value).ok()?.split(' ');
    let peer = address(words.next()?)?;
    let peer_port = words.next()?.parse().ok()?;
    let _local_address = words.next()?;
    let local_port = words.next()?.parse().ok()?;
    Some(Connection { local_port, peer, peer_port })
}

/// The second field of /proc/PID/stat, with its parentheses.
fn name_of(stat: &[u8]) -> &[u8] {
    let from = stat.iter().position(|b| *b == b'(').unwrap_or(stat.len());
    let to = stat.iter().rposition(|b| *b == b')').map_or(from, |at| at + 1);
    stat.get(from..to).unwrap_or_default()
}

/// The fourth field of /proc/PID/stat; the second may hold anything, so the rest is counted from its last `)`.
pub(super) fn parent_of(stat: &[u8]) -> Option<i32> {
    let rest = &stat[stat.iter().rposition(|b| *b == b')')? + 1..];
    std::str::from_utf8(rest).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// `REMOTE_HOST` of the sessions that systemd-logind keeps.
fn logind_peers(folder: &Path) -> BTreeSet<IpAddr> {
    let mut peers = BTreeSet::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        // Beside each session's file lies a FIFO, `ID.ref`, which must not be opened.
        if entry.file_type().is_ok_and(|kind| kind.is_file())
            && let Ok(text) = fs::read_to_string(entry.path())
            && text.lines().any(|line| line == "REMOTE=1")
        {
            peers.extend(text.lines().find_map(|line| address(line.strip_prefix("REMOTE_HOST=")?)));
        }
    }
    peers
}

/// Addresses of the logged-in users in a utmp file (utmp(5)).
fn utmp_peers(records: &[u8]) -> BTreeSet<IpAddr> {
    const KIND: usize = offset_of!(libc::utmpx, ut_type);
    const PEER: usize = offset_of!(libc::utmpx, ut_addr_v6);
    let peer = |record: &[u8]| {
        let kind = i16::from_ne_bytes(record[KIND..KIND + 2].try_into().ok()?);
        let bytes: [u8; 16] = record[PEER..PEER + 16].try_into().ok()?;
        // An IPv4 address is in the first word, the others are zero.
        let address = match bytes {
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            bytes => canonical(IpAddr::V6(Ipv6Addr::from(bytes))),
        };
        (kind == libc::USER_PROCESS && !address.is_unspecified()).then_some(address)
    };
    records.chunks_exact(size_of::<libc::utmpx>()).filter_map(peer).collect()
}

fn address(text: &str) -> Option<IpAddr> {
    let bare = text.split_once('%').map_or(text, |(bare, _zone)| bare);
    bare.parse().ok().map(canonical)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::{TcpListener, TcpStream};
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_nearest_ancestor_with_a_connection_tells() {
        let (pid, mut child) = shell("sh ) (x", "::ffff:203.0.113.9 50122 192.0.2.1 22", Inner::Without);
        assert_ne!(pid, child.id() as i32);
        assert_eq!(caller_peer(pid), Some("203.0.113.9".parse().unwrap()));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(caller_peer(0), None);
        assert_eq!(caller_peer(1), None);
    }

    /// The shell that another one starts.
    #[derive(Clone, Copy, PartialEq)]
    enum Inner {
        Child,
        /// Without `SSH_CONNECTION`.
        Without,
        /// Its parent ends at once.
        Orphan,
    }

    /// Starts a shell of a name with `SSH_CONNECTION` and has it start another one: the process id of that one, which goes
    /// on until its input ends.
    fn shell(name: &str, connection: &str, inner: Inner) -> (i32, Child) {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join(name);
        std::os::unix::fs::symlink("/bin/sh", &program).unwrap();
        let script = match inner {
            Inner::Child => "sh -c 'echo $$; read line'; true",
            Inner::Without => "env -u SSH_CONNECTION sh -c 'echo $$; read line'; true",
            Inner::Orphan => "exec 3<&0; sh -c 'echo $$; read line' <&3 &",
        };
        let mut child = Command::new(program)
            .args(["-c", script])
            .env("SSH_CONNECTION", connection)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if inner == Inner::Orphan {
            let input = child.stdin.take();
            child.wait().unwrap();
            child.stdin = input;
        }
        (line.trim().parse().unwrap(), child)
    }

    #[test]
    fn a_terminal_that_outlives_its_connection_may_be_looked_at_from_every_live_session_of_its_owner() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let client =
            TcpStream::connect_timeout(&server.local_addr().unwrap(), Duration::from_secs(5)).unwrap();
        let (from, to) = (client.local_addr().unwrap(), server.local_addr().unwrap());
        let live = format!("{} {} {} {}", from.ip(), from.port(), to.ip(), to.port());
        let old = "203.0.113.9 50122 192.0.2.1 22";
        let gone = "203.0.113.10 50122 192.0.2.1 22";
        let (_, attached) = shell("bash", &live, Inner::Child);
        let (_, left_over) = shell("bash", gone, Inner::Child);
        let (in_tmux, tmux) = shell("tmux", old, Inner::Orphan);
        let (in_sshd, sshd) = shell("sshd", old, Inner::Child);

        let at = |text: &str| text.parse::<IpAddr>().unwrap();
        assert_eq!(caller_peers(in_tmux), [at("127.0.0.1"), at("203.0.113.9")].into());
        assert_eq!(caller_peers(in_sshd), [at("203.0.113.9")].into());
        for mut child in [attached, left_over, tmux, sshd] {
            drop(child.stdin.take());
            child.wait().unwrap();
        }
    }

    #[test]
    fn hostile_environments_say_nothing() {
        for text in
            ["", "SSH_CONNECTION=", "SSH_CONNECTION=host 1 2 3", "SSH_CONNECTION=1.2.3.4 99999 1.1.1.1 22"]
        {
            assert_eq!(ssh_connection(text.as_bytes()), None, "{text}");
        }
        assert_eq!(ssh_connection(b"A=SSH_CONNECTION=1.2.3.4 1 1.1.1.1 22\0SSH_CONNECTION=\xff"), None);
    }

    #[test]
    fn logins_that_the_system_knows() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("1"), "UID=0\nREMOTE=1\nREMOTE_HOST=203.0.113.9\nSERVICE=sshd\n")
            .unwrap();
        fs::write(folder.path().join("2"), "REMOTE=1\nREMOTE_HOST=host.example\n").unwrap();
        fs::write(folder.path().join("3"), "REMOTE=0\nREMOTE_HOST=203.0.113.10\n").unwrap();
        let fifo = folder.path().join("1.ref");
        assert!(Command::new("mkfifo").arg(fifo).status().unwrap().success());
        assert_eq!(logind_peers(folder.path()), ["203.0.113.9".parse().unwrap()].into());

        let record = |kind: i16, address: [u8; 16]| {
            let mut record = vec![0; size_of::<libc::utmpx>()];
            record[offset_of!(libc::utmpx, ut_type)..][..2].copy_from_slice(&kind.to_ne_bytes());
            record[offset_of!(libc::utmpx, ut_addr_v6)..][..16].copy_from_slice(&address);
            record
        };
        let v4 = [203, 0, 113, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let v6 = "2001:db8::7".parse::<Ipv6Addr>().unwrap().octets();
        let mut file = record(libc::USER_PROCESS, v4);
        file.extend(record(libc::DEAD_PROCESS, [9; 16]));
        file.extend(record(libc::USER_PROCESS, v6));
        file.extend(record(libc::USER_PROCESS, [0; 16]));
        file.extend([1, 2, 3]);
        let expected = ["203.0.113.7".parse().unwrap(), "2001:db8::7".parse().unwrap()].into();
        assert_eq!(utmp_peers(&file), expected);
    }

    #[test]
    fn only_what_is_connected_counts() {
        let c =
            |peer: &str, port| Connection { local_port: 22, peer: peer.parse().unwrap(), peer_port: port };
        let connections = [c("203.0.113.9", 1), c("203.0.113.9", 2), c("198.51.100.1", 3), c("192.0.2.7", 4)];
        let remote = ["203.0.113.9".parse().unwrap(), "203.0.113.200".parse().unwrap()].into();
        let found = sessions_among(&connections, Some(connections[3]), &remote);
        assert_eq!(found, [connections[0], connections[1], connections[3]]);
        assert_eq!(sessions_among(&connections, Some(c("192.0.2.99", 4)), &BTreeSet::new()), []);
    }
}
