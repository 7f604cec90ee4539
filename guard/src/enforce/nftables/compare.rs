//! Comparing the table with what is desired, and putting right what differs, a few milliseconds at a time.
//!
//! A thread reads every element ([`Reading`]). Then the allowances and bans are looked up in what it read, part by part:
//! what is not there is missing. What nobody looked up is foreign. Whatever is changed meanwhile is left out: it is as it
//! should be, whenever it was read.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use hashbrown::HashSet;

use super::elements::Element;
use super::plan::Plan;
use super::reading::{Elements, Held, Reading};
use super::refusal::reading;
use super::set::{Role, Set};
use super::{Nftables, TOLERANCE, live_entry};
use crate::ban::Walk;
use crate::enforce::{Desired, Drift, EnforceError, LiveEntry};
use crate::target::Target;
use crate::time::Moment;

/// How long a part takes, as nearly as whole transactions allow. Also how long it waits for the reading thread.
const PART: Duration = Duration::from_millis(2);
/// Bans of the table, or elements, looked at between two looks at the clock.
const STEP: usize = 512;
/// With more changes than this while it goes on, a round begins anew.
const MOST_CHANGED: usize = 1 << 17;

/// A comparison that has begun.
#[derive(Debug)]
pub(super) struct Round {
    begun: Instant,
    stage: Stage,
    /// What was changed since.
    changed: HashSet<(Role, Target), foldhash::fast::RandomState>,
    /// Sets that something desired is in.
    wanted: BTreeSet<Set>,
    drift: Drift,
    /// Whether everything was read.
    is_whole: bool,
}

#[derive(Debug)]
enum Stage {
    Reading(Reading),
    Allowed(Elements),
    Bans(Elements, Walk),
    /// What was not looked up, from this place on.
    Rest(Elements, usize),
    Over,
}

/// What a round has come to.
#[derive(Debug)]
pub(super) struct Compared {
    pub(super) drift: Drift,
    pub(super) took: Duration,
    /// Whether everything was read: something foreign may have been missed, if not.
    pub(super) is_whole: bool,
}

/// Something that is desired.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    role: Role,
    target: Target,
    until: Option<Moment>,
    is_forced: bool,
}

impl Round {
    /// What is changed from here on is as it should be. Whether there is too much of it to go on.
    pub(super) fn note(&mut self, plan: &Plan) -> bool {
        self.changed.extend(plan.targets());
        self.wanted.extend(plan.needs());
        self.changed.len() > MOST_CHANGED
    }
}

impl Nftables {
    /// Begins a round.
    pub(super) fn begin_round(&mut self) -> Result<(), EnforceError> {
        let begun = Reading::begin(&self.table, &self.structure.sets).map_err(reading)?;
        self.round = Some(Round {
            begun: Instant::now(),
            stage: Stage::Reading(begun),
            changed: HashSet::default(),
            wanted: Set::BASE.into(),
            drift: Drift::default(),
            is_whole: true,
        });
        Ok(())
    }

    /// Goes on with the round that has begun; what it has come to once it is over. After an error there is none.
    ///
    /// With `unknown`, bans that the table of bans does not have, or not for as long, are put there instead of being
    /// removed or shortened, and allowances stay.
    pub(super) fn compare_part(
        &mut self,
        desired: Desired<'_>,
        mut unknown: Option<&mut Vec<LiveEntry>>,
    ) -> Result<Option<Compared>, EnforceError> {
        let started = Instant::now();
        let Some(mut round) = self.round.take() else { return Ok(None) };
        loop {
            let stage = std::mem::replace(&mut round.stage, Stage::Over);
            let is_waiting = matches!(stage, Stage::Reading(_));
            round.stage = self.advance(&mut round, stage, desired, unknown.as_deref_mut())?;
            match round.stage {
                Stage::Over => {
                    if unknown.is_none() {
                        self.tidy(&round.wanted, desired)?;
                    }
                    let Round { begun, drift, is_whole, .. } = round;
                    return Ok(Some(Compared { drift, took: begun.elapsed(), is_whole }));
                }
                Stage::Reading(_) if is_waiting => break,
                _ if started.elapsed() >= PART => break,
                _ => {}
            }
        }
        self.round = Some(round);
        Ok(None)
    }

