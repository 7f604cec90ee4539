//! What guard does when something is wrong: it says what, and what it does instead.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

use std::fs;
use std::net::{IpAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use harness::{
    Arena, Daemon, Denied, GUARDED_V4, LogFile, Namespace, Options, attach_foreign_xdp, attacker_v4,
    config_text, foreign_xdp, missing_for_network_tests, missing_for_xdp_tests, pings, poll_until, program,
    run, skip_if,
};

/// Runs guard to its end.
fn guard(config: &std::path::Path) -> Output {
    Command::new(program("guard")).arg("--config").arg(config).output().unwrap()
}

#[test]
fn a_wrong_configuration_is_named_by_line_and_starts_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guard.toml");
    let base = config_text(&Options::nftables(), folder.path(), &folder.path().join("bpf"));
    let line = base.lines().count() + 2;
    for (wrong, hint) in [
        ("treshold = 5", "threshold"),
        ("threshold = \"many\"", "threshold"),
        ("window = \"10 parsecs\"", "parsecs"),
        ("window = 600", "unit"),
    ] {
        fs::write(&path, format!("{base}[decide]\n{wrong}\n")).unwrap();
        let output = guard(&path);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{wrong}: {said}");
        assert!(said.contains(&format!("{}:{line}", path.display())), "{wrong}: {said}");
        assert!(said.contains(hint), "{wrong}: {said}");
        assert!(
            !folder.path().join("state").exists() && !folder.path().join("run").exists(),
            "nothing was started"
        );
    }
    let output = guard(&folder.path().join("absent.toml"));
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("absent.toml"));
}

#[test]
fn a_second_daemon_on_the_same_state_is_refused() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let mut daemon = Daemon::start(&arena.host, Options::xdp());
    let config = daemon.config();
    let output = arena.host.enter(|| guard(&config));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let pid = daemon.process().pid().as_raw_nonzero().to_string();
    assert!(said.contains(&pid), "the owner is named: {said}");
    daemon.json("status");
}

#[test]
fn a_missing_log_file_is_named_and_awaited() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let log = LogFile::new();
    let path = log.path().with_file_name("later.log");
    let daemon = Daemon::start(&arena.host, Options::xdp().file(&path));
    let shown = path.to_string_lossy();
    let problems = poll_until(Duration::from_secs(5), "status names the file", || {
        let problems = daemon.json("status")["problems"].to_string();
        problems.contains(&*shown).then_some(problems)
    });
    assert!(daemon.ctl("doctor").output.contains(&*shown), "doctor names it too: {problems}");

    fs::rename(log.path(), &path).unwrap();
    poll_until(Duration::from_secs(10), "the file is read", || {
        daemon.json("status")["problems"].as_array()?.is_empty().then_some(())
    });
}

#[test]
fn the_xdp_program_of_others_stays() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let theirs = attach_foreign_xdp(&arena.host, Arena::INTERFACE);
    let daemon = Daemon::start(&arena.host, Options { backend: "auto", ..Options::xdp() });
    daemon.json(&format!("ban {}", attacker_v4(0)));

    assert!(!pings(&arena.outside, attacker_v4(0), GUARDED_V4), "enforced in another way");
    assert_eq!(foreign_xdp(&arena.host, Arena::INTERFACE), Some(theirs));
    let status = daemon.json("status");
    let interface = &status["enforcer"]["interfaces"][0];
    assert_eq!(interface["mode"], "nftables", "{interface}");
    assert!(
        interface["reason"].to_string().contains(&theirs.to_string()),
        "their program is named: {interface}"
    );
    assert!(!status["problems"].as_array().unwrap().is_empty(), "{status}");
}

#[test]
fn without_root_guard_says_how_to_start_it() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let options = Options { denied: Denied::Privileges, ..Options::xdp() };
    let mut daemon = Daemon::spawn(&arena.host, options);
    assert_eq!(daemon.process().wait(Duration::from_secs(10)).code(), Some(1));
    let said = daemon.log();
    assert!(said.contains("root") && said.contains("--observe"), "{said}");
}

#[test]
fn an_observer_without_root_names_what_it_cannot_read() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let log = LogFile::new();
    fs::set_permissions(log.path(), fs::Permissions::from_mode(0o600)).unwrap();
    let options = Options { denied: Denied::Privileges, arguments: vec!["--observe"], ..Options::xdp() }
        .file(log.path());
    let daemon = Daemon::start(&arena.host, options);
    let problems = poll_until(Duration::from_secs(5), "the unreadable log is named", || {
        let problems = daemon.json("status")["problems"].to_string();
        problems.contains(&*log.path().to_string_lossy()).then_some(problems)
    });
    assert!(problems.to_lowercase().contains("permi"), "{problems}");
}

