//! Answers to what is asked over the control socket.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::json;
use tracing::{info, warn};

use crate::api::server::Asked;
use crate::api::{
    Allowed, Answer, BanView, Caller, Check, ErrorClass, Request, Status, TargetResult, Why, WhyLine,
};
use crate::ban::{Ban, Origin};
use crate::encode::{EVIDENCE, printable};
use crate::enforce::{Backend, Change, Counters, EnforcerStatus};
use crate::sighting::Points;
use crate::store::Write;
use crate::target::Target;
use crate::time::{Clock, Moment};

use super::control::{Control, chain};
use super::restore::Restore;
use super::views;

/// Bans in one page of a list.
const PAGE: usize = 10_000;
/// Events in one answer.
const EVENTS: usize = 10_000;
/// Characters of a person's reason that are kept.
const REASON: usize = 200;

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
            Request::Ban { targets, seconds, reason, from } => {
                Answer::Targets(self.ban(&targets, seconds, reason.as_deref(), (caller, from)))
            }
            Request::Unban { targets } => Answer::Targets(self.unban(&targets, caller)),
            Request::UnbanAll {} => Answer::Lifted(self.unban_all(caller)),
            Request::List { after, limit } => Answer::Bans(self.list(after, limit)),
            Request::Check { address } => self.check(address),
            Request::Why { target } => {
                let why = self.why(target);
                self.writer.events(Some(target), 50, move |events| {
                    let answer =
                        views::with_events(events, |events| Answer::Why(Box::new(Why { events, ..why })));
                    // The asker may have gone.
                    let _ = reply.send(answer);
                });
                return;
            }
            Request::Events { limit } => {
                self.writer.events(None, limit.min(EVENTS), move |events| {
                    let _ = reply.send(views::with_events(events, Answer::Events));
                });
                return;
            }
            Request::AllowAdd { targets, seconds, comment } => {
                Answer::Targets(self.allow(&targets, seconds, comment.as_deref().unwrap_or_default(), caller))
            }
            Request::AllowRemove { targets } => Answer::Targets(self.disallow(&targets, caller)),
            Request::AllowList {} => Answer::Allowed(self.allow_list()),
            Request::Reload {} => match self.reload() {
                Ok((changes, at_restart)) => Answer::Reloaded { changes, at_restart },
                Err(message) => Answer::Error { class: ErrorClass::Failed, message },
            },
            Request::Unlock {} => self.unlock(caller),
        };
        if durable {
            // The store's thread answers once it has tried to write what was changed.
            self.writer.events(None, 0, move |_| drop(reply.send(answer)));
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
            tracked: self.engine.tracked(),
            bans: self.bans.len() as u64,
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
        problems.extend(self.protection.unknown());
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
        (caller, from): (Caller, Option<IpAddr>),
    ) -> Vec<TargetResult> {
        let clock = Clock::now();
        let own = [from, crate::protect::caller_peer(caller.pid)];
        let mut results = Vec::with_capacity(targets.len());
        for &target in targets {
            let result = if let Some(because) = self.manual_refusal(target, own, clock.moment) {
                self.count.refused += 1;
                self.event("refuse", Some(target), &json!({ "uid": caller.uid, "because": because }));
                refused(target, format!("not banned: {because}"))
            } else {
                done(target, self.ban_by_hand(target, seconds, reason, caller, clock))
            };
            results.push(result);
        }
        if !self.flush() {
            for result in results.iter_mut().filter(|result| result.done) {
                result
                    .message
                    .push_str("; the kernel has not taken it yet, guard repeats it (see `guardctl status`)");
            }
        }
        results
    }

    /// What forbids a person's ban: the protections, and the asker's own session.
    fn manual_refusal(&self, target: Target, own: [Option<IpAddr>; 2], now: Moment) -> Option<String> {
        if let Some(own) = own.into_iter().flatten().find(|own| target.covers(*own)) {
            return Some(format!("{own} is where your own session comes from"));
        }
        self.protection.refusal(target, now)
    }

    fn ban_by_hand(
        &mut self,
        target: Target,
        seconds: Option<u64>,
        reason: Option<&str>,
        caller: Caller,
        clock: Clock,
    ) -> String {
        let length = match seconds {
            Some(0) => None,
            Some(seconds) => Some(Duration::from_secs(seconds)),
            None => self.config.decide.ladder.first().copied().flatten(),
        };
        let strike = self.engine.strikes(target, clock.moment) + 1;
        let ban = Ban {
            id: self.bans.next_id(),
            target,
            since: clock.moment,
            until: length.map(|length| clock.moment + length),
            origin: Origin::Manual(caller.uid),
            score: Points(0),
            strike,
            reason: printable(reason.unwrap_or("by hand").as_bytes(), REASON).into(),
        };
        *self.count.bans_by_rule.entry("manual".into()).or_default() += 1;
        self.engine.banned(target, ban.until);
        let (reason, asked) = (ban.reason.clone(), ban.until);
        self.insert(ban, clock);
        // The table keeps the later of two ends.
        let held = self.bans.get(target).map_or(asked, |ban| ban.until);
        self.event(
            "ban",
            Some(target),
            &json!({ "uid": caller.uid, "reason": reason, "until": views::until(held, clock) }),
        );
        match (held, held == asked) {
            (None, true) => "banned for good".into(),
            (None, false) => "is banned for good already".into(),
            (Some(until), true) => format!("banned until {}", clock.wall_of(until)),
            (Some(until), false) => format!("is banned for longer already, until {}", clock.wall_of(until)),
        }
    }

    fn unban(&mut self, targets: &[Target], caller: Caller) -> Vec<TargetResult> {
        if self.restore != Restore::Done {
            for &target in targets {
                self.lifted.add(target);
                self.writes.push(Write::Unban(target));
            }
        }
        let results: Vec<_> = targets
            .iter()
            .map(|&target| match self.lift(target) {
                Some(_) => {
                    self.engine.forgive(target);
                    self.event("unban", Some(target), &json!({ "uid": caller.uid }));
                    done(target, "unbanned".into())
                }
                None => match self.bans.covering(target.address()).next() {
                    Some(wider) => refused(
                        target,
                        format!(
                            "has no ban of its own, but {} covers it: guardctl unban {}",
                            wider.target, wider.target
                        ),
                    ),
                    None => refused(target, "is not banned".into()),
                },
            })
            .collect();
        self.flush();
        results
    }

    fn unban_all(&mut self, caller: Caller) -> u64 {
        if self.restore != Restore::Done {
            self.lifted.add_all();
        }
        let targets: Vec<Target> = self.bans.iter().map(|ban| ban.target).collect();
        for &target in &targets {
            self.lift(target);
            self.engine.forgive(target);
        }
        self.event("unban", None, &json!({ "uid": caller.uid, "all": targets.len() }));
        self.flush();
        targets.len() as u64
    }

    fn list(&self, after: Option<Target>, limit: usize) -> Vec<BanView> {
        let clock = Clock::now();
        self.bans.page(after, limit.min(PAGE)).into_iter().map(|ban| views::view(ban, clock)).collect()
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
            bans: self.bans.covering(address).map(|ban| views::view(ban, clock)).collect(),
            protected_by: self.protection.refusal(Target::host(address), clock.moment),
            backend: status.backend,
            interfaces: status
                .interfaces
                .iter()
                .filter(|interface| interface.mode != "none")
                .map(|interface| format!("{} ({})", interface.name, interface.mode))
                .collect(),
        }))
    }

    fn why(&self, target: Target) -> Why {
        let clock = Clock::now();
        let address = target.address();
        let lines = if target.is_host() {
            self.engine
                .evidence(address)
                .iter()
                .map(|e| WhyLine {
                    at: clock.wall_of(e.at).to_string(),
                    filter: self.filters.filter_name(e.pattern.filter).to_owned(),
                    kind: e.kind.name().to_owned(),
                    points: views::points(e.points),
                    line: printable(&e.line, EVIDENCE),
                })
                .collect()
        } else {
            Vec::new()
        };
        let bans: Vec<BanView> = self.bans.covering(address).map(|ban| views::view(ban, clock)).collect();
        Why {
            target,
            score: views::points(self.engine.score(address, clock.moment)),
            threshold: views::points(self.config.decide.threshold),
            lines,
            strikes: self.engine.strikes(target, clock.moment),
            protected_by: self.protection.refusal(target, clock.moment),
            events: Vec::new(),
            undo: bans.first().map_or_else(String::new, |ban| format!("guardctl unban {}", ban.target)),
            bans,
        }
    }

    fn allow(
        &mut self,
        targets: &[Target],
        seconds: Option<u64>,
        comment: &str,
        caller: Caller,
    ) -> Vec<TargetResult> {
        let clock = Clock::now();
        let comment = printable(comment.as_bytes(), REASON);
        // Wall-clock time, because it is kept over reboots.
        let until =
            seconds.filter(|seconds| *seconds > 0).map(|seconds| clock.moment + Duration::from_secs(seconds));
        for &target in targets {
            self.protection.allow_runtime(target, until, &comment);
            self.writes.push(Write::Allow {
                target,
                until: until.map(|until| clock.wall_of(until)),
                comment: comment.clone(),
            });
            self.event(
                "allow",
                Some(target),
                &json!({ "uid": caller.uid, "seconds": seconds, "comment": comment }),
            );
        }
        let lifted = self.sync_allowed();
        self.flush();
        let message = |target: Target| {
            let lifted: Vec<String> =
                lifted.iter().filter(|ban| ban.overlaps(target)).map(Target::to_string).collect();
            match lifted.len() {
                0 => "allowed".to_owned(),
                1..=3 => format!("allowed; lifted the ban of {}", lifted.join(", ")),
                more => format!("allowed; lifted {more} bans"),
            }
        };
        targets.iter().map(|&target| done(target, message(target))).collect()
    }

    fn disallow(&mut self, targets: &[Target], caller: Caller) -> Vec<TargetResult> {
        let results = targets
            .iter()
            .map(|&target| {
                if !self.protection.disallow_runtime(target) {
                    let because = self.protection.refusal(target, Moment::now());
                    let message = because.map_or_else(
                        || "was not allowed at run time".to_owned(),
                        |because| format!("was not allowed at run time; it is protected because {because}"),
                    );
                    return refused(target, message);
                }
                self.writes.push(Write::Disallow(target));
                self.event("disallow", Some(target), &json!({ "uid": caller.uid }));
                done(target, "no longer allowed".into())
            })
            .collect();
        self.sync_allowed();
        self.flush();
        results
    }

    fn allow_list(&self) -> Vec<Allowed> {
        self.protection
            .allowed(Moment::now())
            .into_iter()
            .map(|(target, because, seconds_left)| Allowed { target, because, seconds_left })
            .collect()
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
        self.pending.clear();
        self.pending.extend(self.allowed.iter().copied().map(Change::Allow));
        self.flush();
        self.reconcile();
    }
}

fn done(target: Target, message: String) -> TargetResult {
    TargetResult { target, done: true, message }
}

fn refused(target: Target, message: String) -> TargetResult {
    TargetResult { target, done: false, message }
}
