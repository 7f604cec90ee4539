//! The desired set of bans: who is to be dropped, why, and until when.

use serde::{Deserialize, Serialize};

use crate::sighting::Points;
use crate::target::Target;
use crate::time::Moment;

mod cause;
mod ends;
mod list;
mod shelf;
mod table;
mod walk;

pub use cause::ByFamily;
pub use list::{BanQuery, Family, Listing, Place, Sort};
pub use table::BanTable;
pub use walk::Walk;

/// Identity of a ban, unique for the life of a state folder. Below 2^47: it is kept in six bytes. The highest bit of
/// these says that a person forced it, so that the kernel's entry alone tells as much; the others are its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BanId(pub u64);

impl BanId {
    /// The bans of all feeds: they have no identity of their own, so that they are the same after a restart.
    pub const FEED: Self = Self(0);
    /// The bit of a forced ban.
    const FORCED: u64 = 1 << 46;

    /// The identity of a forced ban with the same number.
    #[must_use]
    pub const fn forced(self) -> Self {
        Self(self.0 | Self::FORCED)
    }

    /// Whether a person forced the ban.
    pub const fn is_forced(self) -> bool {
        self.0 & Self::FORCED != 0
    }

    /// Its number: no two bans have the same.
    pub const fn number(self) -> u64 {
        self.0 & (Self::FORCED - 1)
    }
}

/// Who decided a ban.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The engine, by a filter of this name.
    Filter(Box<str>),
    /// A rule of this name.
    Rule(Box<str>),
    /// The engine, because of many others in the prefix.
    Prefix,
    /// A person with this user id, through guardctl.
    Manual(u32),
    /// The same, past what allows or protects the target: `--force`.
    Forced(u32),
    /// Others, who keep the list that a feed of this name brings.
    Feed(Box<str>),
}

impl Origin {
    /// Its name: the filter's or feed's, `prefix`, or `manual`.
    pub fn name(&self) -> &str {
        match self {
            Self::Filter(name) | Self::Rule(name) | Self::Feed(name) => name,
            Self::Prefix => "prefix",
            Self::Manual(_) | Self::Forced(_) => "manual",
        }
    }

    /// Whether a person decided it past what allows or protects the target.
    pub const fn is_forced(&self) -> bool {
        matches!(self, Self::Forced(_))
    }

    /// Whether a person decided it. Such bans are never evicted to make room.
    pub const fn is_manual(&self) -> bool {
        matches!(self, Self::Manual(_) | Self::Forced(_))
    }

    /// Whether it stands because a feed lists its target.
    pub const fn is_feed(&self) -> bool {
        matches!(self, Self::Feed(_))
    }
}

/// A ban as it is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ban {
    /// Its identity.
    pub id: BanId,
    /// What is dropped.
    pub target: Target,
    /// Since when.
    pub since: Moment,
    /// Until when; `None` for good.
    pub until: Option<Moment>,
    /// Who decided it.
    pub origin: Origin,
    /// The score that was reached; 0 for manual bans.
    pub score: Points,
    /// How many bans this target has had, this one included, after forgiveness. Kept up to 32,767.
    pub strike: u32,
    /// Why, as shown to people: printable, at most 200 characters. Equal texts are kept once, so it best names
    /// the rule and leaves the particulars to the ban's event.
    pub reason: Box<str>,
}

/// A ban in the table, read in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BanRef<'a> {
    /// Its identity.
    pub id: BanId,
    /// What is dropped.
    pub target: Target,
    /// Since when.
    pub since: Moment,
    /// Until when; `None` for good.
    pub until: Option<Moment>,
    /// Who decided it.
    pub origin: &'a Origin,
    /// The score that was reached.
    pub score: Points,
    /// How many bans this target has had, this one included.
    pub strike: u32,
    /// Why.
    pub reason: &'a str,
}

impl Ban {
    /// The same, read in place.
    pub fn view(&self) -> BanRef<'_> {
        let Self { id, target, since, until, ref origin, score, strike, ref reason } = *self;
        BanRef { id, target, since, until, origin, score, strike, reason }
    }
}

impl BanRef<'_> {
    /// The ban as a value of its own.
    pub fn to_ban(self) -> Ban {
        let Self { id, target, since, until, origin, score, strike, reason } = self;
        Ban { id, target, since, until, origin: origin.clone(), score, strike, reason: reason.into() }
    }

    /// Whether it is over.
    pub fn is_over(&self, now: Moment) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

/// Whether one end is later than another; no end is the latest.
pub fn ends_later(one: Option<Moment>, other: Option<Moment>) -> bool {
    match (one, other) {
        (None, Some(_)) => true,
        (Some(one), Some(other)) => one > other,
        (_, None) => false,
    }
}

#[cfg(test)]
mod tests;