#[test]
fn without_capabilities_guard_observes_and_says_so() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let options = Options { backend: "auto", denied: Denied::Capabilities, ..Options::xdp() };
    let daemon = Daemon::start(&arena.host, options);
    let status = daemon.json("status");
    assert_eq!(status["enforcer"]["backend"], "observe", "{status}");
    let problems = status["problems"].to_string();
    assert!(problems.contains("CAP_"), "{problems}");
    let doctor = daemon.ctl("doctor");
    assert!(doctor.output.contains("CAP_"), "{doctor:?}");
}

#[test]
fn a_ban_gives_way_to_an_address_that_becomes_the_hosts_own() {
    skip_if!(missing_for_xdp_tests());
    for options in [Options::xdp(), Options::nftables()] {
        let arena = Arena::new();
        let daemon = Daemon::start(&arena.host, options);
        // Whoever had the address was banned, and so was its network, from where others ask.
        let (own, asking) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        arena.outside.ip(&format!("address add {asking}/24 dev outside0"));
        daemon.json(&format!("ban {own} 192.0.2.0/24"));
        assert!(daemon.drops(own) && daemon.drops(asking));

        let start = Instant::now();
        arena.host.ip(&format!("address add {own}/24 dev {}", Arena::INTERFACE));
        poll_until(Duration::from_secs(5), "the bans are lifted", || {
            (!daemon.drops(own) && !daemon.drops(asking)).then_some(())
        });
        assert!(start.elapsed() < Duration::from_secs(1), "after {:?}", start.elapsed());
        poll_until(Duration::from_secs(5), "packets pass", || {
            pings(&arena.outside, asking, own).then_some(())
        });
        assert_eq!(daemon.json("list"), serde_json::json!([]));
        let check = daemon.ctl(&format!("check {own}")).output;
        assert!(check.contains("own address"), "{check}");
        let events = daemon.json(&format!("why {own}"))["events"].clone();
        let lifted = events.as_array().unwrap().iter().find(|event| event["kind"] == "unban").unwrap();
        assert!(lifted["detail"]["because"].as_str().unwrap().contains("own address"), "{lifted}");
        assert_eq!(daemon.ctl(&format!("ban {own}")).code, 1, "nor is it banned again");
    }
}

#[test]
fn a_wrong_filter_is_named_by_line_and_changes_nothing() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let log = LogFile::new();
    let folder = tempfile::tempdir().unwrap();
    let filter = folder.path().join("other.toml");
    let write_pattern = |pattern: &str| {
        let text =
            format!("identifiers = [\"other\"]\n\n[[pattern]]\nkind = \"failed-auth\"\ntext = '{pattern}'\n");
        fs::write(&filter, text).unwrap();
    };
    write_pattern("Bad <account> from <address>");
    let more =
        format!("[filter]\nfolder = \"{}\"\nenable = [\"sshd\", \"other\"]\n", folder.path().display());
    let daemon = Daemon::start(&arena.host, Options { more, ..Options::xdp() }.file(log.path()));
    let good = fs::read_to_string(daemon.config()).unwrap();
    let pattern = "Bad <account> from <address> because <text>";
    write_pattern(pattern);
    fs::write(daemon.config(), format!("{good}\n[decide]\nthreshold = 3\n")).unwrap();

    let place = format!("{}:5", filter.display());
    for (command, code) in [("config check", 2), ("reload", 1)] {
        let reply = daemon.ctl(command);
        assert_eq!(reply.code, code, "{command}: {reply:?}");
        assert!(reply.errors.contains(&place) && reply.errors.contains(pattern), "{command}: {reply:?}");
    }
    assert!(daemon.json("status")["problems"].to_string().contains(&place));
    // The old threshold of five points still holds.
    log.guesses(attacker_v4(0), 3);
    log.guesses(attacker_v4(1), 5);
    daemon.await_drop(attacker_v4(1));
    assert!(!daemon.drops(attacker_v4(0)));

    write_pattern("Bad <account> from <address>");
    assert_eq!(daemon.ctl("reload").code, 0);
    log.guesses(attacker_v4(2), 3);
    daemon.await_drop(attacker_v4(2));
}

#[test]
fn a_taken_port_costs_the_metrics_only() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let taken = arena.host.enter(|| TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = taken.local_addr().unwrap();
    let options = Options { more: format!("[metrics]\nlisten = \"{address}\"\n"), ..Options::xdp() };
    let daemon = Daemon::start(&arena.host, options);
    let problems = daemon.json("status")["problems"].to_string();
    assert!(problems.contains("metrics") && problems.contains(&address.to_string()), "{problems}");
    daemon.json(&format!("ban {}", attacker_v4(0)));
    assert!(!pings(&arena.outside, attacker_v4(0), GUARDED_V4));
}

