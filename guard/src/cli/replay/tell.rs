//! A replay in words.

use std::io;
use std::path::Path;

use super::diff::Difference;
use super::judge::{Ban, Outcome};
use crate::cli::human::{counted, span};
use crate::cli::{Piece, Screen, Style, plain};
use crate::source::MAX_LINE;

/// What stands beside a ban whose target logged in later.
const LOGGED_IN: &str = "logged in later";

pub(super) fn outcome(screen: &mut Screen<'_>, outcome: &Outcome) -> io::Result<()> {
    let rows: Vec<Vec<Piece>> = outcome.bans.iter().map(|ban| row(ban, length(ban.seconds))).collect();
    if !rows.is_empty() {
        screen.table(0, &["WHEN", "TARGET", "HOW LONG", "WHY", ""], &rows)?;
        screen.text("")?;
    }
    screen.text(&format!(
        "{} read, {} matched, from {}; {}",
        counted(outcome.lines, "line"),
        outcome.matched,
        counted(outcome.sources, "address"),
        counted(outcome.bans.len() as u64, "ban"),
    ))?;
    for rule in &outcome.rules {
        let did = if rule.simulated > 0 {
            format!("would have acted on {}", rule.simulated)
        } else {
            format!("acted on {}", rule.acted)
        };
        screen.text(&format!("rule {} held for {}, {did}", rule.rule, counted(rule.matched, "line")))?;
    }
    logins(screen, outcome.bans.iter())?;
    if outcome.refused > 0 {
        screen.text(&format!("{} refused because the target is allowed", counted(outcome.refused, "ban")))?;
    }
    if outcome.cut > 0 {
        screen.text(&format!("{} cut at {MAX_LINE} bytes", counted(outcome.cut, "line")))?;
    }
    Ok(())
}

pub(super) fn difference(
    screen: &mut Screen<'_>,
    against: &Path,
    lines: u64,
    difference: &Difference,
) -> io::Result<()> {
    let Difference { added, dropped, changed, unchanged } = difference;
    let marked = |mark: Piece, ban: &Ban, length: String| {
        let mut pieces = vec![mark];
        pieces.extend(row(ban, length));
        pieces
    };
    let mut rows = Vec::new();
    rows.extend(added.iter().map(|ban| marked(Piece(Style::Warn, "+".into()), ban, length(ban.seconds))));
    rows.extend(dropped.iter().map(|ban| marked(Piece(Style::Good, "-".into()), ban, length(ban.seconds))));
    rows.extend(changed.iter().map(|one| {
        let lengths = format!("{}, not {}", length(one.ban.seconds), length(one.seconds_before));
        marked(Piece(Style::Strong, "~".into()), &one.ban, lengths)
    }));
    if !rows.is_empty() {
        screen.table(0, &["", "WHEN", "TARGET", "HOW LONG", "WHY", ""], &rows)?;
        screen.text("")?;
    }
    screen.text(&format!(
        "with {} over {}: {} added, {} dropped, {} of another length, {unchanged} as before",
        against.display(),
        counted(lines, "line"),
        counted(added.len() as u64, "ban"),
        dropped.len(),
        changed.len(),
    ))?;
    logins(screen, added.iter().chain(changed.iter().map(|one| &one.ban)))
}

/// Says how many bans would have hit somebody who may log in.
fn logins<'a>(screen: &mut Screen<'_>, bans: impl Iterator<Item = &'a Ban>) -> io::Result<()> {
    match bans.filter(|ban| ban.logged_in_later).count() as u64 {
        0 => Ok(()),
        hit => {
            screen.text(&format!("{} would have hit an address that logged in later", counted(hit, "ban")))
        }
    }
}

fn row(ban: &Ban, length: String) -> Vec<Piece> {
    vec![
        Piece(Style::Faint, ban.at.clone()),
        Piece(Style::Strong, ban.target.to_string()),
        plain(length),
        plain(format!("{}: {} points", ban.rule, ban.score)),
        Piece(Style::Warn, if ban.logged_in_later { LOGGED_IN.to_owned() } else { String::new() }),
    ]
}

fn length(seconds: Option<u64>) -> String {
    seconds.map_or_else(|| "for good".to_owned(), |seconds| format!("for {}", span(seconds)))
}
