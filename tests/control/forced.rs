//! Bans that a person forces past what is allowed: they hold in the kernel, and nothing beside them is touched.

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use harness::{
    ADMIN, Arena, Daemon, GUARDED_V4, GUARDED_V6, Options, Sshd, attacker_v4, attacker_v6,
    missing_for_xdp_tests, pings, poll_until, skip_if,
};

/// What holds the attackers of the arena, and more.
const ALLOWED: &str =
    "[allow]\ntargets = [{ target = \"203.0.113.0/26\", comment = \"test net\" }, \"2001:db8::/64\"]\n";

fn each(options: Options) -> Options {
    Options { more: ALLOWED.into(), ..options }
}

#[test]
fn a_forced_ban_of_what_is_allowed_drops_and_its_neighbours_pass() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    for options in [each(Options::xdp()), each(Options::nftables())] {
        let backend = options.backend;
        let mut daemon = Daemon::start(&arena.host, options);
        let (banned, neighbour) = (attacker_v4(0), attacker_v4(1));
        let refused = daemon.ctl(&format!("ban {banned}"));
        assert_eq!(refused.code, 1, "{backend}: {refused:?}");
        assert!(refused.output.contains("test net"), "{backend}: the comment says why: {refused:?}");
        assert!(pings(&arena.outside, banned, GUARDED_V4), "{backend}");

        let forced = daemon.ctl(&format!("ban {banned} --force --for 1h"));
        assert_eq!(forced.code, 0, "{backend}: {forced:?}");
        assert!(forced.output.contains("although"), "{backend}: {forced:?}");
        assert_eq!(daemon.ctl(&format!("ban {} --force", attacker_v6(0))).code, 0, "{backend}");
        assert!(!pings(&arena.outside, banned, GUARDED_V4), "{backend}");
        assert!(!pings(&arena.outside, attacker_v6(0), GUARDED_V6), "{backend}");
        assert!(pings(&arena.outside, neighbour, GUARDED_V4), "{backend}: its neighbour is still allowed");
        assert_eq!(daemon.json(&format!("check {banned}"))["verdict"]["dropped"], true, "{backend}");
        let events = daemon.json(&format!("events --kind ban --target {banned}"));
        assert!(
            events[0]["detail"]["forced past"].as_str().unwrap().contains("allowed"),
            "{backend}: {events}"
        );
        assert_eq!(daemon.ctl(&format!("ban {neighbour}")).code, 1, "{backend}: the allowlist goes on");

        // Over a restart, a crash, and a reload that changes what is allowed around it.
        daemon.stop();
        daemon.start_again();
        assert!(!pings(&arena.outside, banned, GUARDED_V4), "{backend}");
        let text = fs::read_to_string(daemon.config()).unwrap();
        fs::write(daemon.config(), text.replace("203.0.113.0/26", "203.0.113.0/25")).unwrap();
        let reload = daemon.json("reload");
        assert!(reload["changes"][0].as_str().unwrap().starts_with("allow.targets: "), "{backend}: {reload}");
        poll_until(Duration::from_secs(20), "the kernel is compared", || {
            (daemon.json("status")["restored"] == true).then_some(())
        });
        assert!(!pings(&arena.outside, banned, GUARDED_V4), "{backend}");
        assert!(pings(&arena.outside, neighbour, GUARDED_V4), "{backend}");
        assert_eq!(daemon.json("list").as_array().unwrap().len(), 2, "{backend}");

        // The kernel's entry alone tells whose it is: not even the loss of the store ends it.
        daemon.stop();
        fs::remove_dir_all(daemon.config().with_file_name("state")).unwrap();
        daemon.start_again();
        poll_until(Duration::from_secs(20), "the kernel is compared", || {
            (daemon.json("status")["restored"] == true).then_some(())
        });
        assert!(!pings(&arena.outside, banned, GUARDED_V4), "{backend}");
        assert!(pings(&arena.outside, neighbour, GUARDED_V4), "{backend}");
        assert!(daemon.json("list").to_string().contains("forced"), "{backend}");

        // A person's later word counts.
        assert_eq!(daemon.ctl(&format!("allow add {banned}")).code, 0, "{backend}");
        assert!(pings(&arena.outside, banned, GUARDED_V4), "{backend}");
        assert_eq!(daemon.ctl(&format!("unban {}", attacker_v6(0))).code, 0, "{backend}");
        assert!(pings(&arena.outside, attacker_v6(0), GUARDED_V6), "{backend}");
        daemon.json("unlock");
    }
}

#[test]
fn force_covers_gateways_and_private_ranges_but_not_loopback() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    arena.host.ip(&format!("route add default via {ADMIN}"));
    let daemon = Daemon::start(&arena.host, Options::xdp());
    for target in ["127.0.0.1", "::1", "0.0.0.0/0", "::/0", "0.0.0.0/1"] {
        let reply = daemon.ctl(&format!("ban {target} --force"));
        assert_eq!(reply.code, 1, "{target}: {reply:?}");
    }
    assert!(pings(&arena.outside, ADMIN, GUARDED_V4));
    for target in [ADMIN.to_string(), "192.168.7.7".into()] {
        assert_eq!(daemon.ctl(&format!("ban {target}")).code, 1, "{target}");
        let reply = daemon.ctl(&format!("ban {target} --force"));
        assert_eq!(reply.code, 0, "{target}: {reply:?}");
    }
    assert!(!pings(&arena.outside, ADMIN, GUARDED_V4));
    assert_eq!(daemon.json("list --origin manual").as_array().unwrap().len(), 2);
}

#[test]
fn who_is_logged_in_by_the_systems_records_is_protected_while_he_is_connected() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let sshd = Sshd::with_rsyslog(&arena);
    let logins = tempfile::tempdir().unwrap();
    // It reads no log of that server: only the record tells of him.
    let daemon =
        Daemon::start(&arena.host, Options { logins: Some(logins.path().to_path_buf()), ..Options::xdp() });
    let person = attacker_v4(3);
    let client = sshd.client(&arena, person);
    let session = client.session();
    let record = logins.path().join("7");
    fs::write(&record, format!("UID=0\nREMOTE=1\nREMOTE_HOST={person}\nSERVICE=sshd\n")).unwrap();
    // Another one's name is no address, and a third has a record but no connection.
    fs::write(logins.path().join("8"), "REMOTE=1\nREMOTE_HOST=host.example\n").unwrap();
    fs::write(logins.path().join("9"), format!("REMOTE=1\nREMOTE_HOST={}\n", attacker_v4(4))).unwrap();

    let listed = |address: IpAddr| {
        let list = daemon.json("allow list").to_string();
        list.contains(&address.to_string())
    };
    poll_until(Duration::from_secs(15), "the record is read", || listed(person).then_some(()));
    let refused = daemon.ctl(&format!("ban {person}"));
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.output.contains("login session in the system's records"), "{refused:?}");
    assert!(!listed(attacker_v4(4)), "a record without a connection is out of date");

    drop(session);
    poll_until(Duration::from_secs(15), "he has gone", || (!listed(person)).then_some(()));
    assert_eq!(daemon.ctl(&format!("ban {person}")).code, 0);
    assert!(!pings(&arena.outside, person, GUARDED_V4));
}
