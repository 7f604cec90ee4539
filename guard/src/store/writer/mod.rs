//! The store's own thread: takes writes without ever making the engine wait, and makes them durable in batches.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::{EventPage, EventQuery, Store, StoreError, Write};

mod latest;
mod queue;
mod work;

use queue::{Queue, Reply};

/// What is done with the store before it takes writes.
type First = Box<dyn FnOnce(&mut dyn Store) + Send>;

/// How a [`Writer`] works.
#[derive(Clone, Copy, Debug)]
pub struct WriterOptions {
    /// How long a ban or another change waits for company before it is written. Default 20 ms.
    pub linger: Duration,
    /// How long events, positions, scores and logins wait. Default 250 ms.
    pub linger_notes: Duration,
    /// Writes that wait at most, while the disk is slow or full; four times as many scores and logins besides. Default 131,072.
    pub capacity: usize,
    /// First and longest pause after a failure; each is twice the one before. Default 100 ms to 10 s.
    pub pause: (Duration, Duration),
    /// How long events and ended bans are kept. Default 90 days.
    pub keep: Duration,
    /// Quiet time after which a strike is forgiven, and at last forgotten. Default 30 days.
    pub forgive_after: Duration,
    /// Events kept at most. Default 1,000,000.
    pub max_events: u64,
    /// Bytes that all of it may take up. Default 512 MiB.
    pub max_bytes: u64,
    /// How often old things are forgotten. Default 1 h.
    pub prune_every: Duration,
    /// Events after which that is done at once. Default 65,536.
    pub prune_events: u64,
}

impl Default for WriterOptions {
    fn default() -> Self {
        Self {
            linger: Duration::from_millis(20),
            linger_notes: Duration::from_millis(250),
            capacity: 131_072,
            pause: (Duration::from_millis(100), Duration::from_secs(10)),
            keep: Duration::from_secs(90 * 24 * 3600),
            forgive_after: Duration::from_secs(30 * 24 * 3600),
            max_events: 1_000_000,
            max_bytes: 512 << 20,
            prune_every: Duration::from_secs(3600),
            prune_events: 65_536,
        }
    }
}

/// How the store is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriterStatus {
    /// Writes that wait.
    pub queued: u64,
    /// Writes that are durable.
    pub written: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Events that were lost because the queue was full.
    pub lost_events: u64,
    /// Times the queue was full and everything had to be asked for again.
    pub overflows: u64,
    /// Why nothing can be written at present, and what guard does about it.
    pub problem: Option<String>,
    /// What the store found and put right within the last day, in words.
    pub notes: Vec<String>,
}

/// Hands writes to the store's thread. No call waits for the disk, except [`Writer::flush`] and [`Writer::stop`].
///
/// While the store fails, writes wait in a bounded queue. When that is full, waiting bans are dropped because a
/// later [`Writer::resync`] supersedes them, and [`Writer::needs_resync`] asks for it once the store works again.
/// Positions, scores and logins are held back meanwhile: after a crash the lines of the missing bans are read again.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// Something came into the queue, or something asked for was done.
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // The queue is left whole by every step that could panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Writer {
    /// Starts the store's thread, which owns the store from here on.
    pub fn start(store: Box<dyn Store>, options: WriterOptions) -> std::io::Result<Self> {
        Self::start_with(store, options, |_| ())
    }

    /// The same, with something to be read first; writes wait meanwhile.
    pub fn start_with(
        store: Box<dyn Store>,
        options: WriterOptions,
        first: impl FnOnce(&mut dyn Store) + Send + 'static,
    ) -> std::io::Result<Self> {
        let queue = Mutex::new(Queue::new(options.capacity, options.forgive_after));
        let shared = Arc::new(Shared { queue, changed: Condvar::new() });
        let for_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("guard-store".into())
            .spawn(move || work::run(store, options, &for_thread, Box::new(first)))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Makes a change durable soon: within [`WriterOptions::linger`] and one sync of the disk.
    pub fn write(&self, write: Write) {
        self.write_all([write]);
    }

    /// Makes changes durable soon, as one: after a crash all of them are there or none. Of positions, scores and logins only
    /// the last of each is written, together with the others or after them.
    pub fn write_all(&self, writes: impl IntoIterator<Item = Write>) {
        let mut queue = self.shared.lock();
        let (was_calm, was_empty) = (!queue.is_urgent(), queue.is_empty());
        for write in writes {
            queue.push(write);
        }
        let wake = queue.wants_attention(was_calm, was_empty);
        drop(queue);
        if wake {
            self.shared.changed.notify_all();
        }
    }

    /// Whether changes were lost and the store works again: give everything with [`Writer::resync`].
    pub fn needs_resync(&self) -> bool {
        let queue = self.shared.lock();
        queue.resync_pending && queue.status.problem.is_none()
    }

    /// Replaces all stored bans, strikes, run-time allowances, scores and logins by these. `writes` holds a [`Write::Ban`] for
    /// each ban, a [`Write::Strikes`] for each offender, a [`Write::Allow`] for each allowance, and all
    /// [`Write::Scores`] and [`Write::Logins`].
    pub fn resync(&self, writes: Vec<Write>) {
        self.shared.lock().replace(writes);
        self.shared.changed.notify_all();
    }

    /// Asks for events. `reply` is called on the store's thread with all that are wanted, the newest first, after
    /// everything written before has been tried, or waits because the store fails; it must not block.
    pub fn events(
        &self,
        query: EventQuery,
        reply: impl FnOnce(Result<EventPage, StoreError>) + Send + 'static,
    ) {
        self.shared.lock().ask(query, Reply(Box::new(reply)));
        self.shared.changed.notify_all();
    }

    /// Calls `reply` on the store's thread once everything written before has been tried, or waits because the store
    /// fails; it must not block.
    pub fn after_writes(&self, reply: impl FnOnce() + Send + 'static) {
        self.events(EventQuery { limit: 0, ..EventQuery::default() }, move |_| reply());
    }

    /// How the store is doing.
    pub fn status(&self) -> WriterStatus {
        self.shared.lock().status_at(Instant::now())
    }

    /// Tells people what the store found, as its own notes are told.
    pub fn note(&self, notes: Vec<String>) {
        self.shared.lock().note(notes, Instant::now());
    }

    /// Strikes are forgiven after so much quiet time from now on.
    pub fn forgive_after(&self, quiet: Duration) {
        self.shared.lock().forgive_after = quiet;
    }

    /// Whether a write has worked.
    pub fn has_written(&self) -> bool {
        self.shared.lock().status.written > 0
    }

    /// What was given so far does not wait for company.
    pub fn hurry(&self) {
        self.shared.lock().hurry = true;
        self.shared.changed.notify_all();
    }

    /// Waits until everything given so far is durable; `false` if it was not in time.
    pub fn flush(&self, within: Duration) -> bool {
        let deadline = Instant::now() + within;
        let mut queue = self.shared.lock();
        queue.hurry = true;
        self.shared.changed.notify_all();
        while !queue.is_done() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || queue.stopped {
                return false;
            }
            queue = self.shared.changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Writes what waits, closes the store and ends its thread; the number of writes that could not be kept.
    pub fn stop(mut self) -> u64 {
        self.end();
        self.shared.lock().len() as u64
    }

    fn end(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported by the panic hook; its writes are counted as not kept.
            let _ = thread.join();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests;
