//! A backend for who has none: where none could be opened, guard goes on watching and tries again.

use std::time::Instant;

use serde_json::json;
use tracing::{debug, info};

use crate::causes::chain;
use crate::enforce::{self, Backend};

use super::again::Again;
use super::control::Control;
use super::restore::Restore;

impl Control {
    /// Opens a backend if there should be one and is none. Not after `guardctl unlock`, which a person has to end.
    pub(super) fn keep_enforcement(&mut self, now: Instant) {
        let is_missing = self.enforcer.backend() == Backend::Observe
            && enforce::is_wanted(&self.config, self.forced_observe)
            && !self.problems.has("unlocked");
        if !is_missing {
            self.enforcement = None;
            return;
        }
        let mut again = self.enforcement.take().unwrap_or_else(|| {
            let mut again = Again::new(now);
            again.ended(now);
            again
        });
        if again.is_due(now) && !self.enforce_again() {
            let pause = again.ended(Instant::now());
            debug!(?pause, "nothing is enforced yet");
        }
        self.enforcement = Some(again);
    }

    /// Opens the backend that the configuration asks for and gives it what the table holds; whether there is one.
    fn enforce_again(&mut self) -> bool {
        let (enforcer, problems) = match enforce::select(&self.config, self.forced_observe) {
            Ok(selected) => selected,
            Err(cause) => {
                self.problems.set("backend", format!("nothing is enforced: {}", chain(&cause)));
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
}
