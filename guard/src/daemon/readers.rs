//! The threads that read sources: started, stopped and exchanged as one, and started again when one ends unasked.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use tracing::{info, warn};

use crate::config::{Config, FileSource, Journald, Sources};
use crate::scan::{FilterError, FilterSet, Scanner};
use crate::sighting::SourceId;
use crate::source::file::{self, FileReader};
use crate::source::journald::{self, JournalReader};
use crate::source::{Closed, Delivery, Position, Sink, SourceStatus, Stop};

use super::again::Again;
use super::control::{Control, Input, QUEUE};
use super::own_files;

/// The reading threads, and how far each source has been decided.
pub(super) struct Readers {
    inputs: SyncSender<Input>,
    positions: HashMap<String, Position>,
    all: Vec<Reader>,
    /// Whether they are meant to run.
    running: bool,
    next_id: u16,
}

/// One thread and what it reads.
struct Reader {
    of: Of,
    again: Again,
    thread: Option<(Stop, Thread)>,
}

type Thread = JoinHandle<Result<(), String>>;

/// What a thread reads.
enum Of {
    Journal(SourceId),
    /// Files, and the filters whose services' own files they are; none: syslog files.
    Files(Vec<(SourceId, PathBuf)>, Vec<u16>),
    /// Folders, for files that filters name.
    OwnFiles(Vec<String>),
}

struct Channel(SyncSender<Input>);

impl Sink for Channel {
    fn deliver(&mut self, delivery: Delivery) -> Result<(), Closed> {
        self.0.send(Input::Delivery(delivery)).map_err(|_| Closed)
    }
}

impl Readers {
    pub(super) fn new(inputs: SyncSender<Input>, positions: Vec<Position>) -> Self {
        let positions = positions.into_iter().map(|p| (p.source.clone(), p)).collect();
        Self { inputs, positions, all: Vec::new(), running: false, next_id: 0 }
    }

    /// Starts what the configuration names. Answers the sources with their first state.
    pub(super) fn start(
        &mut self,
        config: &Config,
        filters: &Arc<FilterSet>,
    ) -> Vec<(SourceId, SourceStatus)> {
        let now = Instant::now();
        let plan = Plan::new(&config.source, filters);
        let mut readers = Vec::new();
        if plan.journald {
            readers.push(Of::Journal(self.id()));
        }
        readers.extend(self.files(plan.files.clone()));
        let patterns: Vec<String> = filters.files().map(str::to_owned).collect();
        if config.source.service_files && !patterns.is_empty() {
            readers.push(Of::OwnFiles(patterns));
        }
        if readers.is_empty() {
            warn!("no source is configured: guard sees nothing");
        }
        info!(journal = plan.journald, files = plan.files.len(), left_out = plan.left_out, "reading");
        self.running = true;
        self.begin(readers, config, filters, now)
    }

    /// Reads services' own files that are not read yet. Answers them with their first state.
    fn start_own(
        &mut self,
        mut paths: Vec<PathBuf>,
        config: &Config,
        filters: &Arc<FilterSet>,
    ) -> Vec<(SourceId, SourceStatus)> {
        if !self.running {
            return Vec::new();
        }
        // What the configuration names is read as it says, or left to the journal.
        paths.retain(|path| {
            !self.all.iter().any(|reader| reader.of.reads(path))
                && !config.source.files.iter().any(|file| file.path == *path)
        });
        let files = paths.into_iter().map(|path| (filters.owners(&path), path)).collect();
        let readers = self.files(files);
        self.begin(readers, config, filters, Instant::now())
    }

    /// A reader for all files of the same filters.
    fn files(&mut self, files: Vec<(Vec<u16>, PathBuf)>) -> Vec<Of> {
        let mut groups: BTreeMap<Vec<u16>, Vec<(SourceId, PathBuf)>> = BTreeMap::new();
        for (owners, path) in files {
            groups.entry(owners).or_default().push((self.id(), path));
        }
        groups.into_iter().map(|(owners, files)| Of::Files(files, owners)).collect()
    }

