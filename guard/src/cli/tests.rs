//! Commands against a daemon that answers from a script: what is printed, and the exit code.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use clap::{CommandFactory, Parser};

use super::*;
use crate::api::server::{ApiCount, Asked, Listener, serve};
use crate::api::{
    AllowList, Allowed, AllowedName, BanView, Check, ErrorClass, FeedView, PastBan, Status, TargetResult,
    Undo, Why,
};
use crate::ban::{BanQuery, Family, Origin, Place, Sort};
use crate::enforce::{Counters, EnforcerStatus, InterfaceStatus, LiveEntry, MapStatus, Verdict};
use crate::feed::parse::Named;
use crate::judge::{AccountAttack, IgnoredLines, Line, Listed};
use crate::source::SourceStatus;
use crate::store::{EventQuery, StoredEventView};
use crate::target::Allowable;
use crate::time::Wall;

mod doctor;

/// A daemon of canned answers that remembers what it was asked.
struct Daemon {
    socket: PathBuf,
    asked: Arc<Mutex<Vec<Request>>>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    folder: tempfile::TempDir,
}

impl Daemon {
    fn new(answer: fn(&Request) -> Answer) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let socket = folder.path().join("guard.sock");
        let listener = Listener::bind(&socket, None).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let log = Arc::clone(&asked);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let send = move |asked: Asked| {
                let _ = asked.reply.send(answer(&asked.request));
                log.lock().unwrap().push(asked.request);
                Ok(())
            };
            let stopped = async {
                let _ = stopped.await;
            };
            runtime.block_on(serve(listener, Arc::new(ApiCount::default()), send, stopped)).unwrap();
        });
        Self { socket, asked, stop: Some(stop), thread: Some(thread), folder }
    }

    /// Exit code and output of a command line.
    fn guardctl(&self, line: &[&str]) -> (ExitCode, String) {
        let socket = self.socket.to_str().unwrap();
        guardctl(&[&["--socket", socket], line].concat())
    }

    fn asked(&self) -> Vec<Request> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Exit code and output, errors included.
pub(super) fn guardctl(line: &[&str]) -> (ExitCode, String) {
    let cli = match Cli::try_parse_from([&["guardctl"], line].concat()) {
        Ok(cli) => cli,
        Err(error) => return (ExitCode::from(error.exit_code() as u8), error.to_string()),
    };
    let mut out = Vec::new();
    let result = run(&cli, &mut Screen::new(&mut out, cli.color, cli.json));
    let mut text = String::from_utf8(out).unwrap();
    let code = result.unwrap_or_else(|error| {
        text.push_str(&error.to_string());
        error.exit()
    });
    (code, text)
}

pub(super) fn code(number: u8) -> ExitCode {
    ExitCode::from(number)
}

fn ban(target: &str) -> BanView {
    BanView {
        target: target.parse().unwrap(),
        id: 7,
        since: "2026-11-20T20:00:00Z".into(),
        until: None,
        seconds_left: Some(3599),
        origin: Origin::Filter("sshd".into()),
        score: "5.2".into(),
        strike: 2,
        reason: "sshd: 5 failed passwords \u{1b}[31m".into(),
    }
}

fn feed() -> FeedView {
    FeedView {
        name: "drop".into(),
        source: "https://lists.example/drop.txt".into(),
        action: "ban".into(),
        points: None,
        targets: Some(1500),
        bans: 1498,
        age_seconds: Some(7200),
        checked_seconds: Some(60),
        rubbish: Named { count: 7, first: vec!["line 2: `x\\x1b`".into()] },
        too_wide: Named::default(),
        protected: 2,
        no_room: 0,
        failure: None,
        failures: 0,
        held: Some(3),
    }
}

fn name(name: &str, failure: Option<&str>) -> AllowedName {
    AllowedName {
        name: name.parse().unwrap(),
        because: "allowed by hand: office".into(),
        seconds_left: None,
        addresses: vec!["203.0.113.7".parse().unwrap()],
        answered_seconds: Some(90),
        failure: failure.map(Into::into),
        failures: u64::from(failure.is_some()),
        refused: Vec::new(),
        believed_seconds: Some(86_400),
    }
}

