//! Enforcers make the kernel equal to the ban table, and prove it.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ban::{BanId, BanTable};
use crate::target::Target;
use crate::time::Moment;

pub mod nftables;
mod observe;
mod pair;
mod select;
mod xdp;

pub use nftables::{Nftables, nftables_remove};
pub use observe::Observe;
pub use pair::Pair;
pub use select::{is_wanted, select};
pub use xdp::{Xdp, XdpOptions};

/// What holds the bans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// XDP programs and maps.
    Xdp,
    /// An nftables table.
    Nftables,
    /// Nothing: what would be done is recorded only.
    Observe,
}

impl Backend {
    /// The word in configuration, status and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Xdp => "xdp",
            Self::Nftables => "nftables",
            Self::Observe => "observe",
        }
    }
}

/// One step from the kernel's present set to the desired one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Drop a target until the deadline. Replaces the deadline of a target that is there already; its counters go on.
    Ban {
        /// What to drop.
        target: Target,
        /// Identity of the ban.
        id: BanId,
        /// When it ends, `None` for good.
        until: Option<Moment>,
    },
    /// Stop dropping exactly this target.
    Unban(Target),
    /// Let this target pass whatever ban covers it.
    Allow(Target),
    /// Take an allowance back.
    Disallow(Target),
}

/// Everything the kernel should hold.
#[derive(Clone, Copy, Debug)]
pub struct Desired<'a> {
    /// The bans.
    pub bans: &'a BanTable,
    /// The allowlist and every protected address.
    pub allowed: &'a [Target],
    /// The time.
    pub now: Moment,
}

/// What a reconciliation found and put right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// Bans that were missing and were put back.
    pub missing: u64,
    /// Entries that nobody wanted and were removed.
    pub foreign: u64,
    /// Bans whose deadline was wrong.
    pub changed: u64,
    /// Attachments, tables or chains that were gone and are back.
    pub attachments: u64,
}

impl Drift {
    /// Adds what another reconciliation found.
    pub fn add(&mut self, other: &Self) {
        self.missing += other.missing;
        self.foreign += other.foreign;
        self.changed += other.changed;
        self.attachments += other.attachments;
    }

    /// Whether the kernel was equal to the desired set.
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// What the kernel does with packets from an address, read from the live map or set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Whether its packets are dropped now on every covered interface.
    pub dropped: bool,
    /// The entry that covers it, widest last.
    pub entries: Vec<LiveEntry>,
    /// The allowance that lets it pass in spite of a ban.
    pub allowed_by: Option<Target>,
}

/// A ban as the kernel holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveEntry {
    /// The target.
    pub target: Target,
    /// Identity of the ban. Where the backend keeps none it says only whether the ban was forced.
    pub id: u64,
    /// Seconds until it ends; `None` for good. 0 if it has ended and awaits its sweep.
    pub seconds_left: Option<u64>,
    /// Packets dropped; `None` where the backend does not count by ban.
    pub packets: Option<u64>,
    /// Bytes dropped.
    pub bytes: Option<u64>,
}

impl LiveEntry {
    /// Whether it drops for longer than until then. Its end is known to the second only, rounded up.
    pub fn outlasts(&self, until: Option<Moment>, now: Moment) -> bool {
        let second = Duration::from_secs(1);
        match (self.seconds_left, until) {
            (None, until) => until.is_some(),
            (Some(left), Some(until)) => now + Duration::from_secs(left) > until + second,
            (Some(_), None) => false,
        }
    }
}

/// How one interface is covered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceStatus {
    /// Its name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// `native`, `generic`, `nftables`, or `none`.
    pub mode: String,
    /// Why it is not native, in words; empty if it is.
    pub reason: String,
}

/// How a backend is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnforcerStatus {
    /// The backend in use: `xdp`, `nftables` or `observe`.
    pub backend: String,
    /// Why it is not the one that was asked for or would be best; empty if it is.
    pub reason: String,
    /// The covered interfaces, and the uncovered with the reason.
    pub interfaces: Vec<InterfaceStatus>,
    /// Entries and capacity of each map or set.
    pub maps: Vec<MapStatus>,
}

/// How full a map or set is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapStatus {
    /// Its name.
    pub name: String,
    /// Entries in it.
    pub entries: u64,
    /// Entries it can take without growing; 0 if it has no bound.
    pub capacity: u64,
}

/// A part of what the kernel holds and the ban table does not, or not for as long: see [`Enforcer::unknown`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unknown {
    /// The entries, in no particular order.
    pub entries: Vec<LiveEntry>,
    /// Whether there is more to look at.
    pub more: bool,
}

