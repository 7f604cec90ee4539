//! What the real daemon keeps in memory, and what it does when there is nothing to do.

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;
use harness::{Arena, Daemon, Options};
use rustix::process::Pid;

use crate::cost::{mib, processor_time, resident};
use crate::table::{Section, verdict};

/// Targets in one call of guardctl: well below the limit for arguments.
const CALL: u32 = 5000;
/// How long idleness is watched.
const IDLE: Duration = Duration::from_secs(20);
/// From the start of the process until every stored ban is in force.
const RESTORE: Duration = Duration::from_millis(1500);
/// How long a start may take at all.
const LIMIT: Duration = Duration::from_secs(60);
/// What the daemon logs when every stored ban is back.
const RESTORED: &str = "bans restored";
const MIB: u64 = 1 << 20;

/// Resident memory idle and with many bans, and idle processor time.
pub fn run() -> anyhow::Result<Section> {
    let mut section =
        Section::new("Resident memory and idle cost", &["", "measured", "without files", "goal", ""]);
    let arena = Arena::new();
    let mut daemon = Daemon::start(&arena.host, Options::xdp());
    let pid = daemon.process().pid();
    row(&mut section, "idle", pid, 10 * MIB)?;
    let (time, met) = idle(pid)?;
    section.row([format!("processor time, idle for {IDLE:?}"), time, String::new(), "0.1 %".into(), met]);
    let mut banned = 0;
    for (count, goal) in [(100_000, 25 * MIB), (1_000_000, 120 * MIB)] {
        let start = Instant::now();
        while banned < count {
            ban(&daemon, banned..banned + CALL)?;
            banned += CALL;
        }
        section.note(format!("guardctl brought the daemon to {count} bans within {:.1?}.", start.elapsed()));
        row(&mut section, &format!("{count} bans"), pid, goal)?;
    }
    let (time, met) = idle(pid)?;
    section.row([format!("processor time, 1M bans, {IDLE:?}"), time, String::new(), "0.1 %".into(), met]);

    for (name, pinned) in [("pins present", true), ("pins absent", false)] {
        daemon.stop();
        if !pinned {
            std::fs::remove_dir_all(daemon.bpffs())?;
        }
        let (answers, restored) = restart(&mut daemon)?;
        let met = verdict(restored <= RESTORE).to_owned();
        section.row([
            format!("start with 1M bans in the store, {name}: until restored"),
            format!("{restored:.2?}"),
            String::new(),
            format!("{RESTORE:.1?}"),
            met,
        ]);
        let text = format!("the same, {name}: until guardctl is answered");
        section.row([text, format!("{answers:.2?}"), String::new(), String::new(), String::new()]);
    }
    row(&mut section, "1M bans after the restart", daemon.process().pid(), 120 * MIB)?;
    section.row(["fail2ban, idle", "22–37 MiB", "", "", ""]);
    section.row(["CrowdSec, idle", "157 MB", "", "", ""]);
    section.note("The kernel's maps are not part of a process's memory; an entry of the hash of IPv4 hosts takes about 100 bytes.");
    section
        .note("\"Without files\" leaves out the program's text, which is shared with every other run of it.");
    Ok(section)
}

fn row(section: &mut Section, name: &str, pid: Pid, goal: u64) -> anyhow::Result<()> {
    let memory = resident(pid)?;
    let met = verdict(memory.all <= goal).to_owned();
    section.row([name.to_owned(), mib(memory.all), mib(memory.anonymous), mib(goal), met]);
    Ok(())
}

fn idle(pid: Pid) -> anyhow::Result<(String, String)> {
    // What was asked before may still be written to the store.
    thread::sleep(Duration::from_secs(3));
    let before = processor_time(pid)?;
    thread::sleep(IDLE);
    let share = processor_time(pid)?.saturating_sub(before).as_secs_f64() / IDLE.as_secs_f64() * 100.0;
    Ok((format!("{share:.3} %"), verdict(share < 0.1).to_owned()))
}

/// Starts the daemon again. Answers how long it took until it answered and until all bans were restored.
fn restart(daemon: &mut Daemon<'_>) -> anyhow::Result<(Duration, Duration)> {
    let times = |log: &str| log.matches(RESTORED).count();
    let before = times(&daemon.log());
    let start = Instant::now();
    daemon.spawn_again();
    let daemon = &*daemon;
    let until = |is_so: &dyn Fn() -> bool| -> anyhow::Result<Duration> {
        while !is_so() {
            ensure!(start.elapsed() < LIMIT, "not within {LIMIT:?} of the start:\n{}", daemon.log());
            thread::sleep(Duration::from_millis(1));
        }
        Ok(start.elapsed())
    };
    thread::scope(|scope| {
        let restored = scope.spawn(|| until(&|| times(&daemon.log()) > before));
        let answers = until(&|| daemon.ctl("--json status").code == 0)?;
        let restored = restored.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok((answers, restored))
    })
}

fn ban(daemon: &Daemon<'_>, numbers: std::ops::Range<u32>) -> anyhow::Result<()> {
    let targets: Vec<String> =
        numbers.map(|n| Ipv4Addr::from(0x2c00_0000 + n.wrapping_mul(241)).to_string()).collect();
    let reply = daemon.ctl(&format!("ban --for 1d {}", targets.join(" ")));
    ensure!(reply.code == 0, "guardctl ban: {} {}", reply.output, reply.errors);
    Ok(())
}
