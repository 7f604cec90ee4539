//! The bitmaps of `guard_common::bitmap`, shared with the program by a memory map.
#![allow(unsafe_code, reason = "a memory map is reached through a pointer")]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

use guard_common::bitmap::{FIRST_WORD, KEY_BITS, LEAST_WORDS, MOST_WORDS, Slots, WIDE_WORDS};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::error::DatapathError;
use super::pin::Pins;
use crate::target::Target;

/// A prefix that holds more nets than this, as a power of two, is marked by its wide nets: /16 and shorter, for IPv6
/// /40 and shorter.
const MOST_NETS: u32 = 7;
/// An IPv6 prefix that holds more wide nets than this, as a power of two, marks them all: it would mark most of them
/// one by one.
const MOST_WIDE: u32 = 12;
/// A bitmap has at least this many times the bits that its keys ask for: then one source in a hundred looks like one
/// that is banned.
const SPACE: u64 = 5;

/// One bitmap. Bits are set for bans before the ban is written and cleared only by [`replace`](Bits::replace), so
/// that a clear bit always means "no ban".
#[derive(Debug)]
pub struct Bits {
    name: &'static str,
    start: NonNull<AtomicU64>,
    length: usize,
    /// Bits that are set for hosts and nets, at least.
    set: AtomicU64,
    map: OwnedFd,
}

// SAFETY: the memory map belongs to this value, and its words are atomics.
unsafe impl Send for Bits {}

impl Bits {
    /// Maps the memory of an array map that has `words` words for hosts and nets.
    pub(super) fn open(name: &'static str, map: OwnedFd, words: u32) -> io::Result<Self> {
        let length = (FIRST_WORD + words) as usize;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address the kernel chooses touches nothing else.
        let start = unsafe { mmap(ptr::null_mut(), length * 8, access, MapFlags::SHARED, &map, 0) }?;
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))?;
        let bits = Self { name, start, length, set: AtomicU64::new(0), map };
        bits.set.store(count(bits.all()), Ordering::Relaxed);
        Ok(bits)
    }

    /// The map's name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Words for hosts and nets.
    pub fn words(&self) -> u32 {
        self.length as u32 - FIRST_WORD
    }

    /// Sets what a target covers.
    pub fn mark(&self, target: Target) {
        self.set.fetch_add(mark(self.all(), target), Ordering::Relaxed);
    }

    /// Whether an address may be banned.
    pub fn is_marked(&self, address: IpAddr) -> bool {
        let words = self.all();
        let read = |number: u32| words.get(number as usize).map(|word| word.load(Ordering::Relaxed));
        slots(address).is_marked(self.words(), read)
    }

    /// How many hosts and nets a target is marked by.
    pub fn keys(target: Target) -> u64 {
        match Cover::of(target) {
            Cover::Host => 1,
            Cover::Nets(power) => 1 << power,
            Cover::Wide(_) => 0,
        }
    }

    /// How many words there should be before so many more hosts and nets are marked; `None` if there are enough.
    pub fn wanted(&self, keys: u64) -> Option<u32> {
        let needed = self.set.load(Ordering::Relaxed) + keys * u64::from(KEY_BITS);
        let words = words_for(needed);
        (words > self.words()).then_some(words)
    }

    /// A bitmap of this size with no bit set, to be filled for [`replace`](Self::replace).
    pub fn fresh(&self) -> FreshBits {
        let words = (0..self.length).map(|_| AtomicU64::new(0)).collect();
        FreshBits { words, set: AtomicU64::new(0) }
    }

    /// Takes the bits of `fresh` over, and clears the rest. No bit of them is clear at any time, if it was not before.
    /// Whatever was marked since `fresh` was begun has to be marked in it too. One of another size, begun before the
    /// bitmap grew, is of no use: then nothing is cleared.
    pub fn replace(&self, fresh: &FreshBits) {
        if fresh.words.len() != self.length {
            return;
        }
        for (word, fresh) in self.all().iter().zip(&fresh.words) {
            let fresh = fresh.load(Ordering::Relaxed);
            if word.load(Ordering::Relaxed) != fresh {
                word.store(fresh, Ordering::Relaxed);
            }
        }
        self.set.store(fresh.set.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Pins the map again if somebody took the pin away; whether that was so.
    pub(super) fn ensure_pin(&self, pins: &Pins) -> Result<bool, DatapathError> {
        Pins::ensure(&pins.map(self.name), self.map.as_fd())
    }

    fn all(&self) -> &[AtomicU64] {
        // SAFETY: the mapping holds `length` aligned words and lives as long as this value; others change them by
        // whole words only.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }
}

/// Bits that are being gathered to take the place of those in force.
#[derive(Debug)]
pub struct FreshBits {
    words: Vec<AtomicU64>,
    /// Bits that are set for hosts and nets.
    set: AtomicU64,
}

impl FreshBits {
    /// Sets what a target covers, which is of the bitmap's family.
    pub fn mark(&self, target: Target) {
        self.set.fetch_add(mark(&self.words, target), Ordering::Relaxed);
    }
}

impl Drop for Bits {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own. Nothing can be done about a failure.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.length * 8) };
    }
}

