//! The one place that reads packet bytes, each read checked against the end of the packet.

use aya_ebpf::helpers::bpf_xdp_get_buff_len;
use aya_ebpf::programs::XdpContext;
use guard_common::{MAX_VLAN_TAGS, Reason};

/// Destination and source address, then the type (IEEE 802.3).
const ETHERTYPE: usize = 12;
/// Bytes of a VLAN tag: two of control information, then the type of what follows (IEEE 802.1Q).
const VLAN_TAG: usize = 4;
/// Offset of the source address in the fixed IPv4 header (RFC 791). Options come after it, and a fragment has it too.
const SOURCE4: usize = 12;
/// Offset of the source address in the fixed IPv6 header (RFC 8200). Extension headers come after it.
const SOURCE6: usize = 8;

/// Offset of the length of the packet in the fixed IPv4 header, and of what follows the header in the fixed IPv6 header.
const LENGTH4: usize = 2;
const LENGTH6: usize = 4;
/// Offset of the next header's type, with the hop limit behind it, in the fixed IPv6 header.
const NEXT_HEADER: usize = 6;
/// Length of the fixed IPv6 header.
const HEADER6: usize = 40;
/// Next header type of ICMPv6 (RFC 4443).
const ICMPV6: u8 = 58;

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;
const VLAN: u16 = 0x8100;
const VLAN_SERVICE: u16 = 0x88a8;
const VLAN_OLD_SERVICE: u16 = 0x9100;

/// Where a packet says it comes from, with the offset of its IP header.
pub enum Source {
    /// An IPv4 packet.
    V4([u8; 4], usize),
    /// An IPv6 packet.
    V6([u8; 16], usize),
}

/// Length of the frame in bytes, from the Ethernet header on. A frame may lie in several buffers, and only a helper of
/// the kernel knows of the others; it is asked where the packet says that it is longer than the first.
#[inline(always)]
pub fn length(ctx: &XdpContext, source: &Result<Source, Reason>) -> u64 {
    let end = match *source {
        Ok(Source::V4(_, header)) => end(ctx, header, LENGTH4, 0),
        Ok(Source::V6(_, header)) => end(ctx, header, LENGTH6, HEADER6),
        Err(_) => None,
    };
    let first = ctx.data_end() - ctx.data();
    match end {
        Some(end) if end <= first => first as u64,
        // SAFETY: the context is the one the kernel gave the program.
        _ => unsafe { bpf_xdp_get_buff_len(ctx.ctx) },
    }
}

/// Where the packet ends by its header; `None` if it does not tell, as an IPv6 jumbogram (RFC 2675).
#[inline(always)]
fn end(ctx: &XdpContext, header: usize, field: usize, more: usize) -> Option<usize> {
    match read(ctx, header + field).map(u16::from_be_bytes) {
        Ok(0) | Err(_) => None,
        Ok(length) => Some(header + more + length as usize),
    }
}

/// The source address, or why there is none to judge.
#[inline(always)]
pub fn source(ctx: &XdpContext) -> Result<Source, Reason> {
    let mut offset = ETHERTYPE;
    let mut kind = ethertype(ctx, offset)?;
    for _ in 0..MAX_VLAN_TAGS {
        if !is_vlan(kind) {
            break;
        }
        offset += VLAN_TAG;
        kind = ethertype(ctx, offset)?;
    }
    let header = offset + 2;
    match kind {
        IPV4 => Ok(Source::V4(read(ctx, header + SOURCE4)?, header)),
        IPV6 => Ok(Source::V6(read(ctx, header + SOURCE6)?, header)),
        _ if is_vlan(kind) => Err(Reason::VlanTooDeep),
        _ => Err(Reason::NotIp),
    }
}

/// Whether the IPv6 packet whose header is at `header` is neighbour discovery from this very link: ICMPv6 types 133
/// to 137 with a hop limit of 255, which no router leaves standing (RFC 4861, section 7.1).
#[inline(always)]
pub fn is_neighbour_discovery(ctx: &XdpContext, header: usize) -> bool {
    let (Ok([next, hops]), Ok([kind])) = (read(ctx, header + NEXT_HEADER), read(ctx, header + HEADER6))
    else {
        return false;
    };
    next == ICMPV6 && hops == 255 && (133..=137).contains(&kind)
}

#[inline(always)]
fn is_vlan(kind: u16) -> bool {
    matches!(kind, VLAN | VLAN_SERVICE | VLAN_OLD_SERVICE)
}

#[inline(always)]
fn ethertype(ctx: &XdpContext, offset: usize) -> Result<u16, Reason> {
    read(ctx, offset).map(u16::from_be_bytes)
}

/// `N` bytes at an offset of the packet.
#[inline(always)]
fn read<const N: usize>(ctx: &XdpContext, offset: usize) -> Result<[u8; N], Reason> {
    let start = ctx.data() + offset;
    if start + N > ctx.data_end() {
        return Err(Reason::Truncated);
    }
    // SAFETY: `start..start + N` lies inside the packet, and an array of bytes needs no alignment.
    Ok(unsafe { (start as *const [u8; N]).read() })
}
