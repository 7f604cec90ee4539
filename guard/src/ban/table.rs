//! The ban table.

/// The desired set of bans.
#[derive(Debug, Default)]
pub struct BanTable {}
