//! The loaded filters, compiled to a dispatch on identifier and beginning of the message.
//!
//! A line costs one look-up of its identifier, however many filters there are; then the beginning of its message, or
//! the fields of its record, lead to the few patterns it can be. What reads the lines of a program is compiled when the first
//! of them comes: a machine has few of the services there are filters for. Only filters of which it has not been shown yet
//! that they are good are compiled when they are loaded, so that a wrong one is refused there.

use foldhash::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::Mode;
use super::fields::{KnownPatterns, RecordPatterns};
use super::filter::{self, Filter, FilterError, FilterFile, Format, Pattern};
use super::identifiers::Identifiers;
use super::messages::Messages;
use super::overlap::overlap;
use super::pattern::{Form, Found};
use super::shape::{FieldForms, Shape};
use crate::config::Filters;
use crate::sighting::{Kind, PatternId, Points};
use crate::source::Sender;

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
    /// Whether it reads services' own files only.
    own: bool,
    fingerprint: u64,
}

/// What reads lines of one sort: the patterns of every filter that does.
#[derive(Debug)]
pub(super) struct Service {
    /// Compiled for the first message.
    messages: OnceLock<Messages>,
    /// Patterns over fields, for each format its filters know.
    pub(super) records: Vec<Arc<RecordPatterns>>,
    /// Whether a filter reads lines that begin with a stamp, which may come as messages too.
    stamps: bool,
    /// The filters it is made of.
    filters: Vec<u16>,
    /// The forms of its messages, made when a message is to be explained.
    forms: OnceLock<Vec<(PatternId, Form)>>,
}

/// Which patterns a service is made of.
pub(super) struct Use<'a> {
    pub(super) filters: &'a [Filter],
    readers: &'a [u16],
    mode: Mode,
    /// Which filters have to be shown to read no line in two ways.
    pub(super) proof: Proof,
    /// What their lines have in common.
    common: Common,
}

/// What lines of different filters have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Common {
    /// They are lines of one program.
    Program,
    /// No more than their form: whose they are shows in the file they stand in.
    Form,
    /// They stand in one file, which not every filter takes for its service's own.
    File,
}

/// Which filters have to be shown to read no line in two ways, alone and beside the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// All of them.
    All,
    /// Those that guard does not come with: the others have been shown to when guard was tested.
    Own,
    /// None: it has been shown already.
    Known,
}

/// What a matching form says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Hit {
    pub(super) pattern: PatternId,
    pub(super) kind: Kind,
    pub(super) points: Points,
}

impl Hit {
    /// The same of a line that is shown only and never counts.
    pub(super) fn shown_only(self) -> Self {
        Self { kind: Kind::Spoofable, points: Points::default(), ..self }
    }
}

impl FilterSet {
    /// The filters the configuration enables: shipped ones, overridden by name and extended by the administrator's.
    pub fn load(config: &Filters) -> Result<Self, FilterError> {
        let mut files = filter::available(&config.folder)?;
        let known = files.iter().map(|file| file.name.clone()).collect::<Vec<_>>();
        if let Some(name) = config.named().find(|name| !known.contains(name)) {
            return Err(FilterError::Unknown { name: name.clone(), known: known.join(", ") });
        }
        files.retain(|file| config.uses(&file.name));
        Self::compile(&files, config.mode)
    }

    /// Every shipped filter.
    pub fn shipped(mode: Mode) -> Result<Self, FilterError> {
        Self::compile(&filter::shipped(), mode)
    }

    /// Compiles filters. Patterns of modes that `mode` does not include are left out. That no line has two readings with
    /// different addresses is shown for all that guard does not come with.
    pub fn compile(files: &[FilterFile], mode: Mode) -> Result<Self, FilterError> {
        Self::proved(files, mode, Proof::Own)
    }

    /// The same, and it is shown for the shipped ones as well. This takes its time.
    pub fn prove(files: &[FilterFile], mode: Mode) -> Result<Self, FilterError> {
        Self::proved(files, mode, Proof::All)
    }

