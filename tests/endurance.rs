//! Enforcement outlives the daemon, its restarts and the mistakes of others.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use harness::{
    Arena, Daemon, Flood, GUARDED_V4, GUARDED_V6, LogFile, Options, attacker_v4, attacker_v6, counter,
    missing_for_network_tests, missing_for_xdp_tests, pings, poll_until, run, skip_if,
};
use rustix::process::Signal;

#[path = "endurance/crash.rs"]
mod crash;
#[path = "endurance/memory.rs"]
mod memory;
#[path = "stored.rs"]
mod stored;
use stored::{FIRST_STORED, in_an_hour, store_bans};

#[test]
fn a_killed_daemon_leaves_bans_and_their_ends_in_the_kernel() {
    for options in [Options::xdp(), Options::nftables()] {
        skip_if!(missing_for_xdp_tests());
        let arena = Arena::new();
        let mut daemon = Daemon::start(&arena.host, options);
        let (short, long) = (attacker_v4(0), attacker_v6(0));
        daemon.json(&format!("ban {short} --for 5s"));
        daemon.json(&format!("ban {long} --for 1h"));
        daemon.await_drop(short);
        daemon.await_drop(long);

        daemon.kill();

        assert!(!pings(&arena.outside, short, GUARDED_V4));
        assert!(!pings(&arena.outside, long, GUARDED_V6));
        poll_until(Duration::from_secs(15), "the short ban ends without the daemon", || {
            pings(&arena.outside, short, GUARDED_V4).then_some(())
        });
        assert!(!pings(&arena.outside, long, GUARDED_V6), "the long one has not ended");

        daemon.start_again();
        daemon.await_drop(long);
        assert!(!daemon.drops(short));
        assert_eq!(targets(&daemon), [long.to_string()]);
    }
}

#[test]
fn no_banned_packet_passes_while_the_daemon_restarts() {
    for (options, enough) in [(Options::xdp(), 1_000_000), (Options::nftables(), 300_000)] {
        skip_if!(missing_for_xdp_tests());
        let arena = Arena::new();
        let mut daemon = Daemon::start(&arena.host, options);
        let place = SocketAddr::new(GUARDED_V4, 9);
        daemon.json(&format!("ban {}", attacker_v4(0)));
        daemon.await_drop(attacker_v4(0));
        let passed = counter(&arena.host, place);
        let flood = Flood::start(&arena.outside, attacker_v4(0), place);

        let deadline = Instant::now() + Duration::from_secs(60);
        let mut restarts = 0;
        while restarts < 4 || (flood.sent() < enough && Instant::now() < deadline) {
            if restarts % 2 == 0 {
                daemon.kill();
            } else {
                daemon.stop();
            }
            daemon.start_again();
            restarts += 1;
        }
        assert!(flood.sent() >= enough, "only {} packets in a minute", flood.sent());
        drop(flood);
        assert_eq!(passed.load(Ordering::Relaxed), 0, "after {restarts} restarts");
        assert!(pings(&arena.outside, attacker_v4(1), GUARDED_V4), "others pass");
    }
}

#[test]
fn a_flushed_ruleset_is_back_within_five_seconds() {
    skip_if!(missing_for_network_tests());
    let arena = Arena::new();
    let daemon = Daemon::start(&arena.host, Options::nftables());
    daemon.json(&format!("ban {} {}", attacker_v4(0), attacker_v6(0)));
    daemon.await_drop(attacker_v4(0));

    let place = |address| SocketAddr::new(address, 9);
    let passed = [GUARDED_V4, GUARDED_V6].map(|guarded| counter(&arena.host, place(guarded)));
    let passed = || passed.iter().map(|count| count.load(Ordering::Relaxed)).sum::<u64>();
    let floods = [(attacker_v4(0), GUARDED_V4), (attacker_v6(0), GUARDED_V6)]
        .map(|(from, to)| Flood::start(&arena.outside, from, place(to)));
    poll_until(Duration::from_secs(5), "both send", || {
        floods.iter().all(|flood| flood.sent() > 1000).then_some(())
    });
    assert_eq!(passed(), 0, "nothing passes before");

    let flushed = Instant::now();
    arena.host.enter(|| run(Command::new("nft").args(["flush", "ruleset"])));
    let (mut last, mut seen) = (flushed, 0);
    // The gap is over when nothing has passed for as long as it may last.
    while last.elapsed() < Duration::from_secs(5) {
        let now = passed();
        if now != seen {
            (last, seen) = (Instant::now(), now);
        }
        assert!(last.duration_since(flushed) < Duration::from_secs(5), "{seen} packets passed");
        std::thread::sleep(Duration::from_millis(2));
    }
    drop(floods);
    assert!(!pings(&arena.outside, attacker_v4(0), GUARDED_V4));
    assert!(!pings(&arena.outside, attacker_v6(0), GUARDED_V6));
    assert!(pings(&arena.outside, attacker_v4(1), GUARDED_V4), "others pass");
    poll_until(Duration::from_secs(5), "status tells of the repair", || {
        (daemon.json("status")["drift"]["attachments"].as_u64()? > 0).then_some(())
    });
}

