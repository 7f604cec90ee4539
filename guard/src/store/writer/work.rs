//! The loop of the store's thread: wait, write, try again, answer, forget.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::queue::{Job, Question, Queue};
use super::{First, Shared, WriterOptions};
use crate::store::{EventPage, Retention, Store, StoreError, StoreErrorClass, Write};
use crate::time::Wall;

/// Failures without a known cause after which a batch is given up for a resync: something in it may be the cause.
const GIVE_UP: u32 = 5;

/// Notes that are kept: a disk that damages the state again and again has been told of by then.
const MAX_NOTES: usize = 32;

pub(super) fn run(mut store: Box<dyn Store>, options: WriterOptions, shared: &Shared, first: First) {
    first(&mut *store);
    let pruned = Instant::now();
    Worker { store, options, shared, pruned, pruning: false, events: 0, tries: 0 }.run();
    let mut queue = shared.lock();
    queue.stopped = true;
    drop(queue);
    shared.changed.notify_all();
}

struct Worker<'a> {
    store: Box<dyn Store>,
    options: WriterOptions,
    shared: &'a Shared,
    pruned: Instant,
    /// Whether forgetting what is old has begun and is not done.
    pruning: bool,
    /// Events written since it was.
    events: u64,
    /// Failures in a row.
    tries: u32,
}

impl Worker<'_> {
    fn run(mut self) {
        self.publish_notes();
        let mut unfinished: Option<Job> = None;
        loop {
            let (job, questions, stopping) = self.wait(unfinished.take());
            if let Some(job) = job {
                unfinished = self.carry_out(job, stopping);
            }
            for question in questions {
                self.answer(question);
            }
            if !stopping {
                self.prune_in_time();
            }
            if stopping && (unfinished.is_some() || self.shared.lock().is_empty()) {
                return;
            }
        }
    }

    /// Waits until there is something to do, with company for it, or until a pause after a failure is over.
    fn wait(&self, unfinished: Option<Job>) -> (Option<Job>, Vec<Question>, bool) {
        let pause = unfinished.is_some().then(|| self.pause());
        let asleep = Instant::now();
        let mut first_seen: Option<Instant> = None;
        let mut queue = self.shared.lock();
        loop {
            let due = match pause {
                Some(pause) => asleep + pause,
                None if queue.is_empty() => self.pruned + self.options.prune_every,
                None => *first_seen.get_or_insert_with(Instant::now) + self.linger(&queue),
            };
            let now = Instant::now();
            let hurry = queue.stopping || queue.wants_answers() || (queue.hurry && pause.is_none());
            let hurry = hurry || (self.pruning && pause.is_none());
            if hurry || now >= due {
                break;
            }
            queue =
                self.shared.changed.wait_timeout(queue, due - now).unwrap_or_else(PoisonError::into_inner).0;
        }
        let job = match unfinished {
            Some(failed) => Some(queue.take_again(failed)),
            None => queue.take(),
        };
        if queue.is_empty() {
            queue.hurry = false;
        }
        (job, queue.questions.drain(..).collect(), queue.stopping)
    }

    /// Answers a question, or puts it back with what was found so far: writes do not wait for a long search.
    fn answer(&mut self, question: Question) {
        let Question { mut query, mut found, reply } = question;
        match self.store.events(&query) {
            Ok(EventPage { events, next }) => {
                query.limit -= events.len().min(query.limit);
                found.extend(events);
                if next.is_none() || query.limit == 0 {
                    return (reply.0)(Ok(EventPage { events: found, next }));
                }
                query.before = next;
                self.shared.lock().questions.push_back(Question { query, found, reply });
            }
            Err(e) => (reply.0)(Err(e)),
        }
    }

    fn linger(&self, queue: &Queue) -> Duration {
        if queue.is_urgent() { self.options.linger } else { self.options.linger_notes }
    }

    fn pause(&self) -> Duration {
        let (first, longest) = self.options.pause;
        first.saturating_mul(1 << self.tries.saturating_sub(1).min(20)).min(longest)
    }

    /// Writes a batch; gives it back if it is to be tried again.
    fn carry_out(&mut self, job: Job, stopping: bool) -> Option<Job> {
        let done = if job.afresh { self.store.replace(&job.writes) } else { self.store.write(&job.writes) };
        self.publish_notes();
        let mut queue = self.shared.lock();
        match done {
            Ok(()) => {
                self.tries = 0;
                queue.in_hand = 0;
                queue.status.written += job.writes.len() as u64;
                self.events += job.writes.iter().filter(|w| matches!(w, Write::Event(_))).count() as u64;
                queue.status.problem = None;
                drop(queue);
                self.shared.changed.notify_all();
                None
            }
            Err(e) => {
                self.tries += 1;
                queue.status.failures += 1;
                queue.status.problem = Some(problem(&e));
                if self.tries == 1 {
                    tracing::error!(
                        "{e}; bans are enforced all the same, and kept as soon as it works again"
                    );
                }
                if !stopping && is_hopeless(&e, self.tries) {
                    queue.give_up(&job);
                    // The next batch shows whether the store works.
                    queue.status.problem = None;
                    self.tries = 0;
                    return None;
                }
                Some(job)
            }
        }
    }

    /// Takes a step of forgetting, if it is time.
    fn prune_in_time(&mut self) {
        let WriterOptions { keep, max_events, max_bytes, prune_every, prune_events, .. } = self.options;
        if !self.pruning {
            if self.pruned.elapsed() < prune_every && self.events < prune_events {
                return;
            }
            self.events = 0;
        }
        let keep = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        let keep_from = Wall(Wall::now().0.saturating_sub(keep));
        match self.store.prune(Retention { keep_from, max_events, max_bytes }) {
            Ok(more) => self.pruning = more,
            Err(e) => {
                tracing::warn!("{e}; trying again in {prune_every:?}");
                self.shared.lock().status.failures += 1;
                self.pruning = false;
            }
        }
        if !self.pruning {
            self.pruned = Instant::now();
            self.publish_notes();
        }
    }

    fn publish_notes(&mut self) {
        let notes = self.store.take_notes();
        if notes.is_empty() {
            return;
        }
        let known = &mut self.shared.lock().status.notes;
        for note in notes {
            if known.len() < MAX_NOTES && !known.contains(&note) {
                known.push(note);
            }
        }
    }
}

fn problem(error: &StoreError) -> String {
    format!("{error}; bans are enforced, changes wait in memory and are lost at a reboot")
}

/// Whether trying the same batch again leads nowhere.
fn is_hopeless(error: &StoreError, tries: u32) -> bool {
    match error {
        StoreError::Failed { .. } => tries >= GIVE_UP,
        e => e.class() == StoreErrorClass::Fatal,
    }
}
