//! guardctl: what scripts rely on.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use harness::{
    ADMIN, Arena, Daemon, GUARDED_V4, GUARDED_V6, LogFile, METRICS, Metrics, Options, Reply, attacker_v4,
    attacker_v6, missing_for_xdp_tests, pings, poll_until, program, skip_if,
};
use serde_json::{Value, json};

#[path = "control/forced.rs"]
mod forced;
#[path = "control/metrics.rs"]
mod metrics;
#[path = "control/told.rs"]
mod told;

/// Runs guardctl without a daemon, with something to read.
fn guardctl(arguments: &[&str], input: &str) -> Reply {
    let mut child = Command::new(program("guardctl"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that refuses its arguments does not wait for what it would have read.
    match child.stdin.take().unwrap().write_all(input.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => panic!("{error}"),
        _ => {}
    }
    let output = child.wait_with_output().unwrap();
    Reply {
        code: output.status.code().unwrap_or(-1),
        output: String::from_utf8_lossy(&output.stdout).into_owned(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn bans_by_hand_come_and_go() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let daemon = Daemon::start(&arena.host, Options::xdp());
    let address = attacker_v4(0);
    assert_eq!(daemon.ctl(&format!("ban {address} --for 1h --reason because")).code, 0);
    assert!(!pings(&arena.outside, address, GUARDED_V4));

    let list = daemon.json("list");
    let ban = &list.as_array().unwrap()[0];
    assert_eq!(
        (&ban["target"], &ban["reason"]),
        (&Value::from(address.to_string()), &Value::from("because"))
    );
    assert!((3500..=3600).contains(&ban["seconds_left"].as_u64().unwrap()), "{ban}");
    let check = daemon.json(&format!("check {address}"));
    assert!(check["verdict"]["entries"][0]["packets"].as_u64().unwrap() > 0, "{check}");
    assert_eq!(daemon.json(&format!("why {address}"))["bans"].as_array().unwrap().len(), 1);

    assert_eq!(daemon.ctl(&format!("unban {address}")).code, 0);
    assert!(pings(&arena.outside, address, GUARDED_V4));
    assert!(daemon.json("list").as_array().unwrap().is_empty());
}

#[test]
fn a_prefix_covers_its_hosts_until_one_of_them_is_allowed() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let daemon = Daemon::start(&arena.host, Options::xdp());
    // Attackers 0 to 5 are .10 to .15; a prefix with the host's own address in it would be refused.
    let prefix = "203.0.113.8/29";
    assert_eq!(daemon.ctl(&format!("ban {prefix}")).code, 0);
    assert!(!pings(&arena.outside, attacker_v4(0), GUARDED_V4));
    assert!(pings(&arena.outside, attacker_v4(6), GUARDED_V4));

    assert_eq!(daemon.ctl(&format!("allow add {}", attacker_v4(0))).code, 0);
    assert!(pings(&arena.outside, attacker_v4(0), GUARDED_V4));
    let reply = daemon.ctl(&format!("ban {prefix}"));
    assert_eq!(reply.code, 1, "a prefix that covers an allowed host is refused: {reply:?}");
    assert!(reply.output.contains(&attacker_v4(0).to_string()), "{reply:?}");

    assert_eq!(daemon.ctl(&format!("allow remove {}", attacker_v4(0))).code, 0);
    assert_eq!(daemon.ctl(&format!("ban {prefix}")).code, 0);
    assert!(!pings(&arena.outside, attacker_v4(0), GUARDED_V4));
}

#[test]
fn what_is_protected_cannot_be_banned() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    arena.host.ip(&format!("route add default via {ADMIN}"));
    let daemon = Daemon::start(&arena.host, Options::xdp());
    for (target, because) in [
        (GUARDED_V4.to_string(), "own"),
        ("203.0.113.0/24".into(), "own"),
        ("127.0.0.1".into(), "loopback"),
        ("0.0.0.0/0".into(), ""),
        (ADMIN.to_string(), "gateway"),
        ("192.168.7.7".into(), "private"),
    ] {
        let reply = daemon.ctl(&format!("ban {target}"));
        let said = format!("{}{}", reply.output, reply.errors);
        assert_eq!(reply.code, 1, "{target}: {said}");
        assert!(said.to_lowercase().contains(because), "{target}: {said}");
    }
    assert!(daemon.json("list").as_array().unwrap().is_empty());
}

#[test]
fn reading_commands_answer_in_json() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let log = LogFile::new();
    let daemon = Daemon::start(&arena.host, Options::xdp().file(log.path()));
    let status = daemon.json("status");
    assert_eq!(status["enforcer"]["backend"], "xdp");
    assert_eq!(status["enforcer"]["interfaces"][0]["mode"], "native", "{status}");
    assert_eq!(status["problems"], Value::Array(Vec::new()));
    for command in ["list", "allow list", "events", "config show", "config check"] {
        daemon.json(command);
    }
    // Its exit code tells of the machine as a whole.
    daemon.ctl("--json doctor").json();
}

#[test]
fn exit_codes_tell_what_went_wrong() {
    let nowhere = ["--socket", "/nonexistent/guard.sock"];
    assert_eq!(guardctl(&[&nowhere[..], &["status"]].concat(), "").code, 3);
    assert_eq!(guardctl(&["no-such-command"], "").code, 2);
    assert_eq!(guardctl(&[&nowhere[..], &["ban", "localhost"]].concat(), "").code, 2, "a name is no target");
    let reply = guardctl(&[&nowhere[..], &["check", "127.1"]].concat(), "");
    assert_eq!(reply.code, 2, "{reply:?}");
}

#[test]
fn lines_are_explained_without_a_daemon() {
    let lines = "Nov 20 21:00:00 host sshd[7]: Failed password for root from 203.0.113.7 port 40000 ssh2\n\
                 Nov 20 21:00:01 host sshd[7]: Server listening on 0.0.0.0 port 22.\n\
                 Nov 20 21:00:02 host sshd[7]: Accepted publickey for me from 203.0.113.8 port 40000 ssh2: RSA SHA256:x\n\
                 Nov 20 21:00:03 host sshd[7]: Connection closed by 2001:db8::7 port 40000 [preauth]\n\
                 Nov 20 21:00:04 host dropbear[7]: Bad password attempt for 'root' from 203.0.113.9:40000\n";
    let answers = explained(&["explain", "--json", "-"], lines);
    let found = |filter: &str, address: &str, account: Option<&str>, kind: &str, points: f64| json!([{ "filter": filter, "address": address, "account": account, "kind": kind, "points": points }]);
    let expected = [
        found("sshd", "203.0.113.7", Some("root"), "failed-password", 1.0),
        json!([]),
        json!([]),
        found("sshd", "2001:db8::7", None, "preauth-close", 0.2),
        found("dropbear", "203.0.113.9", Some("root"), "failed-password", 1.0),
    ];
    for (number, (answer, matches)) in answers.iter().zip(expected).enumerate() {
        assert_eq!(*answer, json!({ "line": number + 1, "matches": matches }));
    }
    assert_eq!(answers.len(), 5);

    let restricted = explained(&["explain", "--json", "--filter", "dropbear", "-"], lines);
    let matched: Vec<usize> =
        restricted.iter().map(|answer| answer["matches"].as_array().unwrap().len()).collect();
    assert_eq!(matched, [0, 0, 0, 0, 1]);
    // A line as an argument, and a mode that leaves out what the line says.
    let closed = lines.lines().nth(3).unwrap();
    assert_eq!(
        explained(&["explain", "--json", closed], ""),
        [json!({ "line": 1, "matches":
        found("sshd", "2001:db8::7", None, "preauth-close", 0.2) })]
    );
    let normal = explained(&["explain", "--json", "--mode", "normal", closed], "");
    assert_eq!(normal, [json!({ "line": 1, "matches": [] })]);
    let reply = guardctl(&["explain", "--json", "--filter", "sshdd", "-"], lines);
    assert_eq!(reply.code, 2, "{reply:?}");
    assert!(reply.errors.contains("sshd"), "the nearest name is told: {reply:?}");
}

/// What `explain --json` answers, an object for each line, each match without the pattern that tells people why.
fn explained(arguments: &[&str], lines: &str) -> Vec<Value> {
    let reply = guardctl(arguments, lines);
    assert_eq!(reply.code, 0, "{reply:?}");
    let mut answers: Vec<Value> =
        reply.output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for matched in answers.iter_mut().flat_map(|answer| answer["matches"].as_array_mut().unwrap()) {
        assert!(matched.as_object_mut().unwrap().remove("pattern").is_some_and(|text| text.is_string()));
    }
    answers
}

#[test]
fn old_logs_are_replayed_without_a_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let failed = |second: u32, address: &str| {
        format!(
            "2026-03-01T10:00:{second:02}+00:00 host sshd[{second}]: Failed password for root from {address} port 4 ssh2\n"
        )
    };
    // Two files one behind the other: the fifth failure is in the second. The neighbour fails twice.
    let first: String =
        (0..4).map(|second| failed(second, "203.0.113.7")).chain([failed(5, "203.0.113.8")]).collect();
    let second = [failed(30, "203.0.113.7"), failed(31, "203.0.113.8"), "not a log line\n".into()].concat();
    let paths = ["auth.log.1", "auth.log"].map(|name| folder.path().join(name));
    fs::write(&paths[0], &first).unwrap();
    fs::write(&paths[1], &second).unwrap();
    let reply = guardctl(&["replay", "--json", paths[0].to_str().unwrap(), paths[1].to_str().unwrap()], "");
    assert_eq!(reply.code, 0, "{reply:?}");
    let mut summary: Value = serde_json::from_str(&reply.output).unwrap();
    // The first step of the ladder with its spread.
    let seconds = summary["bans"][0].as_object_mut().unwrap().remove("seconds").unwrap().as_u64().unwrap();
    assert!((3240..=3960).contains(&seconds), "{seconds}");
    let expected = json!({
        "lines": 8, "bytes": first.len() + second.len(), "matched": 7, "cut": 0, "sources": 2, "refused": 0, "incidents": 0,
        "bans": [{
            "target": "203.0.113.7", "at": "2026-03-01T10:00:30Z", "rule": "sshd", "score": 5.0,
            "logged_in_later": false,
        }],
    });
    assert_eq!(summary, expected);
}

