//! Names that are allowed: their addresses, as a name server tells them, are never banned.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use harness::{
    Arena, Daemon, Dnsmasq, GUARDED_V4, GUARDED_V6, LogFile, Metrics, Options, attacker_v4, attacker_v6,
    missing_for_xdp_tests, pings, poll_until, skip_if,
};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(20);
/// Answers hold for a second here, and are asked for as often.
const ALLOW: &str = "[allow]\nname_refresh_least = \"1s\"\nname_refresh_most = \"2s\"\n";

fn with(options: Options, server: &Dnsmasq<'_>, allow: &str) -> Options {
    Options { more: format!("{ALLOW}{allow}"), resolv_conf: Some(server.resolv_conf()), ..options }
}

fn name(daemon: &Daemon<'_>) -> Value {
    daemon.json("allow list")["names"][0].clone()
}

fn await_addresses(daemon: &Daemon<'_>, wanted: &[&str]) {
    poll_until(PATIENCE, &format!("{wanted:?} are allowed\n{}", daemon.log()), || {
        (name(daemon)["addresses"] == serde_json::json!(wanted)).then_some(())
    });
}

#[test]
fn the_addresses_of_a_name_are_never_banned_and_follow_its_server() {
    skip_if!(missing_for_xdp_tests());
    let configured = format!("targets = [{{ target = \"{}\", comment = \"office\" }}]\n", Dnsmasq::NAME);
    for options in [Options::xdp(), Options::nftables()] {
        let arena = Arena::new();
        let log = LogFile::new();
        let (first, second) = (attacker_v4(0), attacker_v4(1));
        let mut server = Dnsmasq::start(&arena.host, &[first, attacker_v6(0)]);
        let mut daemon = Daemon::start(&arena.host, with(options.file(log.path()), &server, &configured));
        await_addresses(&daemon, &[&first.to_string(), &attacker_v6(0).to_string()]);
        log.guesses(first, 9);
        log.guesses(second, 9);
        daemon.await_drop(second);
        assert!(!daemon.drops(first) && !daemon.drops(attacker_v6(0)));
        assert!(
            pings(&arena.outside, first, GUARDED_V4) && pings(&arena.outside, attacker_v6(0), GUARDED_V6)
        );
        let why = daemon.json(&format!("why {first}"))["protected_by"].to_string();
        assert!(why.contains("the name vpn.example.org, allowed by the configuration: office"), "{why}");
        let refused = daemon.ctl(&format!("ban {first}"));
        assert!(refused.code == 1 && refused.output.contains(Dnsmasq::NAME), "{refused:?}");
        let wide = daemon.ctl(&format!("ban {}/64", attacker_v6(0)));
        assert_eq!(wide.code, 1, "{wide:?}");
        // A name is nothing that could be banned.
        let refused = daemon.ctl(&format!("ban {}", Dnsmasq::NAME));
        assert!(refused.code == 2 && refused.errors.contains("never to ban"), "{refused:?}");

        // The name moves: who has it from then on loses his ban, who had it can be banned.
        server.set(&[second]);
        await_addresses(&daemon, &[&second.to_string()]);
        assert!(!daemon.drops(second) && pings(&arena.outside, second, GUARDED_V4));
        log.guesses(first, 9);
        daemon.await_drop(first);
        let events = daemon.json("events --kind name");
        assert_eq!(events[0]["detail"]["added"][0], second.to_string(), "{events}");
        assert_eq!(daemon.json("status")["problems"].to_string(), "[]");

        // The server goes: what was known holds, over a restart too, and people are told.
        server.stop();
        poll_until(PATIENCE, "its absence is told", || {
            let problems = daemon.json("status")["problems"].to_string();
            problems.contains("the name vpn.example.org cannot be resolved").then_some(())
        });
        let told = name(&daemon);
        assert!(told["failure"].is_string() && told["addresses"][0] == second.to_string(), "{told}");
        daemon.stop();
        daemon.start_again();
        assert_eq!(name(&daemon)["addresses"][0], second.to_string());
        log.guesses(second, 9);
        log.guesses(attacker_v4(2), 9);
        daemon.await_drop(attacker_v4(2));
        assert!(!daemon.drops(second) && pings(&arena.outside, second, GUARDED_V4));
        let metrics = Metrics::scrape(&arena.host, SocketAddr::from(([127, 0, 0, 1], 19187))).unwrap();
        assert_eq!(metrics.count("guard_allowed_names{state=\"kept\"}"), 1);

        // It comes back with another answer.
        server.set(&[first]);
        server.start_again();
        await_addresses(&daemon, &[&first.to_string()]);
        assert!(!daemon.drops(first));

        // Out of the configuration, it protects nobody.
        let text = fs::read_to_string(daemon.config()).unwrap();
        fs::write(daemon.config(), text.replace(&configured, "")).unwrap();
        daemon.json("reload");
        assert_eq!(daemon.json("allow list")["names"], serde_json::json!([]));
        assert_eq!(daemon.ctl(&format!("ban {first}")).code, 0);
        assert!(!pings(&arena.outside, first, GUARDED_V4));
    }
}

#[test]
fn names_are_allowed_by_hand_for_a_time() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let address = attacker_v4(0);
    let server = Dnsmasq::start(&arena.host, &[address]);
    let mut daemon = Daemon::start(&arena.host, with(Options::xdp(), &server, ""));
    daemon.json(&format!("ban {address}"));
    daemon.json(&format!("allow add {} --comment contractor --for 1h", Dnsmasq::NAME));
    await_addresses(&daemon, &[&address.to_string()]);
    assert!(!daemon.drops(address) && pings(&arena.outside, address, GUARDED_V4));
    daemon.kill();
    daemon.start_again();
    let told = name(&daemon);
    assert!(
        told["because"] == "allowed by hand: contractor" && told["seconds_left"].as_u64() > Some(3000),
        "{told}"
    );
    assert_eq!(daemon.ctl(&format!("ban {address}")).code, 1);
    // A name that nobody has is a problem, and a text that is none an error.
    daemon.json("allow add nobody.example.org");
    poll_until(PATIENCE, "that there is no such name is told", || {
        let problems = daemon.json("status")["problems"].to_string();
        problems.contains("nobody.example.org cannot be resolved").then_some(())
    });
    assert_eq!(daemon.ctl("allow add no_name").code, 2);
    daemon.json(&format!("allow remove {} nobody.example.org", Dnsmasq::NAME));
    assert_eq!(daemon.json("status")["problems"].to_string(), "[]");
    assert_eq!(daemon.ctl(&format!("ban {address}")).code, 0);
    assert!(!pings(&arena.outside, address, GUARDED_V4));
}
