//! Which backend enforces.

use std::io;

use super::nftables::{self, nftables_remove};
use super::pair::{Clear, Open, Pair, uncovered};
use super::{EnforceError, Enforcer, Nftables, Observe, Xdp, XdpOptions};
use crate::causes::chain;
use crate::config::{BackendChoice, Config};
use crate::datapath;

/// Opens the backend that the configuration asks for, and says in words what is not as it should be.
///
/// `auto` is XDP with nftables beside it where an interface cannot have XDP, else nftables alone. If neither
/// works, guard goes on without enforcing, which is the first of the problems: it never stops watching because
/// it cannot act, and the daemon tries again. A backend asked for by name is that backend or an error. `observe`
/// overrides all of this.
///
/// What an earlier run left in a backend that is no longer used is taken away after the first reconciliation;
/// with `observe` nothing is touched, and what is there is a problem to be told.
pub fn select(config: &Config, observe: bool) -> Result<(Box<dyn Enforcer>, Vec<String>), EnforceError> {
    if observe {
        return Ok((Box::new(Observe::new("")), leftovers(config)));
    }
    match config.enforce.backend {
        BackendChoice::Observe => Ok((Box::new(Observe::new("")), leftovers(config))),
        BackendChoice::Xdp => {
            let mut xdp = open_xdp(config)?;
            let problem = uncovered(&xdp.status()).map(|open| format!("not covered by xdp: {open}"));
            let pair = Pair::new(Box::new(xdp), None, clear_nftables(config));
            Ok((Box::new(pair), problem.into_iter().collect()))
        }
        BackendChoice::Nftables => Ok((over_nftables(config, "")?, Vec::new())),
        BackendChoice::Auto => Ok(automatic(config)),
    }
}

/// Whether packets are to be dropped, by whatever backend there is.
pub fn is_wanted(config: &Config, observe: bool) -> bool {
    !observe && config.enforce.backend != BackendChoice::Observe
}

/// The best there is.
fn automatic(config: &Config) -> (Box<dyn Enforcer>, Vec<String>) {
    let no_xdp = match open_xdp(config) {
        Ok(mut xdp) => {
            let open = uncovered(&xdp.status());
            let mut pair = Pair::new(Box::new(xdp), Some(nftables_beside(config)), clear_nftables(config));
            pair.cover();
            let problem = open.map(|open| match pair.refusal() {
                None => format!("xdp does not cover every interface, nftables does: {open}"),
                Some(refused) => format!("interfaces are not covered: {open}; {refused}"),
            });
            return (Box::new(pair), problem.into_iter().collect());
        }
        Err(error) => chain(&error),
    };
    match over_nftables(config, &no_xdp) {
        Ok(enforcer) => (enforcer, vec![format!("nftables is used instead of xdp: {no_xdp}")]),
        Err(error) => {
            let reason = format!("nothing is enforced: {no_xdp}; {}", chain(&error));
            let mut problems = vec![format!("{reason}; guard tries again")];
            problems.extend(leftovers(config));
            (Box::new(Observe::new(&reason)), problems)
        }
    }
}

fn open_xdp(config: &Config) -> Result<Xdp, EnforceError> {
    Xdp::open(XdpOptions {
        bpffs: config.paths.bpffs.clone(),
        interfaces: config.enforce.interfaces.clone(),
        capacity: config.enforce.capacity,
        observe: false,
    })
}

fn over_nftables(config: &Config, reason: &str) -> Result<Box<dyn Enforcer>, EnforceError> {
    let nftables = Nftables::open(config, reason)?;
    Ok(Box::new(Pair::new(Box::new(nftables), None, clear_xdp(config))))
}

fn nftables_beside(config: &Config) -> Open {
    let config = config.clone();
    Box::new(move |reason| Ok(Box::new(Nftables::open(&config, reason)?)))
}

fn clear_nftables(config: &Config) -> Clear {
    let table = config.enforce.nftables_table.clone();
    Box::new(move || nftables_remove(&table))
}

fn clear_xdp(config: &Config) -> Clear {
    let bpffs = config.paths.bpffs.clone();
    Box::new(move || {
        let failed = |error| EnforceError::Transient {
            operation: format!("removing the pins under {}", bpffs.display()),
            source: io::Error::other(error),
        };
        Ok(datapath::remove_all(&bpffs).map_err(failed)? > 0)
    })
}

/// What an earlier run left and still drops packets.
fn leftovers(config: &Config) -> Vec<String> {
    let mut found = Vec::new();
    let table = &config.enforce.nftables_table;
    // Where nftables cannot be read there is no table of ours.
    if nftables::is_present(table).unwrap_or(false) {
        found.push(format!("table inet {table}"));
    }
    if std::fs::read_dir(&config.paths.bpffs).is_ok_and(|mut pins| pins.next().is_some()) {
        found.push(format!("programs pinned under {}", config.paths.bpffs.display()));
    }
    let problem =
        |what| format!("{what} of an earlier run still drops packets: `guardctl unlock` takes it away");
    found.into_iter().map(problem).collect()
}
