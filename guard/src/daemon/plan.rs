//! Which sources the configuration names, and whose lines they hold.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use tracing::warn;

use crate::config::{FileSource, Journald, Sources};
use crate::scan::{FilterSet, Scanner};
use crate::source::journald;

/// Whose lines a file holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lines {
    /// Every service's, as a syslog daemon writes them.
    Syslog,
    /// Those of some services, which write the file themselves: the filters that read it, by number.
    Own(Vec<u16>),
}

impl Lines {
    /// Whether several filters read them that may never have been shown to agree.
    pub(super) fn may_need_a_proof(&self) -> bool {
        matches!(self, Self::Own(owners) if owners.len() > 1)
    }
}

/// What reads lines of one sort, made when it is first asked for.
#[derive(Clone)]
pub(super) struct Prepared {
    lines: Lines,
    all: Arc<FilterSet>,
    set: Arc<OnceLock<Result<Arc<FilterSet>, String>>>,
}

impl Prepared {
    pub(super) fn new(lines: Lines, all: Arc<FilterSet>) -> Self {
        Self { lines, all, set: Arc::default() }
    }

    /// Reads such lines; or why nothing does. The first call may take its time.
    pub(super) fn scanner(&self) -> Result<Scanner, String> {
        let make = || {
            let set = match &self.lines {
                Lines::Syslog => self.all.for_syslog(),
                Lines::Own(owners) => self.all.for_own_files(owners),
            };
            set.map(Arc::new).map_err(|cause| cause.to_string())
        };
        self.set.get_or_init(make).clone().map(Scanner::new)
    }
}

/// Which sources are read.
pub(super) struct Plan {
    pub(super) journald: bool,
    /// Files, and whose lines they hold.
    pub(super) files: Vec<(Lines, PathBuf)>,
    /// Files left out because the journal has the same lines.
    pub(super) left_out: usize,
}

impl Plan {
    pub(super) fn new(sources: &Sources, filters: &FilterSet) -> Self {
        let journald = match sources.journald {
            Journald::On => true,
            Journald::Off => false,
            Journald::Auto => journald::any_journal(&sources.journal_paths).is_some(),
        };
        let owned = |file: &FileSource| {
            if file.filters.is_empty() {
                return Some((Lines::Syslog, file.path.clone()));
            }
            let owners = filters.numbers(&file.filters);
            if owners.is_empty() {
                warn!(path = %file.path.display(), filters = ?file.filters, "not read: none of its filters is in use");
                return None;
            }
            Some((Lines::Own(owners), file.path.clone()))
        };
        let (left_out, files): (Vec<_>, Vec<_>) =
            sources.files.iter().partition(|file| journald && file.journal_copy);
        Self { journald, files: files.into_iter().filter_map(owned).collect(), left_out: left_out.len() }
    }
}
