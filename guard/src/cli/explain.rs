//! `guardctl explain`: what guard makes of log lines. Needs no daemon and no privileges.

use std::io::{self, BufRead};
use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;

use super::{CliError, Piece, Screen, Style, plain};
use crate::config::{Config, Enabled, Filters};
use crate::encode::{EVIDENCE, printable};
use crate::rules::{Facts, Geo, RuleSet};
use crate::scan::{Explainer, Explanation, FilterSet, Match, Mode};
use crate::source::MAX_LINE;
use crate::time::{Moment, Wall};

/// Bytes of an account that are shown.
const ACCOUNT: usize = 256;

/// A line and the patterns that matched it.
#[derive(Debug, Serialize)]
struct Explained {
    /// Number of the line, from 1.
    line: u64,
    matches: Vec<Matched>,
}

#[derive(Debug, Serialize)]
struct Matched {
    filter: String,
    pattern: String,
    address: std::net::IpAddr,
    account: Option<String>,
    kind: &'static str,
    points: f64,
    /// What rules do about it, if any do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rules: Vec<Ruled>,
}

/// What a rule does about a line.
#[derive(Debug, Serialize)]
pub(super) struct Ruled {
    /// Its name.
    rule: String,
    /// What it does, in words.
    does: Vec<String>,
    /// Whether it only would.
    simulated: bool,
}

/// The rules in force, asked about one line after the other: rate limits hold nothing back.
pub(super) struct Rules {
    set: RuleSet,
    asked: i64,
}

/// In milliseconds: longer than any rate limit's window.
const APART: i64 = 31 * 86_400_000;

impl Rules {
    /// The rules of a configuration.
    pub(super) fn load(config: &Config) -> Result<Self, CliError> {
        let mut set = RuleSet::load(config).map_err(|error| CliError::Usage(crate::causes::chain(&error)))?;
        if set.asks_origin() {
            set.set_geo(Geo::load(&config.decide.geo).0);
        }
        Ok(Self { set, asked: 0 })
    }

    /// What they do about a line that matched.
    pub(super) fn ask(&mut self, matched: &Match, line: &[u8]) -> Vec<Ruled> {
        self.asked += 1;
        let facts = Facts {
            address: matched.address,
            kind: matched.kind,
            filter: &matched.filter,
            user: matched.account.as_deref(),
            service: (!matched.service.is_empty()).then_some(&matched.service),
            path: matched.path.as_deref(),
            status: matched.status,
            line: &line[..line.len().min(EVIDENCE)],
        };
        let verdict = self.set.judge(&facts, Moment(self.asked * APART));
        let mut all: Vec<Ruled> = Vec::new();
        let done = verdict.acts().map(|(rule, action)| (rule, action, false));
        for (rule, action, simulated) in
            done.chain(verdict.would_act().map(|(rule, action)| (rule, action, true)))
        {
            match all.last_mut().filter(|last| last.rule == rule.name()) {
                Some(last) => last.does.push(action.does.to_string()),
                None => all.push(Ruled {
                    rule: rule.name().into(),
                    does: vec![action.does.to_string()],
                    simulated,
                }),
            }
        }
        all
    }
}

impl Ruled {
    /// In words.
    pub(super) fn words(&self) -> String {
        let would = if self.simulated { "would " } else { "" };
        format!("{}: {would}{}", self.rule, self.does.join(", "))
    }
}

