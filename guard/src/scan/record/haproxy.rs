//! `HAProxy`'s HTTP and TCP logs (`default_http_log_format` and `default_tcp_log_format` in `src/log.c`), without the
//! syslog header:
//!
//! ```text
//! client:port [stamp] frontend backend/server timers status bytes … "request"[ …]
//! client:port [stamp] frontend backend/server timers bytes …
//! ```
//! `HAProxy` writes a quote in a request or a captured header as `#22`, and what stands around headers (`{a|b}`) as well.
//! Captured cookies are written as they came; where there are more than the two quotes of the request, it is left out.
//!
//! Which headers are captured, the line does not say. The last one of a request is taken for the agent: it usually is,
//! and whatever it is, the peer wrote it.

use super::access::{Access, Name};
use crate::scan::timestamp::{Stamp, stamp};

/// Reads a message; `None` if it has not the form.
#[inline]
pub(super) fn read(text: &[u8]) -> Option<(Access<'_>, Option<Stamp<'_>>)> {
    let end = memchr::memchr(b' ', text)?;
    let (peer, rest) = (&text[..end], &text[end + 1..]);
    let colon = memchr::memrchr(b':', peer)?;
    let (client, port) = (&peer[..colon], &peer[colon + 1..]);
    if client.is_empty()
        || port.is_empty()
        || !port.iter().all(u8::is_ascii_digit)
        || rest.first() != Some(&b'[')
    {
        return None;
    }
    let (stamp, at) = stamp(rest)?;
    let mut access = Access::of_client(client);
    // Names of the configuration and numbers: nothing of these is the client's.
    let mut words = rest[at..].splitn(6, |b| *b == b' ');
    let (_frontend, server, timers) = (words.next()?, words.next()?, words.next()?);
    let timers_count = timers.split(|b| *b == b'/').count();
    let are_timers = timers.iter().all(|b| b.is_ascii_digit() || matches!(b, b'/' | b'-' | b'+'));
    if !server.contains(&b'/') || !are_timers {
        return None;
    }
    if timers_count == 3 {
        return Some((access, Some(stamp)));
    }
    let (status, _bytes, rest) = (words.next()?, words.next()?, words.next()?);
    let is_status = status == b"-1" || status.len() == 3 && status.iter().all(u8::is_ascii_digit);
    if timers_count != 5 || !is_status {
        return None;
    }
    access.set(Name::Status, status);
    // Behind the two captured cookies.
    if let Some(termination) = rest.split(|b| *b == b' ').nth(2) {
        access.set(Name::Termination, termination);
    }
    let mut quotes = memchr::memchr_iter(b'"', rest);
    let open = quotes.next();
    access.set(Name::Agent, last_captured(&rest[..open.unwrap_or(rest.len())]).unwrap_or_default());
    if let (Some(open), Some(close), None) = (open, quotes.next(), quotes.next())
        && matches!(rest.get(close + 1), None | Some(b' '))
    {
        access.set_request(&rest[open + 1..close]);
    }
    Some((access, Some(stamp)))
}

/// The last captured header of the request, which is in the first braces.
fn last_captured(text: &[u8]) -> Option<&[u8]> {
    let open = memchr::memchr(b'{', text)? + 1;
    let close = open + memchr::memchr(b'}', &text[open..])?;
    text[open..close].rsplit(|b| *b == b'|').next()
}
