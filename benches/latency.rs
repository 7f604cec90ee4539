//! From a line in a log file to the first dropped packet, by the real daemon.

use std::fs::File;
use std::time::Duration;

use anyhow::Context as _;
use harness::{Arena, Daemon, Options};

use crate::attack;
use crate::table::{Section, verdict};

/// Attackers in each network, one after the other.
const ATTACKERS: u8 = 250;
/// Of these, the first in each network are not counted: caches and link addresses are cold.
const WARM_UP: usize = 10;

/// The distribution for each backend.
pub fn run() -> anyhow::Result<Section> {
    let columns = ["line written → address dropped", "p50", "p99", "max", "goal (p50, p99)", ""];
    let mut section = Section::new("From line to drop", &columns);
    for (name, options) in [("XDP", Options::xdp()), ("nftables", Options::nftables())] {
        let mut times = measure(options).with_context(|| name.to_owned())?;
        times.sort_unstable();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        let met = at(0.5) <= Duration::from_micros(500) && at(0.99) <= Duration::from_millis(2);
        section.row([
            name.to_owned(),
            milliseconds(at(0.5)),
            milliseconds(at(0.99)),
            milliseconds(at(1.0)),
            "0.5 ms, 2 ms".to_owned(),
            verdict(met).to_owned(),
        ]);
    }
    section.row(["fail2ban, inotify", "720 ms", "", "980 ms", "", ""]);
    section.row(["CrowdSec", "", "", "10 s", "", ""]);
    section.note(
        "Six failed logins of a new address are appended to a log file with one write. A datagram from that address is \
         sent every few microseconds; the time ends when the first one that does not arrive is sent. \
         Detection, decision, and the kernel's update lie in between, and the wake-up of a daemon that slept.",
    );
    Ok(section)
}

fn measure(options: Options) -> anyhow::Result<Vec<Duration>> {
    let arena = Arena::new();
    attack::route(&arena);
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("auth.log");
    let mut log = File::create(&path)?;
    // The attackers are neighbours, and each is to be banned for himself.
    let options = Options { more: "[decide]\nprefix_hosts = 0\n".to_owned(), ..options };
    let _daemon = Daemon::start(&arena.host, options.file(&path));
    let receiver = attack::receiver(&arena)?;
    let mut times = Vec::new();
    for (number, attacker) in attack::attackers(ATTACKERS).enumerate() {
        let time = attack::until_dropped(&arena, attacker, &mut log, &receiver)?;
        if number % usize::from(ATTACKERS) >= WARM_UP {
            times.push(time);
        }
    }
    Ok(times)
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1000.0)
}
