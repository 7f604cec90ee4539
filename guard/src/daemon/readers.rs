//! The threads that read sources: started, stopped and exchanged as one.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::{self, JoinHandle};

use tracing::{error, info, warn};

use crate::config::{Config, Journald, Sources};
use crate::scan::{FilterSet, Scanner};
use crate::sighting::SourceId;
use crate::source::file::{self, FileReader};
use crate::source::journald::{self, JournalReader};
use crate::source::{Closed, Delivery, Position, Sink, SourceStatus, Stop};

use super::control::Input;

/// The reading threads, and how far each source has been decided.
pub(super) struct Readers {
    inputs: SyncSender<Input>,
    positions: HashMap<String, Position>,
    running: Vec<JoinHandle<()>>,
    stop: Option<Stop>,
    next_id: u16,
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
        Self { inputs, positions, running: Vec::new(), stop: None, next_id: 0 }
    }

    /// Starts what the configuration names. Answers the sources with their first state.
    pub(super) fn start(
        &mut self,
        config: &Config,
        filters: &Arc<FilterSet>,
    ) -> std::io::Result<Vec<(SourceId, SourceStatus)>> {
        let stop = Stop::new()?;
        let plan = Plan::new(&config.source);
        let mut started = Vec::new();
        if plan.journald {
            let id = self.id();
            let reader = JournalReader::new(
                id,
                config.source.journal_paths.clone(),
                self.positions.get(journald::NAME),
                journald::Options::default(),
                Box::new(Scanner::new(Arc::clone(filters))),
            )
            .map_err(std::io::Error::other)?;
            self.spawn("journald", stop.clone(), move |sink, stop| end("journald", reader.run(sink, stop)))?;
            started.push((id, first_status(journald::NAME)));
        }
        if !plan.files.is_empty() {
            let mut files = Vec::new();
            for path in &plan.files {
                let id = self.id();
                let name = path.display().to_string();
                files.push((id, path.clone()));
                started.push((id, first_status(&name)));
            }
            let positions: Vec<_> = self.positions.values().cloned().collect();
            let reader = FileReader::new(
                files,
                &positions,
                file::Options { read_back: config.source.read_back, ..file::Options::default() },
                Box::new(Scanner::new(Arc::clone(filters))),
            )
            .map_err(std::io::Error::other)?;
            self.spawn("files", stop.clone(), move |sink, stop| end("files", reader.run(sink, stop)))?;
        }
        if started.is_empty() {
            warn!("no source is configured: guard sees nothing");
        }
        info!(journal = plan.journald, files = plan.files.len(), left_out = plan.left_out, "reading");
        self.stop = Some(stop);
        Ok(started)
    }

    /// Tells the threads to stop; they may still deliver what they have read.
    pub(super) fn stop(&mut self) {
        if let Some(stop) = self.stop.take() {
            stop.set();
        }
    }

    /// Whether every thread has ended.
    pub(super) fn ended(&self) -> bool {
        self.running.iter().all(JoinHandle::is_finished)
    }

    /// Forgets threads that have ended.
    pub(super) fn clear(&mut self) {
        for thread in self.running.drain(..) {
            if thread.is_finished() && thread.join().is_err() {
                warn!("a reading thread ended in a panic");
            }
        }
    }

    /// A source has been decided up to here.
    pub(super) fn remember(&mut self, position: &Position) {
        self.positions.insert(position.source.clone(), position.clone());
    }

    fn id(&mut self) -> SourceId {
        let id = SourceId(self.next_id);
        self.next_id = self.next_id.wrapping_add(1);
        id
    }

    fn spawn(
        &mut self,
        name: &str,
        stop: Stop,
        run: impl FnOnce(&mut dyn Sink, &Stop) + Send + 'static,
    ) -> std::io::Result<()> {
        let mut sink = Channel(self.inputs.clone());
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || {
            crate::thread::take_short_turns();
            run(&mut sink, &stop);
        })?;
        self.running.push(thread);
        Ok(())
    }
}

/// Tells why a reader ended; it ends quietly when it was told to, or when the engine has gone.
fn end<E: std::fmt::Display>(name: &str, result: Result<(), E>) {
    if let Err(cause) = result {
        error!(reader = name, error = %cause, "a reader ended");
    }
}

/// Which sources are read.
struct Plan {
    journald: bool,
    files: Vec<std::path::PathBuf>,
    /// Files left out because the journal has the same lines.
    left_out: usize,
}

impl Plan {
    fn new(sources: &Sources) -> Self {
        let journald = match sources.journald {
            Journald::On => true,
            Journald::Off => false,
            Journald::Auto => sources.journal_paths.iter().any(|folder| has_journal(folder)),
        };
        let (left_out, files): (Vec<_>, Vec<_>) =
            sources.files.iter().partition(|file| journald && file.journal_copy);
        Self {
            journald,
            files: files.into_iter().map(|file| file.path.clone()).collect(),
            left_out: left_out.len(),
        }
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

fn first_status(name: &str) -> SourceStatus {
    SourceStatus { name: name.to_owned(), state: "starting".into(), healthy: true, behind: 0 }
}
