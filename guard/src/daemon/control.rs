//! The engine's thread: the one owner of engine, ban table, protections and enforcer.
//!
//! Everything that can change them arrives over one bounded channel as an [`Input`] and is dealt with in order.
//! The kernel is always changed before the store is told.

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::{debug, error, info, warn};

use crate::api::server::{ApiCount, Asked};
use crate::causes::chain;
use crate::config::Config;
use crate::enforce::{Backend, Drift, EnforceError, Enforcer};
use crate::feed::News;
use crate::judge::Judge;
use crate::metrics::{Histogram, Snapshot};
use crate::protect::names::Answer;
use crate::scan::FilterSet;
use crate::sighting::SourceId;
use crate::source::{Delivery, ReadCount, SourceStatus};
use crate::store::{StoreError, Writer};
use crate::target::{HostName, Target};
use crate::time::{Clock, Moment, boot_nanoseconds};

use super::denied::Denials;
use super::enforcement::Search;
use super::feeds::{self, Feeds};
use super::follow::Followers;
use super::health::SourceHealth;
use super::listing::Waiting;
use super::names::Names;
use super::orders::Orders;
use super::own_files::Look;
use super::problems::Problems;
use super::readers::Readers;
use super::restore::{Restore, Restored};
use super::sightings::Sightings;
use super::surroundings::{Reading, Surroundings};

/// What reaches the engine's thread.
pub(crate) enum Input {
    /// A source read something.
    Delivery(Delivery),
    /// Log files of services have been looked for.
    OwnFiles(Look),
    /// Somebody asked for something.
    Asked(Asked),
    /// Metrics are scraped.
    Scrape(oneshot::Sender<Snapshot>),
    /// Addresses, routes or interfaces of this machine changed.
    NetworkChanged,
    /// What the machine has told of itself.
    Surroundings(Reading),
    /// Somebody else changed the packet filter.
    RulesetChanged,
    /// A chunk of bans from the store.
    Restored(Restored),
    /// The store has given all its bans, or why it could not.
    RestoreDone(Result<(), StoreError>),
    /// A feed has something new.
    Feed(News),
    /// What was said of a name that is allowed.
    Resolved(HostName, Answer),
    /// Read the configuration again (SIGHUP), and tell when that is done.
    Reload(oneshot::Sender<()>),
    /// Come to an end; enforcement stays.
    Stop,
}

/// Inputs that may wait for the engine's thread. Readers block when it is full, so lines wait in their files.
pub(super) const QUEUE: usize = 256;
/// How long the loop sleeps at most when nothing happens.
const TICK: Duration = Duration::from_millis(500);
/// How often live sessions are compared with the kernel's sockets.
const SESSIONS: Duration = Duration::from_secs(5);
/// How often own addresses, gateways and resolvers are read anew, besides when the kernel tells of a change: nobody
/// tells of a new name server. Also how often it is seen whether a journal that nobody wrote to has come to life.
const SYSTEM: Duration = Duration::from_secs(60);
/// The problem that nothing could be written at the start.
pub(super) const UNWRITABLE: &str = "store that cannot be written";
/// Changes that room is kept for.
const KEPT: usize = 4096;
/// First pause after a failed change; it doubles up to the reconcile period.
const RETRY: Duration = Duration::from_millis(50);
/// How often the store gets what the engine is to recall after a crash; at an orderly end it gets it too.
pub(super) const RECALL: Duration = Duration::from_secs(300);

/// What the daemon counts for status and metrics.
#[derive(Debug, Default)]
pub(super) struct Count {
    pub(super) read: HashMap<String, ReadCount>,
    pub(super) update_errors: u64,
    pub(super) drift: Drift,
    pub(super) reconciles: u64,
    pub(super) line_to_kernel: Histogram,
}

