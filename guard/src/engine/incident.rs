//! What people should know of, though nobody is banned for it, or not only.

use std::net::IpAddr;

use crate::sighting::PatternId;
use crate::time::Moment;

/// Something that was noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incident {
    /// What.
    pub trouble: Trouble,
    /// The address it is about, if it is about one.
    pub address: Option<IpAddr>,
    /// The account it is about, as a line had it: an attacker's text.
    pub account: Option<Box<[u8]>>,
    /// When the line that tipped it happened.
    pub at: Moment,
    /// The pattern of that line.
    pub pattern: PatternId,
    /// Whether that line tells of a login that nobody vouches for: a local user may have written it, as often as he likes.
    pub is_doubted: bool,
}

/// What can be noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// An address guesses so slowly that its points leak away in between.
    SlowGuessing {
        /// Guesses of the last day.
        guesses: u32,
    },
    /// Many accounts were tried from an address that honest users log in from.
    ManyAccounts {
        /// Different accounts.
        accounts: u32,
    },
    /// Many addresses try one account.
    AccountUnderAttack {
        /// Different addresses.
        addresses: u32,
    },
    /// A password was right after many that were wrong.
    SuccessAfterFailures {
        /// Guesses from that address within the last day.
        guesses: u32,
        /// Addresses that tried the account lately.
        addresses: u32,
    },
}

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing.
    Notice,
    /// Worth looking at.
    Warning,
    /// Somebody may have got in.
    Critical,
}

impl Trouble {
    /// The word in events and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SlowGuessing { .. } => "slow-guessing",
            Self::ManyAccounts { .. } => "many-accounts",
            Self::AccountUnderAttack { .. } => "account-under-attack",
            Self::SuccessAfterFailures { .. } => "success-after-failures",
        }
    }

    /// How much it matters.
    pub const fn severity(self) -> Severity {
        match self {
            Self::SlowGuessing { .. } => Severity::Notice,
            Self::ManyAccounts { .. } | Self::AccountUnderAttack { .. } => Severity::Warning,
            Self::SuccessAfterFailures { .. } => Severity::Critical,
        }
    }
}

impl Severity {
    /// The word in events and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}
