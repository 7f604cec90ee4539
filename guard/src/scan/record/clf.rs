//! The Common Log Format and what has grown around it: combined (Apache, nginx), with a virtual host in front (Apache's
//! `vhost_combined`) or in place of the identity (lighttpd), and with more behind (Traefik, `HAProxy`).
//!
//! ```text
//! [host[:port] ]client identity user [stamp] "request" status bytes[ "referrer" "agent"[ …]]
//! ```
//! The client stands in front of everything that it can write. The user is its own choice, with blanks and brackets, but
//! without a bare quote: nginx writes `\x22`, Apache and lighttpd `\"`. So the first bare quote begins the request, and
//! a stamp stands right before it. Traefik escapes nothing: where a second stamp and quote follow, the user may have
//! written the first, and nothing but the client is believed.

use super::access::{Access, Name};
use crate::scan::address;
use crate::scan::timestamp::{Stamp, Usual, stamp};

/// Longest stamp, with its brackets and the blank behind it.
const MAX_STAMP: usize = 80;

/// Reads a line; `None` if it has not the form.
#[inline]
pub(super) fn read<'a>(line: &'a [u8], usual: &mut Usual) -> Option<(Access<'a>, Option<Stamp<'a>>)> {
    let (host, rest) = split_host(line)?;
    let client = memchr::memchr(b' ', rest)?;
    let (client, rest) = (&rest[..client], &rest[client + 1..]);
    if client.is_empty() || stamp(rest).is_some() {
        // `client:port [stamp]` is another format; an IPv6 address with a port can look like one without.
        return None;
    }
    // Whoever the rest imitates, this is who wrote it.
    let alone = (Access::of_client(client), None);
    let Some(front) = front(rest, usual) else {
        return (rest.starts_with(b"- ") && rest.contains(&b'"')).then_some(alone);
    };
    let mut access = alone.0;
    let (identity, user) = (front.identity, front.user);
    if identity.is_empty() || user.contains(&b' ') && is_address(identity) {
        // `$host $remote_addr - $user`: the first address is one that the client has named.
        return None;
    }
    let Some((request, tail)) = quoted(&rest[front.request..]) else { return Some(alone) };
    let Some((status, tail)) = status(tail) else { return Some(alone) };
    if imitated(tail) {
        return Some(alone);
    }
    match host {
        Some(host) => access.set_host(host),
        None => access.set_host(identity),
    }
    access
        .set(Name::User, user.strip_prefix(b"\"").and_then(|user| user.strip_suffix(b"\"")).unwrap_or(user));
    access.set_request(request);
    access.set(Name::Status, status);
    if let Some((referrer, tail)) = tail.strip_prefix(b" ").and_then(quoted) {
        access.set(Name::Referrer, referrer);
        if let Some((agent, _)) = tail.strip_prefix(b" ").and_then(quoted) {
            access.set(Name::Agent, agent);
        }
    }
    Some((access, Some(front.stamp)))
}

/// What stands between the client and the request.
struct Front<'a> {
    identity: &'a [u8],
    user: &'a [u8],
    stamp: Stamp<'a>,
    /// Where the request begins, with its quote.
    request: usize,
}

/// `identity user [stamp] ` and the first bare quote.
#[inline]
fn front<'a>(text: &'a [u8], usual: &mut Usual) -> Option<Front<'a>> {
    let mut from = 0;
    let request = loop {
        let quote = from + memchr::memchr(b'"', text.get(from..)?)?;
        if is_escaped(text, quote) {
            from = quote + 1;
        } else if let Some(behind) = behind_quoted_user(text, quote) {
            from = behind;
        } else {
            break quote;
        }
    };
    let (open, stamp) = stamp_before(text, request, |text| usual.stamp(text))?;
    let (identity, user) = text[..open].strip_suffix(b" ")?.split_at_checked(memchr::memchr(b' ', text)?)?;
    Some(Front { identity, user: user.strip_prefix(b" ")?, stamp, request })
}

/// Where a user ends that is written in quotes, which begin here: as some formats do, and Apache if it is without a name.
/// The user stands between the identity, which is one word, and the stamp.
#[inline]
fn behind_quoted_user(text: &[u8], quote: usize) -> Option<usize> {
    let identity = text[..quote].strip_suffix(b" ")?;
    let (_, rest) = quoted(&text[quote..]).filter(|_| !identity.contains(&b' '))?;
    rest.starts_with(b" [").then(|| text.len() - rest.len())
}

