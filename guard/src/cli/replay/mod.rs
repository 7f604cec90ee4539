//! `guardctl replay`: the real scanner and engine over old logs, on the logs' own time. Needs no daemon.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use super::{CliError, Screen};
use crate::config::{Config, Sources};
use crate::rules::{Geo, RuleSet};
use crate::scan::{FilterSet, Scanner};
use crate::source::journald::past;
use crate::time::Wall;

mod chunks;
mod diff;
mod judge;
mod parts;
mod tell;
#[cfg(test)]
mod tests;
mod threads;
mod whose;

use chunks::{Log, Volume};
use diff::Difference;
use judge::{Judge, Outcome};
use whose::Whose;

/// What the command line asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Replayed<'a> {
    /// The logs, in the order they were written; `-` is standard input.
    pub(super) files: &'a [PathBuf],
    /// Another configuration to be compared with the one in force.
    pub(super) against: Option<&'a Path>,
    /// The filters whose services' own files the logs are; none: as the configuration and the filters have it.
    pub(super) filters: &'a [String],
    /// Threads that read one log.
    pub(super) threads: usize,
}

pub(super) fn replay(
    screen: &mut Screen<'_>,
    config: &Config,
    asked: &Replayed<'_>,
) -> Result<ExitCode, CliError> {
    let mut sides = vec![Side::new(config)?];
    if let Some(other) = asked.against {
        sides.push(Side::new(&crate::config::load(other)?)?);
    }
    let mut replay = Replay { sides, threads: asked.threads, volume: Volume::default() };
    for name in asked.filters {
        if !replay.sides.iter().any(|side| side.filters.names().any(|known| known == name)) {
            return Err(CliError::Usage(format!("there is no filter `{name}` in use")));
        }
    }
    for file in asked.files {
        replay.prepare(file, asked.filters)?;
        replay.file(file).map_err(|error| CliError::Failed(format!("{}: {error}", file.display())))?;
    }
    let mut outcomes = replay.outcomes();
    match (asked.against, outcomes.pop(), outcomes.pop()) {
        (Some(path), Some(other), Some(outcome)) => {
            let difference = Difference::between(outcome.bans, other.bans);
            if screen.json {
                screen.json(&difference)?;
            } else {
                tell::difference(screen, path, outcome.lines, &difference)?;
            }
        }
        (_, Some(outcome), _) if screen.json => screen.json(&outcome)?,
        (_, Some(outcome), _) => tell::outcome(screen, &outcome)?,
        // There is always the side of the configuration in force.
        (_, None, _) => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// One configuration at work: what reads the lines, and what decides.
struct Side {
    filters: Arc<FilterSet>,
    sources: Sources,
    /// What reads the present log, and whose lines it reads.
    scanner: Scanner,
    whose: Whose,
    judge: Judge,
    /// Whether its rules look at the text of lines.
    asks_line: bool,
    /// Lines read.
    lines: u64,
    /// Lines that a pattern matched.
    matched: u64,
}

impl Side {
    fn new(config: &Config) -> Result<Self, CliError> {
        let filters =
            FilterSet::load(&config.filter).map_err(|error| CliError::Usage(crate::causes::chain(&error)))?;
        let filters = Arc::new(filters);
        let scanner = Scanner::new(Arc::clone(&filters));
        let mut rules =
            RuleSet::load(config).map_err(|error| CliError::Usage(crate::causes::chain(&error)))?;
        if rules.asks_origin() {
            rules.set_geo(Geo::load(&config.decide.geo).0);
        }
        let asks_line = rules.asks_line();
        let judge = Judge::new(config, Arc::clone(&filters), rules);
        let sources = config.source.clone();
        Ok(Self { filters, sources, scanner, whose: Whose::Unknown, judge, asks_line, lines: 0, matched: 0 })
    }

    /// Reads a log of these lines next.
    fn prepare(&mut self, whose: Whose) -> Result<(), CliError> {
        if self.whose != whose {
            let wrong = |error| CliError::Usage(crate::causes::chain(&error));
            self.scanner = whose.scanner(&self.filters).map_err(wrong)?;
            self.whose = whose;
        }
        Ok(())
    }

    fn scan(&mut self, text: &[u8], reference: Wall) {
        let scanned = self.scanner.scan_for(text, reference, &mut self.judge);
        self.lines += scanned.lines;
        self.matched += scanned.matched;
    }
}

/// Whether this is a file of the systemd journal. What cannot be read at a place, like a pipe, is none.
fn is_journal(file: &File) -> bool {
    let mut beginning = [0; 8];
    file.read_exact_at(&mut beginning, 0).is_ok() && past::is_journal(&beginning)
}

struct Replay {
    /// The configuration in force, and the one it is compared with. Every chunk is read once.
    sides: Vec<Side>,
    threads: usize,
    volume: Volume,
}

impl Replay {
    /// Makes ready for a log.
    fn prepare(&mut self, path: &Path, named: &[String]) -> Result<(), CliError> {
        for side in &mut self.sides {
            side.prepare(Whose::of(path, named, &side.sources, &side.filters))?;
        }
        Ok(())
    }

    fn file(&mut self, path: &Path) -> io::Result<()> {
        if path == Path::new("-") {
            return self.read(Log::stream(&mut io::stdin()), Wall::now());
        }
        let mut file = File::open(path)?;
        if is_journal(&file) {
            return self.journal(&file);
        }
        // Stamps without a year are those of the time when the file was last written to.
        let age = file.metadata()?.modified()?.duration_since(std::time::UNIX_EPOCH);
        let reference = Wall(age.map_or(0, |age| age.as_millis() as i64));
        self.read(Log::file(&mut file)?, reference)
    }

    /// Entries of the systemd journal have an identifier and a sender each: all filters read them, as in the daemon.
    fn journal(&mut self, file: &File) -> io::Result<()> {
        let mut first = true;
        for side in &mut self.sides {
            let mut scanner = Scanner::new(Arc::clone(&side.filters));
            let read = past::replay(file.try_clone()?, &mut scanner, &mut side.judge);
            let count = read.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            side.lines += count.lines;
            side.matched += count.matched;
            if std::mem::take(&mut first) {
                self.volume.bytes += count.bytes;
                self.volume.cut += count.cut;
            }
        }
        Ok(())
    }

    fn read(&mut self, log: Log<'_>, reference: Wall) -> io::Result<()> {
        let Volume { bytes, cut } = threads::replay(&mut self.sides, log, reference, self.threads)?;
        self.volume.bytes += bytes;
        self.volume.cut += cut;
        Ok(())
    }

    /// What came of it, one for each side.
    fn outcomes(self) -> Vec<Outcome> {
        let Volume { bytes, cut } = self.volume;
        let outcome = |side: Side| {
            let (lines, matched) = (side.lines, side.matched);
            Outcome { lines, bytes, matched, cut, ..side.judge.outcome() }
        };
        self.sides.into_iter().map(outcome).collect()
    }
}
