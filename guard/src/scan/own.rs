//! Lines of services' own log files, which have no syslog header: a stamp and text, or a record.

use super::filter::Format;
use super::pattern::Found;
use super::set::{FilterSet, Hit};
use super::timestamp::{Stamp, Usual};

/// Reads lines without a syslog header. One for each file, because the lines of a file are alike.
#[derive(Clone, Debug, Default)]
pub(super) struct OwnLines {
    usual: Usual,
}

/// What a line was found to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnRead<'a> {
    pub(super) hit: Hit,
    pub(super) found: Found<'a>,
    /// When it says it was written.
    pub(super) stamp: Option<Stamp<'a>>,
}

impl OwnLines {
    /// Reads a line.
    pub(super) fn read<'a>(&'a mut self, filters: &FilterSet, line: &'a [u8]) -> Option<OwnRead<'a>> {
        self.stamped(filters, line)
    }

    fn stamped<'a>(&mut self, filters: &FilterSet, line: &'a [u8]) -> Option<OwnRead<'a>> {
        let service = filters.of_format(Format::Stamped)?;
        let (stamp, rest) = self.usual.stamp(line)?;
        let mut found = Found::default();
        let hit = filters.read(service, &line[rest..], &mut found)?;
        Some(OwnRead { hit, found, stamp: Some(stamp) })
    }
}