fn slots(address: IpAddr) -> Slots {
    match address {
        IpAddr::V4(address) => Slots::v4(address.octets()),
        IpAddr::V6(address) => Slots::v6(address.octets()),
    }
}

/// Words with room for this many set bits.
fn words_for(bits: u64) -> u32 {
    let words = (bits * SPACE).div_ceil(64).next_power_of_two();
    u32::try_from(words).unwrap_or(MOST_WORDS).clamp(LEAST_WORDS, MOST_WORDS)
}

/// Bits that are set for hosts and nets.
fn count(words: &[AtomicU64]) -> u64 {
    let near = words.iter().skip(FIRST_WORD as usize);
    near.map(|word| u64::from(word.load(Ordering::Relaxed).count_ones())).sum()
}

/// What a target is marked by.
enum Cover {
    Host,
    /// Its nets, 2 to this power, or the one it is in.
    Nets(u32),
    /// Its wide nets.
    Wide(u32),
}

/// Places in [`lengths`].
const NET: usize = 1;
const WIDE: usize = 2;

/// Lengths of hosts, nets and wide nets in bits, as [`Slots`] has them.
fn lengths(address: IpAddr) -> [u32; 3] {
    match address {
        IpAddr::V4(_) => [32, 24, 16],
        IpAddr::V6(_) => [64, 48, 32],
    }
}

impl Cover {
    fn of(target: Target) -> Self {
        let length = u32::from(target.length());
        let [host, net, wide] = lengths(target.address());
        if length >= host {
            Self::Host
        } else if length + MOST_NETS >= net {
            Self::Nets(net.saturating_sub(length))
        } else {
            Self::Wide(wide.saturating_sub(length))
        }
    }
}

/// Sets the bits of a target. How many bits for hosts and nets were clear before.
fn mark(words: &[AtomicU64], target: Target) -> u64 {
    let address = target.address();
    let near = words.len() as u32 - FIRST_WORD;
    match Cover::of(target) {
        Cover::Host => {
            let slots = slots(address);
            set(words, slots.word(near), slots.host())
        }
        Cover::Nets(power) => {
            let (number, mask) = slots(address).wide();
            set(words, number, mask);
            let nets = (0..1 << power).map(|number| slots(step(address, NET, number)));
            nets.map(|slots| set(words, slots.word(near), slots.net())).sum()
        }
        Cover::Wide(power) => {
            let cover = |number, mask| {
                set(words, number, mask);
                set(words, number + WIDE_WORDS, mask);
            };
            if address.is_ipv6() && power > MOST_WIDE {
                (0..WIDE_WORDS).for_each(|number| cover(number, u64::MAX));
            } else {
                let wide = (0..1 << power).map(|number| slots(step(address, WIDE, number)).wide());
                wide.for_each(|(number, mask)| cover(number, mask));
            }
            0
        }
    }
}

/// Sets bits of a word; how many were clear before.
fn set(words: &[AtomicU64], number: u32, mask: u64) -> u64 {
    let before = words[number as usize].fetch_or(mask, Ordering::Relaxed);
    u64::from((mask & !before).count_ones())
}

