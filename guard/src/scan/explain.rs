//! Why a line matches, or how near it came.

use super::filter::Format;
use super::header;
use super::pattern::Found;
use super::scanner::Scanner;
use crate::sighting::{Kind, Points};
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
    /// If none did: in words, why not.
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
    pub address: std::net::IpAddr,
    /// The peer's port, 0 if the line does not say.
    pub port: u16,
    /// The account that was tried.
    pub account: Option<Vec<u8>>,
}

impl Scanner {
    /// Explains a line. One without a syslog header is read as a line of a service's own file, and else as a bare
    /// message of any service.
    pub fn explain(&mut self, line: &[u8], reference: Wall) -> Explanation {
        let header = header::split(line);
        let identifier = header.map(|header| header.identifier.to_vec());
        if let Some(explained) = self.matched(line, reference) {
            let (at, matched) = explained;
            return Explanation { identifier, at, matched: Some(matched), miss: String::new() };
        }
        let at = header.and_then(|header| self.stamp(header.stamp, reference));
        if header.is_none()
            && let Some(matched) = self.bare(line.trim_ascii_end())
        {
            return Explanation { identifier, at, matched: Some(matched), miss: String::new() };
        }
        let miss = match header {
            Some(header) => self.miss_of_message(header.identifier, header.message),
            None => Self::miss_of_line(line),
        };
        Explanation { identifier, at, matched: None, miss }
    }

    fn matched(&mut self, line: &[u8], reference: Wall) -> Option<(Option<Wall>, Match)> {
        let filters = self.shared_filters();
        let sighting = self.line(line, reference)?;
        let matched = Match {
            filter: filters.filter_name(sighting.pattern.filter).to_owned(),
            pattern: filters.pattern_text(sighting.pattern).to_owned(),
            kind: sighting.kind,
            points: sighting.points,
            address: sighting.address,
            port: sighting.port,
            account: sighting.account.map(<[u8]>::to_vec),
        };
        Some((sighting.at, matched))
    }

    /// A message without any header.
    fn bare(&self, message: &[u8]) -> Option<Match> {
        let mut found = Found::default();
        let hit = self.filters().read_any(message, &mut found)?;
        Some(Match {
            filter: self.filters().filter_name(hit.pattern.filter).to_owned(),
            pattern: self.filters().pattern_text(hit.pattern).to_owned(),
            kind: hit.kind,
            points: hit.points,
            address: found.address.address(),
            port: found.port,
            account: found.has_account.then(|| found.account.to_vec()),
        })
    }

    fn miss_of_message(&self, identifier: &[u8], message: &[u8]) -> String {
        let Some(service) = self.filters().service(identifier) else {
            return format!("no filter in use reads lines of `{}`", String::from_utf8_lossy(identifier));
        };
        match self.filters().nearest(service, message) {
            Some((pattern, bytes)) => format!(
                "nearest is `{}` of {}: it fits {bytes} of {} bytes from the front, and not the rest",
                self.filters().pattern_text(pattern),
                self.filters().filter_name(pattern.filter),
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
