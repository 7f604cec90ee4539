//! From the bytes of a feed to a list, whatever they hold: what is no address is counted and named, the rest is used.
//!
//! Forms that lists are published in: one target a line with comments (`#`, `;`, `//`) and trailing text, as Spamhaus
//! DROP, `FireHOL` and most others have it; CSV, as abuse.ch has it; JSON documents, and JSON lines as Spamhaus has them.

use thiserror::Error;

use super::List;
use super::list::Builder;
use crate::encode::printable;
use crate::target::Target;

mod csv;
mod entry;
mod json;
mod lines;

use entry::{Entry, entry};

/// How a feed is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// The format.
    pub format: Format,
    /// The column of a CSV that holds the targets.
    pub column: Column,
    /// The key of a JSON object that holds the targets; empty: any of those in common use.
    pub field: String,
    /// The shortest prefix that is taken, of IPv4 and of IPv6.
    pub widest: [u8; 2],
    /// Entries at most.
    pub max_entries: usize,
}

/// How a feed is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As its first lines show.
    Auto,
    /// One target a line.
    Plain,
    /// Comma, semicolon or tab separated values.
    Csv,
    /// A JSON document, or one a line.
    Json,
}

/// Which column of a CSV.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Column {
    /// The first that holds a target in the first line which has one.
    First,
    /// This one, counted from 1.
    Number(usize),
    /// The one of this name in the header, which may be a comment.
    Named(String),
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// The targets.
    pub list: List,
    /// What is no target.
    pub rubbish: Named,
    /// What is wider than a feed may list.
    pub too_wide: Named,
}

/// A number of things, and the first few by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Named {
    /// How many.
    pub count: u64,
    /// The first, printable, with their lines.
    pub first: Vec<String>,
}

/// Why nothing of a feed can be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ParseError {
    /// It is longer than allowed.
    #[error("it has more than {most} entries; raise max_entries if that is meant")]
    TooMany {
        /// Entries allowed.
        most: usize,
    },
    /// The column that was asked for is not there.
    #[error("no line before the first entry names a column `{name}`")]
    NoColumn {
        /// Its name.
        name: String,
    },
    /// It is no JSON.
    #[error("it is not JSON: {reason}")]
    NotJson {
        /// Where and why.
        reason: String,
    },
    /// There is text and no target in it: an error page, for instance.
    #[error("nothing in it is an address or prefix; {first}")]
    Nothing {
        /// The first of what it holds instead.
        first: String,
    },
}

/// Reads a feed. Linear in its length.
pub fn parse(bytes: &[u8], form: &Form) -> Result<Parsed, ParseError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut found =
        Found { form, builder: Builder::default(), rubbish: Named::default(), too_wide: Named::default() };
    let format = match form.format {
        Format::Auto => lines::guess(bytes),
        known => known,
    };
    match format {
        Format::Auto | Format::Plain => lines::plain(bytes, &mut found)?,
        Format::Csv => csv::read(bytes, &form.column, &mut found)?,
        Format::Json => json::read(bytes, &form.field, &mut found)?,
    }
    let Found { builder, rubbish, too_wide, .. } = found;
    match rubbish.first.first() {
        Some(first) if builder.len() == 0 && too_wide.count == 0 => {
            Err(ParseError::Nothing { first: first.clone() })
        }
        _ => Ok(Parsed { list: builder.finish(), rubbish, too_wide }),
    }
}

/// What has been found so far.
struct Found<'a> {
    form: &'a Form,
    builder: Builder,
    rubbish: Named,
    too_wide: Named,
}

impl Found<'_> {
    /// One text that should be a target, at a line or place.
    fn take(&mut self, text: &[u8], place: Place) -> Result<(), ParseError> {
        match entry(text) {
            Some(Entry::One(target)) => self.target(target, place),
            Some(Entry::Range(parts)) => parts.into_iter().try_for_each(|target| self.target(target, place)),
            None => {
                self.rubbish(text, place);
                Ok(())
            }
        }
    }

    fn target(&mut self, target: Target, place: Place) -> Result<(), ParseError> {
        let [v4, v6] = self.form.widest;
        if target.length() < if target.address().is_ipv4() { v4 } else { v6 } {
            self.too_wide.add(place, || target.to_string());
            return Ok(());
        }
        self.builder.push(target);
        if self.builder.len() > self.form.max_entries {
            return Err(ParseError::TooMany { most: self.form.max_entries });
        }
        Ok(())
    }

    fn rubbish(&mut self, text: &[u8], place: Place) {
        self.rubbish.add(place, || printable(text, TEXT));
    }
}

/// Bytes shown of a text that is no target.
const TEXT: usize = 60;
/// Things that are named.
const FIRST: usize = 5;

impl Named {
    fn add(&mut self, place: Place, name: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < FIRST {
            let Place(what, number) = place;
            self.first.push(format!("{what} {number}: `{}`", name()));
        }
    }
}

/// Where something stands: in which line or value.
#[derive(Clone, Copy)]
struct Place(&'static str, usize);

/// The lines that may hold something, with their numbers from 1.
fn numbered(bytes: &[u8]) -> impl Iterator<Item = (Place, &[u8])> {
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines.enumerate().map(|(at, line)| (Place("line", at + 1), line)).filter(|(_, line)| !line.is_empty())
}

/// Whether a line is a comment as a whole.
fn is_comment(line: &[u8]) -> bool {
    matches!(line, [b'#' | b';', ..] | [b'/', b'/', ..])
}

#[cfg(test)]
mod tests;
