//! `guardctl why`: everything that is known about one target, and the command that undoes it.

use std::io;
use std::process::ExitCode;

use super::error::unexpected;
use super::human::{ago, counted, left, span};
use super::{CliError, Piece, Screen, Style, ask, bans, events, plain};
use crate::api::client::Client;
use crate::api::{Answer, Request, Undo, Why, WhyHost};
use crate::judge::AccountAttack;
use crate::target::Target;
use crate::time::Wall;

pub(super) fn why(
    client: &mut Client,
    screen: &mut Screen<'_>,
    target: Target,
) -> Result<ExitCode, CliError> {
    match ask(client, &Request::Why { target })? {
        Answer::Why(why) if screen.json => screen.json(&why)?,
        Answer::Why(why) => show(screen, &why)?,
        other => return Err(unexpected(other)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Columns that a line takes at most; `--json` has all of it.
const WIDTH: usize = 80;
/// Columns of an event's detail.
const DETAIL: usize = 56;

fn show(screen: &mut Screen<'_>, why: &Why) -> io::Result<()> {
    let subject = Piece(Style::Strong, why.target.to_string());
    let condition = if why.bans.is_empty() {
        Piece(Style::Good, " is not banned".into())
    } else {
        Piece(Style::Bad, " is banned".into())
    };
    screen.line(&[subject, condition])?;
    let now = Wall::now();
    for ban in &why.bans {
        let ends = match ban.seconds_left {
            None => "for good".into(),
            some => format!("ends {}", left(some)),
        };
        let by = bans::origin(&ban.origin);
        let (target, since) = (ban.target, ago(&ban.since, now));
        screen.text(&format!("  ban of {target} by {by}, since {since}, {ends}, strike {}", ban.strike))?;
        screen.text(&cut(&format!("    {}", ban.reason)))?;
    }
    if why.target.is_host() {
        screen.text(&format!("  score {} of {}", why.score, why.threshold))?;
    }
    if let Some(because) = &why.protected_by {
        screen.text(&format!("  never banned: {because}"))?;
    }
    strikes(screen, why, now)?;
    lines(screen, why, now)?;
    ignored(screen, why, now)?;
    attacks(screen, why, now)?;
    hosts(screen, why)?;
    if !why.events.is_empty() {
        screen.heading("What happened")?;
        // The newest last, where people look.
        let mut rows: Vec<_> = events::rows(&why.events);
        rows.reverse();
        for detail in rows.iter_mut().filter_map(|row| row.last_mut()) {
            detail.1 = cut_to(&detail.1, DETAIL);
        }
        if why.target.is_host() && why.events.iter().all(|event| event.target == Some(why.target)) {
            rows = rows.into_iter().map(without_target).collect();
        }
        screen.table(2, &[], &rows)?;
    }
    if !why.undo.is_empty() {
        screen.heading("To undo it")?;
        let way = |undo: &Undo| {
            vec![Piece(Style::Strong, undo.command.clone()), Piece(Style::Faint, undo.effect.clone())]
        };
        screen.table(2, &[], &why.undo.iter().map(way).collect::<Vec<_>>())?;
    }
    Ok(())
}

/// What it has done before, and what the next ban would be.
fn strikes(screen: &mut Screen<'_>, why: &Why, now: Wall) -> io::Result<()> {
    let next =
        why.next_seconds.map_or_else(|| "for good".to_owned(), |seconds| format!("for {}", span(seconds)));
    screen.text(&format!(
        "  {} now; the next ban would be strike {}, {next}",
        counted(why.strikes.into(), "strike"),
        why.next_strike
    ))?;
    for ban in &why.past {
        let length =
            ban.seconds.map_or_else(|| "for good".to_owned(), |seconds| format!("for {}", span(seconds)));
        let strike = ban.strike.map_or_else(String::new, |strike| format!(", strike {strike}"));
        let at = ban.at.to_string();
        screen.text(&format!("    {at} ({}) {length} by {}{strike}", ago(&at, now), ban.by))?;
    }
    Ok(())
}

fn lines(screen: &mut Screen<'_>, why: &Why, now: Wall) -> io::Result<()> {
    if why.lines.is_empty() {
        return Ok(());
    }
    screen.heading("Lines that counted")?;
    for line in &why.lines {
        let less = |points: f64, how: &str| {
            if points > 0.0 { format!("-{points} {how}, ") } else { String::new() }
        };
        let leaked = less(line.leaked, "leaked") + &less(line.forgotten, "forgotten");
        let earlier =
            if line.earlier > 0.0 { format!("{} of earlier lines, ", line.earlier) } else { String::new() };
        let listed = line.listed.as_ref();
        let listed = listed.map_or_else(String::new, |l| format!("+{} as {} lists it, ", l.points, l.feed));
        let joined = if line.joined { " (same attempt)" } else { "" };
        let sum = format!("{leaked}{earlier}{listed}+{}{joined} = {}", line.points, line.score);
        let ruled = line.ruled_by.as_ref();
        let ruled = ruled.map_or_else(String::new, |rules| format!(", points by rule {rules}"));
        screen.line(&[
            Piece(Style::Faint, format!("  {:<14}", ago(&line.at.to_string(), now))),
            Piece(Style::Strong, format!("{sum:<26} ")),
            plain(format!("{} {}{ruled}", line.filter, line.kind)),
        ])?;
        screen.text(&cut(&format!("    {}", line.line)))?;
    }
    Ok(())
}

/// What rules have ignored.
fn ignored(screen: &mut Screen<'_>, why: &Why, now: Wall) -> io::Result<()> {
    let Some(ignored) = &why.ignored else { return Ok(()) };
    let (rule, last) = (&ignored.rule, &ignored.last);
    screen.heading(&format!("Ignored by rule {rule}: {}", counted(ignored.times, "line")))?;
    screen.line(&[
        Piece(Style::Faint, format!("  {:<14}", ago(&last.at.to_string(), now))),
        plain(format!("{} {}, the last", last.filter, last.kind)),
    ])?;
    screen.text(&cut(&format!("    {}", last.line)))
}

/// Attacks that it took part in.
fn attacks(screen: &mut Screen<'_>, why: &Why, now: Wall) -> io::Result<()> {
    if why.attacks.is_empty() {
        return Ok(());
    }
    screen.heading("Attacks on accounts that it took part in")?;
    let row = |attack: &AccountAttack| {
        vec![
            Piece(Style::Faint, ago(&attack.at.to_string(), now)),
            Piece(Style::Strong, attack.account.clone()),
            plain(format!("{}, tried from {} addresses or more", attack.filter, attack.addresses)),
        ]
    };
    screen.table(2, &[], &why.attacks.iter().map(row).collect::<Vec<_>>())
}

/// Who is in a prefix.
fn hosts(screen: &mut Screen<'_>, why: &Why) -> io::Result<()> {
    if why.hosts.is_empty() {
        return Ok(());
    }
    screen.heading(&format!("In it: {}", counted(why.hosts_count, "target")))?;
    let row = |host: &WhyHost| {
        let ends =
            if host.banned { format!("banned, ends {}", left(host.seconds_left)) } else { String::new() };
        let ends = ends.replace("ends for good", "for good");
        vec![
            Piece(Style::Strong, host.target.to_string()),
            plain(format!("score {}", host.score)),
            plain(ends),
        ]
    };
    screen.table(2, &[], &why.hosts.iter().map(row).collect::<Vec<_>>())?;
    if (why.hosts.len() as u64) < why.hosts_count {
        screen.text(&format!("  … and {} more", why.hosts_count - why.hosts.len() as u64))?;
    }
    Ok(())
}

/// A text that fits into a line of a narrow terminal.
fn cut(text: &str) -> String {
    cut_to(text, WIDTH)
}

fn cut_to(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}

fn without_target(mut row: Vec<Piece>) -> Vec<Piece> {
    row.remove(2);
    row
}
