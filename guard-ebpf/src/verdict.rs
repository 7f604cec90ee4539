//! The verdict over a source address.
//!
//! Nearly every packet comes from nobody who is banned, so the first look-up is the cheapest: one bit. Only what
//! passes it costs a look-up by host, then by prefix, and only a ban that hits asks the allowlist.

use aya_ebpf::helpers::bpf_ktime_get_boot_ns;
use aya_ebpf::maps::HashMap;
use aya_ebpf::maps::LpmTrie;
use aya_ebpf::maps::lpm_trie::Key;
use guard_common::{Entry, PrefixEntry, Reason, bitmap};

use crate::maps::{self, ALLOW4, ALLOW6, BITS4, BITS6, HOSTS4, HOSTS6, NETS6, PREFIXES4, PREFIXES6, Shared};

/// The ban that covers a source.
#[derive(Clone, Copy)]
enum Cover {
    /// There is none.
    None,
    /// There were some, but all have ended.
    Ended,
    /// This one goes on.
    Live(*mut Entry),
}

/// The verdict over an IPv4 source; counts `bytes` on the ban that hits.
#[inline(always)]
pub fn v4(source: [u8; 4], bytes: u64) -> Reason {
    if !maps::is_marked(&BITS4, bitmap::slot4(source)) {
        return Reason::Clean;
    }
    let now = now();
    let host = exact(&HOSTS4, source, now);
    if let Cover::Live(entry) = host {
        return hit(entry, Reason::Host, is_in(&ALLOW4, source), bytes);
    }
    let prefix = longest(&PREFIXES4, source, now);
    if let Cover::Live(entry) = prefix {
        return hit(entry, Reason::Prefix, is_in(&ALLOW4, source), bytes);
    }
    miss([host, prefix])
}

/// The verdict over an IPv6 source; counts `bytes` on the ban that hits.
#[inline(always)]
pub fn v6(source: [u8; 16], bytes: u64) -> Reason {
    if !maps::is_marked(&BITS6, bitmap::slot6(source)) {
        return Reason::Clean;
    }
    let now = now();
    let host = exact(&HOSTS6, source, now);
    if let Cover::Live(entry) = host {
        return hit(entry, Reason::Host, is_in(&ALLOW6, source), bytes);
    }
    let [a, b, c, d, e, f, g, h, ..] = source;
    let net = exact(&NETS6, [a, b, c, d, e, f, g, h], now);
    if let Cover::Live(entry) = net {
        return hit(entry, Reason::Prefix, is_in(&ALLOW6, source), bytes);
    }
    let prefix = longest(&PREFIXES6, source, now);
    if let Cover::Live(entry) = prefix {
        return hit(entry, Reason::Prefix, is_in(&ALLOW6, source), bytes);
    }
    miss([host, net, prefix])
}

/// A ban of exactly this key.
#[inline(always)]
fn exact<K>(hash: &HashMap<K, Entry>, key: K, now: u64) -> Cover {
    match hash.get_ptr_mut(key) {
        Some(entry) if is_live(entry, now) => Cover::Live(entry),
        Some(_) => Cover::Ended,
        None => Cover::None,
    }
}

/// The longest live prefix. Each round asks for a shorter one than the ended ban of the round before, so that the
/// rounds end after at most one for each length.
#[inline(always)]
fn longest<const N: usize>(
    trie: &LpmTrie<[u8; N], Shared<PrefixEntry>>,
    source: [u8; N],
    now: u64,
) -> Cover {
    let mut cover = Cover::None;
    let mut length = N as u32 * 8;
    for _ in 0..=N * 8 {
        let Some(prefix) = maps::prefix(trie, length, source) else { break };
        // SAFETY: a pointer from a look-up is valid until the program returns.
        let (entry, found) = unsafe { (&raw mut (*prefix).entry, (*prefix).length) };
        if is_live(entry, now) {
            return Cover::Live(entry);
        }
        cover = Cover::Ended;
        if found == 0 || found > length {
            break;
        }
        length = found - 1;
    }
    cover
}

#[inline(always)]
fn is_live(entry: *const Entry, now: u64) -> bool {
    // SAFETY: a pointer from a look-up is valid until the program returns.
    now < unsafe { (&raw const (*entry).deadline).read_volatile() }
}

#[inline(always)]
fn is_in<const N: usize>(trie: &LpmTrie<[u8; N], u32>, source: [u8; N]) -> bool {
    trie.get(Key::new(N as u32 * 8, source)).is_some()
}

#[inline(always)]
fn hit(entry: *mut Entry, reason: Reason, allowed: bool, bytes: u64) -> Reason {
    if allowed {
        return Reason::Allowed;
    }
    maps::count(entry, bytes);
    if maps::enforces() { reason } else { Reason::Observed }
}

#[inline(always)]
fn miss<const N: usize>(covers: [Cover; N]) -> Reason {
    if covers.iter().any(|cover| matches!(cover, Cover::Ended)) { Reason::Expired } else { Reason::Clean }
}

/// Time since boot in nanoseconds, suspend included: the clock of the deadlines.
#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper takes nothing and only reads a clock.
    unsafe { bpf_ktime_get_boot_ns() }
}
