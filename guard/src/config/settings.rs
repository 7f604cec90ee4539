//! The one list of options: each is declared once, and read, shown, compared and documented from here.

use toml::Spanned;
use toml::de::DeValue;

use super::allowance::Allowances;
use super::feed::Feeds;
use super::shape::{
    Absolute, BanLength, Choice, FilterNames, Flag, InterfaceNames, List, Listen, LogFile, Name, NameServer,
    OrEmpty, Score, Shape, Share, Size, Span, Whole, Whole32, Wrong,
};
use super::{Adapt, BackendChoice, Config, Journald};
use crate::engine::RECIDIVE_MOST;
use crate::scan::Mode;

/// One option.
pub(super) struct Setting {
    /// Its path in the file: `table.key`, or the name of a list of tables.
    pub(super) key: &'static str,
    /// Whether a reload leaves it as it is until the next start.
    pub(super) at_restart: bool,
    /// Reads it into a configuration.
    pub(super) read: fn(&mut Config, &Spanned<DeValue<'_>>) -> Result<(), Vec<Wrong>>,
    /// Takes it over from another configuration.
    pub(super) copy: fn(&mut Config, &Config),
    /// Its value as TOML.
    pub(super) show: fn(&Config) -> String,
}

impl Setting {
    /// Table and key. A list of tables is in no table.
    pub(super) fn place(&self) -> (&'static str, &'static str) {
        self.key.split_once('.').unwrap_or(("", self.key))
    }
}

/// The option `key`, kept in field `table.field` of [`Config`], of a shape.
macro_rules! setting {
    ($key:literal, $when:ident, $table:ident.$field:ident, $shape:expr) => {
        Setting {
            key: $key,
            at_restart: $when,
            read: |config, value| {
                config.$table.$field = $shape.read(value)?;
                Ok(())
            },
            copy: |to, from| to.$table.$field.clone_from(&from.$table.$field),
            show: |config| $shape.show(&config.$table.$field),
        }
    };
}

const LIVE: bool = false;
const RESTART: bool = true;

const MINUTE: u64 = 60;
const DAY: u64 = 86_400;
const YEAR: u64 = 365 * DAY;

const JOURNALD: Choice<Journald> =
    Choice(&[("auto", Journald::Auto), ("on", Journald::On), ("off", Journald::Off)]);

const MODE: Choice<Mode> = Choice(&[
    ("normal", Mode::Normal),
    ("ddos", Mode::Ddos),
    ("extra", Mode::Extra),
    ("aggressive", Mode::Aggressive),
]);

const ADAPT: Choice<Adapt> =
    Choice(&[("off", Adapt::Off), ("stricter", Adapt::Stricter), ("both", Adapt::Both)]);

const BACKEND: Choice<BackendChoice> = Choice(&[
    ("auto", BackendChoice::Auto),
    ("xdp", BackendChoice::Xdp),
    ("nftables", BackendChoice::Nftables),
    ("observe", BackendChoice::Observe),
]);

/// Log levels, as [`super::Log::level`] keeps them.
struct Level;

impl Shape for Level {
    type Value = String;

    fn read(&self, input: &Spanned<DeValue<'_>>) -> Result<String, Vec<Wrong>> {
        const LEVELS: Choice<&str> =
            Choice(&[("error", "error"), ("warn", "warn"), ("info", "info"), ("debug", "debug")]);
        LEVELS.read(input).map(str::to_owned)
    }

