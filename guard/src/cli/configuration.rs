//! `guardctl config` and `reload`.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::error::unexpected;
use super::human::counted;
use super::{CliError, Piece, Screen, Style, ask, plain};
use crate::api::client::Client;
use crate::api::{Answer, Request};
use crate::causes::chain;
use crate::config::{self, Config};
use crate::rules::{Geo, RuleSet};
use crate::scan::FilterSet;
use crate::time::Wall;

pub(super) fn check(screen: &mut Screen<'_>, file: &Path) -> Result<ExitCode, CliError> {
    let loaded = config::load(file);
    // The daemon would not start, or not reload, with a wrong filter or rule either.
    let parts = loaded.as_ref().map_or(Ok(Vec::new()), parts);
    if screen.json {
        let (valid, message) = match (&loaded, &parts) {
            (Ok(_), Ok(_)) => (true, None),
            (Err(error), _) => (false, Some(error.to_string())),
            (_, Err(error)) => (false, Some(error.clone())),
        };
        let warnings = parts.unwrap_or_default();
        let faults: Vec<_> = loaded
            .as_ref()
            .err()
            .map_or(&[][..], config::ConfigError::faults)
            .iter()
            .map(|fault| json!({ "line": fault.line, "column": fault.column, "message": fault.message }))
            .collect();
        let ended = loaded.iter().flat_map(|config| config.allow.ended(Wall::now()));
        let warnings: Vec<String> = ended.chain(warnings).collect();
        screen.json(
            &json!({ "file": file, "valid": valid, "error": message, "faults": faults, "warnings": warnings }),
        )?;
        return Ok(ExitCode::from(if valid { 0 } else { 2 }));
    }
    let config = loaded?;
    let warnings = parts.map_err(CliError::Usage)?;
    let differ = Config::diff(&Config::default(), &config);
    screen.line(&[plain(format!("{}: ", file.display())), Piece(Style::Good, "valid".into())])?;
    for ended in config.allow.ended(Wall::now()) {
        screen.line(&[Piece(Style::Warn, ended)])?;
    }
    if !differ.is_empty() {
        screen.text("differs from the defaults in:")?;
        for difference in differ {
            screen.text(&format!("  {difference}"))?;
        }
    }
    if !config.rules.is_empty() {
        screen.text(&format!("has {}", counted(config.rules.len() as u64, "rule")))?;
    }
    for warning in warnings {
        screen.line(&[Piece(Style::Warn, "doubtful: ".into()), plain(warning)])?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether the filters and rules that a configuration names can be used, and what is doubtful about the rules.
fn parts(config: &Config) -> Result<Vec<String>, String> {
    let filters = FilterSet::load(&config.filter).map_err(|error| chain(&error))?;
    let mut rules = RuleSet::load(config).map_err(|error| chain(&error))?;
    rules.check_filters(filters.names());
    let mut doubts: Vec<String> = rules.warnings().iter().map(ToString::to_string).collect();
    if rules.asks_origin() {
        doubts.extend(Geo::load(&config.decide.geo).1);
    }
    Ok(doubts)
}

pub(super) fn show(screen: &mut Screen<'_>, file: &Path) -> Result<ExitCode, CliError> {
    let shown = config::load(file)?.show();
    if screen.json {
        let table: toml::Table = shown.parse().map_err(|error| CliError::Failed(format!("{error}")))?;
        screen.json(&table)?;
    } else {
        screen.text(&format!("# What is in force with {}.", file.display()))?;
        for line in shown.lines() {
            screen.text(line)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn reload(client: &mut Client, screen: &mut Screen<'_>) -> Result<ExitCode, CliError> {
    let (changes, at_restart) = match ask(client, &Request::Reload {})? {
        Answer::Reloaded { changes, at_restart } => (changes, at_restart),
        other => return Err(unexpected(other)),
    };
    if screen.json {
        screen.json(&json!({ "changes": changes, "at_restart": at_restart }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let now: Vec<_> = changes.iter().filter(|change| !at_restart.contains(change)).collect();
    if changes.is_empty() && at_restart.is_empty() {
        screen.text("reloaded; nothing has changed")?;
    } else if now.is_empty() {
        screen.text("reloaded; nothing has changed for the running daemon")?;
    } else {
        screen.text("reloaded; now in force:")?;
        for change in now {
            screen.text(&format!("  {change}"))?;
        }
    }
    if !at_restart.is_empty() {
        screen.line(&[Piece(Style::Warn, "takes effect at the next start:".into())])?;
        for change in &at_restart {
            screen.text(&format!("  {change}"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
