//! One target a line, and what a feed's first lines say of its format.

use super::entry::entry;
use super::{Format, Found, ParseError, csv, is_comment, numbered};

/// Lines that are looked at to tell the format.
const LOOK: usize = 20;

/// Reads one target a line. What follows it is a comment, whatever it looks like. The first line may be a header: this
/// is how a CSV is read whose targets come first.
pub(super) fn plain(bytes: &[u8], found: &mut Found<'_>) -> Result<(), ParseError> {
    let mut is_first = true;
    for (place, line) in numbered(bytes).filter(|(_, line)| !is_comment(line)) {
        let is_header = std::mem::take(&mut is_first) && csv::is_record(line);
        match target_of(line) {
            Some(text) if !is_header || entry(text).is_some() => found.take(text, place)?,
            _ if is_header => {}
            Some(text) => found.rubbish(text, place),
            None => found.rubbish(line, place),
        }
    }
    Ok(())
}

/// The part of a line that should be a target: its first word, or three words if these are a range.
fn target_of(line: &[u8]) -> Option<&[u8]> {
    let ends = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b',' | b'#' | b';');
    let word = line.iter().position(ends).unwrap_or(line.len());
    let rest = line[word..].trim_ascii_start();
    if let Some(last) = rest.strip_prefix(b"-").map(<[u8]>::trim_ascii_start) {
        let length = last.iter().position(ends).unwrap_or(last.len());
        let range = &line[..line.len() - last.len() + length];
        if entry(range).is_some() {
            return Some(range);
        }
    }
    (word > 0).then_some(&line[..word])
}

/// Tells the format by the first lines that are no comments.
pub(super) fn guess(bytes: &[u8]) -> Format {
    let lines = || numbered(bytes).map(|(_, line)| line).filter(|line| !is_comment(line)).take(LOOK);
    let is_plain = |line: &[u8]| target_of(line).is_some_and(|text| entry(text).is_some());
    match lines().next() {
        Some([b'{', ..]) => Format::Json,
        Some(line @ [b'[', ..]) if !is_plain(line) => Format::Json,
        // A CSV whose first column is the target is a plain list too, unless it is quoted.
        _ if lines().any(is_plain) && !lines().any(|line| line.starts_with(b"\"")) => Format::Plain,
        _ if lines().any(csv::has_target) => Format::Csv,
        _ => Format::Plain,
    }
}
