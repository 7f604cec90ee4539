//! Names that are allowed: the keeper's thread asks for their addresses, the judge takes them over.

use std::sync::mpsc::SyncSender;

use tracing::error;

use crate::api::AllowedName;
use crate::config::units::show_duration;
use crate::metrics::NameCount;
use crate::protect::NameState;
use crate::protect::names::{Answer, Keeper, Pace, Wanted};
use crate::target::HostName;
use crate::time::{Clock, Moment};

use super::control::{Control, Input};

/// The keeper, and what it was last told to keep.
pub(super) struct Names {
    inputs: SyncSender<Input>,
    keeper: Option<Keeper>,
    wanted: Wanted,
}

impl Names {
    pub(super) fn new(inputs: SyncSender<Input>) -> Self {
        Self { inputs, keeper: None, wanted: Wanted::default() }
    }

    /// Starts the thread with the first name.
    fn keep(&mut self, wanted: &Wanted) -> std::io::Result<()> {
        let keeper = if let Some(keeper) = &self.keeper {
            keeper
        } else {
            let inputs = self.inputs.clone();
            let tell = move |name, answer| inputs.send(Input::Resolved(name, answer)).is_ok();
            self.keeper.insert(Keeper::start(tell)?)
        };
        keeper.keep(wanted.clone());
        Ok(())
    }
}

impl Control {
    /// Has those names kept current that are allowed.
    pub(super) fn keep_names(&mut self) {
        let allow = &self.config.allow;
        let wanted = Wanted {
            names: self.judge.protection().names(Moment::now()),
            pace: Pace { least: allow.name_refresh_least, most: allow.name_refresh_most },
            servers: allow.name_servers.clone(),
        };
        if wanted == self.names.wanted || wanted.names.is_empty() && self.names.keeper.is_none() {
            return;
        }
        match self.names.keep(&wanted) {
            Ok(()) => {
                self.problems.clear("names");
                self.names.wanted = wanted;
            }
            Err(cause) => {
                error!(error = %cause, "names are not resolved");
                let text =
                    format!("names are not resolved: {cause}; the addresses that are known stay allowed");
                self.problems.set("names", text);
            }
        }
    }

    /// Takes what was said of a name.
    pub(super) fn hear_of_name(&mut self, name: &HostName, answer: &Answer) {
        self.judge.resolved(name, answer, Clock::now());
        self.flush();
    }

    fn name_states(&self) -> Vec<NameState> {
        self.judge.protection().name_states(Moment::now())
    }

    /// How the names are.
    pub(super) fn name_views(&self) -> Vec<AllowedName> {
        let now = Moment::now();
        let view = |state: NameState| AllowedName {
            because: state.because,
            seconds_left: state.until.map(|until| until.since(now).as_secs()),
            answered_seconds: state.answered.map(|at| now.since(at).as_secs()),
            believed_seconds: first_end(&state.addresses).map(|end| end.since(now).as_secs()),
            addresses: state.addresses.into_iter().map(|(address, _)| address).collect(),
            name: state.name,
            failure: state.failure,
            failures: state.failures,
            refused: state.refused,
        };
        self.name_states().into_iter().map(view).collect()
    }

    /// What is wrong with names, and what holds meanwhile.
    pub(super) fn name_problems(&self) -> Vec<String> {
        let now = Moment::now();
        self.name_states().iter().flat_map(|state| problems(state, now)).collect()
    }

    /// Names by how they are, for the metrics.
    pub(super) fn name_count(&self) -> NameCount {
        let failures = self.judge.protection().name_failures();
        let mut count = NameCount { failures, ..NameCount::default() };
        for state in self.name_states() {
            match (state.addresses.is_empty(), &state.failure, state.answered) {
                (true, ..) => count.unknown += 1,
                (false, None, Some(_)) => count.current += 1,
                (false, ..) => count.kept += 1,
            }
        }
        count
    }
}

fn first_end(addresses: &[(std::net::IpAddr, Moment)]) -> Option<Moment> {
    addresses.iter().map(|(_, end)| *end).min()
}

fn problems(state: &NameState, now: Moment) -> Vec<String> {
    let name = &state.name;
    let mut problems = Vec::new();
    if let Some(failure) = &state.failure {
        let holds = match first_end(&state.addresses) {
            Some(end) => {
                let addresses: Vec<String> =
                    state.addresses.iter().map(|(address, _)| address.to_string()).collect();
                let left = show_duration(std::time::Duration::from_secs(end.since(now).as_secs()));
                format!("{} stay allowed for another {left} at least", addresses.join(", "))
            }
            None => "nothing is allowed by it".to_owned(),
        };
        problems
            .push(format!("the name {name} cannot be resolved: {failure}; {holds}, and guard tries again"));
    }
    if !state.refused.is_empty() {
        let refused: Vec<String> = state.refused.iter().map(ToString::to_string).collect();
        problems.push(format!(
            "the name {name} claims {}, which nobody may allow; its other addresses are allowed",
            refused.join(", ")
        ));
    }
    if state.is_cut {
        problems.push(format!(
            "the name {name} has more than {} addresses; the others are not allowed",
            state.addresses.len()
        ));
    }
    problems
}
