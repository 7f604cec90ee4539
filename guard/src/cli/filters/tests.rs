//! `guardctl filter` and the nearest miss of `guardctl explain`, on the shipped filters and an administrator's own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::Value;

use crate::cli::tests::{code, guardctl};
use crate::scan::shipped;

const APP: &str = "description = \"The shop\"\nidentifiers = [\"shop\"]\n[[pattern]]\nkind = \"failed-password\"\n\
                   text = 'wrong password of <account> at <address>'\n[[pattern]]\nkind = \"failed-auth\"\n\
                   mode = \"extra\"\ntext = 'no card from <address>'\n";

/// A configuration with a folder of filters of its own.
struct Own {
    folder: tempfile::TempDir,
}

impl Own {
    fn new(files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let filters = folder.path().join("filters.d");
        fs::create_dir(&filters).unwrap();
        for (name, text) in files {
            fs::write(filters.join(name), text).unwrap();
        }
        let config = format!("[filter]\nfolder = {filters:?}\ndisable = [\"pam\"]\n");
        fs::write(folder.path().join("guard.toml"), config).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }

    fn run(&self, line: &[&str]) -> (ExitCode, String) {
        let config = self.path("guard.toml");
        guardctl(&[&["--config", config.to_str().unwrap()], line].concat())
    }

