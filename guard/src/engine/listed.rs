//! Addresses that start with points because a feed lists them.

use std::net::IpAddr;
use std::sync::Arc;

use super::Engine;
use crate::feed::List;
use crate::sighting::Points;

/// A feed's list, and the points that who is on it starts with.
#[derive(Clone, Debug)]
pub struct Suspects {
    /// The feed.
    pub feed: Box<str>,
    /// Who is on it.
    pub list: Arc<List>,
    /// What they start with.
    pub points: Points,
}

/// Everybody who starts with points.
#[derive(Clone, Debug, Default)]
pub(super) struct Listed(Vec<Suspects>);

impl Listed {
    /// Whether nobody is listed.
    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What an address starts with, and because of which feed: of the one that gives most.
    pub(super) fn by(&self, address: IpAddr) -> Option<(&str, Points)> {
        let of = self.0.iter().filter(|suspects| suspects.list.covering(address).is_some());
        of.max_by_key(|suspects| suspects.points).map(|suspects| (&*suspects.feed, suspects.points))
    }
}

impl Engine {
    /// Gives these points to whoever is on a list, when its score starts.
    pub fn set_listed(&mut self, lists: Vec<Suspects>) {
        self.listed = Listed(lists);
    }
}
