//! The loaded filters, compiled to a dispatch on identifier and beginning of the message.
//!
//! A line costs one look-up of its identifier, however many filters there are; then the beginning of its message, or
//! the fields of its record, lead to the few patterns it can be.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use super::Mode;
use super::filter::{self, Filter, FilterError, FilterFile, Format, Pattern};
use super::identifiers::Identifiers;
use super::messages::Messages;
use super::pattern::Found;
use super::records::RecordPatterns;
use crate::config::{Enabled, Filters};
use crate::sighting::{Kind, PatternId, Points};

/// Filters, ready to scan with.
#[derive(Debug)]
pub struct FilterSet {
    filters: Arc<[Filter]>,
    mode: Mode,
    /// The programs whose messages are read, each with the number of its service.
    identifiers: Identifiers,
    services: Vec<Service>,
    /// What reads lines without a syslog header, by format.
    formats: [Option<u32>; Format::ALL.len()],
    fingerprint: u64,
}

/// What reads lines of one sort: the patterns of every filter that does.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) messages: Messages,
    /// Patterns over fields, for each format its filters know.
    pub(super) records: Vec<RecordPatterns>,
    /// The filters it is made of.
    filters: Vec<u16>,
}

/// Which patterns a service is made of.
pub(super) struct Use<'a> {
    pub(super) filters: &'a [Filter],
    readers: &'a [u16],
    mode: Mode,
    /// Whether it has to be shown that no line has two readings.
    pub(super) check: bool,
}

/// What a matching form says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Hit {
    pub(super) pattern: PatternId,
    pub(super) kind: Kind,
    pub(super) points: Points,
}

impl FilterSet {
    /// The filters the configuration enables: shipped ones, overridden by name and extended by the administrator's.
    pub fn load(config: &Filters) -> Result<Self, FilterError> {
        let mut files = filter::shipped();
        for file in filter::in_folder(&config.folder)? {
            files.retain(|known| known.name != file.name);
            files.push(file);
        }
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let names: Vec<_> = files.iter().map(|file| file.name.clone()).collect();
        let known = |name: &String| {
            let unknown = || FilterError::Unknown { name: name.clone(), known: names.join(", ") };
            names.contains(name).then_some(()).ok_or_else(unknown)
        };
        if let Enabled::Named(names) = &config.enable {
            names.iter().try_for_each(known)?;
            files.retain(|file| names.contains(&file.name));
        }
        config.disable.iter().try_for_each(known)?;
        files.retain(|file| !config.disable.contains(&file.name));
        Self::compile(&files, config.mode)
    }

    /// Every shipped filter.
    pub fn shipped(mode: Mode) -> Result<Self, FilterError> {
        Self::compile(&filter::shipped(), mode)
    }

    /// Compiles filters. Patterns of a stricter mode than `mode` are left out.
    pub fn compile(files: &[FilterFile], mode: Mode) -> Result<Self, FilterError> {
        let filters = files.iter().map(Filter::read).collect::<Result<Arc<[_]>, _>>()?;
        let mut hasher = DefaultHasher::new();
        mode.hash(&mut hasher);
        for file in files {
            (&file.name, &file.text).hash(&mut hasher);
        }
        Self::build(filters, mode, hasher.finish(), true, |_| true, |_| true)
    }

    /// The filters for lines of a file that is a service's own: no others read it, and none expects a syslog header.
    /// `None` if no filter knows the file.
    pub fn for_file(&self, path: &Path) -> Result<Option<Self>, FilterError> {
        let owns = |filter: &Filter| filter.owns(path);
        if !self.filters.iter().any(owns) {
            return Ok(None);
        }
        // What has been checked together needs no check in parts.
        Self::build(Arc::clone(&self.filters), self.mode, self.fingerprint, false, |_| false, owns).map(Some)
    }

    /// The filters for lines with a syslog header, and for the journal.
    pub fn for_syslog(&self) -> Result<Self, FilterError> {
        Self::build(Arc::clone(&self.filters), self.mode, self.fingerprint, false, |_| true, |_| false)
    }

    fn build(
        filters: Arc<[Filter]>,
        mode: Mode,
        fingerprint: u64,
        check: bool,
        by_identifier: impl Fn(&Filter) -> bool,
        by_format: impl Fn(&Filter) -> bool,
    ) -> Result<Self, FilterError> {
        let mut services: Vec<Service> = Vec::new();
        let mut service = |reads: &dyn Fn(&Filter) -> bool| {
            let readers: Vec<u16> =
                (0..filters.len()).filter(|at| reads(&filters[*at])).map(|at| at as u16).collect();
            if readers.is_empty() {
                return Ok(None);
            }
            let known = services.iter().position(|service| service.filters == readers);
            let number = match known {
                Some(known) => known,
                None => {
                    services.push(Service::new(&Use { filters: &filters, readers: &readers, mode, check })?);
                    services.len() - 1
                }
            };
            Ok(Some(number as u32))
        };
        let mut names: Vec<&[u8]> = filters
            .iter()
            .filter(|filter| by_identifier(filter))
            .flat_map(|filter| filter.identifiers.iter().map(Vec::as_slice))
            .collect();
        names.sort_unstable();
        names.dedup();
        let mut numbers = Vec::with_capacity(names.len());
        for name in names {
            let reads = |filter: &Filter| filter.identifiers.iter().any(|known| known == name);
            numbers.extend(service(&reads)?.map(|number| (name, number)));
        }
        let mut formats = [None; Format::ALL.len()];
        for format in Format::ALL {
            formats[format as usize] = service(&|filter: &Filter| {
                filter.format == Some(format) && !filter.files.is_empty() && by_format(filter)
            })?;
        }
        let identifiers = Identifiers::new(numbers.into_iter());
        Ok(Self { identifiers, services, formats, mode, fingerprint, filters: Arc::clone(&filters) })
    }

