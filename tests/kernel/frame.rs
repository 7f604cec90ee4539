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
