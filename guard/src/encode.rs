//! Attackers' text made fit to show.

use std::fmt::{Arguments, Write};

/// Bytes of a log line that are kept as evidence.
pub const EVIDENCE: usize = 512;

/// Log text as one inert line: at most `limit` bytes of it are taken, control characters, broken UTF-8, line
/// and paragraph separators and bidirectional overrides become `\xNN` or `\u{…}`, and a cut is marked with `…`.
pub fn printable(bytes: &[u8], limit: usize) -> String {
    let cut = bytes.len() > limit;
    let bytes = &bytes[..bytes.len().min(limit)];
    let mut out = String::with_capacity(bytes.len() + 4);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                c if c.is_control() && (c as u32) < 0x80 => {
                    push(&mut out, format_args!("\\x{:02x}", c as u32));
                }
                c if c.is_control() || is_layout(c) => push(&mut out, format_args!("\\u{{{:x}}}", c as u32)),
                c => out.push(c),
            }
        }
        for b in chunk.invalid() {
            push(&mut out, format_args!("\\x{b:02x}"));
        }
    }
    if cut {
        out.push('…');
    }
    out
}

fn push(out: &mut String, text: Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = out.write_fmt(text);
}

/// Characters that move or hide other text on a terminal or a page.
pub(crate) const fn is_layout(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn hostile_text_is_inert() {
        assert_eq!(printable(b"a\x1b[2Jb\r\n\0", 99), r"a\x1b[2Jb\x0d\x0a\x00");
        assert_eq!(printable("x\u{2028}y\u{202e}z\u{9b}31m".as_bytes(), 99), r"x\u{2028}y\u{202e}z\u{9b}31m");
        assert_eq!(printable(b"\xff\xfe ok", 99), r"\xff\xfe ok");
        assert_eq!(printable(b"abcdef", 3), "abc…");
        assert_eq!(printable("aé".as_bytes(), 2), r"a\xc3…");
        assert_eq!(printable(br"a\x1b", 99), r"a\\x1b");
    }
}
