//! `guardctl unlock`: everything guard put in place leaves the kernel, with or without a daemon.

use std::process::ExitCode;

use serde_json::json;

use super::error::unexpected;
use super::human::counted;
use super::{Cli, CliError, Piece, Screen, Style, ask, readable, socket};
use crate::api::client::{Client, ClientError};
use crate::api::{Answer, Request};
use crate::causes::chain;
use crate::{datapath, enforce};

pub(super) fn unlock(cli: &Cli, screen: &mut Screen<'_>, offline: bool) -> Result<ExitCode, CliError> {
    if offline {
        return alone(cli, screen);
    }
    match Client::connect(&socket(cli)) {
        Ok(mut client) => through_daemon(&mut client, screen),
        Err(ClientError::NotReachable { .. }) => {
            if !screen.json {
                screen.text("the daemon is not running; guardctl does it itself")?;
            }
            alone(cli, screen)
        }
        Err(error) => Err(error.into()),
    }
}

fn through_daemon(client: &mut Client, screen: &mut Screen<'_>) -> Result<ExitCode, CliError> {
    match ask(client, &Request::Unlock {})? {
        Answer::Lifted(lifted) if screen.json => screen.json(&json!({ "lifted": lifted }))?,
        Answer::Lifted(lifted) => {
            screen.line(&[Piece(
                Style::Good,
                format!("unlocked: {} no longer enforced", counted(lifted, "ban")),
            )])?;
            screen.text("guard goes on reading, and enforces again after: guardctl reload")?;
        }
        other => return Err(unexpected(other)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Without the daemon: both halves are tried, whatever becomes of the other.
fn alone(cli: &Cli, screen: &mut Screen<'_>) -> Result<ExitCode, CliError> {
    let config = readable(cli);
    let table = &config.enforce.nftables_table;
    let pins = datapath::remove_all(&config.paths.bpffs).map_err(|error| chain(&error));
    let nftables = enforce::nftables_remove(table).map_err(|error| chain(&error));

    if screen.json {
        let errors: Vec<_> = pins.as_ref().err().into_iter().chain(nftables.as_ref().err()).collect();
        screen.json(&json!({
            "interfaces_released": pins.as_ref().ok(),
            "table_removed": nftables.as_ref().ok(),
            "errors": errors,
        }))?;
    } else {
        let xdp = pins.as_ref().map(|released| match released {
            0 => format!("XDP: nothing was in place under {}", config.paths.bpffs.display()),
            released => format!("XDP: taken off {}", counted(*released as u64, "interface")),
        });
        let nft = nftables.as_ref().map(|removed| match removed {
            true => format!("nftables: table inet {table} removed"),
            false => format!("nftables: there is no table inet {table}"),
        });
        for (name, told) in [("XDP", xdp), ("nftables", nft)] {
            screen.line(&[match told {
                Ok(text) => Piece(Style::Good, text),
                Err(error) => Piece(Style::Bad, format!("{name}: {error}")),
            }])?;
        }
    }
    let done = pins.is_ok() && nftables.is_ok();
    Ok(if done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
