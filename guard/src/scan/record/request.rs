//! Request lines: `GET /path?query HTTP/1.1`.

/// A request line taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request<'a> {
    pub(super) method: &'a [u8],
    pub(super) target: &'a [u8],
    pub(super) protocol: &'a [u8],
}

/// Takes a request line apart; `None` if it is not a method in capitals, a target without blanks and an HTTP version,
/// with one blank between them.
#[inline]
pub(super) fn split(line: &[u8]) -> Option<Request<'_>> {
    let method = memchr::memchr(b' ', &line[..line.len().min(33)])?;
    let (method, rest) = (&line[..method], &line[method + 1..]);
    let target = memchr::memchr(b' ', rest)?;
    let (target, protocol) = (&rest[..target], &rest[target + 1..]);
    let is_method = |b: &u8| b.is_ascii_uppercase() || matches!(b, b'-' | b'_');
    let fits = method.first()?.is_ascii_uppercase()
        && method.iter().all(is_method)
        && !target.is_empty()
        && is_version(protocol);
    fits.then_some(Request { method, target, protocol })
}

/// The target without its query, and the query, if there is one.
#[inline]
pub(super) fn split_query(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'?', target) {
        Some(mark) => (&target[..mark], Some(&target[mark + 1..])),
        None => (target, None),
    }
}

/// `HTTP/1.1`, `HTTP/2`.
fn is_version(text: &[u8]) -> bool {
    match text.strip_prefix(b"HTTP/") {
        Some([major]) => major.is_ascii_digit(),
        Some([major, b'.', minor]) => major.is_ascii_digit() && minor.is_ascii_digit(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_and_is_not_well_formed() {
        for line in [
            "GET / HTTP/1.1",
            "M-SEARCH * HTTP/1.1",
            "PRI * HTTP/2.0",
            "CONNECT a:443 HTTP/2",
            "GET ?x HTTP/1.0",
        ] {
            assert!(split(line.as_bytes()).is_some(), "{line}");
        }
        for line in [
            "",
            " ",
            "-",
            "GET",
            "GET /",
            "GET / HTTP/1.1 ",
            "GET  / HTTP/1.1",
            "GET /a b HTTP/1.1",
            "get / HTTP/1.1",
            "GET / HTTP/1.12",
            "GET / http/1.1",
            "GET / HTTP/",
            " GET / HTTP/1.1",
            "\\x16\\x03\\x01 / HTTP/1.1",
            "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGH / HTTP/1.1",
        ] {
            assert_eq!(split(line.as_bytes()), None, "{line}");
        }
    }
}
