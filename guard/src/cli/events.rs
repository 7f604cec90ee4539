//! `guardctl events`, and events as other commands show them.

use std::process::ExitCode;

use serde_json::Value;

use super::error::unexpected;
use super::human::ago;
use super::{CliError, Piece, Screen, Style, ask, plain};
use crate::api::client::Client;
use crate::api::{Answer, Request};
use crate::store::StoredEventView;
use crate::time::Wall;

pub(super) fn events(
    client: &mut Client,
    screen: &mut Screen<'_>,
    limit: usize,
) -> Result<ExitCode, CliError> {
    match ask(client, &Request::Events { limit })? {
        Answer::Events(events) if screen.json => screen.json(&events)?,
        Answer::Events(events) if events.is_empty() => screen.text("nothing has happened yet")?,
        Answer::Events(events) => screen.table(0, &["WHEN", "WHAT", "TARGET", "DETAIL"], &rows(&events))?,
        other => return Err(unexpected(other)),
    }
    Ok(ExitCode::SUCCESS)
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

/// A JSON object on one line: `rule sshd, score 5`.
fn detail(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(detail).collect::<Vec<_>>().join("; "),
        Value::Object(fields) => {
            let shown =
                fields.iter().filter(|(key, value)| !is_empty(value) && !LONG.contains(&key.as_str()));
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
