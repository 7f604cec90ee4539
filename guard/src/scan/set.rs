//! The loaded filters, compiled to a dispatch on identifier and beginning of the message.
//!
//! A line costs one look-up of its identifier, however many filters there are; then the head of its message leads to
//! the few forms it can have. The form with the longest head is tried first, and that no message has two readings
//! with different addresses is checked when the filters are loaded.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use super::Mode;
use super::dispatch::{Heads, Start};
use super::filter::{self, Filter, FilterError, FilterFile};
use super::identifiers::Identifiers;
use super::openings::OPENING;
use super::pattern::{self, Form, Found};
use crate::config::Filters;
use crate::encode::printable;
use crate::sighting::{Kind, PatternId, Points};

/// How a syslog daemon begins what stands for a message's repetitions.
const REPEATED: &[u8] = b"message repeated ";
/// How often a message counts at most that a syslog daemon says was repeated.
const MAX_REPEATS: i32 = 50;

/// Filters, ready to scan with.
#[derive(Debug)]
pub struct FilterSet {
    filters: Vec<Filter>,
    mode: Mode,
    identifiers: Identifiers,
    services: Vec<Service>,
    fingerprint: u64,
}

/// What lines of some identifiers are matched against: the forms of every filter that reads them.
#[derive(Debug)]
struct Service {
    /// Forms sorted by head; among those of one head the order of filters and patterns decides.
    candidates: Vec<Candidate>,
    heads: Heads,
    /// The filters it is made of.
    filters: Vec<u16>,
}

#[derive(Debug)]
struct Candidate {
    form: Form,
    hit: Hit,
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
        let mut enabled = Vec::new();
        for name in &config.enable {
            let Some(file) = files.iter().find(|file| file.name == *name) else {
                let mut known: Vec<_> = files.iter().map(|file| file.name.as_str()).collect();
                known.sort_unstable();
                return Err(FilterError::Unknown { name: name.clone(), known: known.join(", ") });
            };
            enabled.push(file.clone());
        }
        Self::compile(&enabled, config.mode)
    }

    /// Every shipped filter.
    pub fn shipped(mode: Mode) -> Result<Self, FilterError> {
        Self::compile(&filter::shipped(), mode)
    }

    /// Compiles filters. Patterns of a stricter mode than `mode` are left out.
    pub fn compile(files: &[FilterFile], mode: Mode) -> Result<Self, FilterError> {
        let filters = files.iter().map(Filter::read).collect::<Result<Vec<_>, _>>()?;
        let mut names: Vec<&[u8]> =
            filters.iter().flat_map(|f| f.identifiers.iter().map(Vec::as_slice)).collect();
        names.sort_unstable();
        names.dedup();
        let mut services: Vec<Service> = Vec::new();
        let mut numbers = Vec::with_capacity(names.len());
        for name in &names {
            let reads = |filter: &Filter| filter.identifiers.iter().any(|known| known == name);
            let readers: Vec<u16> =
                (0..filters.len()).filter(|at| reads(&filters[*at])).map(|at| at as u16).collect();
            let known = services.iter().position(|service| service.filters == readers);
            if known.is_none() {
                services.push(Service::new(&filters, readers, mode)?);
            }
            let number = known.unwrap_or(services.len() - 1);
            numbers.push((*name, number as u32));
        }
        let mut hasher = DefaultHasher::new();
        mode.hash(&mut hasher);
        for file in files {
            (&file.name, &file.text).hash(&mut hasher);
        }
        let identifiers = Identifiers::new(numbers.into_iter());
        Ok(Self { identifiers, services, filters, mode, fingerprint: hasher.finish() })
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

    /// Text of a pattern, as the filter's file has it.
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

    /// Where to begin to read a message of a service that begins with `opening`; `None` if it says nothing.
    #[inline(always)]
    pub(super) fn start(&self, service: u32, opening: &[u8; OPENING]) -> Option<Start> {
        self.services.get(service as usize)?.heads.start(opening)
    }

    /// Reads a message of a service.
    #[inline(always)]
    pub(super) fn read<'a>(&self, service: u32, message: &'a [u8], found: &mut Found<'a>) -> Option<Hit> {
        self.read_from(service, Start::default(), message, found)
    }

    /// Reads a message of a service whose opening led to `start`.
    #[inline(always)]
    pub(super) fn read_from<'a>(
        &self,
        service: u32,
        start: Start,
        message: &'a [u8],
        found: &mut Found<'a>,
    ) -> Option<Hit> {
        let service = self.services.get(service as usize)?;
        match service.read(start, message, found) {
            Some(candidate) => Some(candidate.hit),
            None if message.starts_with(REPEATED) => service.read_repeated(message, found),
            None => None,
        }
    }

    /// Reads a message as if any service had written it.
    pub(super) fn read_any<'a>(&self, message: &'a [u8], found: &mut Found<'a>) -> Option<Hit> {
        (0..self.services.len() as u32).find_map(|service| self.read(service, message, found))
    }

    /// The pattern that fits furthest from the front, and how many bytes of the message do.
    pub(super) fn nearest(&self, service: Option<u32>, message: &[u8]) -> Option<(PatternId, usize)> {
        let services = match service {
            Some(service) => &self.services[service as usize..=service as usize],
            None => &self.services[..],
        };
        services
            .iter()
            .flat_map(|service| &service.candidates)
            .map(|candidate| (candidate.hit.pattern, candidate.form.nearness(message)))
            .max_by_key(|(_, bytes)| *bytes)
            .filter(|(_, bytes)| *bytes > 0)
    }

    /// Whether a journal entry of this identifier may come from this user and command. An identifier that several
    /// filters read is trusted if one of them trusts it.
    pub(super) fn trusts(&self, identifier: &[u8], uid: u32, command: Option<&[u8]>) -> bool {
        let Some(service) = self.service(identifier).and_then(|service| self.services.get(service as usize))
        else {
            return false;
        };
        let trusts = |filter: &Filter| {
            let known = |command| filter.commands.iter().any(|known| known == command);
            filter.uid == uid && (filter.commands.is_empty() || command.is_none_or(known))
        };
        service.filters.iter().any(|filter| trusts(&self.filters[usize::from(*filter)]))
    }
}

