//! Backslash escapes of JSON strings and of Go's quoted strings.

/// Which escapes there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// RFC 8259, section 7.
    Json,
    /// Those of JSON and the rest of what Go's `strconv.Quote` writes: `\a`, `\v`, `\x1b`, `\U0001f600`.
    Go,
}

/// Appends what an escaped text means to `out`, never more bytes than the text has. `None` if an escape is none, or is
/// half a surrogate pair.
pub(super) fn decode(mut text: &[u8], dialect: Dialect, out: &mut Vec<u8>) -> Option<()> {
    while let Some(plain) = memchr::memchr(b'\\', text) {
        out.extend_from_slice(&text[..plain]);
        let (&kind, rest) = text[plain + 1..].split_first()?;
        text = rest;
        let go = dialect == Dialect::Go;
        let byte = match kind {
            b'"' | b'\\' => kind,
            b'/' if !go => b'/',
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'a' if go => 7,
            b'v' if go => 11,
            b'x' if go => hex(&mut text, 2)? as u8,
            b'u' | b'U' if go || kind == b'u' => {
                let unit = hex(&mut text, if kind == b'u' { 4 } else { 8 })?;
                let code = if (0xd800..0xdc00).contains(&unit) {
                    text = text.strip_prefix(b"\\u")?;
                    let low = hex(&mut text, 4)?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                    0x10000 + ((unit - 0xd800) << 10 | low)
                } else {
                    unit
                };
                out.extend_from_slice(char::from_u32(code)?.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            _ => return None,
        };
        out.push(byte);
    }
    out.extend_from_slice(text);
    Some(())
}

/// A number of so many hexadecimal digits in front of `text`, which is taken away.
fn hex(text: &mut &[u8], digits: usize) -> Option<u32> {
    let (number, rest) = text.split_at_checked(digits)?;
    *text = rest;
    number.iter().try_fold(0, |value, b| Some(value << 4 | char::from(*b).to_digit(16)?))
}
