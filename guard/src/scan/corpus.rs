//! Corpora: lines with what a filter must make of them. Every shipped filter has one, and an administrator's own may.

use std::net::IpAddr;

use serde::Deserialize;

use super::{Mode, Scanner};
use crate::encode::printable;
use crate::sighting::{Kind, Sighting};
use crate::time::Wall;

/// Lines of one filter.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Corpus {
    /// The lines.
    #[serde(rename = "case")]
    pub cases: Vec<Case>,
}

/// A line, and what a filter must make of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What sort of line it is.
    pub sort: Sort,
    /// A message without its syslog header…
    pub message: Option<String>,
    /// … or a whole line, of a log without such headers.
    pub line: Option<String>,
    /// The program that wrote the message.
    pub identifier: Option<String>,
    /// Whom it blames, or speaks for.
    pub expect: Expected,
    /// What it says.
    pub kind: Option<Kind>,
    /// The peer's port, 0 if it says none.
    #[serde(default)]
    pub port: u16,
    /// The account, if it says one.
    pub account: Option<String>,
    /// The mode that its pattern belongs to.
    #[serde(default)]
    pub mode: Mode,
    /// Text in it that the peer chose freely.
    pub hostile: Option<String>,
    /// The account, where the filter does not report it.
    pub name: Option<String>,
    /// Where its shape comes from.
    pub source: String,
}

/// What sort of line a case is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sort {
    /// An attacker's trace.
    Attack,
    /// What honest people leave behind.
    Benign,
    /// The peer wrote text that imitates a log line.
    Injected,
}

/// An address, or `none`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Expected(pub Option<IpAddr>);

impl TryFrom<String> for Expected {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "none" => Ok(Self(None)),
            text => text
                .parse()
                .map(|address| Self(Some(address)))
                .map_err(|_| format!("`{text}` is neither an address nor `none`")),
        }
    }
}

impl Corpus {
    /// Reads a corpus; `first` is the program that wrote its messages unless a case says otherwise.
    ///
    /// # Errors
    /// In words, with the place.
    pub fn read(text: &str, first: Option<&str>) -> Result<Self, String> {
        let mut corpus: Self = toml::from_str(text).map_err(|error| error.to_string())?;
        for case in &mut corpus.cases {
            if case.message.is_some() == case.line.is_some() {
                return Err(format!("a case needs either a `message` or a `line`: {case:?}"));
            }
            if case.identifier.is_none() && case.message.is_some() {
                let first = first.ok_or_else(|| format!("who wrote the message (`identifier`)? {case:?}"))?;
                case.identifier = Some(first.to_owned());
            }
        }
        Ok(corpus)
    }
}

impl Case {
    /// The message, or the line.
    pub fn text(&self) -> &str {
        self.message.as_ref().or(self.line.as_ref()).map_or("", String::as_str)
    }

    /// Reads `text` as the case's own text would be read.
    pub fn scan<'a>(&'a self, scanner: &'a mut Scanner, text: &'a [u8], now: Wall) -> Option<Sighting<'a>> {
        match &self.identifier {
            Some(identifier) if self.message.is_some() => {
                scanner.message(identifier.as_bytes(), 1, None, text)
            }
            _ => scanner.line(text, now),
        }
    }

    /// Whether a scanner makes of the case what it must.
    ///
    /// # Errors
    /// In words, what differs.
    pub fn check(&self, scanner: &mut Scanner, now: Wall) -> Result<(), String> {
        let seen = scanner.filters().mode().includes(self.mode);
        let expected = self.expect.0.filter(|_| seen);
        let fault = |what: &str, is: String, must: String| {
            let text = printable(self.text().as_bytes(), 400);
            Err(format!("{what} is {is}, and must be {must}: {text}"))
        };
        let sighting = self.scan(scanner, self.text().as_bytes(), now);
        let found = sighting.map(|sighting| sighting.address);
        if found != expected {
            let name = |address: Option<IpAddr>| address.map_or("none".to_owned(), |a| a.to_string());
            return fault("the address", name(found), name(expected));
        }
        let Some(sighting) = sighting else { return Ok(()) };
        if Some(sighting.kind) != self.kind {
            let must = self.kind.map_or("named in the case", Kind::name);
            return fault("the kind", sighting.kind.name().into(), must.into());
        }
        if sighting.port != self.port {
            return fault("the port", sighting.port.to_string(), self.port.to_string());
        }
        let account = self.account.as_deref().map(str::as_bytes);
        if sighting.account != account {
            let name = |account: Option<&[u8]>| {
                account.map_or("none".into(), |a| format!("`{}`", printable(a, 200)))
            };
            return fault("the account", name(sighting.account), name(account));
        }
        Ok(())
    }
}
