//! One reading thread, what it reads, and what is to be said of it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::SyncSender;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crate::sighting::SourceId;
use crate::source::file::{Followed, Inbox, Origin};
use crate::source::{Closed, Delivery, Position, Sink, SourceStatus, Stop, journald};

use super::again::Again;
use super::control::Input;
use super::plan::Lines;

/// One thread and what it reads.
pub(super) struct Reader {
    pub(super) of: Of,
    pub(super) again: Again,
    pub(super) running: Option<Running>,
}

/// What a thread reads.
pub(super) enum Of {
    Journal(SourceId),
    /// Files, and whose lines they hold.
    Files(Lines, Vec<LogFile>),
    /// Folders, for files that filters name.
    OwnFiles(Vec<String>),
}

/// A file that is read.
#[derive(Debug)]
pub(super) struct LogFile {
    pub(super) id: SourceId,
    pub(super) path: PathBuf,
    pub(super) origin: Origin,
}

/// A thread at work.
pub(super) struct Running {
    stop: Stop,
    thread: JoinHandle<Result<(), String>>,
    /// Takes more files.
    pub(super) inbox: Option<Inbox>,
}

/// What there is to say of a reader.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// The state of a source.
    Source(SourceId, SourceStatus),
    /// Services' own files are looked for, or why not.
    Finder(Option<String>),
    /// How many of services' own files are too many to be read.
    LeftOut(usize),
    /// What is wrong with the choice of the journal.
    Journal(Option<String>),
}

struct Channel(SyncSender<Input>);

impl Sink for Channel {
    fn deliver(&mut self, delivery: Delivery) -> Result<(), Closed> {
        self.0.send(Input::Delivery(delivery)).map_err(|_| Closed)
    }
}

impl Reader {
    pub(super) const fn new(of: Of, now: Instant) -> Self {
        Self { of, again: Again::new(now), running: None }
    }

    /// Tells it to stop.
    pub(super) fn stop(&self) {
        if let Some(running) = &self.running {
            running.stop.set();
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.running.as_ref().is_none_or(|running| running.thread.is_finished())
    }

    /// Why its thread has ended, if it has.
    pub(super) fn end(&mut self) -> Option<String> {
        let running = self.running.take_if(|running| running.thread.is_finished())?;
        Some(match running.thread.join() {
            Ok(Ok(())) => "it ended".to_owned(),
            Ok(Err(cause)) => cause,
            Err(_) => "it ended in a panic".to_owned(),
        })
    }

    /// It does not run. Answers what is to be said of its sources.
    pub(super) fn failed(&mut self, cause: &str, now: Instant) -> Vec<News> {
        let pause = self.again.ended(now).as_secs();
        let what = if matches!(self.of, Of::OwnFiles(_)) { "not looked for" } else { "not read" };
        self.of.news(&format!("{what}: {cause}; guard tries again after {pause} s"), false)
    }
}

impl Running {
    /// Starts a thread.
    pub(super) fn start(
        name: &str,
        inputs: &SyncSender<Input>,
        inbox: Option<Inbox>,
        run: impl FnOnce(&mut dyn Sink, &Stop) -> Result<(), String> + Send + 'static,
    ) -> Result<Self, String> {
        let failed = |cause: std::io::Error| cause.to_string();
        let stop = Stop::new().map_err(failed)?;
        let heard = stop.clone();
        let mut sink = Channel(inputs.clone());
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            crate::thread::take_short_turns();
            run(&mut sink, &heard)
        });
        Ok(Self { stop, thread: thread.map_err(failed)?, inbox })
    }
}

impl Of {
    /// The files it reads.
    pub(super) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files().iter().map(|file| file.path.as_path())
    }

    /// Whether it reads this source.
    pub(super) fn has(&self, id: SourceId) -> bool {
        matches!(self, Self::Journal(journal) if *journal == id)
            || self.files().iter().any(|file| file.id == id)
    }

    /// Reads a file as well.
    pub(super) fn push(&mut self, file: LogFile) {
        if let Self::Files(_, files) = self {
            files.push(file);
        }
    }

    /// Reads a file no more. Answers whether no file is left.
    pub(super) fn remove(&mut self, id: SourceId) -> bool {
        let Self::Files(_, files) = self else { return false };
        files.retain(|file| file.id != id);
        files.is_empty()
    }

    /// The same state of all its sources.
    pub(super) fn news(&self, state: &str, healthy: bool) -> Vec<News> {
        match self {
            Self::Journal(id) => vec![news(*id, journald::NAME.to_owned(), state, healthy)],
            Self::OwnFiles(_) => vec![News::Finder((!healthy).then(|| state.to_owned()))],
            Self::Files(_, files) => files.iter().map(|file| file.news(state, healthy)).collect(),
        }
    }

    fn files(&self) -> &[LogFile] {
        match self {
            Self::Files(_, files) => files,
            Self::Journal(_) | Self::OwnFiles(_) => &[],
        }
    }
}

impl LogFile {
    /// What a reader is to know of it.
    pub(super) fn followed(&self, positions: &HashMap<String, Position>) -> Followed {
        Followed {
            source: self.id,
            path: self.path.clone(),
            origin: self.origin,
            position: positions.get(&*self.path.to_string_lossy()).cloned(),
        }
    }

    /// Its state.
    pub(super) fn news(&self, state: &str, healthy: bool) -> News {
        news(self.id, self.path.display().to_string(), state, healthy)
    }
}

fn news(id: SourceId, name: String, state: &str, healthy: bool) -> News {
    News::Source(id, SourceStatus { name, state: state.to_owned(), healthy, behind: 0 })
}
