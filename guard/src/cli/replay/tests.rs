use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use serde_json::Value;

use super::diff::Difference;
use super::judge::Ban;
use crate::cli::{Cli, CliError, Screen, run};
use crate::time::Moment;

/// A folder with configurations and logs.
struct Logs(tempfile::TempDir);

impl Logs {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path: PathBuf = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// A configuration with few filters, which are soon compiled.
    fn config(&self, name: &str, text: &str) -> String {
        self.file(name, format!("{text}[filter]\nenable = [\"sshd\", \"http\"]\n"))
    }

    /// What a replay prints with a configuration.
    fn replay(&self, config: &str, options: &[&str]) -> String {
        Self::try_replay(&self.config("guard.toml", config), options).unwrap()
    }

    fn try_replay(config: &str, options: &[&str]) -> Result<String, CliError> {
        let line = [&["guardctl", "--config", config, "replay"], options].concat();
        let cli = Cli::try_parse_from(line).unwrap();
        let mut out = Vec::new();
        let code = run(&cli, &mut Screen::new(&mut out, cli.color, cli.json))?;
        assert_eq!(code, ExitCode::SUCCESS);
        Ok(String::from_utf8(out).unwrap())
    }

    fn json(&self, config: &str, options: &[&str]) -> Value {
        serde_json::from_str(&self.replay(config, &[&["--json"], options].concat())).unwrap()
    }
}

fn failed(address: &str, minute: u32, second: u32) -> String {
    format!(
        "2026-11-20T21:{minute:02}:{second:02}+00:00 host sshd[{}]: Failed password for root from {address} port {} ssh2\n",
        1000 + minute * 60 + second,
        40_000 + second
    )
}

fn login(address: &str, minute: u32) -> String {
    format!(
        "2026-11-20T21:{minute:02}:59+00:00 host sshd[9]: Accepted password for anna from {address} port 50000 ssh2\n"
    )
}

fn targets(bans: &Value) -> Vec<&str> {
    bans.as_array().unwrap().iter().map(|ban| ban["target"].as_str().unwrap()).collect()
}

#[test]
fn bans_of_addresses_that_log_in_later_are_marked() {
    let logs = Logs::new();
    let attack = |address: &str| (0..6).map(|n| failed(address, 1, n)).collect::<String>();
    let text =
        [login("203.0.113.9", 0), attack("203.0.113.7"), attack("203.0.113.9"), login("203.0.113.7", 2)];
    let log = logs.file("auth.log", text.concat());
    let outcome = logs.json("", &[&log]);
    let bans = &outcome["bans"];
    assert_eq!(targets(bans), ["203.0.113.7", "203.0.113.9"], "{outcome}");
    assert_eq!(bans[0]["logged_in_later"], true);
    assert_eq!(bans[1]["logged_in_later"], false, "it had logged in before only");
    let text = logs.replay("", &[&log]);
    assert_eq!(text.matches("logged in later").count(), 2, "beside the ban and in the sum: {text}");
}

#[test]
fn another_configuration_is_shown_as_a_difference() {
    let logs = Logs::new();
    let three: String = (0..3).map(|n| failed("203.0.113.3", 1, n)).collect();
    let six: String = (0..6).map(|n| failed("203.0.113.6", 2, n)).collect();
    let allowed: String = (0..6).map(|n| failed("203.0.113.8", 3, n)).collect();
    let log = logs.file("auth.log", [three, six, allowed, login("203.0.113.3", 5)].concat());
    let other = logs.config(
        "other.toml",
        "[decide]\nthreshold = 3\nladder = [\"2h\"]\njitter = 0\n[allow]\ntargets = [\"203.0.113.8\"]\n",
    );
    let present = "[decide]\njitter = 0\n";
    let found = logs.json(present, &["--against", &other, &log]);
    assert_eq!(targets(&found["added"]), ["203.0.113.3"], "{found}");
    assert_eq!(found["added"][0]["logged_in_later"], true);
    assert_eq!(targets(&found["dropped"]), ["203.0.113.8"]);
    assert_eq!(targets(&found["changed"]), ["203.0.113.6"]);
    assert_eq!(
        (&found["changed"][0]["seconds"], &found["changed"][0]["seconds_before"]),
        (&7200.into(), &3600.into())
    );
    let text = logs.replay(present, &["--against", &other, &log]);
    assert!(text.contains("1 ban added, 1 dropped, 1 of another length, 0 as before"), "{text}");
    assert!(text.contains("1 ban would have hit an address that logged in later"), "{text}");
}

