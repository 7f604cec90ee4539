//! Separated values (RFC 4180), one record a line.

use super::entry::entry;
use super::{Column, Found, ParseError, is_comment, numbered};

/// Reads the targets of one column. Until that is known, lines without a target are taken for a header.
pub(super) fn read(bytes: &[u8], column: &Column, found: &mut Found<'_>) -> Result<(), ParseError> {
    let mut wanted = match column {
        Column::Number(number) => Some(number.saturating_sub(1)),
        Column::Named(name) => Some(named(bytes, name)?),
        Column::First => None,
    };
    let mut is_first = true;
    for (place, line) in numbered(bytes).filter(|(_, line)| !is_comment(line)) {
        let is_header = std::mem::take(&mut is_first);
        if wanted.is_none() {
            wanted = fields(line).position(|field| entry(field).is_some());
        }
        let field = wanted.and_then(|number| fields(line).nth(number));
        match field {
            Some(field) if !is_header || entry(field).is_some() => found.take(field, place)?,
            _ if is_header => {}
            _ => found.rubbish(line, place),
        }
    }
    Ok(())
}

/// Whether a line has several fields.
pub(super) fn is_record(line: &[u8]) -> bool {
    fields(line).nth(1).is_some()
}

/// Whether a field of a line is a target.
pub(super) fn has_target(line: &[u8]) -> bool {
    fields(line).any(|field| entry(field).is_some())
}

/// The number of the column that a header calls so: the first line, or a comment before it.
fn named(bytes: &[u8], name: &str) -> Result<usize, ParseError> {
    for (_, line) in numbered(bytes) {
        let is_comment = is_comment(line);
        let header = line.trim_ascii_start();
        let header = header.strip_prefix(b"#").unwrap_or(header).trim_ascii();
        let is_it = |field: &[u8]| field.trim_ascii().eq_ignore_ascii_case(name.as_bytes());
        if let Some(number) = fields(header).position(is_it) {
            return Ok(number);
        }
        if !is_comment {
            break;
        }
    }
    Err(ParseError::NoColumn { name: name.to_owned() })
}

/// The fields of a line, without the quotes around them. A quote that is doubled within a field stays so: no address
/// has one.
fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut is_quoted = false;
        let end = text.iter().position(|byte| {
            is_quoted ^= *byte == b'"';
            !is_quoted && matches!(byte, b',' | b';' | b'\t')
        });
        let field = &text[..end.unwrap_or(text.len())];
        rest = end.map(|end| &text[end + 1..]);
        let field = field.trim_ascii();
        Some(field.strip_prefix(b"\"").and_then(|field| field.strip_suffix(b"\"")).unwrap_or(field))
    })
}
