//! What the scanner saw: one line that says something about one address.

use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::time::Wall;

/// What a line says about its address. The word in filters, explanations, events and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum Kind {
    /// A wrong password.
    FailedPassword,
    /// A key that was not accepted.
    FailedKey,
    /// Another authentication that failed (PAM, GSSAPI, host-based …).
    FailedAuth,
    /// What a module of PAM says of an authentication that failed, where the program that asked PAM says so as well.
    FailedPam,
    /// An account that does not exist.
    InvalidUser,
    /// An account that exists but is refused by policy (`DenyUsers`, expired, locked …).
    RefusedUser,
    /// The server cut the connection because of too many attempts.
    TooManyAttempts,
    /// The peer closed before it had authenticated.
    PreauthClose,
    /// The peer did not authenticate in time.
    Timeout,
    /// A scanner's banner, or none.
    Scanner,
    /// Noise that no honest client sends: bad packets, impossible negotiations.
    Protocol,
    /// A request for what only an attacker looks for: a secret file, a console, a known hole.
    Probe,
    /// A client that names itself as an attacker's tool.
    BadAgent,
    /// A request the server could not make sense of.
    BadRequest,
    /// A request for what is not there.
    NotFound,
    /// The server's own limit was reached.
    Limited,
    /// Mail for others, or for accounts nobody has, was refused.
    Relay,
    /// Something whose sender can be forged: it came without a handshake. Never bans.
    Spoofable,
    /// guard itself, here or elsewhere, says that it has banned the address. What led to it has counted there.
    Recidive,
    /// A login with a key or certificate.
    KeyLogin,
    /// A key or certificate was accepted, and the server asks for something more. Alone it says nothing.
    PartialKey,
    /// A login with a password. Earns no trust.
    PasswordLogin,
    /// An authenticated session ended.
    SessionEnd,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 23] = [
        Self::FailedPassword,
        Self::FailedKey,
        Self::FailedAuth,
        Self::FailedPam,
        Self::InvalidUser,
        Self::RefusedUser,
        Self::TooManyAttempts,
        Self::PreauthClose,
        Self::Timeout,
        Self::Scanner,
        Self::Protocol,
        Self::Probe,
        Self::BadAgent,
        Self::BadRequest,
        Self::NotFound,
        Self::Limited,
        Self::Relay,
        Self::Spoofable,
        Self::Recidive,
        Self::KeyLogin,
        Self::PartialKey,
        Self::PasswordLogin,
        Self::SessionEnd,
    ];

    /// The kind as filters and people write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FailedPassword => "failed-password",
            Self::FailedKey => "failed-key",
            Self::FailedAuth => "failed-auth",
            Self::FailedPam => "failed-pam",
            Self::InvalidUser => "invalid-user",
            Self::RefusedUser => "refused-user",
            Self::TooManyAttempts => "too-many-attempts",
            Self::PreauthClose => "preauth-close",
            Self::Timeout => "timeout",
            Self::Scanner => "scanner",
            Self::Protocol => "protocol",
            Self::Probe => "probe",
            Self::BadAgent => "bad-agent",
            Self::BadRequest => "bad-request",
            Self::NotFound => "not-found",
            Self::Limited => "limited",
            Self::Relay => "relay",
            Self::Spoofable => "spoofable",
            Self::Recidive => "recidive",
            Self::KeyLogin => "key-login",
            Self::PartialKey => "partial-key",
            Self::PasswordLogin => "password-login",
            Self::SessionEnd => "session-end",
        }
    }

    /// Points a filter gives for this kind unless its pattern says otherwise.
    pub const fn default_points(self) -> Points {
        match self {
            Self::FailedPassword
            | Self::FailedKey
            | Self::FailedAuth
            | Self::FailedPam
            | Self::InvalidUser
            | Self::RefusedUser
            | Self::TooManyAttempts
            | Self::Scanner
            | Self::Protocol
            | Self::Probe
            | Self::BadAgent
            | Self::Relay => Points(1000),
            Self::BadRequest | Self::Limited => Points(500),
            Self::PreauthClose => Points(200),
            Self::Timeout | Self::NotFound => Points(100),
            Self::Spoofable
            | Self::Recidive
            | Self::KeyLogin
            | Self::PartialKey
            | Self::PasswordLogin
            | Self::SessionEnd => Points(0),
        }
    }

    /// Whether somebody tried to get in and failed.
    pub const fn is_guess(self) -> bool {
        matches!(
            self,
            Self::FailedPassword
                | Self::FailedKey
                | Self::FailedAuth
                | Self::FailedPam
                | Self::InvalidUser
                | Self::RefusedUser
                | Self::TooManyAttempts
        )
    }

    /// Whether this speaks for its address, or at least not against it.
    pub const fn is_benign(self) -> bool {
        matches!(self, Self::KeyLogin | Self::PartialKey | Self::PasswordLogin | Self::SessionEnd)
    }
}

impl FromStr for Kind {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or(())
    }
}

/// Points towards a ban, in thousandths: exact, and the same on every machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Points(pub i32);

impl Points {
    /// From a number as people write it; `None` unless it is within ±1,000,000.
    pub fn from_f64(points: f64) -> Option<Self> {
        (points.is_finite() && points.abs() <= 1e6).then(|| Self((points * 1000.0).round() as i32))
    }

    /// As people write it.
    pub fn as_f64(self) -> f64 {
        f64::from(self.0) / 1000.0
    }
}

/// Which source a line came from: an index into the daemon's list of sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(pub u16);

/// Which pattern matched: a filter of the loaded set, and a pattern of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PatternId {
    /// Index of the filter in the loaded set.
    pub filter: u16,
    /// Index of the pattern in the filter.
    pub pattern: u16,
}

/// One line that says something about one address. Borrows the source's bytes: everything in them is an
/// attacker's text and is data only (see [`crate::encode`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting<'a> {
    /// When the line says it happened; `None` if it has no readable stamp.
    pub at: Option<Wall>,
    /// The peer, canonical.
    pub address: IpAddr,
    /// What happened.
    pub kind: Kind,
    /// Points towards a ban.
    pub points: Points,
    /// The pattern that matched.
    pub pattern: PatternId,
    /// Process that wrote the line, 0 if unknown. With `port` it tells one attempt from the next.
    pub pid: u32,
    /// The peer's port, 0 if the line does not say.
    pub port: u16,
    /// The account that was tried.
    pub account: Option<&'a [u8]>,
    /// Name of the program that wrote the line; empty if the line does not say.
    pub service: &'a [u8],
    /// What was asked of a web server, if the line is of an access log.
    pub request: Option<Request<'a>>,
    /// The whole line, without its newline: the evidence.
    pub line: &'a [u8],
}

/// What a line of an access log tells of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request<'a> {
    /// Its target without the query, as it was sent.
    pub path: Option<&'a [u8]>,
    /// The status of the answer.
    pub status: Option<u16>,
}

/// What takes sightings.
pub trait Take {
    /// This sighting comes soon, after others perhaps. It changes nothing but how fast it can be taken.
    #[inline(always)]
    fn expect(&self, _sighting: &Sighting<'_>) {}

    /// Takes a sighting.
    fn take(&mut self, sighting: &Sighting<'_>);
}