fn canned(request: &Request) -> Answer {
    match request {
        Request::Status {} => Answer::Status(Box::new(status())),
        Request::Ban { targets, .. } | Request::Unban { targets } | Request::Forget { targets } => {
            Answer::Targets(
                targets
                    .iter()
                    .map(|target| {
                        let done = !target.covers([127, 0, 0, 1].into());
                        let message = if done { "done" } else { "refused: loopback is never banned" };
                        TargetResult { target: (*target).into(), done, message: message.into() }
                    })
                    .collect(),
            )
        }
        Request::AllowAdd { targets, .. } | Request::AllowRemove { targets } => {
            let done = |target: &Allowable| TargetResult {
                target: target.clone(),
                done: true,
                message: "done".into(),
            };
            Answer::Targets(targets.iter().map(done).collect())
        }
        Request::UnbanAll {} | Request::Unlock {} => Answer::Lifted(12),
        Request::List { after, limit, .. } => {
            let first = after.map_or(0, |place| match place.target().address() {
                std::net::IpAddr::V4(v4) => {
                    u32::from(v4) - u32::from(std::net::Ipv4Addr::new(10, 0, 0, 0)) + 1
                }
                std::net::IpAddr::V6(_) => panic!("only IPv4 here"),
            });
            let hosts = (first..2500).take(*limit);
            let text = |host: u32| format!("10.0.{}.{}", host / 256, host % 256);
            let bans: Vec<_> = hosts.map(|host| ban(&text(host))).collect();
            let next = bans.last().filter(|_| bans.len() == *limit).map(|ban| Place::of(ban.target));
            Answer::Bans { bans, next }
        }
        Request::Check { address } => Answer::Check(Box::new(Check {
            address: *address,
            verdict: Verdict {
                dropped: true,
                entries: vec![LiveEntry {
                    target: "203.0.113.0/24".parse().unwrap(),
                    id: 7,
                    seconds_left: Some(3599),
                    packets: Some(1234),
                    bytes: Some(74_040),
                }],
                allowed_by: None,
            },
            bans: vec![ban("203.0.113.0/24")],
            protected_by: None,
            backend: "xdp".into(),
            interfaces: vec!["eth0".into(), "eth1".into()],
        })),
        Request::Why { target } => Answer::Why(Box::new(Why {
            target: *target,
            score: "5.2".into(),
            threshold: "5".into(),
            lines: vec![
                line(),
                Line {
                    joined: true,
                    points: 0.5,
                    earlier: 1.5,
                    leaked: 0.0,
                    ruled_by: Some("friends".into()),
                    listed: Some(Listed { feed: "drop".into(), points: 2.0 }),
                    ..line()
                },
            ],
            ignored: Some(IgnoredLines { rule: "monitor".into(), times: 8, last: line() }),
            attacks: vec![AccountAttack {
                account: "root".into(),
                filter: "sshd".into(),
                at: Wall(Wall::now().0 - 125_000),
                addresses: 20,
            }],
            bans: vec![ban("203.0.113.7")],
            strikes: 2,
            protected_by: None,
            past: vec![PastBan {
                at: Wall(1_800_000_000_000),
                strike: Some(1),
                seconds: Some(3600),
                by: "sshd".into(),
            }],
            next_strike: 3,
            next_seconds: Some(2_592_000),
            hosts: Vec::new(),
            hosts_count: 0,
            events: events(),
            undo: vec![Undo { command: "guardctl unban 203.0.113.7".into(), effect: "lifts the ban".into() }],
        })),
        Request::Events { .. } => Answer::Events(events()),
        Request::Feeds {} | Request::FeedRefresh { .. } | Request::FeedAccept { .. } => {
            Answer::Feeds(vec![feed()])
        }
        Request::AllowList {} => Answer::Allowed(AllowList {
            targets: vec![Allowed {
                target: "10.0.0.0/8".parse().unwrap(),
                because: "private range".into(),
                seconds_left: None,
            }],
            names: vec![
                name("vpn.example.org", None),
                name("old.example.org", Some("192.0.2.53 does not answer")),
            ],
        }),
        Request::Reload {} => Answer::Reloaded {
            changes: vec!["decide.threshold: 5 → 7".into(), "log.level: \"info\" → \"debug\"".into()],
            at_restart: vec!["log.level: \"info\" → \"debug\"".into()],
        },
    }
}

