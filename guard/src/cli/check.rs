//! `guardctl check`: the kernel's own answer, beside what guard wants.

use std::io;
use std::net::IpAddr;
use std::process::ExitCode;

use super::error::unexpected;
use super::human::{bytes, counted, left};
use super::{CliError, Piece, Screen, Style, ask, bans};
use crate::api::client::Client;
use crate::api::{Answer, BanView, Check, Request};
use crate::enforce::{Backend, LiveEntry};

pub(super) fn check(
    client: &mut Client,
    screen: &mut Screen<'_>,
    address: IpAddr,
) -> Result<ExitCode, CliError> {
    match ask(client, &Request::Check { address })? {
        Answer::Check(check) if screen.json => screen.json(&check)?,
        Answer::Check(check) => show(screen, &check)?,
        other => return Err(unexpected(other)),
    }
    Ok(ExitCode::SUCCESS)
}

fn show(screen: &mut Screen<'_>, check: &Check) -> io::Result<()> {
    let subject = Piece(Style::Strong, check.address.to_string());
    let where_ = if check.interfaces.is_empty() {
        format!(" ({})", check.backend)
    } else {
        format!(" ({} on {})", check.backend, check.interfaces.join(", "))
    };
    let verdict = match (check.verdict.dropped, &check.verdict.allowed_by) {
        (true, _) => Piece(Style::Bad, " is dropped".into()),
        (false, Some(allowed)) => Piece(Style::Good, format!(" passes, because {allowed} is allowed")),
        (false, None) => Piece(Style::Good, " is not dropped".into()),
    };
    screen.line(&[subject, verdict, Piece(Style::Faint, where_)])?;
    for entry in &check.verdict.entries {
        screen.text(&format!("  {}", entry_text(entry, &check.backend)))?;
    }
    for ban in &check.bans {
        screen.text(&format!("  {}", ban_text(ban)))?;
    }
    if let Some(because) = &check.protected_by {
        screen.text(&format!("  never banned: {because}"))?;
    }
    if let Some(warning) = disagreement(check) {
        screen.line(&[Piece(Style::Warn, format!("  ! {warning}"))])?;
    }
    Ok(())
}

fn entry_text(entry: &LiveEntry, backend: &str) -> String {
    let ends = match entry.seconds_left {
        Some(0) => "has ended".into(),
        left_ => format!("ends {}", left(left_)).replace("ends for good", "holds for good"),
    };
    let dropped = match (entry.packets, entry.bytes) {
        (Some(packets), Some(size)) => format!(", {} dropped ({})", counted(packets, "packet"), bytes(size)),
        (Some(packets), None) => format!(", {} dropped", counted(packets, "packet")),
        (None, _) => String::new(),
    };
    let what = if backend == Backend::Observe.name() { "would be dropped as" } else { "kernel entry" };
    format!("{what} {}: {ends}{dropped}", entry.target)
}

fn ban_text(ban: &BanView) -> String {
    let reason = if ban.reason.is_empty() { String::new() } else { format!(": {}", ban.reason) };
    format!("ban of {} by {}, strike {}{reason}", ban.target, bans::origin(&ban.origin), ban.strike)
}

/// Where the kernel and the ban table do not say the same, and what to make of it.
fn disagreement(check: &Check) -> Option<String> {
    let wanted = !check.bans.is_empty();
    let allowed = check.verdict.allowed_by.is_some() || check.protected_by.is_some();
    match (check.verdict.dropped, wanted) {
        (false, true) if check.backend == "observe" => {
            Some("guard only observes: it would be dropped otherwise".into())
        }
        (false, true) if !allowed => {
            Some("it is banned, but the kernel does not drop it; see: guardctl status".into())
        }
        (true, false) => {
            Some("the kernel drops it, but no ban is known; the next check puts that right".into())
        }
        _ => None,
    }
}