    fn proved(files: &[FilterFile], mode: Mode, proof: Proof) -> Result<Self, FilterError> {
        let filters = files.iter().map(Filter::read).collect::<Result<Arc<[_]>, _>>()?;
        let mut hasher = DefaultHasher::new();
        mode.hash(&mut hasher);
        for file in files {
            (&file.name, &file.text).hash(&mut hasher);
        }
        Self::build(&filters, mode, hasher.finish(), (proof, proof), Common::Form, |_| true, |_| true)
    }

    /// How many services there are, and how many of them have been compiled.
    #[cfg(test)]
    pub(super) fn compiled(&self) -> (usize, usize) {
        let compiled = self.services.iter().filter(|service| service.messages.get().is_some());
        (self.services.len(), compiled.count())
    }

    /// The same filters, to take others from: it reads nothing itself, and takes little memory.
    #[must_use]
    pub fn without_services(self) -> Self {
        let formats = [None; Format::ALL.len()];
        let identifiers = Identifiers::new(std::iter::empty());
        Self { services: Vec::new(), identifiers, formats, ..self }
    }

    /// The filters that read a file as one of their service's own, by number.
    pub fn owners(&self, path: &Path) -> Vec<u16> {
        let owns = |at: &usize| self.filters[*at].owns(path);
        (0..self.filters.len()).filter(owns).map(|at| at as u16).collect()
    }

    /// The filters that know how lines of their services' own files are written, by number.
    pub(super) fn with_format(&self) -> impl Iterator<Item = u16> {
        (0..).zip(&*self.filters).filter(|(_, filter)| filter.format.is_some()).map(|(number, _)| number)
    }

    /// The filters by their names, by number; what is not in use is left out.
    pub fn numbers(&self, names: &[String]) -> Vec<u16> {
        let named = |at: &usize| names.contains(&self.filters[*at].name);
        (0..self.filters.len()).filter(named).map(|at| at as u16).collect()
    }

    /// These filters and no others, for lines of their services' own files. That no line has two readings with
    /// different addresses is shown for those of them that have not been shown to be good together: files that a person
    /// gives to several filters.
    pub fn for_own_files(&self, owners: &[u16]) -> Result<Self, FilterError> {
        let among = |number: u16| owners.contains(&number);
        let proof = (Proof::Known, Proof::All);
        let own = Self::build(&self.filters, self.mode, self.fingerprint, proof, Common::File, among, among)?;
        Ok(Self { own: true, ..own })
    }

    /// The filters for lines with a syslog header, and for the journal.
    pub fn for_syslog(&self) -> Result<Self, FilterError> {
        // What has been checked together needs no check in parts.
        let proof = (Proof::Known, Proof::Known);
        Self::build(&self.filters, self.mode, self.fingerprint, proof, Common::Form, |_| true, |_| false)
    }

