//! The configuration: a validated value in which nothing is optional by accident.
//!
//! [`load()`] reads `guard.toml` and answers either a [`Config`] or an error that names file, line, key and the
//! nearest known key, for everything that is wrong at once. Each option is declared in one list (`settings`) with
//! its shape; reading, showing, comparing and the test that holds `config/guard.toml` to the defaults go through it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::rules::Rule;
use crate::sighting::Points;
use crate::time::Wall;

mod allowance;
mod error;
mod feed;
mod load;
mod settings;
pub(crate) mod shape;
mod show;
#[cfg(test)]
mod tests;
pub mod units;

pub use allowance::{Allowance, MAX_NAMES};
pub use error::{ConfigError, Fault};
pub(crate) use feed::Url;
pub use feed::{Feed, FeedAction, FeedSource};
#[cfg(feature = "geo")]
pub(crate) use load::read_bytes;
pub(crate) use load::writable_by_others;
pub(crate) use load::{did_you_mean, did_you_mean_or_known, nearest, read_text};
pub use load::{load, load_readable, parse};

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Config {
    /// Folders.
    pub paths: Paths,
    /// What is read.
    pub source: Sources,
    /// Filters.
    pub filter: Filters,
    /// What leads to a ban.
    pub decide: Decide,
    /// The rules of the file, in their order. More stand in the folder [`Decide::rules`].
    pub rules: Vec<Arc<Rule>>,
    /// What is never banned.
    pub allow: Allow,
    /// Lists of addresses that others keep. Default none.
    pub feed: Vec<Feed>,
    /// How bans are enforced.
    pub enforce: Enforce,
    /// The store.
    pub store: StoreOptions,
    /// The control socket.
    pub api: Api,
    /// The Prometheus endpoint.
    pub metrics: Metrics,
    /// The daemon's own log.
    pub log: Log,
}

/// Folders. Tests override them to run many daemons at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    /// Durable state. Default `/var/lib/guard`.
    pub state: PathBuf,
    /// Socket and lock. Default `/run/guard`.
    pub run: PathBuf,
    /// Mounted bpffs under which the pins live in `v<ABI>/`. Default `/sys/fs/bpf/guard`.
    pub bpffs: PathBuf,
}

/// What is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sources {
    /// Whether authentication messages are taken from the journal. Default `auto`: from the journal if something was
    /// written to it since the machine started, and then not from the files of [`Sources::files`] that are marked
    /// [`FileSource::journal_copy`].
    pub journald: Journald,
    /// Folders with journal files. Default `/var/log/journal` and `/run/log/journal`.
    pub journal_paths: Vec<PathBuf>,
    /// Files. Default what syslog daemons write of services in two families of distributions, all copies of what the
    /// journal has; of these, those that are there are enough ([`Self::is_other_name`]).
    pub files: Vec<FileSource>,
    /// Whether services' own log files are read where filters say they usually are. Default `true`.
    pub service_files: bool,
    /// How much of a file that has no saved position is read at first start, from its end. Default 0 bytes.
    /// Old lines count with the time they happened at.
    pub read_back: u64,
}

/// Whether the journal is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Journald {
    /// If there is one.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// A log file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSource {
    /// Its path.
    pub path: PathBuf,
    /// Whether a syslog daemon writes into it what the journal has too.
    pub journal_copy: bool,
    /// The filters that read it, as one of their service's own files. None: it is a syslog file.
    pub filters: Vec<String>,
}

/// Filters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filters {
    /// Folder with the administrator's filters, which override shipped ones by name. Default `/etc/guard/filters.d`.
    pub folder: PathBuf,
    /// Which filters are in use. Default all: a filter whose service is not there costs nothing.
    pub enable: Enabled,
    /// Filters that are not in use all the same. Default none.
    pub disable: Vec<String>,
    /// Which patterns of a filter are used: `normal`, `ddos`, `extra`, `aggressive`. Default `normal`.
    pub mode: crate::scan::Mode,
}

