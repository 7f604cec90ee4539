//! The head of a syslog line: stamp, host, identifier, process; what follows is the message.
//!
//! Three forms: RFC 3164 (`Nov  1 00:00:00 host ident[7]: text`), the same with an RFC 3339 stamp, as rsyslog and
//! syslog-ng write it today, and RFC 5424 (`<34>1 2026-… host app 7 - - text`). A priority in front is skipped. RFC 3164
//! is also read with the stamps of journalctl (`-o short-precise`, `-o short-full`), and with facility and level: behind the
//! host, as `BusyBox` writes them (`Nov  1 00:00:00 host auth.info ident[7]: text`), before it in angle brackets, as
//! FreeBSD's syslogd does when asked to, and in its place behind a year, as `OpenWrt`'s logread does. Daemons with a format
//! of the administrator's write ISO 8601 with a blank, seconds since the epoch (journalctl's `-o short-unix` too), or a year
//! behind the day (`Nov  1 2026 00:00:00`); `-o short-monotonic` writes the time since boot in brackets, which is no time of
//! the day. An RFC 5424 line may have lost its priority. metalog writes no host and the program in brackets
//! (`Nov  1 00:00:00 [ident] text`). A level in words may stand in columns in front of the program (`INFO    ident[7]: text`), and a
//! label in front of the message: Solaris's message id (`ident[7]: [ID 800047 auth.info] text`), or facility and level
//! (`ident[7]: [auth.info]: text`).

use crate::time::Wall;

use super::timestamp::{self, BSD_LENGTH, Notation, Stamps};
use crate::{bytes, simd};

/// Longest identifier. RFC 5424 allows 48 bytes.
const MAX_IDENTIFIER: usize = 64;

/// A line taken apart. Borrows the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header<'a> {
    /// The stamp's text; read only when the line matters.
    pub(super) stamp: Stamp<'a>,
    /// Who wrote the line: the program's name.
    pub(super) identifier: &'a [u8],
    /// Its process id, 0 if the line does not say.
    pub(super) pid: u32,
    /// The rest of the line.
    pub(super) message: &'a [u8],
}

/// A stamp that has not been read yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stamp<'a> {
    /// RFC 3164.
    Bsd(&'a [u8; BSD_LENGTH]),
    /// RFC 3339; the slice begins with it.
    Iso(&'a [u8]),
    /// One of journalctl's or logread's.
    Other(timestamp::Stamp<'a>),
    /// RFC 5424's "no time".
    None,
}

impl Stamp<'_> {
    /// The time it says; `None` if there is none or it cannot be read.
    pub(super) fn read(self, stamps: &mut Stamps, reference: Wall) -> Option<Wall> {
        match self {
            Self::Bsd(text) => stamps.bsd(text, reference),
            Self::Iso(text) => stamps.iso(text, reference).map(|(wall, _)| wall),
            Self::Other(stamp) => stamps.read(stamp, reference),
            Self::None => None,
        }
    }
}

/// Takes a line apart; `None` if it has no header of a known form.
#[inline]
pub(super) fn split(line: &[u8]) -> Option<Header<'_>> {
    let first = *line.first()?;
    if first.is_ascii_uppercase() {
        return split_bsd(line);
    }
    if first.is_ascii_digit() {
        return split_iso(line);
    }
    match first {
        b'<' => split_priority(line),
        b'[' => split_stamped(line),
        _ => None,
    }
}

/// The RFC 3164 stamp in front of a line, with a space behind it; its numbers are not looked at.
#[inline]
pub(super) fn bsd_stamp(line: &[u8]) -> Option<Stamp<'_>> {
    let stamp: &[u8; BSD_LENGTH] = line.first_chunk()?;
    let fits = stamp[3] == b' ' && stamp[6] == b' ' && stamp[9] == b':' && stamp[12] == b':';
    (fits && *line.get(BSD_LENGTH)? == b' ').then_some(Stamp::Bsd(stamp))
}

/// The RFC 3339 stamp in front of a line, and the place of the space behind it.
#[inline]
pub(super) fn iso_stamp(line: &[u8]) -> Option<(Stamp<'_>, usize)> {
    let end = memchr::memchr(b' ', &line[..line.len().min(40)])?;
    (end >= 19 && line[10] == b'T').then_some((Stamp::Iso(line), end))
}

