//! Why a line matches, or how near it came.

use super::header;
use super::pattern::Found;
use super::scanner::Scanner;
use super::set::Hit;
use crate::sighting::{Kind, Points};
use crate::time::Wall;

/// What a line was found to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation<'a> {
    /// Name of the program that wrote it; `None` if the line has no known header.
    pub identifier: Option<&'a [u8]>,
    /// When it says it was written.
    pub at: Option<Wall>,
    /// The pattern that matched.
    pub matched: Option<Match<'a>>,
    /// If none did: in words, why not.
    pub miss: String,
}

/// The pattern that matched a line.
#[derive(Clone, Debug, PartialEq)]
pub struct Match<'a> {
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
    pub account: Option<&'a [u8]>,
}

impl Scanner {
    /// Explains a line. A line without a header is read as a bare message of any service.
    pub fn explain<'a>(&mut self, line: &'a [u8], reference: Wall) -> Explanation<'a> {
        let Some(header) = header::split(line) else {
            let mut found = Found::default();
            let hit = self.filters().read_any(line.trim_ascii_end(), &mut found);
            let miss = "the line has no syslog header, and no filter knows it as a bare message";
            return self.explanation(None, None, hit.map(|hit| (hit, found)), || miss.to_owned());
        };
        let at = self.stamp(header.stamp, reference);
        let Some(service) = self.filters().service(header.identifier) else {
            let program = String::from_utf8_lossy(header.identifier).into_owned();
            return self.explanation(Some(header.identifier), at, None, || {
                format!("no filter in use reads lines of `{program}`")
            });
        };
        let mut found = Found::default();
        let hit = self.filters().read(service, header.message.trim_ascii_end(), &mut found);
        self.explanation(Some(header.identifier), at, hit.map(|hit| (hit, found)), || {
            self.nearest_miss(service, header.message)
        })
    }

    fn explanation<'a>(
        &self,
        identifier: Option<&'a [u8]>,
        at: Option<Wall>,
        found: Option<(Hit, Found<'a>)>,
        miss: impl FnOnce() -> String,
    ) -> Explanation<'a> {
        let matched = found.map(|(hit, found)| Match {
            filter: self.filters().filter_name(hit.pattern.filter).to_owned(),
            pattern: self.filters().pattern_text(hit.pattern).to_owned(),
            kind: hit.kind,
            points: hit.points,
            address: found.address.address(),
            port: found.port,
            account: found.has_account.then_some(found.account),
        });
        let miss = if matched.is_some() { String::new() } else { miss() };
        Explanation { identifier, at, matched, miss }
    }

    fn nearest_miss(&self, service: u32, message: &[u8]) -> String {
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
}
