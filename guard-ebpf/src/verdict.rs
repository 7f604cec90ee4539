//! The verdict over a source address.
//!
//! Nearly every packet comes from nobody who is banned, so the first look-up is the cheapest: a few bits of a bitmap.
//! Only what passes it costs a look-up by host, then by prefix, and only a ban that hits asks the allowlist.

use core::arch::asm;

use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use aya_ebpf::maps::HashMap;
use aya_ebpf::maps::LpmTrie;
use aya_ebpf::maps::lpm_trie::Key;
use guard_common::bitmap::Slots;
use guard_common::{Entry, PrefixEntry, Reason};

use crate::maps::{
    self, ALLOW4, ALLOW6, BITS4, BITS6, HOSTS4, HOSTS6, NETS6, PREFIXES4, PREFIXES6, Shared, WORDS4, WORDS6,
};

/// The ban that covers a source.
#[derive(Clone, Copy)]
enum Cover {
    /// This one goes on.
    Live(*mut Entry),
    /// There is none that goes on; whether some have ended, as a number of [`ended`].
    Over(u64),
}

/// The verdict over an IPv4 source; counts `bytes` on the ban that hits.
#[inline(always)]
pub fn v4(source: [u8; 4], bytes: u64) -> Reason {
    if !maps::is_marked(&BITS4, &WORDS4, Slots::v4(source)) {
        return Reason::Clean;
    }
    let host = match exact(&HOSTS4, source) {
        Cover::Live(entry) => return hit(entry, Reason::Host, spared4(source), bytes),
        Cover::Over(ended) => ended,
    };
    let prefix = match longest(&PREFIXES4, source) {
        Cover::Live(entry) => return hit(entry, Reason::Prefix, spared4(source), bytes),
        Cover::Over(ended) => ended,
    };
    miss(host | prefix)
}

/// The verdict over an IPv6 source; counts `bytes` on the ban that hits. `is_discovery` tells whether the packet is
/// neighbour discovery; it is asked only once a ban has hit, so that clean traffic does not pay for it.
#[inline(always)]
pub fn v6(source: [u8; 16], bytes: u64, is_discovery: impl Fn() -> bool) -> Reason {
    if !maps::is_marked(&BITS6, &WORDS6, Slots::v6(source)) {
        return Reason::Clean;
    }
    let host = match exact(&HOSTS6, source) {
        Cover::Live(entry) => return hit(entry, Reason::Host, spared6(source, &is_discovery), bytes),
        Cover::Over(ended) => ended,
    };
    let [a, b, c, d, e, f, g, h, ..] = source;
    let net = match exact(&NETS6, [a, b, c, d, e, f, g, h]) {
        Cover::Live(entry) => return hit(entry, Reason::Prefix, spared6(source, &is_discovery), bytes),
        Cover::Over(ended) => ended,
    };
    let prefix = match longest(&PREFIXES6, source) {
        Cover::Live(entry) => return hit(entry, Reason::Prefix, spared6(source, &is_discovery), bytes),
        Cover::Over(ended) => ended,
    };
    miss(host | net | prefix)
}

/// A ban of exactly this key.
#[inline(always)]
fn exact<K>(hash: &HashMap<K, Entry>, key: K) -> Cover {
    match hash.get_ptr_mut(key) {
        Some(entry) if is_live(entry) => Cover::Live(entry),
        Some(_) => Cover::Over(ended()),
        None => Cover::Over(0),
    }
}

/// The longest live prefix. Each round asks for a shorter one than the ended ban of the round before, so that the
/// rounds end after at most one for each length.
#[inline(always)]
fn longest<const N: usize>(trie: &LpmTrie<[u8; N], Shared<PrefixEntry>>, source: [u8; N]) -> Cover {
    let mut over = 0;
    let mut length = N as u32 * 8;
    for _ in 0..=N * 8 {
        let Some(prefix) = maps::prefix(trie, length, source) else { break };
        // SAFETY: a pointer from a look-up is valid until the program returns.
        let (entry, found) = unsafe { (&raw mut (*prefix).entry, (*prefix).length) };
        if is_live(entry) {
            return Cover::Live(entry);
        }
        over = ended();
        if found == 0 || found > length {
            break;
        }
        length = found - 1;
    }
    Cover::Over(over)
}

/// Whether a ban goes on. Only a ban that was found reads the clock, which costs more than a look-up that misses.
#[inline(always)]
fn is_live(entry: *const Entry) -> bool {
    // SAFETY: a pointer from a look-up is valid until the program returns.
    now() < unsafe { (&raw const (*entry).deadline).read_volatile() }
}

/// What lets a packet of a banned source pass.
#[inline(always)]
fn spared4(source: [u8; 4]) -> Option<Reason> {
    is_in(&ALLOW4, source).then_some(Reason::Allowed)
}

#[inline(always)]
fn spared6(source: [u8; 16], is_discovery: &impl Fn() -> bool) -> Option<Reason> {
    if is_discovery() {
        return Some(Reason::Neighbour);
    }
    is_in(&ALLOW6, source).then_some(Reason::Allowed)
}

#[inline(always)]
fn is_in<const N: usize>(trie: &LpmTrie<[u8; N], u32>, source: [u8; N]) -> bool {
    trie.get(Key::new(N as u32 * 8, source)).is_some()
}

#[inline(always)]
fn hit(entry: *mut Entry, reason: Reason, spared: Option<Reason>, bytes: u64) -> Reason {
    if let Some(spared) = spared {
        return spared;
    }
    maps::count(entry, bytes);
    if maps::enforces() { reason } else { Reason::Observed }
}

#[inline(always)]
fn miss(ended: u64) -> Reason {
    if ended == 0 { Reason::Clean } else { Reason::Expired }
}

/// One, as a number the compiler cannot see through. From a plain flag it would conclude that "some have ended" is
/// "one of the pointers is not null" and join the pointers with a bit operation, which the verifier refuses.
#[inline(always)]
fn ended() -> u64 {
    let one;
    // SAFETY: the instruction sets the register it was given.
    unsafe { asm!("{0} = 1", out(reg) one, options(nomem, nostack, preserves_flags)) };
    one
}

/// Time since boot in nanoseconds, suspend included: the clock of the deadlines.
#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper takes nothing and only reads a clock.
    unsafe { bpf_ktime_get_boot_ns() }
}