fn line() -> Line {
    Line {
        at: Wall(Wall::now().0 - 125_000),
        filter: "sshd".into(),
        pattern: "Failed password".into(),
        kind: "failed-password".into(),
        points: 1.0,
        ruled_by: None,
        listed: None,
        earlier: 0.0,
        joined: false,
        score: 4.2,
        leaked: 0.5,
        forgotten: 0.0,
        line: "Failed password for root from 203.0.113.7 port 22 ssh2".into(),
    }
}

fn events() -> Vec<StoredEventView> {
    vec![StoredEventView {
        number: 7,
        at: Wall(Wall::now().0 - 7_300_000).to_string(),
        kind: "ban".into(),
        target: Some("203.0.113.7".parse().unwrap()),
        detail: serde_json::json!({"rule": "sshd", "score": "5.2"}),
    }]
}

fn status() -> Status {
    Status {
        version: "0.1.0".into(),
        pid: 4242,
        uptime_seconds: 273_600,
        problems: vec!["/var/log/secure: permission denied; guard reads the journal instead".into()],
        sources: vec![
            SourceStatus {
                name: "/var/log/auth.log".into(),
                state: "reading".into(),
                healthy: true,
                behind: 0,
            },
            SourceStatus { name: "journald".into(), state: "reading".into(), healthy: true, behind: 17 },
        ],
        lines: 1_234_567,
        matched: 3456,
        tracked: 340,
        bans: 12,
        restored: true,
        resident_bytes: 8_500_000,
        enforcer: EnforcerStatus {
            backend: "xdp".into(),
            reason: String::new(),
            interfaces: vec![InterfaceStatus {
                name: "eth0".into(),
                index: 2,
                mode: "generic".into(),
                reason: "the driver has no native XDP".into(),
            }],
            maps: vec![MapStatus { name: "guard_hosts4".into(), entries: 12, capacity: 16_384 }],
        },
        counters: Counters {
            reasons: vec![("host".into(), 55_123, 4_300_000)],
            drops: vec![("eth0".into(), "host".into(), 55_123, 4_300_000)],
        },
        ..Status::default()
    }
}

#[test]
fn status_tells_what_matters() {
    let daemon = Daemon::new(canned);
    let (exit, text) = daemon.guardctl(&["status"]);
    assert_eq!(exit, ExitCode::SUCCESS);
    for part in [
        "guard 0.1.0, dropping with XDP, up 3 d 4 h  (process 4242, 8.1 MiB)\n",
        "  ! /var/log/secure: permission denied",
        "dropped  55,123 packets, 4.1 MiB\n",
        "lines    1,234,567 read, 3,456 matched\n",
        "ok  journald           reading, 17 behind\n",
        "generic  the driver has no native XDP\n",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    let (_, json) = daemon.guardctl(&["status", "--json"]);
    assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status());
}

#[test]
fn bans_are_asked_for_as_given() {
    let daemon = Daemon::new(canned);
    let (exit, text) =
        daemon.guardctl(&["ban", "203.0.113.7", "2001:db8::/64", "--for", "1h 30m", "--reason", "scan"]);
    assert_eq!(exit, ExitCode::SUCCESS);
    assert_eq!(text, "203.0.113.7    done\n2001:db8::/64  done\n");
    let targets = vec!["203.0.113.7".parse().unwrap(), "2001:db8::/64".parse().unwrap()];
    let reason = Some("scan".to_owned());
    let from = crate::protect::caller_peers(std::process::id() as i32);
    assert_eq!(
        daemon.asked(),
        [Request::Ban { targets, seconds: Some(5400), reason, from: from.clone(), force: false }]
    );

    daemon.guardctl(&["ban", "192.0.2.1", "--for", "permanent", "--force"]);
    daemon.guardctl(&["allow", "add", "192.0.2.1", "--for", "permanent"]);
    let targets = vec!["192.0.2.1".parse().unwrap()];
    assert_eq!(
        daemon.asked(),
        [
            Request::Ban { targets: targets.clone(), seconds: Some(0), reason: None, from, force: true },
            Request::AllowAdd {
                targets: targets.into_iter().map(Into::into).collect(),
                seconds: None,
                comment: None,
            },
        ]
    );
}

