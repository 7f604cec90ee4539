//! Names whose addresses are allowed: asked for in a thread of its own, as often as their answers end.
//!
//! A name says whom to let pass and never whom to ban. What a server does not tell leaves what was told before: an
//! address stays allowed until a good answer lacks it, or until it has not been heard of for too long.

use std::net::IpAddr;
use std::time::Duration;

mod client;
mod keeper;
pub(crate) mod message;
mod schedule;

pub use keeper::{Keeper, Wanted};

use message::Family;

/// How often a name is asked for, whatever its answer says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// No sooner than after this.
    pub least: Duration,
    /// No later than after this.
    pub most: Duration,
}

/// Addresses of one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The addresses; none if the name has none of this family.
    pub addresses: Vec<IpAddr>,
    /// For how long that holds; `None` if there are none.
    pub holds: Option<Duration>,
}

/// What was said of a name: of each family the addresses, or why they are not known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// IPv4.
    pub v4: Result<Found, String>,
    /// IPv6.
    pub v6: Result<Found, String>,
    /// Whether another server would say nothing else.
    is_final: bool,
}

impl Answer {
    /// These addresses of both families, that hold for so long.
    pub fn found(addresses: impl IntoIterator<Item = IpAddr>, holds: Duration) -> Self {
        let (v4, v6): (Vec<_>, Vec<_>) = addresses.into_iter().partition(IpAddr::is_ipv4);
        let found =
            |addresses: Vec<_>| Ok(Found { holds: (!addresses.is_empty()).then_some(holds), addresses });
        Self { v4: found(v4), v6: found(v6), is_final: false }
    }

    /// Nothing is known of either family.
    pub fn failed(because: &str) -> Self {
        Self { v4: Err(because.to_owned()), v6: Err(because.to_owned()), is_final: false }
    }

    /// Why it does not say all there is to know, if it does not. A name without an address of either family is one that
    /// somebody has misspelt or given up.
    pub fn failure(&self) -> Option<&str> {
        match (&self.v4, &self.v6) {
            (Err(because), _) | (_, Err(because)) => Some(because),
            (Ok(v4), Ok(v6)) => {
                (v4.addresses.is_empty() && v6.addresses.is_empty()).then_some("the name has no addresses")
            }
        }
    }

    /// For how long all of it holds, as far as it says so.
    fn holds(&self) -> Option<Duration> {
        let of = |found: &Result<Found, String>| found.as_ref().ok().and_then(|found| found.holds);
        of(&self.v4).into_iter().chain(of(&self.v6)).min()
    }

    const fn of(&self, family: Family) -> &Result<Found, String> {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }

    fn set(&mut self, family: Family, said: Result<Found, String>) {
        match family {
            Family::V4 => self.v4 = said,
            Family::V6 => self.v6 = said,
        }
    }
}
