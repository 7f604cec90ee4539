//! A state folder in trouble: bans hold all the same, people are told, and nothing is lost once it is mended.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use harness::{
    Arena, Daemon, GUARDED_V4, LogFile, Metrics, Options, SmallDisk, attacker_v4, missing_for_xdp_tests,
    pings, poll_until, skip_if,
};
use serde_json::Value;

/// The size of a disk that is soon full.
const SMALL: u32 = 2 << 20;

#[test]
fn a_full_disk_costs_no_ban() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let log = LogFile::new();
    let mut daemon = Daemon::start(&arena.host, Options::xdp().file(log.path()));
    daemon.stop();
    let disk = SmallDisk::mount(&state(&daemon), SMALL);
    daemon.start_again();
    assert_eq!(problems(&daemon), "[]");

    disk.fill();
    log.guesses(attacker_v4(0), 5);
    daemon.await_drop(attacker_v4(0));
    assert!(!pings(&arena.outside, attacker_v4(0), GUARDED_V4));
    assert_eq!(daemon.ctl(&format!("ban {}", attacker_v4(1))).code, 0, "by hand too");
    assert_told(&daemon, "no space is left");

    disk.free();
    await_well(&arena, &daemon);
    log.guesses(attacker_v4(2), 2);
    assert_back_after_a_reboot(&arena, &mut daemon, &[attacker_v4(0), attacker_v4(1)]);
}

#[test]
fn a_read_only_disk_costs_no_ban() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let log = LogFile::new();
    let mut daemon = Daemon::start(&arena.host, Options::xdp().file(log.path()));
    daemon.stop();
    let disk = SmallDisk::mount(&state(&daemon), SMALL);
    daemon.start_again();
    daemon.json(&format!("ban {}", attacker_v4(0)));
    daemon.stop();
    disk.set_read_only(true);

    daemon.start_again();
    daemon.await_drop(attacker_v4(0));
    log.guesses(attacker_v4(1), 5);
    daemon.await_drop(attacker_v4(1));
    assert!(!pings(&arena.outside, attacker_v4(1), GUARDED_V4));
    assert_told(&daemon, "cannot be written");

    disk.set_read_only(false);
    log.guesses(attacker_v4(2), 5);
    daemon.await_drop(attacker_v4(2));
    await_well(&arena, &daemon);
    assert_back_after_a_reboot(&arena, &mut daemon, &[attacker_v4(0), attacker_v4(1), attacker_v4(2)]);
}

#[test]
fn garbage_in_the_state_opens_no_gap() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let mut daemon = Daemon::start(&arena.host, Options::xdp());
    let banned = attacker_v4(0);
    daemon.json(&format!("ban {banned}"));
    daemon.kill();
    let file = state(&daemon).join("guard.db");
    for beside in ["guard.db-wal", "guard.db-shm"] {
        let _ = fs::remove_file(file.with_file_name(beside));
    }
    fs::write(&file, "garbage ".repeat(4096)).unwrap();
    assert!(!pings(&arena.outside, banned, GUARDED_V4));

    daemon.start_again();
    assert!(!pings(&arena.outside, banned, GUARDED_V4));
    await_restored(&daemon);
    assert!(daemon.drops(banned));
    assert!(!pings(&arena.outside, banned, GUARDED_V4), "also once both are equal");
    assert_eq!(targets(&daemon), [banned.to_string()], "taken over from the kernel");
    assert_told(&daemon, "guard.db.damaged-");
    assert!(!pings(&arena.outside, banned, GUARDED_V4));
    assert!(pings(&arena.outside, attacker_v4(1), GUARDED_V4));
}

/// How long a decided ban may be in the kernel only.
const DURABLE: Duration = Duration::from_millis(50);

#[test]
fn a_ban_outlives_a_kill_fifty_milliseconds_after_the_kernel_has_it() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let log = LogFile::new();
    let mut daemon = Daemon::start(&arena.host, Options::xdp().file(log.path()));
    let mut banned = Vec::new();
    for round in 0..4 {
        let attacker = attacker_v4(round);
        log.guesses(attacker, 5);
        daemon.await_drop(attacker);
        let dropped = Instant::now();
        banned.push(attacker);
        poll_until(Duration::from_secs(1), "it is time", || (dropped.elapsed() >= DURABLE).then_some(()));
        assert_back_after_a_reboot(&arena, &mut daemon, &banned);
    }
}

