//! What the tests of this module share: few addresses, so that overlaps are common.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use crate::target::Target;

const V4: u32 = 0xcb00_7100;
const V6: u128 = 0x2001_0db8 << 96;
/// Addresses of each family.
const ADDRESSES: u32 = 32;

/// A target among [`addresses`], or one that covers all of them.
pub(crate) fn target() -> impl Strategy<Value = Target> {
    let v4 = (0..ADDRESSES, 24..=32_u8)
        .prop_map(|(n, length)| Target::prefix(Ipv4Addr::from_bits(V4 + n).into(), length));
    let v6 = (0..ADDRESSES, 120..=128_u8)
        .prop_map(|(n, length)| Target::prefix(Ipv6Addr::from_bits(V6 + u128::from(n)).into(), length));
    prop_oneof![v4, v6].prop_map(|target| target.unwrap())
}

/// All addresses that are looked at.
pub(crate) fn addresses() -> impl Iterator<Item = IpAddr> {
    let v4 = (0..ADDRESSES).map(|n| IpAddr::from(Ipv4Addr::from_bits(V4 + n)));
    v4.chain((0..ADDRESSES).map(|n| IpAddr::from(Ipv6Addr::from_bits(V6 + u128::from(n)))))
}
