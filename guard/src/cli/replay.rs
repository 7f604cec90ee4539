//! `guardctl replay`: the real scanner and engine over old logs, on the logs' own time. Needs no daemon.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;

use super::human::{counted, span};
use super::{CliError, Piece, Screen, Style, plain};
use crate::config::Config;
use crate::engine::{Decision, Engine, EngineOptions};
use crate::protect::Protection;
use crate::scan::{FilterSet, Scanner};
use crate::sighting::{Sighting, SourceId};
use crate::source::MAX_LINE;
use crate::target::Target;
use crate::time::{Moment, Wall};

/// Bytes read at once: small enough to stay in the processor's cache.
const BUFFER: usize = 256 * 1024;
/// Sources remembered, so that none is forgotten over a long log.
const SOURCES: usize = 4_000_000;

/// What came of it.
#[derive(Debug, Default, Serialize)]
struct Outcome {
    /// Lines read.
    lines: u64,
    /// Bytes read.
    bytes: u64,
    /// Lines that a pattern matched.
    matched: u64,
    /// Lines cut because they are longer than guard reads.
    cut: u64,
    /// Addresses that had points.
    sources: u64,
    /// Bans that something protected forbade.
    refused: u64,
    /// Bans, in the order they were decided.
    bans: Vec<Ban>,
}

#[derive(Debug, Serialize)]
struct Ban {
    target: Target,
    /// When, RFC 3339; on the log's own time.
    at: String,
    /// For how long; absent: for good.
    seconds: Option<u64>,
    /// Name of the filter.
    rule: String,
    /// Points that were reached.
    score: f64,
}

pub(super) fn replay(
    screen: &mut Screen<'_>,
    config: &Config,
    files: &[PathBuf],
) -> Result<ExitCode, CliError> {
    let filters =
        FilterSet::load(&config.filter).map_err(|error| CliError::Usage(super::error::chain(&error)))?;
    let filters = Arc::new(filters);
    let mut replay = Replay::new(config, Arc::clone(&filters));
    for file in files {
        replay.file(file).map_err(|error| CliError::Failed(format!("{}: {error}", file.display())))?;
    }
    let outcome = replay.outcome();
    if screen.json {
        screen.json(&outcome)?;
    } else {
        tell(screen, &outcome)?;
    }
    Ok(ExitCode::SUCCESS)
}

struct Replay {
    scanner: Scanner,
    judge: Judge,
    outcome: Outcome,
    buffer: Vec<u8>,
}

/// The deciding half, apart from the scanner so that both can be borrowed.
struct Judge {
    engine: Engine,
    protection: Protection,
    filters: Arc<FilterSet>,
    now: Moment,
    refused: u64,
    bans: Vec<Ban>,
}

impl Replay {
    fn new(config: &Config, filters: Arc<FilterSet>) -> Self {
        let mut decide = config.decide.clone();
        decide.max_sources = decide.max_sources.max(SOURCES);
        Self {
            scanner: Scanner::new(Arc::clone(&filters)),
            judge: Judge {
                engine: Engine::new(EngineOptions { decide, seed: 0, evidence: 0 }),
                protection: Protection::new(&config.allow),
                filters,
                now: Moment(i64::MIN),
                refused: 0,
                bans: Vec::new(),
            },
            outcome: Outcome::default(),
            buffer: vec![0; BUFFER],
        }
    }

    fn file(&mut self, path: &Path) -> io::Result<()> {
        if path == Path::new("-") {
            return self.read(&mut io::stdin().lock(), Wall::now());
        }
        let mut file = File::open(path)?;
        // Stamps without a year are those of the time when the file was last written to.
        let modified = file.metadata()?.modified()?;
        let reference =
            modified.duration_since(std::time::UNIX_EPOCH).map_or(0, |age| age.as_millis() as i64);
        self.read(&mut file, Wall(reference))
    }

