//! What guardctl tells of bans and events: chosen, sorted, in pages; and why.

use std::fs;
use std::process::Command;
use std::time::Duration;

use harness::{
    Arena, Background, Daemon, LogFile, METRICS, Metrics, Options, attacker_v4, missing_for_network_tests,
    missing_for_xdp_tests, poll_until, program, skip_if,
};
use serde_json::Value;

fn targets(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|ban| ban["target"].as_str().unwrap()).collect()
}

#[test]
fn bans_are_chosen_and_sorted() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let log = LogFile::new();
    let daemon = Daemon::start(&arena.host, Options::xdp().file(log.path()));
    log.guesses(attacker_v4(0), 5);
    daemon.await_drop(attacker_v4(0));
    daemon.json("ban 198.51.100.0/24 2001:db8:1::/64 --for 10m");
    daemon.json("ban 198.51.100.200 --for permanent");
    let sshd = attacker_v4(0).to_string();
    for (asked, wanted) in [
        ("list", vec!["198.51.100.0/24", "198.51.100.200", &sshd, "2001:db8:1::/64"]),
        ("list --reverse --limit 2", vec!["2001:db8:1::/64", &sshd]),
        ("list --origin sshd", vec![&*sshd]),
        ("list --filter manual --family ipv6", vec!["2001:db8:1::/64"]),
        ("list --within 198.51.100.0/24", vec!["198.51.100.0/24", "198.51.100.200"]),
        ("list --within 198.51.100.128/25", vec!["198.51.100.200"]),
        ("list --ends-within 11m", vec!["198.51.100.0/24", "2001:db8:1::/64"]),
        ("list --permanent", vec!["198.51.100.200"]),
        ("list --strike 2", vec![]),
        ("list --sort score --reverse --limit 1", vec![&sshd]),
        ("list --sort until --reverse --limit 2", vec!["198.51.100.200", &sshd]),
    ] {
        assert_eq!(targets(&daemon.json(asked)), wanted, "{asked}");
    }
    let shown = daemon.ctl("list --sort since").output;
    assert!(shown.starts_with("TARGET") && shown.contains("BEGAN") && shown.contains("4 bans"), "{shown}");
}

#[test]
fn events_are_chosen_and_followed() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let daemon = Daemon::start(&arena.host, Options::xdp());
    daemon.json("ban 198.51.100.7 198.51.100.8 198.51.99.0/24");
    daemon.json("unban 198.51.100.8");
    let count = |asked: &str| daemon.json(asked).as_array().unwrap().len();
    for (asked, wanted) in [
        ("events --kind ban", 3),
        ("events --kind ban,unban", 4),
        ("events --target 198.51.100.8", 2),
        ("events --target 198.51.100.0/24 --kind ban", 2),
        ("events --target 198.51.99.77", 1),
        ("events --kind ban --since 1h", 3),
        ("events --until 1h", 0),
        ("events --kind ban --limit 1", 1),
    ] {
        assert_eq!(count(asked), wanted, "{asked}");
    }
    let shown = daemon.ctl("events --kind ban,unban").output;
    let last = shown.lines().last().unwrap();
    assert!(last.contains("unban") && last.contains("198.51.100.8"), "the newest comes last: {shown}");

    let output = tempfile::NamedTempFile::new().unwrap();
    let _follower = Background::start(
        Command::new(program("guardctl"))
            .arg("--config")
            .arg(daemon.config())
            .args(["--json", "events", "--kind", "unban", "--follow"])
            .stdout(output.reopen().unwrap()),
    );
    let followed = || fs::read_to_string(output.path()).unwrap();
    let shows = |what: &str| {
        poll_until(Duration::from_secs(10), "it is shown", || followed().contains(what).then_some(()));
    };
    shows("198.51.100.8");
    daemon.json("unban 198.51.100.7");
    shows("198.51.100.7");
    assert_eq!(followed().lines().count(), 2, "each once");
}

#[test]
fn what_others_wrote_moves_no_cursor_and_turns_no_text() {
    const HOSTILE: &str = "\x1b[2J\u{202e}x\u{9b}31m\u{2066}";

    skip_if!(missing_for_network_tests());
    let arena = Arena::new();
    let log = LogFile::new();
    let daemon = Daemon::start(&arena.host, Options::nftables().file(log.path()));
    let attacker = attacker_v4(0);
    for port in 40_000..40_005 {
        log.sshd(port, &format!("Failed password for {HOSTILE}\r from {attacker} port {port} ssh2"));
    }
    daemon.await_drop(attacker);

    let is_inert = |text: &str| {
        let raw = |c: char| {
            (c.is_control() && c != '\n')
                || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        };
        !text.contains(raw)
    };
    for (asked, shows) in [
        (format!("why {attacker}"), true),
        (format!("check {attacker}"), false),
        ("events".to_owned(), true),
        ("list".to_owned(), false),
        ("status".to_owned(), false),
    ] {
        for form in ["", "--json "] {
            let reply = daemon.ctl(&format!("{form}{asked}"));
            assert!(is_inert(&reply.output) && is_inert(&reply.errors), "{form}{asked}: {reply:?}");
            let shown = reply.output.contains("x1b[2J");
            assert!(shown || !(shows && form == "--json "), "{form}{asked} shows it: {reply:?}");
        }
    }
    assert!(is_inert(&daemon.log()), "{:?}", daemon.log());
    let metrics = Metrics::scrape(&arena.host, METRICS).expect("it listens");
    assert!(is_inert(metrics.text()), "{metrics:?}");
}

