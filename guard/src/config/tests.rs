//! The configuration as its users meet it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::scan::Mode;

fn parsed(text: &str) -> Config {
    parse(text, Path::new("guard.toml")).unwrap()
}

fn refused(text: &str) -> String {
    parse(text, Path::new("guard.toml")).unwrap_err().to_string()
}

fn shipped() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../config/guard.toml")).unwrap()
}

/// The shipped file with the options that stand behind a `# ` in force.
fn uncommented(text: &str) -> String {
    let option = |line: &str| {
        line.strip_prefix("# ")
            .and_then(|rest| rest.split_once(" = "))
            .is_some_and(|(key, _)| key.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
    };
    text.lines().map(|line| if option(line) { &line[2..] } else { line }).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_shipped_file_is_the_defaults_and_names_every_option() {
    assert_eq!(parsed(&shipped()), Config::default());
    assert_eq!(parsed(""), Config::default());

    let full = uncommented(&shipped());
    assert_eq!(parsed(&full), Config::default());
    let table: toml::Table = full.parse().unwrap();
    for key in Config::keys() {
        let Some((outer, inner)) = key.split_once('.') else {
            assert!(full.contains(&format!("[[{key}]]")), "{key} is missing in config/guard.toml");
            continue;
        };
        assert!(table[outer].get(inner).is_some(), "{key} is missing in config/guard.toml");
    }
}

#[test]
fn restart_marks_of_the_shipped_file_are_true() {
    let text = shipped();
    let mut marked = false;
    let mut table = "";
    for line in text.lines().skip(7) {
        if let Some(name) = line.strip_prefix('[') {
            table = name.trim_end_matches(']');
        } else if let Some((key, _)) = line.strip_prefix("# ").and_then(|rest| rest.split_once(" = "))
            && let Some(setting) = settings::SETTINGS.iter().find(|setting| setting.place() == (table, key))
        {
            assert_eq!(marked, setting.at_restart, "{}", setting.key);
            marked = false;
        } else {
            marked |= line.ends_with("[R]");
        }
    }
}

#[test]
fn every_value_is_read() {
    let config = parsed(
        r#"
        [source]
        journald = "off"
        files = ["/var/log/a.log", { path = "/var/log/b.log", journal_copy = true }, { path = "/srv/c.log", filters = ["http"] }]
        read_back = "64KiB"
        [filter]
        mode = "aggressive"
        [decide]
        threshold = 2.5
        window = "1h 30m"
        ladder = ["10m", 0, "permanent"]
        jitter = 0.25
        [allow]
        targets = ["::ffff:203.0.113.9", "2001:DB8::1/48"]
        [enforce]
        backend = "nftables"
        interfaces = ["eth0"]
        [api]
        socket = "/run/x/guard.sock"
        [metrics]
        listen = "off"
        "#,
    );
    assert_eq!(config.source.journald, Journald::Off);
    assert_eq!(
        config.source.files[0],
        FileSource { path: "/var/log/a.log".into(), journal_copy: false, filters: vec![] }
    );
    assert_eq!(config.source.files[2].filters, ["http"]);
    assert!(config.source.files[1].journal_copy);
    assert_eq!(config.source.read_back, 65_536);
    assert_eq!(config.filter.mode, Mode::Aggressive);
    assert_eq!(config.decide.threshold, Points(2500));
    assert_eq!(config.decide.window, Duration::from_secs(5400));
    assert_eq!(config.decide.ladder, [Some(Duration::from_secs(600)), None, None]);
    assert_eq!(config.decide.jitter_permille, 250);
    assert_eq!(config.allow.targets[0].target.to_string(), "203.0.113.9");
    assert_eq!(config.allow.targets[1].target.to_string(), "2001:db8::/48");
    assert_eq!(config.enforce.backend, BackendChoice::Nftables);
    assert_eq!(config.enforce.interfaces, Interfaces::Named(vec!["eth0".into()]));
    assert_eq!(config.socket(), Path::new("/run/x/guard.sock"));
    assert_eq!(config.metrics.listen, None);
}

#[test]
fn feeds_are_read_and_shown() {
    let text = r#"
        [[feed]]
        name = "drop"
        url = "https://user:secret@lists.example/drop.txt?key=secret"
        [[feed]]
        name = "own"
        path = "/etc/guard/bad.csv"
        format = "csv"
        column = "dst_ip"
        every = "10m"
        action = "points"
        points = 1.5
        max_bytes = "1MiB"
        max_entries = 10
        widest_v4 = 16
        widest_v6 = 32
        max_shrink = 0.9
        "#;
    let config = parsed(text);
    assert_eq!(config.feed[0].shown_source(), "https://lists.example/drop.txt");
    assert_eq!(config.feed[0], Feed::new("drop", config.feed[0].from.clone()));
    let own = &config.feed[1];
    assert_eq!((own.action, own.points, own.max_shrink), (FeedAction::Points, Points(1500), 900));
    assert_eq!((own.max_bytes, own.max_entries, own.widest_v4, own.widest_v6), (1 << 20, 10, 16, 32));
    assert_eq!(parsed(&config.show()), config);
    assert_eq!(Config::diff(&parsed(""), &config), ["feed: changed"]);
    let vouched = parsed(&text.replace("key=secret\"", "key=secret\"\nca = \"/etc/guard/ca.pem\""));
    assert_eq!(vouched.feed[0].ca.as_deref(), Some(std::path::Path::new("/etc/guard/ca.pem")));
    assert_eq!(parsed(&vouched.show()), vouched);
    for here in ["http://127.0.0.1:8080/x", "http://localhost/x", "http://[::1]/x"] {
        parsed(&format!("[[feed]]\nname = \"a\"\nurl = \"{here}\""));
    }
    for (text, says) in [
        ("[feed]\nname = \"a\"", "guard.toml:1:1: `feed`: feeds are a list of tables: write [[feed]]"),
        ("[[feed]]\npath = \"/a\"", "`feed`: `name` is missing"),
        ("[[feed]]\nname = \"a\"", "feed `a` needs either `url` or `path`"),
        ("[[feed]]\nname = \"a\"\nurl = \"ftp://x/y\"", "guard.toml:3:7: `feed`: \"ftp://x/y\" is not a URL"),
        ("[[feed]]\nname = \"a\"\nurl = \"http://lists.example/y\"", "not fetched over TLS"),
        ("[[feed]]\nname = \"a\"\npath = \"/x\"\nca = \"/y\"", "feed `a` has a `ca`, but no https:// URL"),
        (
            "[[feed]]\nname = \"a\"\npth = \"/x\"",
            "guard.toml:3:1: `feed`: unknown key `pth`; did you mean `path`?",
        ),
        (
            "[[feed]]\nname = \"a\"\npath = \"/x\"\n[[feed]]\nname = \"a\"\npath = \"/y\"",
            "two feeds are called `a`",
        ),
        ("[[fed]]\nname = \"a\"", "unknown table `fed`; did you mean `feed`?"),
    ] {
        let error = refused(text);
        assert!(error.contains(says), "{text}\n  says  {error}\n  wants {says}");
    }
}

#[test]
fn what_is_shown_reads_back_as_the_same() {
    let config = parsed(
        "[decide]\nthreshold = 7\nladder = [\"permanent\"]\n[source]\nfiles = []\n[enforce]\ninterfaces = [\"a\"]",
    );
    let shown = config.show();
    assert_eq!(parsed(&shown), config);
    assert!(shown.contains("threshold = 7  # default: 5\n"), "{shown}");
    assert!(shown.contains("window = \"10m\"\n"), "{shown}");
}

#[test]
fn errors_name_place_key_and_way_out() {
    for (text, says) in [
        (
            "[decide]\ntreshold = 5",
            "guard.toml:2:1: unknown key `decide.treshold`; did you mean `threshold`?",
        ),
        ("[decied]\n", "guard.toml:1:2: unknown table `decied`; did you mean `decide`?"),
        (
            "threshold = 5",
            "guard.toml:1:1: `threshold` stands outside of its table; it belongs under [decide]",
        ),
        ("[allow]\nladder = []", "guard.toml:2:1: unknown key `allow.ladder`; it belongs under [decide]"),
        ("decide = 5", "guard.toml:1:1: `decide` is a table: write [decide] on a line of its own"),
        (
            "[decide]\nthreshold = \"5\"",
            "guard.toml:2:13: `decide.threshold`: expected a number from 0.1 to 1000, found a text",
        ),
        (
            "[decide]\nwindow = 600",
            "guard.toml:2:10: `decide.window`: 600 has no unit: a duration is written like",
        ),
        (
            "[decide]\nwindow = \"10 parsecs\"",
            "guard.toml:2:10: `decide.window`: `parsecs` is not a unit of time",
        ),
        ("[decide]\nwindow = \"90d\"", "guard.toml:2:10: `decide.window`: out of range: from 1s to 30d"),
        ("[decide]\njitter = 1.5", "guard.toml:2:10: `decide.jitter`: out of range: a number from 0 to 1"),
        ("[decide]\nthreshold = nan", "guard.toml:2:13: `decide.threshold`: out of range"),
        ("[decide]\nladder = []", "guard.toml:2:10: `decide.ladder`: the list needs at least 1 item"),
        ("[decide]\nladder = [3600]", "guard.toml:2:11: `decide.ladder`: 3600 has no unit"),
        ("[decide]\nmax_bans = -1", "guard.toml:2:12: `decide.max_bans`: -1 is out of range: a whole number"),
        (
            "[source]\nread_back = 5",
            "guard.toml:2:13: `source.read_back`: 5 has no unit: a size is written like",
        ),
        (
            "[source]\nfiles = [{ pth = \"/a\" }]",
            "guard.toml:2:12: `source.files`: unknown key `pth`; did you mean `path`?",
        ),
        ("[source]\nfiles = [{ journal_copy = true }]", "`source.files`: `path` is missing"),
        (
            "[source]\nfiles = [{ path = '/x', journal_copy = true, filters = ['http'] }]",
            "`source.files`: a service's own file (`filters`) is no copy of the journal (`journal_copy`)",
        ),
        (
            "[source]\nfiles = [\"a.log\"]",
            "guard.toml:2:10: `source.files`: \"a.log\" is not an absolute path",
        ),
        (
            "[allow]\ntargets = [\"10.0.0.0/33\"]",
            "guard.toml:2:12: `allow.targets`: `10.0.0.0/33` is not an address, CIDR prefix or name of a host",
        ),
        (
            "[enforce]\nbackend = \"xpd\"",
            "\"xpd\" is none of auto, xdp, nftables, observe; did you mean \"xdp\"?",
        ),
        ("[enforce]\ninterfaces = \"eth0\"", "write \"auto\" or a list, like [\"eth0\"]"),
        ("[enforce]\nnftables_table = \"a b; flush ruleset\"", "is not a name of up to 31 letters"),
        ("[metrics]\nlisten = \"19187\"", "\"19187\" is not an address with a port"),
        ("[allow]\nprivate = \"yes\"", "expected true or false, found a text"),
        ("[decide]\nwindow = \"1m\"\nwindow = \"2m\"", "guard.toml:3:1: duplicate key"),
        ("[decide]\nwindow = ", "guard.toml:2:"),
    ] {
        let error = refused(text);
        assert!(error.contains(says), "{text}\n  says  {error}\n  wants {says}");
    }
}

#[test]
fn all_errors_are_told_in_the_order_of_the_file() {
    let error = parse(
        "[zzz]\n[decide]\nthreshold = -1\nwindow = \"x\"\n[allow]\ntargets = [\"a\", \"10.0.0.1\", \"b\"]",
        Path::new("g"),
    )
    .unwrap_err();
    let lines: Vec<_> = error.faults().iter().map(|fault| (fault.line, fault.column)).collect();
    assert_eq!(lines, [(1, 2), (3, 13), (4, 10), (6, 12), (6, 29)]);
    assert_eq!(error.to_string().lines().count(), 5);
}

#[test]
fn columns_count_characters() {
    assert!(refused("[decide]\ndecoys = [\"ok\", \"é\", 5]").contains("guard.toml:2:22:"));
}

#[test]
fn differences_say_what_waits_for_a_restart() {
    let old = Config::default();
    let new = parsed("[decide]\nthreshold = 7\n[metrics]\nlisten = \"off\"");
    assert_eq!(
        Config::diff(&old, &new),
        ["decide.threshold: 5 → 7", "metrics.listen: \"127.0.0.1:19187\" → \"off\""]
    );
    assert_eq!(Config::diff_at_restart(&old, &new), ["metrics.listen: \"127.0.0.1:19187\" → \"off\""]);
    let effective = new.reloaded_over(&old);
    assert_eq!(effective.decide.threshold, Points(7000));
    assert_eq!(effective.metrics.listen, old.metrics.listen);
}

#[test]
fn a_file_that_others_may_write_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guard.toml");
    fs::write(&path, "").unwrap();
    for (mode, fine) in [(0o644, true), (0o600, true), (0o664, false), (0o646, false)] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        match load(&path) {
            Ok(config) => assert!(fine && config == Config::default()),
            Err(error) => assert!(!fine && error.to_string().contains("chmod go-w "), "{error}"),
        }
    }
}

