//! Which sources the configuration names, and whose lines they hold.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use tracing::warn;

use crate::config::{FileSource, Journald, Sources};
use crate::scan::{FilterSet, Scanner};
use crate::source::file;
use crate::source::journald::{self, NoJournal};

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

/// What is to be done about the journal.
pub(crate) struct Journal {
    /// Whether it is read.
    pub(crate) is_read: bool,
    /// A file of it, or why there is none that can tell of anything.
    pub(crate) found: Result<PathBuf, NoJournal>,
}

impl Journal {
    /// Looks at the journal as it is now. A journal that nobody writes to must not stand in place of log files that
    /// somebody writes to; where there are none, it may come to life.
    pub(crate) fn look(sources: &Sources) -> Self {
        let found = journald::live(&sources.journal_paths);
        let is_read = match (sources.journald, &found) {
            (Journald::On, _) | (Journald::Auto, Ok(_)) => true,
            (Journald::Off, _) | (Journald::Auto, Err(NoJournal::Absent)) => false,
            (Journald::Auto, Err(NoJournal::Stale { .. } | NoJournal::Unreadable { .. })) => {
                !sources.files.iter().any(|file| file.journal_copy && file::look(&file.path).is_ok())
            }
        };
        Self { is_read, found }
    }

    /// What people are to be told, if there are files of a journal and none of them can tell of anything.
    pub(crate) fn trouble(&self, sources: &Sources) -> Option<String> {
        let cause = self.found.as_ref().err()?;
        if sources.journald == Journald::Off || matches!(cause, NoJournal::Absent) {
            return None;
        }
        let instead = if self.is_read { "guard waits for entries" } else { "log files are read instead" };
        Some(format!("{cause}; {instead}"))
    }
}

/// Which sources are read.
pub(super) struct Plan {
    pub(super) journald: bool,
    /// What is wrong with the journal.
    pub(super) trouble: Option<String>,
    /// Files, and whose lines they hold.
    pub(super) files: Vec<(Lines, PathBuf)>,
    /// Files left out because the journal has the same lines.
    pub(super) left_out: usize,
}

impl Plan {
    pub(super) fn new(sources: &Sources, filters: &FilterSet) -> Self {
        let journal = Journal::look(sources);
        let (journald, trouble) = (journal.is_read, journal.trouble(sources));
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
        let files = files.into_iter().filter_map(owned).collect();
        Self { journald, trouble, files, left_out: left_out.len() }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::scan::Mode;
    use crate::source::journald::header_of;

    #[test]
    fn a_journal_that_nobody_writes_to_does_not_stand_for_log_files() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, log) = (folder.path().join("system.journal"), folder.path().join("auth.log"));
        let copy = FileSource { path: log.clone(), journal_copy: true, filters: Vec::new() };
        let mut sources = Sources {
            journald: Journald::Auto,
            journal_paths: vec![folder.path().to_owned()],
            files: vec![copy],
            ..Sources::default()
        };
        let filters = FilterSet::compile(&[], Mode::Normal).unwrap();
        let plan = |sources: &Sources| {
            let plan = Plan::new(sources, &filters);
            (plan.journald, plan.files.len(), plan.trouble)
        };
        assert_eq!(plan(&sources), (false, 1, None), "there is no journal");
        fs::write(&journal, header_of(7)).unwrap();
        let (journald, files, trouble) = plan(&sources);
        assert_eq!((journald, files), (true, 0), "nor is there a log file");
        assert!(trouble.is_some_and(|text| text.ends_with("guard waits for entries")));
        fs::write(&log, "").unwrap();
        let (journald, files, trouble) = plan(&sources);
        assert_eq!((journald, files), (false, 1));
        let trouble = trouble.unwrap();
        assert!(
            trouble.contains("no entries since") && trouble.ends_with("log files are read instead"),
            "{trouble}"
        );
        sources.journald = Journald::Off;
        assert_eq!(plan(&sources), (false, 1, None));
        sources.journald = Journald::On;
        assert!(plan(&sources).0);
        sources.journald = Journald::Auto;
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        let boot = u128::from_str_radix(&boot.trim().replace('-', ""), 16).unwrap();
        fs::write(&journal, header_of(boot)).unwrap();
        assert_eq!(plan(&sources), (true, 0, None), "it is written to");
    }
}
