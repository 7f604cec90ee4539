//! Rules in a running daemon: what they ban, leave alone, record and run.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use harness::{
    Arena, Daemon, GUARDED_V4, LogFile, Metrics, Options, attacker_v4, missing_for_xdp_tests, pings,
    poll_until, skip_if,
};
use serde_json::Value;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

/// A folder of rules, and a program that they run.
struct Rules {
    folder: TempDir,
}

impl Rules {
    fn new(text: &str) -> Self {
        let folder = TempDir::with_prefix("guard-rules-").unwrap();
        fs::create_dir(folder.path().join("rules.d")).unwrap();
        let script = format!(
            "#!/bin/sh\nprintf '%s\\n' \"$GUARD_RULE $GUARD_USER $1\" >>{}\n",
            folder.path().join("ran").display()
        );
        let program = folder.path().join("told");
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        let rules = Self { folder };
        rules.write(text);
        rules
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("rules.d/10-test.toml")
    }

    fn write(&self, text: &str) {
        let program = self.folder.path().join("told");
        fs::write(self.file(), text.replace("PROGRAM", program.to_str().unwrap())).unwrap();
    }

    /// What the program was told, line by line.
    fn ran(&self) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join("ran")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn options(&self, log: &LogFile) -> Options {
        let more = format!("[decide]\nrules = \"{}\"\n", self.folder.path().join("rules.d").display());
        Options { more, ..Options::xdp().file(log.path()) }
    }
}

fn events(daemon: &Daemon<'_>, kind: &str) -> Vec<Value> {
    let events = daemon.json("events");
    events.as_array().unwrap().iter().filter(|event| event["kind"] == kind).cloned().collect()
}

fn await_events(daemon: &Daemon<'_>, kind: &str, count: usize) -> Vec<Value> {
    poll_until(PATIENCE, &format!("{count} events `{kind}`"), || {
        let events = events(daemon, kind);
        (events.len() >= count).then_some(events)
    })
}

const FOUR: &str = r#"
[[rule]]
name = "decoy"
when = { filter = "sshd", user = "oracle" }
then = { ban = "2h", tag = "db" }

[[rule]]
name = "scanner-of-ours"
when = { ip = "203.0.113.11" }
then = { ignore = true }

[[rule]]
name = "trial"
when = { user = "trial" }
then = { ban = "permanent", tag = "x" }
simulate = true

[[rule]]
name = "alarm"
when = { user = "alarm*" }
then = { notify = "look", run = { command = ["PROGRAM", "now; id"], rate_limit = { max = 2, window = "1h" } } }
continue = true
"#;

