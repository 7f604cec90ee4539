//! The ban table.

use std::collections::BTreeMap;

use super::Ban;
use crate::target::Target;

/// The desired set of bans.
#[derive(Debug, Default)]
pub struct BanTable(BTreeMap<Target, Ban>);

impl BanTable {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of bans.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Puts a ban in, whatever is there.
    pub fn set(&mut self, ban: Ban) -> Option<Ban> {
        self.0.insert(ban.target, ban)
    }

    /// Takes a ban out.
    pub fn remove(&mut self, target: Target) -> Option<Ban> {
        self.0.remove(&target)
    }

    /// Every ban.
    pub fn iter(&self) -> impl Iterator<Item = &Ban> {
        self.0.values()
    }
}