    fn build(
        filters: &Arc<[Filter]>,
        mode: Mode,
        fingerprint: u64,
        (of_programs, of_forms): (Proof, Proof),
        common: Common,
        by_identifier: impl Fn(u16) -> bool,
        by_format: impl Fn(u16) -> bool,
    ) -> Result<Self, FilterError> {
        let (mut services, mut patterns) = (Vec::<Service>::new(), KnownPatterns::default());
        let mut service = |proof: Proof, common: Common, reads: &dyn Fn(u16, &Filter) -> bool| {
            let readers: Vec<u16> =
                (0..).zip(&**filters).filter(|(at, filter)| reads(*at, filter)).map(|(at, _)| at).collect();
            if readers.is_empty() {
                return Ok(None);
            }
            let known = services.iter().position(|service| service.filters == readers);
            let number = known.unwrap_or(services.len());
            if known.is_none() {
                let usage = Use { filters, readers: &readers, mode, proof, common };
                services.push(Service::new(&usage, &mut patterns)?);
            }
            Ok(Some(number as u32))
        };
        let mut names: Vec<&[u8]> = filters
            .iter()
            .zip(0..)
            .filter(|(_, at)| by_identifier(*at))
            .flat_map(|(filter, _)| filter.identifiers.iter().map(Vec::as_slice))
            .collect();
        names.sort_unstable();
        names.dedup();
        let mut numbers = Vec::with_capacity(names.len());
        for name in names {
            let reads = |at, filter: &Filter| {
                by_identifier(at) && filter.identifiers.iter().any(|known| known == name)
            };
            numbers.extend(service(of_programs, Common::Program, &reads)?.map(|number| (name, number)));
        }
        let mut formats = [None; Format::ALL.len()];
        for format in Format::ALL {
            let reads = |at, filter: &Filter| by_format(at) && filter.format == Some(format);
            formats[format as usize] = service(of_forms, common, &reads)?;
        }
        let identifiers = Identifiers::new(numbers.into_iter());
        Ok(Self {
            identifiers,
            services,
            formats,
            own: false,
            mode,
            fingerprint,
            filters: Arc::clone(filters),
        })
    }