#[inline]
fn split_bsd(line: &[u8]) -> Option<Header<'_>> {
    match bsd_stamp(line) {
        Some(stamp) => split_host(&line[BSD_LENGTH + 1..], stamp),
        None => split_other(line),
    }
}

/// `Nov  1 00:00:00.000000 host …`, `Sun 2026-11-01 00:00:00 UTC host …`, `Sun Nov  1 00:00:00 2026 daemon.info …`.
#[cold]
fn split_other(line: &[u8]) -> Option<Header<'_>> {
    let (stamp, end) = timestamp::stamp(line)?;
    let rest = &line[end..];
    // Services begin lines of their own with this stamp too: the word behind it tells them apart.
    if stamp.notation() == Notation::Ctime && !is_priority(rest.split(|b| *b == b' ').next()?) {
        return None;
    }
    split_host(rest, Stamp::Other(stamp))
}

/// How the facilities of a priority are written, in as many bytes as all of them have at least: `ftp.info`.
pub(super) const FACILITIES: [[u8; 4]; 16] = [
    *b"auth", *b"cons", *b"cron", *b"daem", *b"ftp.", *b"kern", *b"loca", *b"lpr.", *b"mail", *b"mark",
    *b"news", *b"ntp.", *b"secu", *b"sysl", *b"user", *b"uucp",
];

/// How the levels of a priority are written.
const LEVELS: [&[u8]; 11] = [
    b"emerg", b"panic", b"alert", b"crit", b"err", b"error", b"warn", b"warning", b"notice", b"info",
    b"debug",
];

/// A priority in words: `daemon.info`.
fn is_priority(word: &[u8]) -> bool {
    let mut parts = word.splitn(2, |b| *b == b'.');
    let facility = parts.next().unwrap_or_default();
    word.first_chunk().is_some_and(|front| FACILITIES.contains(front))
        && facility.iter().all(u8::is_ascii_alphanumeric)
        && parts.next().is_some_and(|level| LEVELS.contains(&level))
}

fn split_iso(line: &[u8]) -> Option<Header<'_>> {
    match iso_stamp(line) {
        Some((stamp, end)) => split_host(&line[end + 1..], stamp),
        None => split_stamped(line),
    }
}

/// `2026-11-01 00:00:00 host …`, `1793491200.123456 host …`, `[  123.456789] host …`, and RFC 5424 without a priority.
#[cold]
fn split_stamped(line: &[u8]) -> Option<Header<'_>> {
    if let Some(rest) = line.strip_prefix(b"1 ") {
        return iso_stamp(rest).and_then(|_| split_5424(rest));
    }
    let (stamp, end) = timestamp::stamp(line)?;
    let is_bracketed = line[0] == b'[';
    let notation = stamp.notation();
    let fits = match notation {
        Notation::Iso | Notation::Seconds => !is_bracketed,
        Notation::Boot => is_bracketed,
        _ => false,
    };
    let rest = &line[end..];
    let host = memchr::memchr(b' ', rest)?;
    // Services begin lines of their own like this too: `2026-11-01 00:00:00 TLS Error: …`. What follows there is no host's
    // name, or it ends in a colon, or the next word has no process.
    let is_host = rest[..host].iter().all(|b| b.is_ascii_alphanumeric() || b"-._:".contains(b));
    if !fits || !is_host || rest[..host].ends_with(b":") {
        return None;
    }
    let header = split_tag(&rest[host + 1..], Stamp::Other(stamp))?;
    (header.pid > 0 || notation != Notation::Iso).then_some(header)
}

/// Whether a line has a header without a host, or a stamp with a colon behind it: then it may as well be a line of a
/// service's own, which begins with a stamp and a word.
pub(super) fn is_hostless(line: &[u8]) -> bool {
    let rest = match line.first() {
        Some(first) if first.is_ascii_uppercase() => line.get(BSD_LENGTH + 1..),
        Some(first) if first.is_ascii_digit() => match iso_stamp(line) {
            Some((_, end)) if line[end - 1] == b':' => return true,
            Some((_, end)) => line.get(end + 1..),
            None => None,
        },
        _ => None,
    };
    let first = rest.and_then(|rest| rest.split(|b| *b == b' ').next());
    first.is_some_and(|word| word.ends_with(b":") || word.starts_with(b"["))
}