/// The address `number` nets or wide nets further on.
fn step(address: IpAddr, level: usize, number: u32) -> IpAddr {
    let length = lengths(address)[level];
    match address {
        IpAddr::V4(first) => Ipv4Addr::from_bits(first.to_bits() + (number << (32 - length))).into(),
        IpAddr::V6(first) => {
            Ipv6Addr::from_bits(first.to_bits() + (u128::from(number) << (128 - length))).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BANS: u64 = 100_000;

    /// An address for a number.
    type Make = fn(u64) -> IpAddr;

    /// A bitmap in plain memory.
    struct Memory(Vec<AtomicU64>);

    impl Memory {
        fn new(words: u32) -> Self {
            Self((0..FIRST_WORD + words).map(|_| AtomicU64::new(0)).collect())
        }

        fn is_marked(&self, address: IpAddr) -> bool {
            let read = |number: u32| self.0.get(number as usize).map(|word| word.load(Ordering::Relaxed));
            slots(address).is_marked(self.0.len() as u32 - FIRST_WORD, read)
        }
    }

    /// Numbers that fill their width (splitmix64).
    fn spread(number: u64) -> u64 {
        let z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn v4(number: u64) -> IpAddr {
        Ipv4Addr::from_bits(spread(number) as u32).into()
    }

    fn v6(number: u64) -> IpAddr {
        Ipv6Addr::from_bits(u128::from(spread(number)) << 64 | u128::from(spread(!number))).into()
    }

    #[test]
    fn what_a_target_covers_is_marked_whatever_its_length() {
        for (make, longest) in [(v4 as Make, 32_u8), (v6, 128)] {
            for length in 0..=longest {
                let target = Target::prefix(make(u64::from(length) + 1), length).unwrap();
                let memory = Memory::new(LEAST_WORDS);
                mark(&memory.0, target);
                for number in 0..2000 {
                    // Host bits at random, the first and the last address too.
                    let random = match number {
                        0 => 0,
                        1 => u128::MAX,
                        _ => u128::from(spread(number)) << 64 | u128::from(spread(number << 32)),
                    };
                    let inside: IpAddr = match target.address() {
                        IpAddr::V4(first) => {
                            let hosts = u32::MAX.checked_shr(length.into()).unwrap_or(0);
                            Ipv4Addr::from_bits(first.to_bits() | random as u32 & hosts).into()
                        }
                        IpAddr::V6(first) => {
                            let hosts = u128::MAX.checked_shr(length.into()).unwrap_or(0);
                            Ipv6Addr::from_bits(first.to_bits() | random & hosts).into()
                        }
                    };
                    assert!(target.covers(inside), "{inside} is not in {target}");
                    assert!(memory.is_marked(inside), "{inside} of {target}");
                }
            }
        }
    }

    /// Of addresses anywhere, whatever the order in which the banned ones are.
    #[test]
    fn few_others_are_marked() {
        let shapes: [(&str, Make, Make); 6] = [
            ("scattered", v4, v4),
            ("one after the other", |n| Ipv4Addr::from_bits(0x0b00_0000 + n as u32).into(), v4),
            ("one in each /24", |n| Ipv4Addr::from_bits((n as u32) << 8 | 7).into(), v4),
            ("scattered", v6, v6),
            (
                "one /64 after the other",
                |n| Ipv6Addr::from_bits((0x2001_0db8 << 96) | u128::from(n) << 64).into(),
                v6,
            ),
            ("one in each /48", |n| Ipv6Addr::from_bits((0x2a << 120) | u128::from(n) << 80).into(), v6),
        ];
        for (name, banned, other) in shapes {
            let memory = Memory::new(words_for(BANS * u64::from(KEY_BITS)));
            for number in 0..BANS {
                mark(&memory.0, Target::host(banned(number)));
            }
            let marked = (0..BANS).filter(|number| memory.is_marked(other(u64::MAX / 3 + number))).count();
            assert!(marked < 2000, "{name}: {marked} of {BANS}");
        }
    }

    #[test]
    fn it_grows_with_the_bits_that_are_set_and_not_for_ever() {
        assert_eq!(words_for(0), LEAST_WORDS);
        assert_eq!(words_for(3_000_000), 1 << 18);
        assert_eq!(words_for(u64::MAX / SPACE), MOST_WORDS);
    }
}