    fn begin(
        &mut self,
        readers: Vec<Of>,
        config: &Config,
        filters: &Arc<FilterSet>,
        now: Instant,
    ) -> Vec<(SourceId, SourceStatus)> {
        let mut started = Vec::new();
        for of in readers {
            let mut reader = Reader { of, again: Again::new(now), thread: None };
            started.extend(reader.of.statuses("starting", true));
            if let Err(cause) = self.launch(&mut reader, config, filters) {
                started.extend(reader.failed(&cause, now));
            }
            self.all.push(reader);
        }
        started
    }

    /// Tells the threads to stop; they may still deliver what they have read.
    pub(super) fn stop(&mut self) {
        self.running = false;
        for (stop, _) in self.all.iter().filter_map(|reader| reader.thread.as_ref()) {
            stop.set();
        }
    }

    /// Whether every thread has ended.
    pub(super) fn ended(&self) -> bool {
        self.all.iter().all(Reader::is_over)
    }

    /// Forgets the threads, those that have not ended among them.
    pub(super) fn clear(&mut self) {
        self.all.clear();
    }

    /// A source has been decided up to here.
    pub(super) fn remember(&mut self, position: &Position) {
        self.positions.insert(position.source.clone(), position.clone());
    }

    /// Whether a thread has ended although nobody told it to.
    fn lost_one(&self) -> bool {
        self.running && self.all.iter().any(|reader| reader.thread.is_some() && reader.is_over())
    }

    /// Starts threads again whose pause is over, where their sources have been decided to. Answers the states of the
    /// sources that cannot be read at present.
    fn keep(
        &mut self,
        now: Instant,
        config: &Config,
        filters: &Arc<FilterSet>,
    ) -> Vec<(SourceId, SourceStatus)> {
        let mut failed = Vec::new();
        if !self.running {
            return failed;
        }
        let mut all = std::mem::take(&mut self.all);
        for reader in &mut all {
            if let Some((_, thread)) = reader.thread.take_if(|(_, thread)| thread.is_finished()) {
                let cause = match thread.join() {
                    Ok(Ok(())) => "it ended".to_owned(),
                    Ok(Err(cause)) => cause,
                    Err(_) => "it ended in a panic".to_owned(),
                };
                failed.extend(reader.failed(&cause, now));
            }
            if reader.again.is_due(now) {
                match self.launch(reader, config, filters) {
                    Ok(()) => reader.again.started(now),
                    Err(cause) => failed.extend(reader.failed(&cause, now)),
                }
            }
        }
        self.all = all;
        failed
    }

    /// Starts a reader's thread.
    fn launch(&self, reader: &mut Reader, config: &Config, filters: &Arc<FilterSet>) -> Result<(), String> {
        let scanner = |set: Result<FilterSet, FilterError>| match set {
            Ok(set) => Ok(Box::new(Scanner::new(Arc::new(set)))),
            Err(cause) => Err(cause.to_string()),
        };
        match &reader.of {
            Of::Journal(id) => {
                let (folders, options) = (config.source.journal_paths.clone(), journald::Options::default());
                let scan = scanner(filters.for_syslog())?;
                let journal =
                    JournalReader::new(*id, folders, self.positions.get(journald::NAME), options, scan)
                        .map_err(|cause| cause.to_string())?;
                reader.thread = Some(self.spawn("journald", move |sink, stop| {
                    journal.run(sink, stop).map_err(|cause| cause.to_string())
                })?);
            }
            Of::Files(files, owners) => {
                let own = !owners.is_empty();
                let scan = scanner(if own { filters.for_own_files(owners) } else { filters.for_syslog() })?;
                let positions: Vec<_> = self.positions.values().cloned().collect();
                let options =
                    file::Options { read_back: config.source.read_back, ..file::Options::default() };
                let files = FileReader::new(files.clone(), &positions, options, scan)
                    .map_err(|cause| cause.to_string())?;
                reader.thread = Some(self.spawn("files", move |sink, stop| {
                    files.run(sink, stop).map_err(|cause| cause.to_string())
                })?);
            }
            Of::OwnFiles(patterns) => {
                let (patterns, inputs) = (patterns.clone(), self.inputs.clone());
                reader.thread = Some(self.spawn("own-files", move |_, stop| {
                    own_files::look(&patterns, stop, |found| {
                        inputs.send(Input::OwnFiles(found)).map_err(|_| Closed.to_string())
                    })
                })?);
            }
        }
        Ok(())
    }

