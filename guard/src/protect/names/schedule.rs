//! When each name is asked for: pure, with the time as an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Answer, Pace};
use crate::target::HostName;
use crate::time::Moment;

/// First pause after a failure; it doubles.
const RETRY: Duration = Duration::from_secs(10);
/// And the longest.
const RETRY_MOST: Duration = Duration::from_secs(300);

/// What is due, and when.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    names: BTreeMap<HostName, Turn>,
}

#[derive(Clone, Copy, Debug)]
struct Turn {
    due: Moment,
    failures: u32,
}

impl Schedule {
    /// These names are wanted. One that is new is due at once.
    pub(super) fn want(&mut self, names: &BTreeSet<HostName>, now: Moment) {
        self.names.retain(|name, _| names.contains(name));
        for name in names {
            self.names.entry(name.clone()).or_insert(Turn { due: now, failures: 0 });
        }
    }

    /// The name that has been due for longest.
    pub(super) fn due(&self, now: Moment) -> Option<HostName> {
        let first = self.names.iter().min_by_key(|(_, turn)| turn.due)?;
        (first.1.due <= now).then(|| first.0.clone())
    }

    /// When the next is due.
    pub(super) fn next(&self) -> Option<Moment> {
        self.names.values().map(|turn| turn.due).min()
    }

    /// A name was asked for.
    pub(super) fn answered(&mut self, name: &HostName, answer: &Answer, pace: Pace, now: Moment) {
        let Some(turn) = self.names.get_mut(name) else { return };
        if answer.failure().is_some() {
            let pause = RETRY.saturating_mul(1 << turn.failures.min(10)).min(RETRY_MOST).min(pace.most);
            *turn = Turn { due: now + pause, failures: turn.failures + 1 };
        } else {
            let holds = answer.holds().unwrap_or(pace.most);
            *turn = Turn { due: now + holds.min(pace.most).max(pace.least), failures: 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Found;
    use super::*;

    const PACE: Pace = Pace { least: Duration::from_secs(60), most: Duration::from_secs(3600) };

    fn names(all: &[&str]) -> BTreeSet<HostName> {
        all.iter().map(|name| name.parse().unwrap()).collect()
    }

    fn holds(seconds: &[Option<u64>; 2]) -> Answer {
        let found = |seconds: Option<u64>| {
            let addresses = seconds.map(|_| "203.0.113.7".parse().unwrap()).into_iter().collect();
            Ok(Found { addresses, holds: seconds.map(Duration::from_secs) })
        };
        Answer { v4: found(seconds[0]), v6: found(seconds[1]), is_final: false }
    }

    fn after(seconds: i64) -> Moment {
        Moment(seconds * 1000)
    }

    #[test]
    fn a_name_is_asked_for_when_its_answer_ends_within_bounds() {
        for (seconds, due) in [
            ([Some(300), Some(400)], 300),
            ([Some(400), Some(300)], 300),
            ([Some(300), None], 300),
            ([Some(1), None], 60),
            ([Some(1_000_000), None], 3600),
        ] {
            let mut schedule = Schedule::default();
            let all = names(&["a.org"]);
            schedule.want(&all, after(0));
            let name = schedule.due(after(0)).unwrap();
            schedule.answered(&name, &holds(&seconds), PACE, after(0));
            assert_eq!(schedule.next(), Some(after(due)), "{seconds:?}");
            assert_eq!((schedule.due(after(due - 1)), schedule.due(after(due))), (None, Some(name)));
        }
    }

    #[test]
    fn failures_are_tried_again_less_and_less_often() {
        let mut schedule = Schedule::default();
        schedule.want(&names(&["a.org"]), after(0));
        let (name, mut now, mut pauses) = ("a.org".parse().unwrap(), after(0), Vec::new());
        for _ in 0..8 {
            schedule.answered(&name, &Answer::failed("gone"), PACE, now);
            let next = schedule.next().unwrap();
            pauses.push(next.since(now).as_secs());
            now = next;
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 300, 300, 300]);
        schedule.answered(&name, &holds(&[Some(600), None]), PACE, now);
        assert_eq!(schedule.next(), Some(now + Duration::from_secs(600)));
        schedule.answered(&name, &Answer::failed("gone"), PACE, now);
        assert_eq!(schedule.next(), Some(now + RETRY), "it begins anew");
        // A name without any address is no answer to live by.
        schedule.answered(&name, &holds(&[None, None]), PACE, now);
        assert_eq!(schedule.next(), Some(now + 2 * RETRY));
    }

    #[test]
    fn what_is_new_is_due_at_once_and_what_is_gone_never() {
        let mut schedule = Schedule::default();
        schedule.want(&names(&["a.org"]), after(0));
        let a = "a.org".parse().unwrap();
        schedule.answered(&a, &holds(&[Some(600), None]), PACE, after(0));
        schedule.want(&names(&["a.org", "b.org"]), after(5));
        assert_eq!(schedule.due(after(5)).map(String::from).as_deref(), Some("b.org"));
        schedule.want(&names(&["a.org"]), after(6));
        assert_eq!((schedule.due(after(6)), schedule.next()), (None, Some(after(600))));
        schedule.want(&names(&[]), after(7));
        assert_eq!(schedule.next(), None);
        schedule.answered(&a, &Answer::failed("late"), PACE, after(8));
        assert_eq!(schedule.next(), None, "what comes too late changes nothing");
    }
}
