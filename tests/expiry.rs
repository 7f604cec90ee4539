//! Bans end when their time is over: in the kernel, in the list, in the store.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use guard::time::Wall;
use harness::{
    Arena, Daemon, Flood, GUARDED_V4, GUARDED_V6, Options, attacker_v4, attacker_v6, counter,
    missing_for_xdp_tests, pings, poll_until, skip_if,
};

#[path = "stored.rs"]
mod stored;
use stored::{FIRST_STORED, in_an_hour, store_bans};

#[test]
fn what_ended_while_the_daemon_was_away_is_gone_from_list_kernel_and_store() {
    for options in [Options::xdp(), Options::nftables()] {
        skip_if!(missing_for_xdp_tests());
        let arena = Arena::new();
        let mut daemon = Daemon::start(&arena.host, options);
        // One that the kernel holds over its end, and one that only the store knows.
        let (held, stored, going_on) = (attacker_v4(0), attacker_v6(0), attacker_v4(1));
        daemon.json(&format!("ban {held} --for 2s"));
        assert!(daemon.drops(held));
        daemon.kill();
        let end = Wall(Wall::now().0 - 1000);
        store_bans(&daemon, [stored].into_iter(), Some(end));
        store_bans(&daemon, [going_on].into_iter(), in_an_hour());
        poll_until(Duration::from_secs(5), "the ban ends in the kernel", || {
            pings(&arena.outside, held, GUARDED_V4).then_some(())
        });

        daemon.start_again();
        daemon.await_drop(going_on);
        poll_until(Duration::from_secs(10), "the bans are over", || {
            (daemon.json("status")["bans"] == 1 && daemon.json("status")["restored"] == true).then_some(())
        });
        assert_eq!(listed(&daemon), [going_on.to_string()]);
        for (ended, server) in [(held, GUARDED_V4), (stored, GUARDED_V6)] {
            poll_until(Duration::from_secs(6), "the kernel's entry is gone", || {
                let check = daemon.json(&format!("check {ended}"));
                check["verdict"]["entries"].as_array()?.is_empty().then_some(())
            });
            assert!(pings(&arena.outside, ended, server));
            assert_eq!(daemon.json(&format!("why {ended}"))["bans"], serde_json::json!([]));
        }
        // Ended once, ended for good.
        daemon.stop();
        daemon.start_again();
        daemon.await_drop(going_on);
        assert_eq!(listed(&daemon), [going_on.to_string()]);
        assert_eq!(ends(&daemon, stored), [end.to_string()], "told once, with the time");
        assert_eq!(ends(&daemon, held).len(), 1);
    }
}

#[test]
fn fifty_thousand_ends_at_one_moment_open_no_gap_for_a_ban_that_goes_on() {
    const BANS: u32 = 50_000;
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let mut daemon = Daemon::start(&arena.host, Options::xdp());
    let (permanent, ending) = (attacker_v4(0), attacker_v4(1));
    daemon.json(&format!("ban {permanent} --for permanent"));
    daemon.stop();
    let end = Wall(Wall::now().0 + 10_000);
    let others = (1..BANS).map(|number| IpAddr::from(Ipv4Addr::from(FIRST_STORED + number * 3)));
    store_bans(&daemon, others.chain([ending]), Some(end));
    daemon.start_again();
    poll_until(Duration::from_secs(9), "the bans are back", || {
        let status = daemon.json("status");
        (status["restored"] == true && status["bans"] == u64::from(BANS) + 1).then_some(())
    });
    assert!(daemon.drops(ending) && Wall::now().0 < end.0, "restored before they end");

    let place = SocketAddr::new(GUARDED_V4, 9);
    let passed = counter(&arena.host, place);
    let flood = Flood::start(&arena.outside, permanent, place);
    let mut slowest = Duration::ZERO;
    poll_until(Duration::from_secs(40), "all have ended", || {
        let asked = Instant::now();
        let status = daemon.json("status");
        slowest = slowest.max(asked.elapsed());
        (status["bans"] == 1).then_some(())
    });
    let late = Wall::now().0 - end.0;
    assert!(flood.sent() > 100_000, "{} packets", flood.sent());
    drop(flood);
    assert_eq!(passed.load(Ordering::Relaxed), 0, "nothing of the permanent ban passed");
    assert!(late < 20_000, "swept {late} ms after their end");
    assert!(slowest < Duration::from_secs(2), "guardctl was answered after {slowest:?}");
    assert_eq!(listed(&daemon), [permanent.to_string()]);
    assert!(pings(&arena.outside, ending, GUARDED_V4));
    assert!(!pings(&arena.outside, permanent, GUARDED_V4));
    poll_until(Duration::from_secs(6), "the map holds one entry", || {
        (daemon.json("status")["enforcer"]["maps"][0]["entries"] == 1).then_some(())
    });
}

/// When bans of an address ended, as its events tell.
fn ends(daemon: &Daemon<'_>, address: IpAddr) -> Vec<String> {
    let why = daemon.json(&format!("why {address}"));
    let events = why["events"].as_array().unwrap().iter();
    events
        .filter(|event| event["kind"] == "expire")
        .map(|event| event["at"].as_str().unwrap().to_owned())
        .collect()
}

fn listed(daemon: &Daemon<'_>) -> Vec<String> {
    let list = daemon.json("list");
    list.as_array().unwrap().iter().map(|ban| ban["target"].as_str().unwrap().to_owned()).collect()
}
