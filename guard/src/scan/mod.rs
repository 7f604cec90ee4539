//! Scanning: from bytes of a line to one [`Sighting`](crate::sighting::Sighting), or nothing. Borrows the source's
//! bytes, allocates nothing for a line and decides nothing.
//!
//! `scanner` is the loop, `explain` asks each filter by itself, with words. `lines` splits a chunk; `header` takes a line apart, and
//! `layout` skips the lines of other programs without that; `identifiers` and `dispatch` lead to the forms a message
//! can have, all of them in `set`, and `familiar` remembers what they led to; `pattern` reads it; `timestamp`, `address` and `dotted` read the fields. `record`
//! takes lines apart that are named fields: JSON, logfmt, access logs. `own` reads lines of services' own files, and
//! `fields` finds the patterns that a record can be. `messages` holds the forms of one service's messages, by
//! what they begin with (`openings`) or are sorted by (`groups`). `filter` reads filters from files,
//! `corpus` what they must make of lines. `literal`, `simd` and `bytes` are the small fast things the others stand on.

use serde::{Deserialize, Serialize};

mod address;
pub mod corpus;
mod dispatch;
mod dotted;
mod explain;
mod familiar;
mod fields;
mod filter;
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz;
mod groups;
mod header;
mod identifiers;
mod layout;
mod lines;
mod literal;
mod messages;
mod openings;
pub(crate) mod overlap;
mod own;
mod pattern;
mod record;
mod scanner;
mod set;
mod shape;
#[cfg(test)]
mod tests;
mod timestamp;

pub use explain::{Explainer, Explanation, Match};
pub use filter::{FilterAbout, FilterError, FilterFile, available, shipped};
pub use scanner::Scanner;
pub use set::{FilterSet, read_file};

/// Which patterns of a filter are in use. `ddos` and `extra` each add to `normal`; `aggressive` is all of them.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum,
)]
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

impl Mode {
    /// Whether patterns of another mode are in use in this one.
    pub fn includes(self, pattern: Self) -> bool {
        pattern == Self::Normal || pattern == self || self == Self::Aggressive
    }
}