#[test]
fn a_file_of_another_user_is_refused() {
    if !rustix::process::geteuid().is_root() {
        return harness::skip("only root can give a file to another user");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guard.toml");
    fs::write(&path, "").unwrap();
    std::os::unix::fs::chown(&path, Some(12_345), None).unwrap();
    assert!(load(&path).unwrap_err().to_string().contains("chown root "));
}

#[test]
fn what_is_no_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("none.toml");
    let error = load(&missing).unwrap_err().to_string();
    assert!(error.starts_with(&missing.display().to_string()) && error.contains("no such file"), "{error}");
    assert!(load(folder.path()).unwrap_err().to_string().contains("not a regular file"));

    let fifo = folder.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(load(&fifo).unwrap_err().to_string().contains("not a regular file"));

    let binary = folder.path().join("binary");
    fs::write(&binary, b"\xff\xfe").unwrap();
    assert!(load(&binary).unwrap_err().to_string().contains("not UTF-8"));
}

#[test]
fn of_two_names_for_one_log_the_one_that_is_there_is_enough() {
    let usual = Sources::default();
    let (debian, other) = (&usual.files[0], &usual.files[1]);
    let only = |file: &FileSource| {
        let there = file.path.clone();
        move |path: &Path| path == there
    };
    assert!(usual.is_other_name_if(other, only(debian)) && usual.is_other_name_if(debian, only(other)));
    assert!(!usual.is_other_name_if(debian, only(debian)), "it is there");
    assert!(!usual.is_other_name_if(debian, |_| false), "both are waited for");
    let named = Sources { files: vec![other.clone(), debian.clone()], ..Sources::default() };
    assert!(!named.is_other_name_if(other, only(debian)), "what a person names is waited for");
}

