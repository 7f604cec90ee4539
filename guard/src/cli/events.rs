//! `guardctl events`, and events as other commands show them.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::args::Events;
use super::error::unexpected;
use super::human::ago;
use super::screen::Columns;
use super::{CliError, Piece, Screen, Style, ask, plain};
use crate::api::client::Client;
use crate::api::{Answer, Request};
use crate::store::{EventQuery, StoredEventView};
use crate::time::Wall;

/// How often `--follow` asks for what is new.
const FOLLOW: Duration = Duration::from_secs(1);
/// Events that `--follow` asks for at once.
const PAGE: usize = 1000;

/// The titles of the rows.
const TITLES: [&str; 4] = ["WHEN", "WHAT", "TARGET", "DETAIL"];

pub(super) fn events(
    client: &mut Client,
    screen: &mut Screen<'_>,
    asked: &Events,
) -> Result<ExitCode, CliError> {
    let mut events = ask_for(client, asked.query())?;
    if screen.json {
        screen.json(&events)?;
    } else if events.is_empty() {
        let any = asked.kinds.is_empty() && asked.target.is_none() && asked.since.is_none();
        screen.text(if any { "nothing has happened yet" } else { "no such events" })?;
    } else {
        // For people the newest comes last, where they look.
        events.reverse();
        screen.table(0, &TITLES, &rows(&events))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows the last events, then what happens, until the reader has gone or the daemon.
pub(super) fn follow(
    connect: impl Fn() -> Result<Client, CliError>,
    screen: &mut Screen<'_>,
    asked: &Events,
) -> Result<ExitCode, CliError> {
    let mut columns = Columns::default();
    let mut query = asked.query();
    let mut first = true;
    loop {
        // Each time a connection of its own: none is held open in between.
        let new = ask_for_all(&mut connect()?, &query, first)?;
        if let Some(last) = new.last() {
            query.after = last.number;
        }
        if screen.json {
            new.iter().try_for_each(|event| screen.json_line(event))?;
        } else {
            let rows = rows(&new);
            if first {
                columns.fit(&rows);
                screen.page(
                    &mut columns,
                    0,
                    &[TITLES.map(|title| Piece(Style::Faint, title.into())).to_vec()],
                )?;
            }
            screen.page(&mut columns, 0, &rows)?;
        }
        screen.flush()?;
        first = false;
        thread::sleep(FOLLOW);
    }
}

/// What is wanted, the oldest first: at first as much as was asked for, later all that is new.
fn ask_for_all(
    client: &mut Client,
    query: &EventQuery,
    first: bool,
) -> Result<Vec<StoredEventView>, CliError> {
    let mut query = query.clone();
    if !first {
        query.limit = PAGE;
    }
    let mut events = ask_for(client, query.clone())?;
    while !first && events.len().is_multiple_of(PAGE) && !events.is_empty() {
        query.before = events.last().map(|event| event.number);
        let older = ask_for(client, query.clone())?;
        if older.is_empty() {
            break;
        }
        events.extend(older);
    }
    events.reverse();
    Ok(events)
}

fn ask_for(client: &mut Client, query: EventQuery) -> Result<Vec<StoredEventView>, CliError> {
    match ask(client, &Request::Events { query })? {
        Answer::Events(events) => Ok(events),
        other => Err(unexpected(other)),
    }
}

/// Events as rows of a table: when, what, target, detail.
pub(super) fn rows(events: &[StoredEventView]) -> Vec<Vec<Piece>> {
    let now = Wall::now();
    let row = |event: &StoredEventView| {
        let target = event.target.map_or_else(String::new, |target| target.to_string());
        vec![
            Piece(Style::Faint, ago(&event.at, now)),
            Piece(Style::Strong, event.kind.clone()),
            plain(target),
            plain(detail(&event.detail)),
        ]
    };
    events.iter().map(row).collect()
}

/// Fields that `guardctl why` shows in a better place, and `--json` in full.
const LONG: [&str; 2] = ["lines", "pattern"];

/// Fields that the reason of a ban has already.
const IN_REASON: [&str; 2] = ["filter", "score"];

/// A JSON object on one line: `rule sshd, score 5`.
fn detail(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(detail).collect::<Vec<_>>().join("; "),
        Value::Object(fields) => {
            let has_reason = fields.contains_key("reason");
            let is_said = |key: &str| LONG.contains(&key) || has_reason && IN_REASON.contains(&key);
            let shown = fields.iter().filter(|(key, value)| !is_empty(value) && !is_said(key));
            shown.map(|(key, value)| format!("{key} {}", detail(value))).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_read_as_a_sentence() {
        let value = serde_json::json!({"rule": "sshd", "score": 5.2, "end": null, "lines": ["a", "b"]});
        assert_eq!(detail(&value), "rule sshd, score 5.2");
    }
}