impl Service {
    fn new(filters: &[Filter], readers: Vec<u16>, mode: Mode) -> Result<Self, FilterError> {
        let mut candidates = Vec::new();
        for &reader in &readers {
            for (number, pattern) in filters[usize::from(reader)].patterns.iter().enumerate() {
                if !mode.includes(pattern.mode) {
                    continue;
                }
                let hit = Hit {
                    pattern: PatternId { filter: reader, pattern: number as u16 },
                    kind: pattern.kind,
                    points: pattern.points,
                };
                candidates.extend(pattern.forms.iter().map(|form| Candidate { form: form.clone(), hit }));
            }
        }
        // Stable: among forms of the same head the order of the file decides.
        candidates.sort_by(|a, b| a.form.head().cmp(b.form.head()));
        refuse_two_readings(filters, &candidates)?;
        let heads: Vec<&[u8]> = candidates.iter().map(|candidate| candidate.form.head()).collect();
        let heads = match (heads.is_empty(), Heads::new(&heads, &[REPEATED])) {
            (true, _) => Heads::empty(),
            (false, Some(heads)) => heads,
            (false, None) => {
                let names = readers.iter().map(|reader| filters[usize::from(*reader)].name.as_str());
                return Err(FilterError::TooLarge { names: names.collect::<Vec<_>>().join(", ") });
            }
        };
        Ok(Self { candidates, heads, filters: readers })
    }

    #[inline(always)]
    fn read<'a>(&self, start: Start, message: &'a [u8], found: &mut Found<'a>) -> Option<&Candidate> {
        let mut fit = self.heads.longest_from(start, message);
        while let Some(this) = fit {
            let (forms, head) = self.heads.forms(this);
            let rest = &message[head..];
            for candidate in &self.candidates[forms] {
                if candidate.form.read(rest, found) {
                    return Some(candidate);
                }
                *found = Found::default();
            }
            fit = self.heads.shorter(this);
        }
        None
    }

    /// `message repeated 3 times: [ … ]`, which syslog daemons write instead of a message's repetitions. It counts
    /// as often as it says, within reason.
    #[cold]
    fn read_repeated<'a>(&self, message: &'a [u8], found: &mut Found<'a>) -> Option<Hit> {
        let rest = message.strip_prefix(REPEATED)?;
        let digits = rest.iter().position(|b| !b.is_ascii_digit())?;
        let times: i32 = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
        let rest = rest[digits..].strip_prefix(b" times: [ ")?.strip_suffix(b"]")?;
        let hit = self.read(Start::default(), rest.trim_ascii_end(), found)?.hit;
        let points = Points(hit.points.0.saturating_mul(times.clamp(1, MAX_REPEATS)));
        Some(Hit { points, ..hit })
    }
}

/// Refuses forms, sorted by head, that would read one message with two addresses: an attacker could choose which.
fn refuse_two_readings(filters: &[Filter], candidates: &[Candidate]) -> Result<(), FilterError> {
    let forms: Vec<&Form> = candidates.iter().map(|candidate| &candidate.form).collect();
    let Some((a, b, message)) = pattern::clash(&forms) else { return Ok(()) };
    let (a, b) = (candidates[a].hit, candidates[b].hit);
    let pattern =
        |hit: Hit| &filters[usize::from(hit.pattern.filter)].patterns[usize::from(hit.pattern.pattern)];
    let (other, later) = (pattern(a.min(b)), pattern(a.max(b)));
    Err(FilterError::Wrong {
        path: filters[usize::from(a.max(b).pattern.filter)].path.clone(),
        line: later.line,
        reason: format!(
            "the pattern `{}` is refused: beside `{}` a message like `{}` has two readings with different addresses, \
             so that an attacker could choose the one that is banned",
            later.text,
            other.text,
            printable(message.as_bytes(), 300),
        ),
    })
}

/// Reads a filter file for `guardctl` and tests.
pub fn read_file(path: &Path) -> Result<FilterFile, FilterError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| FilterError::Unreadable { path: path.to_owned(), source })?;
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(FilterFile { name, path: path.to_owned(), text })
}
