//! `guardctl allow`.

use std::process::ExitCode;

use super::args::{Allow, Length};
use super::bans::each;
use super::error::unexpected;
use super::human::left;
use super::{CliError, Piece, Screen, Style, ask, plain};
use crate::api::client::Client;
use crate::api::{Answer, Request};

pub(super) fn allow(
    client: &mut Client,
    screen: &mut Screen<'_>,
    allow: &Allow,
) -> Result<ExitCode, CliError> {
    match allow {
        Allow::Add { targets, length, comment } => {
            each(client, screen, targets, |targets| Request::AllowAdd {
                targets,
                seconds: length.and_then(Length::for_allowance),
                comment: comment.clone(),
            })
        }
        Allow::Remove { targets } => {
            each(client, screen, targets, |targets| Request::AllowRemove { targets })
        }
        Allow::List => list(client, screen),
    }
}

fn list(client: &mut Client, screen: &mut Screen<'_>) -> Result<ExitCode, CliError> {
    let allowed = match ask(client, &Request::AllowList {})? {
        Answer::Allowed(allowed) => allowed,
        other => return Err(unexpected(other)),
    };
    if screen.json {
        screen.json(&allowed)?;
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<_> = allowed
        .iter()
        .map(|entry| {
            let ends = entry.seconds_left.map_or_else(String::new, |seconds| left(Some(seconds)));
            vec![Piece(Style::Strong, entry.target.to_string()), plain(ends), plain(&entry.because)]
        })
        .collect();
    screen.table(0, &["TARGET", "ENDS", "BECAUSE"], &rows)?;
    Ok(ExitCode::SUCCESS)
}
