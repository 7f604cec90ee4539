//! The bitmaps of `guard_common::bitmap`, shared with the program by a memory map.
#![allow(unsafe_code, reason = "a memory map is reached through a pointer")]

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

use guard_common::bitmap::{SLOT6_BITS, locate, slot4, slot6};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::error::DatapathError;
use super::pin::Pins;
use crate::target::Target;

/// An IPv6 prefix that holds more /48 than this sets every bit: it would set most of the bits one by one.
const MOST_NETS6: u32 = 12;

/// One bitmap. Bits are set for bans before the ban is written and cleared only by [`replace`](Bits::replace), so
/// that a clear bit always means "no ban".
#[derive(Debug)]
pub struct Bits {
    start: NonNull<AtomicU64>,
    words: usize,
    map: OwnedFd,
}

// SAFETY: the memory map belongs to this value, and its words are atomics.
unsafe impl Send for Bits {}

impl Bits {
    /// Maps the memory of an array map of `words` words.
    pub(super) fn open(map: OwnedFd, words: u32) -> io::Result<Self> {
        let words = words as usize;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address the kernel chooses touches nothing else.
        let start = unsafe { mmap(ptr::null_mut(), words * 8, access, MapFlags::SHARED, &map, 0) }?;
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))?;
        Ok(Self { start, words, map })
    }

    /// Sets what a target covers.
    pub fn mark(&self, target: Target) {
        mark(self.words(), target, |word, mask| {
            word.fetch_or(mask, Ordering::Relaxed);
        });
    }

    /// Whether an address may be banned.
    pub fn is_marked(&self, address: IpAddr) -> bool {
        let (word, mask) = locate(match address {
            IpAddr::V4(address) => slot4(address.octets()),
            IpAddr::V6(address) => slot6(address.octets()),
        });
        self.words()[word as usize].load(Ordering::Relaxed) & mask != 0
    }

    /// A bitmap of this size with no bit set, to be filled for [`replace`](Self::replace).
    pub fn fresh(&self) -> FreshBits {
        FreshBits((0..self.words).map(|_| AtomicU64::new(0)).collect())
    }

    /// Takes the bits of `fresh` over, and clears the rest. No bit of them is clear at any time, if it was not before.
    /// Whatever was marked since `fresh` was begun has to be marked in it too.
    pub fn replace(&self, fresh: &FreshBits) {
        for (word, fresh) in self.words().iter().zip(&fresh.0) {
            let fresh = fresh.load(Ordering::Relaxed);
            if word.load(Ordering::Relaxed) != fresh {
                word.store(fresh, Ordering::Relaxed);
            }
        }
    }

    /// How many bits are set.
    pub fn count(&self) -> u64 {
        self.words().iter().map(|word| u64::from(word.load(Ordering::Relaxed).count_ones())).sum()
    }

    /// Pins the map again if somebody took the pin away; whether that was so.
    pub(super) fn ensure_pin(&self, pins: &Pins, name: &str) -> Result<bool, DatapathError> {
        Pins::ensure(&pins.map(name), self.map.as_fd())
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping holds `words` aligned words and lives as long as this value; others change them by
        // whole words only.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }
}

/// Bits that are being gathered to take the place of those in force.
#[derive(Debug)]
pub struct FreshBits(Vec<AtomicU64>);

impl FreshBits {
    /// Sets what a target covers, which is of the bitmap's family.
    pub fn mark(&self, target: Target) {
        mark(&self.0, target, |word, mask| {
            word.fetch_or(mask, Ordering::Relaxed);
        });
    }
}

impl Drop for Bits {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own. Nothing can be done about a failure.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.words * 8) };
    }
}

/// Visits the words and bits that a target covers.
fn mark(words: &[AtomicU64], target: Target, set: impl Fn(&AtomicU64, u64)) {
    let length = u32::from(target.length());
    let one = |slot| {
        let (word, mask) = locate(slot);
        set(&words[word as usize], mask);
    };
    match target.address() {
        IpAddr::V4(address) => {
            let first = slot4(address.octets());
            let run = 1_u32 << 24_u32.saturating_sub(length);
            if run < 64 {
                (first..first + run).for_each(one);
            } else {
                // A run of 64 slots or more starts and ends with whole words.
                let start = (first >> 6) as usize;
                for word in &words[start..start + (run >> 6) as usize] {
                    set(word, u64::MAX);
                }
            }
        }
        IpAddr::V6(address) => {
            let shorter = 48_u32.saturating_sub(length);
            if shorter > MOST_NETS6 {
                for word in words {
                    set(word, u64::MAX);
                }
            } else {
                let first = u128::from(address) >> 80;
                (0..1_u128 << shorter).for_each(|net| one(slot6(((first + net) << 80).to_be_bytes())));
            }
        }
    }
}

const _: () = assert!(1 << SLOT6_BITS > 1_u32 << MOST_NETS6);
