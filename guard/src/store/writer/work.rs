//! The loop of the store's thread: wait, write, try again, answer, forget.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::queue::{Job, Question, Queue};
use super::{First, Shared, WriterOptions};
use crate::store::{EventPage, Retention, Store, StoreError, Write};
use crate::time::Wall;

/// Failures without a known cause after which a batch is given up for a resync: something in it may be the cause.
const GIVE_UP: u32 = 5;

pub(super) fn run(mut store: Box<dyn Store>, options: WriterOptions, shared: &Shared, first: First) {
    first(&mut *store);
    let pruned = Instant::now();
    let retry = None;
    Worker { store, options, shared, pruned, pruning: false, events: 0, tries: 0, retry }.run();
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
    /// What failed last, and when it is tried again.
    retry: Option<(Job, Instant)>,
}

impl Worker<'_> {
    fn run(mut self) {
        self.learn_findings();
        loop {
            let (job, questions, stopping) = self.wait();
            if let Some(job) = job {
                self.carry_out(job, stopping);
            }
            for question in questions {
                self.answer(question);
                self.learn_findings();
            }
            if !stopping {
                self.prune_in_time();
            }
            if stopping && (self.retry.is_some() || self.shared.lock().is_empty()) {
                return;
            }
        }
    }

    /// Waits until there is something to do, with company for it, or until a pause after a failure is over: nothing but
    /// the end makes that shorter.
    fn wait(&mut self) -> (Option<Job>, Vec<Question>, bool) {
        let retry_at = self.retry.as_ref().map(|(_, at)| *at);
        let mut first_seen: Option<Instant> = None;
        let mut queue = self.shared.lock();
        let is_due = loop {
            let due = match retry_at {
                Some(at) => at,
                None if queue.is_empty() => self.pruned + self.options.prune_every,
                None => *first_seen.get_or_insert_with(Instant::now) + self.linger(&queue),
            };
            let now = Instant::now();
            let hurry = retry_at.is_none() && (queue.hurry || queue.wants_answers() || self.pruning);
            if queue.stopping || hurry || now >= due {
                break true;
            }
            if queue.wants_answers() {
                break false;
            }
            queue =
                self.shared.changed.wait_timeout(queue, due - now).unwrap_or_else(PoisonError::into_inner).0;
        };
        let job = match self.retry.take_if(|_| is_due) {
            Some((failed, _)) => Some(queue.take_again(failed)),
            None if is_due => queue.take(),
            None => None,
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

    /// Writes a batch; what fails is tried again later.
    fn carry_out(&mut self, job: Job, stopping: bool) {
        let done = if job.afresh { self.store.replace(&job.writes) } else { self.store.write(&job.writes) };
        self.learn_findings();
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
                    return;
                }
                drop(queue);
                self.retry = Some((job, Instant::now() + self.pause()));
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
        let now = Wall::now();
        let keep_from = Wall(now.0.saturating_sub(keep));
        let forgive_after = self.shared.lock().forgive_after;
        match self.store.prune(Retention { keep_from, now, forgive_after, max_events, max_bytes }) {
            Ok(more) => self.pruning = more,
            Err(e) => {
                tracing::warn!("{e}; trying again in {prune_every:?}");
                self.shared.lock().status.failures += 1;
                self.pruning = false;
            }
        }
        if !self.pruning {
            self.pruned = Instant::now();
        }
        self.learn_findings();
    }

    /// Passes on what the store has found: what people are to know, and whether it needs everything again.
    fn learn_findings(&mut self) {
        let (notes, has_lost) = (self.store.take_notes(), self.store.take_losses());
        if notes.is_empty() && !has_lost {
            return;
        }
        let mut queue = self.shared.lock();
        queue.note(notes, Instant::now());
        if has_lost {
            queue.lose();
        }
    }
}

fn problem(error: &StoreError) -> String {
    format!("{error}; bans are enforced, changes wait in memory and are lost at a reboot")
}

/// Whether trying the same batch again leads nowhere: something in it may be the cause. Whatever else is wrong may pass.
const fn is_hopeless(error: &StoreError, tries: u32) -> bool {
    matches!(error, StoreError::Failed { .. }) && tries >= GIVE_UP
}
