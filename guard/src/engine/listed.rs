//! Addresses that start with points because a feed lists them.

use std::net::IpAddr;
use std::sync::Arc;

use super::Engine;
use crate::feed::List;
use crate::sighting::Points;

/// Lists, each with the points that who is on it starts with.
#[derive(Clone, Debug, Default)]
pub(super) struct Listed(Vec<(Arc<List>, Points)>);

impl Listed {
    /// Whether nobody is listed.
    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What an address starts with: the most that any list gives.
    pub(super) fn points(&self, address: IpAddr) -> Points {
        let of = self.0.iter().filter(|(list, _)| list.covering(address).is_some());
        of.map(|(_, points)| *points).max().unwrap_or_default()
    }
}

impl Engine {
    /// Gives these points to whoever is on a list, when its score starts.
    pub fn set_listed(&mut self, lists: Vec<(Arc<List>, Points)>) {
        self.listed = Listed(lists);
    }
}
