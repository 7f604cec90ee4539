//! The packet program: passes or drops by source address, before anything else in the kernel sees the packet.
#![no_std]
#![allow(missing_docs, reason = "the macro makes a function of its own beside the documented one")]
#![no_main]
#![feature(asm_experimental_arch)]

mod maps;
mod packet;
#[cfg(feature = "bench")]
mod random;
mod verdict;

use aya_ebpf::bindings::xdp_action::{XDP_DROP, XDP_PASS};
use aya_ebpf::macros::xdp;
use aya_ebpf::programs::XdpContext;

/// Drops packets of banned sources. Everything else, also what it cannot read, passes.
#[xdp(frags)]
pub fn guard_xdp(ctx: XdpContext) -> u32 {
    let source = packet::source(&ctx);
    let bytes = packet::length(&ctx, &source);
    let reason = match source {
        Ok(packet::Source::V4(source, _)) => verdict::v4(source, bytes),
        Ok(packet::Source::V6(source, header)) => {
            verdict::v6(source, bytes, || packet::is_neighbour_discovery(&ctx, header))
        }
        Err(unread) => unread,
    };
    maps::tally(reason, bytes);
    if reason.is_drop() {
        maps::tally_drop(ctx.ingress_ifindex() as u32, reason, bytes);
        XDP_DROP
    } else {
        XDP_PASS
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

// The kernel offers no GPL-only helper to programs under another licence (`license_is_gpl_compatible` in
// include/linux/license.h knows this text).
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
