//! The threads that read sources: started, stopped and exchanged as one, and started again when one ends unasked.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use crate::config::Config;
use crate::scan::FilterSet;
use crate::sighting::SourceId;
use crate::source::file::{self, FileReader, Origin};
use crate::source::journald::{self, JournalReader};
use crate::source::{Closed, Position, SourceStatus};
use crate::store::Write;
use crate::time::Wall;

use super::aside::Aside;
use super::control::{Control, Input, QUEUE};
use super::own_files::{self, Look, MOST};
use super::plan::{Journal, Lines, Plan, Prepared};
use super::reader::{LogFile, News, Of, Reader, Running};

/// The topic of problems with the search for services' own files.
const FINDER: &str = "service files";
/// The topic of the problem that there are too many of them.
const LEFT_OUT: &str = "service files left out";
/// The topic of problems with a journal that nobody writes to.
const JOURNAL: &str = "journal";

/// How long the place in a file that is gone is kept: what moved it away, or unmounted it, may bring it back.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// How often files that are gone are looked for.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The reading threads, and how far each source has been decided.
pub(super) struct Readers {
    inputs: SyncSender<Input>,
    positions: HashMap<String, Position>,
    all: Vec<Reader>,
    /// What reads lines of each sort: made once for all readers of them.
    sets: BTreeMap<Lines, Prepared>,
    /// Files that were found and are nobody's: each is told of once.
    ownerless: BTreeSet<PathBuf>,
    /// What was wrong with the journal when it was chosen or not.
    trouble: Option<String>,
    /// How many files were found that are too many to be read.
    left_out: usize,
    /// Whether they are meant to run.
    running: bool,
    next_id: u16,
    /// Looks which files are gone.
    gone: Aside<Vec<String>>,
    /// When it does next.
    next_gone: Instant,
}

impl Readers {
    pub(super) fn new(inputs: SyncSender<Input>, positions: Vec<Position>) -> Self {
        Self {
            inputs,
            positions: positions.into_iter().map(|p| (p.source.clone(), p)).collect(),
            all: Vec::new(),
            sets: BTreeMap::new(),
            ownerless: BTreeSet::new(),
            trouble: None,
            left_out: 0,
            running: false,
            next_id: 0,
            gone: Aside::new(),
            next_gone: Instant::now(),
        }
    }

    /// Forgets the places in files that are gone and were read last [`KEPT`] ago or before: looks for them at the start
    /// and once a day, beside this thread, because a file system may hang. Answers their names. A file that cannot be
    /// looked at is not taken for one that is gone.
    pub(super) fn forget_gone(&mut self, now: Instant, wall: Wall) -> Vec<String> {
        let is_old =
            |position: &Position| file::last_read(position).is_some_and(|read| wall.since(read) >= KEPT);
        if now >= self.next_gone && !self.gone.is_busy() {
            self.next_gone = now + DAY;
            let old = self.positions.values().filter(|position| is_old(position));
            let mut sources: Vec<String> = old.map(|position| position.source.clone()).collect();
            let look = move || {
                sources.retain(|source| is_gone(Path::new(source)));
                sources
            };
            if let Err(error) = self.gone.begin("gone files", look) {
                warn!(%error, "files that are gone are looked for tomorrow");
            }
        }
        let mut gone = self.gone.done().and_then(Result::ok).unwrap_or_default();
        // One may have come back meanwhile.
        gone.retain(|source| self.positions.get(source).is_some_and(is_old));
        for source in &gone {
            self.positions.remove(source);
        }
        gone
    }