#[test]
fn allowances_have_ends_and_comments() {
    let config = parsed(
        r#"
        [allow]
        targets = [
            "203.0.113.7",
            { target = "198.51.100.0/24", until = "2026-12-31", comment = "pentest" },
            { target = "198.51.100.7", until = 2026-12-31T18:00:00+01:00 },
            { target = "198.51.100.8", until = 2026-12-31 },
            { target = "2001:db8::/48", comment = "office" },
            "VPN.example.org",
        ]
        "#,
    );
    let ends: Vec<_> =
        config.allow.targets.iter().map(|one| one.until.map(|until| until.to_string())).collect();
    let ends: Vec<_> = ends.iter().map(|end| end.as_deref().unwrap_or("")).collect();
    assert_eq!(ends, ["", "2027-01-01T00:00:00Z", "2026-12-31T17:00:00Z", "2027-01-01T00:00:00Z", "", ""]);
    assert_eq!(config.allow.targets[5].target.to_string(), "vpn.example.org");
    assert_eq!(config.allow.targets[1].comment, "pentest");
    assert_eq!(parsed(&config.show()), config, "{}", config.show());
    let over: Vec<String> = config.allow.ended("2026-12-31T20:00:00Z".parse().unwrap()).collect();
    assert_eq!(over.len(), 1);
    assert!(over[0].contains("198.51.100.7 ended at 2026-12-31T17:00:00Z"), "{over:?}");

    for (entry, says) in [
        ("{ target = \"x\" }", "not an address"),
        ("{ until = \"2026-12-31\" }", "`target` is missing"),
        ("{ target = \"192.0.2.1\", untill = \"2026-12-31\" }", "did you mean `until`?"),
        ("{ target = \"192.0.2.1\", until = \"tomorrow\" }", "\"tomorrow\" is not a date"),
        ("{ target = \"192.0.2.1\", until = \"2026-12-31T18:00:00\" }", "is not a date"),
        ("{ target = \"192.0.2.1\", until = 7 }", "expected a date"),
        ("7", "expected an address, CIDR prefix or name"),
    ] {
        let error = refused(&format!("[allow]\ntargets = [{entry}]"));
        assert!(error.contains(says), "{entry}: {error}");
    }
}

#[test]
fn name_servers_and_the_number_of_names() {
    let config = parsed("[allow]\nname_servers = [\"192.0.2.53\", \"[2001:db8::53]:5353\"]\n");
    assert_eq!(config.allow.name_servers[0].to_string(), "192.0.2.53:53");
    assert_eq!(parsed(&config.show()), config, "{}", config.show());
    let error = refused("[allow]\nname_servers = [\"ns.example.org\"]");
    assert!(error.contains("is not the address of a name server"), "{error}");
    let names = (0..=MAX_NAMES).map(|n| format!("\"n{n}.example.org\"")).collect::<Vec<_>>().join(", ");
    let error = refused(&format!("[allow]\ntargets = [{names}]"));
    assert!(error.contains("257 names: at most 256"), "{error}");
}
