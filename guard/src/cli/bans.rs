//! `guardctl ban`, `unban` and `list`.

use std::io;
use std::process::ExitCode;

use super::args::{Ban, Length, List, Unban};
use super::error::unexpected;
use super::human::{ago, counted, left};
use super::screen::Columns;
use super::{CliError, Piece, Screen, Style, ask, plain};
use crate::api::client::Client;
use crate::api::{Answer, BanView, Request, TargetResult};
use crate::ban::{Origin, Sort};
use crate::protect::caller_peers;
use crate::target::Target;
use crate::time::Wall;

/// Targets in one request: well within the server's longest request.
const TARGETS: usize = 500;
/// Bans on one page of a list.
const PAGE: usize = 1000;

pub(super) fn ban(client: &mut Client, screen: &mut Screen<'_>, ban: &Ban) -> Result<ExitCode, CliError> {
    let from = caller_peers(std::process::id() as i32);
    each(client, screen, &ban.targets, |targets| Request::Ban {
        targets,
        seconds: ban.length.map(Length::for_ban),
        reason: ban.reason.clone(),
        from: from.clone(),
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
        Answer::Lifted(lifted) => {
            screen.text(&format!("{} lifted{}", counted(lifted, "ban"), of_feeds(client)))?;
        }
        other => return Err(unexpected(other)),
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn forget(
    client: &mut Client,
    screen: &mut Screen<'_>,
    targets: &[Target],
) -> Result<ExitCode, CliError> {
    each(client, screen, targets, |targets| Request::Forget { targets })
}

/// What feeds still ban, in words: their bans are not lifted one by one.
fn of_feeds(client: &mut Client) -> String {
    let Ok(Answer::Feeds(feeds)) = ask(client, &Request::Feeds {}) else { return String::new() };
    match feeds.iter().map(|feed| feed.bans).sum() {
        0 => String::new(),
        bans => format!(
            "; {} of feeds stay as long as these list them (guardctl feed list)",
            counted(bans, "ban")
        ),
    }
}

/// Asks for each target, in requests of bearable length, and tells what became of it. Fails if any was refused.
pub(super) fn each<T: Clone>(
    client: &mut Client,
    screen: &mut Screen<'_>,
    targets: &[T],
    request: impl Fn(Vec<T>) -> Request,
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

pub(super) fn list(client: &mut Client, screen: &mut Screen<'_>, list: &List) -> Result<ExitCode, CliError> {
    let mut rest = list.limit.map_or(usize::MAX, |limit| limit as usize);
    let mut columns = Columns::default();
    let mut after = None;
    let mut shown = 0;
    while rest > 0 {
        let request = Request::List { query: list.query(), after, limit: rest.min(PAGE) };
        let (bans, next) = match ask(client, &request)? {
            Answer::Bans { bans, next } => (bans, next),
            other => return Err(unexpected(other)),
        };
        if screen.json {
            screen.json_items(shown == 0, &bans)?;
        } else if !bans.is_empty() {
            page(screen, &mut columns, &bans, list.sort, shown == 0)?;
        }
        shown += bans.len();
        rest -= bans.len().min(rest);
        after = next;
        if after.is_none() {
            break;
        }
    }
    match (screen.json, shown) {
        (true, _) => screen.json_end(shown == 0)?,
        (false, 0) if list.query().is_plain() => screen.text("no bans")?,
        (false, 0) => screen.text("no such bans")?,
        (false, _) => screen.line(&[Piece(Style::Faint, counted(shown as u64, "ban"))])?,
    }
    Ok(ExitCode::SUCCESS)
}

fn page(
    screen: &mut Screen<'_>,
    columns: &mut Columns,
    bans: &[BanView],
    sort: Sort,
    first: bool,
) -> io::Result<()> {
    let now = Wall::now();
    let row = |ban: &BanView| {
        let mut row = vec![Piece(Style::Strong, ban.target.to_string())];
        match sort {
            Sort::Since => row.push(plain(ago(&ban.since, now))),
            Sort::Score => row.push(plain(&ban.score)),
            Sort::Target | Sort::Until | Sort::Strike => {}
        }
        row.extend([
            plain(left(ban.seconds_left)),
            plain(ban.strike.to_string()),
            plain(origin(&ban.origin)),
            plain(&ban.reason),
        ]);
        row
    };
    let rows: Vec<_> = bans.iter().map(row).collect();
    if first {
        let besides = match sort {
            Sort::Since => Some("BEGAN"),
            Sort::Score => Some("SCORE"),
            Sort::Target | Sort::Until | Sort::Strike => None,
        };
        let titles = ["TARGET"].into_iter().chain(besides).chain(["ENDS", "STRIKE", "BY", "REASON"]);
        columns.fit(&rows);
        screen.page(columns, 0, &[titles.map(|title| Piece(Style::Faint, title.into())).collect()])?;
    }
    screen.page(columns, 0, &rows)
}

/// Who decided a ban: the filter's name, or the user.
pub(super) fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Filter(name) => name.to_string(),
        Origin::Rule(name) => format!("rule {name}"),
        Origin::Prefix => "prefix".into(),
        Origin::Manual(0) => "root".into(),
        Origin::Manual(uid) => format!("user {uid}"),
        Origin::Forced(0) => "root, forced".into(),
        Origin::Forced(uid) => format!("user {uid}, forced"),
        Origin::Feed(name) => format!("feed {name}"),
    }
}
