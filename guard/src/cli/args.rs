//! guardctl's commands and options.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::ban::{BanQuery, Family, Sort};
use crate::config::units;
use crate::scan::Mode;
use crate::store::EventQuery;
use crate::target::{Allowable, Target};
use crate::time::Wall;

/// Where the configuration is unless `--config` says otherwise.
pub const CONFIG: &str = "/etc/guard/guard.toml";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "guardctl",
    version,
    about = "See and steer guard: who is dropped, why, and until when",
    max_term_width = 100,
    after_help = "Examples:
  guardctl status
  guardctl check 203.0.113.7
  guardctl ban 203.0.113.0/24 --for 1h --reason \"port scan\"
  guardctl why 203.0.113.7

Exit codes: 0 done, 1 failed, 2 wrong use, 3 daemon not reachable."
)]
pub struct Cli {
    /// Control socket of the daemon [default: what the configuration says, else /run/guard/guard.sock]
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// Configuration file [default: /etc/guard/guard.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print JSON for scripts
    #[arg(long, global = true)]
    pub json: bool,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// When colours are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show how guard is doing
    #[command(after_help = "Example:\n  guardctl status --json | jq .problems")]
    Status,
    /// Ban addresses or prefixes
    #[command(after_help = "Examples:
  guardctl ban 203.0.113.7
  guardctl ban 203.0.113.0/24 2001:db8::/64 --for 2d --reason \"abuse report 1234\"
  guardctl ban 203.0.113.7 --for permanent")]
    Ban(Ban),
    /// Lift bans
    #[command(after_help = "Examples:\n  guardctl unban 203.0.113.7 2001:db8::/64\n  guardctl unban --all")]
    Unban(Unban),
    /// List the bans
    #[command(after_help = "Examples:
  guardctl list --sort until --limit 20
  guardctl list --origin sshd --within 203.0.113.0/24
  guardctl list --permanent --json | jq -r '.[].target'")]
    List(List),
    /// Ask the kernel whether packets from an address are dropped
    #[command(after_help = "The exit code is 0 whenever the question was answered, whatever the answer.

Examples:
  guardctl check 203.0.113.7
  guardctl check 203.0.113.7 --json | jq .verdict.dropped")]
    Check {
        /// The address
        address: IpAddr,
    },
    /// Show or change what is never banned
    #[command(subcommand)]
    Allow(Allow),
    /// Show everything guard knows about an address or prefix
    #[command(after_help = "Example:\n  guardctl why 203.0.113.7")]
    Why {
        /// The address or prefix
        target: Target,
    },
    /// Forget strikes and score of addresses or prefixes
    #[command(after_help = "Bans that stand go on; `guardctl unban` lifts them and forgets as well.

Example:
  guardctl forget 203.0.113.7")]
    Forget {
        /// Addresses or CIDR prefixes
        #[arg(required = true, value_name = "TARGET")]
        targets: Vec<Target>,
    },
    /// Show what happened lately
    #[command(after_help = "Examples:
  guardctl events --limit 100
  guardctl events --kind ban,unban --since 24h
  guardctl events --target 203.0.113.0/24 --since 2026-11-20T08:00:00Z
  guardctl events --follow")]
    Events(Events),
    /// Show or steer the feeds: lists of addresses that others keep
    #[command(subcommand)]
    Feed(Feed),
    /// Show what guard makes of log lines, and why
    #[command(
        after_help = "Works without the daemon and without privileges. Every filter and every mode is tried unless named.

Examples:
  guardctl explain 'Nov  1 00:00:00 web1 sshd[7]: Invalid user x from 203.0.113.7 port 4711'
  tail -n 100 /var/log/auth.log | guardctl explain --json -"
    )]
    Explain {
        /// Try this filter only
        #[arg(long, value_name = "NAME")]
        filter: Option<String>,
        /// Try the patterns of this mode only
        #[arg(long, value_name = "MODE")]
        mode: Option<Mode>,
        /// The lines; `-` or none: standard input
        #[arg(value_name = "LINE", allow_hyphen_values = true)]
        lines: Vec<String>,
    },
    /// Show the filters, or try one
    #[command(subcommand)]
    Filter(Filter),
    /// Show the rules, or try them on log lines
    #[command(subcommand)]
    Rule(Rule),
    /// Show which bans old logs would have led to
    #[command(
        after_help = "Works without the daemon, on the logs' own time stamps. A ban is marked if its target \
logged in further on in the logs. With --against the answer is what the other configuration would add (+), drop (-) \
or change in length (~).