    fn read(&mut self, input: &mut dyn Read, reference: Wall) -> io::Result<()> {
        let mut filled = 0;
        // The rest of a line that was cut is skipped up to its newline.
        let mut skipping = false;
        loop {
            let count = match input.read(&mut self.buffer[filled..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            self.outcome.bytes += count as u64;
            let text = &self.buffer[..filled + count];
            if count == 0 {
                if !skipping {
                    Self::scan(&mut self.scanner, &mut self.judge, &mut self.outcome, text, reference);
                }
                return Ok(());
            }
            let mut start = 0;
            if skipping {
                let Some(end) = memchr::memchr(b'\n', text) else {
                    filled = 0;
                    continue;
                };
                (start, skipping) = (end + 1, false);
            }
            let mut end = memchr::memrchr(b'\n', &text[start..]).map_or(start, |last| start + last + 1);
            Self::scan(&mut self.scanner, &mut self.judge, &mut self.outcome, &text[start..end], reference);
            if text.len() - end > MAX_LINE {
                let cut = &text[end..end + MAX_LINE];
                Self::scan(&mut self.scanner, &mut self.judge, &mut self.outcome, cut, reference);
                self.outcome.cut += 1;
                skipping = true;
                end = text.len();
            }
            filled = text.len() - end;
            self.buffer.copy_within(end..end + filled, 0);
        }
    }

    fn scan(scanner: &mut Scanner, judge: &mut Judge, outcome: &mut Outcome, text: &[u8], reference: Wall) {
        let scanned = scanner.scan(text, reference, |sighting| judge.take(sighting));
        outcome.lines += scanned.lines;
        outcome.matched += scanned.matched;
    }

    fn outcome(self) -> Outcome {
        let Judge { engine, refused, bans, .. } = self.judge;
        Outcome { sources: engine.tracked() + engine.count().evicted, refused, bans, ..self.outcome }
    }
}

impl Judge {
    #[inline]
    fn take(&mut self, sighting: &Sighting<'_>) {
        // A line without a readable stamp happened when the one before it did.
        let at = sighting.at.map_or(self.now, |wall| Moment(wall.0));
        self.now = self.now.max(at);
        if let Some(Decision::Ban(order)) = self.engine.observe(sighting, SourceId(0), at, self.now) {
            self.order(&order);
        }
    }

    #[cold]
    fn order(&mut self, order: &crate::engine::BanOrder) {
        if self.protection.refusal(order.target, order.since).is_some() {
            self.engine.refused(order.target);
            self.refused += 1;
            return;
        }
        self.bans.push(Ban {
            target: order.target,
            at: Wall(order.since.0).to_string(),
            seconds: order.until.map(|until| until.since(order.since).as_secs()),
            rule: self.filters.filter_name(order.pattern.filter).to_owned(),
            score: order.score.as_f64(),
        });
    }
}

fn tell(screen: &mut Screen<'_>, outcome: &Outcome) -> io::Result<()> {
    let rows: Vec<Vec<Piece>> = outcome
        .bans
        .iter()
        .map(|ban| {
            vec![
                Piece(Style::Faint, ban.at.clone()),
                Piece(Style::Strong, ban.target.to_string()),
                plain(
                    ban.seconds
                        .map_or_else(|| "for good".to_owned(), |seconds| format!("for {}", span(seconds))),
                ),
                plain(format!("{}: {} points", ban.rule, ban.score)),
            ]
        })
        .collect();
    if !rows.is_empty() {
        screen.table(0, &["WHEN", "TARGET", "HOW LONG", "WHY"], &rows)?;
        screen.text("")?;
    }
    screen.text(&format!(
        "{} read, {} matched, from {}; {}",
        counted(outcome.lines, "line"),
        outcome.matched,
        counted(outcome.sources, "address"),
        counted(outcome.bans.len() as u64, "ban"),
    ))?;
    if outcome.refused > 0 {
        screen.text(&format!("{} refused because the target is allowed", counted(outcome.refused, "ban")))?;
    }
    if outcome.cut > 0 {
        screen.text(&format!("{} cut at {MAX_LINE} bytes", counted(outcome.cut, "line")))?;
    }
    Ok(())
}