pub(super) struct Control {
    pub(super) config: Config,
    pub(super) config_path: PathBuf,
    pub(super) forced_observe: bool,
    pub(super) filters: Arc<FilterSet>,
    pub(super) judge: Judge,
    pub(super) enforcer: Box<dyn Enforcer>,
    pub(super) writer: Writer,
    pub(super) readers: Readers,
    pub(super) sources: HashMap<SourceId, SourceStatus>,
    pub(super) health: SourceHealth,
    pub(super) problems: Problems,
    pub(super) count: Count,
    pub(super) started: Moment,
    pub(super) restore: Restore,
    /// What the control socket counts.
    pub(super) api: Arc<ApiCount>,
    pub(super) denials: Denials,
    pub(super) feeds: Feeds,
    pub(super) names: Names,
    pub(super) surroundings: Surroundings,
    pub(super) sightings: Sightings,
    /// Lists that are being gathered.
    pub(super) listings: VecDeque<Waiting>,
    /// Whether a write that waits is the first position of a source.
    pub(super) has_new_position: bool,
    /// Runs the commands that rules want.
    pub(super) commands: Orders,
    /// Sends the documents that rules want sent.
    pub(super) webhooks: Orders,
    /// Inputs set aside while readers were being exchanged.
    pub(super) deferred: VecDeque<Input>,
    pub(super) inputs: Receiver<Input>,
    /// Behind the inputs: where both are dropped, a thread that waits for room there must end before it is waited for.
    pub(super) followers: Followers,
    /// Seconds since boot at the last turn of the loop, for the watchdog.
    pub(super) heartbeat: Arc<AtomicU64>,
    /// Dropped when this thread ends, in whatever way.
    pub(super) _ended: oneshot::Sender<()>,
    pub(super) next_reconcile: Instant,
    pub(super) retry: Option<Duration>,
    /// Looks for a backend, where none could be opened.
    pub(super) search: Option<Search>,
    pub(super) next_sessions: Instant,
    pub(super) next_system: Instant,
    pub(super) next_recall: Instant,
    /// When attachments are looked at again while nothing is compared.
    pub(super) next_attach: Instant,
}

impl Control {
    /// Runs until it is told to stop. Enforcement stays as it is.
    pub(super) fn run(mut self) {
        crate::thread::take_short_turns();
        loop {
            self.beat();
            match self.next_input() {
                Some(Input::Stop) => break,
                Some(input) => self.take(input),
                None => {}
            }
            self.turn();
        }
        self.stop();
    }

    /// Shows the watchdog that the thread is alive.
    pub(super) fn beat(&self) {
        self.heartbeat.store(boot_nanoseconds() / 1_000_000_000, Ordering::Relaxed);
    }