#[test]
fn a_configuration_does_not_differ_from_itself() {
    let logs = Logs::new();
    let log = logs.file("auth.log", (0..6).map(|n| failed("203.0.113.6", 2, n)).collect::<String>());
    let same = logs.config("same.toml", "");
    let found = logs.json("", &["--against", &same, &log]);
    assert_eq!(found, serde_json::json!({ "added": [], "dropped": [], "changed": [], "unchanged": 1 }));
}

fn ban(since: i64, minutes: Option<i64>) -> Ban {
    let length = minutes.map(|minutes| minutes * 60_000);
    Ban {
        target: "203.0.113.7".parse().unwrap(),
        at: String::new(),
        seconds: length.map(|length| length as u64 / 1000),
        rule: "sshd".into(),
        score: 5.0,
        logged_in_later: false,
        since: Moment(since * 60_000),
        until: length.map(|length| Moment(since * 60_000 + length)),
    }
}

#[test]
fn bans_of_one_target_are_one_if_they_hold_together() {
    let present = vec![ban(0, Some(10)), ban(11, Some(10)), ban(100, Some(10))];
    let other = vec![ban(1, Some(60)), ban(99, Some(10)), ban(200, None)];
    let found = Difference::between(present, other);
    let since = |bans: &[Ban]| bans.iter().map(|ban| ban.since.0 / 60_000).collect::<Vec<_>>();
    assert_eq!(since(&found.added), [200]);
    assert_eq!(since(&found.dropped), [11], "the longer ban before it covers it");
    assert_eq!(found.changed.len(), 1);
    assert_eq!((found.changed[0].ban.seconds, found.changed[0].seconds_before), (Some(3600), Some(600)));
    assert_eq!(found.unchanged, 1, "it only began earlier");
}

/// Some MiB of what logs are made of: attacks that span parts, other programs, records, lines longer than guard reads.
fn mixed() -> Vec<u8> {
    let mut text = Vec::new();
    let mut chance = 7u32;
    for n in 0u32..30_000 {
        chance = chance.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let address = format!("198.51.{}.{}", chance >> 30, chance >> 24 & 255);
        let (minute, second) = (n / 600 % 60, n / 10 % 60);
        let line = match chance >> 12 & 15 {
            0..6 => failed(&address, minute, second),
            6 => login(&address, minute),
            7 => format!(
                "Nov 20 21:{minute:02}:{second:02} host sshd[7]: Invalid user {n} from {address} port 4\n"
            ),
            8 => format!(
                "{address} - - [20/Nov/2026:21:{minute:02}:{second:02} +0000] \"GET /.env HTTP/1.1\" 404 9\n"
            ),
            _ => format!("2026-11-20T21:{minute:02}:{second:02}+00:00 host cron[{n}]: (root) CMD (true)\n"),
        };
        text.extend_from_slice(line.as_bytes());
        if n % 5_000 == 0 {
            text.extend(std::iter::repeat_n(b'x', 50_000 * (n / 5_000) as usize));
            text.push(b'\n');
        }
    }
    text.extend_from_slice(failed("203.0.113.1", 59, 59).trim_end().as_bytes());
    text
}

#[test]
fn many_threads_decide_what_one_decides() {
    let logs = Logs::new();
    let log = logs.file("mixed.log", mixed());
    let empty = logs.file("empty.log", "");
    let other = logs.config("other.toml", "[decide]\nthreshold = 9\n");
    for options in [&["--json"][..], &["--against", &other, "--json"], &[]] {
        let with =
            |threads: &str| logs.replay("", &[options, &["--threads", threads, &empty, &log]].concat());
        let one = with("1");
        assert!(one.len() > 1000, "{one}");
        for threads in ["2", "5"] {
            assert!(with(threads) == one, "{threads} threads, {options:?}");
        }
    }
}