/// Explains lines of the arguments, or of standard input for `-` or none.
pub(super) fn explain(
    screen: &mut Screen<'_>,
    config: &Config,
    filter: Option<&str>,
    mode: Option<Mode>,
    lines: &[String],
) -> Result<ExitCode, CliError> {
    let filters = filters(&config.filter, filter, mode)?;
    let wrong = |error| CliError::Usage(crate::causes::chain(&error));
    let mut explainer = Explainer::new(Arc::new(filters)).map_err(wrong)?;
    let mut rules = Rules::load(config)?;
    let reference = Wall::now();
    each_line(lines, |number, line| {
        let explanation = explainer.explain(line, reference);
        let ruled = explanation.matched.as_ref().map_or(Vec::new(), |matched| rules.ask(matched, line));
        if screen.json {
            screen.json_line(&explained(number, &explanation, ruled))
        } else {
            tell(screen, line, &explanation, &ruled)
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Calls `each` for the lines that are given, or those of standard input for `-` or none, with their numbers from 1.
pub(super) fn each_line(
    lines: &[String],
    mut each: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut number = 0;
    let mut each = |line: &[u8]| {
        number += 1;
        each(number, &line[..line.len().min(MAX_LINE)])
    };
    if lines.is_empty() || lines == ["-"] {
        let mut input = io::stdin().lock();
        let mut line = Vec::new();
        while read_line(&mut input, &mut line)? {
            each(&line)?;
        }
    } else {
        for line in lines {
            each(line.as_bytes())?;
        }
    }
    Ok(())
}

/// Every filter there is, or the one that is named, with every pattern unless a mode is named.
fn filters(config: &Filters, name: Option<&str>, mode: Option<Mode>) -> Result<FilterSet, CliError> {
    let wrong = |error| CliError::Usage(crate::causes::chain(&error));
    let mut config = config.clone();
    config.disable.clear();
    config.enable = name.map_or(Enabled::All, |name| Enabled::Named(vec![name.to_owned()]));
    config.mode = mode.unwrap_or(Mode::Aggressive);
    FilterSet::load(&config).map_err(wrong)
}

/// Reads a line without its newline; what is longer than guard reads is skipped. `false` at the end.
pub(super) fn read_line(input: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut any = false;
    loop {
        let chunk = input.fill_buf()?;
        if chunk.is_empty() {
            return Ok(any);
        }
        any = true;
        let end = memchr::memchr(b'\n', chunk);
        let part = &chunk[..end.unwrap_or(chunk.len())];
        line.extend_from_slice(&part[..part.len().min(MAX_LINE - line.len())]);
        let used = end.map_or(chunk.len(), |end| end + 1);
        input.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

/// A benign line bans nobody, so it is no match in what scripts read.
fn explained(line: u64, explanation: &Explanation, mut ruled: Vec<Ruled>) -> Explained {
    let matched = explanation.matched.iter().filter(|matched| !matched.kind.is_benign());
    let matches = matched
        .map(|matched| Matched {
            filter: matched.filter.clone(),
            pattern: matched.pattern.clone(),
            address: matched.address,
            account: matched.account.as_deref().map(|account| printable(account, ACCOUNT)),
            kind: matched.kind.name(),
            points: matched.points.as_f64(),
            rules: std::mem::take(&mut ruled),
        })
        .collect();
    Explained { line, matches }
}

fn tell(screen: &mut Screen<'_>, line: &[u8], explanation: &Explanation, ruled: &[Ruled]) -> io::Result<()> {
    screen.line(&[Piece(Style::Faint, printable(line, 200))])?;
    let Some(matched) = &explanation.matched else {
        return screen.text(&format!("  no match: {}", explanation.miss));
    };
    if explanation.bare {
        screen.text("  read as a message without its header; as a line of a log file it says nothing")?;
    }
    let mut fields = vec![vec![plain("address"), Piece(Style::Strong, matched.address.to_string())]];
    if let Some(account) = &matched.account {
        fields.push(vec![plain("account"), plain(printable(account, ACCOUNT))]);
    }
    let says = if matched.kind.is_benign() {
        format!("{}: speaks for the address, bans nobody", matched.kind.name())
    } else {
        format!("{}, {} points", matched.kind.name(), matched.points.as_f64())
    };
    fields.push(vec![plain("says"), plain(says)]);
    fields.push(vec![plain("filter"), plain(matched.filter.clone())]);
    fields.push(vec![plain("pattern"), plain(matched.pattern.clone())]);
    for rule in ruled {
        fields.push(vec![plain("rule"), plain(rule.words())]);
    }
    screen.table(2, &[], &fields)
}
