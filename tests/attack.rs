//! The main job: a real OpenSSH server under attack by real clients, on each way to the kernel and from each source.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use harness::{
    ADMIN, Arena, Client, Daemon, GUARDED_V4, GUARDED_V6, Journald, LogFile, METRICS, Metrics, Options, Sshd,
    attacker_v4, attacker_v6, connects, missing_for_network_tests, missing_for_xdp_tests, pings, poll_until,
    program, run, skip, skip_if,
};
use serde_json::Value;

#[test]
fn an_attack_ends_in_xdp() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let sshd = Sshd::with_rsyslog(&arena);
    let daemon = Daemon::start(&arena.host, Options::xdp().file(sshd.log_file()));
    attackers_are_dropped_and_others_pass(&arena, &sshd, &daemon);

    let drops = poll_until(Duration::from_secs(5), "the kernel counts", || {
        let drops = daemon.json("status")["counters"]["drops"].as_array()?.clone();
        (!drops.is_empty()).then_some(drops)
    });
    assert!(drops.iter().all(|drop| drop[0] == Arena::INTERFACE && drop[1] == "host"), "{drops:?}");
}

#[test]
fn an_attack_ends_in_nftables() {
    skip_if!(missing_for_network_tests());
    let arena = Arena::new();
    let sshd = Sshd::with_rsyslog(&arena);
    let daemon = Daemon::start(&arena.host, Options::nftables().file(sshd.log_file()));
    attackers_are_dropped_and_others_pass(&arena, &sshd, &daemon);
}

#[test]
fn an_attack_is_seen_through_the_journal() {
    skip_if!(missing_for_xdp_tests());
    if !Journald::is_installed() {
        return skip("systemd-journald is not installed");
    }
    let arena = Arena::new();
    let sshd = Sshd::with_journald(&arena);
    let daemon = Daemon::start(&arena.host, Options::xdp().journal(sshd.journal_folder()));
    attackers_are_dropped_and_others_pass(&arena, &sshd, &daemon);
}

#[test]
fn an_account_of_the_server_cannot_have_anybody_banned_through_the_journal() {
    skip_if!(missing_for_xdp_tests());
    if !Journald::is_installed() {
        return skip("systemd-journald is not installed");
    }
    let arena = Arena::new();
    let sshd = Sshd::with_journald(&arena);
    let metrics = SocketAddr::from(([127, 0, 0, 1], 9100));
    let options = Options { more: format!("[metrics]\nlisten = \"{metrics}\"\n"), ..Options::xdp() };
    let daemon = Daemon::start(&arena.host, options.journal(sshd.journal_folder()));
    let (blamed, attacker) = (attacker_v4(0), attacker_v4(1));

    for number in 0..10 {
        sshd.forge(&format!("Failed password for root from {blamed} port {} ssh2", 40_000 + number));
    }
    poll_until(Duration::from_secs(10), "the forgeries are counted", || {
        let line = "guard_source_untrusted_entries_total{source=\"journald\"} 10\n";
        scrape(&arena, metrics).contains(line).then_some(())
    });
    assert_eq!(daemon.json(&format!("why {blamed}"))["score"], "0");

    guess_until_dropped(sshd.client(&arena, attacker), attacker, &daemon);
    assert!(!pings(&arena.outside, attacker, GUARDED_V4), "sshd itself is believed");
    assert!(!daemon.drops(blamed));
    assert!(pings(&arena.outside, blamed, GUARDED_V4));
    assert_eq!(daemon.json("status")["bans"], 1);
}

#[test]
fn a_log_that_is_written_in_another_zone_leads_to_bans() {
    skip_if!(missing_for_network_tests());
    let arena = Arena::new();
    let log = LogFile::of_another_zone(3600);
    let daemon = Daemon::start(&arena.host, Options::nftables().file(log.path()));
    poll_until(Duration::from_secs(60), "the zone is known", || {
        log.guesses(attacker_v4(1), 1);
        let state = daemon.json("status")["sources"][0]["state"].clone();
        (state == "reading; it is written in another zone, 60 min behind this machine's").then_some(())
    });
    log.guesses(attacker_v4(0), 5);
    daemon.await_drop(attacker_v4(0));
}

