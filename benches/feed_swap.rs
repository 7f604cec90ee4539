//! A feed of a million is swapped for another while packets come in: what comes through, what is lost, and how long a new
//! ban takes meanwhile.

use std::fmt::Write as _;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use harness::{Arena, Daemon, FeedServer, GUARDED_V4, Namespace, Options, attacker_v4};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;

use crate::attack;
use crate::table::{Section, verdict};

/// Entries of each list. Every other one differs between the two.
const ENTRIES: u32 = 1_000_000;
/// Packets a second, half of them from a source that both lists have, half from one that none has.
const RATE: u32 = 100_000;
/// They are sent in bursts, this far apart.
const BURST: Duration = Duration::from_millis(1);
/// Room for packets that wait for who counts them: more than a second's.
const BUFFER: usize = 64 << 20;
/// New attackers before the swap begins.
const BEFORE: usize = 100;
/// Between two new attackers during the swap.
const PAUSE: Duration = Duration::from_millis(20);
/// A new ban that takes longer is a stall.
const STALL: Duration = Duration::from_millis(100);
/// How long a list may take to be in force.
const LIMIT: Duration = Duration::from_secs(120);
/// What the daemon logs when the table has followed a list.
const SWAPPED: &str = "feed swapped";

/// The swap under load.
pub fn run() -> anyhow::Result<Section> {
    let arena = Arena::new();
    attack::route(&arena);
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("auth.log");
    let mut log = File::create(&path)?;
    let (banned, clean) = (attacker_v4(0), attacker_v4(7));
    let server = FeedServer::new(&arena.host, list(0, banned));
    let more = format!(
        "[decide]\nprefix_hosts = 0\n[[feed]]\nname = \"swapped\"\nurl = \"{}\"\nevery = \"1d\"\nmax_entries = 2000000\n",
        server.url()
    );
    let daemon = Daemon::start(&arena.host, Options { more, ..Options::xdp().file(&path) });
    until(|| swaps(&daemon) == 1).context("the first list is not in force")?;
    ensure!(daemon.drops(old(1)) && daemon.drops(banned), "the first list is in force");
    server.set(list(1, banned));

    let (closed, open) = (SocketAddr::new(GUARDED_V4, 9), SocketAddr::new(GUARDED_V4, 10));
    let passed = Receiver::start(&arena.host, closed)?;
    let arrived = Receiver::start(&arena.host, open)?;
    let sender = Sender::start(&arena.outside, [(banned, closed), (clean, open)])?;
    let receiver = attack::receiver(&arena)?;
    let mut attackers = attack::attackers(250);
    let mut before = Vec::new();
    for attacker in attackers.by_ref().take(BEFORE) {
        before.push(attack::until_dropped(&arena, attacker, &mut log, &receiver)?);
    }
    let (mut meanwhile, begun) = (Vec::new(), Instant::now());
    let took = thread::scope(|scope| {
        let swap = scope.spawn(|| {
            daemon.json("feed refresh swapped");
            until(|| swaps(&daemon) == 2).map(|()| begun.elapsed())
        });
        while !swap.is_finished() {
            // A swap that outlasts all of them is waited for.
            if let Some(attacker) = attackers.next() {
                meanwhile.push(attack::until_dropped(&arena, attacker, &mut log, &receiver)?);
            }
            thread::sleep(PAUSE);
        }
        swap.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
    .context("the second list is not in force")?;
    let ([of_banned, of_clean], time) = sender.stop();
    let (passed, arrived) = (passed.stop(), arrived.stop());
    ensure!(
        daemon.drops(banned) && daemon.drops(new(1)) && !daemon.drops(old(1)),
        "the second list is in force"
    );

    let rate = f64::from(u32::try_from(of_banned + of_clean)?) / time.as_secs_f64();
    let lost = of_clean.saturating_sub(arrived);
    let columns = ["", "measured", "goal", ""];
    let mut section = Section::new("A feed of a million swapped under load", &columns);
    let mut row = |name: &str, value: String, goal: &str, met: Option<bool>| {
        section.row([name, &value, goal, met.map_or("", verdict)]);
    };
    let enough = f64::from(RATE) * 0.95;
    row("packets a second", format!("{rate:.0}"), &format!("{RATE}"), Some(rate >= enough));
    row("from a source on both lists, passed", format!("{passed} of {of_banned}"), "0", Some(passed == 0));
    row("from a source on none, lost", format!("{lost} of {of_clean}"), "0", Some(lost == 0));
    row("from the command until the new list is in force", format!("{took:.2?}"), "", None);
    for (name, mut times) in [("before", before), ("meanwhile", meanwhile)] {
        times.sort_unstable();
        let Some(longest) = times.last().copied() else { bail!("nobody was banned {name}") };
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        let goal = format!("max {STALL:?}");
        row(
            &format!("line written → address dropped, {name}: p50, p99, max of {}", times.len()),
            format!("{:.2?}, {:.2?}, {longest:.2?}", at(0.5), at(0.99)),
            &goal,
            Some(longest <= STALL),
        );
    }
    section.note(format!(
        "Lists of {ENTRIES} IPv4 hosts, of which every other one differs. Packets come in bursts {BURST:?} apart, from before the \
         swap until it is over; beside them new attackers are banned one after the other, as in \"From line to drop\"."
    ));
    section.note("Daemon, web server, senders and receivers share the processors.");
    Ok(section)
}

/// The text of an edition.
fn list(edition: u32, both: IpAddr) -> String {
    let mut text = format!("{both}\n");
    for n in 0..ENTRIES {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", entry(n, edition));
    }
    text
}

fn entry(n: u32, edition: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x1000_0000 + n * 8 + n % 2 * edition)
}

/// What the first list alone has, for an odd number.
fn old(n: u32) -> IpAddr {
    entry(n, 0).into()
}

/// What the second list alone has, for an odd number.
fn new(n: u32) -> IpAddr {
    entry(n, 1).into()
}

fn swaps(daemon: &Daemon<'_>) -> usize {
    daemon.log().matches(SWAPPED).count()
}

fn until(is_so: impl Fn() -> bool) -> anyhow::Result<()> {
    let start = Instant::now();
    while !is_so() {
        ensure!(start.elapsed() < LIMIT, "not within {LIMIT:?}");
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Sends at a steady rate, in turns from each source to its own port.
struct Sender {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<([u64; 2], Duration)>,
}

impl Sender {
    fn start(outside: &Namespace, ways: [(IpAddr, SocketAddr); 2]) -> anyhow::Result<Self> {
        let sockets = outside.enter(|| -> std::io::Result<_> {
            let open = |(from, to): (IpAddr, SocketAddr)| {
                let socket = UdpSocket::bind(SocketAddr::new(from, 0))?;
                socket.connect(to)?;
                Ok::<_, std::io::Error>(socket)
            };
            Ok([open(ways[0])?, open(ways[1])?])
        })?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let (start, mut sent) = (Instant::now(), [0; 2]);
            let burst = u64::from(RATE) * BURST.as_micros() as u64 / 2_000_000;
            for number in 1_u32.. {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                for _ in 0..burst {
                    for (socket, sent) in sockets.iter().zip(&mut sent) {
                        *sent += u64::from(socket.send(b"guard").is_ok());
                    }
                }
                // One that is late sends the next bursts at once.
                thread::sleep((BURST * number).saturating_sub(start.elapsed()));
            }
            (sent, start.elapsed())
        });
        Ok(Self { stop, thread })
    }

    /// Packets sent from each source, and in what time.
    fn stop(self) -> ([u64; 2], Duration) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Counts what arrives at an address.
struct Receiver {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<u64>,
}

impl Receiver {
    fn start(host: &Namespace, at: SocketAddr) -> anyhow::Result<Self> {
        let socket = host.enter(|| UdpSocket::bind(at))?;
        socket.set_nonblocking(true)?;
        set_socket_recv_buffer_size_force(&socket, BUFFER)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let (mut count, mut datagram) = (0, [0; 8]);
            loop {
                let is_last = stopped.load(Ordering::Relaxed);
                while socket.recv(&mut datagram).is_ok() {
                    count += 1;
                }
                if is_last {
                    return count;
                }
                thread::sleep(Duration::from_millis(10));
            }
        });
        Ok(Self { stop, thread })
    }

    /// How many have arrived.
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}
