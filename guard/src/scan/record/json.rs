//! JSON objects in one pass.
//!
//! Everything is checked as RFC 8259 has it, also what nobody asked for, so that no text after a broken string is taken
//! for a field. Refused beyond that: a line that is not an object, more than [`MAX_DEPTH`] levels, a key that leads to
//! a place asked for twice. Let through: bytes that are not UTF-8, numbers beyond every range, half surrogate pairs in
//! strings nobody asked for.

use super::MAX_DEPTH;
use super::escape::{Dialect, decode};
use super::tree::{NodeId, ROOT, Tree, Values};
use super::words;

/// Reads a line; `None` if it is not one JSON object.
pub(super) fn read(line: &[u8], tree: &Tree, values: &mut Values) -> Option<()> {
    values.begin(tree, line)?;
    // For the whole line at once, in wide instructions, where each string would wait for the one before it.
    let tame = line.iter().fold(u8::MAX, |least, b| least.min(*b)) >= 0x20;
    if tame {
        values.marks.mark(line);
    }
    let mut reader = Reader { text: line, at: 0, tame, tree, values };
    if reader.next()? != b'{' {
        return None;
    }
    reader.object(Some(ROOT), 1)?;
    reader.blanks();
    (reader.at == line.len()).then_some(())
}

struct Reader<'r> {
    text: &'r [u8],
    at: usize,
    /// The line has no control bytes.
    tame: bool,
    tree: &'r Tree,
    values: &'r mut Values,
}

/// A string without its quotes.
#[derive(Clone, Copy)]
struct Text {
    start: usize,
    end: usize,
    escaped: bool,
}

impl Reader<'_> {
    #[inline(always)]
    fn blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.text.get(self.at) {
            self.at += 1;
        }
    }

    /// The next byte that is not blank, taken.
    #[inline(always)]
    fn next(&mut self) -> Option<u8> {
        self.blanks();
        let next = *self.text.get(self.at)?;
        self.at += 1;
        Some(next)
    }

    /// A value, kept if it is at a place that was asked for. `depth` is how many objects and arrays it is in.
    #[inline]
    fn value(&mut self, node: Option<NodeId>, depth: usize) -> Option<()> {
        let first = self.next()?;
        let start = self.at - 1;
        match first {
            b'"' => {
                let text = self.string()?;
                return self.keep(node, text);
            }
            b'{' => return self.object(node, depth + 1),
            b'[' => return self.array(node, depth + 1),
            b't' => self.word(b"rue")?,
            b'f' => self.word(b"alse")?,
            b'n' => self.word(b"ull")?,
            _ => self.number(start)?,
        }
        if let Some(node) = node {
            self.values.put(node, start, self.at);
        }
        Some(())
    }

    /// An object, behind its brace.
    fn object(&mut self, node: Option<NodeId>, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        let node = node.filter(|node| self.tree.leads_on(*node));
        let mut next = self.next()?;
        if next == b'}' {
            return Some(());
        }
        loop {
            if next != b'"' {
                return None;
            }
            let key = self.string()?;
            let child = node.and_then(|node| self.child(node, key));
            if let Some(child) = child {
                self.values.see(child)?;
            }
            if self.next()? != b':' {
                return None;
            }
            self.value(child, depth)?;
            match self.next()? {
                b',' => next = self.next()?,
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// An array, behind its bracket. Its first element can be asked for.
    fn array(&mut self, node: Option<NodeId>, depth: usize) -> Option<()> {
        if depth > MAX_DEPTH {
            return None;
        }
        let mut child = node.and_then(|node| self.tree.child(node, b"0"));
        if let Some(child) = child {
            self.values.see(child)?;
        }
        self.blanks();
        if self.text.get(self.at) == Some(&b']') {
            self.at += 1;
            return Some(());
        }
        loop {
            self.value(child.take(), depth)?;
            match self.next()? {
                b',' => {}
                b']' => return Some(()),
                _ => return None,
            }
        }
    }

    /// Where a key leads to, if anywhere.
    #[inline]
    fn child(&mut self, node: NodeId, key: Text) -> Option<NodeId> {
        let text = &self.text[key.start..key.end];
        if !key.escaped {
            return self.tree.child(node, text);
        }
        let before = self.values.decoded.len();
        let decoded = decode(text, Dialect::Json, &mut self.values.decoded);
        let child = decoded.and_then(|()| self.tree.child(node, &self.values.decoded[before..]));
        self.values.decoded.truncate(before);
        child
    }

    #[inline]
    fn keep(&mut self, node: Option<NodeId>, text: Text) -> Option<()> {
        let Some(node) = node else { return Some(()) };
        if text.escaped {
            let before = self.values.decoded.len();
            decode(&self.text[text.start..text.end], Dialect::Json, &mut self.values.decoded)?;
            self.values.put_decoded(node, before);
        } else {
            self.values.put(node, text.start, text.end);
        }
        Some(())
    }

    /// A string, behind its quote.
    #[inline]
    fn string(&mut self) -> Option<Text> {
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at = self.plain_end(self.at);
            match *self.text.get(self.at)? {
                b'"' => {
                    self.at += 1;
                    return Some(Text { start, end: self.at - 1, escaped });
                }
                b'\\' => {
                    escaped = true;
                    self.at += match self.text.get(self.at + 1)? {
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 2,
                        b'u' => {
                            let digits = self.text.get(self.at + 2..self.at + 6)?;
                            digits.iter().all(u8::is_ascii_hexdigit).then_some(6)?
                        }
                        _ => return None,
                    };
                }
                // A control byte.
                _ => return None,
            }
        }
    }

    fn word(&mut self, rest: &[u8]) -> Option<()> {
        self.text[self.at..].starts_with(rest).then(|| self.at += rest.len())
    }

    /// A number that begins at `start`.
    fn number(&mut self, start: usize) -> Option<()> {
        self.at = start + usize::from(self.text[start] == b'-');
        match self.text.get(self.at)? {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits()?,
            _ => return None,
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.text.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.text.get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    /// At least one digit.
    #[inline]
    fn digits(&mut self) -> Option<()> {
        let digits = self.text[self.at..].iter().take_while(|b| b.is_ascii_digit()).count();
        self.at += digits;
        (digits > 0).then_some(())
    }

    /// Where a run of plain bytes of a string ends: at a quote, a backslash, a control byte or the end of the text.
    #[inline(always)]
    fn plain_end(&self, at: usize) -> usize {
        if self.tame {
            return self.values.marks.next(at).unwrap_or(self.text.len());
        }
        words::find(
            self.text,
            at,
            |word| words::equal(word, b'"') | words::equal(word, b'\\') | words::below(word, 0x20),
            |b| matches!(b, b'"' | b'\\' | 0..0x20),
        )
    }
}