#[test]
fn rules_ban_ignore_simulate_and_run() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let (log, rules) = (LogFile::new(), Rules::new(FOUR));
    let daemon = Daemon::start(&arena.host, rules.options(&log));

    // One line is enough.
    let line = |user: &str, address| format!("Failed password for {user} from {address} port 4711 ssh2");
    assert!(pings(&arena.outside, attacker_v4(0), GUARDED_V4));
    log.sshd(1, &line("oracle", attacker_v4(0)));
    daemon.await_drop(attacker_v4(0));
    assert!(!pings(&arena.outside, attacker_v4(0), GUARDED_V4));
    let ban = &daemon.json("list")[0];
    assert_eq!(ban["reason"], "rule decoy");
    assert!((7000..=7200).contains(&ban["seconds_left"].as_u64().unwrap()), "{ban}");
    let told = &await_events(&daemon, "ban", 1)[0];
    assert_eq!(
        (&told["detail"]["rule"], &told["detail"]["tags"][0]),
        (&"decoy".into(), &"db".into()),
        "{told}"
    );

    // What it would have done is recorded, and the engine goes on counting.
    log.sshd(2, &line("trial", attacker_v4(2)));
    let told = &await_events(&daemon, "simulate", 1)[0];
    assert_eq!(told["detail"]["would"], serde_json::json!(["ban for good", "tag x"]), "{told}");

    // Commands really run, without a shell, and only as often as they may; notices have a limit of their own.
    for number in 0..5 {
        log.sshd(10 + number, &line("alarm$(id)", attacker_v4(3)));
    }
    assert_eq!(await_events(&daemon, "notify", 5)[0]["detail"]["text"], "look");
    poll_until(PATIENCE, "commands have run", || (rules.ran().len() >= 2).then_some(()));
    daemon.await_drop(attacker_v4(3));
    assert_eq!(rules.ran(), ["alarm alarm$(id) now; id"; 2]);

    // Lines that come after these: what was ignored before has not counted.
    log.guesses(attacker_v4(1), 30);
    log.guesses(attacker_v4(4), 6);
    daemon.await_drop(attacker_v4(4));
    assert!(!daemon.drops(attacker_v4(1)) && !daemon.drops(attacker_v4(2)));
    let why = daemon.json(&format!("why {}", attacker_v4(1)));
    assert_eq!((&why["score"], &why["lines"]), (&"0".into(), &serde_json::json!([])), "{why}");
    assert_eq!((&why["ignored"]["rule"], &why["ignored"]["times"]), (&"scanner-of-ours".into(), &30.into()));
    assert_eq!(daemon.json("status")["problems"], Value::Array(Vec::new()));

    // Only what is a mistake is refused.
    let kept = daemon.json("list");
    rules.write(&FOUR.replace("user = \"trial\"", "usr = \"trial\""));
    let reply = daemon.ctl("reload");
    assert_ne!(reply.code, 0, "{reply:?}");
    let said = format!("{}{}", reply.output, reply.errors);
    let place = format!("{}:14:10: rule `trial`: `when`: unknown key `usr`", rules.file().display());
    assert!(said.contains(&place), "{said}");
    assert_eq!(daemon.json("list").as_array().unwrap().len(), kept.as_array().unwrap().len());
    log.sshd(3, &line("oracle", attacker_v4(5)));
    daemon.await_drop(attacker_v4(5));

    // A good one is taken over as a difference.
    rules.write(&FOUR.replace("2h", "3h").replace("\"scanner-of-ours\"", "\"scanner\""));
    let reloaded = daemon.json("reload");
    let changes: Vec<&str> =
        reloaded["changes"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
    assert_eq!(changes, ["rule decoy: changed", "rule scanner: new", "rule scanner-of-ours: gone"]);
    log.sshd(4, &line("oracle", attacker_v4(6)));
    daemon.await_drop(attacker_v4(6));
    let bans = daemon.json("list");
    let until = |address: std::net::IpAddr| {
        let ban = bans.as_array().unwrap().iter().find(|ban| ban["target"] == address.to_string()).unwrap();
        ban["seconds_left"].as_u64().unwrap()
    };
    assert!(until(attacker_v4(6)) > 7200 && until(attacker_v4(5)) <= 7200);
}

#[test]
fn a_command_that_fails_is_a_problem_until_the_next_succeeds() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let log = LogFile::new();
    let rules = Rules::new(
        "[[rule]]\nname = 'cat'\nwhen = { user = 'x' }\nthen = { run = ['/bin/cat', 'NEEDED'] }\n\
         [[rule]]\nname = 'elsewhere'\nwhen = { country = 'DE' }\nthen = { ban = '1h' }\n",
    );
    let needed = rules.folder.path().join("needed");
    let text = fs::read_to_string(rules.file()).unwrap();
    rules.write(&text.replace("NEEDED", needed.to_str().unwrap()));
    let daemon = Daemon::start(&arena.host, rules.options(&log));
    let problems = || -> Vec<String> {
        let status = daemon.json("status");
        status["problems"].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
    };
    assert!(
        problems().iter().any(|text| text.contains("`decide.geo` names no database")),
        "{:?}",
        problems()
    );
    let fail = |text: &String| text == "the command of rule cat: /bin/cat ended with exit status: 1";
    log.sshd(1, "Failed password for x from 203.0.113.12 port 4711 ssh2");
    poll_until(PATIENCE, "the failure is a problem", || problems().iter().any(fail).then_some(()));
    fs::write(&needed, "").unwrap();
    log.sshd(2, "Failed password for x from 203.0.113.12 port 4712 ssh2");
    poll_until(PATIENCE, "it is over", || (!problems().iter().any(fail)).then_some(()));
    assert!(!daemon.drops(attacker_v4(2)), "whose country nobody knows is not banned for it");
}

/// Takes documents on loopback of a namespace and answers each with the status that is set.
struct Receiver {
    url: String,
    status: Arc<AtomicU16>,
    documents: std::sync::mpsc::Receiver<(String, Value)>,
}