Examples:
  guardctl replay /var/log/auth.log
  guardctl replay /var/log/journal/*/system@*.journal
  zcat /var/log/auth.log.2.gz | guardctl replay --json -
  guardctl replay --against stricter.toml /var/log/auth.log.1 /var/log/auth.log
  guardctl replay --threads 1 /srv/old/auth.log"
    )]
    Replay(Replay),
    /// Read the configuration again; a wrong one changes nothing
    Reload,
    /// Check or show the configuration
    #[command(subcommand)]
    Config(Config),
    /// Look for what keeps guard from working here, with the way out
    #[command(after_help = "Works without the daemon. The exit code is 1 if anything fails.")]
    Doctor,
    /// Take everything guard put in place out of the kernel, at once
    #[command(
        after_help = "All bans stop being enforced until the daemon is started or reloaded. Without a daemon, or
with --offline, guardctl does it itself.

Examples:
  guardctl unlock
  guardctl unlock --offline"
    )]
    Unlock {
        /// Do not ask the daemon
        #[arg(long)]
        offline: bool,
    },
    /// Print a script that completes guardctl's arguments
    #[command(after_help = "Examples:
  guardctl completions bash > /etc/bash_completion.d/guardctl
  guardctl completions fish > ~/.config/fish/completions/guardctl.fish")]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// `guardctl ban`.
#[derive(Debug, Args)]
pub struct Ban {
    /// Addresses or CIDR prefixes
    #[arg(required = true, value_name = "TARGET")]
    pub targets: Vec<Target>,
    /// How long: 90s, 10m, 1h, 30d, or permanent [default: the first step of the ladder]
    #[arg(long = "for", value_name = "TIME", value_parser = length)]
    pub length: Option<Length>,
    /// Why, as status and list show it
    #[arg(long, value_name = "TEXT", value_parser = remark)]
    pub reason: Option<String>,
    /// Ban what is allowed or protected too: all but loopback and your own session. The event says so
    #[arg(long)]
    pub force: bool,
}

/// `guardctl list`.
#[derive(Debug, Args)]
pub struct List {
    /// Only bans that this filter led to; `manual`: those by hand
    #[arg(long, value_name = "NAME", visible_alias = "filter")]
    pub origin: Option<String>,
    /// Only bans of this family
    #[arg(long)]
    pub family: Option<Family>,
    /// Only bans of targets that lie in this prefix
    #[arg(long, value_name = "CIDR")]
    pub within: Option<Target>,
    /// Only bans that end within this time: 10m, 1h, 2d
    #[arg(long, value_name = "TIME", value_parser = units::duration)]
    pub ends_within: Option<Duration>,
    /// Only bans without an end
    #[arg(long, conflicts_with = "ends_within")]
    pub permanent: bool,
    /// Only bans in their target's Nth strike or a later one
    #[arg(long, value_name = "N")]
    pub strike: Option<u32>,
    /// The order
    #[arg(long, value_name = "BY", default_value = "target")]
    pub sort: Sort,
    /// The last first
    #[arg(long)]
    pub reverse: bool,
    /// Show at most this many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: Option<u32>,
}

impl List {
    /// Which bans are asked for.
    pub(super) fn query(&self) -> BanQuery {
        BanQuery {
            origin: self.origin.clone(),
            family: self.family,
            within: self.within,
            ends_within: self.ends_within.map(|time| time.as_secs()),
            permanent: self.permanent,
            strike: self.strike,
            sort: self.sort,
            reverse: self.reverse,
        }
    }
}

/// `guardctl events`.
#[derive(Debug, Args)]
pub struct Events {
    /// Only events of these kinds: ban, unban, expire, refuse …
    #[arg(long = "kind", value_name = "KIND", value_delimiter = ',')]
    pub kinds: Vec<String>,
    /// Only events about this address or prefix, what it covers and what covers it
    #[arg(long, value_name = "TARGET")]
    pub target: Option<Target>,
    /// Not older than this: a time ago (2h, 7d) or a date (2026-11-20T08:00:00Z)
    #[arg(long, value_name = "TIME", value_parser = past)]
    pub since: Option<Wall>,
    /// Older than this
    #[arg(long, value_name = "TIME", value_parser = past)]
    pub until: Option<Wall>,
    /// Show at most this many, the newest
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
    /// Go on showing what happens; with --json one object a line
    #[arg(long, conflicts_with = "until")]
    pub follow: bool,
}

impl Events {
    /// Which events are asked for at first.
    pub(super) fn query(&self) -> EventQuery {
        EventQuery {
            kinds: self.kinds.clone(),
            target: self.target,
            since: self.since,
            until: self.until,
            limit: self.limit as usize,
            ..EventQuery::default()
        }
    }
}

/// A time in the past: how long ago, or when.
fn past(text: &str) -> Result<Wall, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let ago = units::duration(text)
        .map_err(|_| "write how long ago, like 90m or 7d, or when, like 2026-11-20T08:00:00Z".to_owned())?;
    Ok(Wall(Wall::now().0.saturating_sub(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX))))
}

/// `guardctl unban`.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Unban {
    /// Addresses or CIDR prefixes, exactly as they were banned
    #[arg(value_name = "TARGET")]
    pub targets: Vec<Target>,
    /// Lift every ban
    #[arg(long)]
    pub all: bool,
}

/// `guardctl allow`.
#[derive(Debug, Subcommand)]
pub enum Allow {
    /// Allow addresses, prefixes, or the addresses that names have; kept over restarts
    #[command(
        after_help = "Example:\n  guardctl allow add 198.51.100.7 --for 8h --comment \"contractor\"\n  guardctl allow add vpn.example.org"
    )]
    Add {
        /// Addresses, CIDR prefixes or names
        #[arg(required = true, value_name = "TARGET")]
        targets: Vec<Allowable>,
        /// How long [default: for good]
        #[arg(long = "for", value_name = "TIME", value_parser = length)]
        length: Option<Length>,
        /// Why
        #[arg(long, value_name = "TEXT", value_parser = remark)]
        comment: Option<String>,
    },
    /// Take allowances back that were added here
    Remove {
        /// Addresses, CIDR prefixes or names
        #[arg(required = true, value_name = "TARGET")]
        targets: Vec<Allowable>,
    },
    /// List what is allowed or protected, and why
    List,
}

/// `guardctl feed`.
#[derive(Debug, Subcommand)]
pub enum Feed {
    /// List the feeds, with how old and how large they are
    List,
    /// Show everything about a feed: what of it is rubbish, too wide or protected
    Show {
        /// Its name
        name: String,
    },
    /// Fetch a feed now, or all
    #[command(after_help = "Examples:\n  guardctl feed refresh\n  guardctl feed refresh spamhaus")]
    Refresh {
        /// Its name [default: all]
        name: Option<String>,
    },
    /// Take the new list of a feed that lost so much that guard kept the old one
    Accept {
        /// Its name
        name: String,
    },
}

/// `guardctl filter`.
#[derive(Debug, Subcommand)]
pub enum Filter {
    /// List the filters there are
    List,
    /// Show what is in a filter
    Show {
        /// Its name
        name: String,
    },
    /// Check a filter, and try it on a corpus or on logs
    #[command(after_help = "The exit code is 1 if a case of the corpus comes out wrong.

Examples:
  guardctl filter test /etc/guard/filters.d/app.toml /var/log/app.log
  guardctl filter test app.toml --corpus app-corpus.toml")]
    Test(FilterTest),
}

/// `guardctl filter test`.
#[derive(Debug, Args)]
pub struct FilterTest {
    /// A filter's file, or the name of one in use
    pub filter: String,
    /// Lines with what the filter must make of them
    #[arg(long, value_name = "FILE")]
    pub corpus: Option<PathBuf>,
    /// Try the patterns of this mode only
    #[arg(long, value_name = "MODE")]
    pub mode: Option<Mode>,
    /// Logs whose lines are counted by pattern
    #[arg(value_name = "LOG")]
    pub logs: Vec<PathBuf>,
}

/// `guardctl rule`.
#[derive(Debug, Subcommand)]
pub enum Rule {
    /// List the rules in the order they are asked
    List,
    /// Show what the rules do about log lines; `-` or none: from standard input
    #[command(after_help = "Example:\n  grep sshd /var/log/auth.log | guardctl rule test -")]
    Test {
        /// Log lines
        #[arg(value_name = "LINE", allow_hyphen_values = true)]
        lines: Vec<String>,
    },
}

/// `guardctl replay`.
#[derive(Debug, Args)]
pub struct Replay {
    /// Compare with this configuration
    #[arg(long, value_name = "OTHER.toml")]
    pub against: Option<PathBuf>,
    /// Read each log with so many threads; what comes of it is the same [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub threads: Option<u8>,
    /// Read the logs as this service's own files, wherever they are; may be repeated [default: filters that have the
    /// path among their files read it alone, and all filters what is nobody's]
    #[arg(long, value_name = "NAME")]
    pub filter: Vec<String>,
    /// The logs, in the order they were written, files of the systemd journal too; `-`: standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// `guardctl config`.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Say what is wrong with a configuration
    Check {
        /// The file [default: --config]
        file: Option<PathBuf>,
    },
    /// Show the configuration in force, defaults included
    Show {
        /// The file [default: --config]
        file: Option<PathBuf>,
    },
}

/// How long something is to last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// For so many seconds.
    Seconds(u64),
    /// For good.
    Permanent,
}

impl Length {
    /// As [`crate::api::Request::Ban`] has it: 0 is for good.
    pub fn for_ban(self) -> u64 {
        match self {
            Self::Seconds(seconds) => seconds,
            Self::Permanent => 0,
        }
    }

    /// As [`crate::api::Request::AllowAdd`] has it: nothing is for good.
    pub fn for_allowance(self) -> Option<u64> {
        match self {
            Self::Seconds(seconds) => Some(seconds),
            Self::Permanent => None,
        }
    }
}

/// A hundred years: what is longer is meant to be for good.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 86_400);

fn length(text: &str) -> Result<Length, String> {
    if matches!(text, "permanent" | "0") {
        return Ok(Length::Permanent);
    }
    match units::duration(text)? {
        length if length < Duration::from_secs(1) => Err("it must last at least a second".into()),
        length if length > LONGEST => Err("that is too long; write `permanent` for good".into()),
        length => Ok(Length::Seconds(length.as_secs())),
    }
}

/// Characters of a reason or comment.
const REMARK: usize = 200;

fn remark(text: &str) -> Result<String, String> {
    if text.chars().count() > REMARK {
        return Err(format!("at most {REMARK} characters"));
    }
    if text.chars().any(char::is_control) {
        return Err("control characters are not allowed".into());
    }
    Ok(text.to_owned())
}
