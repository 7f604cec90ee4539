//! The loaded filters, compiled to a dispatch on identifier and first byte.
//!
//! A line costs one look-up of its identifier, however many filters there are; then its first byte selects the few
//! forms that can begin with it, and eight bytes of each are compared at once before anything else is looked at.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use super::Mode;
use super::filter::{self, Filter, FilterError, FilterFile};
use super::pattern::{Form, Found};
use crate::config::Filters;
use crate::sighting::{Kind, PatternId, Points};

/// Filters, ready to scan with.
#[derive(Debug)]
pub struct FilterSet {
    filters: Vec<Filter>,
    mode: Mode,
    identifiers: Identifiers,
    services: Vec<Service>,
    fingerprint: u64,
}

/// What lines of one identifier are matched against: the forms of every filter that reads it.
#[derive(Debug)]
struct Service {
    /// Forms in the order of filters and patterns, those with the same first byte together.
    candidates: Vec<Candidate>,
    /// By first byte of the message: the range of `candidates`.
    by_first: Box<[(u16, u16); 256]>,
}

#[derive(Debug)]
struct Candidate {
    /// The first bytes of the form's head, as a little-endian number, and which of them count.
    head: u64,
    mask: u64,
    form: Form,
    pub(super) hit: Hit,
}

/// What a matching form says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
        let services = names.iter().map(|name| Service::new(&filters, name, mode)).collect();
        let mut hasher = DefaultHasher::new();
        mode.hash(&mut hasher);
        for file in files {
            (&file.name, &file.text).hash(&mut hasher);
        }
        Ok(Self {
            identifiers: Identifiers::new(&names),
            services,
            filters,
            mode,
            fingerprint: hasher.finish(),
        })
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
    pub(super) fn service(&self, identifier: &[u8]) -> Option<usize> {
        self.identifiers.find(identifier)
    }

    /// Reads a message of a service.
    #[inline]
    pub(super) fn read<'a>(&self, service: usize, message: &'a [u8]) -> Option<(Hit, Found<'a>)> {
        self.services[service].read(message)
    }

    /// Reads a message as if any service had written it.
    pub(super) fn read_any<'a>(&self, message: &'a [u8]) -> Option<(Hit, Found<'a>)> {
        self.services.iter().find_map(|service| service.read(message))
    }

    /// The pattern that fits furthest from the front, and how many bytes of the message do.
    pub(super) fn nearest(&self, service: Option<usize>, message: &[u8]) -> Option<(PatternId, usize)> {
        let services = match service {
            Some(service) => &self.services[service..=service],
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
        self.filters.iter().filter(|filter| filter.identifiers.iter().any(|name| name == identifier)).any(
            |filter| {
                filter.uid == uid
                    && (filter.commands.is_empty()
                        || command.is_none_or(|command| filter.commands.iter().any(|known| known == command)))
            },
        )
    }
}

impl Service {
    fn new(filters: &[Filter], identifier: &[u8], mode: Mode) -> Self {
        let mut candidates = Vec::new();
        for (filter_index, filter) in filters.iter().enumerate() {
            if !filter.identifiers.iter().any(|name| name == identifier) {
                continue;
            }
            for (pattern_index, pattern) in filter.patterns.iter().enumerate() {
                if !mode.includes(pattern.mode) {
                    continue;
                }
                let hit = Hit {
                    pattern: PatternId { filter: filter_index as u16, pattern: pattern_index as u16 },
                    kind: pattern.kind,
                    points: pattern.points,
                };
                candidates.extend(pattern.forms.iter().map(|form| Candidate::new(form.clone(), hit)));
            }
        }
        // Stable: among forms of the same first byte the order of the file decides.
        candidates.sort_by_key(|candidate| candidate.form.head().first().copied());
        let mut by_first = Box::new([(0, 0); 256]);
        for (first, range) in by_first.iter_mut().enumerate() {
            let begins = |candidate: &Candidate| candidate.form.head().first().map(|b| usize::from(*b));
            let start = candidates.partition_point(|candidate| begins(candidate) < Some(first));
            let end = candidates.partition_point(|candidate| begins(candidate) <= Some(first));
            *range = (start as u16, end as u16);
        }
        Self { candidates, by_first }
    }

    #[inline]
    fn read<'a>(&self, message: &'a [u8]) -> Option<(Hit, Found<'a>)> {
        let (start, end) = self.by_first[usize::from(*message.first()?)];
        let first = first_eight(message);
        for candidate in &self.candidates[usize::from(start)..usize::from(end)] {
            if first & candidate.mask == candidate.head
                && let Some(found) = candidate.form.read(message)
            {
                return Some((candidate.hit, found));
            }
        }
        None
    }
}

impl Candidate {
    fn new(form: Form, hit: Hit) -> Self {
        let length = form.head().len().min(8);
        let mask = if length == 8 { u64::MAX } else { (1 << (8 * length)) - 1 };
        Self { head: first_eight(form.head()) & mask, mask, form, hit }
    }
}

/// The first eight bytes as a little-endian number, zero where there are fewer.
#[inline]
fn first_eight(text: &[u8]) -> u64 {
    if let Some(eight) = text.first_chunk() {
        return u64::from_le_bytes(*eight);
    }
    let mut eight = [0; 8];
    eight[..text.len()].copy_from_slice(text);
    u64::from_le_bytes(eight)
}

/// From identifier to service: a table with open addressing, at most half full.
#[derive(Debug)]
struct Identifiers {
    slots: Vec<Option<(Box<[u8]>, u32)>>,
}

impl Identifiers {
    fn new(names: &[&[u8]]) -> Self {
        let mut slots = vec![None; (names.len() * 2).next_power_of_two()];
        for (index, name) in names.iter().enumerate() {
            let mut at = slot(name) & (slots.len() - 1);
            while slots[at].is_some() {
                at = (at + 1) & (slots.len() - 1);
            }
            slots[at] = Some(((*name).into(), index as u32));
        }
        Self { slots }
    }

    #[inline]
    fn find(&self, name: &[u8]) -> Option<usize> {
        let mut at = slot(name) & (self.slots.len() - 1);
        while let Some((known, index)) = &self.slots[at] {
            if **known == *name {
                return Some(*index as usize);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        None
    }
}

/// Identifiers are names from files, not attackers' choices: a plain multiplication spreads them well enough.
#[inline]
fn slot(name: &[u8]) -> usize {
    let mixed = (first_eight(name) ^ name.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 40) as usize
}

/// Reads a filter file for `guardctl` and tests.
pub fn read_file(path: &Path) -> Result<FilterFile, FilterError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| FilterError::Unreadable { path: path.to_owned(), source })?;
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(FilterFile { name, path: path.to_owned(), text })
}
