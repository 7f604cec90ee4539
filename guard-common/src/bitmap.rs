//! The first stage of the verdict: one bit that says "no ban can cover this source".
//!
//! A clear bit is a promise, a set bit only a hint: bits may stay set after a ban has gone, until the next
//! rebuild, and cost nothing but a hash look-up.

/// Words of the IPv4 bitmap: one bit for each /24, 2 MiB.
pub const WORDS4: u32 = 1 << (24 - 6);
/// Bits of an IPv6 slot number.
pub const SLOT6_BITS: u32 = 22;
/// Words of the IPv6 bitmap: one bit for each hashed /48, 512 KiB.
pub const WORDS6: u32 = 1 << (SLOT6_BITS - 6);

/// The bit of an IPv4 source: its /24.
#[inline(always)]
pub const fn slot4(address: [u8; 4]) -> u32 {
    (address[0] as u32) << 16 | (address[1] as u32) << 8 | address[2] as u32
}

/// The bit of an IPv6 source: its /48, multiplied by a 64-bit odd constant (Fibonacci hashing), top bits kept.
#[inline(always)]
pub const fn slot6(address: [u8; 16]) -> u32 {
    let net =
        u64::from_be_bytes([0, 0, address[0], address[1], address[2], address[3], address[4], address[5]]);
    (net.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - SLOT6_BITS)) as u32
}

/// The word that holds a slot, and the slot's bit in it.
#[inline(always)]
pub const fn locate(slot: u32) -> (u32, u64) {
    (slot >> 6, 1 << (slot & 63))
}
