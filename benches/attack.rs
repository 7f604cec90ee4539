//! An attacker on the wire and in the log: how long his packets still come through.

use std::fs::File;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::bail;
use guard::time::Wall;
use harness::{Arena, GUARDED_V4};

/// Where probes go on the guarded host.
const PORT: u16 = 4000;
/// A probe that has not arrived after this long was dropped: delivery takes about 5 µs, at the end of the sender's own
/// system call.
const LOST: Duration = Duration::from_micros(200);
/// After this, the attacker was not banned at all.
const LIMIT: Duration = Duration::from_secs(10);
/// Between two attackers the daemon goes to sleep, as it does on a quiet machine.
const PAUSE: Duration = Duration::from_millis(5);
/// Failed attempts in the one write that makes an attacker known: above the default threshold.
const ATTEMPTS: u32 = 6;

/// Addresses of attackers: two documentation networks (RFC 5737).
pub fn attackers(count: u8) -> impl Iterator<Item = Ipv4Addr> {
    (0..2).flat_map(move |net| {
        let [a, b, c] = if net == 0 { [192, 0, 2] } else { [198, 51, 100] };
        (1..=count).map(move |host| Ipv4Addr::new(a, b, c, host))
    })
}

/// Makes the networks of [`attackers`] local to the outside, and known on the guarded host.
pub fn route(arena: &Arena) {
    for net in ["192.0.2.0/24", "198.51.100.0/24"] {
        arena.outside.ip(&format!("route add local {net} dev lo"));
        arena.host.ip(&format!("route add {net} dev {}", Arena::INTERFACE));
    }
}

/// Receives the probes of every attacker.
pub fn receiver(arena: &Arena) -> anyhow::Result<UdpSocket> {
    let socket = arena.host.enter(|| UdpSocket::bind((GUARDED_V4, PORT)))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Writes an attacker's failed attempts into the log and sends probes from his address until none arrives. Answers
/// the time from before the write until the first probe that was dropped was sent.
pub fn until_dropped(
    arena: &Arena,
    attacker: Ipv4Addr,
    log: &mut File,
    receiver: &UdpSocket,
) -> anyhow::Result<Duration> {
    let probe = arena.outside.enter(|| -> std::io::Result<_> {
        let socket = UdpSocket::bind(SocketAddr::new(IpAddr::V4(attacker), 0))?;
        socket.connect((GUARDED_V4, PORT))?;
        Ok(socket)
    })?;
    let mut number = 0;
    // The first probe may wait for a link address.
    let first = Instant::now();
    while !arrives(&probe, receiver, &mut number)? {
        if first.elapsed() > LIMIT {
            bail!("probes of {attacker} do not arrive");
        }
    }
    thread::sleep(PAUSE);
    let lines = lines(attacker);
    let start = Instant::now();
    log.write_all(lines.as_bytes())?;
    loop {
        let sent = start.elapsed();
        // Twice, so that a single late one is not taken for a drop.
        if !arrives(&probe, receiver, &mut number)? && !arrives(&probe, receiver, &mut number)? {
            return Ok(sent);
        }
        if sent > LIMIT {
            bail!("{attacker} is not dropped within {LIMIT:?}");
        }
    }
}

/// Sends one probe and sees whether it comes out at the other end.
fn arrives(probe: &UdpSocket, receiver: &UdpSocket, number: &mut u64) -> anyhow::Result<bool> {
    *number += 1;
    probe.send(&number.to_ne_bytes())?;
    let (sent, mut datagram) = (Instant::now(), [0; 8]);
    while sent.elapsed() < LOST {
        match receiver.recv(&mut datagram) {
            Ok(_) if u64::from_ne_bytes(datagram) == *number => return Ok(true),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(false)
}

/// What sshd writes about guesses, each from a connection of its own.
fn lines(attacker: Ipv4Addr) -> String {
    let stamp = Wall::now().to_string().replace('Z', ".000000+00:00");
    let line = |n: u32| {
        let (pid, port) = (u32::from(attacker.octets()[3]) * 16 + n + 1000, 40_000 + n);
        format!(
            "{stamp} host sshd[{pid}]: Failed password for invalid user admin from {attacker} port {port} ssh2\n"
        )
    };
    (0..ATTEMPTS).map(line).collect()
}
