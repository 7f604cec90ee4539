//! The kernel has no memory for more bans.

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use harness::{
    Arena, Daemon, GUARDED_V4, MemoryGroup, Metrics, Options, attacker_v4, missing_for_xdp_tests, pings,
    poll_until, skip, skip_if,
};
use serde_json::Value;

/// Prefixes that come at once: more than the memory which the daemon's start leaves behind has room for. Prefixes are
/// not preallocated.
const PREFIXES: u32 = 100_000;

fn listed(number: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(0x1000_0000 | number << 8))
}

/// Prefixes in the kernel's map.
fn held(daemon: &Daemon<'_>) -> u64 {
    let maps = daemon.json("status")["enforcer"]["maps"].clone();
    let of_prefixes = |map: &&Value| map["name"] == "guard_prefix4";
    maps.as_array().unwrap().iter().find(of_prefixes).unwrap()["entries"].as_u64().unwrap()
}

#[test]
fn what_finds_no_memory_is_told_and_in_force_once_there_is_some() {
    skip_if!(missing_for_xdp_tests());
    let group = match MemoryGroup::new() {
        Ok(group) => group,
        Err(reason) => return skip(&reason),
    };
    let arena = Arena::new();
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("list");
    fs::write(&list, "198.51.100.0/24\n").unwrap();
    let more = format!("\n[[feed]]\nname = \"test\"\npath = \"{}\"\nevery = \"1d\"\n", list.display());
    let options = Options { before: Some(group.entry()), more, ..Options::xdp() };
    let mut daemon = Daemon::start(&arena.host, options);
    poll_until(Duration::from_secs(20), "the short list is in force", || {
        let status = daemon.json("status");
        (status["bans"] == 1 && status["restored"] == true).then_some(())
    });
    group.release(daemon.process().pid());
    group.close(0);

    let all = (0..PREFIXES).fold("198.51.100.0/24\n".to_owned(), |mut text, number| {
        let _ = writeln!(text, "{}/24", listed(number));
        text
    });
    fs::write(&list, all).unwrap();
    daemon.json("feed refresh test");
    let wanted = u64::from(PREFIXES) + 1;
    poll_until(Duration::from_secs(60), "all of it is wanted", || {
        (daemon.json("status")["bans"] == wanted).then_some(())
    });
    poll_until(Duration::from_secs(10), "it is told that there is no memory", || {
        let problems = daemon.json("status")["problems"].to_string();
        (problems.contains("guard_prefix4") && problems.contains("Cannot allocate memory")).then_some(())
    });
    let counted = Metrics::scrape(&arena.host, SocketAddr::from(([127, 0, 0, 1], 19187))).unwrap();
    assert!(counted.count("guard_enforcer_errors_total") > 0);
    let before = held(&daemon);
    assert!(before < wanted, "all {before} found memory");
    let is_open = |number| !daemon.drops(listed(number));
    assert!((0..PREFIXES).step_by(499).any(is_open), "what is not in the kernel is not said to be dropped");

    // Hosts have their room already: they are banned as ever, and by whoever waits for a failed write soon enough.
    for number in 0..5 {
        let asked = Instant::now();
        daemon.json(&format!("ban {}", attacker_v4(number)));
        let took = asked.elapsed();
        assert!(!pings(&arena.outside, attacker_v4(number), GUARDED_V4));
        assert!(took < Duration::from_secs(1), "a ban took {took:?}");
    }
    assert!(pings(&arena.outside, attacker_v4(7), GUARDED_V4));

    group.open();
    poll_until(Duration::from_secs(30), "the kernel holds them all", || {
        (held(&daemon) == wanted && daemon.json("status")["problems"] == serde_json::json!([])).then_some(())
    });
    assert!((0..PREFIXES).step_by(9973).all(|number| daemon.drops(listed(number))));
    drop(daemon);
}
