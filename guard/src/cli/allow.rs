//! `guardctl allow`.

use std::process::ExitCode;

use super::args::{Allow, Length};
use super::bans::each;
use super::error::unexpected;
use super::human::{left, span};
use super::{CliError, Piece, Screen, Style, ask, plain};
use crate::api::client::Client;
use crate::api::{AllowedName, Answer, Request};

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
        .targets
        .iter()
        .map(|entry| {
            let ends = entry.seconds_left.map_or_else(String::new, |seconds| left(Some(seconds)));
            vec![Piece(Style::Strong, entry.target.to_string()), plain(ends), plain(&entry.because)]
        })
        .collect();
    screen.table(0, &["TARGET", "ENDS", "BECAUSE"], &rows)?;
    if !allowed.names.is_empty() {
        screen.text("")?;
        let rows: Vec<_> = allowed.names.iter().map(name).collect();
        screen.table(0, &["NAME", "ENDS", "BECAUSE", "STATE"], &rows)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A name with who allows it and how it is.
fn name(name: &AllowedName) -> Vec<Piece> {
    let addresses = match name.addresses.len() {
        0 => "no address".to_owned(),
        1 => "1 address".to_owned(),
        more => format!("{more} addresses"),
    };
    let state = match (&name.failure, name.answered_seconds, name.believed_seconds) {
        (Some(failure), _, Some(believed)) => {
            Piece(Style::Bad, format!("{addresses}, kept for another {}: {failure}", span(believed)))
        }
        (Some(failure), _, None) => Piece(Style::Bad, format!("{addresses}: {failure}")),
        (None, Some(ago), _) => Piece(Style::Good, format!("{addresses}, asked for {} ago", span(ago))),
        (None, None, _) => plain(format!("{addresses}, being asked for")),
    };
    let ends = name.seconds_left.map_or_else(String::new, |seconds| left(Some(seconds)));
    vec![Piece(Style::Strong, name.name.to_string()), plain(ends), plain(&name.because), state]
}