/// `host ident[pid]: message`, or without a host where a local daemon leaves it out.
#[inline]
fn split_host<'a>(rest: &'a [u8], stamp: Stamp<'a>) -> Option<Header<'a>> {
    if rest.first() == Some(&b'[')
        && let Some(header) = split_bracketed(rest, stamp)
    {
        return Some(header);
    }
    let host = memchr::memchr(b' ', rest)?;
    match rest[..host].last() {
        // The host is left out: this is the tag already.
        Some(b':') => split_tag(rest, stamp),
        _ => split_tag(&rest[host + 1..], stamp).or_else(|| split_leveled(rest, stamp)),
    }
}

/// `[ident] message` or `[ident]: message`, without a host: what metalog writes.
#[cold]
fn split_bracketed<'a>(rest: &'a [u8], stamp: Stamp<'a>) -> Option<Header<'a>> {
    let end = rest.iter().take(MAX_IDENTIFIER + 4).position(|b| *b == b' ')?;
    let word = &rest[..end];
    let identifier = word.strip_suffix(b":").unwrap_or(word).strip_prefix(b"[")?.strip_suffix(b"]")?;
    // A host may be an address in brackets.
    let is_name = identifier.first()?.is_ascii_alphabetic() && !identifier.iter().any(|b| b"[:".contains(b));
    is_name.then_some(Header { stamp, identifier, pid: 0, message: &rest[end + 1..] })
}

/// What is left of a header where somebody took the stamp away: `ident[7]: message`, `ident: message` or
/// `host ident[7]: message`. It is no line of a log, but it tells whose message a text is.
pub(super) fn split_unstamped(line: &[u8]) -> Option<Header<'_>> {
    split_tag(line, Stamp::None).or_else(|| {
        let host = memchr::memchr(b' ', line)?;
        split_tag(&line[host + 1..], Stamp::None).filter(|header| header.pid > 0)
    })
}

/// `host auth.info ident[pid]: message`, `<auth.info> host ident[pid]: message` or `INFO    ident[pid]: message`.
#[cold]
fn split_leveled<'a>(rest: &'a [u8], stamp: Stamp<'a>) -> Option<Header<'a>> {
    let mut words = rest.splitn(3, |b| *b == b' ');
    let (first, second) = (words.next()?, words.next()?);
    if second.is_empty() && LEVELS.iter().any(|level| level.eq_ignore_ascii_case(first)) {
        return split_tag(rest[first.len()..].trim_ascii_start(), stamp);
    }
    let in_brackets = first.strip_prefix(b"<").and_then(|first| first.strip_suffix(b">"));
    if is_priority(in_brackets.unwrap_or(second)) { split_tag(words.next()?, stamp) } else { None }
}

/// `ident[pid]: message`.
#[inline]
fn split_tag<'a>(rest: &'a [u8], stamp: Stamp<'a>) -> Option<Header<'a>> {
    let end = rest.iter().take(MAX_IDENTIFIER + 16).position(|b| *b == b' ')?;
    let (identifier, pid) = split_pid(rest[..end].strip_suffix(b":")?)?;
    let message = &rest[end + 1..];
    let message = if may_be_labelled(message) { skip_label(message) } else { message };
    Some(Header { stamp, identifier, pid, message })
}

/// Whether a message may begin with a label, by its first bytes. At least five of them are looked at.
#[inline(always)]
pub(super) fn may_be_labelled(opening: &[u8]) -> bool {
    opening.first() == Some(&b'[') && is_label_front(opening)
}

#[cold]
fn is_label_front(opening: &[u8]) -> bool {
    let front = opening.get(1..).unwrap_or_default();
    front.starts_with(b"ID ") || front.first_chunk().is_some_and(|front| FACILITIES.contains(front))
}