/// The stamp in brackets right before a quote, with one blank between, and where its bracket is.
#[inline]
fn stamp_before<'a>(
    text: &'a [u8],
    quote: usize,
    mut stamp: impl FnMut(&'a [u8]) -> Option<(Stamp<'a>, usize)>,
) -> Option<(usize, Stamp<'a>)> {
    // Not further back than a stamp can reach: there may be a quote at every other byte.
    let start = quote.saturating_sub(MAX_STAMP);
    let end = text[start..quote].strip_suffix(b"] ")?;
    let open = start + memchr::memrchr(b'[', end)?;
    let (stamp, rest) = stamp(&text[open..])?;
    (open + rest == quote).then_some((open, stamp))
}

/// The virtual host with its port, if there is one, and the rest.
#[inline]
fn split_host(line: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let end = memchr::memchr(b' ', line)?;
    let first = &line[..end];
    // No name that an address can be looked up as holds a colon.
    let Some(colon) = memchr::memrchr(b':', first) else {
        let named = is_client_behind(&line[end + 1..]) && is_name(first);
        return Some(if named { (Some(first), &line[end + 1..]) } else { (None, line) });
    };
    let port = &first[colon + 1..];
    let is_port = (1..=5).contains(&port.len()) && port.iter().all(u8::is_ascii_digit);
    if !is_port || is_address(first) {
        return Some((None, line));
    }
    Some((Some(first), &line[end + 1..]))
}

/// Whether what follows a host's name is `client - user [`, each a single word: whatever a client puts into the name of a
/// host, its own address comes behind that, and makes more words or stands for the user.
#[inline]
fn is_client_behind(text: &[u8]) -> bool {
    if !text.first().is_some_and(|b| address::is_address_byte(*b)) {
        return false;
    }
    let mut words = text.splitn(4, |b| *b == b' ');
    let mut word = || words.next().unwrap_or_default();
    let (client, identity, user, rest) = (word(), word(), word(), word());
    let is_user = !user.is_empty() && !user.contains(&b':') && !is_address(user);
    is_address(client) && identity == b"-" && is_user && rest.starts_with(b"[")
}

/// Whether a text can be a host's name and is no address.
fn is_name(text: &[u8]) -> bool {
    text.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')) && !is_address(text)
}

fn is_address(text: &[u8]) -> bool {
    address::at_front(text).is_some_and(|(_, length)| length == text.len())
}

/// ` 200 612` or ` 200 -` and the end or a blank: the status and what follows both.
#[inline]
fn status(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = text.strip_prefix(b" ")?;
    let (status, rest) = rest.split_at(rest.iter().position(|b| *b == b' ')?);
    if status != b"-" && (status.len() != 3 || !status.iter().all(u8::is_ascii_digit)) {
        return None;
    }
    let rest = rest.strip_prefix(b" ")?;
    let length = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    let length = if length == 0 && rest.first() == Some(&b'-') { 1 } else { length };
    let tail = &rest[length..];
    (length > 0 && matches!(tail.first(), None | Some(b' '))).then_some((status, tail))
}

/// A text in quotes and what follows, which is a blank or the end.
#[inline]
fn quoted(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = text.strip_prefix(b"\"")?;
    let mut from = 0;
    let end = loop {
        let quote = from + memchr::memchr(b'"', inner.get(from..)?)?;
        if !is_escaped(inner, quote) {
            break quote;
        }
        from = quote + 1;
    };
    let rest = &inner[end + 1..];
    matches!(rest.first(), None | Some(b' ')).then_some((&inner[..end], rest))
}

/// Whether a quote has an odd number of backslashes in front.
#[inline]
fn is_escaped(text: &[u8], quote: usize) -> bool {
    text[..quote].iter().rev().take_while(|b| **b == b'\\').count() % 2 == 1
}

/// Whether a request begins in what should be the end of a line: a bare quote right behind a stamp, with text right
/// behind it. No server that escapes quotes writes that, whatever it is sent.
#[inline]
fn imitated(tail: &[u8]) -> bool {
    memchr::memchr_iter(b'"', tail).any(|quote| {
        !matches!(tail.get(quote + 1), None | Some(b' '))
            && tail[..quote].ends_with(b"] ")
            && stamp_before(tail, quote, stamp).is_some()
    })
}