#[test]
fn why_tells_the_score_line_by_line_and_the_way_back() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let log = LogFile::new();
    let mut daemon = Daemon::start(&arena.host, Options::xdp().file(log.path()));
    let attacker = attacker_v4(0);
    log.guesses(attacker, 3);
    let before = poll_until(Duration::from_secs(10), "three count", || {
        let why = daemon.json(&format!("why {attacker}"));
        (why["score"] == "3").then_some(why)
    });
    let scores: Vec<f64> =
        before["lines"].as_array().unwrap().iter().map(|line| line["score"].as_f64().unwrap()).collect();
    assert_eq!(scores, [1.0, 2.0, 3.0]);
    assert_eq!((&before["next_strike"], &before["next_seconds"]), (&1.into(), &3600.into()));
    assert_eq!(before["undo"][0]["command"], format!("guardctl forget {attacker}"));
    assert_eq!(daemon.ctl(&format!("forget {attacker}")).code, 0);
    assert_eq!(daemon.json(&format!("why {attacker}"))["score"], "0");

    log.guesses(attacker, 5);
    daemon.await_drop(attacker);
    let first = &daemon.json(&format!("why {attacker}"))["lines"][3];
    let sums = (&first["score"], &first["leaked"], &first["forgotten"]);
    assert_eq!(sums, (&1.0.into(), &0.0.into(), &3.0.into()), "{first}");
    let why = daemon.json(&format!("why {attacker}"));
    assert_eq!(why["undo"][0]["command"], format!("guardctl unban {attacker}"));
    assert_eq!((&why["past"][0]["by"], &why["past"][0]["strike"]), (&"sshd".into(), &1.into()));
    assert_eq!((&why["next_strike"], &why["next_seconds"]), (&2.into(), &86_400.into()));
    let line = &why["lines"].as_array().unwrap().last().unwrap();
    assert_eq!((&line["kind"], &line["score"]), (&"failed-password".into(), &5.0.into()), "{why}");

    let prefix = daemon.json("why 203.0.113.0/26");
    assert_eq!(prefix["hosts"][0]["target"], attacker.to_string(), "{prefix}");
    let shown = daemon.ctl(&format!("why {attacker}")).output;
    for line in shown.lines() {
        assert!(line.chars().count() <= 80, "{line}");
    }
    // What led to the ban outlives the daemon.
    daemon.stop();
    daemon.start_again();
    let why = daemon.json(&format!("why {attacker}"));
    assert_eq!(why["lines"].as_array().unwrap().last().unwrap()["score"], 5.0, "{why}");
}

#[test]
fn a_reload_says_what_it_changed_and_a_wrong_file_changes_nothing() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let log = LogFile::new();
    let daemon = Daemon::start(&arena.host, Options::xdp().file(log.path()));
    let (banned, scored) = (attacker_v4(0), attacker_v4(1));
    daemon.json(&format!("ban {banned}"));
    log.guesses(scored, 3);
    let score = |address| daemon.json(&format!("why {address}"))["score"].clone();
    poll_until(Duration::from_secs(10), "three count", || (score(scored) == "3").then_some(()));
    let read = daemon.json("status")["lines"].clone();
    let text = fs::read_to_string(daemon.config()).unwrap();

    fs::write(daemon.config(), format!("{text}\n[allow]\ntargets = [\"{banned}\", \"rubbish\"]\n")).unwrap();
    assert_eq!(daemon.ctl("reload").code, 1);
    assert!(daemon.drops(banned));

    let ended = "{ target = \"192.0.2.1\", until = \"2020-01-01\", comment = \"old\" }";
    fs::write(daemon.config(), format!("{text}\n[allow]\ntargets = [\"{banned}\", {ended}]\n")).unwrap();
    let changes = daemon.json("reload")["changes"].to_string();
    assert!(changes.contains("allow.targets: "), "{changes}");
    assert!(changes.contains(&format!("the ban of {banned} is lifted")), "{changes}");
    assert!(!daemon.drops(banned));
    assert_eq!(score(scored), "3", "scores survive");
    let status = daemon.json("status");
    assert_eq!(status["lines"], read, "no line is read again");
    assert!(status["problems"].to_string().contains("192.0.2.1 (old) ended at 2020-01-02"), "{status}");
    assert_eq!(daemon.ctl("ban 192.0.2.1").code, 0, "what has ended allows nothing");
    let check = daemon.ctl("config check").output;
    assert!(check.contains("192.0.2.1 (old) ended"), "{check}");
    log.guesses(scored, 2);
    daemon.await_drop(scored);
}
