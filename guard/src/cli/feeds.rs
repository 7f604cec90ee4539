//! `guardctl feed`.

use std::io;
use std::process::ExitCode;

use super::args::Feed;
use super::error::unexpected;
use super::human::{count, counted, span};
use super::{CliError, Piece, Screen, Style, ask, plain};
use crate::api::client::Client;
use crate::api::{Answer, ErrorClass, FeedView, Request};
use crate::feed::parse::Named;

pub(super) fn feed(
    client: &mut Client,
    screen: &mut Screen<'_>,
    command: &Feed,
) -> Result<ExitCode, CliError> {
    let request = match command {
        Feed::List | Feed::Show { .. } => Request::Feeds {},
        Feed::Refresh { name } => Request::FeedRefresh { name: name.clone() },
        Feed::Accept { name } => Request::FeedAccept { name: name.clone() },
    };
    let mut feeds = match ask(client, &request)? {
        Answer::Feeds(feeds) => feeds,
        other => return Err(unexpected(other)),
    };
    if let Feed::Show { name } = command {
        feeds.retain(|feed| feed.name == *name);
        let Some(feed) = feeds.first() else {
            let message = format!("there is no feed `{name}` (guardctl feed list)");
            return Err(unexpected(Answer::Error { class: ErrorClass::Failed, message }));
        };
        if screen.json {
            screen.json(feed)?;
        } else {
            show(screen, feed)?;
        }
    } else if screen.json {
        screen.json(&feeds)?;
    } else if feeds.is_empty() {
        screen.text("no feed is configured")?;
    } else {
        list(screen, &feeds)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn list(screen: &mut Screen<'_>, feeds: &[FeedView]) -> io::Result<()> {
    let rows: Vec<_> = feeds
        .iter()
        .map(|feed| {
            let targets = feed.targets.map_or_else(|| "none yet".into(), count);
            let age = feed.age_seconds.map_or_else(String::new, span);
            vec![
                Piece(Style::Strong, feed.name.clone()),
                plain(action(feed)),
                plain(targets),
                plain(age),
                condition(feed),
            ]
        })
        .collect();
    screen.table(0, &["FEED", "ACTION", "TARGETS", "AGE", "STATE"], &rows)
}

fn show(screen: &mut Screen<'_>, feed: &FeedView) -> io::Result<()> {
    screen.line(&[
        Piece(Style::Strong, feed.name.clone()),
        plain(", "),
        condition(feed),
        Piece(Style::Faint, format!("  ({})", feed.source)),
    ])?;
    let row = |name: &str, text: String| vec![Piece(Style::Faint, name.into()), plain(text)];
    let ago = |seconds: Option<u64>| {
        seconds.map_or_else(|| "not yet".into(), |seconds| format!("{} ago", span(seconds)))
    };
    let mut rows = vec![
        row("action", action(feed)),
        row("targets", format!("{}, fetched {}", count(feed.targets.unwrap_or(0)), ago(feed.age_seconds))),
        row("bans", count(feed.bans)),
        row("checked", ago(feed.checked_seconds)),
        row("failed", counted(feed.failures, "time")),
    ];
    if feed.protected > 0 {
        rows.push(row(
            "protected",
            format!("{}, banned in part or not at all", counted(feed.protected, "target")),
        ));
    }
    if feed.no_room > 0 {
        rows.push(row(
            "no room",
            format!("{} more than decide.max_bans holds", counted(feed.no_room, "ban")),
        ));
    }
    screen.table(2, &[], &rows)?;
    named(screen, "Rubbish", &feed.rubbish)?;
    named(screen, "Too wide", &feed.too_wide)
}

fn named(screen: &mut Screen<'_>, title: &str, named: &Named) -> io::Result<()> {
    if named.count == 0 {
        return Ok(());
    }
    screen.heading(&format!("{title}: {}", count(named.count)))?;
    for first in &named.first {
        screen.line(&[plain(format!("  {first}"))])?;
    }
    if named.count > named.first.len() as u64 {
        screen.line(&[Piece(Style::Faint, "  …".into())])?;
    }
    Ok(())
}

fn action(feed: &FeedView) -> String {
    match &feed.points {
        Some(points) => format!("{points} points"),
        None => feed.action.clone(),
    }
}

fn condition(feed: &FeedView) -> Piece {
    if let Some(held) = feed.held {
        let text = format!("shrank to {}: guardctl feed accept {}", count(held), feed.name);
        return Piece(Style::Warn, text);
    }
    match &feed.failure {
        Some(because) => Piece(Style::Bad, because.clone()),
        None if feed.targets.is_none() => Piece(Style::Faint, "being fetched".into()),
        None => Piece(Style::Good, "ok".into()),
    }
}
