//! guard stopping a password-guessing attack, live: real sshd, real ssh clients, real packets, in namespaces.
//!
//! `cargo xtask demo` builds and runs it. Attackers of both families guess until they are cut off; a neighbour
//! mistypes; the administrator, logged in by key, fails too. What is shown comes from guardctl and from packets that
//! are sent and counted independently of guard. At the end three claims are put to the test.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for a terminal"
)]

mod latency;
mod screen;

use std::net::IpAddr;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use harness::{ADMIN, Arena, Daemon, Options, Sshd, attacker_v4, attacker_v6, missing_for_network_tests};

use latency::Latency;
use screen::Screen;

/// Accounts that are guessed.
const ACCOUNTS: [&str; 4] = ["root", "admin", "oracle", "git"];
/// The attack is over by then, or something is wrong.
const LIMIT: Duration = Duration::from_secs(40);
/// How often the view is drawn.
const INTERVAL: Duration = Duration::from_millis(250);

/// Someone outside, and what they did so far.
#[derive(Debug)]
struct Person {
    address: IpAddr,
    role: Role,
    guesses: AtomicU32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Guesses until cut off.
    Attacker,
    /// Mistypes twice.
    Neighbour,
    /// Logged in by key, and fails with passwords all the same.
    Administrator,
}

fn main() -> ExitCode {
    if let Some(reason) = missing_for_network_tests() {
        eprintln!("the demo cannot run here: {reason}");
        return ExitCode::FAILURE;
    }
    let nftables = std::env::args().any(|argument| argument == "--nftables");
    let arena = Arena::new();
    let sshd = Sshd::with_rsyslog(&arena);
    let options = if nftables { Options::nftables() } else { Options::xdp() };
    let daemon = Daemon::start(&arena.host, options.file(sshd.log_file()));
    let people = people();
    let watched: Vec<IpAddr> =
        people.iter().filter(|p| p.role == Role::Attacker).map(|p| p.address).collect();
    let latency = Latency::start(&arena, sshd.log_file(), &watched);
    let mut screen = Screen::new();

    let all_cut = thread::scope(|scope| {
        for person in &people {
            scope.spawn(|| person.act(&arena, &sshd));
        }
        let start = Instant::now();
        loop {
            let cut = screen.draw(&daemon, &people, &latency, start.elapsed());
            if cut == watched.len() || start.elapsed() > LIMIT {
                // A last picture with the counters of the packets that still come.
                thread::sleep(Duration::from_secs(1));
                screen.draw(&daemon, &people, &latency, start.elapsed());
                break cut == watched.len();
            }
            thread::sleep(INTERVAL);
        }
    });
    if !all_cut {
        eprintln!("an attacker was not cut off within {LIMIT:?}:\n{}", daemon.log());
    }
    let proven = prove(&arena, &sshd, &daemon);
    if all_cut && proven { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn people() -> Vec<Person> {
    let person = |address, role| Person { address, role, guesses: AtomicU32::new(0) };
    vec![
        person(attacker_v4(0), Role::Attacker),
        person(attacker_v4(1), Role::Attacker),
        person(attacker_v4(2), Role::Attacker),
        person(attacker_v6(0), Role::Attacker),
        person(attacker_v6(1), Role::Attacker),
        person(attacker_v4(6), Role::Neighbour),
        person(ADMIN, Role::Administrator),
    ]
}

impl Person {
    /// Does what the role does, until done or cut off.
    fn act(&self, arena: &Arena, sshd: &Sshd) {
        let client = sshd.client(arena, self.address);
        let _session = (self.role == Role::Administrator).then(|| client.session());
        let times = match self.role {
            Role::Attacker => usize::MAX,
            Role::Neighbour => 2,
            Role::Administrator => 8,
        };
        for account in ACCOUNTS.iter().cycle().take(times) {
            if !client.guess(account) {
                return;
            }
            self.guesses.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Puts the claims to the test with new connections.
fn prove(arena: &Arena, sshd: &Sshd, daemon: &Daemon<'_>) -> bool {
    let claims = [
        ("the banned IPv4 address gets no answer", !sshd.client(arena, attacker_v4(0)).guess("root")),
        ("the banned IPv6 address gets no answer", !sshd.client(arena, attacker_v6(0)).guess("root")),
        ("its neighbour reaches the server", sshd.client(arena, attacker_v4(5)).guess("root")),
        ("the administrator still logs in", sshd.client(arena, ADMIN).log_in()),
        ("the kernel itself says so", daemon.drops(attacker_v4(0)) && !daemon.drops(ADMIN)),
    ];
    println!();
    for (claim, holds) in claims {
        println!("  {} {claim}", if holds { "✓" } else { "✗ NOT TRUE:" });
    }
    claims.iter().all(|(_, holds)| *holds)
}
