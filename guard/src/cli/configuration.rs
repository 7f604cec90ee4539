//! `guardctl config` and `reload`.

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;

use super::error::{chain, unexpected};
use super::{CliError, Piece, Screen, Style, ask, plain};
use crate::api::client::Client;
use crate::api::{Answer, Request};
use crate::config::{self, Config};
use crate::scan::FilterSet;
use crate::time::Wall;

pub(super) fn check(screen: &mut Screen<'_>, file: &Path) -> Result<ExitCode, CliError> {
    let loaded = config::load(file);
    // The daemon would not start, or not reload, with a wrong filter either.
    let filters = match &loaded {
        Ok(config) => FilterSet::load(&config.filter).map(drop),
        Err(_) => Ok(()),
    };
    if screen.json {
        let (valid, message) = match (&loaded, &filters) {
            (Ok(_), Ok(())) => (true, None),
            (Err(error), _) => (false, Some(error.to_string())),
            (_, Err(error)) => (false, Some(chain(error))),
        };
        let faults: Vec<_> = loaded
            .as_ref()
            .err()
            .map_or(&[][..], config::ConfigError::faults)
            .iter()
            .map(|fault| json!({ "line": fault.line, "column": fault.column, "message": fault.message }))
            .collect();
        let ended: Vec<_> = loaded.iter().flat_map(|config| config.allow.ended(Wall::now())).collect();
        screen.json(
            &json!({ "file": file, "valid": valid, "error": message, "faults": faults, "warnings": ended }),
        )?;
        return Ok(ExitCode::from(if valid { 0 } else { 2 }));
    }
    let config = loaded?;
    filters.map_err(|error| CliError::Usage(chain(&error)))?;
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
    Ok(ExitCode::SUCCESS)
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
