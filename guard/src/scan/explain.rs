//! Why a line matches, or how near it came.
//!
//! Where a line stood decides who reads it, and a line alone does not say where it stood. So each filter that could read
//! it is asked by itself, and an address is named only if none names another one: what one service lets a peer write
//! freely can look like any line of another.

use std::net::IpAddr;
use std::sync::Arc;

use super::filter::{FilterError, Format};
use super::header::{self, Header};
use super::pattern::Found;
use super::scanner::Scanner;
use super::set::FilterSet;
use super::timestamp::stamp;
use crate::sighting::{Kind, PatternId, Points, Sighting};
use crate::time::Wall;

/// What a line was found to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// Name of the program that wrote it; `None` if the line has no syslog header.
    pub identifier: Option<Vec<u8>>,
    /// When it says it was written.
    pub at: Option<Wall>,
    /// The pattern that matched.
    pub matched: Option<Match>,
    /// Whether it matched as a message without any header, which guard reads in the journal only: such a line of a log
    /// file says nothing.
    pub bare: bool,
    /// If none did, or filters name different addresses: in words, why not.
    pub miss: String,
}

/// The pattern that matched a line.
#[derive(Clone, Debug, PartialEq)]
pub struct Match {
    /// Name of the filter.
    pub filter: String,
    /// Text of the pattern.
    pub pattern: String,
    /// What the line says.
    pub kind: Kind,
    /// Points it gives.
    pub points: Points,
    /// The peer.
    pub address: IpAddr,
    /// The peer's port, 0 if the line does not say.
    pub port: u16,
    /// The account that was tried.
    pub account: Option<Vec<u8>>,
    /// Name of the program that wrote the line; empty if it does not say.
    pub service: Vec<u8>,
    /// What was asked of a web server.
    pub path: Option<Vec<u8>>,
    /// The status of the answer.
    pub status: Option<u16>,
}

/// Explains lines.
#[derive(Debug)]
pub struct Explainer {
    filters: Arc<FilterSet>,
    /// Reads lines of syslog files.
    syslog: Scanner,
    /// Reads lines of services' own files, one filter each.
    own: Vec<Scanner>,
}

/// The readings of one line: the one that counts, and whether they agree.
#[derive(Default)]
struct Readings {
    first: Option<Match>,
    at: Option<Wall>,
    other: Option<(String, IpAddr)>,
}

impl Explainer {
    /// Explains what these filters make of lines.
    pub fn new(filters: Arc<FilterSet>) -> Result<Self, FilterError> {
        let scanner = |set: FilterSet| Scanner::new(Arc::new(set));
        let own = filters.with_format().map(|filter| Ok(scanner(filters.for_own_files(&[filter])?)));
        let own = own.collect::<Result<_, _>>()?;
        Ok(Self { syslog: scanner(filters.for_syslog()?), own, filters })
    }

    /// Explains a line: as one of a syslog file, as one of a service's own file, or else, if it has no header, as a bare
    /// message of any service.
    ///
    /// What `docker compose logs` prints in front of a line is left out. No file has lines like that.
    pub fn explain(&mut self, line: &[u8], reference: Wall) -> Explanation {
        let Some(behind) = behind_container(line) else { return self.explain_line(line, reference) };
        let explanation = self.explain_line(behind, reference);
        Explanation { bare: explanation.matched.is_some(), ..explanation }
    }

    fn explain_line(&mut self, line: &[u8], reference: Wall) -> Explanation {
        let header = header::split(line);
        let mut readings = Readings::default();
        if let Some(sighting) = self.syslog.line(line, reference) {
            readings.add(&self.filters, &sighting);
        }
        // A line that some program gave to a syslog daemon is none of a service's own file.
        if header.is_none() || header::is_hostless(line) {
            for scanner in &mut self.own {
                if let Some(sighting) = scanner.line(line, reference) {
                    readings.add(&self.filters, &sighting);
                }
            }
        }
        let bare = header.is_none() && readings.first.is_none();
        if bare {
            self.read_bare(line.trim_ascii_end(), &mut readings);
        }
        let stamp = header.and_then(|header| self.syslog.stamp(header.stamp, reference));
        let identifier = header.map(|header| header.identifier.to_vec());
        let at = readings.at.or(stamp);
        let (matched, miss) = match (readings.first, readings.other) {
            (Some(matched), None) => (Some(matched), String::new()),
            (Some(Match { filter, address, .. }), Some((other, differs))) => (
                None,
                format!(
                    "{filter} would read {address} and {other} {differs}: whose line it is, the line does not say"
                ),
            ),
            (None, _) => (
                None,
                match header {
                    Some(header) => self.miss_of_message(header.identifier, header.message),
                    None => Self::miss_of_line(line),
                },
            ),
        };
        Explanation { bare: bare && matched.is_some(), identifier, at, matched, miss }
    }