#[test]
fn every_ban_is_lifted_at_once() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    for options in [Options::xdp(), Options::nftables()] {
        let mut daemon = Daemon::start(&arena.host, options);
        let targets = [
            attacker_v4(0).to_string(),
            attacker_v6(0).to_string(),
            "203.0.113.12/31".into(),
            "2001:db8:71:12::/64".into(),
        ];
        assert_eq!(daemon.ctl(&format!("ban {} --for permanent", targets.join(" "))).code, 0);
        let pairs = [0, 2].map(|n| [(attacker_v4(n), GUARDED_V4), (attacker_v6(n), GUARDED_V6)]);
        for (attacker, server) in pairs.into_iter().flatten() {
            assert!(!pings(&arena.outside, attacker, server), "{attacker}");
        }
        let reply = daemon.ctl("unban");
        assert_eq!(reply.code, 2, "nothing named, nothing lifted: {reply:?}");
        assert_eq!(daemon.json("list").as_array().unwrap().len(), 4);

        assert_eq!(daemon.json("unban --all"), json!({ "lifted": 4 }));
        for (attacker, server) in pairs.into_iter().flatten() {
            assert!(pings(&arena.outside, attacker, server), "{attacker}");
        }
        assert_eq!(daemon.json("unban --all"), json!({ "lifted": 0 }));
        daemon.stop();
        daemon.start_again();
        assert_eq!(daemon.json("list"), json!([]), "a restart brings none back");
    }
}

