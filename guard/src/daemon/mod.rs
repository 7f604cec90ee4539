//! The daemon: wires sources, engine, ban table, enforcer, store and API together, and nothing else.
//!
//! Threads: the main thread serves the control socket, the metrics and the signals; one thread owns everything
//! that decides ([`control`]); one reads the journal, one syslog files, one the files of each service; one writes the
//! store; one follows the network; one asks for names that are allowed; a few run the commands of rules and send their
//! documents. All of them meet in one bounded channel.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{SyncSender, channel, sync_channel};
use std::thread;
use std::time::Instant;

use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::config::{self, Config};
use crate::judge::{Judge, kept_logins};
use crate::protect::system::connections;
use crate::protect::{Protection, SystemAddresses};
use crate::scan::FilterSet;
use crate::store::{Snapshot, StoredAllow, Writer, WriterOptions};
use crate::time::{Clock, Moment, boot_nanoseconds};
use crate::{enforce, protect, store};

mod again;
mod aside;
mod command;
mod control;
mod decide;
mod denied;
mod enforcement;
mod error;
mod feeds;
mod follow;
mod health;
mod listing;
mod names;
mod orders;
pub(crate) mod own_files;
pub(crate) mod plan;
mod problems;
mod reader;
mod readers;
mod reload;
mod request;
mod restore;
mod rules;
mod serve;
mod sightings;
mod snapshot;
mod surroundings;
mod views;
mod webhook;
mod why;

pub use error::StartError;

use control::{Control, Count, Input, QUEUE, UNWRITABLE};
use denied::Denials;
use feeds::Feeds;
use follow::Followers;
use health::SourceHealth;
use names::Names;
use orders::Orders;
use problems::Problems;
use readers::Readers;
use restore::{Restore, Restored};
use rules::Prepared;
use sightings::Sightings;
use surroundings::Surroundings;

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration.
    pub config: PathBuf,
    /// Decide and record only.
    pub observe: bool,
}

/// Runs the daemon until it is told to stop. Enforcement goes on without it.
pub fn run(options: &Options) -> Result<(), StartError> {
    let config = config::load(&options.config)?;
    start_log(&config);
    if !rustix::process::geteuid().is_root() && !options.observe {
        return Err(StartError::NotRoot);
    }
    let filters = Arc::new(FilterSet::load(&config.filter)?.without_services());
    let rules = Prepared::load(&config, &filters)?;
    make_folder(&config.paths.state, 0o700)?;
    make_folder(&config.paths.run, 0o755)?;
    let (store, notes) = store::open(&config)?;
    let store_works = store.is_writable();
    let (inputs, receiver) = sync_channel(QUEUE);
    let heartbeat = Arc::new(AtomicU64::new(boot_nanoseconds() / 1_000_000_000));
    let (writer, snapshot) = start_store(store, &config, inputs.clone())?;
    let mut problems = Problems::default();
    if store_works {
        writer.note(notes);
    } else {
        problems.replace(UNWRITABLE, notes);
    }
    let protection = start_protection(&config, &snapshot.allowed, &mut problems);
    let known = protection.system().clone();
    let surroundings = Surroundings::start(inputs.clone(), known).map_err(|source| StartError::System {
        operation: "start the thread",
        path: "surroundings".into(),
        source,
    })?;
    let serving = serve::Listeners::open(&config, &mut problems)?;
    let (enforcer, reasons) = enforce::select(&config, options.observe)?;
    info!(backend = enforcer.backend().name(), "enforcing with");
    problems.replace("backend", reasons);
    let (ended, engine_ended) = oneshot::channel();
    let seed = boot_nanoseconds() ^ u64::from(std::process::id()).rotate_left(32);
    let judge = Judge::new(&config, Arc::clone(&filters), protection, &snapshot, seed, Clock::now());
    let mut control = Control {
        judge,
        readers: Readers::new(inputs.clone(), snapshot.positions),
        followers: Followers::new(inputs.clone()),
        config_path: options.config.clone(),
        forced_observe: options.observe,
        filters,
        enforcer,
        writer,
        sources: HashMap::new(),
        health: SourceHealth::new(),
        problems,
        count: Count::default(),
        started: Moment::now(),
        restore: Restore::Reading,
        api: serving.count(),
        denials: Denials::default(),
        feeds: Feeds::new(inputs.clone()),
        names: Names::new(inputs.clone()),
        surroundings,
        sightings: Sightings::default(),
        listings: VecDeque::new(),
        has_new_position: false,
        commands: Orders::new("command"),
        webhooks: Orders::new("webhook"),
        deferred: VecDeque::new(),
        inputs: receiver,
        heartbeat: Arc::clone(&heartbeat),
        _ended: ended,
        next_reconcile: Instant::now(),
        retry: None,
        search: None,
        next_sessions: Instant::now(),
        next_system: Instant::now(),
        // At once: what is kept of accounts is told apart by a seed that is in it.
        next_recall: Instant::now(),
        next_attach: Instant::now(),
        config,
    };
    control.use_rules(rules);
    control.event("start", None, &serde_json::json!({ "version": env!("CARGO_PKG_VERSION") }));
    control.sync_allowed();
    control.start_readers();
    control.start_followers();
    control.start_feeds();
    control.keep_names();
    let engine =
        thread::Builder::new().name("engine".into()).spawn(move || control.run()).map_err(|source| {
            StartError::System { operation: "start the thread", path: "engine".into(), source }
        })?;
    let served = serving.serve(&inputs, &heartbeat, engine_ended);
    // The engine's thread may have ended first, and then nobody needs to be told.
    let _ = inputs.send(Input::Stop);
    drop(inputs);
    if engine.join().is_err() {
        warn!("the engine's thread ended in a panic");
    }
    served
}

