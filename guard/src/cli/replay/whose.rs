//! Whose lines a log holds: a service's own file is read by its own filters only, as the daemon reads it.

use std::path::Path;
use std::sync::Arc;

use crate::config::Sources;
use crate::scan::{FilterError, FilterSet, Scanner};

/// Whose lines a log holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// Nobody knows.
    Unknown,
    /// Every service's, as a syslog daemon writes them.
    Syslog,
    /// Those of the services whose filters these are, by number.
    Own(Vec<u16>),
}

impl Whose {
    /// Of the filters that a person names; else as the configuration has it, or as the filters have it.
    pub(super) fn of(path: &Path, named: &[String], sources: &Sources, filters: &FilterSet) -> Self {
        if !named.is_empty() {
            return Self::Own(filters.numbers(named));
        }
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if let Some(file) = sources.files.iter().find(|file| file.path == path) {
            return if file.filters.is_empty() {
                Self::Syslog
            } else {
                Self::Own(filters.numbers(&file.filters))
            };
        }
        let owners = filters.owners(&path);
        if owners.is_empty() { Self::Unknown } else { Self::Own(owners) }
    }

    /// What reads such a log.
    pub(super) fn scanner(&self, filters: &Arc<FilterSet>) -> Result<Scanner, FilterError> {
        Ok(Scanner::new(match self {
            Self::Unknown => Arc::clone(filters),
            Self::Syslog => Arc::new(filters.for_syslog()?),
            Self::Own(owners) => Arc::new(filters.for_own_files(owners)?),
        }))
    }
}