#[test]
fn only_root_changes_anything() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let daemon = Daemon::start(&arena.host, Options::xdp());
    // Everybody reaches the socket, so that only who asks decides.
    let folder = daemon.config().parent().unwrap().to_owned();
    let socket = folder.join("run/guard.sock");
    let guardctl = folder.join("guardctl");
    fs::copy(program("guardctl"), &guardctl).unwrap();
    for (path, mode) in [(&folder, 0o755), (&folder.join("run"), 0o755), (&socket, 0o666), (&guardctl, 0o755)]
    {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let nobody = |arguments: &[&str]| {
        Command::new("setpriv")
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
            .arg(&guardctl)
            .arg("--socket")
            .arg(&socket)
            .args(arguments)
            .output()
            .unwrap()
    };
    let output = nobody(&["ban", "203.0.113.7"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("only root and the configured group may ask"), "{said}");
    assert!(daemon.json("list").as_array().unwrap().is_empty());

    let metrics = Metrics::scrape(&arena.host, METRICS).unwrap();
    assert_eq!(metrics.count("guard_api_refused_total{because=\"denied\"}"), 1);
    poll_until(Duration::from_secs(5), "it is recorded", || {
        let events = daemon.json("events");
        let denied = events.as_array()?.iter().find(|event| event["kind"] == "denied")?;
        (denied["detail"]["uid"] == 65534 && denied["detail"]["times"] == 1).then_some(())
    });
}

#[test]
fn a_full_ban_table_is_told_of_and_keeps_bans_by_hand() {
    const MOST: u64 = 1000;
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let log = LogFile::new();
    let more = format!("[decide]\nmax_bans = {MOST}\nthreshold = 1\nprefix_hosts = 0\n");
    let daemon = Daemon::start(&arena.host, Options { more, ..Options::xdp() }.file(log.path()));
    let by_hand = [attacker_v4(0), attacker_v6(0)];
    // They would end before all others.
    daemon.json(&format!("ban {} {} --for 10m", by_hand[0], by_hand[1]));
    for host in 0..MOST + 200 {
        log.guesses(Ipv4Addr::from(0x0B00_0000 + host as u32).into(), 1);
    }
    log.guesses(attacker_v4(1), 1);
    daemon.await_drop(attacker_v4(1));

    let status = daemon.json("status");
    assert_eq!(status["bans"], MOST, "{status}");
    assert!(status["problems"].to_string().contains("decide.max_bans"), "{status}");
    for address in by_hand {
        assert!(daemon.drops(address), "{address}");
    }
    assert!(!pings(&arena.outside, by_hand[0], GUARDED_V4));
    let evicted = Metrics::scrape(&arena.host, METRICS).unwrap().count("guard_bans_evicted_total");
    assert_eq!(evicted, 203);
    assert_eq!(daemon.log().matches("the ban table is full").count(), 1, "{}", daemon.log());

    daemon.json("unban --all");
    poll_until(Duration::from_secs(5), "the problem is over", || {
        daemon.json("status")["problems"].as_array()?.is_empty().then_some(())
    });
}

#[test]
fn a_mistake_in_the_configuration_keeps_nobody_from_the_daemon() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let mut daemon = Daemon::start(&arena.host, Options::xdp());
    let address = attacker_v4(0);
    let path = daemon.config();
    let good = fs::read_to_string(&path).unwrap();
    let wrong = format!("{good}\n[decide]\ntreshold = 3\n");
    let line = wrong.lines().count();
    // Inside: without a daemon guardctl itself looks for what is in place.
    let ctl = |arguments: &[&str]| {
        let config = ["--config", path.to_str().unwrap()];
        arena.host.enter(|| guardctl(&[&config[..], arguments].concat(), ""))
    };
    let named = format!("{}:{line}", path.display());

    daemon.json(&format!("ban {address}"));
    fs::write(&path, &wrong).unwrap();
    for arguments in [&["list"][..], &["unban", &address.to_string()], &["unlock"]] {
        let reply = ctl(arguments);
        assert_eq!(reply.code, 0, "{arguments:?}: {reply:?}");
        assert!(reply.errors.contains(&named), "{arguments:?}: {reply:?}");
    }
    let reply = ctl(&["config", "check"]);
    assert_eq!(reply.code, 2, "{reply:?}");
    assert!(reply.errors.contains(&named) && reply.errors.contains("treshold"), "{reply:?}");

    fs::write(&path, &good).unwrap();
    assert_eq!(ctl(&["reload"]).code, 0);
    daemon.json(&format!("ban {address}"));
    assert!(!pings(&arena.outside, address, GUARDED_V4));
    fs::write(&path, &wrong).unwrap();
    daemon.kill();
    let reply = ctl(&["unlock", "--offline"]);
    assert_eq!(reply.code, 0, "{reply:?}");
    assert!(reply.errors.contains(&named), "{reply:?}");
    assert!(!daemon.bpffs().exists(), "the pins are gone");
    assert!(pings(&arena.outside, address, GUARDED_V4));
}

#[test]
fn a_ban_for_good_is_not_shortened_by_hand() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let mut daemon = Daemon::start(&arena.host, Options::xdp());
    let address = attacker_v4(0);
    assert_eq!(daemon.ctl(&format!("ban {address} --for permanent")).code, 0);
    for _ in 0..2 {
        let reply = daemon.ctl(&format!("ban {address} --for 1h"));
        assert_eq!(reply.code, 0, "{reply:?}");
        let list = poll_until(Duration::from_secs(10), "the stored ban is back", || {
            (daemon.json("status")["restored"] == true).then(|| daemon.json("list"))
        });
        assert_eq!(list.as_array().unwrap().len(), 1, "{list}");
        assert!(list[0]["until"].is_null(), "{list}");
        let said = daemon.ctl(&format!("ban {address} --for 1h")).output;
        assert!(said.contains("for good already"), "{said}");
        daemon.stop();
        daemon.start_again();
    }
    daemon.await_drop(address);
}
