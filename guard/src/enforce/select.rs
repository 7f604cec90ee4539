//! Which backend enforces.

use super::pair::{Pair, uncovered};
use super::{EnforceError, Enforcer, Nftables, Observe, Xdp, XdpOptions, chain_of};
use crate::config::{BackendChoice, Config};

/// Opens the backend that the configuration asks for, and says in words what is not as it should be.
///
/// `auto` is XDP with nftables beside it where an interface cannot have XDP, else nftables alone. If neither
/// works, guard goes on without enforcing, which is the first of the problems: it never stops watching because
/// it cannot act. A backend asked for by name is that backend or an error. `observe` overrides all of this.
pub fn select(config: &Config, observe: bool) -> Result<(Box<dyn Enforcer>, Vec<String>), EnforceError> {
    if observe || config.enforce.backend == BackendChoice::Observe {
        return Ok((Box::new(Observe::new("")), Vec::new()));
    }
    match config.enforce.backend {
        BackendChoice::Xdp => {
            let mut xdp = open_xdp(config)?;
            let problems = uncovered(&xdp.status()).map(|open| format!("not covered by xdp: {open}"));
            Ok((Box::new(xdp), problems.into_iter().collect()))
        }
        BackendChoice::Nftables => Ok((Box::new(Nftables::open(config, "")?), Vec::new())),
        BackendChoice::Auto | BackendChoice::Observe => Ok(automatic(config, open_xdp(config))),
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

/// The best there is.
fn automatic(config: &Config, xdp: Result<Xdp, EnforceError>) -> (Box<dyn Enforcer>, Vec<String>) {
    let no_xdp = match xdp {
        Ok(mut xdp) => {
            let open = uncovered(&xdp.status());
            let beside = config.clone();
            let second = move |reason: &str| -> Result<Box<dyn Enforcer>, EnforceError> {
                Ok(Box::new(Nftables::open(&beside, reason)?))
            };
            let mut pair = Pair::new(Box::new(xdp), Box::new(second));
            pair.cover();
            let problem = open.map(|open| match pair.refusal() {
                None => format!("xdp does not cover every interface, nftables does: {open}"),
                Some(refused) => format!("interfaces are not covered: {open}; {refused}"),
            });
            return (Box::new(pair), problem.into_iter().collect());
        }
        Err(error) => chain_of(&error),
    };
    match Nftables::open(config, &no_xdp) {
        Ok(nftables) => (Box::new(nftables), vec![format!("nftables is used instead of xdp: {no_xdp}")]),
        Err(error) => {
            let reason = format!("nothing is enforced: {no_xdp}; {}", chain_of(&error));
            (Box::new(Observe::new(&reason)), vec![reason])
        }
    }
}