    fn next_input(&mut self) -> Option<Input> {
        if let Some(input) = self.deferred.pop_front() {
            return Some(input);
        }
        let patience = self.patience();
        match self.inputs.recv_timeout(patience) {
            Ok(input) => Some(input),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Input::Stop),
        }
    }

    /// Time until something is due.
    fn patience(&mut self) -> Duration {
        if !self.listings.is_empty() {
            return Duration::ZERO;
        }
        let now = Moment::now();
        if self.may_follow_feeds() {
            return if self.feeds.waits_for_room { feeds::GROWING } else { Duration::ZERO };
        }
        let due = self.judge.next_due().map_or(TICK, |at| at.since(now));
        TICK.min(due).min(self.next_reconcile.saturating_duration_since(Instant::now()))
    }

    pub(super) fn take(&mut self, input: Input) {
        match input {
            Input::Delivery(delivery) if !self.readers.has(delivery.source()) => {
                // A reader that was left behind hung until now: what it reads is read anew by another.
                debug!(source = delivery.source().0, "a delivery of a reader that was given up is not taken");
            }
            Input::Delivery(Delivery::Batch(batch)) => self.decide(&batch),
            Input::Delivery(Delivery::Status(id, status)) => self.source_changed(id, status),
            Input::Delivery(Delivery::Gone(id)) => self.source_gone(id),
            Input::OwnFiles(look) => self.read_own_files(look),
            Input::Asked(asked) => self.answer(asked),
            Input::Scrape(reply) => {
                let snapshot = self.snapshot();
                // A scraper that has gone needs no answer.
                let _ = reply.send(snapshot);
            }
            Input::NetworkChanged => {
                self.read_surroundings();
                self.reconcile();
            }
            Input::Surroundings(reading) => self.hear_of_surroundings(reading),
            Input::RulesetChanged => self.reconcile(),
            Input::Restored(chunk) => self.restore(chunk),
            Input::RestoreDone(result) => self.restore_done(result),
            Input::Feed(news) => self.hear_of_feed(news),
            Input::Resolved(name, answer) => self.hear_of_name(&name, &answer),
            Input::Reload(done) => {
                // Its outcome is in log, status and events; whoever sent the signal cannot be answered.
                let _ = self.reload();
                let _ = done.send(());
            }
            Input::Stop => {}
        }
    }

    /// What is due after every input and at every tick.
    fn turn(&mut self) {
        self.keep_listing();
        self.judge.expire(Clock::now());
        self.problems.replace("ban table", self.judge.crowded().into_iter().collect());
        let now = Instant::now();
        self.keep_followers(now);
        self.keep_readers(now);
        self.forget_gone(now);
        self.keep_health(now);
        self.keep_denials(now);
        self.keep_orders();
        self.keep_enforcement(now);
        if now >= self.next_sessions {
            self.next_sessions = now + SESSIONS;
            self.follow_sessions();
        }
        if now >= self.next_recall {
            self.next_recall = now + RECALL;
            self.judge.keep_recalled(Clock::now());
        }
        if now >= self.next_system {
            self.next_system = now + SYSTEM;
            self.read_surroundings();
            self.keep_journal();
        }
        self.sync_allowed();
        self.flush();
        self.keep_feeds(now);
        if self.problems.has(UNWRITABLE) && self.writer.has_written() {
            self.problems.clear(UNWRITABLE);
        }
        if self.restore.has_read() && self.writer.needs_resync() {
            self.resync_store();
        }
        if !self.restore.is_compared() && now >= self.next_attach {
            self.next_attach = now + TICK;
            self.attach();
        }
        if Instant::now() >= self.next_reconcile {
            self.reconcile();
        }
    }

    /// Covers interfaces that have appeared, while a restore keeps the kernel from being compared with the table.
    fn attach(&mut self) {
        match self.enforcer.attach() {
            Ok(attachments) => self.count.drift.attachments += attachments,
            Err(cause) => {
                self.count.update_errors += 1;
                self.problems.set("enforcer", format!("{}; guard tries again", chain(&cause)));
            }
        }
    }

    /// Gives the pending changes to the kernel, then tells the store. After a failure the next reconciliation
    /// makes the kernel equal to the table, so nothing is lost; the store is told all the same, because the table
    /// is the truth.
    pub(super) fn flush(&mut self) -> bool {
        let applied = self.apply();
        self.tell_store();
        applied
    }

    /// Gives the pending changes to the kernel. The store is told later: what a batch of lines leads to reaches it
    /// as one, with the position behind them.
    pub(super) fn apply(&mut self) -> bool {
        let changes = &mut self.judge.outcome().changes;
        if changes.is_empty() {
            return true;
        }
        let outcome = self.enforcer.apply(changes);
        let count = changes.len();
        changes.clear();
        changes.shrink_to(KEPT); // an idle daemon does not pay for a past flood
        self.was_applied(outcome, count)
    }

    /// Whether the kernel took changes. If not, the next reconciliation is soon.
    pub(super) fn was_applied(&mut self, outcome: Result<(), EnforceError>, changes: usize) -> bool {
        let Err(cause) = outcome else { return true };
        self.count.update_errors += 1;
        error!(error = %chain(&cause), changes, "the kernel did not take a change; it is repeated");
        self.problems.set("enforcer", format!("{}; guard repeats it until it holds", chain(&cause)));
        self.schedule_retry();
        false
    }

    /// The kernel has been told.
    fn tell_store(&mut self) {
        self.judge.keep(Clock::now());
        let writes = &mut self.judge.outcome().writes;
        if !writes.is_empty() {
            self.writer.write_all(writes.drain(..));
        }
        // Until it is kept, a crash would have the next start begin at the end of the source, behind what came meanwhile.
        if std::mem::take(&mut self.has_new_position) {
            self.writer.hurry();
        }
    }

    fn schedule_retry(&mut self) {
        let pause = self.retry.map_or(RETRY, |pause| (pause * 2).min(self.config.enforce.reconcile));
        self.retry = Some(pause);
        self.next_reconcile = Instant::now() + pause;
    }

    /// Compares the kernel with the table and repairs it, or goes on with that: a part at a time, so that what arrives
    /// meanwhile does not wait.
    pub(super) fn reconcile(&mut self) {
        match self.restore {
            Restore::Settling { .. } | Restore::Done => {}
            // Entries that the store has not given back yet would look foreign.
            Restore::Reading | Restore::Listing => {
                self.next_reconcile = Instant::now() + TICK;
                return;
            }
            Restore::Adopting { adopted } => return self.adopt(adopted),
        }
        // A part compares what both hold now.
        self.flush();
        let desired = self.judge.desired(Moment::now());
        match self.enforcer.reconcile_part(desired) {
            Ok(None) => self.next_reconcile = Instant::now(),
            Ok(Some(drift)) => {
                let first = self.count.reconciles == 0;
                self.count.reconciles += 1;
                self.retry = None;
                self.problems.clear("enforcer");
                self.next_reconcile = Instant::now() + self.config.enforce.reconcile;
                if first && !drift.is_none() {
                    info!(?drift, "the kernel was made equal to the ban table");
                } else if !drift.is_none() {
                    warn!(
                        missing = drift.missing,
                        foreign = drift.foreign,
                        changed = drift.changed,
                        attachments = drift.attachments,
                        "the kernel differed from the ban table and was put right"
                    );
                    self.count.drift.add(&drift);
                }
                self.settled();
            }
            Err(cause) => {
                self.count.update_errors += 1;
                error!(error = %chain(&cause), "the kernel could not be made equal to the ban table");
                self.problems.set("enforcer", format!("{}; guard tries again", chain(&cause)));
                self.schedule_retry();
            }
        }
    }

    pub(super) fn source_changed(&mut self, id: SourceId, status: SourceStatus) {
        let known = self.sources.get(&id);
        if known.is_none_or(|old| old.state != status.state) {
            if status.healthy {
                info!(source = status.name, state = status.state, "source");
            } else {
                warn!(source = status.name, state = status.state, "source");
            }
        }
        self.sources.insert(id, status);
        self.learn_lag(id);
    }

    /// The sources people hear of: of the usual log files, those that are not there are waited for in silence as long
    /// as another one is.
    pub(super) fn shown_sources(&self) -> impl Iterator<Item = &SourceStatus> {
        let files = &self.config.source;
        let missing = |source: &SourceStatus| {
            files.files.iter().any(|file| file.path == Path::new(&source.name) && files.is_other_name(file))
        };
        self.sources.values().filter(move |source| source.healthy || !missing(source))
    }

    fn stop(mut self) {
        self.readers.stop();
        self.drain_readers();
        self.judge.keep_recalled(Clock::now());
        self.judge.tell_all_repeats(Clock::now());
        self.event("stop", None, &serde_json::json!({ "bans": self.judge.bans().len() }));
        self.flush();
        let Self { inputs, deferred, followers, commands, webhooks, writer, enforcer, judge, .. } = self;
        // A restore that still goes on, or a follower, must not wait for anybody to take what it sends.
        drop((inputs, deferred));
        drop(followers);
        commands.stop();
        webhooks.stop();
        let lost = writer.stop();
        if lost > 0 {
            error!(lost, "the store did not take everything before the end");
        }
        if enforcer.backend() == Backend::Observe {
            info!("stopped; nothing was enforced");
        } else {
            info!(bans = judge.bans().len(), "stopped; enforcement goes on in the kernel");
        }
    }

    /// Notes that something happened.
    pub(super) fn event(&mut self, kind: &str, target: Option<Target>, detail: &serde_json::Value) {
        self.judge.event(kind, target, detail, Clock::now());
    }
}