#[test]
fn a_live_session_of_the_administrator_outlasts_his_own_mistakes() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let sshd = Sshd::with_rsyslog(&arena);
    let daemon = Daemon::start(&arena.host, Options::xdp().file(sshd.log_file()));
    let admin = sshd.client(&arena, ADMIN);

    let mut session = admin.session();
    await_protection(&daemon, ADMIN);
    for _ in 0..10 {
        assert!(admin.guess("root"), "the server still answers");
    }
    // Ten failures are twice what leads to a ban. Both are refused: then all of them have been read.
    let events =
        poll_until(Duration::from_secs(10), &format!("the failures are read\n{}", daemon.log()), || {
            let events = daemon.json(&format!("why {ADMIN}"))["events"].take();
            let is_told = events.as_array()?.iter().any(|event| event["kind"] == "refuse");
            let refused = Metrics::scrape(&arena.host, METRICS)?.count("guard_bans_refused_total");
            (is_told && refused >= 2).then_some(events)
        });
    let told = events.as_array().unwrap().iter().filter(|event| event["kind"] == "refuse").count();
    assert_eq!(told, 1, "the second refusal is told of with those that follow");
    assert!(session.ended().is_none(), "the session outlasts them");
    let reply = daemon.ctl(&format!("ban {ADMIN}"));
    assert_ne!(reply.code, 0, "a ban by hand is refused too: {}", reply.output);

    assert!(session.ended().is_none());
    assert!(!daemon.drops(ADMIN));
}

#[test]
fn a_session_opened_by_a_key_and_a_code_is_one_of_a_key() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let sshd = Sshd::with_two_factors(&arena);
    let daemon = Daemon::start(&arena.host, Options::xdp().file(sshd.log_file()));

    let session = sshd.client(&arena, ADMIN).session_with_code();
    await_protection(&daemon, ADMIN);
    let check = daemon.json(&format!("check {ADMIN}"));
    assert!(check["protected_by"].as_str().unwrap().contains("authenticated by key"), "{check}");
    drop(session);
}

#[test]
fn log_lines_become_drops_within_moments() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let log = LogFile::new();
    let daemon = Daemon::start(&arena.host, Options::xdp().file(log.path()));
    for number in 0..4 {
        log.guesses(attacker_v4(number), 5);
        log.guesses(attacker_v6(number), 5);
    }
    for number in 0..4 {
        daemon.await_drop(attacker_v4(number));
        daemon.await_drop(attacker_v6(number));
    }
    assert!(!pings(&arena.outside, attacker_v4(0), GUARDED_V4));
    assert!(!pings(&arena.outside, attacker_v6(0), GUARDED_V6));
    assert!(pings(&arena.outside, attacker_v4(5), GUARDED_V4));
    assert!(pings(&arena.outside, attacker_v6(5), GUARDED_V6));
}

#[test]
fn the_daemons_own_log_tells_whom_it_banned() {
    skip_if!(missing_for_network_tests());
    let arena = Arena::new();
    let log = LogFile::new();
    let rules = tempfile::tempdir().unwrap();
    let rule =
        "[[rule]]\nname = \"no-oracle\"\nwhen = { user = \"oracle\" }\nthen = { ban = \"permanent\" }\n";
    std::fs::write(rules.path().join("10-test.toml"), rule).unwrap();
    let more = format!("[decide]\nrules = \"{}\"\n", rules.path().display());
    let daemon = Daemon::start(&arena.host, Options { more, ..Options::nftables() }.file(log.path()));
    let (filtered, ruled, scored) = (attacker_v4(0), attacker_v4(1), attacker_v4(2));
    log.guesses(scored, 2);
    log.guesses(filtered, 5);
    log.sshd(1, &format!("Failed password for oracle from {ruled} port 4711 ssh2"));
    daemon.await_drop(filtered);
    daemon.await_drop(ruled);

    let log = daemon.log();
    let mut explain = Command::new(program("guardctl"));
    explain.args(["explain", "--json", "--filter", "recidive"]).args(log.lines());
    let answers = run(&mut explain);
    let banned: Vec<Value> = answers
        .lines()
        .flat_map(|answer| {
            let mut answer: Value = serde_json::from_str(answer).unwrap();
            answer["matches"]
                .as_array_mut()
                .unwrap()
                .iter_mut()
                .map(|one| one["address"].take())
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(banned, [filtered.to_string(), ruled.to_string()], "{log}");
}

#[test]
fn observing_decides_and_lets_pass() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let log = LogFile::new();
    let options = Options { arguments: vec!["--observe"], ..Options::xdp() }.file(log.path());
    let daemon = Daemon::start(&arena.host, options);
    log.guesses(attacker_v4(0), 5);

    poll_until(Duration::from_secs(10), "the decision is recorded", || {
        (daemon.json("status")["bans"] == 1).then_some(())
    });
    assert_eq!(daemon.json("status")["observe"], true);
    assert!(!daemon.drops(attacker_v4(0)));
    assert!(pings(&arena.outside, attacker_v4(0), GUARDED_V4));
    let link = arena.host.ip(&format!("-details link show {}", Arena::INTERFACE));
    assert!(!link.contains("xdp"), "nothing is attached: {link}");
}

#[test]
fn a_forged_key_login_in_a_log_file_is_doubted() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let log = LogFile::new();
    let daemon = Daemon::start(&arena.host, Options::xdp().file(log.path()));
    let (banned, other) = (attacker_v4(0), attacker_v4(1));
    log.guesses(banned, 5);
    daemon.await_drop(banned);

    for address in [banned, other] {
        let claim = format!("Accepted publickey for x from {address} port 50000 ssh2: ED25519 SHA256:AAAA");
        log.sshd(77, &claim);
        poll_until(Duration::from_secs(10), "the doubt is recorded", || {
            let events = daemon.json("events");
            let doubted = |event: &Value| event["kind"] == "doubt" && event["target"] == address.to_string();
            events.as_array()?.iter().any(doubted).then_some(())
        });
        let check = daemon.json(&format!("check {address}"));
        assert!(check["protected_by"].is_null(), "{check}");
    }
    assert!(daemon.drops(banned), "the ban stays");
    assert!(!pings(&arena.outside, banned, GUARDED_V4));
    log.guesses(other, 5);
    daemon.await_drop(other);
}

