//! Files with rules: text to rules with their places, and the folder of the administrator's.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::limits::{MAX_FILE, MAX_FILES, MAX_RULES, MAX_TOLD};
use super::read::{self, Read};
use super::rule::{Place, Rule};
use super::{RuleErrors, RuleSet};
use crate::config::{Config, ConfigError, Fault, nearest, read_text};

impl RuleSet {
    /// The rules in force with a configuration: those of `guard.toml`, then those of the files in the folder, by name.
    pub fn load(config: &Config) -> Result<Self, RuleErrors> {
        let mut rules = config.rules.clone();
        let mut errors = Vec::new();
        for path in in_folder(&config.decide.rules)? {
            match read_text(&path, MAX_FILE).and_then(|text| parse(&text, &path)) {
                Ok(more) => rules.extend(more),
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            return Err(RuleErrors(errors));
        }
        if rules.len() > MAX_RULES {
            let message = format!("{} rules altogether, more than the {MAX_RULES} there may be", rules.len());
            let place = rules[MAX_RULES].place().clone();
            return Err(fault(&place, message).into());
        }
        Self::new(rules)
    }
}

/// The files with rules in a folder, by name. A missing folder holds none.
fn in_folder(folder: &Path) -> Result<Vec<PathBuf>, ConfigError> {
    let unreadable = |reason: String| ConfigError::Unreadable { path: folder.into(), reason };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(error.to_string())),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| unreadable(error.to_string()))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
        if paths.len() > MAX_FILES {
            return Err(unreadable(format!("it holds more than {MAX_FILES} files")));
        }
    }
    paths.sort();
    Ok(paths)
}

/// The rules in a text that holds nothing else.
pub(super) fn parse(text: &str, file: &Path) -> Result<Vec<Arc<Rule>>, ConfigError> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let start = |error: &toml::de::Error| error.span().map_or(0, |span| span.start);
        let wrong = errors.iter().map(|error| (start(error), error.message().to_owned())).collect();
        return Err(located(text, file, wrong));
    }
    let (mut rules, mut wrong) = (Vec::new(), Vec::new());
    for (key, value) in table.get_ref() {
        let name = key.get_ref().as_ref();
        if name == "rule" {
            let (read, faults) = read_rules(value, text, file);
            rules.extend(read);
            wrong.extend(faults);
            continue;
        }
        let hint = nearest(name, ["rule"])
            .map_or("a file of rules holds [[rule]] only", |_| "did you mean [[rule]]?");
        wrong.push((key.span().start, format!("unknown key `{name}`; {hint}")));
    }
    if wrong.is_empty() { Ok(rules) } else { Err(located(text, file, wrong)) }
}

/// The rules that stand under `[[rule]]` in a text, and what is wrong with the others.
pub(crate) fn read_rules(
    value: &Spanned<DeValue<'_>>,
    text: &str,
    file: &Path,
) -> (Vec<Arc<Rule>>, Vec<(usize, String)>) {
    let Read { rules, faults } = read::rules(value);
    let file: Arc<Path> = file.into();
    let mut lines = Lines::new(text);
    let placed = rules.into_iter().map(|(at, rule)| {
        let place = Place { file: Arc::clone(&file), line: lines.line(at) };
        Arc::new(Rule { place, ..rule })
    });
    (placed.collect(), faults)
}

/// Refuses rules that bear one name.
pub(super) fn refuse_twins(rules: &[Arc<Rule>]) -> Result<(), RuleErrors> {
    let mut known: HashMap<&str, &Rule> = HashMap::with_capacity(rules.len());
    let mut errors = Vec::new();
    for rule in rules {
        let Some(first) = known.insert(&rule.name, rule) else { continue };
        let Place { file, line } = &first.place;
        let message =
            format!("rule `{}`: another rule has this name, at {}:{line}", rule.name, file.display());
        errors.push(fault(&rule.place, message));
        if errors.len() == MAX_TOLD {
            break;
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(RuleErrors(errors)) }
}

fn fault(place: &Place, message: String) -> ConfigError {
    let faults = vec![Fault { line: place.line, column: 1, message }];
    ConfigError::Invalid { path: place.file.to_path_buf(), faults }
}

/// Faults with their lines and columns, in the order of the file; the first of them, if they are many.
pub(crate) fn located(text: &str, file: &Path, mut wrong: Vec<(usize, String)>) -> ConfigError {
    wrong.sort();
    wrong.dedup();
    let more = wrong.len().saturating_sub(MAX_TOLD);
    wrong.truncate(MAX_TOLD);
    let mut lines = Lines::new(text);
    let mut faults: Vec<Fault> = wrong
        .into_iter()
        .map(|(at, message)| {
            let line = lines.line(at);
            Fault { line, column: lines.column(at), message }
        })
        .collect();
    if let Some(last) = faults.last_mut().filter(|_| more > 0) {
        last.message = format!("{} (and {more} more faults)", last.message);
    }
    ConfigError::Invalid { path: file.into(), faults }
}

/// Where the lines of a text begin, for places that are asked in their order: each byte is looked at once.
struct Lines<'a> {
    text: &'a str,
    /// Up to where newlines are counted, the line there, and where it begins.
    counted: usize,
    line: usize,
    begin: usize,
}

impl<'a> Lines<'a> {
    const fn new(text: &'a str) -> Self {
        Self { text, counted: 0, line: 1, begin: 0 }
    }

    /// The line of a byte, from 1. It is not before the one asked for last.
    fn line(&mut self, at: usize) -> usize {
        let at = at.min(self.text.len());
        if at > self.counted {
            let between = &self.text.as_bytes()[self.counted..at];
            for newline in memchr::memchr_iter(b'\n', between) {
                self.line += 1;
                self.begin = self.counted + newline + 1;
            }
            self.counted = at;
        }
        self.line
    }

    /// The column, in characters from 1, of a byte in the line that was asked for last.
    fn column(&self, at: usize) -> usize {
        self.text.get(self.begin..at).map_or(1, |before| before.chars().count() + 1)
    }
}