/// Packets counted by the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// By reason of the verdict ([`guard_common::Reason::name`]), over all interfaces.
    pub reasons: Vec<(String, u64, u64)>,
    /// Drops by interface and reason: interface, reason, packets, bytes.
    pub drops: Vec<(String, String, u64, u64)>,
}

/// Why the kernel could not be changed or read.
#[derive(Debug, Error)]
pub enum EnforceError {
    /// The system refused; trying again may help.
    #[error("{operation} failed")]
    Transient {
        /// What was tried, with the object's name.
        operation: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// guard may not do this here.
    #[error("{operation} is not permitted: {hint}")]
    Permission {
        /// What was tried.
        operation: String,
        /// The way out.
        hint: String,
    },
    /// This backend does not work on this machine.
    #[error("{backend} cannot be used: {reason}")]
    Unavailable {
        /// The backend's name.
        backend: &'static str,
        /// Why, and the way out.
        reason: String,
    },
}

/// What is known of the bans that a backend held when it was taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// There are some, and nobody has looked at them.
    Unread,
    /// They are being read, so what is new to the ban table now may be missed by that: it is written at once.
    BeingRead,
    /// There were none, or all have been looked at.
    Known,
}

/// Of what the kernel holds, what the ban table does not, or not for as long.
fn unknown_of(mut held: Vec<LiveEntry>, desired: Desired<'_>) -> Vec<LiveEntry> {
    held.retain(|entry| {
        desired.bans.get(entry.target).is_none_or(|ban| entry.outlasts(ban.until, desired.now))
    });
    held
}

/// Makes the kernel equal to the ban table. Owned by the engine's thread: calls are made one after the other.
pub trait Enforcer: Send + std::fmt::Debug {
    /// Which backend this is.
    fn backend(&self) -> Backend;

    /// Applies changes in order, as one transaction as far as the backend can. After an error the caller
    /// reconciles: nothing is dropped silently.
    fn apply(&mut self, changes: &[Change]) -> Result<(), EnforceError>;

    /// Bans that come in numbers, as the store gives them back at the start or a feed lists them, each new to the ban
    /// table; about `to_come` more will follow. What the kernel is likely to hold still after a start may be left to
    /// [`Self::unknown`], which sees to what is missing.
    fn restore(&mut self, bans: &[Change], to_come: u64) -> Result<(), EnforceError> {
        let _ = to_come;
        self.apply(bans)
    }

    /// Whether so many more bans can be written without waiting for room to be made. If not, it is made meanwhile: ask
    /// again soon.
    fn has_room(&mut self, bans: usize) -> bool {
        let _ = bans;
        true
    }

    /// Compares the live state with the desired one and puts right what differs, attachments included.
    fn reconcile(&mut self, desired: Desired<'_>) -> Result<Drift, EnforceError>;

    /// As [`Self::reconcile`], in parts of a few milliseconds where a backend can: `None` until it is done. What is
    /// desired may change between the parts if [`Self::apply`] is told of it.
    fn reconcile_part(&mut self, desired: Desired<'_>) -> Result<Option<Drift>, EnforceError> {
        self.reconcile(desired).map(Some)
    }

    /// Looks at the attachments alone and makes good what is missing, such as on an interface that has appeared, for as
    /// long as nothing may be compared; how many there were.
    fn attach(&mut self) -> Result<u64, EnforceError> {
        Ok(0)
    }

    /// The bans the kernel holds now, in no particular order.
    fn live(&mut self) -> Result<Vec<LiveEntry>, EnforceError>;

    /// What the kernel holds and the ban table does not, or not for as long, in parts as [`Self::reconcile_part`]: what
    /// a start adopts. Takes nothing out of the kernel; what the caller does not want to keep it has to unban.
    fn unknown(&mut self, desired: Desired<'_>) -> Result<Unknown, EnforceError> {
        Ok(Unknown { entries: unknown_of(self.live()?, desired), more: false })
    }

    /// What happens to packets from `address`, read from the kernel now.
    fn check(&mut self, address: IpAddr, now: Moment) -> Result<Verdict, EnforceError>;

    /// Interfaces, modes and maps.
    fn status(&mut self) -> EnforcerStatus;

    /// The kernel's counters.
    fn counters(&mut self) -> Result<Counters, EnforceError>;

    /// Takes everything out of the kernel that this backend put there, pins included.
    fn remove(&mut self) -> Result<(), EnforceError>;
}
