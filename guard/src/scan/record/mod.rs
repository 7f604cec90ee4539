//! Lines that are records: named fields, taken out without allocation.
//!
//! [`Records`] reads a line as `json`, `logfmt` or `access` and answers a [`Record`], which gives the fields that
//! patterns ask for by their [`FieldId`]. What nobody asks for is checked and forgotten. Values are borrowed from the
//! line; those with escapes are decoded into a buffer that is used again for the next line.
//!
//! A line that has two readings is no record: invalid JSON, text behind the end, a name that comes twice. `tree` holds
//! the names, `escape` decodes, `access` knows the logs of web servers, of which `clf`, `haproxy` and
//! `console` are text.

mod access;
mod clf;
mod console;
mod docker;
mod escape;
mod haproxy;
mod json;
mod logfmt;
mod marks;
mod request;
#[cfg(test)]
mod tests;
mod tree;
mod words;

use serde::Deserialize;

use super::timestamp::{Stamp, Usual, stamp};
use crate::sighting::Request;
use access::{Access, Name, Time};
pub(in crate::scan) use docker::Docker;
use tree::{NodeId, Tree, Values};

/// Names that one reader can be asked for.
const MAX_NAMES: usize = 1024;

/// Objects and arrays inside each other; a line with more is no record. Also the parts of a name.
const MAX_DEPTH: usize = 8;

/// Where programs write the time of a record; the first that is there and can be read counts. `t.$date` is `MongoDB`'s.
const STAMPS: [&[u8]; 10] = [
    b"time",
    b"ts",
    b"timestamp",
    b"@timestamp",
    b"t",
    b"t.$date",
    b"datetime",
    b"time_local",
    b"time_iso8601",
    b"StartUTC",
];

/// How lines of a log file are written that have no syslog header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::scan) enum Format {
    /// A time stamp, then a message.
    Stamped,
    /// A JSON object.
    Json,
    /// `key=value key="a value"`.
    Logfmt,
    /// A web server's access log, as text or JSON.
    Access,
}

impl Format {
    /// Every format.
    pub(in crate::scan) const ALL: [Self; 4] = [Self::Stamped, Self::Json, Self::Logfmt, Self::Access];

    /// The names that fields have in every record of the format, if they are settled.
    pub(in crate::scan) fn names(self) -> Option<impl Iterator<Item = &'static str>> {
        (self == Self::Access).then(|| access::NAMES.iter().filter_map(|name| std::str::from_utf8(name).ok()))
    }

    /// The format a line seems to have, by its first bytes. An access log in JSON seems to be JSON, and nothing but
    /// its file tells it from other JSON.
    pub(in crate::scan) fn of(line: &[u8]) -> Option<Self> {
        if line.first()? == &b'{' {
            return Some(Self::Json);
        }
        if stamp(line).is_some() {
            return Some(Self::Stamped);
        }
        if logfmt::begins(line) {
            return Some(Self::Logfmt);
        }
        access::begins(line).then_some(Self::Access)
    }
}

/// Number of a name in [`Fields`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::scan) struct FieldId(pub(in crate::scan) u16);

/// The names of fields that patterns ask for, dotted: `request.headers.User-Agent.0`. A number is the first element of
/// an array, and only `0` is ever found. In an access log the names are those of [`access::NAMES`].
#[derive(Clone, Debug, Default)]
pub(in crate::scan) struct Fields {
    names: Vec<Vec<u8>>,
}

impl Fields {
    /// The number of a name, a new one if it is new. `None` if it is no name: empty between dots, of too many parts,
    /// or one too many.
    pub(in crate::scan) fn id(&mut self, name: &str) -> Option<FieldId> {
        let name = name.as_bytes();
        if let Some(known) = self.names.iter().position(|known| known == name) {
            return Some(FieldId(known as u16));
        }
        let parts = || name.split(|b| *b == b'.');
        if parts().any(<[u8]>::is_empty) || parts().count() > MAX_DEPTH || self.names.len() >= MAX_NAMES {
            return None;
        }
        self.names.push(name.to_vec());
        Some(FieldId((self.names.len() - 1) as u16))
    }
}

