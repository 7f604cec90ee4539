//! Frames, byte by byte.

use std::net::IpAddr;

/// An Ethernet frame from `source`, with VLAN tags of the given types in front.
pub(crate) fn frame(source: &str, tags: &[u16]) -> Vec<u8> {
    with_header(tags, source, &[])
}

/// The same with `extra` between the fixed IP header and the payload: options or extension headers.
pub(crate) fn with_header(tags: &[u16], source: &str, extra: &[u8]) -> Vec<u8> {
    let (kind, header) = match source.parse().unwrap() {
        IpAddr::V4(source) => {
            let mut header = vec![0x45 + (extra.len() / 4) as u8, 0, 0, 60, 0, 1, 0, 0, 64, 6, 0, 0];
            header.extend(source.octets());
            header.extend([10, 0, 0, 1]);
            header[3] += extra.len() as u8;
            let sum = checksum(&[&header, extra].concat());
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            (0x0800, header)
        }
        IpAddr::V6(source) => {
            let next = if extra.is_empty() { 6 } else { 60 };
            let mut header = vec![0x60, 0, 0, 0, 0, 40, next, 64];
            header.extend(source.octets());
            header.extend([0xfd; 16]);
            (0x86dd, header)
        }
    };
    let mut payload = header;
    payload.extend(extra);
    payload.extend([0; 40]);
    ethernet(tags, kind, &payload)
}

/// An IPv6 frame whose fixed header names `next` as the type of what follows, which is `extra`.
pub(crate) fn with_next_header(tags: &[u16], source: &str, next: u8, extra: &[u8]) -> Vec<u8> {
    let mut frame = with_header(tags, source, extra);
    frame[14 + 4 * tags.len() + 6] = next;
    frame
}

/// The header's checksum (RFC 1071): a bridge may let the packet filter look at its frames, which drops a wrong one.
fn checksum(header: &[u8]) -> u16 {
    let sum: u32 = header.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    !((sum & 0xffff) + (sum >> 16)) as u16
}

/// An Ethernet frame of any type.
pub(crate) fn ethernet(tags: &[u16], kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    for tag in tags {
        frame.extend(tag.to_be_bytes());
        frame.extend([0, 7]);
    }
    frame.extend(kind.to_be_bytes());
    frame.extend(payload);
    frame
}
