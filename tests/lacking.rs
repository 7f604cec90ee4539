//! A machine or a build that lacks a part: guard says which, and what it does instead.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use harness::{
    Arena, Daemon, Denied, GUARDED_V4, Options, attacker_v4, missing_for_network_tests,
    missing_for_xdp_tests, pings, poll_until, program_without_object, run, skip, skip_if,
};

#[test]
fn a_build_without_the_packet_program_runs_on_nftables_and_says_so() {
    let Some(guardctl) = program_without_object("guardctl") else {
        return skip("guard is not built without its object: cargo xtask test does that");
    };
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let options = |backend| Options { backend, denied: Denied::Object, ..Options::xdp() };
    let daemon = Daemon::start(&arena.host, options("auto"));
    daemon.json(&format!("ban {}", attacker_v4(0)));
    assert!(!pings(&arena.outside, attacker_v4(0), GUARDED_V4));
    assert!(pings(&arena.outside, attacker_v4(1), GUARDED_V4));
    let status = daemon.json("status");
    assert_eq!(status["enforcer"]["backend"], "nftables", "{status}");
    let because = "carries no eBPF object";
    for told in [&status["problems"], &status["enforcer"]] {
        assert!(told.to_string().contains(because), "{status}");
    }
    let doctor = Command::new(guardctl).arg("--config").arg(daemon.config()).arg("doctor").output().unwrap();
    let said = String::from_utf8_lossy(&doctor.stdout);
    assert!(said.contains("this build carries none") && said.contains("cargo xtask build-ebpf"), "{said}");

    let mut refused = Daemon::spawn(&arena.host, options("xdp"));
    assert_eq!(refused.process().wait(Duration::from_secs(10)).code(), Some(1));
    assert!(refused.log().contains(because), "{}", refused.log());
}

#[test]
fn without_nf_tables_in_the_kernel_the_fallback_is_named_as_missing() {
    skip_if!(missing_for_network_tests());
    let arena = Arena::new();
    let options = Options { denied: Denied::NfTables, ..Options::nftables() };
    let mut daemon = Daemon::spawn(&arena.host, options);
    let status = daemon.process().wait(Duration::from_secs(10));
    assert_eq!(status.code(), Some(1), "{}", daemon.log());
    assert!(daemon.log().contains("the kernel has no nf_tables"), "{}", daemon.log());
}

#[test]
fn the_program_nft_is_not_needed() {
    skip_if!(missing_for_network_tests());
    let arena = Arena::new();
    let daemon = Daemon::start(&arena.host, Options { denied: Denied::Nft, ..Options::nftables() });
    daemon.json(&format!("ban {}", attacker_v4(0)));
    daemon.await_drop(attacker_v4(0));
    assert!(!pings(&arena.outside, attacker_v4(0), GUARDED_V4));
    assert!(pings(&arena.outside, attacker_v4(1), GUARDED_V4));
    let doctor = daemon.ctl("doctor");
    assert!(doctor.output.contains("nftables"), "{doctor:?}");
}

#[test]
fn without_btf_xdp_works_all_the_same_and_doctor_tells() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let daemon = Daemon::start(&arena.host, Options { denied: Denied::Btf, ..Options::xdp() });
    daemon.json(&format!("ban {}", attacker_v4(0)));
    assert!(!pings(&arena.outside, attacker_v4(0), GUARDED_V4));
    assert!(pings(&arena.outside, attacker_v4(1), GUARDED_V4));
    let status = daemon.json("status");
    assert_eq!(status["enforcer"]["interfaces"][0]["mode"], "native", "{status}");
    assert_eq!(status["problems"], serde_json::json!([]));
    assert_eq!(finding(&daemon, "BTF")["level"], "warn");
}

#[test]
fn without_bpffs_guard_takes_nftables_and_says_why() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let auto = Options { backend: "auto", ..Options::xdp() };
    let daemon = Daemon::start(&arena.host, Options { denied: Denied::Bpffs, ..auto });
    daemon.json(&format!("ban {}", attacker_v4(0)));
    assert!(!pings(&arena.outside, attacker_v4(0), GUARDED_V4));
    assert!(pings(&arena.outside, attacker_v4(1), GUARDED_V4));
    let status = daemon.json("status");
    assert_eq!(status["enforcer"]["backend"], "nftables", "{status}");
    for told in [&status["problems"], &status["enforcer"]] {
        assert!(told.to_string().contains("mounting bpffs on /sys/fs/bpf"), "{status}");
    }
    let found = finding(&daemon, "bpffs");
    assert_eq!(found["level"], "warn", "{found}");
    assert!(found["detail"].to_string().contains("mount -t bpf bpf /sys/fs/bpf"), "{found}");

    let mut refused = Daemon::spawn(&arena.host, Options { denied: Denied::Bpffs, ..Options::xdp() });
    assert_eq!(refused.process().wait(Duration::from_secs(10)).code(), Some(1));
    assert!(refused.log().contains("mounting bpffs on /sys/fs/bpf"), "{}", refused.log());
}

/// Where nothing can be enforced at the start, guard watches, says so, and tries again by itself.
#[test]
fn where_no_backend_could_be_opened_bans_are_in_force_once_one_can() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    // The table's name belongs to somebody else, as long as he runs.
    let mut owner = arena
        .host
        .enter(|| Command::new("nft").arg("-i").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap());
    let mut orders = owner.stdin.take().unwrap();
    writeln!(orders, "add table inet guard {{ flags owner; }}").unwrap();
    poll_until(Duration::from_secs(10), "the table is there", || {
        let tables = arena.host.enter(|| run(Command::new("nft").args(["list", "tables"])));
        tables.contains("inet guard").then_some(())
    });
    let options = Options { backend: "auto", denied: Denied::Bpffs, ..Options::xdp() };
    let daemon = Daemon::start(&arena.host, options);
    daemon.json(&format!("ban {}", attacker_v4(0)));
    let status = daemon.json("status");
    assert_eq!(status["enforcer"]["backend"], "observe", "{status}");
    assert!(status["problems"].to_string().contains("nothing is enforced"), "{status}");
    assert!(status["problems"].to_string().contains("guard tries again"), "{status}");
    assert!(pings(&arena.outside, attacker_v4(0), GUARDED_V4));

    drop(orders);
    assert!(owner.wait().unwrap().success());
    daemon.await_drop(attacker_v4(0));
    assert!(!pings(&arena.outside, attacker_v4(0), GUARDED_V4));
    assert!(pings(&arena.outside, attacker_v4(1), GUARDED_V4));
    let status = daemon.json("status");
    assert_eq!(status["enforcer"]["backend"], "nftables", "{status}");
    assert!(!status["problems"].to_string().contains("nothing is enforced"), "{status}");
    let events = daemon.json("events --kind enforce");
    assert_eq!(events[0]["detail"]["backend"], "nftables", "{events}");

    // What a person ended stays so until a person begins it again.
    daemon.json("unlock");
    assert!(pings(&arena.outside, attacker_v4(0), GUARDED_V4));
    assert!(daemon.json("status")["problems"].to_string().contains("unlocked by hand"));
}

/// What doctor says of one thing, as the daemon sees the machine.
fn finding(daemon: &Daemon<'_>, what: &str) -> serde_json::Value {
    let findings = daemon.ctl_beside("--json doctor").json();
    let found = findings.as_array().unwrap().iter().find(|finding| finding["what"] == what);
    found.unwrap_or_else(|| panic!("nothing of {what}: {findings}")).clone()
}
