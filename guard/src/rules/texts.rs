//! Texts a field of a line may have: as they are, or with `*` for any text.

use memchr::memmem;

/// Any of some texts. Bytes are compared as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Texts {
    /// In order.
    plain: Box<[Box<[u8]>]>,
    globs: Box<[Glob]>,
}

/// A text with at least one `*`: what stands before, between and behind them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Glob {
    front: Box<[u8]>,
    middle: Box<[Box<[u8]>]>,
    end: Box<[u8]>,
}

impl Texts {
    pub(super) fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let (mut plain, mut globs) = (Vec::<Box<[u8]>>::new(), Vec::new());
        for text in texts {
            match Glob::new(text) {
                Some(glob) => globs.push(glob),
                None => plain.push(text.as_bytes().into()),
            }
        }
        plain.sort_unstable();
        plain.dedup();
        globs.sort_unstable();
        globs.dedup();
        Self { plain: plain.into(), globs: globs.into() }
    }

    /// The texts, each as it is; `None` if there is one with `*` among them.
    pub(super) fn plain(&self) -> Option<&[Box<[u8]>]> {
        self.globs.is_empty().then_some(&*self.plain)
    }

    pub(super) fn fit(&self, text: &[u8]) -> bool {
        self.plain.binary_search_by(|known| known.as_ref().cmp(text)).is_ok()
            || self.globs.iter().any(|glob| glob.fits(text))
    }
}

impl Glob {
    fn new(text: &str) -> Option<Self> {
        let (front, rest) = text.split_once('*')?;
        let (middle, end) = rest.rsplit_once('*').unwrap_or(("", rest));
        let middle = middle.split('*').filter(|part| !part.is_empty()).map(|part| part.as_bytes().into());
        Some(Self { front: front.as_bytes().into(), middle: middle.collect(), end: end.as_bytes().into() })
    }

    /// Each part is taken where it first stands, which leaves most for the next: no way back is needed.
    fn fits(&self, text: &[u8]) -> bool {
        let Some(rest) = text.strip_prefix(&*self.front) else { return false };
        let Some(mut rest) = rest.strip_suffix(&*self.end) else { return false };
        for part in &self.middle {
            let Some(at) = memmem::find(rest, part) else { return false };
            rest = &rest[at + part.len()..];
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn stars_stand_for_any_text() {
        for (text, fits, not) in [
            ("root", &["root"][..], &["Root", "roo", "roott", ""][..]),
            ("*", &["", "x", "a/b"], &[]),
            ("/wp-*", &["/wp-", "/wp-login.php", "/wp-a/b"], &["/wp", "x/wp-"]),
            ("*.php", &[".php", "/a.php"], &["/a.php5"]),
            ("a*a", &["aa", "aba"], &["a"]),
            ("/*/x*y*.php", &["//xy.php", "/a/b/xx1y2.php"], &["/a/y/x.php"]),
            ("**", &["", "é"], &[]),
        ] {
            let texts = Texts::new([text]);
            assert!(fits.iter().all(|fit| texts.fit(fit.as_bytes())), "{text}");
            assert!(!not.iter().any(|fit| texts.fit(fit.as_bytes())), "{text}");
        }
    }

    #[test]
    fn any_of_many_is_enough() {
        let texts = Texts::new(["b", "a", "c*", "a"]);
        assert!(texts.fit(b"a") && texts.fit(b"b") && texts.fit(b"c\xff"));
        assert!(!texts.fit(b"d") && !Texts::default().fit(b""));
    }

    fn naive(glob: &[u8], text: &[u8]) -> bool {
        match glob {
            [] => text.is_empty(),
            [b'*', rest @ ..] => (0..=text.len()).any(|from| naive(rest, &text[from..])),
            [first, rest @ ..] => text.first() == Some(first) && naive(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn as_a_naive_reader_has_it(glob in "[ab*]{0,8}", text in "[ab]{0,12}") {
            prop_assert_eq!(Texts::new([glob.as_str()]).fit(text.as_bytes()), naive(glob.as_bytes(), text.as_bytes()));
        }
    }
}