/// What stands behind `[ID 800047 auth.info] ` or `[auth.info]: `; all of the message if it begins otherwise.
#[cold]
fn skip_label(message: &[u8]) -> &[u8] {
    let behind = |message: &'_ [u8]| -> Option<usize> {
        let end = message.iter().take(MAX_IDENTIFIER).position(|b| *b == b']')?;
        let label = message.get(1..end)?;
        let (priority, ends) = match label.strip_prefix(b"ID ") {
            Some(id) => {
                let space = id.iter().position(|b| *b == b' ')?;
                bytes::number(&id[..space])?;
                (&id[space + 1..], &b"] "[..])
            }
            None => (label, &b"]: "[..]),
        };
        let fits = is_priority(priority) && message[end..].starts_with(ends);
        fits.then_some(end + ends.len())
    };
    behind(message).map_or(message, |at| &message[at..])
}

/// `ident[pid]` or `ident`.
#[inline]
fn split_pid(tag: &[u8]) -> Option<(&[u8], u32)> {
    if tag.last() != Some(&b']') {
        return (!tag.is_empty()).then_some((tag, 0));
    }
    let open = tag.iter().rposition(|b| *b == b'[').filter(|open| *open > 0)?;
    let digits = &tag[open + 1..tag.len() - 1];
    Some((&tag[..open], bytes::number(digits)?))
}

/// Bytes of a line's tag that [`Tag::find`] looks at.
pub(super) const TAG: usize = 32;

/// Where the parts of a tag are, counted from its beginning. What [`split`] makes of a tag, in two steps: the name
/// first, and the process only if the line matters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tag {
    /// Length of the identifier.
    pub(super) name: u8,
    /// Place of the space behind the tag.
    pub(super) end: u8,
}

impl Tag {
    /// The tag at the front of a block, and whether it is of a known form; `None` if it does not end in the block.
    #[inline(always)]
    #[allow(clippy::needless_bitwise_bool, reason = "a lazy operator is a branch")]
    pub(super) fn find(block: &[u8; TAG]) -> Option<(Self, bool)> {
        let spaces = simd::equal(block, b' ');
        if spaces == 0 {
            return None;
        }
        let end = spaces.trailing_zeros();
        // Of `ident[7]: `, the last opening bracket before the space.
        let opening = simd::equal(block, b'[') & (spaces - 1) & !spaces;
        // Where nothing stands before the space there is no name either.
        let before = |count: u32| block[end.wrapping_sub(count) as usize % TAG];
        let (colon, closed) = (before(1) == b':', before(2) == b']');
        let name = if closed { 31u32.saturating_sub(opening.leading_zeros()) } else { end.saturating_sub(1) };
        Some((Self { name: name as u8, end: end as u8 }, colon & (name > 0)))
    }

    /// Whether it names a process.
    #[inline(always)]
    pub(super) fn has_pid(self) -> bool {
        self.name + 1 != self.end
    }

    /// The process id in the tag that begins at `start` of a text, 0 if the tag has none; `None` if it is not a number.
    #[inline(always)]
    pub(super) fn pid(self, text: &[u8], start: usize) -> Option<u32> {
        let (name, end) = (usize::from(self.name), usize::from(self.end));
        if !self.has_pid() {
            return Some(0);
        }
        // `[` and `]:` stand around the digits.
        let digits = (end - 2).checked_sub(name + 1)?;
        bytes::last_digits(u64::from_le_bytes(*text.get(..start + end - 2)?.last_chunk()?), digits)
    }
}

/// `<34>` in front of either form, or of RFC 5424's version.
fn split_priority(line: &[u8]) -> Option<Header<'_>> {
    let end = line.iter().take(5).position(|b| *b == b'>')?;
    if end < 2 || !line[1..end].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let rest = &line[end + 1..];
    match rest.strip_prefix(b"1 ") {
        Some(rest) => split_5424(rest),
        None if rest.first().is_some_and(|b| *b != b'<') => split(rest),
        None => None,
    }
}