#[test]
fn a_log_of_a_service_is_read_by_its_filters_alone() {
    let logs = Logs::new();
    let forged: String = (0..6).map(|n| failed("203.0.113.9", 1, n)).collect();
    let own = "2026-11-20 21:00:00 app refused 203.0.113.7\n".repeat(6);
    let text = [own, forged].concat();
    let (named, copied) = (logs.file("app.log", &text), logs.file("copied.log", &text));
    let folder = logs.0.path().join("filters.d");
    std::fs::create_dir(&folder).unwrap();
    let filter =
        "format = \"stamped\"\n[[pattern]]\nkind = \"failed-auth\"\ntext = 'app refused <address>'\n";
    std::fs::write(folder.join("app.toml"), format!("files = [\"{named}\"]\n{filter}")).unwrap();
    let both = format!("[filter]\nfolder = \"{}\"\nenable = [\"sshd\", \"app\"]\n", folder.display());
    let plain = logs.file("plain.toml", &both);
    let banned = |config: &str, options: &[&str]| {
        let outcome = Logs::try_replay(config, &[&["--json"], options].concat()).unwrap();
        let outcome: Value = serde_json::from_str(&outcome).unwrap();
        targets(&outcome["bans"]).join(" ")
    };
    for threads in ["1", "2"] {
        let threads = ["--threads", threads];
        let banned = |options: &[&str]| banned(&plain, &[&threads, options].concat());
        assert_eq!(banned(&[&named]), "203.0.113.7");
        assert_eq!(banned(&[&copied]), "203.0.113.7 203.0.113.9", "nobody's");
        assert_eq!(banned(&["--filter", "app", &copied]), "203.0.113.7");
        assert_eq!(banned(&["--filter", "sshd", &named]), "203.0.113.9");
        assert_eq!(banned(&["--filter", "sshd", "--filter", "app", &named]), "203.0.113.7 203.0.113.9");
    }
    let as_syslog = logs.file("syslog.toml", format!("{both}[source]\nfiles = [\"{named}\"]\n"));
    assert_eq!(banned(&as_syslog, &[&named]), "203.0.113.9");
    let as_own = format!("{both}[source]\nfiles = [{{ path = \"{copied}\", filters = [\"app\"] }}]\n");
    assert_eq!(banned(&logs.file("own.toml", as_own), &[&copied]), "203.0.113.7");
    let unknown = Logs::try_replay(&plain, &["--filter", "http", &named]).unwrap_err().to_string();
    assert!(unknown.contains("`http`"), "{unknown}");
}

/// What rules do in a replay, one and several scanners alike.
const RULES: &str = r#"
[[rule]]
name = "shells"
when = { path = "*.php", status = "4xx" }
then = { ban = "2h" }
[[rule]]
name = "ours"
when = { cidr = "203.0.113.8/31" }
then = { ignore = true }
[[rule]]
name = "port"
when = { pattern = 'port 4000[12] ssh2$' }
then = { score = { add = 3 } }
[[rule]]
name = "trial"
when = { service = "sshd" }
then = { ban = "permanent" }
simulate = true
"#;

#[test]
fn rules_decide_in_a_replay() {
    let logs = Logs::new();
    let ours: String = (0..9).map(|n| failed("203.0.113.9", 1, n)).collect();
    let two: String = (1..3).map(|n| failed("203.0.113.7", 2, n)).collect();
    let web = "203.0.113.6 - - [20/Nov/2026:21:03:00 +0000] \"GET /x.php?y HTTP/1.1\" 404 9\n".repeat(9);
    // Rules come last: a table of options would end them.
    let config = logs.file("rules.toml", format!("[filter]\nenable = [\"sshd\", \"http\"]\n{RULES}"));
    let http = logs.file("access.log", web);
    let log = logs.file("auth.log", [ours, two].concat());
    for threads in ["1", "2"] {
        let options = ["--json", "--threads", threads, &log];
        let outcome: Value = serde_json::from_str(&Logs::try_replay(&config, &options).unwrap()).unwrap();
        assert_eq!(targets(&outcome["bans"]), ["203.0.113.7"], "{outcome}");
        assert_eq!(outcome["bans"][0]["rule"], "sshd");
        let rules: Vec<String> = outcome["rules"]
            .as_array()
            .unwrap()
            .iter()
            .map(|rule| {
                format!("{} {} {} {}", rule["rule"], rule["matched"], rule["acted"], rule["simulated"])
            })
            .collect();
        assert_eq!(rules, ["\"ours\" 9 9 0", "\"port\" 2 2 0"], "{outcome}");
        let options = ["--json", "--threads", threads, "--filter", "http", &http];
        let outcome: Value = serde_json::from_str(&Logs::try_replay(&config, &options).unwrap()).unwrap();
        let ban = &outcome["bans"][0];
        assert_eq!(targets(&outcome["bans"]), ["203.0.113.6"], "{outcome}");
        assert_eq!((&ban["rule"], &ban["seconds"]), (&"rule:shells".into(), &7200.into()));
    }
    let text = Logs::try_replay(&config, &[&log]).unwrap();
    assert!(text.contains("rule ours held for 9 lines, acted on 9"), "{text}");
}

