//! The daemon as its systemd unit starts it: as root with a few capabilities, and none to be gained.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use harness::{
    ADMIN, Arena, Daemon, Denied, GUARDED_V4, GUARDED_V6, Journald, Options, Sshd, attacker_v4, attacker_v6,
    missing_for_xdp_tests, pings, poll_until, program, run, skip_if,
};

/// Where the SSH server listens.
const PORT: u16 = 2222;

/// What this machine lacks for these tests.
fn missing() -> Option<String> {
    let no_journald = || (!Journald::is_installed()).then(|| "systemd-journald is not installed".to_owned());
    missing_for_xdp_tests().or_else(no_journald)
}

fn as_the_unit(journal: &Path) -> Options {
    Options { denied: Denied::AllButTheUnit, ..Options::xdp() }.journal(journal)
}

#[test]
fn the_units_capabilities_are_enough_for_an_attack_and_a_restart() {
    skip_if!(missing());
    let arena = Arena::new();
    let sshd = Sshd::with_journald_at(&arena, PORT);
    let mut daemon = Daemon::start(&arena.host, as_the_unit(sshd.journal_folder()));
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.process().pid())).unwrap();
    let held =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    assert_eq!(held("NoNewPrivs:"), "1");
    assert_eq!(u64::from_str_radix(&held("CapEff:"), 16).unwrap().count_ones(), 4, "{status}");

    let attackers = [(attacker_v4(0), GUARDED_V4), (attacker_v6(0), GUARDED_V6)];
    for (attacker, server) in attackers {
        let client = sshd.client(&arena, attacker);
        let guesses = (0..10).take_while(|_| client.guess("root")).count();
        assert!((4..=5).contains(&guesses), "{attacker} was cut off after {guesses} guesses");
        daemon.await_drop(attacker);
        assert!(!pings(&arena.outside, attacker, server));
    }
    assert!(pings(&arena.outside, attacker_v4(1), GUARDED_V4));
    assert_eq!(daemon.json("status")["enforcer"]["interfaces"][0]["mode"], "native");
    assert_eq!(daemon.json("status")["problems"], serde_json::json!([]));

    daemon.kill();
    assert!(!pings(&arena.outside, attacker_v4(0), GUARDED_V4));
    daemon.start_again();
    for (attacker, server) in attackers {
        daemon.await_drop(attacker);
        assert!(!pings(&arena.outside, attacker, server));
    }
    assert_eq!(daemon.ctl(&format!("unban {}", attacker_v4(0))).code, 0);
    assert!(pings(&arena.outside, attacker_v4(0), GUARDED_V4));
    assert_eq!(daemon.json("status")["problems"], serde_json::json!([]));
}

/// Of a session whose log line names no port only the server's own port tells which connection it may be.
#[test]
fn a_session_without_a_port_is_found_at_an_ssh_server_on_another_port() {
    skip_if!(missing());
    let arena = Arena::new();
    let sshd = Sshd::with_journald_at(&arena, PORT);
    let folder = tempfile::tempdir().unwrap();
    let filter = "identifiers = [\"other\"]\n\n[[pattern]]\nkind = \"key-login\"\n\
                  text = 'Key of <account> from <address>'\n";
    fs::write(folder.path().join("other.toml"), filter).unwrap();
    let more = format!(
        "[filter]\nfolder = \"{}\"\nenable = [\"other\"]\n\n[allow]\nkey_login_for = \"1s\"\n",
        folder.path().display()
    );
    let daemon = Daemon::start(&arena.host, Options { more, ..as_the_unit(sshd.journal_folder()) });
    let session = sshd.client(&arena, ADMIN).session();
    let gone = attacker_v4(0);
    for address in [ADMIN, gone] {
        sshd.log_as("other", &format!("Key of admin from {address}"));
        poll_until(Duration::from_secs(5), "the login is seen", || {
            is_protected(&daemon, address).then_some(())
        });
    }

    // When the kernel's connections have been looked at, who has none has lost his protection, and the other has not.
    poll_until(Duration::from_secs(15), "connections are compared", || {
        (!is_protected(&daemon, gone)).then_some(())
    });
    assert!(is_protected(&daemon, ADMIN), "{}", daemon.log());
    assert_eq!(daemon.ctl(&format!("ban {ADMIN}")).code, 1);
    drop(session);
    poll_until(Duration::from_secs(15), "the session has ended", || {
        (!is_protected(&daemon, ADMIN)).then_some(())
    });
}

