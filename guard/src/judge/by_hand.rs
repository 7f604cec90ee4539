//! What people ask for: bans, their end, allowances.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use serde_json::json;
use tracing::warn;

use super::Judge;
use crate::ban::{Ban, Origin};
use crate::encode::printable;
use crate::enforce::Change;
use crate::protect::Protection;
use crate::sighting::Points;
use crate::store::Write;
use crate::target::Target;
use crate::time::{Clock, Moment};

/// Characters of a person's reason that are kept.
const REASON: usize = 200;

/// What became of a wish, in words: what was done, or why not.
pub type Said = Result<String, String>;

/// Who asks.
#[derive(Clone, Debug)]
pub struct Asker {
    /// User id.
    pub uid: u32,
    /// Where his own session comes from or may come from, as he says and as the machine knows. What covers it is not banned.
    pub from: BTreeSet<IpAddr>,
    /// Whether his ban is to hold past what allows or protects its target.
    pub force: bool,
}

impl Judge {
    /// Bans a target. Without a length, for the first step of the ladder; with one of 0, for good.
    pub fn ban(
        &mut self,
        target: Target,
        length: Option<Duration>,
        reason: Option<&str>,
        asker: &Asker,
        clock: Clock,
    ) -> Said {
        let past = match self.refusal_by_hand(target, asker, clock.moment) {
            Ok(past) => past,
            Err(because) => {
                self.count.refused += 1;
                let detail = json!({ "uid": asker.uid, "because": because, "force": asker.force });
                self.event("refuse", Some(target), &detail, clock);
                return Err(format!("not banned: {because}"));
            }
        };
        let length = match length {
            Some(Duration::ZERO) => None,
            Some(length) => Some(length),
            None => self.decide.ladder.first().copied().flatten(),
        };
        let strike = self.engine.strikes(target, clock.moment) + 1;
        let id = self.bans.next_id();
        let ban = Ban {
            id: if past.is_some() { id.forced() } else { id },
            target,
            since: clock.moment,
            until: length.map(|length| clock.moment + length),
            origin: if past.is_some() { Origin::Forced(asker.uid) } else { Origin::Manual(asker.uid) },
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
        let until = held.map_or_else(|| "for good".to_owned(), |until| clock.wall_of(until).to_string());
        let mut detail = json!({ "uid": asker.uid, "reason": reason, "strike": strike, "until": until });
        if let Some(past) = &past {
            warn!(%target, uid = asker.uid, past, "banned by force");
            detail["forced past"] = past.as_str().into();
        }
        self.event("ban", Some(target), &detail, clock);
        let past = past.map_or_else(String::new, |past| format!(", although {past}"));
        Ok(match (held, held == asked) {
            (None, true) => format!("banned for good{past}"),
            (None, false) => format!("is banned for good already{past}"),
            (Some(_), true) => format!("banned until {until}{past}"),
            (Some(_), false) => format!("is banned for longer already, until {until}{past}"),
        })
    }

    /// What forbids a person's ban. First, and whatever he says: loopback and what is nobody's address, and his own
    /// session. Then everything that allows or protects the target, which a forced ban goes past: it is the answer then.
    fn refusal_by_hand(&self, target: Target, asker: &Asker, now: Moment) -> Result<Option<String>, String> {
        if let Some(because) = Protection::never(target) {
            return Err(because);
        }
        if let Some(own) = asker.from.iter().find(|own| target.covers(**own)) {
            return Err(format!("{own} is where your own session comes from"));
        }
        match self.protection.refusal(target, now) {
            Some(because) if !asker.force => Err(because),
            Some(_) if let Some(around) = self.protection.too_fine_with(target, now) => Err(format!(
                "so many bans are forced inside {around}, which is allowed, that one more could not hold"
            )),
            past => Ok(past),
        }
    }

    /// Lifts the ban of exactly this target, and forgets what led to it.
    pub fn unban(&mut self, target: Target, uid: u32, clock: Clock) -> Said {
        let mut forgiven = Vec::new();
        let said = self.unban_one(target, uid, &mut forgiven, clock);
        self.engine.forgive_all(&forgiven);
        said
    }

    /// As [`Self::unban`], for many targets at once.
    pub fn unban_each(&mut self, targets: &[Target], uid: u32, clock: Clock) -> Vec<Said> {
        let mut forgiven = Vec::new();
        let said = targets.iter().map(|&target| self.unban_one(target, uid, &mut forgiven, clock)).collect();
        self.engine.forgive_all(&forgiven);
        said
    }

    /// Lifts one ban. Whoever is to be forgiven is added to `forgiven`.
    fn unban_one(&mut self, target: Target, uid: u32, forgiven: &mut Vec<Target>, clock: Clock) -> Said {
        let is_restoring = self.lifted.is_some();
        if let Some(lifted) = &mut self.lifted {
            // Its ban may be among those that are still to come.
            lifted.add(target);
            forgiven.push(target);
            self.write(Write::Unban(target));
        }
        if let Some(Origin::Feed(feed)) = self.bans.get(target).map(|ban| ban.origin) {
            return Err(format!("the feed {feed} lists it: guardctl allow add {target} lets it pass"));
        }
        if self.lift(target, clock).is_some() {
            forgiven.push(target);
            self.event("unban", Some(target), &json!({ "uid": uid }), clock);
            self.sync_allowed(clock);
            return Ok(match self.bans.get(target).map(|ban| ban.origin) {
                Some(Origin::Feed(feed)) => {
                    format!(
                        "unbanned, but the feed {feed} lists it: guardctl allow add {target} lets it pass"
                    )
                }
                _ => "unbanned".into(),
            });
        }
        let wider = self.bans.covering(target.address()).next().map(|ban| {
            let wider = ban.target;
            let undo = match ban.origin {
                Origin::Feed(feed) => format!(", which the feed {feed} lists: guardctl allow add {target}"),
                _ => format!(": guardctl unban {wider}"),
            };
            format!("has no ban of its own, but {wider} covers it{undo}")
        });
        match wider {
            Some(wider) => Err(wider),
            None if is_restoring => {
                self.outcome.changes.push(Change::Unban(target));
                let detail = json!({ "uid": uid, "because": "guard is still reading its bans" });
                self.event("unban", Some(target), &detail, clock);
                Ok("unbanned; guard is still reading its bans, and one of this target does not come back"
                    .into())
            }
            None => Err("is not banned".into()),
        }
    }

    /// Lifts every ban that a filter or a person decided, and answers how many there were. What feeds list would come
    /// back.
    pub fn unban_all(&mut self, uid: u32, clock: Clock) -> u64 {
        if let Some(lifted) = &mut self.lifted {
            lifted.add_all();
        }
        let own = self.bans.iter().filter(|ban| !ban.origin.is_feed());
        let targets: Vec<Target> = own.map(|ban| ban.target).collect();
        for &target in &targets {
            self.lift(target, clock);
        }
        self.engine.forgive_all(&targets);
        self.event("unban", None, &json!({ "uid": uid, "all": targets.len() }), clock);
        self.sync_allowed(clock);
        targets.len() as u64
    }

    /// Forgets what is held against targets: their strikes and points, and the points of every address in them. Bans
    /// that stand go on.
    pub fn forget(&mut self, targets: &[Target], uid: u32, clock: Clock) -> Vec<Said> {
        let said = targets.iter().map(|&target| Ok(self.tell_forgotten(target, uid, clock))).collect();
        self.engine.forgive_all(targets);
        for &target in targets {
            if let Some(ban) = self.bans.get(target) {
                self.engine.banned(target, ban.until);
            }
        }
        said
    }

    /// Notes what is about to be forgotten, and says it.
    fn tell_forgotten(&mut self, target: Target, uid: u32, clock: Clock) -> String {
        let strikes = self.engine.strikes(target, clock.moment);
        let score =
            if target.is_host() { self.engine.score(target.address(), clock.moment) } else { Points(0) };
        let detail = json!({ "uid": uid, "strikes": strikes, "score": score.as_f64() });
        self.event("forget", Some(target), &detail, clock);
        match (strikes, score) {
            (0, Points(0)) if target.is_host() => "there was nothing to forget".into(),
            (1, _) => format!("forgotten: 1 strike, a score of {}", score.as_f64()),
            _ => format!("forgotten: {strikes} strikes, a score of {}", score.as_f64()),
        }
    }

    /// Allows targets, for good or for a time, and lifts the bans that overlap them.
    pub fn allow(
        &mut self,
        targets: &[Target],
        length: Option<Duration>,
        comment: &str,
        uid: u32,
        clock: Clock,
    ) -> Vec<Said> {
        let comment = printable(comment.as_bytes(), REASON);
        let until = length.filter(|length| !length.is_zero()).map(|length| clock.moment + length);
        if let Some(lifted) = &mut self.lifted {
            lifted.allow(targets);
        }
        let mut lifted = self.lift_forced(targets, uid, clock);
        for &target in targets {
            self.protection.allow_runtime(target, until, &comment);
            // Wall-clock time, because it is kept over reboots.
            let end = until.map(|until| clock.wall_of(until));
            self.write(Write::Allow { target, until: end, comment: comment.clone() });
            let seconds = length.map(|length| length.as_secs());
            let detail = json!({ "uid": uid, "seconds": seconds, "comment": comment });
            self.event("allow", Some(target), &detail, clock);
        }
        lifted.extend(self.sync_allowed(clock));
        let goes_on = self.is_lifting();
        let said = |target: &Target| {
            let lifted: Vec<String> =
                lifted.iter().filter(|ban| ban.overlaps(*target)).map(Target::to_string).collect();
            Ok(match lifted.len() {
                0 if goes_on && !target.is_host() => {
                    "allowed; bans that it overlaps, if there are any, are being lifted".into()
                }
                so_far if goes_on && !target.is_host() => {
                    format!("allowed; bans lifted so far: {so_far}; more may follow")
                }
                0 => "allowed".to_owned(),
                1..=3 => format!("allowed; lifted the ban of {}", lifted.join(", ")),
                more => format!("allowed; lifted {more} bans"),
            })
        };
        targets.iter().map(said).collect()
    }

    /// Lifts forced bans that overlap targets which a person allows: his later word counts.
    fn lift_forced(&mut self, allowed: &[Target], uid: u32, clock: Clock) -> Vec<Target> {
        let is_allowed = |ban: &Target| allowed.iter().any(|target| target.overlaps(*ban));
        let lifted: Vec<Target> = self.protection.forced().filter(is_allowed).collect();
        for &target in &lifted {
            self.lift(target, clock);
            self.event("unban", Some(target), &json!({ "uid": uid, "because": "allowed" }), clock);
        }
        lifted
    }

    /// Takes a run-time allowance back. [`Self::sync_allowed`] is due afterwards.
    pub fn disallow(&mut self, target: Target, uid: u32, clock: Clock) -> Said {
        if !self.protection.disallow_runtime(target) {
            let because = self.protection.refusal(target, clock.moment);
            return Err(because.map_or_else(
                || "was not allowed at run time".to_owned(),
                |because| format!("was not allowed at run time; it is protected because {because}"),
            ));
        }
        self.store_no_allowance(target, clock);
        self.event("disallow", Some(target), &json!({ "uid": uid }), clock);
        Ok("no longer allowed".into())
    }
}
