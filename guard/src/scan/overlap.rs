//! Whether two shell patterns can name one path.

/// How paths are compared with shell patterns: as a shell does, so that `*` stays in its folder.
pub(crate) const MATCHING: glob::MatchOptions = glob::MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// One piece of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    /// This character.
    Is(char),
    /// One character of a name: `?`, or a class, which is not looked into.
    One,
    /// Any part of a name: `*`.
    Name,
    /// Any folders: `**/`, or all that is left: `**` at the end.
    Any,
}

/// Whether some path fits both. A class of characters is taken for any character, so a pair may be said to overlap that
/// does not, and never the other way round.
pub(super) fn overlap(a: &str, b: &str) -> bool {
    if differ(a.bytes(), b.bytes()) || differ(a.bytes().rev(), b.bytes().rev()) {
        return false;
    }
    let (a, b) = (pieces(a), pieces(b));
    // For each place in `a`, whether the rests of both from there on can be one text; rows go backwards through `b`.
    let mut after = vec![false; a.len() + 1];
    for at_b in (0..=b.len()).rev() {
        let mut row = vec![false; a.len() + 1];
        for at_a in (0..=a.len()).rev() {
            row[at_a] = match (a.get(at_a), b.get(at_b)) {
                (None, None) => true,
                (Some(one), None) => one.is_run() && row[at_a + 1],
                (None, Some(other)) => other.is_run() && after[at_a],
                (Some(one), Some(other)) => {
                    one.is_run() && row[at_a + 1]
                        || other.is_run() && after[at_a]
                        || one.meets(*other)
                            && match (one.is_run(), other.is_run()) {
                                // A run takes what the other stands for, and goes on.
                                (true, false) => after[at_a],
                                (false, true) => row[at_a + 1],
                                (true, true) => false,
                                (false, false) => after[at_a + 1],
                            }
                }
            };
        }
        after = row;
    }
    after[0]
}

/// Whether patterns differ in the text before the first thing of either that may stand for other text. Most do.
fn differ(a: impl Iterator<Item = u8>, b: impl Iterator<Item = u8>) -> bool {
    let is_text = |byte: u8| !matches!(byte, b'*' | b'?' | b'[' | b']');
    a.zip(b).take_while(|(a, b)| is_text(*a) && is_text(*b)).any(|(a, b)| a != b)
}

impl Piece {
    /// Whether it takes any number of characters.
    fn is_run(self) -> bool {
        matches!(self, Self::Name | Self::Any)
    }

    /// Whether both can take one character.
    fn meets(self, other: Self) -> bool {
        match (self, other) {
            (Self::Is(one), Self::Is(other)) => one == other,
            (Self::Is(one), Self::One | Self::Name) | (Self::One | Self::Name, Self::Is(one)) => one != '/',
            _ => true,
        }
    }
}

fn pieces(pattern: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = pattern;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '*' if rest.starts_with("**") => {
                pieces.push(Piece::Any);
                if rest.starts_with("**/") { 3 } else { 2 }
            }
            '*' => {
                pieces.push(Piece::Name);
                1
            }
            '?' => {
                pieces.push(Piece::One);
                1
            }
            '[' if class(rest).is_some() => {
                pieces.push(Piece::One);
                class(rest).unwrap_or(1)
            }
            other => {
                pieces.push(Piece::Is(other));
                other.len_utf8()
            }
        };
        rest = &rest[length..];
    }
    pieces
}

/// Bytes of the class of characters at the front, such as `[a-z]`, `[!]]`.
fn class(text: &str) -> Option<usize> {
    let inside = text.strip_prefix("[!").or_else(|| text.strip_prefix('['))?;
    // A bracket that comes first is a member.
    let first = inside.chars().next()?.len_utf8();
    let end = inside[first..].find(']')?;
    Some(text.len() - inside.len() + first + end + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn patterns_with_a_path_in_common_overlap_and_others_do_not() {
        for (a, b, expected) in [
            ("/var/log/*/app.log", "/var/log/myapp/*.log", true),
            ("/var/log/*.log", "/var/log/nginx/access.log", false),
            ("/var/log/**/access.log", "/var/log/nginx/*.log", true),
            ("/var/log/**/access.log", "/var/log/access.log", true),
            ("/var/log/**", "/var/log/a/b/c", true),
            ("/a/*error.log", "/a/*access.log", false),
            ("/a/[xy]?.log", "/a/x*", true),
            ("/a/[]]", "/a/b/c", false),
            ("/a/?", "/a/", false),
            ("/a/*", "/a/*/b", false),
            ("/a/*b*c", "/a/*c*b", false),
            ("/a/*b*", "/a/*c*", true),
            ("", "*", true),
        ] {
            assert_eq!(overlap(a, b), expected, "{a} {b}");
            assert_eq!(overlap(b, a), expected, "{b} {a}");
        }
    }

    proptest! {
        #[test]
        fn what_both_patterns_match_is_an_overlap(
            a in "(/(a|b|\\*|\\?|\\[ab\\]){1,3}|/\\*\\*){1,3}",
            b in "(/(a|b|\\*|\\?|\\[ab\\]){1,3}|/\\*\\*){1,3}",
            paths in proptest::collection::vec("(/[ab]{1,3}){1,4}", 50),
        ) {
            let fits = |pattern: &str, path: &str| {
                glob::Pattern::new(pattern).is_ok_and(|pattern| pattern.matches_with(path, MATCHING))
            };
            for path in paths {
                if fits(&a, &path) && fits(&b, &path) {
                    prop_assert!(overlap(&a, &b), "{a} {b} {path}");
                }
            }
        }
    }
}