/// Reads records. Holds the buffers that they borrow.
#[derive(Clone, Debug)]
pub(in crate::scan) struct Records {
    tree: Tree,
    /// For each field its place in the tree.
    nodes: Vec<NodeId>,
    /// Places of [`STAMPS`].
    stamps: Vec<NodeId>,
    access: access::Keys,
    /// For each field what it is in an access log.
    names: Vec<Option<Name>>,
    /// The stamp of the last access log line that was text.
    usual: Usual,
    values: Values,
}

impl Records {
    /// A reader of these fields.
    pub(in crate::scan) fn new(fields: &Fields) -> Self {
        let mut tree = Tree::default();
        let nodes = fields.names.iter().map(|name| tree.insert(name, true)).collect();
        let stamps = STAMPS.iter().map(|name| tree.insert(name, true)).collect();
        tree.finish();
        let names = fields.names.iter().map(|name| Name::of(name)).collect();
        let (access, usual, values) = (access::Keys::new(), Usual::default(), Values::default());
        Self { tree, nodes, stamps, access, names, usual, values }
    }

    /// Reads a line, without its newline; `None` if it is no record of that format.
    #[inline]
    pub(in crate::scan) fn read<'a>(&'a mut self, format: Format, line: &'a [u8]) -> Option<Record<'a>> {
        match format {
            Format::Stamped => return None,
            Format::Json => json::read(line, &self.tree, &mut self.values)?,
            Format::Logfmt => logfmt::read(line, &self.tree, &mut self.values)?,
            Format::Access => {
                let (access, time) = access::read(line, &self.access, &mut self.usual, &mut self.values)?;
                return Some(Record { fields: Found::Access { access, names: &self.names, time } });
            }
        }
        let (values, nodes, stamps) = (&self.values, &self.nodes, &self.stamps);
        Some(Record { fields: Found::Named { values, line, nodes, stamps } })
    }
}

/// The stamp that a text is, all of it.
fn whole_stamp(text: &[u8]) -> Option<Stamp<'_>> {
    stamp(text).filter(|(_, rest)| *rest == text.len()).map(|(stamp, _)| stamp)
}

/// A line's fields. Borrows the line and the reader.
#[derive(Clone, Copy, Debug)]
pub(in crate::scan) struct Record<'a> {
    fields: Found<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Found<'a> {
    Named { values: &'a Values, line: &'a [u8], nodes: &'a [NodeId], stamps: &'a [NodeId] },
    Access { access: Access<'a>, names: &'a [Option<Name>], time: Time<'a> },
}

impl<'a> Record<'a> {
    /// The text of a field: of a string what it means, of a number or `true`, `false`, `null` what is written. `None`
    /// if the record does not have the field, or has an object or an array there.
    #[inline]
    pub(in crate::scan) fn get(&self, field: FieldId) -> Option<&'a [u8]> {
        match &self.fields {
            Found::Named { values, line, nodes, .. } => values.get(*nodes.get(usize::from(field.0))?, line),
            Found::Access { access, names, .. } => access.get((*names.get(usize::from(field.0))?)?),
        }
    }

    /// Whether it is shown only and never counts: a client can write such a record, or it repeats another.
    pub(in crate::scan) fn is_shown_only(&self) -> bool {
        matches!(&self.fields, Found::Access { access, .. } if access.is_shown_only())
    }

    /// What an access log tells of the request.
    pub(in crate::scan) fn request(&self) -> Option<Request<'a>> {
        let Found::Access { access, .. } = &self.fields else { return None };
        let status = access.get(Name::Status).filter(|text| text.len() == 3).and_then(|text| {
            text.iter().try_fold(0, |sum, b| b.is_ascii_digit().then(|| sum * 10 + u16::from(b - b'0')))
        });
        Some(Request { path: access.get(Name::Path), status })
    }

    /// When the record was written, by its own account. Looked for when it is asked for: most records matter to nobody.
    pub(in crate::scan) fn stamp(&self) -> Option<Stamp<'a>> {
        match &self.fields {
            Found::Named { values, line, stamps, .. } => {
                stamps.iter().find_map(|node| whole_stamp(values.get(*node, line)?))
            }
            Found::Access { time: Time::Known(stamp), .. } => *stamp,
            Found::Access { time: Time::Texts(texts), .. } => {
                texts.iter().find_map(|text| whole_stamp((*text)?))
            }
        }
    }
}