#[test]
fn a_journal_is_read_like_the_daemon_reads_it() {
    const REMOTE: &str = "/lib/systemd/systemd-journal-remote";
    if !std::path::Path::new(REMOTE).exists() {
        return harness::skip(&format!("{REMOTE} is not installed"));
    }
    let mut export = String::new();
    for n in 0..12 {
        // Every second one is from somebody who is not root.
        let (user, host) = [(0, 7), (1000, 8)][n % 2];
        let at = 1_790_000_000_000_000 + n as u64 * 1_000_000;
        write!(
            export,
            "__REALTIME_TIMESTAMP={at}\n__MONOTONIC_TIMESTAMP={at}\n_BOOT_ID={:032x}\nSYSLOG_IDENTIFIER=sshd\n\
             _UID={user}\n_COMM=sshd\n_PID={}\n_SYSTEMD_UNIT=ssh.service\n_TRANSPORT=syslog\n\
             MESSAGE=Failed password for root from 203.0.113.{host} port {} ssh2\n\n",
            1,
            100 + n,
            4000 + n,
        )
        .unwrap();
    }
    let logs = Logs::new();
    let (input, journal) = (logs.file("export", export), logs.file("system.journal", ""));
    std::fs::remove_file(&journal).unwrap();
    let written = std::process::Command::new(REMOTE).args(["-o", &journal, &input]).output().unwrap();
    assert!(written.status.success(), "{written:?}");

    let outcome: Value = serde_json::from_str(&logs.replay("", &["--json", &journal])).unwrap();
    assert_eq!((&outcome["lines"], &outcome["matched"]), (&12.into(), &6.into()), "{outcome}");
    assert_eq!(targets(&outcome["bans"]), ["203.0.113.7"]);
    let at = outcome["bans"][0]["at"].as_str().unwrap();
    assert!(at.starts_with("2026-09-21T14:13:28"), "the fifth entry's time: {at}");

    let damaged = logs.file("damaged.journal", &std::fs::read(&journal).unwrap()[..5000]);
    let config = logs.config("guard.toml", "");
    let refused = Logs::try_replay(&config, &[&damaged]).unwrap_err().to_string();
    assert!(refused.contains("damaged.journal"), "{refused}");
}

#[test]
fn what_a_ban_covers_is_not_banned_once_more() {
    let logs = Logs::new();
    let hosts = |hosts: std::ops::Range<u32>, minute: u32| -> String {
        let lines =
            hosts.flat_map(|host| (0..5).map(move |n| failed(&format!("203.0.113.{host}"), minute, n)));
        lines.collect()
    };
    let log = logs.file("auth.log", [hosts(1..11, 1), hosts(11..14, 2)].concat());
    let outcome = logs.json("", &[&log]);
    let targets = targets(&outcome["bans"]);
    assert_eq!((targets.len(), targets.last()), (11, Some(&"203.0.113.0/24")), "{outcome}");
    assert_eq!(outcome["bans"][10]["rule"], "prefix");
    assert_eq!(outcome["refused"], 0, "nothing protects them");
}

#[test]
fn a_compressed_log_is_refused_with_a_hint() {
    let logs = Logs::new();
    let config = logs.config("guard.toml", "");
    let packed: [(&[u8], &str); 5] = [
        (b"\x1f\x8b\x08\0\0", "zcat"),
        (b"\xfd7zXZ\0\0\x04", "xzcat"),
        (b"\x28\xb5\x2f\xfd\x24", "zstdcat"),
        (b"\x04\x22\x4d\x18\x64", "lz4cat"),
        (b"BZh91AY&SY\x94", "bzcat"),
    ];
    for (start, tool) in packed {
        let log = logs.file("auth.log.1", [start, &[7; 40]].concat());
        for threads in ["1", "2"] {
            let refused = Logs::try_replay(&config, &["--threads", threads, &log]).unwrap_err().to_string();
            assert!(refused.contains(tool) && refused.contains("auth.log.1"), "{refused}");
        }
    }
    Logs::try_replay(&config, &[&logs.file("text.log", "BZh is no header\n")]).unwrap();
}