#[test]
fn a_host_without_a_way_to_the_outside_is_told_until_it_has_one() {
    skip_if!(missing_for_xdp_tests());
    let host = Namespace::new();
    let daemon = Daemon::start(&host, Options { interface: None, ..Options::xdp() });
    let problems = || daemon.json("status")["problems"].to_string();
    poll_until(Duration::from_secs(5), "it is told", || {
        problems().contains("nothing is dropped").then_some(())
    });
    host.ip("link add late0 type veth peer name far0");
    host.ip("link set late0 up");
    host.ip("link set far0 up");
    poll_until(Duration::from_secs(5), "it is covered", || {
        (!problems().contains("nothing is dropped")).then_some(())
    });
}

#[test]
fn an_interface_that_appears_is_covered_within_a_second() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let daemon = Daemon::start(&arena.host, Options { interface: None, ..Options::xdp() });
    let banned: IpAddr = "198.51.100.7".parse().unwrap();
    let guarded: IpAddr = "198.51.100.1".parse().unwrap();
    daemon.json(&format!("ban {banned}"));
    arena.host.ip(&format!("link add late0 type veth peer name far0 netns {}", arena.outside.path()));
    arena.outside.ip(&format!("address add {banned}/24 dev far0"));
    arena.outside.ip("address add 198.51.100.8/24 dev far0");
    arena.outside.ip("link set far0 up");
    arena.host.ip(&format!("address add {guarded}/24 dev late0"));

    let up = Instant::now();
    arena.host.ip("link set late0 up");
    poll_until(Duration::from_secs(10), "the interface is covered", || {
        let status = daemon.json("status");
        let interfaces = status["enforcer"]["interfaces"].as_array()?;
        interfaces.iter().any(|one| one["name"] == "late0" && one["mode"] == "native").then_some(())
    });
    assert!(up.elapsed() < Duration::from_secs(1), "after {:?}\n{}", up.elapsed(), daemon.log());

    poll_until(Duration::from_secs(10), "the wire is up", || {
        pings(&arena.outside, "198.51.100.8".parse().unwrap(), guarded).then_some(())
    });
    assert!(!pings(&arena.outside, banned, guarded));
    let drops = daemon.json("status")["counters"]["drops"].clone();
    let on_late =
        |drop: &serde_json::Value| drop[0] == "late0" && drop[1] == "host" && drop[2].as_u64() > Some(0);
    assert!(drops.as_array().unwrap().iter().any(on_late), "{drops}");
}

#[test]
fn threads_that_end_unasked_are_told_and_started_again() {
    skip_if!(missing_for_network_tests());
    let arena = Arena::new();
    let log = LogFile::new();
    let mut daemon = Daemon::start(&arena.host, Options::nftables().file(log.path()));
    let pid = daemon.process().pid().as_raw_nonzero().to_string();
    let limit = |files: &str| {
        run(Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={files}:")]));
    };
    let usual =
        run(Command::new("prlimit").args(["--pid", &pid, "--nofile", "--output=SOFT", "--noheadings"]));
    let nft = |arguments: &str| {
        arena.host.enter(|| run(Command::new("nft").args(arguments.split(' '))));
    };

    // poll(2) does not wait for more descriptors than the process may open: who waits so ends when something happens.
    limit("1");
    log.guesses(attacker_v4(0), 5);
    arena.host.ip("address add 198.51.100.1/32 dev lo");
    nft("add table ip other");
    poll_until(Duration::from_secs(20), "all three have ended and cannot be started", || {
        let log = daemon.log();
        let later = |what: &str| log.lines().any(|line| line.contains(what) && line.contains("4 s"));
        (later("not read") && log.matches("is not followed").count() >= 6).then_some(())
    });
    limit(usual.trim());
    let told = poll_until(Duration::from_secs(5), "the daemon answers again", || {
        let reply = daemon.ctl("--json status");
        (reply.code == 0).then(|| reply.json()["problems"].to_string())
    });
    for what in ["the network is not followed", "the packet filter is not followed", "auth.log: not read"] {
        assert!(told.contains(what), "{what}: {told}");
    }

    poll_until(Duration::from_secs(20), "all is well again", || {
        daemon.json("status")["problems"].as_array()?.is_empty().then_some(())
    });
    daemon.await_drop(attacker_v4(0));
    arena.host.ip("address add 198.51.100.2/32 dev lo");
    poll_until(Duration::from_secs(5), "the network is followed", || {
        daemon.json("check 198.51.100.2")["protected_by"].is_string().then_some(())
    });
    nft("flush ruleset");
    daemon.await_drop(attacker_v4(0));
    assert!(!pings(&arena.outside, attacker_v4(0), GUARDED_V4));
}