#[test]
fn feeds_tell_how_they_are_and_what_to_do() {
    let daemon = Daemon::new(canned);
    let (exit, text) = daemon.guardctl(&["feed", "list"]);
    assert_eq!(exit, ExitCode::SUCCESS);
    assert!(text.contains("drop  ban     1,500    2 h  shrank to 3: guardctl feed accept drop\n"), "{text}");
    let (_, text) = daemon.guardctl(&["feed", "show", "drop"]);
    for part in [
        "https://lists.example/drop.txt",
        "1,500, fetched 2 h ago",
        "bans       1,498\n",
        "Rubbish: 7\n  line 2: `x",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert_eq!(daemon.guardctl(&["feed", "show", "other"]).0, code(1));
    daemon.asked();
    let (_, json) = daemon.guardctl(&["--json", "feed", "refresh", "drop"]);
    assert_eq!(serde_json::from_str::<Vec<FeedView>>(&json).unwrap(), [feed()]);
    daemon.guardctl(&["feed", "accept", "drop"]);
    let name = "drop".to_owned();
    assert_eq!(
        daemon.asked(),
        [Request::FeedRefresh { name: Some(name.clone()) }, Request::FeedAccept { name }]
    );
    let (_, text) = daemon.guardctl(&["unban", "--all"]);
    assert!(text.starts_with("12 bans lifted; 1,498 bans of feeds stay"), "{text}");
}

#[test]
fn one_refused_target_fails_the_command_and_says_why() {
    let daemon = Daemon::new(canned);
    let (exit, text) = daemon.guardctl(&["ban", "192.0.2.1", "127.0.0.1"]);
    assert_eq!(exit, code(1));
    assert!(text.contains("127.0.0.1  refused: loopback is never banned\n"), "{text}");
}

#[test]
fn many_targets_go_in_several_requests() {
    let daemon = Daemon::new(canned);
    let targets: Vec<_> = (0..1200).map(|host| format!("10.1.{}.{}", host / 256, host % 256)).collect();
    let line: Vec<_> = ["unban"].into_iter().chain(targets.iter().map(String::as_str)).collect();
    let (exit, text) = daemon.guardctl(&line);
    assert_eq!((exit, text.lines().count()), (ExitCode::SUCCESS, 1200));
    assert_eq!(daemon.asked().len(), 3);
}

#[test]
fn lists_are_paged_to_their_end() {
    let daemon = Daemon::new(canned);
    let (exit, text) = daemon.guardctl(&["list"]);
    assert_eq!(exit, ExitCode::SUCCESS);
    assert!(text.starts_with("TARGET"), "{text}");
    assert!(text.ends_with("2,500 bans\n"));
    assert_eq!(text.lines().count(), 2502);
    assert!(text.contains("10.0.9.195  in 59 min  2       sshd  sshd: 5 failed passwords \u{fffd}[31m\n"));
    assert_eq!(daemon.asked().len(), 3);

    let (_, json) = daemon.guardctl(&["list", "--json", "--limit", "1500"]);
    let bans: Vec<BanView> = serde_json::from_str(&json).unwrap();
    assert_eq!(bans.len(), 1500);
    assert_eq!(bans[1499].target.to_string(), "10.0.5.219");
}

#[test]
fn check_tells_the_kernels_answer() {
    let daemon = Daemon::new(canned);
    let (exit, text) = daemon.guardctl(&["check", "203.0.113.7"]);
    assert_eq!(exit, ExitCode::SUCCESS);
    assert_eq!(
        text,
        "203.0.113.7 is dropped (xdp on eth0, eth1)\n  \
         kernel entry 203.0.113.0/24: ends in 59 min, 1,234 packets dropped (72.3 KiB)\n  \
         ban of 203.0.113.0/24 by sshd, strike 2: sshd: 5 failed passwords \u{fffd}[31m\n"
    );
}

#[test]
fn the_other_reads_are_told_in_words() {
    let daemon = Daemon::new(canned);
    for (line, parts) in [
        (
            &["why", "203.0.113.7"][..],
            &[
                "203.0.113.7 is banned\n",
                "  score 5.2 of 5\n",
                "  2 strikes now; the next ban would be strike 3, for 30 d\n",
                "    2027-01-15T08:00:00Z",
                "for 1 h by sshd, strike 1\n",
                "  2 min ago     -0.5 leaked, +1 = 4.2      sshd failed-password\n",
                "    Failed password for root",
                "  2 min ago     1.5 of earlier lines, +2 as drop lists it, +0.5 (same attempt) = 4.2 sshd \
                 failed-password, points by rule friends\n",
                "Ignored by rule monitor: 8 lines\n  2 min ago     sshd failed-password, the last\n",
                "Attacks on accounts that it took part in\n  2 min ago  root  sshd, tried from 20 addresses or more\n",
                "  guardctl unban 203.0.113.7  lifts the ban\n",
            ][..],
        ),
        (&["events"], &["2 h 1 min ago  ban   203.0.113.7  rule sshd, score 5.2\n"]),
        (
            &["allow", "list"],
            &[
                "10.0.0.0/8        private range\n",
                "vpn.example.org        allowed by hand: office  1 address, asked for 1 min ago\n",
                "old.example.org        allowed by hand: office  1 address, kept for another 1 d: 192.0.2.53 does not answer\n",
            ],
        ),
        (&["reload"], &["now in force:\n  decide.threshold: 5 → 7\n", "next start:\n  log.level"]),
        (&["forget", "203.0.113.7"], &["203.0.113.7  done\n"]),
        (&["unban", "--all"], &["12 bans lifted"]),
        (&["unlock"], &["unlocked: 12 bans no longer enforced\n"]),
    ] {
        let (exit, text) = daemon.guardctl(line);
        assert_eq!(exit, ExitCode::SUCCESS, "{text}");
        for part in parts {
            assert!(text.contains(part), "{part}\n{text}");
        }
        let (_, json) = daemon.guardctl(&[line, &["--json"]].concat());
        serde_json::from_str::<serde_json::Value>(&json).unwrap();
    }
}

#[test]
fn exit_codes_follow_the_daemons_answer() {
    for (class, exit) in [(ErrorClass::Usage, 2), (ErrorClass::Denied, 1), (ErrorClass::Failed, 1)] {
        let answer: fn(&Request) -> Answer = match class {
            ErrorClass::Usage => |_| Answer::Error { class: ErrorClass::Usage, message: "no".into() },
            ErrorClass::Denied => |_| Answer::Error { class: ErrorClass::Denied, message: "no".into() },
            ErrorClass::Failed => |_| Answer::Error { class: ErrorClass::Failed, message: "no".into() },
        };
        let daemon = Daemon::new(answer);
        assert_eq!(daemon.guardctl(&["status"]), (code(exit), "no".into()));
    }
    let confused = Daemon::new(|_| Answer::Lifted(1));
    assert_eq!(confused.guardctl(&["status"]).0, code(1));
}

#[test]
fn a_missing_daemon_is_exit_3() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("none.sock");
    let (exit, text) = guardctl(&["--socket", socket.to_str().unwrap(), "status"]);
    assert_eq!(exit, code(3));
    assert!(text.contains("none.sock") && text.contains("systemctl status guard"), "{text}");
}

