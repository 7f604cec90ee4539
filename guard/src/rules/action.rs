//! What a rule does.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::limits::RateLimit;
use crate::config::units::show_duration;
use crate::sighting::Points;

/// One thing a rule does, and how often at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// What.
    pub does: Does,
    /// How often at most.
    pub limit: Option<RateLimit>,
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Does {
    /// The sighting gives no points. Logins it tells of protect all the same.
    Ignore,
    /// The sighting gives other points.
    Score(Scoring),
    /// The address is banned at once.
    Ban(Term),
    /// Events that the line leads to carry these words.
    Tag(Box<[Box<str>]>),
    /// An event and a warning in the log, with a text of the administrator's.
    Notify(Box<str>),
    /// A document is sent to a web server.
    Webhook(Webhook),
    /// A command is run.
    Run(Command),
}

/// How points change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scoring {
    /// To so many.
    Set(Points),
    /// By so many. What is left is never below zero.
    Add(Points),
}

/// For how long an address is banned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Term {
    /// As long as the ladder says of its strike.
    Ladder,
    /// So long; a repeat offender for no less than such are.
    Time(Duration),
    /// For good.
    ForGood,
}

impl Term {
    /// The length that the rule gives; `None` if it gives none, `Some(None)` for good.
    pub const fn length(self) -> Option<Option<Duration>> {
        match self {
            Self::Ladder => None,
            Self::Time(length) => Some(Some(length)),
            Self::ForGood => Some(None),
        }
    }
}

impl From<Option<Duration>> for Term {
    fn from(length: Option<Duration>) -> Self {
        length.map_or(Self::ForGood, Self::Time)
    }
}

/// A web server that is told the facts as a JSON document.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// Where. It may be a secret as a whole.
    pub url: Box<str>,
    /// A file with a header that proves who sends it.
    pub secret: Option<PathBuf>,
    /// A file with the certificates of the authorities that vouch for it (PEM), instead of those this machine trusts.
    pub ca: Option<PathBuf>,
    /// Whether it may be on this machine, or in its network.
    pub private: bool,
    /// After which time it is given up.
    pub timeout: Duration,
}

impl Webhook {
    /// How long a server may take where nothing else is said.
    pub const TIMEOUT: Duration = Duration::from_secs(10);

    /// What may be shown of where it goes.
    pub fn host(&self) -> &str {
        let rest = self.url.split_once("://").map_or(&*self.url, |(_, rest)| rest);
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        authority.rsplit_once('@').map_or(authority, |(_, host)| host)
    }
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("host", &self.host()).finish_non_exhaustive()
    }
}

/// A command that is run without a shell. The facts are in its environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The program's absolute path.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Box<[String]>,
    /// After which time it is killed, with every process it started that stayed in its group.
    pub timeout: Duration,
}

impl Command {
    /// How long a command may take where nothing else is said.
    pub const TIMEOUT: Duration = Duration::from_secs(10);
}

impl Scoring {
    /// The points after the change.
    pub fn apply(self, points: Points) -> Points {
        match self {
            Self::Set(points) => points,
            Self::Add(more) => Points(points.0.saturating_add(more.0).max(0)),
        }
    }
}

impl Does {
    /// The word in rules, counters and events.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ignore => "ignore",
            Self::Score(_) => "score",
            Self::Ban(_) => "ban",
            Self::Tag(_) => "tag",
            Self::Notify(_) => "notify",
            Self::Webhook(_) => "webhook",
            Self::Run(_) => "run",
        }
    }

    /// Whether it counts against an address. What can be forged must not.
    pub(super) const fn is_against(&self) -> bool {
        matches!(self, Self::Score(_) | Self::Ban(_))
    }

    /// How often at most where nothing else is said: whoever writes many lines must not make many processes or notices.
    pub(super) const fn usual_limit(&self) -> Option<RateLimit> {
        match self {
            Self::Notify(_) | Self::Webhook(_) | Self::Run(_) => Some(RateLimit::USUAL),
            Self::Ignore | Self::Score(_) | Self::Ban(_) | Self::Tag(_) => None,
        }
    }
}

/// In words: `ban for 1d`.
impl fmt::Display for Does {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Score(Scoring::Set(points)) => write!(f, "score {}", points.as_f64()),
            Self::Score(Scoring::Add(points)) => write!(f, "score {:+}", points.as_f64()),
            Self::Ban(Term::Ladder) => f.write_str("ban"),
            Self::Ban(Term::Time(length)) => write!(f, "ban for {}", show_duration(*length)),
            Self::Ban(Term::ForGood) => f.write_str("ban for good"),
            Self::Tag(tags) => write!(f, "tag {}", tags.join(", ")),
            Self::Webhook(webhook) => write!(f, "webhook {}", webhook.host()),
            Self::Run(command) => write!(f, "run {}", command.program.display()),
            Self::Ignore | Self::Notify(_) => f.write_str(self.name()),
        }
    }
}