#[test]
fn a_wrong_reload_keeps_the_old_configuration() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let log = LogFile::new();
    let mut daemon = Daemon::start(&arena.host, Options::xdp().file(log.path()));
    let good = fs::read_to_string(daemon.config()).unwrap();

    fs::write(daemon.config(), format!("{good}\n[decide]\ntreshold = 3\n")).unwrap();
    let reply = daemon.ctl("reload");
    assert_ne!(reply.code, 0, "{reply:?}");
    let place = format!("{}:{}", daemon.config().display(), good.lines().count() + 3);
    assert!(reply.errors.contains(&place) && reply.errors.contains("threshold"), "{reply:?}");
    daemon.process().signal(Signal::HUP);
    poll_until(Duration::from_secs(5), "the daemon says why it did not reload", || {
        (daemon.log().matches("treshold").count() >= 2
            || !daemon.json("status")["problems"].as_array()?.is_empty())
        .then_some(())
    });

    // The old threshold of five points still holds.
    log.guesses(attacker_v4(0), 3);
    log.guesses(attacker_v4(1), 5);
    daemon.await_drop(attacker_v4(1));
    assert!(!daemon.drops(attacker_v4(0)));

    fs::write(daemon.config(), format!("{good}\n[decide]\nthreshold = 3\n")).unwrap();
    assert_eq!(daemon.ctl("reload").code, 0);
    log.guesses(attacker_v4(2), 3);
    daemon.await_drop(attacker_v4(2));
}

#[test]
fn unlock_takes_everything_out_of_the_kernel() {
    for options in [Options::xdp(), Options::nftables()] {
        skip_if!(missing_for_xdp_tests());
        let arena = Arena::new();
        let daemon = Daemon::start(&arena.host, options);
        daemon.json(&format!("ban {} {}", attacker_v4(0), attacker_v6(0)));
        daemon.await_drop(attacker_v6(0));

        daemon.json("unlock");

        assert!(pings(&arena.outside, attacker_v4(0), GUARDED_V4));
        assert!(pings(&arena.outside, attacker_v6(0), GUARDED_V6));
        let link = arena.host.ip(&format!("-details link show {}", Arena::INTERFACE));
        assert!(!link.contains("xdp"), "{link}");
        let rules = arena.host.enter(|| run(Command::new("nft").args(["list", "ruleset"])));
        assert!(rules.trim().is_empty(), "{rules}");
        assert_eq!(pins(&daemon), 0);
    }
}

#[test]
fn a_wrong_file_at_a_signal_is_a_problem_until_it_is_right() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let log = LogFile::new();
    let mut daemon = Daemon::start(&arena.host, Options::xdp().file(log.path()));
    let good = fs::read_to_string(daemon.config()).unwrap();

    fs::write(daemon.config(), format!("{good}\n[decide]\nthreshold = \"three\"\n")).unwrap();
    daemon.process().signal(Signal::HUP);
    let place = format!("{}:{}", daemon.config().display(), good.lines().count() + 3);
    poll_until(Duration::from_secs(5), "status names the line", || {
        daemon.json("status")["problems"].to_string().contains(&place).then_some(())
    });
    log.guesses(attacker_v4(0), 3);
    log.guesses(attacker_v4(1), 5);
    daemon.await_drop(attacker_v4(1));
    assert!(!daemon.drops(attacker_v4(0)), "the old threshold holds");

    fs::write(daemon.config(), format!("{good}\n[decide]\nthreshold = 3\n")).unwrap();
    daemon.process().signal(Signal::HUP);
    poll_until(Duration::from_secs(5), "the problem is gone", || {
        daemon.json("status")["problems"].as_array()?.is_empty().then_some(())
    });
    log.guesses(attacker_v4(2), 3);
    daemon.await_drop(attacker_v4(2));
}

