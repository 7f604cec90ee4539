//! Waiting without sleeping longer than needed.

use std::time::{Duration, Instant};

/// How often a condition is looked at.
const INTERVAL: Duration = Duration::from_millis(10);

/// How many times as long as elsewhere everything may take: `GUARD_TEST_PATIENCE`, for emulated machines.
pub fn patience() -> u32 {
    std::env::var("GUARD_TEST_PATIENCE").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Asks until the answer is there. Panics with `what` when the limit has passed.
#[track_caller]
pub fn poll_until<T>(limit: Duration, what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let (start, limit) = (Instant::now(), limit * patience());
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < limit, "not within {limit:?}: {what}");
        std::thread::sleep(INTERVAL);
    }
}
