//! Threads that must not end: when one has ended unasked, how long to wait before it is started again.

use std::time::{Duration, Instant};

/// The pause after the first end; it doubles with each further one.
const FIRST: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(60);
/// A thread that has run this long begins with the first pause again.
const STEADY: Duration = Duration::from_secs(300);

/// The pauses of one thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Again {
    started: Instant,
    pause: Duration,
    /// When the next start is due, while the thread is not running.
    due: Option<Instant>,
}

impl Again {
    /// It was started for the first time.
    pub(super) const fn new(now: Instant) -> Self {
        Self { started: now, pause: FIRST, due: None }
    }

    /// It has ended, or could not be started. Answers the pause before the next start.
    pub(super) fn ended(&mut self, now: Instant) -> Duration {
        if self.due.is_none() && now.saturating_duration_since(self.started) >= STEADY {
            self.pause = FIRST;
        }
        let pause = self.pause;
        self.due = Some(now + pause);
        self.pause = (pause * 2).min(LONGEST);
        pause
    }

    /// Whether it is to be started now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| now >= due)
    }

    /// It was started again.
    pub(super) const fn started(&mut self, now: Instant) {
        self.started = now;
        self.due = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_longest_and_begin_anew_after_a_steady_time() {
        let mut now = Instant::now();
        let mut again = Again::new(now);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            assert!(!again.is_due(now));
            let pause = again.ended(now);
            assert!(!again.is_due(now) && again.is_due(now + pause));
            pauses.push(pause.as_secs());
            now += pause;
            again.started(now);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
        now += STEADY;
        assert_eq!(again.ended(now), FIRST);
        assert_eq!(again.ended(now), FIRST * 2, "a start that fails is no steady time");
    }
}