    /// A number that differs when the filters differ.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// What differs between the filters of this set and those of a newer one, in words.
    pub fn differences(&self, newer: &Self) -> Vec<String> {
        let of = |set: &'_ Self, name: &str| {
            set.filters.iter().find(|filter| filter.name == name).map(|filter| filter.fingerprint)
        };
        let mut names: Vec<&str> = self.names().chain(newer.names()).collect();
        names.sort_unstable();
        names.dedup();
        let told = |name: &str| match (of(self, name), of(newer, name)) {
            (Some(old), Some(new)) if old == new => None,
            (Some(_), Some(_)) => Some(format!("filter {name}: its text has changed")),
            (None, _) => Some(format!("filter {name}: new")),
            (_, None) => Some(format!("filter {name}: gone")),
        };
        names.into_iter().filter_map(told).collect()
    }

    /// Name of a filter; `unknown` for a number of another set.
    pub fn filter_name(&self, filter: u16) -> &str {
        self.filters.get(usize::from(filter)).map_or("unknown", |filter| &filter.name)
    }

    /// Whether a filter reads of logins by key.
    pub fn has_key_logins(&self, filter: u16) -> bool {
        self.filters.get(usize::from(filter)).is_some_and(|filter| filter.has_key_logins)
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

    /// Which filters also read logins that succeed, by number.
    pub fn reads_logins(&self) -> Vec<bool> {
        let is_login = |kind| matches!(kind, Kind::KeyLogin | Kind::PasswordLogin);
        let reads = |filter: &Filter| filter.patterns.iter().any(|pattern| is_login(pattern.kind));
        self.filters.iter().map(reads).collect()
    }

    /// The mode it was compiled for.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The service that an identifier names, as a number for [`Self::read`].
    #[inline]
    pub(super) fn service(&self, identifier: &[u8]) -> Option<u32> {
        // `wordpress(www.example.org)`, where one program speaks for many.
        self.identifiers.find(identifier).or_else(|| self.identifiers.find_before_host(identifier))
    }

    /// The service that reads lines of a format.
    #[inline]
    pub(super) fn of_format(&self, format: Format) -> Option<u32> {
        self.formats[format as usize]
    }

    /// Whether it reads services' own files only: then every line is one of theirs.
    pub(super) fn is_own(&self) -> bool {
        self.own
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

    /// The messages of a service, if they are plain text and nothing else.
    #[inline(always)]
    pub(super) fn messages(&self, service: u32) -> Option<&Messages> {
        let service = self.services.get(service as usize)?;
        service.is_plain().then(|| self.messages_of(service))
    }

    /// The messages of a service, which are compiled for the first one that is read.
    #[inline(always)]
    fn messages_of<'a>(&'a self, service: &'a Service) -> &'a Messages {
        service.messages.get_or_init(|| {
            // They were good when guard was tested, or when the filters were loaded.
            Messages::new(&self.known(&service.filters)).unwrap_or_default()
        })
    }

    /// What filters that are known to be good are read for.
    fn known<'a>(&'a self, readers: &'a [u16]) -> Use<'a> {
        let (proof, common) = (Proof::Known, Common::Program);
        Use { filters: &self.filters, readers, mode: self.mode, proof, common }
    }

    /// Whether messages of a service may be more than plain text.
    #[inline]
    pub(super) fn is_plain(&self, service: u32) -> bool {
        self.services.get(service as usize).is_none_or(Service::is_plain)
    }

    /// Whether a stamp may stand in front of a service's messages.
    pub(super) fn has_stamps(&self, service: u32) -> bool {
        self.services.get(service as usize).is_some_and(|service| service.stamps)
    }

    /// Number of services.
    pub(super) fn services(&self) -> u32 {
        self.services.len() as u32
    }

    /// Reads a message of a service.
    #[inline(always)]
    pub(super) fn read<'a>(&self, service: u32, message: &'a [u8], found: &mut Found<'a>) -> Option<Hit> {
        self.messages_of(self.services.get(service as usize)?).read(message, found)
    }

    /// The patterns over fields that a service has.
    pub(super) fn records(&self, service: u32) -> &[Arc<RecordPatterns>] {
        self.services.get(service as usize).map_or(&[], |service| &service.records)
    }

    /// Reads a record with patterns of [`Self::records`]; `value` answers its fields by number.
    pub(super) fn read_record<'a>(
        &self,
        patterns: &RecordPatterns,
        value: impl Fn(usize) -> Option<&'a [u8]>,
        found: &mut Found<'a>,
    ) -> Option<Hit> {
        let pattern = |id: PatternId| &self.filters[usize::from(id.filter)].patterns[usize::from(id.pattern)];
        patterns.read(pattern, value, found)
    }

    /// The pattern that fits furthest from the front, and how many bytes of the message do.
    pub(super) fn nearest(&self, service: u32, message: &[u8]) -> Option<(PatternId, usize)> {
        let service = self.services.get(service as usize)?;
        let forms = service.forms.get_or_init(|| self.message_forms(&service.filters));
        let all = forms.iter().map(|(pattern, form)| (*pattern, form.nearness(message)));
        all.max_by_key(|(_, bytes)| *bytes).filter(|(_, bytes)| *bytes > 0)
    }

    /// The forms that messages of some filters have.
    fn message_forms(&self, readers: &[u16]) -> Vec<(PatternId, Form)> {
        let usage = self.known(readers);
        let forms = usage.patterns().flat_map(|(pattern, hit)| {
            // They were good when the filter was read.
            let forms = pattern.message_forms().unwrap_or_default();
            forms.into_iter().map(move |form| (hit.pattern, form))
        });
        forms.collect()
    }

    /// Whether any filter that reads this identifier believes a journal entry of this sender.
    pub(super) fn trusts(&self, identifier: &[u8], sender: &Sender<'_>) -> bool {
        let Some(service) = self.service(identifier) else { return false };
        let filters = &self.services[service as usize].filters;
        filters.iter().any(|filter| self.filters[usize::from(*filter)].journal.includes(sender))
    }

    /// Whether a pattern's filter believes a journal entry of this sender.
    pub(super) fn believes(&self, pattern: PatternId, sender: &Sender<'_>) -> bool {
        self.filters.get(usize::from(pattern.filter)).is_some_and(|filter| filter.journal.includes(sender))
    }
}