    /// Starts what the configuration names. Answers the sources with their first state.
    pub(super) fn start(&mut self, config: &Config, filters: &Arc<FilterSet>) -> Vec<News> {
        let now = Instant::now();
        self.sets.clear();
        self.ownerless.clear();
        let plan = Plan::new(&config.source, filters);
        info!(journal = plan.journald, files = plan.files.len(), left_out = plan.left_out, "reading");
        let mut readers = Vec::new();
        if plan.journald {
            readers.push(Of::Journal(self.id()));
        }
        let mut groups: BTreeMap<Lines, Vec<LogFile>> = BTreeMap::new();
        for (lines, path) in plan.files {
            let file = LogFile { id: self.id(), path, origin: Origin::Named };
            groups.entry(lines).or_default().push(file);
        }
        readers.extend(groups.into_iter().map(|(lines, files)| Of::Files(lines, files)));
        let patterns: Vec<String> = filters.files().map(str::to_owned).collect();
        if config.source.service_files && !patterns.is_empty() {
            readers.push(Of::OwnFiles(patterns));
        }
        if readers.is_empty() {
            warn!("no source is configured: guard sees nothing");
        }
        self.running = true;
        self.trouble.clone_from(&plan.trouble);
        self.left_out = 0;
        let mut news = vec![News::Finder(None), News::LeftOut(0), News::Journal(plan.trouble)];
        for of in readers {
            news.extend(self.begin(of, config, filters, now));
        }
        news
    }

    /// Reads services' own files that are not read yet. Answers them with their first state.
    pub(super) fn start_own(&mut self, look: Look, config: &Config, filters: &Arc<FilterSet>) -> Vec<News> {
        if !self.running || !config.source.service_files {
            return Vec::new();
        }
        let Look { mut paths, left_out, since } = look;
        self.ownerless.retain(|path| paths.contains(path));
        // What the configuration names is read as it says, or left to the journal.
        let mut known: HashSet<&Path> = config.source.files.iter().map(|file| file.path.as_path()).collect();
        known.extend(self.all.iter().flat_map(|reader| reader.of.paths()));
        paths.retain(|path| !known.contains(path.as_path()));
        let mut groups: BTreeMap<Vec<u16>, Vec<PathBuf>> = BTreeMap::new();
        for path in paths {
            let owners = filters.owners(&path);
            if !owners.is_empty() {
                groups.entry(owners).or_default().push(path);
            } else if self.ownerless.insert(path.clone()) {
                warn!(path = %path.display(), "not read: it is no file of a filter in use, or its name is not UTF-8");
            }
        }
        let mut news = Vec::new();
        if std::mem::replace(&mut self.left_out, left_out) != left_out {
            news.push(News::LeftOut(left_out));
        }
        for (owners, paths) in groups {
            // What came later than the last look at such files is new.
            let saved = self.last_read(&owners, filters);
            let origin = Origin::Found { since: since.into_iter().chain(saved).min() };
            let files: Vec<_> =
                paths.into_iter().map(|path| LogFile { id: self.id(), path, origin }).collect();
            news.extend(self.add(Lines::Own(owners), files, config, filters));
        }
        news
    }

    /// When any file of these filters was read last.
    fn last_read(&self, owners: &[u16], filters: &FilterSet) -> Option<Wall> {
        let theirs = |position: &&Position| filters.owners(Path::new(&position.source)) == owners;
        self.positions.values().filter(theirs).filter_map(file::last_read).max()
    }

    /// Gives files to the reader of their lines, or starts one.
    fn add(
        &mut self,
        lines: Lines,
        files: Vec<LogFile>,
        config: &Config,
        filters: &Arc<FilterSet>,
    ) -> Vec<News> {
        let reads = |reader: &&mut Reader| matches!(&reader.of, Of::Files(known, _) if *known == lines);
        let Some(reader) = self.all.iter_mut().find(reads) else {
            return self.begin(Of::Files(lines, files), config, filters, Instant::now());
        };
        let news = files.iter().map(|file| file.news("starting", true)).collect();
        for file in files {
            // One that has ended reads it when it is started again.
            if let Some(inbox) = reader.running.as_ref().and_then(|running| running.inbox.as_ref()) {
                inbox.add(file.followed(&self.positions));
            }
            reader.of.push(file);
        }
        news
    }

    /// A source is read no more.
    pub(super) fn forget(&mut self, id: SourceId) {
        self.all.retain_mut(|reader| {
            let is_empty = reader.of.remove(id);
            if is_empty {
                reader.stop();
            }
            !is_empty
        });
    }