#[test]
fn a_newer_state_is_refused_while_the_kernel_goes_on() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    for options in [Options::xdp(), Options::nftables()] {
        let mut daemon = Daemon::start(&arena.host, options);
        let banned = attacker_v4(0);
        daemon.json(&format!("ban {banned}"));
        daemon.stop();
        let file = state(&daemon).join("guard.db");
        set_schema(&file, 99);
        let before = fs::read(&file).unwrap();

        daemon.spawn_again();
        let status = daemon.process().wait(Duration::from_secs(10));
        assert!(!status.success(), "{status}");
        assert!(daemon.log().contains("has schema 99"), "{}", daemon.log());
        assert_eq!(fs::read(&file).unwrap(), before, "left alone");
        assert!(!pings(&arena.outside, banned, GUARDED_V4), "enforcement goes on");

        set_schema(&file, schema_of_a_fresh_state());
        daemon.start_again();
        await_restored(&daemon);
        assert_eq!(targets(&daemon), [banned.to_string()]);
        daemon.json("unlock");
    }
}

/// `user_version` of a SQLite file (<https://sqlite.org/fileformat.html#database_header>).
const USER_VERSION: std::ops::Range<usize> = 60..64;

fn set_schema(file: &Path, version: u32) {
    let mut bytes = fs::read(file).unwrap();
    bytes[USER_VERSION].copy_from_slice(&version.to_be_bytes());
    fs::write(file, bytes).unwrap();
}

fn schema_of_a_fresh_state() -> u32 {
    let folder = tempfile::tempdir().unwrap();
    drop(guard::store::Sqlite::open(folder.path()).unwrap());
    let bytes = fs::read(folder.path().join("guard.db")).unwrap();
    u32::from_be_bytes(bytes[USER_VERSION].try_into().unwrap())
}

/// The daemon's state folder.
fn state(daemon: &Daemon<'_>) -> PathBuf {
    daemon.config().with_file_name("state")
}

fn problems(daemon: &Daemon<'_>) -> String {
    daemon.json("status")["problems"].to_string()
}

/// Status and doctor say so.
#[track_caller]
fn assert_told(daemon: &Daemon<'_>, what: &str) {
    poll_until(Duration::from_secs(10), &format!("status tells: {what}\n{}", daemon.log()), || {
        problems(daemon).contains(what).then_some(())
    });
    let doctor = daemon.ctl("doctor");
    assert!(doctor.output.contains(what), "{doctor:?}");
}

/// Nothing is wrong any more, and everything is written.
#[track_caller]
fn await_well(arena: &Arena, daemon: &Daemon<'_>) {
    poll_until(Duration::from_secs(30), "all is well again", || {
        let metrics = Metrics::scrape(&arena.host, "127.0.0.1:19187".parse().unwrap())?;
        (problems(daemon) == "[]" && metrics.count("guard_store_queued_writes") == 0).then_some(())
    });
}

fn await_restored(daemon: &Daemon<'_>) {
    poll_until(Duration::from_secs(20), "the bans are back", || {
        (daemon.json("status")["restored"] == true).then_some(())
    });
}

/// Kills the daemon, takes out of the kernel what a reboot would, and starts it again: the bans come from the store.
#[track_caller]
fn assert_back_after_a_reboot(arena: &Arena, daemon: &mut Daemon<'_>, banned: &[IpAddr]) {
    daemon.kill();
    fs::remove_dir_all(daemon.bpffs()).unwrap();
    poll_until(Duration::from_secs(10), "the kernel has forgotten", || {
        pings(&arena.outside, banned[0], GUARDED_V4).then_some(())
    });
    daemon.start_again();
    await_restored(daemon);
    let mut wanted: Vec<String> = banned.iter().map(IpAddr::to_string).collect();
    wanted.sort();
    assert_eq!(targets(daemon), wanted, "{}", daemon.log());
    for address in banned {
        assert!(!pings(&arena.outside, *address, GUARDED_V4), "{address}");
    }
}

/// The banned targets, as `list` has them.
fn targets(daemon: &Daemon<'_>) -> Vec<String> {
    let list = daemon.json("list");
    let target = |ban: &Value| ban["target"].as_str().unwrap().to_owned();
    list.as_array().unwrap().iter().map(target).collect()
}