#[test]
fn wrong_use_is_exit_2_and_asks_nobody() {
    for line in [
        &["ban"][..],
        &["ban", "host.example"],
        &["ban", "192.0.2.1", "--for", "5"],
        &["ban", "192.0.2.1", "--for", "0s"],
        &["ban", "192.0.2.1", "--reason", "a\u{1b}b"],
        &["unban"],
        &["unban", "--all", "192.0.2.1"],
        &["check", "10.0.0.0/8"],
        &["events", "--limit", "0"],
        &["frobnicate"],
        &["--color", "blue", "status"],
    ] {
        assert_eq!(guardctl(line).0, code(2), "{line:?}");
    }
}

#[test]
fn the_socket_is_found_through_the_configuration() {
    let daemon = Daemon::new(canned);
    let file = daemon.folder.path().join("guard.toml");
    fs::write(&file, format!("[paths]\nrun = {:?}\n", daemon.folder.path())).unwrap();
    assert_eq!(guardctl(&["--config", file.to_str().unwrap(), "status"]).0, ExitCode::SUCCESS);
    // A mistake elsewhere in the file does not take guardctl away.
    fs::write(&file, format!("[path]\n[paths]\nrun = {:?}\n", daemon.folder.path())).unwrap();
    assert_eq!(guardctl(&["--config", file.to_str().unwrap(), "status"]).0, ExitCode::SUCCESS);
    let (exit, text) = guardctl(&["--config", file.to_str().unwrap(), "config", "check"]);
    assert_eq!(exit, code(2));
    assert!(text.contains("guard.toml:1:2: unknown table `path`; did you mean `paths`?"), "{text}");
}

