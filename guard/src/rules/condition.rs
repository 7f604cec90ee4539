//! Conditions: what must be true of a sighting.
//!
//! Each is true, untrue or unknown. Unknown is what is asked of a fact that the line does not tell or that nobody has
//! looked up, and its opposite is unknown as well: a rule acts on what is known, never on what is missing.

use std::cell::Cell;

use super::Facts;
use super::addresses::AddressSet;
use super::geo::{Geo, Origin};
use super::pattern::Patterns;
use super::texts::Texts;
use crate::sighting::Kind;

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Truth {
    No,
    Unknown,
    Yes,
}

impl From<bool> for Truth {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

impl Truth {
    /// Of a fact, if it is known.
    fn of<T>(fact: Option<T>, holds: impl FnOnce(T) -> bool) -> Self {
        fact.map_or(Self::Unknown, |fact| holds(fact).into())
    }

    const fn opposite(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Unknown => Self::Unknown,
            Self::Yes => Self::No,
        }
    }
}

/// What must be true of a sighting. Equal ones hold for the same sightings.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Condition {
    /// Every one of them; none is always true.
    All(Box<[Self]>),
    /// One of them.
    Any(Box<[Self]>),
    /// The opposite.
    Not(Box<Self>),
    /// One of these kinds, each a bit.
    Kind(u64),
    /// One of these filters.
    Filter(Box<[Box<str>]>),
    /// The status lies in one of these ranges.
    Status(Box<[(u16, u16)]>),
    Address(AddressSet),
    User(Texts),
    Service(Texts),
    Path(Texts),
    /// Countries, in order.
    Country(Box<[[u8; 2]]>),
    /// Numbers of networks, in order.
    Asn(Box<[u32]>),
    Pattern(Patterns),
}

const _: () = assert!(Kind::ALL.len() <= 64);

/// A sighting while rules are asked about it: what costs a look-up is looked up once.
pub(super) struct Seen<'a> {
    facts: &'a Facts<'a>,
    geo: &'a Geo,
    origin: Cell<Option<Origin>>,
}

impl<'a> Seen<'a> {
    pub(super) const fn new(facts: &'a Facts<'a>, geo: &'a Geo) -> Self {
        Self { facts, geo, origin: Cell::new(None) }
    }

    fn origin(&self) -> Origin {
        self.origin.get().unwrap_or_else(|| {
            let origin = self.geo.find(self.facts.address);
            self.origin.set(Some(origin));
            origin
        })
    }
}

impl Condition {
    /// A condition that every one of these holds. What costs least is asked first.
    pub(super) fn all(conditions: Vec<Self>) -> Self {
        let mut flat = Vec::with_capacity(conditions.len());
        for condition in conditions {
            match condition {
                Self::All(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        flat.sort_by_key(Self::cost);
        match flat.len() {
            1 => flat.swap_remove(0),
            _ => Self::All(flat.into()),
        }
    }

    /// A condition that one of these holds.
    pub(super) fn any(mut conditions: Vec<Self>) -> Self {
        conditions.sort_by_key(Self::cost);
        match conditions.len() {
            1 => conditions.swap_remove(0),
            _ => Self::Any(conditions.into()),
        }
    }

    /// Whether it is always true.
    pub(super) fn is_always(&self) -> bool {
        matches!(self, Self::All(inner) if inner.is_empty())
    }

    /// The conditions that must all hold.
    pub(super) fn parts(&self) -> &[Self] {
        match self {
            Self::All(inner) => inner,
            other => std::slice::from_ref(other),
        }
    }

    /// The kinds that it can hold for, each a bit, as far as they are told by themselves.
    pub(super) fn kinds(&self) -> u64 {
        let told = |part: &Self| if let Self::Kind(kinds) = part { *kinds } else { u64::MAX };
        self.parts().iter().map(told).fold(u64::MAX, |all, kinds| all & kinds)
    }

    /// Whether somebody looks at this.
    pub(super) fn asks(&self, about: fn(&Self) -> bool) -> bool {
        match self {
            Self::All(inner) | Self::Any(inner) => inner.iter().any(|part| part.asks(about)),
            Self::Not(inner) => inner.asks(about),
            other => about(other),
        }
    }

    /// The names of filters it asks for.
    pub(super) fn filters<'a>(&'a self, into: &mut Vec<&'a str>) {
        match self {
            Self::All(inner) | Self::Any(inner) => inner.iter().for_each(|part| part.filters(into)),
            Self::Not(inner) => inner.filters(into),
            Self::Filter(names) => into.extend(names.iter().map(AsRef::as_ref)),
            _ => {}
        }
    }

    pub(super) fn holds(&self, seen: &Seen<'_>) -> Truth {
        let facts = seen.facts;
        match self {
            Self::All(inner) => {
                let mut least = Truth::Yes;
                for part in inner {
                    least = least.min(part.holds(seen));
                    if least == Truth::No {
                        break;
                    }
                }
                least
            }
            Self::Any(inner) => {
                let mut most = Truth::No;
                for part in inner {
                    most = most.max(part.holds(seen));
                    if most == Truth::Yes {
                        break;
                    }
                }
                most
            }
            Self::Not(inner) => inner.holds(seen).opposite(),
            Self::Kind(kinds) => (kinds & bit(facts.kind) != 0).into(),
            Self::Filter(names) => names.iter().any(|name| **name == *facts.filter).into(),
            Self::Status(ranges) => Truth::of(facts.status, |status| {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&status))
            }),
            Self::Address(set) => set.contains(facts.address).into(),
            Self::User(texts) => Truth::of(facts.user, |user| texts.fit(user)),
            Self::Service(texts) => Truth::of(facts.service, |service| texts.fit(service)),
            Self::Path(texts) => Truth::of(facts.path, |path| texts.fit(path)),
            Self::Country(codes) => {
                Truth::of(seen.origin().country, |country| codes.binary_search(&country).is_ok())
            }
            Self::Asn(numbers) => Truth::of(seen.origin().asn, |asn| numbers.binary_search(&asn).is_ok()),
            Self::Pattern(patterns) => patterns.fit(facts.line).into(),
        }
    }

    /// What it costs to ask, roughly in nanoseconds.
    fn cost(&self) -> u32 {
        match self {
            Self::Kind(_) => 1,
            Self::Status(_) => 2,
            Self::Filter(_) => 3,
            Self::Address(_) => 5,
            Self::User(_) | Self::Service(_) | Self::Path(_) => 10,
            Self::Country(_) | Self::Asn(_) => 200,
            Self::Pattern(_) => 400,
            Self::Not(inner) => inner.cost(),
            Self::All(inner) | Self::Any(inner) => inner.iter().map(Self::cost).fold(0, u32::saturating_add),
        }
    }
}

/// The bit of a kind.
pub(super) const fn bit(kind: Kind) -> u64 {
    1 << kind as u8
}
