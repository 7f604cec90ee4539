//! `guardctl filter`: which filters there are, what is in them, and trying one. Needs no daemon and no privileges.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::json;

use super::human::{count, counted};
use super::{CliError, Piece, Screen, Style, args, explain, plain};
use crate::config::{Config, Filters};
use crate::scan::corpus::Corpus;
use crate::scan::{FilterFile, FilterSet, Mode, Scanner, available, read_file};
use crate::sighting::PatternId;
use crate::time::Wall;

pub(super) fn filter(
    screen: &mut Screen<'_>,
    config: &Config,
    command: &args::Filter,
) -> Result<ExitCode, CliError> {
    match command {
        args::Filter::List => list(screen, &config.filter),
        args::Filter::Show { name } => show(screen, &config.filter, name),
        args::Filter::Test(test) => self::test(screen, &config.filter, test),
    }
}

fn list(screen: &mut Screen<'_>, config: &Filters) -> Result<ExitCode, CliError> {
    let mut shown = Vec::new();
    let mut rows = Vec::new();
    for file in available(&config.folder).map_err(wrong)? {
        let about = file.about().map_err(wrong)?;
        let enabled = config.uses(&file.name);
        let reads = about.identifiers.iter().chain(&about.files).cloned().collect::<Vec<_>>().join(", ");
        let ports = about.ports.iter().map(u16::to_string).collect::<Vec<_>>().join(" ");
        rows.push(vec![
            Piece(if enabled { Style::Strong } else { Style::Faint }, file.name.clone()),
            plain(if enabled { "in use" } else { "off" }),
            plain(if file.shipped { "shipped" } else { "own" }),
            plain(about.description.clone()),
            plain(ports),
            Piece(Style::Faint, reads),
        ]);
        shown.push(json!({ "name": file.name, "enabled": enabled, "shipped": file.shipped, "path": file.path, "about": about }));
    }
    if screen.json {
        screen.json(&shown)?;
    } else {
        screen.table(0, &["FILTER", "", "FROM", "SERVICE", "PORTS", "READS"], &rows)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn show(screen: &mut Screen<'_>, config: &Filters, name: &str) -> Result<ExitCode, CliError> {
    let file = find(config, name)?;
    if screen.json {
        let table: toml::Table = file.text.parse().map_err(|error| CliError::Failed(format!("{error}")))?;
        screen.json(
            &json!({ "name": file.name, "shipped": file.shipped, "path": file.path, "filter": table }),
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    let from = if file.shipped { "shipped with guard".to_owned() } else { file.path.display().to_string() };
    screen.text(&format!("# {}: {from}", file.name))?;
    for line in file.text.lines() {
        screen.text(line)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What a trial of a filter brought.
#[derive(Default)]
struct Trial {
    cases: usize,
    faults: Vec<String>,
    lines: u64,
    matched: BTreeMap<PatternId, u64>,
}

fn test(screen: &mut Screen<'_>, config: &Filters, test: &args::FilterTest) -> Result<ExitCode, CliError> {
    let path = Path::new(&test.filter);
    let file = if path.is_file() { read_file(path).map_err(wrong)? } else { find(config, &test.filter)? };
    let about = file.about().map_err(wrong)?;
    // Beside the filters in use: what clashes with one of them would be refused at the next reload.
    let mut beside: Vec<FilterFile> = available(&config.folder).map_err(wrong)?;
    beside.retain(|other| config.uses(&other.name) && other.name != file.name);
    beside.push(file.clone());
    FilterSet::compile(&beside, Mode::Aggressive).map_err(wrong)?;
    FilterSet::prove(std::slice::from_ref(&file), Mode::Aggressive).map_err(wrong)?;
    let mode = test.mode.unwrap_or(Mode::Aggressive);
    let filters = Arc::new(FilterSet::compile(std::slice::from_ref(&file), mode).map_err(wrong)?);
    let mut scanner = Scanner::new(Arc::clone(&filters));
    let mut trial = Trial::default();
    if let Some(corpus) = &test.corpus {
        let failed = |error: String| CliError::Usage(format!("{}: {error}", corpus.display()));
        let text = std::fs::read_to_string(corpus).map_err(|error| failed(error.to_string()))?;
        let first = about.identifiers.first().map(String::as_str);
        let corpus = Corpus::read(&text, first).map_err(failed)?;
        trial.cases = corpus.cases.len();
        trial.faults =
            corpus.cases.iter().filter_map(|case| case.check(&mut scanner, Wall::now()).err()).collect();
    }
    for log in &test.logs {
        trial.read(&mut scanner, log)?;
    }
    tell(screen, &file, &filters, test, &trial)?;
    Ok(if trial.faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Trial {
    fn read(&mut self, scanner: &mut Scanner, log: &PathBuf) -> Result<(), CliError> {
        let failed = |error: std::io::Error| CliError::Failed(format!("{}: {error}", log.display()));
        let mut input = BufReader::new(File::open(log).map_err(failed)?);
        let mut line = Vec::new();
        while explain::read_line(&mut input as &mut dyn BufRead, &mut line).map_err(failed)? {
            self.lines += 1;
            if let Some(sighting) = scanner.line(&line, Wall::now()) {
                *self.matched.entry(sighting.pattern).or_default() += 1;
            }
        }
        Ok(())
    }
}

fn tell(
    screen: &mut Screen<'_>,
    file: &FilterFile,
    filters: &FilterSet,
    test: &args::FilterTest,
    trial: &Trial,
) -> Result<(), CliError> {
    if screen.json {
        let matched: Vec<_> = trial
            .matched
            .iter()
            .map(|(id, lines)| json!({ "pattern": filters.pattern_text(*id), "lines": lines }))
            .collect();
        screen.json(&json!({
            "filter": file.name, "cases": trial.cases, "faults": trial.faults, "lines": trial.lines, "matched": matched,
        }))?;
        return Ok(());
    }
    screen.line(&[
        plain(format!("{}: ", file.name)),
        Piece(Style::Good, "loads, beside the filters in use".into()),
    ])?;
    if test.corpus.is_some() {
        for fault in &trial.faults {
            screen.line(&[Piece(Style::Bad, "wrong: ".into()), plain(fault.clone())])?;
        }
        let right = (trial.cases - trial.faults.len()) as u64;
        screen.text(&format!("{} of {} right", count(right), counted(trial.cases as u64, "case")))?;
    }
    if !test.logs.is_empty() {
        let matched: u64 = trial.matched.values().sum();
        screen.text(&format!("{} of {} matched", count(matched), counted(trial.lines, "line")))?;
        let mut rows: Vec<_> = trial.matched.iter().collect();
        rows.sort_by_key(|(_, lines)| std::cmp::Reverse(**lines));
        let rows: Vec<_> = rows
            .into_iter()
            .map(|(id, lines)| vec![plain(count(*lines)), plain(filters.pattern_text(*id))])
            .collect();
        screen.table(2, &["LINES", "PATTERN"], &rows)?;
    }
    Ok(())
}

/// The filter of a name, shipped or the administrator's.
fn find(config: &Filters, name: &str) -> Result<FilterFile, CliError> {
    let files = available(&config.folder).map_err(wrong)?;
    let known = files.iter().map(|file| file.name.clone()).collect::<Vec<_>>().join(", ");
    files
        .into_iter()
        .find(|file| file.name == name)
        .ok_or_else(|| CliError::Usage(format!("there is no filter `{name}`; there are {known}")))
}

fn wrong(error: impl std::error::Error) -> CliError {
    CliError::Usage(crate::causes::chain(&error))
}

#[cfg(test)]
mod tests;
