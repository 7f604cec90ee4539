//! Latencies counted into fixed buckets, without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of the buckets in microseconds; one more takes what is longer.
pub const BOUNDS: [u64; 14] =
    [50, 100, 250, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000];

/// A histogram that one thread observes into and another reads.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    nanoseconds: AtomicU64,
}

/// What a [`Histogram`] held at one time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    /// Observations in each bucket of [`BOUNDS`], not cumulative, the last without bound.
    pub buckets: [u64; BOUNDS.len() + 1],
    /// Sum of all observations.
    pub sum: Duration,
}

impl Histogram {
    /// Counts one latency.
    pub fn observe(&self, latency: Duration) {
        // A bucket's bound is inclusive, so part of a microsecond counts as a whole one.
        let micros = latency.as_nanos().div_ceil(1000);
        let bucket = BOUNDS.partition_point(|bound| u128::from(*bound) < micros);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.nanoseconds.fetch_add(latency.as_nanos() as u64, Ordering::Relaxed);
    }

    /// What it holds now.
    pub fn distribution(&self) -> Distribution {
        Distribution {
            buckets: std::array::from_fn(|index| self.buckets[index].load(Ordering::Relaxed)),
            sum: Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed)),
        }
    }
}

impl Distribution {
    /// Number of observations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive() {
        let histogram = Histogram::default();
        for nanos in [0, 50_000, 50_001, 1_000_000_000, 1_000_000_001, 90_000_000_000] {
            histogram.observe(Duration::from_nanos(nanos));
        }
        let seen = histogram.distribution();
        assert_eq!((seen.buckets[0], seen.buckets[1], seen.buckets[13], seen.buckets[14]), (2, 1, 1, 2));
        assert_eq!(seen.count(), 6);
        assert_eq!(seen.sum, Duration::from_nanos(92_000_100_002));
    }
}
