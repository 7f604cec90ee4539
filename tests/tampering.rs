//! What others do to guard's side of the kernel under a running daemon is put right and counted.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use guard_common::{ABI, map};
use harness::{
    Arena, Daemon, GUARDED_V4, GUARDED_V6, Metrics, Options, attacker_v4, attacker_v6, fill_map,
    missing_for_xdp_tests, pings, poll_until, put_map_entry, skip_if, take_map_entry,
};

/// Time in which a difference must be put right, and a second for a slow machine.
const REPAIR: Duration = Duration::from_secs(6);

#[test]
fn pins_removed_under_a_running_daemon_are_back_and_hold_after_its_death() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let mut daemon = Daemon::start(&arena.host, Options::xdp());
    daemon.json(&format!("ban {} {}", attacker_v4(0), attacker_v6(0)));
    let before = pins(daemon.bpffs());
    assert!(before.iter().any(|pin| pin.starts_with("links")), "{before:?}");

    fs::remove_dir_all(daemon.bpffs().join(format!("v{ABI}"))).unwrap();
    assert!(!pings(&arena.outside, attacker_v4(0), GUARDED_V4), "the daemon holds what it needs");
    poll_until(REPAIR, "the pins are back", || (pins(daemon.bpffs()) == before).then_some(()));
    poll_until(REPAIR, "the repair is counted", || (drift(&daemon, "attachments") > 0).then_some(()));

    daemon.kill();
    assert!(!pings(&arena.outside, attacker_v4(0), GUARDED_V4));
    assert!(!pings(&arena.outside, attacker_v6(0), GUARDED_V6));
    daemon.start_again();
    assert!(daemon.drops(attacker_v4(0)) && daemon.drops(attacker_v6(0)));
    assert!(pings(&arena.outside, attacker_v4(1), GUARDED_V4));
}

#[test]
fn a_daemon_that_finds_its_maps_gone_makes_them_anew_from_the_store() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let mut daemon = Daemon::start(&arena.host, Options::xdp());
    daemon.json(&format!("ban {} 203.0.113.12/31", attacker_v6(0)));
    daemon.stop();
    fs::remove_dir_all(daemon.bpffs()).unwrap();
    poll_until(REPAIR, "without pins nothing is enforced", || {
        pings(&arena.outside, attacker_v6(0), GUARDED_V6).then_some(())
    });

    daemon.start_again();
    daemon.await_drop(attacker_v6(0));
    daemon.await_drop(attacker_v4(2));
    assert!(!pings(&arena.outside, attacker_v6(0), GUARDED_V6));
    assert!(!pings(&arena.outside, attacker_v4(2), GUARDED_V4));
    assert!(pings(&arena.outside, attacker_v4(1), GUARDED_V4));
}

#[test]
fn entries_that_others_delete_add_and_change_are_put_right_and_counted() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let daemon = Daemon::start(&arena.host, Options::xdp());
    let (deleted, changed, added) = (attacker_v4(0), attacker_v6(0), attacker_v4(1));
    daemon.json(&format!("ban {deleted} {changed} 198.51.100.0/24"));
    let hosts4 = pin(&daemon, map::HOSTS4);
    let hosts6 = pin(&daemon, map::HOSTS6);

    let mut entry = take_map_entry(&hosts4, &key4(deleted)).unwrap();
    assert!(pings(&arena.outside, deleted, GUARDED_V4), "it is gone from the kernel");
    let start = Instant::now();
    put_map_entry(&hosts4, &key4(added), &mut entry);
    // The end comes first in an entry: this one has been over since the machine started.
    let mut short = take_map_entry(&hosts6, &key6(changed)).unwrap();
    short[..8].fill(0);
    put_map_entry(&hosts6, &key6(changed), &mut short);

    poll_until(REPAIR, "all three are put right", || {
        let verdict = |address| daemon.json(&format!("check {address}"))["verdict"]["entries"].clone();
        let gone = verdict(added).as_array()?.is_empty();
        (gone && daemon.drops(deleted) && daemon.drops(changed)).then_some(())
    });
    assert!(start.elapsed() < REPAIR, "after {:?}", start.elapsed());
    assert!(!pings(&arena.outside, deleted, GUARDED_V4));
    assert!(!pings(&arena.outside, changed, GUARDED_V6));
    assert!(pings(&arena.outside, added, GUARDED_V4));
    poll_until(REPAIR, "each is counted", || {
        let counted = ["missing", "foreign", "changed"].map(|kind| drift(&daemon, kind));
        (counted == [1, 1, 1]).then_some(())
    });
}

