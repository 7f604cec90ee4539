//! Answers to what is asked over the control socket.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::json;
use tracing::{info, warn};

use crate::api::server::Asked;
use crate::api::{AllowList, Allowed, Answer, Caller, Check, ErrorClass, Request, Status, TargetResult};
use crate::causes::chain;
use crate::enforce::{Backend, Change, Counters, EnforcerStatus};
use crate::judge::{Asker, Said};
use crate::store::EventQuery;
use crate::target::{Allowable, Target};
use crate::time::{Clock, Moment};

use super::control::Control;
use super::restore::Restore;
use super::views;

/// Events in one answer.
const EVENTS: usize = 10_000;

impl Control {
    /// Answers one request. What changes the kernel is applied before the answer is given.
    pub(super) fn answer(&mut self, asked: Asked) {
        let Asked { caller, request, reply } = asked;
        if request.is_change() {
            info!(uid = caller.uid, pid = caller.pid, request = request.brief(), "asked");
            crate::memory::give_back();
        }
        let durable = request.is_change();
        // Questions that need the store are answered from its thread, so that a slow disk holds nothing up.
        let answer = match request {
            Request::Status {} => Answer::Status(Box::new(self.status())),
            Request::Ban { targets, seconds, reason, from, force } => {
                let from = from.into_iter().chain(crate::protect::caller_peer(caller.pid)).collect();
                let asker = Asker { uid: caller.uid, from, force };
                Answer::Targets(self.ban(&targets, seconds, reason.as_deref(), &asker))
            }
            Request::Unban { targets } => Answer::Targets(self.unban(&targets, caller)),
            Request::Forget { targets } => Answer::Targets(self.forget(&targets, caller)),
            Request::UnbanAll {} => Answer::Lifted(self.unban_all(caller)),
            Request::List { query, after, limit } => return self.list(query, after, limit, reply),
            Request::Check { address } => self.check(address),
            Request::Why { target } => return self.why(target, reply),
            Request::Events { query } => {
                let query = EventQuery { limit: query.limit.min(EVENTS), ..query };
                self.writer.events(query, move |events| {
                    let _ = reply.send(views::with_events(events, Answer::Events));
                });
                return;
            }
            Request::AllowAdd { targets, seconds, comment } => {
                Answer::Targets(self.allow(&targets, seconds, comment.as_deref().unwrap_or_default(), caller))
            }
            Request::AllowRemove { targets } => Answer::Targets(self.disallow(&targets, caller)),
            Request::AllowList {} => Answer::Allowed(self.allow_list()),
            Request::Feeds {} => Answer::Feeds(self.feed_views()),
            Request::FeedRefresh { name } => return self.refresh_feed(name, reply),
            Request::FeedAccept { name } => return self.accept_feed(name, reply),
            Request::Reload {} => match self.reload() {
                Ok((changes, at_restart)) => Answer::Reloaded { changes, at_restart },
                Err(message) => Answer::Error { class: ErrorClass::Failed, message },
            },
            Request::Unlock {} => self.unlock(caller),
        };
        if durable {
            // The store's thread answers once it has tried to write what was changed.
            self.writer.after_writes(move || drop(reply.send(answer)));
        } else {
            let _ = reply.send(answer);
        }
    }