impl Service {
    fn new(usage: &Use<'_>, known: &mut KnownPatterns) -> Result<Self, FilterError> {
        let records = RecordPatterns::of_each_format(usage, known)?;
        let stamped = |reader: &u16| usage.filters[usize::from(*reader)].format == Some(Format::Stamped);
        let stamps = usage.readers.iter().any(stamped);
        let messages = if usage.is_known() { OnceLock::new() } else { Messages::new(usage)?.into() };
        let filters = usage.readers.to_vec();
        Ok(Self { messages, records, stamps, filters, forms: OnceLock::new() })
    }

    #[inline]
    fn is_plain(&self) -> bool {
        !self.stamps && self.records.is_empty()
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

    /// Whether a filter has been shown to read no line in two ways.
    pub(super) fn knows(&self, filter: u16) -> bool {
        match self.proof {
            Proof::All => false,
            Proof::Own => self.filters[usize::from(filter)].shipped,
            Proof::Known => true,
        }
    }

    /// Whether all its filters have been. Then compiling them finds nothing wrong either.
    pub(super) fn is_known(&self) -> bool {
        self.readers.iter().all(|reader| self.knows(*reader))
    }

    /// Whether it has to be shown of two filters that they read no line in two ways: those that read lines of one
    /// program, or of a file that both take for their service's own. What has only the form in common is told apart by
    /// the file it stands in. Where a person has put filters on a file, those that have not been shown yet are the rest.
    fn meet(&self, a: u16, b: u16) -> bool {
        let files = |filter: u16| &self.filters[usize::from(filter)].files;
        let share = || {
            let mut pairs = files(a).iter().flat_map(|one| files(b).iter().map(move |other| (one, other)));
            a == b || pairs.any(|(one, other)| overlap(one.as_str(), other.as_str()))
        };
        match self.common {
            Common::Program => true,
            Common::Form => share(),
            Common::File => !share(),
        }
    }

    /// The pairs of its filters that [`Self::meet`].
    pub(super) fn meetings(&self) -> HashSet<(u16, u16)> {
        let pairs = self.readers.iter().flat_map(|a| self.readers.iter().map(|b| (*a, *b)));
        pairs.filter(|(a, b)| self.meet(*a, *b)).collect()
    }

    /// The format of the filter that a pattern belongs to.
    pub(super) fn format(&self, id: PatternId) -> Option<Format> {
        self.filters[usize::from(id.filter)].format
    }

    /// The forms that messages of a pattern can have.
    pub(super) fn message_forms(&self, pattern: &Pattern, hit: Hit) -> Result<Vec<Form>, FilterError> {
        pattern.message_forms().map_err(|reason| self.wrong(pattern, hit, reason))
    }

    /// The forms that fields of a pattern can have.
    pub(super) fn field_forms(&self, pattern: &Pattern, hit: Hit) -> Result<Vec<FieldForms>, FilterError> {
        pattern.field_forms().map_err(|reason| self.wrong(pattern, hit, reason))
    }

    fn wrong(&self, pattern: &Pattern, hit: Hit, reason: String) -> FilterError {
        let path = self.filters[usize::from(hit.pattern.filter)].path.clone();
        FilterError::Wrong { path, line: pattern.line, reason }
    }

    /// A pattern names a field that records of the format do not have.
    pub(super) fn no_field(&self, format: Format, name: &str) -> FilterError {
        let names_it =
            |pattern: &Pattern| matches!(&pattern.shape, Shape::Record(fields) if fields.contains_key(name));
        let known = format.names().map(|known| known.collect::<Vec<_>>().join(", "));
        let known = known.map_or(String::new(), |known| format!("; there are {known}"));
        let reason = format!("there is no field `{name}`{known}");
        let found = self
            .patterns()
            .find(|(pattern, hit)| names_it(pattern) && self.format(hit.pattern) == Some(format));
        let (path, line) = found.map_or_else(Default::default, |(pattern, hit)| {
            (self.filters[usize::from(hit.pattern.filter)].path.clone(), pattern.line)
        });
        FilterError::Wrong { path, line, reason }
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
    Ok(FilterFile { name, path: path.to_owned(), text, shipped: false })
}
