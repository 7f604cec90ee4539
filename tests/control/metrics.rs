//! What Prometheus gets from a running daemon.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use harness::{
    Arena, Daemon, GUARDED_V4, GUARDED_V6, LogFile, METRICS, Metrics, Options, attacker_v4, attacker_v6,
    missing_for_network_tests, missing_for_xdp_tests, pings, poll_until, run, skip_if,
};

#[test]
fn metrics_tell_of_an_attack() {
    skip_if!(missing_for_xdp_tests());
    // With the address that is usual, and with another one.
    let other: SocketAddr = "127.0.0.1:19555".parse().unwrap();
    for (options, address, backend, interface, map) in [
        (Options::xdp(), METRICS, "xdp", Arena::INTERFACE, "guard_hosts4"),
        (Options::nftables(), other, "nftables", "all", "ban4_32"),
    ] {
        let arena = Arena::new();
        let log = LogFile::new();
        let more = format!("[metrics]\nlisten = \"{address}\"\n");
        let options = Options { more: if address == METRICS { String::new() } else { more }, ..options };
        let daemon = Daemon::start(&arena.host, options.file(log.path()));
        log.guesses(attacker_v4(0), 5);
        log.guesses(attacker_v6(0), 5);
        log.guesses(attacker_v4(1), 2);
        log.sshd(1, "Server listening on 0.0.0.0 port 22.");
        daemon.await_drop(attacker_v4(0));
        daemon.await_drop(attacker_v6(0));
        daemon.json(&format!("ban {}", attacker_v4(2)));
        for (from, to) in [(attacker_v4(0), GUARDED_V4), (attacker_v6(0), GUARDED_V6)] {
            assert!(!pings(&arena.outside, from, to));
        }
        let scrape = || Metrics::scrape(&arena.host, address).expect("it listens");
        let source = format!("{{source=\"{}\"}}", log.path().display());
        let metrics = poll_until(Duration::from_secs(10), "all lines are counted", || {
            let metrics = scrape();
            (metrics.count(&format!("guard_source_lines_total{source}")) == 13).then_some(metrics)
        });

        for (sample, value) in [
            (format!("guard_source_matches_total{source}"), 12),
            ("guard_sightings_total{filter=\"sshd\",kind=\"failed-password\"}".into(), 12),
            ("guard_bans_total{rule=\"sshd\"}".into(), 2),
            ("guard_bans_total{rule=\"manual\"}".into(), 1),
            (format!("guard_active_bans{{family=\"ipv4\",backend=\"{backend}\"}}"), 2),
            (format!("guard_active_bans{{family=\"ipv6\",backend=\"{backend}\"}}"), 1),
            ("guard_tracked_sources".into(), 3),
            ("guard_problems".into(), 0),
            ("guard_restored".into(), 1),
        ] {
            assert_eq!(metrics.count(&sample), value, "{sample} of {metrics:?}");
        }
        let confirmed = metrics.count("guard_line_to_kernel_seconds_count");
        assert!((1..=2).contains(&confirmed), "once for each batch of lines that banned: {confirmed}");
        assert_eq!(metrics.count("guard_line_to_kernel_seconds_bucket{le=\"+Inf\"}"), confirmed);
        assert!(metrics.value("guard_line_to_kernel_seconds_sum") > 0.0);
        let dropped = format!("guard_dropped_packets_total{{interface=\"{interface}\",reason=\"host\"}}");
        assert!(metrics.count(&dropped) >= 2);
        assert_eq!(metrics.count(&format!("guard_map_entries{{map=\"{map}\"}}")), 2);
        let capacity = metrics.count(&format!("guard_map_capacity{{map=\"{map}\"}}"));
        if backend == "xdp" {
            assert!(capacity >= 1000, "{capacity}");
        } else {
            assert_eq!(capacity, 0, "a set has no bound");
            arena.host.enter(|| run(Command::new("nft").args(["flush", "ruleset"])));
            poll_until(Duration::from_secs(5), "the repair is counted", || {
                (scrape().count("guard_drift_total{kind=\"attachments\"}") > 0).then_some(())
            });
        }
    }
}

#[test]
fn a_fault_of_a_source_is_told_of_until_it_is_over() {
    skip_if!(missing_for_network_tests());
    let arena = Arena::new();
    let log = LogFile::new();
    let daemon = Daemon::start(&arena.host, Options::nftables().file(log.path()));
    let name = log.path().display().to_string();
    let metrics = || Metrics::scrape(&arena.host, METRICS).expect("it listens");
    let fault = format!("guard_source_fault{{source=\"{name}\",fault=\"gaps\"}}");
    let is_problem = || daemon.json("status")["problems"].to_string().contains("lines were lost");

    // Who has read the line has seen what stands behind it.
    fs::write(log.path(), "a line\nhalf of anoth").unwrap();
    poll_until(Duration::from_secs(10), "it is read", || {
        (metrics().count(&format!("guard_source_lines_total{{source=\"{name}\"}}")) == 1).then_some(())
    });
    assert_eq!(metrics().count(&fault), 0);
    assert!(!is_problem());
    fs::write(log.path(), "x\n").unwrap();
    poll_until(Duration::from_secs(20), "it is told of", || is_problem().then_some(()));
    assert_eq!(metrics().count(&fault), 1);
    assert_eq!(metrics().count(&format!("guard_source_gaps_total{{source=\"{name}\"}}")), 1);
    let events = daemon.json("events --kind source");
    let events = events.as_array().unwrap();
    assert_eq!(events.len(), 1, "{events:?}");
    let detail = &events[0]["detail"];
    assert_eq!((&detail["source"], &detail["fault"]), (&name.as_str().into(), &"gaps".into()), "{detail}");

    // It is over at the latest when the file is read no more.
    let text = fs::read_to_string(daemon.config()).unwrap();
    fs::write(daemon.config(), text.replace(&format!("{{ path = \"{name}\" }}"), "")).unwrap();
    daemon.json("reload");
    poll_until(Duration::from_secs(20), "it is over", || (!is_problem()).then_some(()));
    assert!(!metrics().text().contains(&fault), "{}", metrics().text());
}

#[test]
fn metrics_can_be_off() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let more = "[metrics]\nlisten = \"off\"\n".into();
    let daemon = Daemon::start(&arena.host, Options { more, ..Options::xdp() });
    assert!(Metrics::scrape(&arena.host, METRICS).is_none());
    let sockets = || run(Command::new("ss").args(["-Hltn"]));
    let listening = arena.host.enter(sockets);
    assert_eq!(listening.trim(), "", "nothing listens");
    assert_eq!(daemon.json("status")["problems"].to_string(), "[]");
}