    fn begin(&mut self, of: Of, config: &Config, filters: &Arc<FilterSet>, now: Instant) -> Vec<News> {
        let mut reader = Reader::new(of, now);
        let mut news = reader.of.news("starting", true);
        if let Err(cause) = self.launch(&mut reader, config, filters) {
            news.extend(reader.failed(&cause, now));
        }
        self.all.push(reader);
        news
    }

    /// Whether a journal that nobody wrote to when the sources were chosen is another matter now.
    pub(super) fn is_journal_otherwise(&self, config: &Config) -> bool {
        self.running
            && self.trouble.is_some()
            && Journal::look(&config.source).trouble(&config.source) != self.trouble
    }

    /// Tells the threads to stop; they may still deliver what they have read.
    pub(super) fn stop(&mut self) {
        self.running = false;
        self.all.iter().for_each(Reader::stop);
    }

    /// Whether every thread has ended.
    pub(super) fn ended(&self) -> bool {
        self.all.iter().all(Reader::is_over)
    }

    /// Whether a source is one of those that are read.
    pub(super) fn has(&self, id: SourceId) -> bool {
        self.all.iter().any(|reader| reader.of.has(id))
    }

    /// Forgets the threads, those that have not ended among them. What such a one still delivers is of a source that no
    /// reader has.
    pub(super) fn clear(&mut self) {
        self.all.clear();
    }

    /// A source has been decided up to here. Whether this is the first position of it.
    pub(super) fn remember(&mut self, position: &Position) -> bool {
        self.positions.insert(position.source.clone(), position.clone()).is_none()
    }

    /// Whether a thread has ended although nobody told it to.
    fn lost_one(&self) -> bool {
        self.running && self.all.iter().any(|reader| reader.running.is_some() && reader.is_over())
    }

    /// Starts threads again whose pause is over, where their sources have been decided to. Answers what is to be said
    /// of those that do not run at present.
    fn keep(&mut self, now: Instant, config: &Config, filters: &Arc<FilterSet>) -> Vec<News> {
        let mut news = Vec::new();
        if !self.running {
            return news;
        }
        let mut all = std::mem::take(&mut self.all);
        for reader in &mut all {
            if let Some(cause) = reader.end() {
                news.extend(reader.failed(&cause, now));
            }
            if reader.again.is_due(now) {
                match self.launch(reader, config, filters) {
                    Ok(()) => {
                        reader.again.started(now);
                        news.extend(matches!(reader.of, Of::OwnFiles(_)).then_some(News::Finder(None)));
                    }
                    Err(cause) => news.extend(reader.failed(&cause, now)),
                }
            }
        }
        self.all = all;
        news
    }

    /// Starts a reader's thread.
    fn launch(
        &mut self,
        reader: &mut Reader,
        config: &Config,
        filters: &Arc<FilterSet>,
    ) -> Result<(), String> {
        let failed = |cause: std::io::Error| cause.to_string();
        let running = match &reader.of {
            Of::Journal(id) => {
                let (id, folders) = (*id, config.source.journal_paths.clone());
                let position = self.positions.get(journald::NAME).cloned();
                let prepared = self.prepared(&Lines::Syslog, filters)?;
                Running::start("journald", &self.inputs, None, move |sink, stop| {
                    let (options, scan) = (journald::Options::default(), Box::new(prepared.scanner()?));
                    let journal = JournalReader::new(id, folders, position.as_ref(), options, scan);
                    journal.and_then(|journal| journal.run(sink, stop)).map_err(|cause| cause.to_string())
                })?
            }
            Of::Files(lines, files) => {
                let files = files.iter().map(|file| file.followed(&self.positions)).collect();
                let options =
                    file::Options { read_back: config.source.read_back, ..file::Options::default() };
                let (inbox, waiting) = file::inbox().map_err(failed)?;
                let prepared = self.prepared(lines, filters)?;
                Running::start("files", &self.inputs, Some(inbox), move |sink, stop| {
                    let scan = Box::new(prepared.scanner()?);
                    if stop.is_set() {
                        return Ok(());
                    }
                    let files = FileReader::new(files, waiting, options, scan);
                    files.and_then(|files| files.run(sink, stop)).map_err(|cause| cause.to_string())
                })?
            }
            Of::OwnFiles(patterns) => {
                let (patterns, inputs) = (patterns.clone(), self.inputs.clone());
                Running::start("own-files", &self.inputs, None, move |_, stop| {
                    own_files::look(&patterns, stop, |look| {
                        inputs.send(Input::OwnFiles(look)).map_err(|_| Closed.to_string())
                    })
                })?
            }
        };
        reader.running = Some(running);
        Ok(())
    }

