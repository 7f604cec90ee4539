//! What waits for the store, and what is given up first when there is too much of it.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use super::WriterStatus;
use super::latest::Latest;
use crate::store::{EventPage, EventQuery, KeptEvent, StoreError, Write};

/// Scores and logins that may wait for each other write that may. They are small, and asking for the whole set is not.
const ADDRESSES: usize = 4;

/// Notes that are kept: a disk that damages the state again and again has been told of by then.
const MAX_NOTES: usize = 32;
/// How long a note is told. What holds on is noted again.
const NOTE_LASTS: Duration = Duration::from_secs(24 * 3600);

/// Called with the answer to a question.
pub(super) struct Reply(pub(super) Box<dyn FnOnce(Result<EventPage, StoreError>) + Send>);

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}

/// A question for events.
#[derive(Debug)]
pub(super) struct Question {
    /// What is still wanted.
    pub(super) query: EventQuery,
    /// What was found.
    pub(super) found: Vec<KeptEvent>,
    pub(super) reply: Reply,
}

/// What is written as one transaction.
#[derive(Debug, Default)]
pub(super) struct Job {
    /// Whether bans, strikes, allowances, scores and logins are forgotten first.
    pub(super) afresh: bool,
    pub(super) writes: Vec<Write>,
}

#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a request or a fact of its own, not a state")]
pub(super) struct Queue {
    waiting: VecDeque<Write>,
    /// Positions, scores and logins, which come behind everything in `waiting`.
    latest: Latest,
    /// A whole set that comes before everything in `waiting`.
    whole: Option<Vec<Write>>,
    urgent: bool,
    capacity: usize,
    /// Writes the thread has taken and not yet made durable.
    pub(super) in_hand: usize,
    pub(super) questions: VecDeque<Question>,
    /// Changes were lost; the whole set is needed.
    pub(super) resync_pending: bool,
    /// Someone waits: do not linger.
    pub(super) hurry: bool,
    pub(super) stopping: bool,
    pub(super) stopped: bool,
    /// Quiet time after which a strike is forgiven.
    pub(super) forgive_after: Duration,
    /// What was found lately, and when last.
    notes: Vec<(String, Instant)>,
    pub(super) status: WriterStatus,
}

impl Queue {
    pub(super) fn new(capacity: usize, forgive_after: Duration) -> Self {
        Self {
            waiting: VecDeque::new(),
            latest: Latest::default(),
            whole: None,
            urgent: false,
            capacity: capacity.max(1),
            in_hand: 0,
            questions: VecDeque::new(),
            resync_pending: false,
            hurry: false,
            stopping: false,
            stopped: false,
            forgive_after,
            notes: Vec::new(),
            status: WriterStatus::default(),
        }
    }

    /// Takes a write, or what has to give way to it. What is pushed before the next [`Self::take`] is written as
    /// one.
    pub(super) fn push(&mut self, write: Write) {
        let is_event = matches!(write, Write::Event(_));
        match write {
            Write::Position(position) => return self.latest.read(position),
            Write::Scores(scores) => return self.push_addresses(|latest| latest.changed(&scores)),
            Write::Logins(logins) => return self.push_addresses(|latest| latest.logged_in(&logins)),
            Write::Engine(state) => return self.latest.state(state),
            _ => {}
        }
        if self.waiting.len() >= self.capacity {
            if is_event {
                self.status.lost_events += 1;
                return;
            }
            self.overflow();
        }
        self.urgent |= !is_event;
        self.waiting.push_back(write);
    }

    fn push_addresses(&mut self, push: impl FnOnce(&mut Latest)) {
        if self.resync_pending {
            return; // the whole set has them
        }
        push(&mut self.latest);
        if self.latest.addresses() > self.capacity.saturating_mul(ADDRESSES) {
            self.status.overflows += 1;
            self.lose();
        }
    }

    /// Drops what a later resync brings again, and if that is not enough everything that waits.
    fn overflow(&mut self) {
        self.status.overflows += 1;
        self.lose();
        if self.waiting.len() >= self.capacity {
            self.status.lost_events += self.waiting.len() as u64;
            self.waiting.clear();
        }
    }

