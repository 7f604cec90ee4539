//! What is not plain text behind a syslog header: lines of services' own log files, which are a stamp and text or a
//! record, and messages that hold such a line.

use super::filter::Format;
use super::pattern::Found;
use super::record::{Docker, FieldId, Records};
use super::set::{FilterSet, Hit};
use super::timestamp::{Stamp, Usual, stamp};
use crate::sighting::Request;

/// Reads such lines and messages. One for each file, because the lines of a file are alike.
#[derive(Clone, Debug)]
pub(super) struct OwnLines {
    usual: Usual,
    docker: Docker,
    readers: Vec<Reader>,
}

/// Reads the records that the patterns of one service and format ask for.
#[derive(Clone, Debug)]
struct Reader {
    records: Records,
    service: u32,
    /// Which of the service's patterns over fields.
    index: usize,
    format: Format,
    /// Whether lines are of the format, and not only messages.
    lines: bool,
}

/// What a line was found to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnRead<'a> {
    pub(super) hit: Hit,
    pub(super) found: Found<'a>,
    /// When it says it was written.
    pub(super) stamp: Option<Stamp<'a>>,
    /// What it tells of a request, if it is of an access log.
    pub(super) request: Option<Request<'a>>,
}

impl OwnLines {
    /// A reader of what the filters ask for.
    pub(super) fn new(filters: &FilterSet) -> Self {
        let reader = |(service, index): (u32, usize)| {
            let patterns = &filters.records(service)[index];
            let lines = filters.of_format(patterns.format) == Some(service);
            Reader { records: Records::new(&patterns.fields), service, index, format: patterns.format, lines }
        };
        let all = (0..filters.services())
            .flat_map(|service| (0..filters.records(service).len()).map(move |index| (service, index)));
        Self { usual: Usual::default(), docker: Docker::new(), readers: all.map(reader).collect() }
    }

    /// Reads a message of a service that is more than plain text, or a line of a service's own file.
    pub(super) fn read<'a>(
        &'a mut self,
        filters: &FilterSet,
        message: Option<(u32, &'a [u8])>,
        line: Option<&'a [u8]>,
    ) -> Option<OwnRead<'a>> {
        let Self { usual, docker, readers } = self;
        if let Some((inner, time)) = line.and_then(|line| docker.read(line)) {
            let read = text_or_record(usual, readers, filters, None, Some(inner.trim_ascii_end()))?;
            return Some(OwnRead { hit: read.hit.shown_only(), stamp: read.stamp.or(time), ..read });
        }
        text_or_record(usual, readers, filters, message, line)
    }
}

fn text_or_record<'a>(
    usual: &mut Usual,
    readers: &'a mut [Reader],
    filters: &FilterSet,
    message: Option<(u32, &'a [u8])>,
    line: Option<&'a [u8]>,
) -> Option<OwnRead<'a>> {
    if let Some((service, message)) = message
        && filters.has_stamps(service)
        && let Some((stamp, rest)) = stamp(message)
        && let Some(read) = text(filters, service, &message[rest..], Some(stamp))
    {
        return Some(read);
    }
    let is_object = line.is_some_and(|line| line.trim_ascii_start().starts_with(b"{"));
    if let Some(line) = line.filter(|_| !is_object)
        && let Some(read) = stamped(usual, filters, line)
    {
        return Some(read);
    }
    let fits = |format| match format {
        Format::Stamped => false,
        Format::Json => is_object,
        Format::Logfmt => !is_object,
        Format::Access => true,
    };
    for Reader { records, service, index, format, lines } in readers {
        let as_message = message.filter(|(of, _)| of == service).map(|(_, message)| message);
        let as_line = line.filter(|_| *lines && fits(*format));
        let Some(text) = as_message.or(as_line) else { continue };
        let Some(patterns) = filters.records(*service).get(*index) else { continue };
        let Some(record) = records.read(*format, text) else { continue };
        let mut found = Found::default();
        if let Some(hit) =
            filters.read_record(patterns, |field| record.get(FieldId(field as u16)), &mut found)
        {
            let hit = if record.is_shown_only() { hit.shown_only() } else { hit };
            return Some(OwnRead { hit, found, stamp: record.stamp(), request: record.request() });
        }
    }
    None
}

fn stamped<'a>(usual: &mut Usual, filters: &FilterSet, line: &'a [u8]) -> Option<OwnRead<'a>> {
    let service = filters.of_format(Format::Stamped)?;
    let (stamp, rest) = usual.stamp(line)?;
    text(filters, service, &line[rest..], Some(stamp))
}

fn text<'a>(
    filters: &FilterSet,
    service: u32,
    text: &'a [u8],
    stamp: Option<Stamp<'a>>,
) -> Option<OwnRead<'a>> {
    let mut found = Found::default();
    let hit = filters.read(service, text, &mut found)?;
    Some(OwnRead { hit, found, stamp, request: None })
}