impl Filters {
    /// Whether a filter of this name is in use.
    pub fn uses(&self, name: &str) -> bool {
        let enabled = match &self.enable {
            Enabled::All => true,
            Enabled::Named(names) => names.iter().any(|known| known == name),
        };
        enabled && !self.disable.iter().any(|known| known == name)
    }

    /// The filters that are named.
    pub fn named(&self) -> impl Iterator<Item = &String> {
        let enabled = match &self.enable {
            Enabled::All => &[][..],
            Enabled::Named(names) => names,
        };
        enabled.iter().chain(&self.disable)
    }
}

/// Which filters are in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enabled {
    /// Every shipped one and the administrator's own.
    All,
    /// These.
    Named(Vec<String>),
}

/// What leads to a ban.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decide {
    /// Points that lead to a ban. Default 5.
    pub threshold: Points,
    /// Time over which a full score leaks away: one point each `window / threshold`. Default 10 minutes.
    pub window: Duration,
    /// Length of the first, second … ban of a target; the last goes on. `None` is for good. Default 1 h, 1 d, 30 d.
    pub ladder: Vec<Option<Duration>>,
    /// Random extra time as a share of the length, so that bans do not end together. Default 0.1.
    pub jitter_permille: u32,
    /// Quiet time after which one strike is forgiven. Default 30 d.
    pub forgive_after: Duration,
    /// Sources tracked at most. The lowest scores make room, counted. Default 200,000.
    pub max_sources: usize,
    /// Accounts nobody has here, whose use bans at once. Default none.
    pub decoys: Vec<String>,
    /// Bans at most; those of feeds make room first, then the ones that end first; manual ones are spared. Default 2,000,000.
    pub max_bans: usize,
    /// Folder with files of rules, which are asked after those of this file. Default `/etc/guard/rules.d`.
    pub rules: PathBuf,
    /// Databases in `MaxMind`'s format, for what rules ask about country and network. Default none.
    pub geo: Vec<PathBuf>,
    /// Points that each earlier ban, until it is forgiven, takes off the threshold, down to 2. Default 1.
    pub known_offender: Points,
    /// Bans of a target within a day that make it a repeat offender. Default 5; 0: never.
    pub recidive_bans: usize,
    /// How long a repeat offender is banned at least. Default 7 d.
    pub recidive_length: Duration,
    /// Whether the threshold follows how much is going on. Default `off`: it stays as it is set.
    pub adapt: Adapt,
    /// Different accounts tried from one address that lead to a ban. Default 6; 0: none do.
    pub accounts: usize,
    /// The time within which they were tried. Default 5 min.
    pub accounts_within: Duration,
    /// Guesses of one address, far apart, that make an incident. Default 4; 0: none do.
    pub slow_guesses: usize,
    /// How far apart: the median of the last ones. Default 2 min: slower than points leak away.
    pub slow_gap: Duration,
    /// Addresses that fail at one account and so make an incident. Default 20; 0: none do.
    pub account_addresses: usize,
    /// The time within which they failed. Default 1 h.
    pub account_within: Duration,
    /// Hosts of a /24 or /64 whose bans lead to that of the prefix. Default 10; 0: none do.
    pub prefix_hosts: usize,
    /// The time within which they were banned. Default 10 min.
    pub prefix_within: Duration,
    /// How long a prefix is banned. Default 24 h.
    pub prefix_length: Duration,
    /// Banned prefixes of a /56 or /48 that lead to its ban. Default 4.
    pub prefix_children: usize,
    /// Prefixes that are banned at once at most, besides those by hand. Default 256.
    pub prefix_most: usize,
    /// Bans that make a storm, in which prefixes wait. Default 20; 0: there is none.
    pub storm_bans: usize,
    /// The time within which they began. Default 1 min.
    pub storm_within: Duration,
    /// How long a storm lasts after the last of such bans. Default 5 min.
    pub storm_lasts: Duration,
}

