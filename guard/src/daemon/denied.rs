//! Who asked over the control socket and may not: an event now and then, so that nobody can fill the store with them.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::json;

use super::control::Control;

/// There is one event in this time at most.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// Refusals that an event has told of.
#[derive(Debug, Default)]
pub(super) struct Denials {
    told: u64,
    last: Option<Instant>,
}

impl Denials {
    /// How many of all there were are to be told of, if it is time.
    fn untold(&mut self, all: u64, now: Instant) -> Option<u64> {
        let untold = all.saturating_sub(self.told);
        if untold == 0 || self.last.is_some_and(|last| now.duration_since(last) < TELL_EVERY) {
            return None;
        }
        self.told = all;
        self.last = Some(now);
        Some(untold)
    }
}

impl Control {
    /// Notes refusals of the control socket that were not noted yet.
    pub(super) fn keep_denials(&mut self, now: Instant) {
        let all = self.api.refused.load(Ordering::Relaxed);
        if let Some(times) = self.denials.untold(all, now) {
            let uid = self.api.refused_uid.load(Ordering::Relaxed);
            self.event(
                "denied",
                None,
                &json!({ "uid": uid, "times": times, "because": "not allowed to ask" }),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_refusals_is_an_event_a_minute() {
        let mut denials = Denials::default();
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(denials.untold(0, at(0)), None, "nobody was refused");
        let told: Vec<u64> = (0..150_000).filter_map(|ms| denials.untold(ms + 1, at(ms))).collect();
        assert_eq!(told, [1, 60_000, 60_000], "each is told of once");
    }
}
