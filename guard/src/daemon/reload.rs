//! Reload: a new configuration takes effect as a difference; a wrong one changes nothing.

use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use serde_json::json;
use tracing::{error, info, warn};

use crate::causes::chain;
use crate::config::{self, Config};
use crate::enforce;
use crate::scan::FilterSet;
use crate::target::Target;
use crate::time::Clock;

use super::control::{Control, Input};
use super::enforcement::Search;
use super::rules::Prepared;

/// How long readers may take to end.
const PATIENCE: Duration = Duration::from_secs(3);

impl Control {
    /// Reads the configuration again. Answers what changed, and what takes effect at the next start only; or why
    /// everything stays as it was.
    pub(super) fn reload(&mut self) -> Result<(Vec<String>, Vec<String>), String> {
        match self.try_reload() {
            Ok((changes, at_restart)) => {
                self.problems.clear("configuration");
                info!(?changes, ?at_restart, "configuration reloaded");
                crate::memory::give_back();
                self.event("reload", None, &json!({ "changes": changes, "at_restart": at_restart }));
                Ok((changes, at_restart))
            }
            Err(message) => {
                error!(error = message, "the new configuration is wrong; the old one stays in force");
                self.problems
                    .set("configuration", format!("{message}; the old configuration stays in force"));
                self.event("reload", None, &json!({ "error": message }));
                Err(format!("{message}; the old configuration stays in force"))
            }
        }
    }

    fn try_reload(&mut self) -> Result<(Vec<String>, Vec<String>), String> {
        let new = config::load(&self.config_path).map_err(|cause| chain(&cause))?;
        let filters = FilterSet::load(&new.filter).map_err(|cause| chain(&cause))?.without_services();
        let rules = Prepared::load(&new, &filters).map_err(|cause| chain(&cause))?;
        let mut changes = Config::diff(&self.config, &new);
        changes.extend(self.judge.rules().diff(&rules.rules));
        let at_restart = Config::diff_at_restart(&self.config, &new);
        // What only a start can change stays as it is, so that status and behaviour agree.
        let new = new.reloaded_over(&self.config);
        let reread = new.source != self.config.source
            || new.filter != self.config.filter
            || filters.fingerprint() != self.filters.fingerprint();
        changes.extend(self.filters.differences(&filters));
        self.judge.configure(&new, Clock::now());
        self.writer.forgive_after(new.decide.forgive_after);
        self.use_rules(rules);
        let feeds = new.feed != self.config.feed;
        self.config = new;
        if feeds {
            self.configure_feeds();
        }
        self.keep_names();
        if reread {
            self.exchange_readers(Arc::new(filters));
        }
        if self.problems.clear("unlocked") {
            self.lock_again();
            changes.push("enforcing again after `guardctl unlock`".into());
        }
        let lifted = self.judge.sync_allowed(Clock::now());
        changes.extend(told_of_lifted(&lifted));
        if self.judge.is_lifting() {
            changes.push("the other bans of what is allowed now are being lifted".into());
        }
        self.apply();
        for ended in self.config.allow.ended(Clock::now().wall) {
            warn!("{ended}");
        }
        Ok((changes, at_restart))
    }

    /// Stops the readers, decides what they still deliver, and starts new ones where those ended.
    pub(super) fn exchange_readers(&mut self, filters: Arc<FilterSet>) {
        self.drain_readers();
        // Numbers of filters and patterns belong to a set.
        self.sightings.leave(&self.filters);
        self.judge.set_filters(Arc::clone(&filters));
        self.filters = filters;
        self.sources.clear();
        self.start_readers();
    }

    /// Stops the readers and decides what they still deliver. A reader that hangs in its file system is left behind: it
    /// ends when it wakes, and what it still delivers is of a source that nobody knows any more.
    pub(super) fn drain_readers(&mut self) {
        self.readers.stop();
        let deadline = Instant::now() + PATIENCE;
        while !self.readers.ended() {
            self.beat();
            if Instant::now() >= deadline {
                error!("a reader does not end and is left behind");
                break;
            }
            match self.inputs.recv_timeout(Duration::from_millis(5)) {
                Ok(input @ Input::Delivery(_)) => self.take(input),
                Ok(other) => self.deferred.push_back(other),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        while let Ok(input) = self.inputs.try_recv() {
            match input {
                input @ Input::Delivery(_) => self.take(input),
                other => self.deferred.push_back(other),
            }
        }
        self.readers.clear();
    }

    /// Starts the readers; what cannot be read is tried again.
    pub(super) fn start_readers(&mut self) {
        let news = self.readers.start(&self.config, &self.filters);
        self.hear(news);
    }

    /// Enforces again after `guardctl unlock`. A backend that is being opened is taken once it is.
    fn lock_again(&mut self) {
        if self.search.as_ref().is_some_and(Search::is_opening) {
            return;
        }
        match enforce::select(&self.config, self.forced_observe) {
            Ok((enforcer, problems)) => {
                self.enforcer = enforcer;
                self.problems.replace("backend", problems);
                self.refill();
            }
            Err(cause) => self.problems.set("unlocked", format!("nothing is enforced: {}", chain(&cause))),
        }
    }
}

/// Bans lifted one by one in the answer.
const SHOWN: usize = 5;

/// What people are told of the bans that a new allowlist has lifted.
fn told_of_lifted(lifted: &[Target]) -> Option<String> {
    let shown = lifted.iter().take(SHOWN).map(Target::to_string).collect::<Vec<_>>().join(", ");
    match lifted.len() {
        0 => None,
        1 => Some(format!("the ban of {shown} is lifted: it is allowed now")),
        n if n <= SHOWN => Some(format!("the bans of {shown} are lifted: they are allowed now")),
        n => Some(format!("{n} bans are lifted, of {shown} …: they are allowed now")),
    }
}
