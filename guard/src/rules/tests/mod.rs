//! Rules as those meet them who write them.

mod actions;
mod conditions;
mod errors;
#[cfg(feature = "geo")]
mod geo;
mod random;

use std::path::Path;

use super::*;
use crate::sighting::Points;

const FILE: &str = "rules.toml";

fn rules(text: &str) -> RuleSet {
    RuleSet::compile(text, Path::new(FILE)).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(text: &str) -> String {
    RuleSet::compile(text, Path::new(FILE)).unwrap_err().to_string()
}

/// One rule that tags what its condition holds for.
fn when(condition: &str) -> RuleSet {
    rules(&format!("[[rule]]\nname = 'one'\nwhen = {condition}\nthen = {{ tag = 'seen' }}"))
}

/// One rule for every sighting.
fn then(actions: &str) -> RuleSet {
    rules(&format!("[[rule]]\nname = 'one'\nthen = {actions}"))
}

/// A failed login over SSH.
fn login() -> Facts<'static> {
    Facts {
        address: "203.0.113.7".parse().unwrap(),
        kind: Kind::FailedPassword,
        filter: "sshd",
        user: Some(b"root"),
        service: Some(b"sshd-session"),
        path: None,
        status: None,
        line: b"Failed password for root from 203.0.113.7 port 4711 ssh2",
    }
}

/// A request.
fn request() -> Facts<'static> {
    Facts {
        address: "2001:db8::7".parse().unwrap(),
        kind: Kind::Probe,
        filter: "http",
        user: None,
        service: None,
        path: Some(b"/wp-login.php"),
        status: Some(404),
        line: b"2001:db8::7 - - [20/Nov/2026:21:00:00 +0000] \"GET /wp-login.php HTTP/1.1\" 404 9",
    }
}

/// The names of the rules that act, in their order.
fn acting(set: &mut RuleSet, facts: &Facts<'_>) -> Vec<String> {
    let mut names: Vec<String> =
        set.judge(facts, Moment(0)).acts().map(|(rule, _)| rule.name().to_owned()).collect();
    names.dedup();
    names
}