/// Whoever logged in with a password has no other protection: guardctl tells where its own session comes from.
#[test]
fn nobody_bans_the_session_he_sits_in() {
    skip_if!(missing());
    let arena = Arena::new();
    let sshd = Sshd::with_journald_at(&arena, PORT);
    let daemon = Daemon::start(&arena.host, as_the_unit(sshd.journal_folder()));
    let ban = |target: &str| {
        Command::new(program("guardctl"))
            .arg("--config")
            .arg(daemon.config())
            .args(["ban", target])
            .env("SSH_CONNECTION", format!("{} 50122 {GUARDED_V4} {PORT}", attacker_v4(2)))
            .output()
            .unwrap()
    };
    for own in [attacker_v4(2).to_string(), "203.0.113.12/31".to_owned()] {
        let output = ban(&own);
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{own}: {said}");
        assert!(said.contains("your own session"), "{own}: {said}");
    }
    assert_eq!(ban(&attacker_v4(4).to_string()).status.code(), Some(0));
}

#[test]
fn pins_whose_folder_is_removed_come_back_before_a_restart_needs_them() {
    skip_if!(missing());
    let arena = Arena::new();
    let sshd = Sshd::with_journald_at(&arena, PORT);
    let mut daemon = Daemon::start(&arena.host, as_the_unit(sshd.journal_folder()));
    let banned = attacker_v4(0);
    daemon.json(&format!("ban {banned}"));
    let links = daemon.bpffs().join(format!("v{}/links", guard_common::ABI));
    let pinned = || fs::read_dir(&links).map_or(0, Iterator::count);
    assert_eq!(pinned(), 1);
    fs::remove_dir_all(daemon.bpffs()).unwrap();
    assert!(!pings(&arena.outside, banned, GUARDED_V4), "links are held");
    poll_until(Duration::from_secs(15), "the link is pinned again", || (pinned() == 1).then_some(()));
    daemon.kill();
    assert!(!pings(&arena.outside, banned, GUARDED_V4));
    daemon.start_again();
    daemon.await_drop(banned);
    assert_eq!(daemon.json("status")["problems"], serde_json::json!([]));
}

/// The unit may write into the folder of the pins alone, which is mounted over itself for that: once somebody removes
/// it, nothing can be made in its place.
#[test]
fn pins_that_cannot_be_made_again_are_told_and_hold_nothing_up() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let options = Options { before: Some("true".into()), ..Options::xdp() };
    let mut daemon = Daemon::start(&arena.host, options);
    daemon.json(&format!("ban {}", attacker_v4(0)));
    let pins = daemon.bpffs().display().to_string();
    let script = format!("mount --bind {pins} {pins} && mount -o remount,bind,ro /sys/fs/bpf");
    let inside = format!("--target={}", daemon.process().pid());
    run(Command::new("nsenter").args([&inside, "--mount", "sh", "-c", &script]));
    fs::remove_dir_all(&pins).unwrap();
    poll_until(Duration::from_secs(15), "the missing pins are told", || {
        let problems = daemon.json("status")["problems"].to_string();
        (problems.contains(&pins) && problems.contains("restart it")).then_some(())
    });

    // Everything else goes on: bans, their comparison with the kernel, interfaces that are new.
    daemon.json(&format!("ban {}", attacker_v4(1)));
    for banned in [attacker_v4(0), attacker_v4(1)] {
        assert!(!pings(&arena.outside, banned, GUARDED_V4));
    }
    arena.host.ip(&format!("link set {} down", Arena::INTERFACE));
    arena.host.ip(&format!("link set {} name other0", Arena::INTERFACE));
    arena.host.ip("link add guarded0 type veth peer name guarded1");
    arena.host.ip("link set guarded0 up");
    poll_until(Duration::from_secs(15), "the new interface is covered", || {
        (daemon.json("status")["enforcer"]["interfaces"][0]["mode"] == "native").then_some(())
    });
    arena.host.ip("link delete guarded0");
    arena.host.ip(&format!("link set other0 name {}", Arena::INTERFACE));
    arena.host.ip(&format!("link set {} up", Arena::INTERFACE));

    daemon.stop();
    daemon.start_again();
    for banned in [attacker_v4(0), attacker_v4(1)] {
        daemon.await_drop(banned);
        poll_until(Duration::from_secs(15), "its packets are dropped", || {
            (!pings(&arena.outside, banned, GUARDED_V4)).then_some(())
        });
    }
    assert!(pings(&arena.outside, attacker_v4(2), GUARDED_V4));
    assert_eq!(daemon.json("status")["problems"], serde_json::json!([]));
}

fn is_protected(daemon: &Daemon<'_>, address: IpAddr) -> bool {
    daemon.json(&format!("check {address}"))["protected_by"].is_string()
}