    /// Changes are lost: only the whole set helps. Until it comes positions wait, so that none is ahead of what is
    /// missing.
    pub(super) fn lose(&mut self) {
        self.resync_pending = true;
        self.latest.forget_addresses();
        self.waiting.retain(outlives_resync);
    }

    /// Takes a whole set. Events and positions that waited stay, before it, because they are older.
    pub(super) fn replace(&mut self, writes: Vec<Write>) {
        self.resync_pending = false;
        self.latest.forget_addresses();
        let older =
            self.whole.take().into_iter().flatten().chain(self.waiting.drain(..)).chain(self.latest.take());
        self.whole = Some(older.filter(outlives_resync).chain(writes).collect());
        self.urgent = true;
    }

    /// The next transaction after one that failed: the same, unless a whole set has come since.
    pub(super) fn take_again(&mut self, failed: Job) -> Job {
        let Some(whole) = self.whole.take() else { return failed };
        let writes: Vec<Write> = failed.writes.into_iter().filter(outlives_resync).chain(whole).collect();
        self.in_hand = writes.len().max(1);
        Job { afresh: true, writes }
    }

    /// A transaction can never be written: gives it up.
    pub(super) fn give_up(&mut self, job: &Job) {
        self.in_hand = 0;
        for write in &job.writes {
            if let Write::Position(position) = write {
                self.latest.read_before(position);
            }
        }
        self.status.lost_events += job.writes.iter().filter(|w| matches!(w, Write::Event(_))).count() as u64;
        self.lose();
    }

    pub(super) fn ask(&mut self, query: EventQuery, reply: Reply) {
        self.questions.push_back(Question { query, found: Vec::new(), reply });
    }

    /// The next transaction; `None` if nothing waits. It has all that waits, so that nothing that was given together
    /// is torn apart; the capacity bounds it.
    pub(super) fn take(&mut self) -> Option<Job> {
        let job = if let Some(writes) = self.whole.take() {
            Job { afresh: true, writes }
        } else if self.is_empty() {
            return None;
        } else {
            let mut writes: Vec<Write> = std::mem::take(&mut self.waiting).into();
            if !self.resync_pending {
                writes.extend(self.latest.take());
            }
            Job { afresh: false, writes }
        };
        self.urgent &= !self.waiting.is_empty();
        self.in_hand = job.writes.len().max(1);
        Some(job)
    }

    /// Writes that are not durable yet.
    pub(super) fn len(&self) -> usize {
        self.waiting.len() + self.latest.len() + self.in_hand + self.whole.as_ref().map_or(0, Vec::len)
    }

    pub(super) fn is_done(&self) -> bool {
        self.in_hand == 0 && self.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        let held_back = self.resync_pending || self.latest.is_empty();
        self.waiting.is_empty() && held_back && self.whole.is_none()
    }

    /// Whether something waits that must not wait long.
    pub(super) fn is_urgent(&self) -> bool {
        self.urgent
    }

    /// Whether the thread has to hear of what was just pushed: it knows already of anything that was there.
    pub(super) fn wants_attention(&self, was_calm: bool, was_empty: bool) -> bool {
        (was_calm && self.urgent) || (was_empty && !self.is_empty())
    }

    /// Takes notes of what was found.
    pub(super) fn note(&mut self, found: Vec<String>, now: Instant) {
        for note in found {
            if let Some((_, at)) = self.notes.iter_mut().find(|(known, _)| *known == note) {
                *at = now;
            } else if self.notes.len() < MAX_NOTES {
                self.notes.push((note, now));
            }
        }
    }

    /// How the store is doing.
    pub(super) fn status_at(&mut self, now: Instant) -> WriterStatus {
        self.notes.retain(|(_, at)| now.saturating_duration_since(*at) < NOTE_LASTS);
        let notes = self.notes.iter().map(|(note, _)| note.clone()).collect();
        WriterStatus { queued: self.len() as u64, notes, ..self.status.clone() }
    }

    pub(super) fn wants_answers(&self) -> bool {
        !self.questions.is_empty()
    }
}

/// Whether a write is not superseded by a later whole set of bans, strikes, allowances, scores and logins.
fn outlives_resync(write: &Write) -> bool {
    matches!(write, Write::Event(_) | Write::Position(_) | Write::ForgetPosition(_) | Write::Engine(_))
}
