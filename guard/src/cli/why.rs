//! `guardctl why`: everything that is known about one target, and the command that undoes it.

use std::io;
use std::process::ExitCode;

use super::error::unexpected;
use super::human::{ago, left};
use super::{CliError, Piece, Screen, Style, ask, bans, events, plain};
use crate::api::client::Client;
use crate::api::{Answer, Request, Why};
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

fn show(screen: &mut Screen<'_>, why: &Why) -> io::Result<()> {
    let subject = Piece(Style::Strong, why.target.to_string());
    let condition = if why.bans.is_empty() {
        Piece(Style::Good, " is not banned".into())
    } else {
        Piece(Style::Bad, " is banned".into())
    };
    screen.line(&[subject, condition])?;
    screen.text(&format!("  score {} of {}, strikes {}", why.score, why.threshold, why.strikes))?;
    for ban in &why.bans {
        let reason = if ban.reason.is_empty() { String::new() } else { format!(": {}", ban.reason) };
        let ends = match ban.seconds_left {
            None => "for good".into(),
            some => format!("ends {}", left(some)),
        };
        screen.text(&format!(
            "  ban of {} by {}, score {}, {ends}{reason}",
            ban.target,
            bans::origin(&ban.origin),
            ban.score
        ))?;
    }
    if let Some(because) = &why.protected_by {
        screen.text(&format!("  never banned: {because}"))?;
    }
    lines(screen, why)?;
    if !why.events.is_empty() {
        screen.heading("What happened")?;
        let rows: Vec<_> = events::rows(&why.events).into_iter().map(without_target).collect();
        screen.table(2, &[], &rows)?;
    }
    if !why.undo.is_empty() {
        screen.heading("To undo it")?;
        screen.text(&format!("  {}", why.undo))?;
    }
    Ok(())
}

fn lines(screen: &mut Screen<'_>, why: &Why) -> io::Result<()> {
    if why.lines.is_empty() {
        return Ok(());
    }
    screen.heading("Lines that counted")?;
    let now = Wall::now();
    for line in &why.lines {
        let what = format!("{} {}, +{}", line.filter, line.kind, line.points);
        screen.line(&[Piece(Style::Faint, format!("  {}  ", ago(&line.at, now))), plain(what)])?;
        screen.text(&format!("    {}", line.line))?;
    }
    Ok(())
}

fn without_target(mut row: Vec<Piece>) -> Vec<Piece> {
    row.remove(2);
    row
}