    fn status(&mut self) -> Status {
        let mut sources: Vec<_> = self.shown_sources().cloned().collect();
        sources.sort_by(|a, b| a.name.cmp(&b.name));
        let enforcer = self.enforcer.status();
        let mut problems = self.all_problems(&enforcer);
        let counters = self.enforcer.counters().unwrap_or_else(|cause| {
            problems.push(format!("the kernel's counters cannot be read: {}", chain(&cause)));
            Counters::default()
        });
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            uptime_seconds: Moment::now().since(self.started).as_secs(),
            observe: self.enforcer.backend() == Backend::Observe,
            problems,
            sources,
            lines: self.count.read.values().map(|read| read.lines).sum(),
            matched: self.count.read.values().map(|read| read.matched).sum(),
            tracked: self.judge.engine().tracked(),
            bans: self.judge.bans().len() as u64,
            enforcer,
            counters,
            drift: self.count.drift,
            restored: self.restore == Restore::Done,
            resident_bytes: crate::metrics::Process::read().resident_bytes,
        }
    }

    /// Everything that needs attention, with what guard does about it.
    pub(super) fn all_problems(&self, enforcer: &EnforcerStatus) -> Vec<String> {
        let mut problems = self.problems.list();
        problems.extend(self.judge.protection().unknown());
        problems.extend(self.judge.protection().unheld(Moment::now()));
        problems.extend(self.config.allow.ended(Clock::now().wall));
        problems.extend(self.name_problems());
        let unhealthy = self.shown_sources().filter(|source| !source.healthy);
        problems.extend(unhealthy.map(|source| format!("{}: {}", source.name, source.state)));
        let store = self.writer.status();
        problems.extend(store.problem.into_iter().chain(store.notes));
        let open = enforcer.interfaces.iter().filter(|interface| interface.mode == "none");
        problems
            .extend(open.map(|interface| format!("{} is not covered: {}", interface.name, interface.reason)));
        if enforcer.backend == Backend::Xdp.name() && enforcer.interfaces.is_empty() {
            problems
                .push("nothing is dropped: there is no interface that carries traffic from outside".into());
        }
        problems.sort();
        problems.dedup();
        problems
    }

    fn ban(
        &mut self,
        targets: &[Target],
        seconds: Option<u64>,
        reason: Option<&str>,
        asker: &Asker,
    ) -> Vec<TargetResult> {
        let clock = Clock::now();
        let length = seconds.map(Duration::from_secs);
        let ban = |&target| result(target, self.judge.ban(target, length, reason, asker, clock));
        let mut results: Vec<_> = targets.iter().map(ban).collect();
        if !self.flush() {
            for result in results.iter_mut().filter(|result| result.done) {
                result
                    .message
                    .push_str("; the kernel has not taken it yet, guard repeats it (see `guardctl status`)");
            }
        }
        results
    }

    fn unban(&mut self, targets: &[Target], caller: Caller) -> Vec<TargetResult> {
        let clock = Clock::now();
        let said = self.judge.unban_each(targets, caller.uid, clock);
        self.flush();
        results(targets, said)
    }

    fn forget(&mut self, targets: &[Target], caller: Caller) -> Vec<TargetResult> {
        let clock = Clock::now();
        let said = self.judge.forget(targets, caller.uid, clock);
        self.flush();
        results(targets, said)
    }

    fn unban_all(&mut self, caller: Caller) -> u64 {
        let lifted = self.judge.unban_all(caller.uid, Clock::now());
        self.flush();
        lifted
    }

    fn check(&mut self, address: IpAddr) -> Answer {
        let address = crate::target::canonical(address);
        let clock = Clock::now();
        let verdict = match self.enforcer.check(address, clock.moment) {
            Ok(verdict) => verdict,
            Err(cause) => return Answer::Error { class: ErrorClass::Failed, message: chain(&cause) },
        };
        let status = self.enforcer.status();
        Answer::Check(Box::new(Check {
            address,
            verdict,
            bans: self.judge.bans().covering(address).map(|ban| views::view(ban, clock)).collect(),
            protected_by: self.judge.protection().refusal(Target::host(address), clock.moment),
            backend: status.backend,
            interfaces: status
                .interfaces
                .iter()
                .filter(|interface| interface.mode != "none")
                .map(|interface| format!("{} ({})", interface.name, interface.mode))
                .collect(),
        }))
    }

    fn allow(
        &mut self,
        wanted: &[Allowable],
        seconds: Option<u64>,
        comment: &str,
        caller: Caller,
    ) -> Vec<TargetResult> {
        let (length, clock) = (seconds.map(Duration::from_secs), Clock::now());
        let is_target =
            |one: &Allowable| if let Allowable::Target(target) = one { Some(*target) } else { None };
        let targets: Vec<Target> = wanted.iter().filter_map(is_target).collect();
        let mut said = self.judge.allow(&targets, length, comment, caller.uid, clock).into_iter();
        let mut allow = |one: &Allowable| match one {
            Allowable::Target(_) => said.next().unwrap_or_else(|| Ok("allowed".into())),
            Allowable::Name(name) => self.judge.allow_name(name, length, comment, caller.uid, clock),
        };
        let results = wanted.iter().map(|one| result(one.clone(), allow(one))).collect();
        self.keep_names();
        self.flush();
        results
    }

    fn disallow(&mut self, wanted: &[Allowable], caller: Caller) -> Vec<TargetResult> {
        let clock = Clock::now();
        let mut disallow = |one: &Allowable| match one {
            Allowable::Target(target) => self.judge.disallow(*target, caller.uid, clock),
            Allowable::Name(name) => self.judge.disallow_name(name, caller.uid, clock),
        };
        let results = wanted.iter().map(|one| result(one.clone(), disallow(one))).collect();
        self.judge.sync_allowed(clock);
        self.keep_names();
        self.flush();
        results
    }

    fn allow_list(&self) -> AllowList {
        let allowed = self.judge.protection().allowed(Moment::now()).into_iter();
        let targets =
            allowed.map(|(target, because, seconds_left)| Allowed { target, because, seconds_left });
        AllowList { targets: targets.collect(), names: self.name_views() }
    }

    /// Takes everything out of the kernel and stops enforcing, whatever it takes.
    fn unlock(&mut self, caller: Caller) -> Answer {
        let lifted = self.unban_all(caller);
        let removed = self.enforcer.remove();
        warn!(uid = caller.uid, lifted, "unlocked: nothing is enforced until the next reload or start");
        self.event("unlock", None, &json!({ "uid": caller.uid, "lifted": lifted }));
        self.enforcer = Box::new(crate::enforce::Observe::new("unlocked by hand"));
        self.problems.set(
            "unlocked",
            "unlocked by hand: nothing is enforced until `guardctl reload` or the next start".into(),
        );
        self.flush();
        match removed {
            Ok(()) => Answer::Lifted(lifted),
            Err(cause) => Answer::Error {
                class: ErrorClass::Failed,
                message: format!(
                    "not everything could be removed: {}; try `guardctl unlock --offline`",
                    chain(&cause)
                ),
            },
        }
    }

    /// Puts every ban and allowance of the table into a fresh enforcer.
    pub(super) fn refill(&mut self) {
        let allowed: Vec<_> =
            self.judge.desired(Moment::now()).allowed.iter().copied().map(Change::Allow).collect();
        self.judge.outcome().changes = allowed;
        self.flush();
        self.reconcile();
    }
}

fn results(targets: &[Target], said: Vec<Said>) -> Vec<TargetResult> {
    targets.iter().zip(said).map(|(&target, said)| result(target, said)).collect()
}

fn result(target: impl Into<Allowable>, said: Said) -> TargetResult {
    let done = said.is_ok();
    let (Ok(message) | Err(message)) = said;
    TargetResult { target: target.into(), done, message }
}