/// Whether the threshold follows how many failures of all sources there were in the last minute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adapt {
    /// No.
    Off,
    /// From 20 on it is two points lower, not below 3, and bans are twice as long.
    Stricter,
    /// That, and up to 5 it is one point higher, not above 10, and bans are shorter by a fifth.
    Both,
}

/// What is never banned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow {
    /// Addresses, prefixes and names, each with an end and a comment if it has them.
    pub targets: Vec<Allowance>,
    /// Whether private, link-local and unique-local ranges are allowed too. Default true.
    pub private: bool,
    /// How long the address of a key login stays protected after its last such login. Default 1 h. The peer of a
    /// live key-authenticated session is always protected.
    pub key_login_for: Duration,
    /// How often the addresses of a name are asked for: no sooner than after this. Default 1 min.
    pub name_refresh_least: Duration,
    /// And no later than after this. Default 1 h. In between, it is when the answer ends.
    pub name_refresh_most: Duration,
    /// How long an address of a name stays allowed after it was last heard of. Default 7 d.
    pub name_keep: Duration,
    /// Name servers to ask in place of the machine's.
    pub name_servers: Vec<SocketAddr>,
}

impl Allow {
    /// What has ended and allows nothing any more, in words.
    pub fn ended(&self, now: Wall) -> impl Iterator<Item = String> {
        self.targets.iter().filter_map(move |allowance| {
            let until = allowance.until.filter(|until| *until <= now)?;
            let comment = &allowance.comment;
            let comment = if comment.is_empty() { String::new() } else { format!(" ({comment})") };
            Some(format!(
                "allow.targets: {}{comment} ended at {until} and allows nothing; take it out of the configuration",
                allowance.target
            ))
        })
    }
}

/// How bans are enforced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enforce {
    /// The backend. Default `auto`: XDP, else nftables.
    pub backend: BackendChoice,
    /// The interfaces. Default `auto`: all that are up and are not loopback, bridges' ports or containers' ends.
    pub interfaces: Interfaces,
    /// Host entries the maps hold from the start; they grow on demand. Default 16,384.
    pub capacity: u32,
    /// How often the kernel is compared with the ban table, besides at each event. Default 5 s.
    pub reconcile: Duration,
    /// Name of the nftables table. Default `guard` (in family `inet`).
    pub nftables_table: String,
}

/// The backend asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendChoice {
    /// XDP, else nftables.
    Auto,
    /// XDP or an error.
    Xdp,
    /// nftables or an error.
    Nftables,
    /// Decide and record only.
    Observe,
}

/// The interfaces asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interfaces {
    /// All that carry traffic from outside.
    Auto,
    /// These.
    Named(Vec<String>),
}

/// The store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// How long events and ended bans are kept. Default 90 d.
    pub keep: Duration,
    /// Size of the state at which the oldest events make room. Default 512 MiB.
    pub max_size: u64,
}

/// The control socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// Its path. Default `<run>/guard.sock`.
    pub socket: Option<PathBuf>,
    /// A group whose members may read (status, list, check, why), besides root, who may do everything. Default none.
    pub group: Option<String>,
}

/// The Prometheus endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Where it listens; `None` for off. Default `127.0.0.1:19187`.
    pub listen: Option<SocketAddr>,
}

/// The daemon's own log, on standard error (the journal, under systemd).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The lowest level that is written: `error`, `warn`, `info`, `debug`. Default `info`.
    pub level: String,
}

impl Config {
    /// The control socket's path.
    pub fn socket(&self) -> PathBuf {
        self.api.socket.clone().unwrap_or_else(|| self.paths.run.join("guard.sock"))
    }
}

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;

impl Default for Paths {
    fn default() -> Self {
        Self { state: "/var/lib/guard".into(), run: "/run/guard".into(), bpffs: "/sys/fs/bpf/guard".into() }
    }
}

