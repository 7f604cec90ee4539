//! What must never be banned: allowlist, own addresses, gateways, resolvers, live sessions.
//!
//! [`Protection`] is the pure part: it knows what is protected and says why. [`system`] and [`session`] gather the
//! facts it is fed with. A ban that overlaps anything protected is refused, whichever of the two is wider.

pub mod names;
mod overlap;
mod protection;
mod ranges;
pub mod session;
pub mod system;

pub use protection::{Changes, NameState, Protection, Resolved};
pub use session::{caller_peer, caller_peers};
pub use system::{Connection, SystemAddresses};
