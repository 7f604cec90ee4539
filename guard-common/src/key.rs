//! Keys of the maps that are not bare addresses.

/// Key of an IPv4 LPM trie, `struct bpf_lpm_trie_key` in `include/uapi/linux/bpf.h`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr4 {
    /// Length of the prefix in bits, native byte order.
    pub length: u32,
    /// The address, network byte order.
    pub address: [u8; 4],
}

/// Key of an IPv6 LPM trie.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr6 {
    /// Length of the prefix in bits, native byte order.
    pub length: u32,
    /// The address, network byte order.
    pub address: [u8; 16],
}

/// Key of the drop counters.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DropKey {
    /// Index of the interface the packet came in on.
    pub ifindex: u32,
    /// A [`crate::Reason`] as number.
    pub reason: u32,
}

const _: () = assert!(size_of::<Cidr4>() == 8);
const _: () = assert!(size_of::<Cidr6>() == 20);
const _: () = assert!(size_of::<DropKey>() == 8);