/// What syslog daemons write: Debian's names, and Red Hat's.
const SYSLOG_FILES: [&str; 4] =
    ["/var/log/auth.log", "/var/log/secure", "/var/log/mail.log", "/var/log/maillog"];

impl Sources {
    /// Whether a file is one of the defaults, another one is there, and it is not: then nobody needs to hear that it is
    /// waited for. It may be the other family's name, or come with the first message.
    pub fn is_other_name(&self, file: &FileSource) -> bool {
        self.is_other_name_if(file, Path::exists)
    }

    fn is_other_name_if(&self, file: &FileSource, there: impl Fn(&Path) -> bool) -> bool {
        let usual = self.files == Self::default().files;
        usual && !there(&file.path) && self.files.iter().any(|other| there(&other.path))
    }
}

impl Default for Sources {
    fn default() -> Self {
        let copy = |path: &str| FileSource { path: path.into(), journal_copy: true, filters: Vec::new() };
        Self {
            journald: Journald::Auto,
            journal_paths: vec!["/var/log/journal".into(), "/run/log/journal".into()],
            files: SYSLOG_FILES.map(copy).into(),
            service_files: true,
            read_back: 0,
        }
    }
}

impl Default for Filters {
    fn default() -> Self {
        Self {
            folder: "/etc/guard/filters.d".into(),
            enable: Enabled::All,
            disable: Vec::new(),
            mode: crate::scan::Mode::Normal,
        }
    }
}

impl Default for Decide {
    fn default() -> Self {
        let seconds = |s| Some(Duration::from_secs(s));
        Self {
            threshold: Points(5000),
            window: Duration::from_secs(600),
            ladder: vec![seconds(HOUR), seconds(DAY), seconds(30 * DAY)],
            jitter_permille: 100,
            forgive_after: Duration::from_secs(30 * DAY),
            max_sources: 200_000,
            decoys: Vec::new(),
            max_bans: 2_000_000,
            rules: "/etc/guard/rules.d".into(),
            geo: Vec::new(),
            known_offender: Points(1000),
            recidive_bans: 5,
            recidive_length: Duration::from_secs(7 * DAY),
            adapt: Adapt::Off,
            accounts: 6,
            accounts_within: Duration::from_secs(300),
            slow_guesses: 4,
            slow_gap: Duration::from_secs(120),
            account_addresses: 20,
            account_within: Duration::from_secs(HOUR),
            prefix_hosts: 10,
            prefix_within: Duration::from_secs(600),
            prefix_length: Duration::from_secs(DAY),
            prefix_children: 4,
            prefix_most: 256,
            storm_bans: 20,
            storm_within: Duration::from_secs(60),
            storm_lasts: Duration::from_secs(300),
        }
    }
}

impl Default for Allow {
    fn default() -> Self {
        Self {
            targets: Vec::new(),
            private: true,
            key_login_for: Duration::from_secs(HOUR),
            name_refresh_least: Duration::from_secs(60),
            name_refresh_most: Duration::from_secs(HOUR),
            name_keep: Duration::from_secs(7 * DAY),
            name_servers: Vec::new(),
        }
    }
}

impl Default for Enforce {
    fn default() -> Self {
        Self {
            backend: BackendChoice::Auto,
            interfaces: Interfaces::Auto,
            capacity: 16_384,
            reconcile: Duration::from_secs(5),
            nftables_table: "guard".into(),
        }
    }
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { keep: Duration::from_secs(90 * DAY), max_size: 512 << 20 }
    }
}

#[expect(
    clippy::derivable_impls,
    reason = "spelled out like its neighbours: the defaults are documented values"
)]
impl Default for Api {
    fn default() -> Self {
        Self { socket: None, group: None }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self { listen: Some(SocketAddr::from(([127, 0, 0, 1], 19187))) }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".into() }
    }
}
