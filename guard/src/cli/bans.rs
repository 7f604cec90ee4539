//! `guardctl ban`, `unban` and `list`.

use std::io;
use std::process::ExitCode;

use super::args::{Ban, Length, Unban};
use super::error::unexpected;
use super::human::{counted, left};
use super::screen::Columns;
use super::{CliError, Piece, Screen, Style, ask, plain};
use crate::api::client::Client;
use crate::api::{Answer, BanView, Request, TargetResult};
use crate::ban::Origin;
use crate::protect::caller_peer;
use crate::target::Target;

/// Targets in one request: well within the server's longest request.
const TARGETS: usize = 500;
/// Bans on one page of a list.
const PAGE: usize = 1000;

pub(super) fn ban(client: &mut Client, screen: &mut Screen<'_>, ban: &Ban) -> Result<ExitCode, CliError> {
    let from = caller_peer(std::process::id() as i32);
    each(client, screen, &ban.targets, |targets| Request::Ban {
        targets,
        seconds: ban.length.map(Length::for_ban),
        reason: ban.reason.clone(),
        from,
        force: ban.force,
    })
}

pub(super) fn unban(
    client: &mut Client,
    screen: &mut Screen<'_>,
    unban: &Unban,
) -> Result<ExitCode, CliError> {
    if !unban.all {
        return each(client, screen, &unban.targets, |targets| Request::Unban { targets });
    }
    match ask(client, &Request::UnbanAll {})? {
        Answer::Lifted(lifted) if screen.json => screen.json(&serde_json::json!({ "lifted": lifted }))?,
        Answer::Lifted(lifted) => screen.text(&format!("{} lifted", counted(lifted, "ban")))?,
        other => return Err(unexpected(other)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks for each target, in requests of bearable length, and tells what became of it. Fails if any was refused.
pub(super) fn each(
    client: &mut Client,
    screen: &mut Screen<'_>,
    targets: &[Target],
    request: impl Fn(Vec<Target>) -> Request,
) -> Result<ExitCode, CliError> {
    let mut results = Vec::new();
    for targets in targets.chunks(TARGETS) {
        match ask(client, &request(targets.to_vec()))? {
            Answer::Targets(more) => results.extend(more),
            other => return Err(unexpected(other)),
        }
    }
    if screen.json {
        screen.json(&results)?;
    } else {
        let rows: Vec<_> = results.iter().map(told).collect();
        screen.table(0, &[], &rows)?;
    }
    Ok(if results.iter().all(|result| result.done) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn told(result: &TargetResult) -> Vec<Piece> {
    let style = if result.done { Style::Good } else { Style::Bad };
    vec![plain(result.target.to_string()), Piece(style, result.message.clone())]
}

pub(super) fn list(
    client: &mut Client,
    screen: &mut Screen<'_>,
    limit: Option<usize>,
) -> Result<ExitCode, CliError> {
    let mut rest = limit.unwrap_or(usize::MAX);
    let mut columns = Columns::default();
    let mut after = None;
    let mut shown = 0;
    while rest > 0 {
        let asked = rest.min(PAGE);
        let bans = match ask(client, &Request::List { after, limit: asked })? {
            Answer::Bans(bans) => bans,
            other => return Err(unexpected(other)),
        };
        if screen.json {
            screen.json_items(shown == 0, &bans)?;
        } else if !bans.is_empty() {
            page(screen, &mut columns, &bans, shown == 0)?;
        }
        shown += bans.len();
        rest -= bans.len().min(rest);
        after = bans.last().map(|ban| ban.target);
        if bans.len() < asked {
            break;
        }
    }
    match (screen.json, shown) {
        (true, _) => screen.json_end(shown == 0)?,
        (false, 0) => screen.text("no bans")?,
        (false, _) => screen.line(&[Piece(Style::Faint, counted(shown as u64, "ban"))])?,
    }
    Ok(ExitCode::SUCCESS)
}

fn page(screen: &mut Screen<'_>, columns: &mut Columns, bans: &[BanView], first: bool) -> io::Result<()> {
    let rows: Vec<_> = bans
        .iter()
        .map(|ban| {
            vec![
                Piece(Style::Strong, ban.target.to_string()),
                plain(left(ban.seconds_left)),
                plain(ban.strike.to_string()),
                plain(origin(&ban.origin)),
                plain(&ban.reason),
            ]
        })
        .collect();
    if first {
        let titles = ["TARGET", "ENDS", "STRIKE", "BY", "REASON"];
        columns.fit(&rows);
        screen.page(columns, 0, &[titles.map(|title| Piece(Style::Faint, title.into())).to_vec()])?;
    }
    screen.page(columns, 0, &rows)
}

/// Who decided a ban: the filter's name, or the user.
pub(super) fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Filter(name) => name.to_string(),
        Origin::Manual(0) => "root".into(),
        Origin::Manual(uid) => format!("user {uid}"),
        Origin::Forced(0) => "root, forced".into(),
        Origin::Forced(uid) => format!("user {uid}, forced"),
    }
}