    /// Reads a message without any header as each service would, and as the one does that a tag in front of it names.
    fn read_bare(&mut self, message: &[u8], readings: &mut Readings) {
        if let Some(Header { identifier, pid, message, .. }) = header::split_unstamped(message)
            && let Some(sighting) = self.syslog.message(identifier, pid, None, message)
        {
            readings.add(&self.filters, &sighting);
        }
        for service in 0..self.filters.services() {
            let mut found = Found::default();
            let Some(hit) = self.filters.read(service, message, &mut found) else { continue };
            let sighting = Sighting {
                at: None,
                address: found.address.address(),
                kind: hit.kind,
                points: hit.points,
                pattern: hit.pattern,
                pid: 0,
                port: found.port,
                account: found.has_account.then_some(found.account),
                service: &[],
                request: None,
                line: message,
            };
            readings.add(&self.filters, &sighting);
        }
    }

    fn miss_of_message(&self, identifier: &[u8], message: &[u8]) -> String {
        let Some(service) = self.filters.service(identifier) else {
            return format!("no filter in use reads lines of `{}`", String::from_utf8_lossy(identifier));
        };
        match self.filters.nearest(service, message) {
            Some((pattern, bytes)) => format!(
                "nearest is `{}` of {}: it fits {bytes} of {} bytes from the front, and not the rest",
                self.filters.pattern_text(pattern),
                self.filters.filter_name(pattern.filter),
                message.len(),
            ),
            None => "no pattern begins like this message".to_owned(),
        }
    }

    fn miss_of_line(line: &[u8]) -> String {
        let Some(format) = Format::of(line) else {
            return "the line has no syslog header and is in no other form guard knows, and no filter knows it as a \
                    bare message"
                .to_owned();
        };
        let form = match format {
            Format::Stamped => "a time stamp and text",
            Format::Json => "a JSON object",
            Format::Logfmt => "`key=value` pairs",
            Format::Access => "a line of an access log",
        };
        format!("the line has no syslog header; read as {form} it fits no pattern of a filter in use")
    }
}

/// What stands behind the name of a container, as `docker compose logs` writes it: `web-1  | `, or a stamp, or both.
fn behind_container(line: &[u8]) -> Option<&[u8]> {
    let stamped = line.first().is_some_and(u8::is_ascii_digit).then(|| stamp(line)).flatten();
    let rest = &line[stamped.map_or(0, |(_, end)| end)..];
    let is_name = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'.');
    let name = rest.iter().take(128).take_while(|b| is_name(b)).count();
    let blanks = rest[name..].iter().take_while(|b| **b == b' ').count();
    if name == 0 && stamped.is_none() || name > 0 && blanks == 0 {
        return None;
    }
    rest[name + blanks..].strip_prefix(b"| ")
}

impl Readings {
    fn add(&mut self, filters: &FilterSet, sighting: &Sighting<'_>) {
        let PatternId { filter, .. } = sighting.pattern;
        match &self.first {
            Some(first) if first.address != sighting.address => {
                self.other = Some((filters.filter_name(filter).to_owned(), sighting.address));
            }
            // What weighs most is told.
            Some(first) if first.points >= sighting.points => {}
            _ => {
                self.at = sighting.at;
                self.first = Some(Match {
                    filter: filters.filter_name(filter).to_owned(),
                    pattern: filters.pattern_text(sighting.pattern).to_owned(),
                    kind: sighting.kind,
                    points: sighting.points,
                    address: sighting.address,
                    port: sighting.port,
                    account: sighting.account.map(<[u8]>::to_vec),
                    service: sighting.service.to_vec(),
                    path: sighting.request.and_then(|request| request.path).map(<[u8]>::to_vec),
                    status: sighting.request.and_then(|request| request.status),
                });
            }
        }
    }
}
