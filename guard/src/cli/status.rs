//! `guardctl status`.

use std::io;
use std::process::ExitCode;

use super::error::unexpected;
use super::human::{bytes, count, counted, span};
use super::{CliError, Piece, Screen, Style, ask, plain};
use crate::api::client::Client;
use crate::api::{Answer, Request, Status};

pub(super) fn status(client: &mut Client, screen: &mut Screen<'_>) -> Result<ExitCode, CliError> {
    match ask(client, &Request::Status {})? {
        Answer::Status(status) if screen.json => screen.json(&status)?,
        Answer::Status(status) => show(screen, &status)?,
        other => return Err(unexpected(other)),
    }
    Ok(ExitCode::SUCCESS)
}

fn show(screen: &mut Screen<'_>, status: &Status) -> io::Result<()> {
    screen.line(&[
        Piece(Style::Strong, format!("guard {}", status.version)),
        plain(", "),
        condition(status),
        plain(format!(", up {}", span(status.uptime_seconds))),
        Piece(Style::Faint, format!("  (process {}, {})", status.pid, bytes(status.resident_bytes))),
    ])?;
    if !status.problems.is_empty() {
        screen.heading("Needs attention")?;
        for problem in &status.problems {
            screen.line(&[Piece(Style::Warn, "  ! ".into()), plain(problem)])?;
        }
    }
    screen.heading("Numbers")?;
    screen.table(2, &[], &numbers(status))?;
    sources(screen, status)?;
    interfaces(screen, status)
}

fn condition(status: &Status) -> Piece {
    match status.enforcer.backend.as_str() {
        _ if status.observe => Piece(Style::Warn, "observing only: nothing is dropped".into()),
        "xdp" => Piece(Style::Good, "dropping with XDP".into()),
        "nftables" => Piece(Style::Good, "dropping with nftables".into()),
        "observe" => Piece(Style::Warn, "observing only: nothing is dropped".into()),
        other => Piece(Style::Bad, format!("not dropping anything ({other})")),
    }
}

fn numbers(status: &Status) -> Vec<Vec<Piece>> {
    let row = |name: &str, text: String| vec![Piece(Style::Faint, name.into()), plain(text)];
    let restoring = if status.restored { "" } else { ", more are being restored" };
    let (packets, size) =
        status.counters.drops.iter().fold((0, 0), |(packets, size), drop| (packets + drop.2, size + drop.3));
    let drift = &status.drift;
    let put_right: Vec<_> = [
        (drift.missing, "missing"),
        (drift.foreign, "foreign"),
        (drift.changed, "changed"),
        (drift.attachments, "attachment or table"),
    ]
    .iter()
    .filter(|(number, _)| *number > 0)
    .map(|(number, what)| format!("{} {what}", count(*number)))
    .collect();
    let mut rows = vec![
        row("bans", format!("{}{restoring}", count(status.bans))),
        row("dropped", format!("{}, {}", counted(packets, "packet"), bytes(size))),
        row("lines", format!("{} read, {} matched", count(status.lines), count(status.matched))),
        row("tracked", format!("{} with a score", tracked(status.tracked))),
    ];
    if !put_right.is_empty() {
        rows.push(row("put right", format!("{} in the kernel", put_right.join(", "))));
    }
    rows
}

fn sources(screen: &mut Screen<'_>, status: &Status) -> io::Result<()> {
    screen.heading("Sources")?;
    let rows: Vec<_> = status
        .sources
        .iter()
        .map(|source| {
            let mark = if source.healthy { (Style::Good, "ok") } else { (Style::Bad, "!!") };
            let behind = match (source.behind, source.name.as_str()) {
                (0, _) => String::new(),
                (entries, "journald") => format!(", {} behind", count(entries)),
                (size, _) => format!(", {} behind", bytes(size)),
            };
            vec![
                Piece(mark.0, mark.1.into()),
                plain(&source.name),
                plain(format!("{}{behind}", source.state)),
            ]
        })
        .collect();
    if rows.is_empty() {
        return screen.line(&[Piece(Style::Bad, "  none: guard sees nothing".into())]);
    }
    screen.table(2, &[], &rows)
}

fn interfaces(screen: &mut Screen<'_>, status: &Status) -> io::Result<()> {
    let enforcer = &status.enforcer;
    if enforcer.interfaces.is_empty() && enforcer.reason.is_empty() && enforcer.maps.is_empty() {
        return Ok(());
    }
    screen.heading("Kernel")?;
    if !enforcer.reason.is_empty() {
        screen.line(&[
            plain(format!("  {}: ", enforcer.backend)),
            Piece(Style::Warn, enforcer.reason.clone()),
        ])?;
    }
    let mut rows: Vec<_> = enforcer
        .interfaces
        .iter()
        .map(|interface| {
            let style = match interface.mode.as_str() {
                "native" | "nftables" => Style::Good,
                "none" => Style::Bad,
                _ => Style::Warn,
            };
            vec![
                Piece(Style::Faint, "interface".into()),
                plain(&interface.name),
                Piece(style, interface.mode.clone()),
                plain(&interface.reason),
            ]
        })
        .collect();
    rows.extend(enforcer.maps.iter().filter(|map| map.entries > 0).map(|map| {
        let capacity = if map.capacity == 0 { String::new() } else { format!("of {}", count(map.capacity)) };
        vec![Piece(Style::Faint, "map".into()), plain(&map.name), plain(count(map.entries)), plain(capacity)]
    }));
    screen.table(2, &[], &rows)
}

fn tracked(number: u64) -> String {
    if number == 1 { "1 address".into() } else { format!("{} addresses", count(number)) }
}
