//! What rules look at: one sighting, as far as its line says something.

use std::net::IpAddr;

use crate::encode::EVIDENCE;
use crate::sighting::{Kind, Sighting};
use crate::target::canonical;

/// What is known of one sighting. All texts are an attacker's; what the line does not say is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts<'a> {
    /// The peer, canonical.
    pub address: IpAddr,
    /// What happened.
    pub kind: Kind,
    /// Name of the filter that read the line.
    pub filter: &'a str,
    /// The account that was tried.
    pub user: Option<&'a [u8]>,
    /// Name of the program that wrote the line.
    pub service: Option<&'a [u8]>,
    /// What was asked for, without its query, as it was sent.
    pub path: Option<&'a [u8]>,
    /// The answer's status.
    pub status: Option<u16>,
    /// The line, at most [`EVIDENCE`] bytes of it.
    pub line: &'a [u8],
}

impl<'a> Facts<'a> {
    /// The facts of a sighting that a filter of this name made. Texts are cut at [`EVIDENCE`] bytes, as those are that
    /// come from a reader: live and in a replay a rule sees the same.
    pub fn of(sighting: &Sighting<'a>, filter: &'a str) -> Self {
        Self {
            address: canonical(sighting.address),
            kind: sighting.kind,
            filter,
            user: sighting.account.map(cut),
            service: (!sighting.service.is_empty()).then(|| cut(sighting.service)),
            path: sighting.request.and_then(|request| request.path).map(cut),
            status: sighting.request.and_then(|request| request.status),
            line: cut(sighting.line),
        }
    }
}

fn cut(text: &[u8]) -> &[u8] {
    &text[..text.len().min(EVIDENCE)]
}