    fn spawn(
        &self,
        name: &str,
        run: impl FnOnce(&mut dyn Sink, &Stop) -> Result<(), String> + Send + 'static,
    ) -> Result<(Stop, Thread), String> {
        let failed = |cause: std::io::Error| cause.to_string();
        let stop = Stop::new().map_err(failed)?;
        let heard = stop.clone();
        let mut sink = Channel(self.inputs.clone());
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            crate::thread::take_short_turns();
            run(&mut sink, &heard)
        });
        Ok((stop, thread.map_err(failed)?))
    }

    fn id(&mut self) -> SourceId {
        let id = SourceId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        id
    }
}

impl Reader {
    fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(|(_, thread)| thread.is_finished())
    }

    /// It does not run. Answers what is to be said of its sources.
    fn failed(&mut self, cause: &str, now: Instant) -> Vec<(SourceId, SourceStatus)> {
        let pause = self.again.ended(now).as_secs();
        self.of.statuses(&format!("not read: {cause}; guard tries again after {pause} s"), false)
    }
}

impl Of {
    /// Whether it reads a file.
    fn reads(&self, path: &Path) -> bool {
        matches!(self, Self::Files(files, _) if files.iter().any(|(_, known)| known == path))
    }

    /// The same state of all its sources.
    fn statuses(&self, state: &str, healthy: bool) -> Vec<(SourceId, SourceStatus)> {
        let status = |name: String| SourceStatus { name, state: state.to_owned(), healthy, behind: 0 };
        match self {
            Self::Journal(id) => vec![(*id, status(journald::NAME.to_owned()))],
            Self::OwnFiles(_) => Vec::new(),
            Self::Files(files, _) => {
                files.iter().map(|(id, path)| (*id, status(path.display().to_string()))).collect()
            }
        }
    }
}

impl Control {
    /// Reads services' own files that have been found.
    pub(super) fn read_own_files(&mut self, paths: Vec<PathBuf>) {
        for (id, status) in self.readers.start_own(paths, &self.config, &self.filters) {
            self.source_changed(id, status);
        }
    }

    /// Notices readers that have ended, and starts those whose pause is over.
    pub(super) fn keep_readers(&mut self, now: Instant) {
        if self.readers.lost_one() {
            // What it delivered before its end comes before its end, and says where to go on.
            self.take_delivered();
        }
        for (id, status) in self.readers.keep(now, &self.config, &self.filters) {
            self.source_changed(id, status);
        }
    }

    /// Decides what readers have delivered up to now.
    fn take_delivered(&mut self) {
        for _ in 0..QUEUE {
            match self.inputs.try_recv() {
                Ok(input @ Input::Delivery(_)) => self.take(input),
                Ok(other) => self.deferred.push_back(other),
                Err(_) => break,
            }
        }
    }
}

/// Which sources are read.
struct Plan {
    journald: bool,
    /// Files, and the filters whose services' own files they are.
    files: Vec<(Vec<u16>, PathBuf)>,
    /// Files left out because the journal has the same lines.
    left_out: usize,
}

impl Plan {
    fn new(sources: &Sources, filters: &FilterSet) -> Self {
        let journald = match sources.journald {
            Journald::On => true,
            Journald::Off => false,
            Journald::Auto => sources.journal_paths.iter().any(|folder| has_journal(folder)),
        };
        let owned = |file: &FileSource| {
            let owners = filters.numbers(&file.filters);
            if owners.is_empty() && !file.filters.is_empty() {
                warn!(path = %file.path.display(), filters = ?file.filters, "not read: none of its filters is in use");
                return None;
            }
            Some((owners, file.path.clone()))
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