    /// One step; what comes next.
    fn advance(
        &mut self,
        round: &mut Round,
        stage: Stage,
        desired: Desired<'_>,
        mut unknown: Option<&mut Vec<LiveEntry>>,
    ) -> Result<Stage, EnforceError> {
        let mut plan = Plan::default();
        let next = match stage {
            Stage::Reading(thread) => match thread.wait(PART) {
                Some(read) => Stage::Allowed(read.map_err(reading)?),
                None => Stage::Reading(thread),
            },
            Stage::Allowed(mut elements) => {
                round.is_whole = elements.are_whole;
                self.learn_forced(round, &elements);
                for &target in desired.allowed {
                    let wanted = Wanted { role: Role::Allow, target, until: None, is_forced: false };
                    self.look_up(round, &mut elements, wanted, desired.now, None, &mut plan)?;
                }
                Stage::Bans(elements, desired.bans.walk())
            }
            Stage::Bans(mut elements, mut walk) => {
                let bans = desired.bans.part(&mut walk, STEP);
                let is_over = bans.is_none();
                for (ban, _) in bans.into_iter().flatten() {
                    let wanted = Wanted {
                        role: Role::Ban,
                        target: ban.target,
                        until: ban.until,
                        is_forced: ban.id.is_forced(),
                    };
                    let unknown = unknown.as_deref_mut();
                    self.look_up(round, &mut elements, wanted, desired.now, unknown, &mut plan)?;
                }
                if is_over { Stage::Rest(elements, 0) } else { Stage::Bans(elements, walk) }
            }
            Stage::Rest(elements, from) => {
                let rest = elements.all.get(from..).unwrap_or_default();
                for held in rest.iter().take(STEP) {
                    if !is_left_over(held, round, desired) {
                        continue;
                    }
                    match &mut unknown {
                        Some(unknown) if held.role == Role::Ban => unknown.push(entry_of(held, desired.now)),
                        Some(_) => {}
                        None => {
                            round.drift.foreign += 1;
                            plan.take(held.role, held.element.target);
                        }
                    }
                }
                if rest.len() > STEP { Stage::Rest(elements, from + STEP) } else { Stage::Over }
            }
            Stage::Over => Stage::Over,
        };
        self.write(&plan)?;
        Ok(next)
    }

    /// Learns which elements say that their bans are forced.
    fn learn_forced(&mut self, round: &Round, elements: &Elements) {
        if elements.are_whole {
            self.forced.retain(|&target| round.changed.contains(&(Role::Ban, target)));
        }
        let forced = elements.all.iter().filter(|held| held.role == Role::Ban && held.element.is_forced);
        self.forced.extend(forced.map(|held| held.element.target));
    }

    /// Looks something desired up in what was read, and plans what is to be done about it.
    fn look_up(
        &mut self,
        round: &mut Round,
        elements: &mut Elements,
        wanted: Wanted,
        now: Moment,
        unknown: Option<&mut Vec<LiveEntry>>,
        plan: &mut Plan,
    ) -> Result<(), EnforceError> {
        let Wanted { role, target, until, is_forced } = wanted;
        round.wanted.insert(Set::of(role, target));
        let held = elements.find(role, target);
        let was_forced = held.as_ref().map(|held| held.element.is_forced);
        if let Some(held) = held {
            // One that is met twice has moved in the table.
            let is_settled = std::mem::replace(&mut held.is_met, true)
                || are_close(held.until, until) && held.element.is_forced == is_forced;
            let entry = entry_of(held, now);
            match unknown {
                _ if is_settled => return Ok(()),
                Some(unknown) if entry.outlasts(until, now) => {
                    unknown.push(entry);
                    return Ok(());
                }
                _ => {}
            }
        }
        if until.is_some_and(|until| until <= now) || round.changed.contains(&(role, target)) {
            return Ok(());
        }
        if was_forced.is_some() {
            round.drift.changed += 1;
        } else {
            let is_hidden =
                !elements.are_whole && self.live.element(role, target).map_err(reading)?.is_some();
            if is_hidden {
                return Ok(());
            }
            round.drift.missing += 1;
        }
        let is_anew = was_forced.is_some_and(|was_forced| was_forced != is_forced);
        plan.put(role, Element { target, left: until.map(|until| until.since(now)), is_forced, is_anew });
        Ok(())
    }

    /// Takes away sets that nothing desired is in.
    fn tidy(&mut self, wanted: &BTreeSet<Set>, desired: Desired<'_>) -> Result<(), EnforceError> {
        let is_unwanted = |set: &&Set| !wanted.contains(set);
        if !self.structure.sets.iter().any(|set| is_unwanted(&set)) {
            return Ok(());
        }
        // Seldom, so that all may be looked at once more: what came meanwhile stays.
        let bans = desired.bans.iter().map(|ban| Set::of(Role::Ban, ban.target));
        let allowances = desired.allowed.iter().map(|&target| Set::of(Role::Allow, target));
        let wanted: BTreeSet<Set> = bans.chain(allowances).chain(Set::BASE).collect();
        let obsolete: Vec<Set> = self.structure.sets.difference(&wanted).copied().collect();
        if obsolete.is_empty() { Ok(()) } else { self.build(&wanted, &obsolete) }
    }
}

/// Whether nobody wants an element that was read, and it has not ended since.
fn is_left_over(held: &Held, round: &Round, desired: Desired<'_>) -> bool {
    let target = held.element.target;
    let is_wanted = match held.role {
        Role::Ban => desired.bans.get(target).is_some(),
        Role::Allow => desired.allowed.contains(&target),
    };
    let has_ended = held.until.is_some_and(|until| until <= desired.now);
    !held.is_met && !is_wanted && !has_ended && !round.changed.contains(&(held.role, target))
}

/// An element as a start sees it, at a time.
fn entry_of(held: &Held, now: Moment) -> LiveEntry {
    live_entry(&super::live::Element { left: held.until.map(|until| until.since(now)), ..held.element })
}

fn are_close(a: Option<Moment>, b: Option<Moment>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a.since(b).max(b.since(a)) <= TOLERANCE,
        (a, b) => a == b,
    }
}