impl Receiver {
    fn new(namespace: &harness::Namespace) -> Self {
        let listener = namespace.enter(|| TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let status = Arc::new(AtomicU16::new(200));
        let (tell, documents) = std::sync::mpsc::channel();
        let mine = Arc::clone(&status);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut lines = BufReader::new(stream.try_clone().unwrap());
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") && lines.read_line(&mut head).is_ok_and(|read| read > 0) {}
                let head = head.to_lowercase();
                let length = head.split_once("content-length: ").and_then(|(_, rest)| rest.lines().next());
                let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
                lines.read_exact(&mut body).unwrap();
                let status = mine.load(Ordering::Relaxed);
                let answer =
                    format!("HTTP/1.1 {status} Said\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                // A client that has heard enough hangs up.
                let _ = stream.write_all(answer.as_bytes());
                if tell.send((head, serde_json::from_slice(&body).unwrap())).is_err() {
                    return;
                }
            }
        });
        Self { url, status, documents }
    }
}

#[test]
fn a_webhook_is_told_of_what_a_rule_saw() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let log = LogFile::new();
    let receiver = Receiver::new(&arena.host);
    let rules = Rules::new("");
    let secret = rules.folder.path().join("secret");
    fs::write(&secret, "Authorization: Bearer hush-hush\n").unwrap();
    fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
    let url = &receiver.url;
    let hook = format!("url = '{url}', private = true, secret = '{}'", secret.display());
    rules.write(&format!(
        "[[rule]]\nname = 'told'\nwhen = {{ user = 'oracle' }}\nthen = {{ ban = '1h', webhook = {{ {hook} }} }}\n\
         [[rule]]\nname = 'inside'\nwhen = {{ user = 'postgres' }}\nthen = {{ webhook = '{}' }}\n",
        url.replace("http://", "https://")
    ));
    let daemon = Daemon::start(&arena.host, rules.options(&log));
    let line =
        |user: &str, host: u8| format!("Failed password for {user} from 203.0.113.{host} port 4711 ssh2");
    log.sshd(1, &line("oracle", 10));
    let (head, document) = receiver.documents.recv_timeout(PATIENCE).unwrap();
    assert!(daemon.drops(attacker_v4(0)), "the ban came first");
    assert!(
        head.starts_with("post /hook ") && head.contains("authorization: bearer hush-hush\r\n"),
        "{head}"
    );
    assert_eq!(
        (&document["rule"], &document["address"], &document["user"], &document["kind"]),
        (&"told".into(), &attacker_v4(0).to_string().into(), &"oracle".into(), &"failed-password".into())
    );
    assert!(document["line"].as_str().unwrap().ends_with(&line("oracle", 10)), "{document}");

    // A server that fails is a problem until it does not.
    let problem = || daemon.json("status")["problems"].to_string();
    receiver.status.store(503, Ordering::Relaxed);
    log.sshd(2, &line("oracle", 11));
    poll_until(PATIENCE, "the failure is a problem", || {
        problem().contains("the webhook of rule told: 127.0.0.1:").then_some(())
    });
    receiver.status.store(200, Ordering::Relaxed);
    log.sshd(3, &line("oracle", 12));
    poll_until(PATIENCE, "it is over", || (problem() == "[]").then_some(()));
    // Where a rule does not say so, nothing goes to this machine.
    log.sshd(4, &line("postgres", 13));
    poll_until(PATIENCE, "that is told", || {
        problem().contains("is not where a webhook may go").then_some(())
    });
    let metrics = Metrics::scrape(&arena.host, SocketAddr::from(([127, 0, 0, 1], 19187))).unwrap();
    assert_eq!(metrics.count("guard_webhooks_total{outcome=\"done\"}"), 2);
    assert_eq!(metrics.count("guard_webhooks_total{outcome=\"failed\"}"), 2);
    assert!(!daemon.log().contains("hush"), "{}", daemon.log());
}

#[test]
fn a_ban_of_a_rule_outlives_the_daemon() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let (log, rules) = (LogFile::new(), Rules::new(FOUR));
    let mut daemon = Daemon::start(&arena.host, rules.options(&log));
    log.sshd(1, "Failed password for oracle from 203.0.113.10 port 4711 ssh2");
    daemon.await_drop(attacker_v4(0));
    await_events(&daemon, "ban", 1);
    daemon.stop();
    daemon.start_again();
    poll_until(PATIENCE, "the ban is restored", || {
        let list = daemon.json("list");
        (list.as_array()?.first()?["origin"] == serde_json::json!({ "rule": "decoy" })).then_some(())
    });
}
