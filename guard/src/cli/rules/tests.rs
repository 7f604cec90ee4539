//! `guardctl rule`, and the examples of `docs/rules.md`.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;

use crate::cli::tests::guardctl;

struct Own(tempfile::TempDir);

impl Own {
    /// A configuration with these rules in its folder.
    fn new(rules: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let rules_folder = folder.path().join("rules.d");
        fs::create_dir(&rules_folder).unwrap();
        fs::write(rules_folder.join("rules.toml"), rules).unwrap();
        fs::write(folder.path().join("guard.toml"), format!("[decide]\nrules = {rules_folder:?}\n")).unwrap();
        Self(folder)
    }

    fn run(&self, line: &[&str]) -> (ExitCode, String) {
        let config = self.0.path().join("guard.toml");
        guardctl(&[&["--config", config.to_str().unwrap()], line].concat())
    }

    fn json(&self, line: &[&str]) -> Value {
        let (_, text) = self.run(&[&["--json"], line].concat());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }
}

/// The fenced blocks of a page: what stands behind the fence, and the text.
fn blocks(page: &str) -> Vec<(&str, String)> {
    let mut blocks: Vec<(&str, String)> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        match line.strip_prefix("```") {
            Some(kind) if !inside => blocks.push((kind, String::new())),
            Some(_) => {}
            None if inside => blocks.last_mut().unwrap().1.extend([line, "\n"]),
            None => continue,
        }
        inside ^= line.starts_with("```");
    }
    blocks
}

#[test]
fn the_examples_of_the_page_do_what_it_says() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/rules.md");
    let page = fs::read_to_string(page).unwrap();
    let blocks = blocks(&page);
    let mut tried = 0;
    for (number, (kind, rules)) in blocks.iter().enumerate() {
        if *kind != "toml" {
            continue;
        }
        let own = Own::new(rules);
        let (exit, checked) = own.run(&["config", "check"]);
        assert_eq!(exit, ExitCode::SUCCESS, "{checked}");
        let (kind, told) = &blocks[number + 1];
        assert_eq!(*kind, "text", "what the rules do stands behind them");
        let lines: Vec<&str> = told.lines().filter(|line| !line.starts_with(' ')).collect();
        let (_, said) = own.run(&[&["rule", "test"], &lines[..]].concat());
        assert_eq!(said, *told);
        tried += 1;
    }
    assert_eq!(tried, 3);
}

const TWO: &str = "[[rule]]\nname = 'one'\nwhen = { user = 'root' }\nthen = { tag = 'x' }\ncontinue = true\n\
    rate_limit = { max = 1, window = '30d' }\n[[rule]]\nname = 'two'\nthen = { ban = '1h' }\nsimulate = true\n";
const LINE: &str = "Nov 20 21:00:00 host sshd[7]: Failed password for root from 203.0.113.7 port 4711 ssh2";

#[test]
fn the_list_tells_what_each_rule_is() {
    let own = Own::new(TWO);
    let (exit, text) = own.run(&["rule", "list"]);
    assert_eq!(exit, ExitCode::SUCCESS);
    let rows: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect();
    assert_eq!(
        rows[1],
        ["one", "{ user = \"root\" }", "{ tag = \"x\" }", "limit { max = 1, window = \"30d\" }, continue"]
    );
    assert_eq!(rows[2], ["two", "always", "{ ban = \"1h\" }", "simulated"]);
    let told = own.json(&["rule", "list"]);
    assert_eq!(
        (&told[0]["rule"], &told[0]["line"], &told[0]["continue"]),
        (&"one".into(), &1.into(), &true.into())
    );
    assert!(told[0]["file"].as_str().unwrap().ends_with("rules.d/rules.toml"));
    assert_eq!((&told[1]["when"], &told[1]["simulate"]), (&Value::Null, &true.into()));
    assert_eq!(Own::new("").run(&["rule", "list"]).1, "there are no rules\n");
}

#[test]
fn limits_do_not_keep_a_line_from_being_explained() {
    let own = Own::new(TWO);
    let (_, text) = own.run(&["explain", LINE, LINE]);
    assert_eq!(text.matches("one: tag x").count(), 2, "{text}");
    assert_eq!(text.matches("two: would ban for 1h").count(), 2, "{text}");
    let told = own.json(&["explain", LINE]);
    let rules = &told["matches"][0]["rules"];
    assert_eq!(rules[0], serde_json::json!({ "rule": "one", "does": ["tag x"], "simulated": false }));
    assert_eq!(rules[1]["simulated"], true);
    let none = own.run(&["rule", "test", "rubbish"]).1;
    assert!(none.contains("no match: "), "{none}");
}

#[test]
fn a_wrong_rule_is_found_by_the_check() {
    let own = Own::new("[[rule]]\nname = 'one'\nwhen = { usr = 'root' }\nthen = { tag = 'x' }\n");
    let told = own.json(&["config", "check"]);
    assert_eq!(told["valid"], false);
    assert!(
        told["error"].as_str().unwrap().contains("rules.toml:3:10: rule `one`: `when`: unknown key `usr`"),
        "{told}"
    );
    let own = Own::new(
        "[[rule]]\nname = 'one'\nthen = { tag = 'x' }\n[[rule]]\nname = 'two'\nwhen = { filter = 'ssh' }\nthen = { tag = 'y' }\n",
    );
    let (exit, text) = own.run(&["config", "check"]);
    assert_eq!(exit, ExitCode::SUCCESS);
    assert!(text.contains("doubtful: ") && text.contains("rule `two`: never reached"), "{text}");
    assert!(text.contains("no filter `ssh` is in use; did you mean `sshd`?"), "{text}");
}