    fn json(&self, line: &[&str]) -> Value {
        let (_, text) = self.run(&[line, &["--json"]].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

#[test]
fn the_list_tells_what_is_in_use_and_whose_it_is() {
    let own = Own::new(&[("shop.toml", APP), ("sshd.toml", APP)]);
    let (exit, text) = own.run(&["filter", "list"]);
    assert_eq!(exit, ExitCode::SUCCESS);
    let row = |name: &str| {
        let line = text.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert!(row("shop").starts_with("shop in use own The shop shop"), "{text}");
    assert!(row("sshd").starts_with("sshd in use own The shop shop"), "a shipped one is replaced: {text}");
    assert!(row("dovecot").starts_with("dovecot in use shipped Dovecot"), "{text}");
    assert!(row("dovecot").contains(" 110 143 "), "where it listens: {text}");
    assert!(row("pam").starts_with("pam off shipped"), "{text}");

    let list = own.json(&["filter", "list"]);
    let list = list.as_array().unwrap();
    assert_eq!(list.len(), shipped().len() + 1);
    let shop = list.iter().find(|filter| filter["name"] == "shop").unwrap();
    assert_eq!((&shop["enabled"], &shop["shipped"]), (&true.into(), &false.into()));
    assert_eq!(Path::new(shop["path"].as_str().unwrap()), own.path("filters.d/shop.toml"));
    assert_eq!((&shop["about"]["patterns"], &shop["about"]["identifiers"][0]), (&2.into(), &"shop".into()));
}

#[test]
fn a_wrong_filter_in_the_folder_is_named_instead_of_a_list() {
    let own = Own::new(&[(
        "shop.toml",
        "identifiers = [\"shop\"]\n[[pattern]]\nkind = \"failed-auth\"\ntext = '<text> <address>'\n",
    )]);
    let (exit, text) = own.run(&["filter", "list"]);
    assert_eq!(
        (exit, text.contains("shop.toml:4: the pattern `<text> <address>` is refused")),
        (code(2), true),
        "{text}"
    );
}

#[test]
fn a_filter_is_shown_as_it_was_written() {
    let own = Own::new(&[("shop.toml", APP)]);
    let (exit, text) = own.run(&["filter", "show", "shop"]);
    assert_eq!(exit, ExitCode::SUCCESS);
    let path = own.path("filters.d/shop.toml");
    assert_eq!(text, format!("# shop: {}\n{APP}", path.display()));
    assert_eq!(own.json(&["filter", "show", "shop"])["filter"]["pattern"][1]["mode"], "extra");

    let sshd = shipped().into_iter().find(|filter| filter.name == "sshd").unwrap();
    let (_, text) = own.run(&["filter", "show", "sshd"]);
    assert_eq!(text, format!("# sshd: shipped with guard\n{}", sshd.text));

    let (exit, text) = own.run(&["filter", "show", "ssh"]);
    assert_eq!((exit, text.contains("there is no filter `ssh`; there are ")), (code(2), true), "{text}");
}

#[test]
fn a_filter_is_tried_on_a_corpus() {
    let own = Own::new(&[]);
    let shop = own.file("shop.toml", APP);
    let case = |message: &str, expect: &str| {
        format!(
            "[[case]]\nsort = \"attack\"\nmessage = '{message}'\nexpect = \"{expect}\"\n\
             kind = \"failed-password\"\naccount = 'x'\nsource = 'here'\n"
        )
    };
    let right = case("wrong password of x at 192.0.2.1", "192.0.2.1");
    let corpus = own.file("right.toml", &right);
    let (exit, text) = own.run(&["filter", "test", &shop, "--corpus", &corpus]);
    assert_eq!(exit, ExitCode::SUCCESS, "{text}");
    assert!(text.contains("shop: loads") && text.contains("1 of 1 case right"), "{text}");

    let corpus = own.file("wrong.toml", &(right + &case("wrong password of x at 192.0.2.7", "192.0.2.2")));
    let (exit, text) = own.run(&["filter", "test", &shop, "--corpus", &corpus]);
    assert_eq!(exit, code(1), "{text}");
    assert!(text.contains("wrong: the address is 192.0.2.7, and must be 192.0.2.2"), "{text}");
    assert!(text.contains("1 of 2 cases right"), "{text}");
    let json = own.json(&["filter", "test", &shop, "--corpus", &corpus]);
    assert_eq!((&json["cases"], json["faults"].as_array().unwrap().len()), (&2.into(), 1), "{json}");

    let (exit, text) = own.run(&["filter", "test", &shop, "--corpus", "/nowhere.toml"]);
    assert_eq!((exit, text.contains("/nowhere.toml")), (code(2), true), "{text}");
}

#[test]
fn a_filter_is_tried_on_logs_and_its_lines_are_counted_by_pattern() {
    let own = Own::new(&[("shop.toml", APP)]);
    let line = |message: &str| format!("Nov 20 00:00:00 web1 shop[7]: {message}\n");
    let text = [
        line("wrong password of x at 192.0.2.1"),
        line("wrong password of y at 192.0.2.2"),
        line("no card from 192.0.2.3"),
        line("sold 1 book"),
        "Nov 20 00:00:00 web1 sshd[7]: Failed password for root from 192.0.2.1 port 22 ssh2\n".to_owned(),
    ];
    let log = own.file("shop.log", &text.concat());
    let json = own.json(&["filter", "test", "shop", &log]);
    assert_eq!(json["lines"], 5);
    let mut lines: Vec<_> =
        json["matched"].as_array().unwrap().iter().map(|m| (&m["pattern"], &m["lines"])).collect();
    lines.sort_by_key(|(_, lines)| lines.as_u64());
    assert_eq!(
        lines,
        [
            (&Value::from("no card from <address>"), &1.into()),
            (&Value::from("wrong password of <account> at <address>"), &2.into())
        ]
    );
    let (exit, text) = own.run(&["filter", "test", "shop", &log]);
    assert_eq!((exit, text.contains("3 of 5 lines matched")), (ExitCode::SUCCESS, true), "{text}");
    let json = own.json(&["filter", "test", "shop", "--mode", "normal", &log]);
    assert_eq!(json["matched"].as_array().unwrap().len(), 1, "the other pattern is of another mode: {json}");
    let (exit, text) = own.run(&["filter", "test", "shop", "/nowhere.log"]);
    assert_eq!((exit, text.contains("/nowhere.log")), (code(1), true), "{text}");
}

#[test]
fn a_filter_that_clashes_with_one_in_use_is_refused() {
    let own = Own::new(&[]);
    let clash = own.file(
        "rhost.toml",
        "identifiers = [\"sshd\"]\n[[pattern]]\nkind = \"failed-password\"\n\
         text = 'Failed password for <text> at <address> from <token> port <port> ssh2'\n",
    );
    let (exit, text) = own.run(&["filter", "test", &clash]);
    assert_eq!(exit, code(2), "{text}");
    let refused = text.contains("rhost.toml:4: ") && text.contains("beside `Failed password for");
    assert!(refused && text.contains("two readings with different addresses"), "{text}");
}

/// Bytes that fit, of the nearest miss in what `explain` says.
fn fitting(text: &str) -> usize {
    let (_, after) = text.split_once("it fits ").unwrap_or_else(|| panic!("{text}"));
    after.split(' ').next().unwrap().parse().unwrap()
}

#[test]
fn a_miss_names_the_pattern_that_came_nearest() {
    let own = Own::new(&[("shop.toml", APP)]);
    let explain = |message: &str| {
        let (exit, text) = own.run(&["explain", &format!("Nov 20 00:00:00 web1 shop[7]: {message}")]);
        assert_eq!(exit, ExitCode::SUCCESS);
        text
    };
    let (near, nearer) = (explain("wrong passport"), explain("wrong password of x at home"));
    for text in [&near, &nearer] {
        assert!(
            text.contains("no match: nearest is `wrong password of <account> at <address>` of shop"),
            "{text}"
        );
    }
    assert_eq!(fitting(&near), "wrong pass".len());
    assert!(fitting(&nearer) >= "wrong password of ".len(), "{nearer}");
    assert!(explain("no cash").contains("nearest is `no card from <address>` of shop"));
    assert!(explain("sold").contains("no match: no pattern begins like this message"));
    assert!(explain("no card from 192.0.2.1").contains("192.0.2.1"), "a match is no miss");

    let (_, text) = own.run(&["explain", "Nov 20 00:00:00 web1 bakery[7]: wrong password of x at 192.0.2.1"]);
    assert!(text.contains("no match: no filter in use reads lines of `bakery`"), "{text}");
    let (_, text) = own.run(&["explain", r#"{"a":"b"}"#]);
    assert!(text.contains("no match: ") && text.contains("a JSON object"), "{text}");
}
