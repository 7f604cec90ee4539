//! Compressed fields, each with its own bounds: only a prefix is ever wanted.

use std::io::{self, Read, Write};

use super::format::{COMPRESSED, LZ4, XZ, ZSTD};

/// Largest LZ4 field that is decompressed: its format allows no prefix.
const LZ4_MAX: usize = 1 << 20;

/// Largest XZ field: its decoder holds all of it before it hands out the first byte.
const XZ_MAX: usize = 1 << 20;

/// Largest dictionary window of a field.
const ZSTD_WINDOW: u64 = 8 << 20;

/// The first `limit` bytes of a compressed payload into `out`. `None` if it is damaged or too large.
pub(super) fn prefix(flags: u8, payload: &[u8], limit: usize, out: &mut Vec<u8>) -> Option<()> {
    out.clear();
    match flags & COMPRESSED {
        ZSTD => zstd(payload, limit, out),
        LZ4 => lz4(payload, limit, out),
        XZ => xz(payload, limit, out),
        _ => None,
    }
}

fn zstd(payload: &[u8], limit: usize, out: &mut Vec<u8>) -> Option<()> {
    use ruzstd::decoding::StreamingDecoder;
    let decoder = StreamingDecoder::new_with_max_window_size(payload, ZSTD_WINDOW).ok()?;
    decoder.take(limit as u64).read_to_end(out).ok().map(drop)
}

/// A block behind its length in eight bytes.
fn lz4(payload: &[u8], limit: usize, out: &mut Vec<u8>) -> Option<()> {
    let (length, block) = payload.split_first_chunk()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok().filter(|length| *length <= LZ4_MAX)?;
    out.resize(length, 0);
    let written = lz4_flex::block::decompress_into(block, out).ok()?;
    out.truncate(written.min(limit));
    Some(())
}

fn xz(mut payload: &[u8], limit: usize, out: &mut Vec<u8>) -> Option<()> {
    xz_size(payload).filter(|size| *size <= XZ_MAX)?;
    let mut bounded = Bounded { out, limit };
    match lzma_rs::xz_decompress(&mut payload, &mut bounded) {
        Ok(()) => Some(()),
        Err(_) => (out.len() == limit).then_some(()),
    }
}

/// How large the contents of a stream with at most one block become: what the chunks of the block say, each of which
/// becomes exactly that. <https://tukaani.org/xz/xz-file-format.txt> has the layout of streams, xz-embedded that of
/// LZMA2's chunks.
fn xz_size(stream: &[u8]) -> Option<usize> {
    const HEADER: usize = 12;
    let number = |at: usize| stream.get(at..at + 2).map(|b| usize::from(u16::from_be_bytes([b[0], b[1]])));
    let block = usize::from(*stream.get(HEADER)?);
    if block == 0 {
        // The index: there is no block.
        return Some(0);
    }
    let mut at = HEADER + (block + 1) * 4;
    let mut size = 0;
    loop {
        match *stream.get(at)? {
            0 => break,
            1 | 2 => {
                let plain = number(at + 1)? + 1;
                size += plain;
                at += 3 + plain;
            }
            control @ 0x80.. => {
                size += (usize::from(control & 0x1f) << 16) + number(at + 1)? + 1;
                let properties = usize::from(control >= 0xc0);
                at += 5 + properties + number(at + 3)? + 1;
            }
            _ => return None,
        }
    }
    let check = match stream[7] & 0xf {
        0 => 0,
        1 => 4,
        4 => 8,
        10 => 32,
        _ => return None,
    };
    // The index again, not another block.
    (*stream.get((at + 1).next_multiple_of(4) + check)? == 0).then_some(size)
}

/// Takes what fits, then fails, which ends the decoder.
struct Bounded<'a> {
    out: &'a mut Vec<u8>,
    limit: usize,
}

impl Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.limit - self.out.len());
        self.out.extend_from_slice(&bytes[..taken]);
        if taken == 0 && !bytes.is_empty() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> Vec<u8> {
        (0..100_000).flat_map(|n: u32| n.to_string().into_bytes()).collect()
    }

    fn check(flags: u8, payload: &[u8], text: &[u8], limit: usize) {
        let mut out = vec![1; 9];
        prefix(flags, payload, limit, &mut out).unwrap();
        assert_eq!(out, text[..text.len().min(limit)]);
        for cut in [0, 1, 7, 8, 9, payload.len() / 2] {
            let _ = prefix(flags, &payload[..cut], limit, &mut out);
            assert!(out.len() <= LZ4_MAX);
        }
    }

    #[test]
    fn a_prefix_of_every_kind_and_no_panic_on_damage() {
        let text = text();
        let zstd = ruzstd::encoding::compress_to_vec(&text[..], ruzstd::encoding::CompressionLevel::Fastest);
        let mut xz = Vec::new();
        lzma_rs::xz_compress(&mut &text[..], &mut xz).unwrap();
        let mut lz4 = (text.len() as u64).to_le_bytes().to_vec();
        lz4.extend(lz4_flex::block::compress(&text));
        for limit in [10, 65_536, 10_000_000] {
            check(ZSTD, &zstd, &text, limit);
            check(XZ, &xz, &text, limit);
            check(LZ4, &lz4, &text, limit);
        }
    }

    #[test]
    fn a_claimed_size_is_not_believed() {
        let mut out = Vec::new();
        let mut lz4 = u64::MAX.to_le_bytes().to_vec();
        lz4.extend([0; 32]);
        assert!(prefix(LZ4, &lz4, 100, &mut out).is_none());
        let mut xz = Vec::new();
        lzma_rs::xz_compress(&mut &vec![b'x'; XZ_MAX + 1][..], &mut xz).unwrap();
        assert!(prefix(XZ, &xz, 100, &mut out).is_none());
        assert!(prefix(0, b"x", 100, &mut out).is_none());
        assert!(prefix(XZ | LZ4, b"x", 100, &mut out).is_none());
    }
}
