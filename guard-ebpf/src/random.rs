//! Programs that measure the verdict on random sources. One packet that is run again and again would measure only a
//! warm cache; these run the same verdict on an address of the whole space each time.

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::helpers::bpf_get_prandom_u32;
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;
use guard_common::Reason;

use crate::{maps, packet, verdict};

/// `guard_xdp` on a random IPv4 source.
#[xdp(frags)]
pub fn guard_random4(ctx: XdpContext) -> u32 {
    judge(&ctx, |bytes| verdict::v4(random4(), bytes))
}

/// `guard_xdp` on a random IPv6 source.
#[xdp(frags)]
pub fn guard_random6(ctx: XdpContext) -> u32 {
    judge(&ctx, |bytes| verdict::v6(random6(), bytes, || false))
}

/// Makes the same random IPv4 source and passes it: what the look-up of a packet costs beside.
#[xdp(frags)]
pub fn guard_empty4(_: XdpContext) -> u32 {
    XDP_PASS + u32::from(random4() == [u8::MAX; 4])
}

/// Makes the same random IPv6 source and passes it.
#[xdp(frags)]
pub fn guard_empty6(_: XdpContext) -> u32 {
    XDP_PASS + u32::from(random6() == [u8::MAX; 16])
}

/// A random IPv4 source against nothing but the LPM trie, as the plain design does it.
#[xdp(frags)]
pub fn guard_lpm4(_: XdpContext) -> u32 {
    if maps::prefix(&maps::PREFIXES4, 32, random4()).is_some() { XDP_DROP } else { XDP_PASS }
}

#[inline(always)]
fn judge(ctx: &XdpContext, verdict: impl FnOnce(u64) -> Reason) -> u32 {
    // The packet is read as always; its own source only must not be optimised away.
    let source = packet::source(ctx);
    let bytes = packet::length(ctx, &source);
    let reason = if source.is_ok() { verdict(bytes) } else { Reason::NotIp };
    maps::tally(reason, bytes);
    if reason.is_drop() { XDP_DROP } else { XDP_PASS }
}

#[inline(always)]
fn random4() -> [u8; 4] {
    random().to_ne_bytes()
}

#[inline(always)]
fn random6() -> [u8; 16] {
    let mut address = [0; 16];
    for part in address.chunks_exact_mut(4) {
        part.copy_from_slice(&random().to_ne_bytes());
    }
    address
}

#[inline(always)]
fn random() -> u32 {
    // SAFETY: the helper takes nothing.
    unsafe { bpf_get_prandom_u32() }
}