/// RFC 5424, section 6, from the stamp on.
fn split_5424(rest: &[u8]) -> Option<Header<'_>> {
    let stamp = if rest.starts_with(b"- ") { Stamp::None } else { Stamp::Iso(rest) };
    let mut fields = rest.splitn(6, |b| *b == b' ');
    let (_stamp, _host) = (fields.next()?, fields.next()?);
    let (identifier, pid, _id) = (fields.next()?, fields.next()?, fields.next()?);
    let message = skip_structured_data(fields.next()?)?;
    let pid = bytes::number(pid).unwrap_or(0);
    Some(Header { stamp, identifier, pid, message })
}

/// `-` or `[id name="value"]…`, then the message, perhaps behind a byte order mark.
fn skip_structured_data(text: &[u8]) -> Option<&[u8]> {
    let mut at = 0;
    if text.first() == Some(&b'-') {
        at = 1;
    } else {
        while text.get(at) == Some(&b'[') {
            let mut quoted = false;
            loop {
                at += 1;
                match (*text.get(at)?, quoted) {
                    (b'\\', true) => at += 1,
                    (b'"', _) => quoted = !quoted,
                    (b']', false) => break,
                    _ => {}
                }
            }
            at += 1;
        }
        if at == 0 {
            return None;
        }
    }
    let message = text[at..].strip_prefix(b" ")?;
    Some(message.strip_prefix("\u{feff}".as_bytes()).unwrap_or(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(line: &str) -> Option<(String, u32, String)> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        split(line.as_bytes()).map(|h| (text(h.identifier), h.pid, text(h.message)))
    }

    #[test]
    fn every_form() {
        let sshd = |pid| Some(("sshd".to_owned(), pid, "text: a b".to_owned()));
        for (line, expected) in [
            ("Nov  1 00:00:00 web1 sshd[123]: text: a b", sshd(123)),
            ("Nov  1 00:00:00 web1 sshd: text: a b", sshd(0)),
            ("Nov  1 00:00:00 sshd[123]: text: a b", sshd(123)),
            ("Nov  1 00:00:00 web1 sshd[12345678]: text: a b", sshd(12_345_678)),
            ("<38>Nov  1 00:00:00 web1 sshd[123]: text: a b", sshd(123)),
            ("Nov  1 00:00:00.123456 web1 sshd[123]: text: a b", sshd(123)),
            ("Sun 2026-11-01 00:00:00 UTC web1 sshd[123]: text: a b", sshd(123)),
            ("Sun 2026-11-01 00:00:00.123456 CET web1 sshd: text: a b", sshd(0)),
            ("Sun Nov  1 00:00:00 2026 authpriv.warn sshd[123]: text: a b", sshd(123)),
            ("2026-11-01T00:00:00.123456+01:00 web1 sshd[123]: text: a b", sshd(123)),
            ("Nov  1 00:00:00 web1 auth.info sshd[123]: text: a b", sshd(123)),
            ("Nov  1 00:00:00 web1 local7.warning sshd: text: a b", sshd(0)),
            ("Nov  1 00:00:00 <auth.info> web1 sshd[123]: text: a b", sshd(123)),
            ("2026-11-01T00:00:00Z <ftp.err> web1 sshd: text: a b", sshd(0)),
            ("2026-11-01 00:00:00 web1 sshd[123]: text: a b", sshd(123)),
            ("2026-11-01 00:00:00.123456 web1 sshd[123]: text: a b", sshd(123)),
            ("Nov  1 2026 00:00:00 web1 sshd[123]: text: a b", sshd(123)),
            ("1793491200 web1 sshd[123]: text: a b", sshd(123)),
            ("1793491200.123456 web1.example.org sshd[123]: text: a b", sshd(123)),
            ("[12345.678901] web1 sshd[123]: text: a b", sshd(123)),
            ("[    5.678901] web1 sshd: text: a b", sshd(0)),
            ("1 2026-11-01T00:00:00Z web1 sshd 123 - - text: a b", sshd(123)),
            ("Nov 1 00:00:00 web1 sshd[123]: text: a b", sshd(123)),
            ("Nov 1 00:00:00.123 web1 sshd: text: a b", sshd(0)),
            ("Nov  1 00:00:00 [sshd] text: a b", sshd(0)),
            ("Nov  1 00:00:00 web1 sshd[123]: [ID 800047 auth.info] text: a b", sshd(123)),
            ("Nov  1 00:00:00 web1 sshd[123]: [authpriv.notice]: text: a b", sshd(123)),
            ("2026-11-01T00:00:00Z INFO    sshd[123]: text: a b", sshd(123)),
            ("Nov  1 00:00:00 warning  sshd: text: a b", sshd(0)),
            ("Nov  1 00:00:00 [sshd]: text: a b", sshd(0)),
            ("2026-11-01T00:00:00Z [sshd] text: a b", sshd(0)),
            ("<34>1 2026-11-01T00:00:00Z web1 sshd 123 - - text: a b", sshd(123)),
            ("Nov  1 00:00:00 [fe80::1] sshd[123]: text: a b", sshd(123)),
            ("<34>1 - web1 sshd - ID [a b=\"]\\\"\"][c] \u{feff}text: a b", sshd(0)),
        ] {
            assert_eq!(parts(line), expected, "{line}");
        }
    }

    #[test]
    fn what_is_no_label() {
        for message in [
            "[ID x auth.info] text",
            "[ID 1 auth.loud] text",
            "[ID 1 auth.info]: text",
            "[ID 1 auth.info]text",
            "[ID 1] text",
            "[auth.info] text",
            "[auth.loud]: text",
            "[auth.info]:text",
            "[auth.info",
            "[user] text",
            "[ID ",
            "[",
        ] {
            let line = format!("Nov  1 00:00:00 web1 sshd[1]: {message}");
            assert_eq!(parts(&line), Some(("sshd".to_owned(), 1, message.to_owned())), "{line}");
        }
    }

    #[test]
    fn what_has_no_header() {
        for line in [
            "",
            "x",
            "sshd[1]: text",
            "Nov  1 00:00:00",
            "Nov  1 00:00:00 web1 sshd text",
            "Nov  1 00:00:00. web1 sshd: text",
            "Sun Nov  1 00:00:00 2026 web1 sshd: text",
            "Sun Nov  1 00:00:00 2026 1.2.3.4:5 sshd: text",
            "Sun 2026-11-01 web1 sshd: text",
            "Nov  1 00:00:00 web1 [1]: x",
            "Nov  1 00:00:00 [1]: x",
            "Nov  1 00:00:00 [] x",
            "Nov  1 00:00:00 [sshd[1]] x",
            "Nov  1 00:00:00 [fe80::1] x",
            "Nov  1 00:00:00 web1 [sshd] x",
            // Lines of services' own, with text of a client's at the end.
            "2026-11-01 00:00:00.123 UTC [55] sshd[1]: x",
            "2026-11-01 00:00:00 imap-login: sshd[1]: x",
            "2026-11-01 00:00:00 TLS Error: x",
            "2026-11-01 00:00:00 192.0.2.1:1194 WARNING: x",
            "2026-11-01 00:00:00 H=(x) sshd[1]: x",
            "2026/11/01 00:00:00 web1 sshd[1]: x",
            "[2026-11-01 00:00:00] web1 sshd[1]: x",
            "[1793491200] web1 sshd[1]: x",
            "12345.678901 web1 sshd[1]: x",
            "1793491200123 web1 sshd[1]: x",
            "1 web1 sshd 123 - - x",
            "Nov  1 00:00:00 web1 auth.loud sshd: x",
            "Nov  1 00:00:00 web1 x.info sshd: x",
            "Nov  1 00:00:00 web1    sshd: x",
            "Nov  1 00:00:00 LOUD    sshd: x",
            "Nov  1 00:00:00 web1 auth.info auth.info sshd: x",
            "Nov  1 00:00:00 <auth.info> <auth.info> web1 sshd: x",
            "Nov  1 00:00:00 <auth.info> web1 auth.info sshd: x",
            "Nov  1 00:00:00 web1 sshd[]: x",
            "Nov  1 00:00:00 web1 sshd[1x]: x",
            "Nov  1 00:00:00 web1 sshd[1:]: x",
            "<34>1 2026-11-01T00:00:00Z web1 sshd 123 - [open text",
            "<>Nov  1 00:00:00 w s: x",
            "<34><34>Nov  1 00:00:00 w s: x",
        ] {
            assert_eq!(parts(line), None, "{line}");
        }
    }
}
