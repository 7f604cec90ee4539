//! Scanning: from bytes of a line to one sighting, or nothing. Borrows the source's bytes, allocates nothing
//! per line and decides nothing. A hit is a [`Sighting`](crate::sighting::Sighting).

use serde::{Deserialize, Serialize};

/// Which patterns of a filter are in use; each mode includes the ones before it where the filter says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Failed authentication.
    #[default]
    Normal,
    /// `normal`, and connections that are opened and dropped before authentication.
    Ddos,
    /// `normal`, and protocol noise and refused negotiations.
    Extra,
    /// Everything.
    Aggressive,
}