    /// A number that differs when the filters differ.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Name of a filter; `unknown` for a number of another set.
    pub fn filter_name(&self, filter: u16) -> &str {
        self.filters.get(usize::from(filter)).map_or("unknown", |filter| &filter.name)
    }

    /// Names of the filters, by number.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.filters.iter().map(|filter| filter.name.as_str())
    }

    /// Where the services' own log files usually are, as shell patterns.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        self.filters.iter().flat_map(|filter| filter.files.iter().map(glob::Pattern::as_str))
    }

    /// What a pattern looks for, as the filter's file has it.
    pub fn pattern_text(&self, id: PatternId) -> &str {
        let filter = self.filters.get(usize::from(id.filter));
        filter
            .and_then(|filter| filter.patterns.get(usize::from(id.pattern)))
            .map_or("", |pattern| &pattern.text)
    }

    /// The mode it was compiled for.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The service that an identifier names, as a number for [`Self::read`].
    #[inline]
    pub(super) fn service(&self, identifier: &[u8]) -> Option<u32> {
        self.identifiers.find(identifier)
    }

    /// The service that reads lines of a format.
    #[inline]
    pub(super) fn of_format(&self, format: Format) -> Option<u32> {
        self.formats[format as usize]
    }

    /// Whether lines without a syslog header are read.
    pub(super) fn has_formats(&self) -> bool {
        self.formats.iter().any(Option::is_some)
    }

    /// Whether the first four bytes of `identifier[7]: ` can be those of a service.
    #[inline(always)]
    pub(super) fn may_begin(&self, tag: [u8; 4]) -> bool {
        self.identifiers.may_begin(tag)
    }

    /// The service that the identifier at the front of `block` names, as [`Self::service`] answers it; the
    /// identifier has `length` bytes, at most as many as the block.
    #[inline(always)]
    pub(super) fn service_in(&self, block: &[u8; 16], length: usize) -> Option<u32> {
        self.identifiers.find_in(block, length)
    }

    /// The messages of a service.
    #[inline(always)]
    pub(super) fn messages(&self, service: u32) -> Option<&Messages> {
        self.services.get(service as usize).map(|service| &service.messages)
    }

    /// Reads a message of a service.
    #[inline(always)]
    pub(super) fn read<'a>(&self, service: u32, message: &'a [u8], found: &mut Found<'a>) -> Option<Hit> {
        self.services.get(service as usize)?.messages.read(message, found)
    }

    /// Reads a message as if any service had written it.
    pub(super) fn read_any<'a>(&self, message: &'a [u8], found: &mut Found<'a>) -> Option<Hit> {
        (0..self.services.len() as u32).find_map(|service| self.read(service, message, found))
    }

    /// The patterns over fields that a service has.
    pub(super) fn records(&self, service: u32) -> &[RecordPatterns] {
        self.services.get(service as usize).map_or(&[], |service| &service.records)
    }

    /// The pattern that fits furthest from the front, and how many bytes of the message do.
    pub(super) fn nearest(&self, service: u32, message: &[u8]) -> Option<(PatternId, usize)> {
        let service = self.services.get(service as usize)?;
        service.messages.nearness(message).max_by_key(|(_, bytes)| *bytes).filter(|(_, bytes)| *bytes > 0)
    }

    /// Whether any filter that reads this identifier believes a journal entry of this user and unit.
    pub(super) fn trusts(&self, identifier: &[u8], uid: u32, unit: &[u8]) -> bool {
        let Some(service) = self.service(identifier) else { return false };
        let filters = &self.services[service as usize].filters;
        filters.iter().any(|filter| self.filters[usize::from(*filter)].journal.includes(uid, unit))
    }

    /// Whether a pattern's filter believes a journal entry of this user and unit.
    pub(super) fn believes(&self, pattern: PatternId, uid: u32, unit: &[u8]) -> bool {
        self.filters.get(usize::from(pattern.filter)).is_some_and(|filter| filter.journal.includes(uid, unit))
    }
}

impl Service {
    fn new(usage: &Use<'_>) -> Result<Self, FilterError> {
        let records = RecordPatterns::of_each_format(usage)?;
        Ok(Self { messages: Messages::new(usage)?, records, filters: usage.readers.to_vec() })
    }
}

impl<'a> Use<'a> {
    /// The patterns in use, with what each says.
    pub(super) fn patterns(&self) -> impl Iterator<Item = (&'a Pattern, Hit)> {
        let (filters, mode) = (self.filters, self.mode);
        self.readers.iter().flat_map(move |reader| {
            let patterns = filters[usize::from(*reader)].patterns.iter().enumerate();
            patterns.filter(move |(_, pattern)| mode.includes(pattern.mode)).map(move |(number, pattern)| {
                let id = PatternId { filter: *reader, pattern: number as u16 };
                (pattern, Hit { pattern: id, kind: pattern.kind, points: pattern.points })
            })
        })
    }

    /// The format of the filter that a pattern belongs to.
    pub(super) fn format(&self, id: PatternId) -> Option<Format> {
        self.filters[usize::from(id.filter)].format
    }

    /// There are more forms than can be told apart.
    pub(super) fn too_large(&self) -> FilterError {
        let names = self.readers.iter().map(|reader| self.filters[usize::from(*reader)].name.as_str());
        FilterError::TooLarge { names: names.collect::<Vec<_>>().join(", ") }
    }
}

/// Reads a filter file for `guardctl` and tests.
pub fn read_file(path: &Path) -> Result<FilterFile, FilterError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| FilterError::Unreadable { path: path.to_owned(), source })?;
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(FilterFile { name, path: path.to_owned(), text })
}
