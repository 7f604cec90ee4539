//! The maps, and how the program reads and counts in them. Names and layouts are those of `guard_common`.

use core::arch::asm;
use core::cell::UnsafeCell;

use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::macros::map;
use aya_ebpf::maps::lpm_trie::Key;
use aya_ebpf::maps::{Array, HashMap, LpmTrie, PerCpuArray, PerCpuHashMap};
use guard_common::bitmap::{FIRST_WORD, LEAST_WORDS, Slots};
use guard_common::{DropKey, Entry, PrefixEntry, REASONS as REASON_COUNT, Reason, Settings, Tally};

/// Capacity when the loader asks for no other.
const HOSTS: u32 = 16_384;
/// Bound of the tries. They are not preallocated, so that it costs nothing.
const CIDRS: u32 = 1 << 22;
/// Interfaces times drop reasons, with room.
const DROP_KEYS: u32 = 4096;

#[map(name = "guard_settings")]
static SETTINGS: Array<Settings> = Array::with_max_entries(1, 0);
#[map(name = "guard_bits4")]
pub static BITS4: Bits = Array::with_max_entries(FIRST_WORD + LEAST_WORDS, BPF_F_MMAPABLE);
#[map(name = "guard_bits6")]
pub static BITS6: Bits = Array::with_max_entries(FIRST_WORD + LEAST_WORDS, BPF_F_MMAPABLE);
#[map(name = "guard_hosts4")]
pub static HOSTS4: HashMap<[u8; 4], Entry> = HashMap::with_max_entries(HOSTS, 0);
#[map(name = "guard_hosts6")]
pub static HOSTS6: HashMap<[u8; 16], Entry> = HashMap::with_max_entries(HOSTS, 0);
#[map(name = "guard_nets6")]
pub static NETS6: HashMap<[u8; 8], Entry> = HashMap::with_max_entries(HOSTS, 0);
#[map(name = "guard_prefix4")]
pub static PREFIXES4: LpmTrie<[u8; 4], Shared<PrefixEntry>> = LpmTrie::with_max_entries(CIDRS, 0);
#[map(name = "guard_prefix6")]
pub static PREFIXES6: LpmTrie<[u8; 16], Shared<PrefixEntry>> = LpmTrie::with_max_entries(CIDRS, 0);
#[map(name = "guard_allow4")]
pub static ALLOW4: LpmTrie<[u8; 4], u32> = LpmTrie::with_max_entries(CIDRS, 0);
#[map(name = "guard_allow6")]
pub static ALLOW6: LpmTrie<[u8; 16], u32> = LpmTrie::with_max_entries(CIDRS, 0);
#[map(name = "guard_reasons")]
static REASONS: PerCpuArray<Tally> = PerCpuArray::with_max_entries(REASON_COUNT, 0);
#[map(name = "guard_drops")]
static DROPS: PerCpuHashMap<DropKey, Tally> = PerCpuHashMap::with_max_entries(DROP_KEYS, 0);

/// Words for hosts and nets in each bitmap. The loader writes what the maps have before the program is verified, so that
/// map and number are exchanged together.
#[unsafe(no_mangle)]
pub static WORDS4: u32 = LEAST_WORDS;
/// The same for IPv6.
#[unsafe(no_mangle)]
pub static WORDS6: u32 = LEAST_WORDS;

/// A bitmap.
type Bits = Array<u64>;

/// A map value that other processors write while this one reads.
#[repr(transparent)]
pub struct Shared<T>(UnsafeCell<T>);

// SAFETY: the value is reached through raw pointers only, and its counters through atomics.
unsafe impl<T> Sync for Shared<T> {}

/// Whether a ban may cover a source.
#[inline(always)]
pub fn is_marked(bits: &Bits, words: &u32, slots: Slots) -> bool {
    // SAFETY: a constant of the loaded program; the compiler must not take its value from here.
    let words = unsafe { core::ptr::from_ref(words).read_volatile() };
    // SAFETY: the kernel answers with a pointer to one aligned word; user space changes it with atomics.
    slots.is_marked(words, |number| bits.get_ptr(number).map(|word| unsafe { word.read_volatile() }))
}

/// The longest banned prefix of at most `length` bits that covers an address.
#[inline(always)]
pub fn prefix<const N: usize>(
    trie: &LpmTrie<[u8; N], Shared<PrefixEntry>>,
    length: u32,
    address: [u8; N],
) -> Option<*mut PrefixEntry> {
    trie.get(Key::new(length, address)).map(|shared| shared.0.get())
}

/// Whether drops are enforced; false while only observing.
#[inline(always)]
pub fn enforces() -> bool {
    SETTINGS.get(0).is_some_and(|settings| settings.enforce != 0)
}

/// Counts a packet on the ban that hit it.
#[inline(always)]
pub fn count(entry: *mut Entry, bytes: u64) {
    // SAFETY: `entry` came from a map look-up in this run of the program, which keeps the element in place until
    // the program returns; both fields are aligned, and counted by atomics only.
    unsafe {
        atomic_add(&raw mut (*entry).packets, 1);
        atomic_add(&raw mut (*entry).bytes, bytes);
    }
}

/// Adds to a counter that other processors add to. `core` offers no read-modify-write operation for this target,
/// although every kernel has this one (`BPF_ATOMIC | BPF_ADD`, Documentation/bpf/standardization/instruction-set.rst).
///
/// # Safety
/// `counter` is valid, aligned, and changed by atomics only.
#[inline(always)]
unsafe fn atomic_add(counter: *mut u64, value: u64) {
    // SAFETY: the caller's promise.
    unsafe { asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) counter, in(reg) value, options(nostack)) };
}

/// Counts a packet by the reason of its verdict.
#[inline(always)]
pub fn tally(reason: Reason, bytes: u64) {
    if let Some(tally) = REASONS.get_ptr_mut(reason as u32) {
        add(tally, bytes);
    }
}

/// Counts a dropped packet by its interface.
#[inline(always)]
pub fn tally_drop(ifindex: u32, reason: Reason, bytes: u64) {
    let key = DropKey { ifindex, reason: reason as u32 };
    match DROPS.get_ptr_mut(key) {
        Some(tally) => add(tally, bytes),
        // A full map loses this detail only: the reasons are counted by `tally` all the same.
        None => drop(DROPS.insert(key, Tally { packets: 1, bytes }, 0)),
    }
}

/// Adds a packet to a tally of this processor.
#[inline(always)]
fn add(tally: *mut Tally, bytes: u64) {
    // SAFETY: a per-CPU element is this processor's own while the program runs, which is not preempted.
    unsafe {
        (*tally).packets += 1;
        (*tally).bytes += bytes;
    }
}