    /// What reads these lines, made here and now so that a file is followed at once; but where several filters may have
    /// to be shown to agree, which may take its time, in the thread that reads.
    fn prepared(&mut self, lines: &Lines, filters: &Arc<FilterSet>) -> Result<Prepared, String> {
        let new = || Prepared::new(lines.clone(), Arc::clone(filters));
        let prepared = self.sets.entry(lines.clone()).or_insert_with(new);
        if !lines.may_need_a_proof() {
            prepared.scanner()?;
        }
        Ok(prepared.clone())
    }

    /// A number that no source has.
    fn id(&mut self) -> SourceId {
        loop {
            let id = SourceId(self.next_id);
            self.next_id = self.next_id.wrapping_add(1);
            if !self.has(id) {
                return id;
            }
        }
    }
}

fn is_gone(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|cause| cause.kind() == ErrorKind::NotFound)
}

impl Control {
    /// Forgets the places in files that have been gone for long.
    pub(super) fn forget_gone(&mut self, now: Instant) {
        for source in self.readers.forget_gone(now, Wall::now()) {
            info!(source, "the file has been gone for long, and its place is forgotten");
            self.judge.write(Write::ForgetPosition(source));
        }
    }

    /// Reads services' own files that have been found.
    pub(super) fn read_own_files(&mut self, look: Look) {
        let news = self.readers.start_own(look, &self.config, &self.filters);
        self.hear(news);
    }

    /// A source is read no more, because it has gone.
    pub(super) fn source_gone(&mut self, id: SourceId) {
        self.readers.forget(id);
        if let Some(SourceStatus { name, .. }) = self.sources.remove(&id) {
            info!(source = name, "the file has gone and is given up");
        }
    }

    /// Takes what there is to say of readers.
    pub(super) fn hear(&mut self, news: Vec<News>) {
        for news in news {
            match news {
                News::Source(id, status) => self.source_changed(id, status),
                News::Finder(None) => drop(self.problems.clear(FINDER)),
                News::Finder(Some(why)) => {
                    error!("log files of services are {why}");
                    self.problems.set(FINDER, format!("log files of services are {why}"));
                }
                News::LeftOut(0) => drop(self.problems.clear(LEFT_OUT)),
                News::LeftOut(left_out) => {
                    let text = format!(
                        "{left_out} log files of services are not read: there are more than {MOST}; \
                         turn off filters that you do not need, or name what is to be read under `source.files`"
                    );
                    warn!("{text}");
                    self.problems.set(LEFT_OUT, text);
                }
                News::Journal(None) => drop(self.problems.clear(JOURNAL)),
                News::Journal(Some(why)) => {
                    warn!("{why}");
                    self.problems.set(
                        JOURNAL,
                        format!(
                            "{why}; if that is as it should be, set `source.journald` to \"on\" or \"off\""
                        ),
                    );
                }
            }
        }
    }

    /// Chooses the sources anew when a journal that nobody wrote to has come to life, or has gone.
    pub(super) fn keep_journal(&mut self) {
        if self.readers.is_journal_otherwise(&self.config) {
            info!("the journal is not as it was: the sources are chosen anew");
            self.exchange_readers(Arc::clone(&self.filters));
        }
    }

    /// Notices readers that have ended, and starts those whose pause is over.
    pub(super) fn keep_readers(&mut self, now: Instant) {
        if self.readers.lost_one() {
            // What it delivered before its end comes before its end, and says where to go on.
            self.take_delivered();
        }
        let news = self.readers.keep(now, &self.config, &self.filters);
        self.hear(news);
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

#[cfg(test)]
mod tests;