fn start_log(config: &Config) {
    let filter = tracing_subscriber::EnvFilter::try_new(&config.log.level)
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let under_systemd = std::env::var_os("JOURNAL_STREAM").is_some();
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    // Fails only if a log was started before, as tests do.
    let _ = if under_systemd { log.without_time().try_init() } else { log.try_init() };
}

fn make_folder(path: &Path, mode: u32) -> Result<(), StartError> {
    fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(|source| StartError::System {
        operation: "create the folder",
        path: path.to_owned(),
        source,
    })
}

fn start_store(
    mut store: Box<dyn store::Store>,
    config: &Config,
    inputs: SyncSender<Input>,
) -> Result<(Writer, Snapshot), StartError> {
    let snapshot = store.snapshot()?;
    let now = Clock::now().wall;
    let chunks = inputs.clone();
    let restore = move |store: &mut dyn store::Store| {
        match store.end_bans(now) {
            Ok(0) => {}
            Ok(bans) => info!(bans, "ended while guard was not running"),
            // They are not restored either way, and ended at the next start.
            Err(error) => warn!(%error, "bans that ended while guard was not running stay in the store"),
        }
        let result = store.ban_count().and_then(|mut to_come| {
            store.bans(now, &mut |bans| {
                to_come = to_come.saturating_sub(bans.len() as u64);
                let (turn, taken) = channel();
                let sent = chunks.send(Input::Restored(Restored { bans, to_come, turn })).is_ok();
                // Nothing is ever sent here: the wait ends when the engine's thread takes the chunk, or has ended.
                let _ = taken.recv();
                sent
            })
        });
        // Nobody is left to be told once the engine's thread has ended.
        let _ = inputs.send(Input::RestoreDone(result));
    };
    let (keep, max_bytes) = (config.store.keep, config.store.max_size);
    let forgive_after = config.decide.forgive_after;
    let options = WriterOptions { keep, forgive_after, max_bytes, ..WriterOptions::default() };
    let writer = Writer::start_with(store, options, restore).map_err(|source| StartError::System {
        operation: "start the thread of the store in",
        path: config.paths.state.clone(),
        source,
    })?;
    Ok((writer, snapshot))
}

fn start_protection(config: &Config, kept: &[StoredAllow], problems: &mut Problems) -> Protection {
    let clock = Clock::now();
    for ended in config.allow.ended(clock.wall) {
        warn!("{ended}");
    }
    let mut protection = Protection::new(&config.allow, clock);
    let (system, faults) = SystemAddresses::read(&SystemAddresses::default());
    protection.set_system(system);
    problems.replace(surroundings::PROBLEM, surroundings::problems(&faults));
    match connections() {
        Ok(connections) => {
            let logins = kept_logins(kept, clock.wall);
            for session in protect::session::open_sessions(&connections, &logins) {
                info!(peer = %session.peer, port = session.peer_port, "protected: an open session");
                protection.found_session(session.peer, session.peer_port, clock.moment);
            }
        }
        Err(cause) => problems.set("sessions", format!("open sessions cannot be read ({cause})")),
    }
    protection
}
