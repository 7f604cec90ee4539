//! Layouts shared by the kernel programs and user space.
//!
//! Everything here is plain data with a fixed size, so that both sides read the same bytes. Addresses are
//! kept in network byte order, the order they have in a packet. Sizes are asserted at compile time; a change
//! of any of them, or of a map's type, is a new [`ABI`].
#![no_std]

pub mod bitmap;
mod entry;
mod key;
pub mod map;
mod reason;

pub use entry::{Entry, FOREVER, PrefixEntry, Settings};
pub use key::{Cidr4, Cidr6, DropKey};
pub use reason::{REASONS, Reason, Tally};

/// Version of the layouts, the maps and their meaning. Part of the pin path, so that two versions never share
/// a map by accident.
pub const ABI: u32 = 2;

/// VLAN tags that are looked through before a packet counts as too deep.
pub const MAX_VLAN_TAGS: usize = 4;

#[cfg(feature = "user")]
mod pod {
    #![allow(unsafe_code, reason = "aya takes a type's word that it is plain bytes")]
    use super::{Cidr4, Cidr6, DropKey, Entry, PrefixEntry, Settings, Tally};

    // SAFETY: `repr(C)`, only integers and byte arrays, no padding (the sizes are asserted beside each type).
    unsafe impl aya::Pod for Entry {}
    // SAFETY: as above.
    unsafe impl aya::Pod for PrefixEntry {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Settings {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Cidr4 {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Cidr6 {}
    // SAFETY: as above.
    unsafe impl aya::Pod for DropKey {}
    // SAFETY: as above.
    unsafe impl aya::Pod for Tally {}
}