#[test]
fn configurations_are_checked_and_shown() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guard.toml");
    let file = path.to_str().unwrap();
    fs::write(&path, "[decide]\nthreshold = 7\n").unwrap();
    let (exit, text) = guardctl(&["config", "check", file]);
    assert_eq!((exit, text.contains("  decide.threshold: 5 → 7\n")), (ExitCode::SUCCESS, true), "{text}");
    let (_, text) = guardctl(&["config", "show", file]);
    assert!(text.contains("threshold = 7  # default: 5\n"), "{text}");
    let (_, json) = guardctl(&["config", "show", file, "--json"]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["decide"]["threshold"], 7);

    fs::write(&path, "[decide]\ntreshold = 7\nwindow = 5\n").unwrap();
    let (exit, text) = guardctl(&["config", "check", file]);
    assert_eq!((exit, text.lines().count()), (code(2), 2), "{text}");
    let (exit, json) = guardctl(&["config", "check", file, "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((exit, &json["valid"], &json["faults"][1]["line"]), (code(2), &false.into(), &3.into()));
}

#[test]
fn completions_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let (exit, script) = guardctl(&["completions", shell]);
        assert_eq!(exit, ExitCode::SUCCESS);
        for command in Cli::command().get_subcommands() {
            assert!(script.contains(command.get_name()), "{shell}: {}", command.get_name());
        }
    }
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

/// A reader that has gone.
struct Gone;

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_reader_that_has_gone_is_no_error() {
    let daemon = Daemon::new(canned);
    let cli = Cli::parse_from(["guardctl", "--socket", daemon.socket.to_str().unwrap(), "list"]);
    let error = run(&cli, &mut Screen::new(&mut Gone, cli.color, false)).unwrap_err();
    assert_eq!(error.exit(), ExitCode::SUCCESS);
}

#[test]
fn lists_and_events_ask_for_what_their_options_say() {
    let daemon = Daemon::new(canned);
    let line = "list --filter sshd --family ipv4 --within 10.0.0.0/8 --ends-within 1h --strike 2 --sort score --reverse --limit 3";
    let (exit, text) = daemon.guardctl(&line.split(' ').collect::<Vec<_>>());
    assert_eq!(exit, ExitCode::SUCCESS, "{text}");
    assert!(text.starts_with("TARGET    SCORE"), "{text}");
    let query = BanQuery {
        origin: Some("sshd".into()),
        family: Some(Family::Ipv4),
        within: Some("10.0.0.0/8".parse().unwrap()),
        ends_within: Some(3600),
        permanent: false,
        strike: Some(2),
        sort: Sort::Score,
        reverse: true,
    };
    let after = None;
    let line = "events --kind ban,unban --target 203.0.113.0/24 --since 2026-11-20T08:00:00Z --limit 5";
    daemon.guardctl(&line.split(' ').collect::<Vec<_>>());
    let events = EventQuery {
        kinds: vec!["ban".into(), "unban".into()],
        target: Some("203.0.113.0/24".parse().unwrap()),
        since: Some("2026-11-20T08:00:00Z".parse().unwrap()),
        limit: 5,
        ..EventQuery::default()
    };
    let asked = [Request::List { query, after, limit: 3 }, Request::Events { query: events }];
    assert_eq!(daemon.asked(), asked);
    for wrong in [
        "list --sort size",
        "list --permanent --ends-within 1h",
        "events --since yesterday",
        "events --follow --until 1h",
    ] {
        assert_eq!(daemon.guardctl(&wrong.split(' ').collect::<Vec<_>>()).0, code(2), "{wrong}");
    }
}
