//! `guardctl rule`: the rules in force with a configuration, and what they do about lines. Needs no daemon.

use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;

use super::args::Rule as Command;
use super::explain::{Rules, each_line};
use super::{CliError, Piece, Screen, Style, plain};
use crate::causes::chain;
use crate::config::Config;
use crate::encode::printable;
use crate::rules::{Rule, RuleSet};
use crate::scan::{Explainer, FilterSet};
use crate::time::Wall;

/// Characters of a condition or an action that a list shows.
const SHOWN: usize = 100;

/// A rule for scripts: its keys as TOML, absent if the rule does not have them.
#[derive(Debug, Serialize)]
struct Told<'a> {
    rule: &'a str,
    file: String,
    line: usize,
    when: Option<&'a str>,
    then: Option<&'a str>,
    rate_limit: Option<&'a str>,
    r#continue: bool,
    simulate: bool,
}

pub(super) fn rule(
    screen: &mut Screen<'_>,
    config: &Config,
    command: &Command,
) -> Result<ExitCode, CliError> {
    match command {
        Command::List => list(screen, config),
        Command::Test { lines } => test(screen, config, lines),
    }
}

fn list(screen: &mut Screen<'_>, config: &Config) -> Result<ExitCode, CliError> {
    let rules = RuleSet::load(config).map_err(|error| CliError::Usage(chain(&error)))?;
    let all = || rules.rules().map(|(rule, _)| &**rule);
    if screen.json {
        let told: Vec<Told<'_>> = all().map(told).collect();
        screen.json(&told)?;
        return Ok(ExitCode::SUCCESS);
    }
    if rules.is_empty() {
        screen.text("there are no rules")?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<Vec<Piece>> = all().map(row).collect();
    screen.table(0, &["NAME", "WHEN", "THEN", ""], &rows)?;
    Ok(ExitCode::SUCCESS)
}

fn told(rule: &Rule) -> Told<'_> {
    Told {
        rule: rule.name(),
        file: rule.place().file.display().to_string(),
        line: rule.place().line,
        when: rule.value("when"),
        then: rule.value("then"),
        rate_limit: rule.value("rate_limit"),
        r#continue: rule.value("continue") == Some("true"),
        simulate: rule.is_simulated(),
    }
}

fn row(rule: &Rule) -> Vec<Piece> {
    let cut = |text: &str| match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    };
    let mut more: Vec<String> =
        rule.value("rate_limit").map(|limit| format!("limit {limit}")).into_iter().collect();
    more.extend((rule.value("continue") == Some("true")).then(|| "continue".to_owned()));
    more.extend(rule.is_simulated().then(|| "simulated".to_owned()));
    vec![
        Piece(Style::Strong, rule.name().to_owned()),
        plain(rule.value("when").map_or_else(|| "always".to_owned(), cut)),
        plain(rule.value("then").map_or_else(String::new, cut)),
        Piece(Style::Faint, more.join(", ")),
    ]
}

/// What the rules do about lines of the arguments, or of standard input for `-` or none.
fn test(screen: &mut Screen<'_>, config: &Config, lines: &[String]) -> Result<ExitCode, CliError> {
    let wrong = |error| CliError::Usage(chain(&error));
    let filters = FilterSet::load(&config.filter).map_err(wrong)?;
    let mut explainer = Explainer::new(Arc::new(filters)).map_err(wrong)?;
    let mut rules = Rules::load(config)?;
    let reference = Wall::now();
    each_line(lines, |number, line| {
        let explanation = explainer.explain(line, reference);
        let ruled = explanation.matched.as_ref().map(|matched| rules.ask(matched, line));
        if screen.json {
            let rules = ruled.unwrap_or_default();
            return screen.json_line(&serde_json::json!({ "line": number, "rules": rules }));
        }
        screen.line(&[Piece(Style::Faint, printable(line, 200))])?;
        match ruled {
            None => screen.text(&format!("  no match: {}", explanation.miss)),
            Some(ruled) if ruled.is_empty() => screen.text("  no rule"),
            Some(ruled) => ruled.iter().try_for_each(|rule| screen.text(&format!("  {}", rule.words()))),
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests;