#[test]
fn a_file_added_by_a_reload_is_read_and_nothing_is_read_twice() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let (first, second) = (LogFile::new(), LogFile::new());
    let daemon = Daemon::start(&arena.host, Options::xdp().file(first.path()));
    let (patient, banned) = (attacker_v4(0), attacker_v4(1));
    first.guesses(patient, 3);
    first.guesses(banned, 5);
    daemon.await_drop(banned);
    let read = poll_until(Duration::from_secs(5), "eight lines are read", || {
        let status = daemon.json("status");
        (status["matched"] == 8).then_some(status)
    });

    let good = fs::read_to_string(daemon.config()).unwrap();
    let more = format!("files = [{{ path = \"{}\" }}, ", second.path().display());
    fs::write(daemon.config(), good.replacen("files = [", &more, 1)).unwrap();
    assert_eq!(daemon.ctl("reload").code, 0);
    poll_until(Duration::from_secs(5), "the new file is followed", || {
        let sources = daemon.json("status")["sources"].to_string();
        sources.contains(&*second.path().to_string_lossy()).then_some(())
    });

    second.guesses(attacker_v4(2), 5);
    daemon.await_drop(attacker_v4(2));
    let status = daemon.json("status");
    assert_eq!(read["lines"].as_u64().unwrap() + 5, status["lines"].as_u64().unwrap(), "{status}");
    assert_eq!(daemon.json(&format!("why {patient}"))["lines"].as_array().unwrap().len(), 3);
    assert!(!daemon.drops(patient));
    let bans = |event: &&serde_json::Value| event["kind"] == "ban" && event["target"] == banned.to_string();
    let events = daemon.json("events");
    assert_eq!(events.as_array().unwrap().iter().filter(bans).count(), 1, "{events}");
    // The first file is read on from where it was left.
    first.sshd(2000, &format!("Failed password for root from {patient} port 41000 ssh2"));
    first.sshd(2001, &format!("Failed password for root from {patient} port 41001 ssh2"));
    daemon.await_drop(patient);
}

#[test]
fn a_large_store_is_restored_while_commands_answer_and_attackers_are_banned() {
    const BANS: u32 = 300_000;
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let log = LogFile::new();
    let mut daemon = Daemon::start(&arena.host, Options::xdp().file(log.path()));
    daemon.stop();
    let (kept, lifted, new) = (attacker_v4(0), attacker_v4(1), attacker_v4(2));
    let sample = IpAddr::from(Ipv4Addr::from(FIRST_STORED + BANS / 2));
    let others = (0..BANS).map(|number| IpAddr::from(Ipv4Addr::from(FIRST_STORED + number)));
    store_bans(&daemon, others.chain([kept, lifted]), in_an_hour());

    let start = Instant::now();
    daemon.start_again();
    assert_eq!(daemon.json("status")["restored"], false, "commands are answered while bans come back");
    log.guesses(new, 5);
    daemon.await_drop(new);
    assert_eq!(
        daemon.json("status")["restored"],
        false,
        "banned before the others are back\n{}",
        daemon.log()
    );
    assert!(!pings(&arena.outside, new, GUARDED_V4));
    // Whether the store has given this ban back yet or not: it must not come again.
    daemon.ctl(&format!("unban {lifted}"));
    poll_until(Duration::from_secs(20), "the bans are back", || {
        let asked = Instant::now();
        let status = daemon.json("status");
        assert!(asked.elapsed() < Duration::from_secs(5), "the daemon answers meanwhile");
        (status["restored"] == true).then_some(())
    });
    assert!(start.elapsed() < Duration::from_secs(20), "after {:?}\n{}", start.elapsed(), daemon.log());
    assert_eq!(daemon.json("status")["bans"], BANS + 2);
    assert!(daemon.drops(sample) && daemon.drops(kept) && daemon.drops(new));
    assert!(!pings(&arena.outside, kept, GUARDED_V4));
    assert!(!daemon.drops(lifted));
    assert!(pings(&arena.outside, lifted, GUARDED_V4), "what was lifted meanwhile stays lifted");
}

/// A public address that belongs to nobody in the arena.
fn stored_address(number: u32) -> IpAddr {
    Ipv4Addr::from(FIRST_STORED + number).into()
}

/// The banned targets, as `list` has them.
fn targets(daemon: &Daemon<'_>) -> Vec<String> {
    let list = daemon.json("list");
    list.as_array().unwrap().iter().map(|ban| ban["target"].as_str().unwrap().to_owned()).collect()
}

/// Number of objects pinned by a daemon.
fn pins(daemon: &Daemon<'_>) -> usize {
    fn count(folder: &std::path::Path) -> usize {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| if entry.path().is_dir() { count(&entry.path()) } else { 1 }).sum()
    }
    count(daemon.bpffs())
}
