//! A backend for who has none: where none could be opened, guard goes on watching and tries again.

use std::time::Instant;

use serde_json::json;
use tracing::{debug, error, info};

use crate::causes::chain;
use crate::enforce::{self, Backend, Enforcer};

use super::again::Again;
use super::aside::Aside;
use super::control::Control;
use super::restore::Restore;

/// A backend and what is not as it should be, or why there is none.
type Opened = Result<(Box<dyn Enforcer>, Vec<String>), String>;

/// Looks for a backend: opens one in a thread of its own, because to load and verify programs takes long, and does so
/// again where that failed.
#[derive(Debug)]
pub(super) struct Search {
    again: Again,
    opening: Aside<Opened>,
}

impl Search {
    /// None could be opened.
    fn new(now: Instant) -> Self {
        let mut again = Again::new(now);
        again.ended(now);
        Self { again, opening: Aside::new() }
    }

    /// Whether one is being opened, or is and has not been taken.
    pub(super) const fn is_opening(&self) -> bool {
        self.opening.is_busy()
    }

    fn is_due(&self, now: Instant) -> bool {
        !self.is_opening() && self.again.is_due(now)
    }

    fn begin(&mut self, open: impl FnOnce() -> Opened + Send + 'static) -> Result<(), String> {
        let began = self.opening.begin("enforcement", open);
        began.map_err(|cause| format!("a thread could not be started: {cause}"))
    }

    /// What came of it, once.
    fn opened(&mut self) -> Option<Opened> {
        let panicked = |_| Err("the thread that opens a backend has failed".to_owned());
        Some(self.opening.done()?.unwrap_or_else(panicked))
    }

    /// It was in vain: the next is due after a pause.
    fn failed(&mut self, now: Instant) {
        let pause = self.again.ended(now);
        debug!(?pause, "nothing is enforced yet");
    }
}

impl Control {
    /// Has a backend opened if there should be one and is none. Not after `guardctl unlock`, which a person has to end.
    pub(super) fn keep_enforcement(&mut self, now: Instant) {
        let is_missing = self.enforcer.backend() == Backend::Observe
            && enforce::is_wanted(&self.config, self.forced_observe)
            && !self.problems.has("unlocked");
        let is_opening = self.search.as_ref().is_some_and(Search::is_opening);
        if !is_missing && !is_opening {
            self.search = None;
            return;
        }
        let mut search = self.search.take().unwrap_or_else(|| Search::new(now));
        if search.is_due(now) {
            let (config, observe) = (self.config.clone(), self.forced_observe);
            let began =
                search.begin(move || enforce::select(&config, observe).map_err(|cause| chain(&cause)));
            if let Err(cause) = began {
                self.no_backend(&cause);
                search.failed(now);
            }
        }
        match search.opened() {
            Some(Ok((enforcer, _))) if !is_missing => leave(enforcer),
            Some(opened) => {
                let is_there = self.take_backend(opened);
                if !is_there {
                    search.failed(now);
                }
            }
            None => {}
        }
        self.search = Some(search);
    }

    /// Gives a backend that has been opened what the table holds; whether there is one.
    fn take_backend(&mut self, opened: Opened) -> bool {
        let (enforcer, problems) = match opened {
            Ok(opened) => opened,
            Err(cause) => {
                self.no_backend(&cause);
                return false;
            }
        };
        self.problems.replace("backend", problems);
        let backend = enforcer.backend();
        if backend == Backend::Observe {
            return false;
        }
        info!(backend = backend.name(), "enforcing from now on");
        self.enforcer = enforcer;
        self.event("enforce", None, &json!({ "backend": backend.name() }));
        // Until a restore has been through with the kernel, it adopts what an earlier run has left there.
        if let Restore::Adopting { adopted } | Restore::Settling { adopted } = self.restore {
            self.restore = Restore::Adopting { adopted };
        }
        self.refill();
        true
    }

    fn no_backend(&mut self, cause: &str) {
        self.problems.set("backend", format!("nothing is enforced: {cause}; guard tries again"));
    }
}

/// A backend that was opened while a person ended enforcement holds nothing more in the kernel than before.
fn leave(mut enforcer: Box<dyn Enforcer>) {
    if let Err(cause) = enforcer.remove() {
        error!(error = %chain(&cause), "not everything could be removed; try `guardctl unlock --offline`");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::enforce::Observe;

    #[test]
    fn nobody_waits_while_a_backend_is_opened_and_one_is_opened_at_a_time() {
        let start = Instant::now();
        let mut search = Search::new(start);
        assert!(!search.is_due(start), "there is a pause first");
        let later = start + Duration::from_secs(3600);
        for outcome in [Err("it cannot be".to_owned()), Ok(())] {
            assert!(search.is_due(later));
            let (go, gate) = channel::<Result<(), String>>();
            let open = move || gate.recv().unwrap().map(|()| (Box::new(Observe::new("")) as _, Vec::new()));
            search.begin(open).unwrap();
            assert!((0..1000).all(|_| search.opened().is_none()) && search.is_opening());
            assert!(!search.is_due(later));
            go.send(outcome.clone()).unwrap();
            let until = Instant::now() + Duration::from_secs(10);
            let opened = loop {
                if let Some(opened) = search.opened() {
                    break opened;
                }
                assert!(Instant::now() < until);
                thread::sleep(Duration::from_millis(1));
            };
            assert_eq!(opened.map(drop), outcome);
            assert!(!search.is_opening());
        }
        search.failed(later);
        assert!(!search.is_due(later));
    }
}