#[test]
fn a_key_login_protects_across_a_restart() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let sshd = Sshd::with_rsyslog(&arena);
    let options = Options { more: "[allow]\nkey_login_for = \"1h\"\n".into(), ..Options::xdp() };
    let mut daemon = Daemon::start(&arena.host, options.file(sshd.log_file()));
    let session = sshd.client(&arena, ADMIN).session();
    await_protection(&daemon, ADMIN);
    assert_eq!(daemon.ctl(&format!("ban {ADMIN}")).code, 1);

    daemon.stop();
    drop(session);
    poll_until(Duration::from_secs(10), "the session is gone from the kernel", || {
        let sockets = || run(Command::new("ss").args(["-Htn", "state", "established"]));
        (!arena.host.enter(sockets).contains(&ADMIN.to_string())).then_some(())
    });
    daemon.start_again();

    let reply = daemon.ctl(&format!("ban {ADMIN}"));
    assert_eq!(reply.code, 1, "{reply:?}\n{}", daemon.log());
    assert!(!daemon.drops(ADMIN));
    assert_eq!(daemon.ctl(&format!("ban {}", attacker_v4(0))).code, 0, "others can be banned");
}

#[test]
fn a_restart_is_no_fresh_start_for_an_attacker() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let log = LogFile::new();
    let mut daemon = Daemon::start(&arena.host, Options::xdp().file(log.path()));
    let attacker = attacker_v4(0);
    log.guesses(attacker, 4);
    poll_until(Duration::from_secs(10), "the guesses are counted", || {
        (daemon.json(&format!("why {attacker}"))["score"] == "4").then_some(())
    });

    daemon.stop();
    daemon.start_again();
    assert!(!daemon.drops(attacker));
    log.guesses(attacker, 1);
    daemon.await_drop(attacker);
}

/// Two attackers guess until they are cut off; their neighbours and the administrator are not.
fn attackers_are_dropped_and_others_pass(arena: &Arena, sshd: &Sshd, daemon: &Daemon<'_>) {
    let admin = sshd.client(arena, ADMIN);
    assert!(admin.log_in());
    await_protection(daemon, ADMIN);

    for (attacker, server) in [(attacker_v4(0), GUARDED_V4), (attacker_v6(0), GUARDED_V6)] {
        assert!(pings(&arena.outside, attacker, server));
        guess_until_dropped(sshd.client(arena, attacker), attacker, daemon);
        assert!(!pings(&arena.outside, attacker, server), "{attacker} is dropped");
        let port = SocketAddr::new(server, Sshd::PORT);
        assert!(!connects(&arena.outside, attacker, port, Duration::from_secs(1)), "{attacker} is dropped");
    }
    for (neighbour, server) in [(attacker_v4(1), GUARDED_V4), (attacker_v6(1), GUARDED_V6)] {
        assert!(pings(&arena.outside, neighbour, server), "{neighbour} passes");
        assert!(sshd.client(arena, neighbour).guess("root"), "{neighbour} reaches the server");
    }
    for _ in 0..8 {
        assert!(admin.guess("root"), "the server still answers the administrator");
    }
    assert!(admin.log_in());
    let check = daemon.json(&format!("check {ADMIN}"));
    assert_eq!(check["verdict"]["dropped"], false);
    assert!(check["protected_by"].is_string(), "{check}");
}

fn guess_until_dropped(client: Client<'_>, attacker: IpAddr, daemon: &Daemon<'_>) {
    let guesses = (0..10).take_while(|_| client.guess("root")).count();
    assert!((4..=5).contains(&guesses), "{attacker} was cut off after {guesses} guesses\n{}", daemon.log());
    daemon.await_drop(attacker);
}

/// What Prometheus would read.
fn scrape(arena: &Arena, metrics: SocketAddr) -> String {
    arena.host.enter(|| {
        let mut connection = TcpStream::connect(metrics).unwrap();
        connection.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").unwrap();
        let mut text = String::new();
        connection.read_to_string(&mut text).unwrap();
        text
    })
}

fn await_protection(daemon: &Daemon<'_>, address: IpAddr) {
    poll_until(Duration::from_secs(10), "the key login is seen", || {
        daemon.json(&format!("check {address}"))["protected_by"].is_string().then_some(())
    });
}