/// The kernel refuses in the middle of a batch: a map that others keep full takes the first of it, and no more.
#[test]
fn bans_that_a_full_map_does_not_take_are_repeated_until_they_hold() {
    /// Bans of one command, more than the map has room for.
    const BATCH: u8 = 20;
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let daemon = Daemon::start(&arena.host, Options::xdp());
    daemon.json(&format!("ban {}", attacker_v4(0)));
    let hosts4 = pin(&daemon, map::HOSTS4);
    let value = take_map_entry(&hosts4, &key4(attacker_v4(0))).unwrap();
    let stop = AtomicBool::new(false);
    let batches = thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                fill_map(&hosts4, (0x0B00_0000_u32..).map(u32::to_be_bytes), &mut value.clone());
            }
        });
        let mut batches = 0_u8;
        let seen = catch_unwind(AssertUnwindSafe(|| {
            poll_until(REPAIR, "the failure is a problem in status", || {
                let more: Vec<String> = (1..=BATCH).map(|n| format!("198.51.{batches}.{n}")).collect();
                assert!(batches < 100);
                batches += 1;
                daemon.ctl(&format!("ban {}", more.join(" ")));
                let status = daemon.json("status");
                let problems = status["problems"].as_array()?;
                let told = problems
                    .iter()
                    .any(|text| text.as_str().is_some_and(|text| text.contains("guard_hosts4")));
                told.then_some(())
            });
        }));
        stop.store(true, Ordering::Relaxed);
        seen.unwrap_or_else(|panic| resume_unwind(panic));
        batches
    });

    poll_until(Duration::from_secs(20), "the kernel equals the table, and the problem is over", || {
        let status = daemon.json("status");
        let wanted = u64::from(batches) * u64::from(BATCH) + 1;
        let is_equal = status["bans"] == wanted && status["enforcer"]["maps"][0]["entries"] == wanted;
        (is_equal && status["problems"] == serde_json::json!([])).then_some(())
    });
    let metrics = Metrics::scrape(&arena.host, "127.0.0.1:19187".parse().unwrap()).unwrap();
    assert!(metrics.count("guard_enforcer_errors_total") > 0);
    for batch in 0..batches {
        for host in [1, BATCH / 2, BATCH] {
            assert!(daemon.drops(IpAddr::from([198, 51, batch, host])), "198.51.{batch}.{host}");
        }
    }
    assert!(!pings(&arena.outside, attacker_v4(0), GUARDED_V4));
    assert!(pings(&arena.outside, attacker_v4(1), GUARDED_V4));
    let held = |address: [u8; 4]| {
        daemon.json(&format!("check {}", IpAddr::from(address)))["verdict"]["entries"].clone()
    };
    assert_eq!(held([11, 0, 0, 9]), serde_json::json!([]), "what others put in is out");
}

/// What is pinned below a folder, from its version on.
fn pins(bpffs: &Path) -> Vec<PathBuf> {
    let version = bpffs.join(format!("v{ABI}"));
    let list = |folder: &'static str| {
        let entries = fs::read_dir(version.join(folder)).into_iter().flatten().flatten();
        entries.map(|entry| Path::new(folder).join(entry.file_name())).collect::<Vec<_>>()
    };
    let mut pins: Vec<PathBuf> = [list("links"), list("maps")].concat();
    pins.sort();
    pins
}

fn pin(daemon: &Daemon<'_>, name: &str) -> PathBuf {
    daemon.bpffs().join(format!("v{ABI}/maps/{name}"))
}

fn key4(address: IpAddr) -> [u8; 4] {
    let IpAddr::V4(address) = address else { panic!("{address} is not IPv4") };
    Ipv4Addr::octets(&address)
}

fn key6(address: IpAddr) -> [u8; 16] {
    let IpAddr::V6(address) = address else { panic!("{address} is not IPv6") };
    Ipv6Addr::octets(&address)
}

fn drift(daemon: &Daemon<'_>, kind: &str) -> u64 {
    daemon.json("status")["drift"][kind].as_u64().unwrap()
}
