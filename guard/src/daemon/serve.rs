//! The main thread: control socket, metrics, signals, and the word to systemd.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tracing::{error, info};

use crate::api::server::{self, ApiCount, Listener};
use crate::config::Config;
use crate::metrics::{self, Snapshot};
use crate::source::Closed;
use crate::time::boot_nanoseconds;

use super::StartError;
use super::control::Input;
use super::problems::Problems;

/// How often the watchdog is fed, if it does not want to be fed more often.
const FEED: Duration = Duration::from_secs(5);
/// Age of the engine thread's heartbeat from which on the watchdog is not fed.
const STALLED: u64 = 20;

/// What the daemon listens on, opened before anything is started so that a conflict is an error of the start.
pub(super) struct Listeners {
    api: Listener,
    count: Arc<ApiCount>,
    metrics: Option<std::net::TcpListener>,
}

impl Listeners {
    /// Opens the sockets the configuration names. Without its metrics, or its group at the control socket, guard starts all
    /// the same and says why in `problems`.
    pub(super) fn open(config: &Config, problems: &mut Problems) -> Result<Self, StartError> {
        let api = Listener::bind(&config.socket(), config.api.group.as_deref())?;
        if let (Some(group), Some(cause)) = (&config.api.group, api.not_given()) {
            let advice = "systemd's unit needs SupplementaryGroups= for it in a drop-in";
            problems.set(
                "api",
                format!("only root may ask: the socket cannot be given to {group} ({cause}); {advice}"),
            );
        }
        let listen = |address| {
            let listener = std::net::TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let metrics = match config.metrics.listen.map(|address| (address, listen(address))) {
            None => None,
            Some((_, Ok(listener))) => Some(listener),
            Some((address, Err::<_, io::Error>(cause))) => {
                let why = format!("no metrics until the next start: cannot listen on {address}: {cause}");
                problems.set("metrics", why);
                None
            }
        };
        Ok(Self { api, count: Arc::default(), metrics })
    }

    /// What the control socket counts.
    pub(super) fn count(&self) -> Arc<ApiCount> {
        Arc::clone(&self.count)
    }

    /// Serves until SIGTERM or SIGINT, or until the engine's thread has gone.
    pub(super) fn serve(
        self,
        inputs: &SyncSender<Input>,
        heartbeat: &AtomicU64,
        engine_ended: oneshot::Receiver<()>,
    ) -> Result<(), StartError> {
        let path = self.api.path().to_owned();
        let failed = |source| StartError::System { operation: "serve", path, source };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime
            .and_then(|runtime| runtime.block_on(self.run(inputs, heartbeat, engine_ended)))
            .map_err(failed)
    }

    async fn run(
        self,
        inputs: &SyncSender<Input>,
        heartbeat: &AtomicU64,
        mut engine_ended: oneshot::Receiver<()>,
    ) -> io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let asks = inputs.clone();
        let ask = move |asked| offer(&asks, Input::Asked(asked));
        let mut api = tokio::spawn(server::serve(self.api, self.count, ask, std::future::pending()));
        if let Some(listener) = self.metrics {
            let listener = TcpListener::from_std(listener)?;
            info!(address = %listener.local_addr()?, "metrics");
            tokio::spawn(metrics::http::serve(listener, scrape(inputs), std::future::pending()));
        }
        // Without systemd there is nobody to tell.
        let _ = sd_notify::notify(&[NotifyState::Ready]);
        let mut feed = tokio::time::interval(feed_every(sd_notify::watchdog_enabled()));
        loop {
            tokio::select! {
                () = received(&mut terminate) => break,
                () = received(&mut interrupt) => break,
                () = received(&mut hangup) => reload(inputs),
                _ = &mut engine_ended => return Err(io::Error::other("the engine's thread ended in a panic")),
                ended = &mut api => return ended.map_err(io::Error::other)?,
                _ = feed.tick() => {
                    let age = (boot_nanoseconds() / 1_000_000_000).saturating_sub(heartbeat.load(Ordering::Relaxed));
                    // Without systemd there is nobody to feed.
                    feed_watchdog(age, || drop(sd_notify::notify(&[NotifyState::Watchdog])));
                }
            }
        }
        let _ = sd_notify::notify(&[NotifyState::Stopping]);
        api.abort();
        // Once it has ended, the listener is gone and its socket removed.
        let _ = api.await;
        Ok(())
    }
}

fn scrape(
    inputs: &SyncSender<Input>,
) -> impl Fn() -> Pin<Box<dyn Future<Output = Option<Snapshot>> + Send>> + Clone + Send + Sync + 'static {
    let inputs = inputs.clone();
    move || {
        let (reply, snapshot) = oneshot::channel();
        let sent = offer(&inputs, Input::Scrape(reply));
        Box::pin(async move {
            sent.ok()?;
            snapshot.await.ok()
        })
    }
}

/// Has the configuration read again; systemd is told when that is done.
fn reload(inputs: &SyncSender<Input>) {
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        let _ = sd_notify::notify(&[NotifyState::Reloading, now]);
    }
    let (done, reloaded) = oneshot::channel();
    if offer(inputs, Input::Reload(done)).is_err() {
        error!("the engine's thread has gone");
    }
    tokio::spawn(async move {
        // Dropped unanswered, the engine's thread is about to end, and with it the daemon.
        let _ = reloaded.await;
        let _ = sd_notify::notify(&[NotifyState::Ready]);
    });
}

/// Three times within the time after which the watchdog bites.
fn feed_every(watchdog: Option<Duration>) -> Duration {
    watchdog.map_or(FEED, |within| (within / 3).clamp(Duration::from_millis(1), FEED))
}

/// Feeds the watchdog, unless the heartbeat of the engine's thread is this many seconds old.
fn feed_watchdog(seconds: u64, feed: impl FnOnce()) {
    if seconds < STALLED {
        feed();
    } else {
        error!(seconds, "the engine's thread does not turn");
    }
}

async fn received(signal: &mut Signal) {
    signal.recv().await;
}

/// Hands an input over without blocking the runtime; a full queue is waited for on a thread of its own.
fn offer(inputs: &SyncSender<Input>, input: Input) -> Result<(), Closed> {
    match inputs.try_send(input) {
        Ok(()) => Ok(()),
        Err(TrySendError::Disconnected(_)) => Err(Closed),
        Err(TrySendError::Full(input)) => {
            let inputs = inputs.clone();
            // Where the engine has gone meanwhile, the asker is told by his dropped reply.
            tokio::task::spawn_blocking(move || inputs.send(input).is_ok());
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_heartbeat_starves_the_watchdog() {
        let is_fed = |seconds| {
            let mut fed = false;
            feed_watchdog(seconds, || fed = true);
            fed
        };
        assert!(is_fed(0) && is_fed(STALLED - 1));
        assert!(!is_fed(STALLED) && !is_fed(3600));
    }

    #[test]
    fn the_watchdog_is_fed_well_before_it_bites() {
        assert_eq!(feed_every(None), FEED);
        assert_eq!(feed_every(Some(Duration::from_secs(30))), FEED);
        assert_eq!(feed_every(Some(Duration::from_secs(3))), Duration::from_secs(1));
        assert!(!feed_every(Some(Duration::ZERO)).is_zero(), "a period of nothing is none");
    }
}
