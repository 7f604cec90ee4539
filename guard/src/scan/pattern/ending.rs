//! What stands behind the front of a form, ready to be read: from the end, and by search between gaps.

use memchr::memmem::Finder;

use super::form::{End, Found, Free, Part, Piece};
use super::steps::Steps;

/// Places looked at in one message at most: text that imitates a piece more often hides its peer, and costs no more.
const SEARCHES: u32 = 64;

/// The end of a form.
#[derive(Clone, Debug)]
pub(in crate::scan) struct Ending {
    back: Steps,
    gap: Option<Free>,
    pieces: Box<[Sought]>,
}

/// A gap, and what is searched for behind it.
#[derive(Clone, Debug)]
struct Sought {
    gap: Free,
    literal: Finder<'static>,
    rest: Box<[Part]>,
}

impl Ending {
    pub(super) fn new(end: &End) -> Self {
        let sought = |piece: &Piece| Sought {
            gap: piece.gap,
            literal: Finder::new(&*piece.literal).into_owned(),
            rest: piece.rest.as_slice().into(),
        };
        Self {
            back: Steps::backwards(&end.back),
            gap: end.gap,
            pieces: end.pieces.iter().map(sought).collect(),
        }
    }

    /// Reads what follows the front, all of it, and answers whether it is this end. If it is not, what was found
    /// means nothing.
    #[inline(always)]
    pub(in crate::scan) fn read<'a>(&self, text: &'a [u8], found: &mut Found<'a>) -> bool {
        let Some(rest) = self.back.read_back(text, found) else { return false };
        match (self.gap, &*self.pieces) {
            (None, _) => rest.is_empty(),
            (Some(gap), []) => gap.take(rest, found),
            (Some(gap), pieces) => search(pieces, gap, rest, found, &mut { SEARCHES }),
        }
    }
}

/// Finds pieces one behind the other, and a gap up to the end of the text: the leftmost places that fit. Places where
/// the rest does not fit are passed over, as long as there are searches left.
#[cold]
fn search<'a>(pieces: &[Sought], last: Free, text: &'a [u8], found: &mut Found<'a>, left: &mut u32) -> bool {
    let Some((piece, others)) = pieces.split_first() else { return last.take(text, found) };
    let literal = piece.literal.needle().len();
    // The gap may reach up to a byte that it cannot hold.
    let reach = piece.gap.except.first_in(text).unwrap_or(text.len());
    let window = &text[..text.len().min(reach + literal)];
    let mut from = 0;
    while let Some(at) = piece.literal.find(&window[from..]).map(|at| from + at) {
        if *left == 0 {
            return false;
        }
        *left -= 1;
        if let Some(rest) = piece.read(&text[at + literal..], found)
            && search(others, last, rest, found, left)
        {
            piece.gap.keep(&text[..at], found);
            return true;
        }
        from = at + 1;
    }
    false
}

impl Sought {
    /// Reads what stands behind the literal, and answers what follows it.
    fn read<'a>(&self, text: &'a [u8], found: &mut Found<'a>) -> Option<&'a [u8]> {
        self.rest.iter().try_fold(text, |rest, part| part.read_front(rest, found))
    }
}

impl Free {
    /// Takes the text of a gap, if it can hold it.
    #[inline(always)]
    fn take<'a>(self, text: &'a [u8], found: &mut Found<'a>) -> bool {
        if !self.except.is_empty() && self.except.first_in(text).is_some() {
            return false;
        }
        self.keep(text, found);
        true
    }
}
