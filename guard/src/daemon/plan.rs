//! Which sources the configuration names, and whose lines they hold.

use std::path::{Path, PathBuf};

use tracing::warn;

use crate::config::{FileSource, Journald, Sources};
use crate::scan::{FilterError, FilterSet};

/// Whose lines a file holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lines {
    /// Every service's, as a syslog daemon writes them.
    Syslog,
    /// Those of some services, which write the file themselves: the filters that read it, by number.
    Own(Vec<u16>),
}

impl Lines {
    /// What reads them.
    pub(super) fn filters(&self, all: &FilterSet) -> Result<FilterSet, FilterError> {
        match self {
            Self::Syslog => all.for_syslog(),
            Self::Own(owners) => all.for_own_files(owners),
        }
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
            Journald::Auto => sources.journal_paths.iter().any(|folder| has_journal(folder)),
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

/// Whether a folder holds a system journal, directly or in a machine's folder.
fn has_journal(folder: &Path) -> bool {
    let journals = |folder: &Path| {
        std::fs::read_dir(folder).is_ok_and(|entries| {
            entries.flatten().any(|entry| entry.file_name().to_string_lossy().starts_with("system"))
        })
    };
    journals(folder)
        || std::fs::read_dir(folder).is_ok_and(|entries| {
            entries
                .flatten()
                .any(|entry| entry.file_type().is_ok_and(|t| t.is_dir()) && journals(&entry.path()))
        })
}