    fn show(&self, value: &String) -> String {
        format!("\"{value}\"")
    }
}

/// Every option, in the order of the shipped file.
pub(super) static SETTINGS: &[Setting] = &[
    setting!("paths.state", RESTART, paths.state, Absolute),
    setting!("paths.run", RESTART, paths.run, Absolute),
    setting!("paths.bpffs", RESTART, paths.bpffs, Absolute),
    setting!("source.journald", LIVE, source.journald, JOURNALD),
    setting!("source.journal_paths", LIVE, source.journal_paths, List(Absolute, 0)),
    setting!("source.files", LIVE, source.files, List(LogFile, 0)),
    setting!("source.service_files", LIVE, source.service_files, Flag),
    setting!("source.read_back", LIVE, source.read_back, Size(0..=1 << 40)),
    setting!("filter.folder", LIVE, filter.folder, Absolute),
    setting!("filter.enable", LIVE, filter.enable, FilterNames),
    setting!("filter.disable", LIVE, filter.disable, List(Name(64), 0)),
    setting!("filter.mode", LIVE, filter.mode, MODE),
    setting!("decide.threshold", LIVE, decide.threshold, Score(0.1..=1000.0)),
    setting!("decide.window", LIVE, decide.window, Span(1..=30 * DAY)),
    setting!("decide.ladder", LIVE, decide.ladder, List(BanLength, 1)),
    setting!("decide.jitter", LIVE, decide.jitter_permille, Share),
    setting!("decide.forgive_after", LIVE, decide.forgive_after, Span(MINUTE..=10 * YEAR)),
    setting!("decide.max_sources", LIVE, decide.max_sources, Whole(1000..=10_000_000)),
    setting!("decide.decoys", LIVE, decide.decoys, List(Name(64), 0)),
    setting!("decide.max_bans", LIVE, decide.max_bans, Whole(1000..=20_000_000)),
    setting!("decide.rules", LIVE, decide.rules, Absolute),
    setting!("decide.geo", LIVE, decide.geo, List(Absolute, 0)),
    setting!("decide.known_offender", LIVE, decide.known_offender, Score(0.0..=1000.0)),
    setting!("decide.recidive_bans", LIVE, decide.recidive_bans, Whole(0..=RECIDIVE_MOST as u64)),
    setting!("decide.recidive_length", LIVE, decide.recidive_length, Span(MINUTE..=10 * YEAR)),
    setting!("decide.adapt", LIVE, decide.adapt, ADAPT),
    setting!("decide.accounts", LIVE, decide.accounts, Whole(0..=6)),
    setting!("decide.accounts_within", LIVE, decide.accounts_within, Span(1..=DAY)),
    setting!("decide.slow_guesses", LIVE, decide.slow_guesses, Whole(0..=6)),
    setting!("decide.slow_gap", LIVE, decide.slow_gap, Span(MINUTE..=4 * 3600)),
    setting!("decide.account_addresses", LIVE, decide.account_addresses, Whole(0..=32)),
    setting!("decide.account_within", LIVE, decide.account_within, Span(MINUTE..=30 * DAY)),
    setting!("decide.prefix_hosts", LIVE, decide.prefix_hosts, Whole(0..=16)),
    setting!("decide.prefix_within", LIVE, decide.prefix_within, Span(MINUTE..=30 * DAY)),
    setting!("decide.prefix_length", LIVE, decide.prefix_length, Span(MINUTE..=YEAR)),
    setting!("decide.prefix_children", LIVE, decide.prefix_children, Whole(2..=32)),
    setting!("decide.prefix_most", LIVE, decide.prefix_most, Whole(0..=65_536)),
    setting!("decide.storm_bans", LIVE, decide.storm_bans, Whole(0..=10_000)),
    setting!("decide.storm_within", LIVE, decide.storm_within, Span(1..=3600)),
    setting!("decide.storm_lasts", LIVE, decide.storm_lasts, Span(1..=DAY)),
    setting!("allow.targets", LIVE, allow.targets, Allowances),
    setting!("allow.private", LIVE, allow.private, Flag),
    setting!("allow.key_login_for", LIVE, allow.key_login_for, Span(0..=YEAR)),
    setting!("allow.name_refresh_least", LIVE, allow.name_refresh_least, Span(1..=DAY)),
    setting!("allow.name_refresh_most", LIVE, allow.name_refresh_most, Span(1..=7 * DAY)),
    setting!("allow.name_keep", LIVE, allow.name_keep, Span(MINUTE..=YEAR)),
    setting!("allow.name_servers", LIVE, allow.name_servers, List(NameServer, 0)),
    setting!("enforce.backend", RESTART, enforce.backend, BACKEND),
    setting!("enforce.interfaces", RESTART, enforce.interfaces, InterfaceNames),
    setting!("enforce.capacity", RESTART, enforce.capacity, Whole32(1024..=16_777_216)),
    setting!("enforce.reconcile", LIVE, enforce.reconcile, Span(1..=3600)),
    setting!("enforce.nftables_table", RESTART, enforce.nftables_table, Name(31)),
    setting!("store.keep", RESTART, store.keep, Span(DAY..=100 * YEAR)),
    setting!("store.max_size", RESTART, store.max_size, Size(16 << 20..=1 << 40)),
    setting!("api.socket", RESTART, api.socket, OrEmpty(Absolute)),
    setting!("api.group", RESTART, api.group, OrEmpty(Name(32))),
    setting!("metrics.listen", RESTART, metrics.listen, Listen),
    setting!("log.level", RESTART, log.level, Level),
    Setting {
        key: "feed",
        at_restart: LIVE,
        read: |config, value| {
            config.feed = Feeds.read(value)?;
            Ok(())
        },
        copy: |to, from| to.feed.clone_from(&from.feed),
        show: |config| Feeds.show(&config.feed),
    },
];
