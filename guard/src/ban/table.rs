//! The ban table.

use std::collections::HashMap;

use super::Ban;
use crate::target::Target;

/// The desired set of bans.
#[derive(Debug, Default)]
pub struct BanTable {
    bans: HashMap<Target, Ban>,
}

impl BanTable {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of bans.
    pub fn len(&self) -> usize {
        self.bans.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.bans.is_empty()
    }

    /// Puts a ban in, in the place of one of the same target.
    pub fn set(&mut self, ban: Ban) -> Option<Ban> {
        self.bans.insert(ban.target, ban)
    }

    /// Takes a ban out.
    pub fn remove(&mut self, target: Target) -> Option<Ban> {
        self.bans.remove(&target)
    }

    /// The ban of exactly this target.
    pub fn get(&self, target: Target) -> Option<&Ban> {
        self.bans.get(&target)
    }

    /// Every ban, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Ban> + '_ {
        self.bans.values()
    }
}
