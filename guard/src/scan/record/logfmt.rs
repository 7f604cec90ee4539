//! `key=value key="a \"quoted\" value" flag`, as Grafana, Traefik and Go's `log/slog` write it.
//!
//! Writers quote a value with a blank, a quote or an `=` in it, and escape quotes inside: a quoted value ends at the
//! first quote that is not escaped, and a blank or the end must follow. A name asked for that comes twice is no record:
//! a value that was not quoted would otherwise smuggle in a second.

use super::escape::{Dialect, decode};
use super::tree::{NodeId, ROOT, Tree, Values};
use super::words;

/// Longest key that a line is recognised by.
const MAX_KEY: usize = 64;

/// Whether a line begins with a key and `=`.
pub(super) fn begins(line: &[u8]) -> bool {
    let is_key = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'@');
    let key = line.iter().take(MAX_KEY).take_while(|b| is_key(b)).count();
    key > 0 && line.get(key) == Some(&b'=')
}

/// Reads a line; `None` if it is something else.
pub(super) fn read(line: &[u8], tree: &Tree, values: &mut Values) -> Option<()> {
    values.begin(tree, line)?;
    let mut at = 0;
    let mut pairs = 0;
    loop {
        at += line[at..].iter().take_while(|b| **b == b' ').count();
        if at == line.len() {
            return (pairs > 0).then_some(());
        }
        let end = key_end(line, at);
        let key = &line[at..end];
        if key.is_empty() {
            return None;
        }
        let node = tree.child(ROOT, key);
        if let Some(node) = node {
            values.see(node)?;
        }
        at = match line.get(end) {
            Some(b'=') => {
                pairs += 1;
                value(line, end + 1, node, values)?
            }
            Some(b'"') => return None,
            // A key alone: there, and empty.
            _ => {
                if let Some(node) = node {
                    values.put(node, end, end);
                }
                end
            }
        };
    }
}

/// The value that begins at `start`; answers where it ends.
fn value(line: &[u8], start: usize, node: Option<NodeId>, values: &mut Values) -> Option<usize> {
    if line.get(start) != Some(&b'"') {
        let end = word_end(line, start);
        if line.get(end) == Some(&b'"') {
            return None;
        }
        if let Some(node) = node {
            values.put(node, start, end);
        }
        return Some(end);
    }
    let start = start + 1;
    let mut at = start;
    let mut escaped = false;
    loop {
        at += memchr::memchr2(b'"', b'\\', line.get(at..)?)?;
        if line[at] == b'"' {
            break;
        }
        escaped = true;
        at += 2;
    }
    if let Some(node) = node {
        if escaped {
            let before = values.decoded.len();
            decode(&line[start..at], Dialect::Go, &mut values.decoded)?;
            values.put_decoded(node, before);
        } else {
            values.put(node, start, at);
        }
    }
    matches!(line.get(at + 1), None | Some(b' ')).then_some(at + 1)
}

#[inline(always)]
fn key_end(line: &[u8], at: usize) -> usize {
    words::find(
        line,
        at,
        |word| words::equal(word, b'=') | words::equal(word, b' ') | words::equal(word, b'"'),
        |b| matches!(b, b'=' | b' ' | b'"'),
    )
}

#[inline(always)]
fn word_end(line: &[u8], at: usize) -> usize {
    words::find(
        line,
        at,
        |word| words::equal(word, b' ') | words::equal(word, b'"'),
        |b| matches!(b, b' ' | b'"'),
    )
}
