//! Memory that was needed for a while, and memory that is needed soon.
#![allow(unsafe_code, reason = "malloc_trim(3) and prefetching have no safe wrappers")]

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// How long what follows may go on before memory is looked at: one request is often the first of many.
const SOON: Duration = Duration::from_secs(2);

/// Gives memory that has been freed back to the kernel, soon and on a thread of its own: what loading filters,
/// restoring bans or a long list of targets took. The allocator keeps most of it otherwise, between what is in use.
pub(crate) fn give_back() {
    static SCHEDULED: AtomicBool = AtomicBool::new(false);
    if SCHEDULED.swap(true, Ordering::Relaxed) {
        return;
    }
    let started = thread::Builder::new().name("memory".into()).spawn(|| {
        thread::sleep(SOON);
        SCHEDULED.store(false, Ordering::Relaxed);
        trim();
    });
    if started.is_err() {
        SCHEDULED.store(false, Ordering::Relaxed);
    }
}

fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointers; the allocator locks what it looks at.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Asks the processor to fetch what is read soon, and does not wait for it.
#[inline(always)]
pub(crate) fn prefetch<T>(what: &T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: SSE is part of the x86_64 baseline, and a prefetch neither faults nor changes anything.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(what).cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = what;
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn resident() -> usize {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    }

    #[test]
    #[cfg(target_env = "gnu")]
    fn what_lies_between_things_in_use_is_given_back() {
        // Every other block stays in use, so none can be given back by lowering the end of the heap.
        let blocks: Vec<Vec<u8>> = (0..4096).map(|_| vec![1; 32 * 1024]).collect();
        let (kept, freed): (Vec<_>, Vec<_>) = blocks.into_iter().enumerate().partition(|(n, _)| n % 2 == 0);
        drop(freed);
        let before = resident();
        give_back();
        give_back();
        let deadline = Instant::now() + 5 * SOON;
        while resident() + 32 * 1024 * 1024 > before && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(50));
        }
        assert!(resident() + 32 * 1024 * 1024 <= before, "{} of {before} bytes are left", resident());
        drop(kept);
    }
}
