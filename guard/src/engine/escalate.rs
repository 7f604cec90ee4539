//! How long a ban lasts: the ladder, what is forgiven, and repeat offenders over all filters.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::time::Duration;

use super::Prospect;
use super::pace::percent_of;
use super::sources::DRAW;
use crate::config::Decide;
use crate::dense::{Chance, Dense, Host4, Key, Record, Seed, Short48, TargetKey};
use crate::target::Target;
use crate::time::Moment;

/// The time in which bans count that make a repeat offender.
const RECIDIVE_WINDOW: Duration = Duration::from_secs(24 * 3600);
/// Beginnings of bans that are remembered of one target: the most that can make a repeat offender.
pub(crate) const RECIDIVE_MOST: usize = 20;
/// Length of a ban where the ladder has no step; a validated configuration always has one.
const NO_LADDER: Duration = Duration::from_secs(3600);

/// A target's past, as the store keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strikes {
    /// The target.
    pub target: Target,
    /// Bans counted when the last one began; what was forgiven after it is not taken off. 0: all is forgotten.
    pub count: u32,
    /// When the last one began.
    pub last: Moment,
    /// When its bans of the last day began, oldest first, if there were several; the last nineteen at most.
    pub recent: Vec<Moment>,
}

/// What is remembered of a target that was banned: 18 bytes for an IPv4 host.
#[derive(Clone, Copy, Debug)]
struct Offender<K> {
    key: K,
    count: u16,
    last: Short48,
    /// Until when it is banned; the past if it is not.
    until: Short48,
}

const _: () = assert!(size_of::<Offender<Host4>>() <= 20);

/// The past of one target, with the same fields for every type of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Past {
    count: u16,
    last: i64,
    until: i64,
}

/// What was before a sentence.
#[derive(Clone, Copy, Debug)]
struct Undo {
    target: Target,
    past: Option<Past>,
    /// The beginning of a ban that made room for that of this one.
    oldest: Option<Moment>,
}

/// Sentences that wait for an answer at most: as many as a storm lets go at its end, and more.
const UNDO: usize = 2048;

/// `until` of a target that is not banned.
const FREE: i64 = -Short48::MAX;
/// `until` of a ban without end.
const NEVER: i64 = Short48::MAX;

/// What the length of a ban follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Term {
    /// The ladder, so much of it.
    Ladder {
        /// Percent of what it says.
        percent: u32,
    },
    /// Nothing else.
    Fixed(Duration),
    /// A rule, which is exact about it; `None` for good. A repeat offender's is no shorter for it.
    Ruled(Option<Duration>),
}

/// What a new ban looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sentence {
    /// Which ban of its target it is.
    pub strike: u32,
    /// Until when; `None` for good.
    pub until: Option<Moment>,
}

/// Every target that was banned and is not forgiven.
#[derive(Debug)]
pub(super) struct Offenders {
    hosts4: Shelf<Host4>,
    others: Shelf<Target>,
    /// Beginnings of the last bans of targets that were banned more than once in a day.
    recent: HashMap<Target, Vec<Moment>>,
    /// Size of `recent` at which it is rid of what is older than a day.
    recent_limit: usize,
    /// Targets whose past has changed since the store was last told.
    changed: Vec<Target>,
    /// Size of `changed` at which it is rid of targets that are in it twice.
    changed_limit: usize,
    /// What was before the sentences that nobody has answered yet.
    undo: Vec<Undo>,
    /// Targets forgotten to make room.
    pub(super) evicted: u64,
}

impl Offenders {
    /// Nobody has done anything yet.
    pub(super) fn new(seed: u64, hash: Seed) -> Self {
        Self {
            hosts4: Shelf::new(hash, seed),
            others: Shelf::new(hash, seed),
            recent: HashMap::new(),
            recent_limit: 1024,
            changed: Vec::new(),
            changed_limit: 1024,
            undo: Vec::new(),
            evicted: 0,
        }
    }

    /// Strikes a target: how long it is to be banned, or `None` if it is banned already.
    pub(super) fn strike(
        &mut self,
        target: Target,
        term: Term,
        now: Moment,
        decide: &Decide,
    ) -> Option<Sentence> {
        let past = self.past(target);
        if past.is_some_and(|past| past.until > now.0) {
            return None;
        }
        let strike = past.map_or(0, |past| forgiven(past, now, decide)) + 1;
        let (bans_of_day, oldest) = self.remember_recent(target, past, now);
        let until = length(target, term, strike, bans_of_day, decide).map(|length| now + length);
        self.stands(target);
        if self.undo.len() >= UNDO {
            self.undo.remove(0);
        }
        self.undo.push(Undo { target, past, oldest });
        self.put(
            target,
            Past {
                count: u16::try_from(strike).unwrap_or(u16::MAX),
                last: now.0,
                until: until.map_or(NEVER, |until| until.0),
            },
        );
        self.make_room(now, decide);
        Some(Sentence { strike, until })
    }

    /// The last sentence on a target holds.
    pub(super) fn stands(&mut self, target: Target) {
        self.undo.retain(|undo| undo.target != target);
    }

    /// Takes the last sentence on a target back, unless it holds.
    pub(super) fn take_back(&mut self, target: Target) {
        let Some(place) = self.undo.iter().position(|undo| undo.target == target) else { return };
        let Undo { past, oldest, .. } = self.undo.remove(place);
        if let Entry::Occupied(mut bans) = self.recent.entry(target) {
            bans.get_mut().pop();
            bans.get_mut().splice(..0, oldest);
            // What only repeats when the last ban began was made for the one that is taken back.
            if bans.get().len() < 2 {
                bans.remove();
            }
        }
        match past {
            Some(past) => self.put(target, past),
            None => self.forget(target),
        }
    }

    /// The past of an address is asked for soon.
    #[inline]
    pub(super) fn expect(&self, address: IpAddr) {
        if let IpAddr::V4(address) = address {
            self.hosts4.all.expect(Host4(address.to_bits()));
        } else {
            self.others.all.expect(Target::host(address));
        }
    }

    /// When the ban of a target ends, if it has an end.
    #[cfg(test)]
    pub(super) fn until(&self, target: Target) -> Option<Moment> {
        self.past(target).filter(|past| past.until != NEVER).map(|past| Moment(past.until))
    }

    /// Strikes left after forgiveness.
    pub(super) fn count(&self, target: Target, now: Moment, decide: &Decide) -> u32 {
        self.past(target).map_or(0, |past| forgiven(past, now, decide))
    }

    /// What the next ban would be.
    pub(super) fn prospect(&self, target: Target, now: Moment, decide: &Decide) -> Prospect {
        let past = self.past(target);
        let strike = past.map_or(0, |past| forgiven(past, now, decide)) + 1;
        let fresh = |moment: &&Moment| now.since(**moment) < RECIDIVE_WINDOW;
        let last = past.filter(|past| past.count > 0).map(|past| Moment(past.last));
        let one = usize::from(last.as_ref().is_some_and(|last| fresh(&last)));
        let of_day = self.recent.get(&target).map_or(one, |bans| bans.iter().filter(fresh).count()) + 1;
        Prospect { strike, length: sentence(strike, of_day, decide) }
    }

    /// A target's past.
    pub(super) fn strikes(&self, target: Target) -> Option<Strikes> {
        let past = self.past(target).filter(|past| past.count > 0)?;
        let recent = self.recent.get(&target).cloned().unwrap_or_default();
        Some(Strikes { target, count: u32::from(past.count), last: Moment(past.last), recent })
    }

    /// Every past that is not forgotten.
    pub(super) fn pasts(&self) -> impl Iterator<Item = Strikes> {
        let targets = self.hosts4.targets().chain(self.others.targets());
        targets.filter_map(|target| self.strikes(target))
    }

    /// What the store remembered.
    pub(super) fn restore(&mut self, strikes: &Strikes) {
        let until = self.past(strikes.target).map_or(FREE, |past| past.until);
        let count = u16::try_from(strikes.count).unwrap_or(u16::MAX);
        self.put_quietly(strikes.target, Past { count, last: strikes.last.0, until });
        if !strikes.recent.is_empty() {
            self.recent.insert(strikes.target, strikes.recent.clone());
        }
    }

    /// Makes room for so many targets in all, most of them IPv4 hosts.
    pub(super) fn reserve(&mut self, all: usize) {
        self.hosts4.all.reserve(all.saturating_sub(self.len()));
    }

    /// These targets are asked for soon, or put: their places are brought near.
    pub(super) fn expect_all(&self, targets: impl Iterator<Item = Target>) {
        for target in targets {
            match Host4::of(target) {
                Some(key) => self.hosts4.all.expect(key),
                None => self.others.all.expect(target),
            }
        }
    }

    /// A ban of this target stands until then, whoever decided it.
    pub(super) fn banned(&mut self, target: Target, until: Option<Moment>) {
        let until = until.map_or(NEVER, |until| until.0);
        let past = self.past(target).unwrap_or(Past { count: 0, last: FREE, until });
        self.put_quietly(target, Past { until, ..past });
    }

    /// Takes targets for banned whose last ban is not older than it lasted at least.
    pub(super) fn presume_banned(&mut self, now: Moment, decide: &Decide) {
        self.hosts4.presume_banned(now, decide);
        self.others.presume_banned(now, decide);
    }

    /// Takes targets for banned no longer that were presumed to be and are not.
    pub(super) fn release(&mut self, stands: impl Fn(Target) -> bool) {
        let presumed = self.hosts4.without_end().chain(self.others.without_end());
        let released: Vec<Target> = presumed.filter(|target| !stands(*target)).collect();
        for target in released {
            self.lifted(target);
        }
    }

    /// No ban of this target stands.
    pub(super) fn lifted(&mut self, target: Target) {
        match self.past(target) {
            Some(past) if past.count > 0 => self.put_quietly(target, Past { until: FREE, ..past }),
            Some(_) => self.remove(target),
            None => {}
        }
    }

    /// Forgets a target's past.
    pub(super) fn forget(&mut self, target: Target) {
        self.recent.remove(&target);
        if self.past(target).is_some() {
            self.remove(target);
            self.note_changed(target);
        }
    }

    /// The pasts that changed since the last call.
    pub(super) fn changed(&mut self) -> Vec<Strikes> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        let none = |target| Strikes { target, count: 0, last: Moment(0), recent: Vec::new() };
        changed.into_iter().map(|target| self.strikes(target).unwrap_or_else(|| none(target))).collect()
    }

    /// Number of targets remembered.
    pub(super) fn len(&self) -> usize {
        self.hosts4.all.len() + self.others.all.len()
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.hosts4.all.bytes()
            + self.others.all.bytes()
            + self.recent.capacity() * size_of::<(Target, Vec<Moment>)>()
            + self.changed.capacity() * size_of::<Target>()
    }

    /// Notes that a ban begins. Answers how many of the target's bans began within a day, this one included, and when the
    /// one began that is remembered no longer because of it.
    fn remember_recent(
        &mut self,
        target: Target,
        past: Option<Past>,
        now: Moment,
    ) -> (usize, Option<Moment>) {
        let fresh = |moment: &Moment| now.since(*moment) < RECIDIVE_WINDOW;
        let last = past.filter(|past| past.count > 0).map(|past| Moment(past.last)).filter(fresh);
        if last.is_none() {
            self.recent.remove(&target);
            return (1, None);
        }
        if self.recent.len() >= self.recent_limit {
            self.recent.retain(|_, bans| bans.last().is_some_and(fresh));
            self.recent_limit = 1024.max(self.recent.len() * 2);
        }
        let bans = self.recent.entry(target).or_insert_with(|| last.into_iter().collect());
        bans.retain(fresh);
        bans.push(now);
        let count = bans.len();
        (count, (count >= RECIDIVE_MOST).then(|| bans.remove(0)))
    }

    /// Keeps the table within `max_bans`, and rids it of what is forgiven.
    fn make_room(&mut self, now: Moment, decide: &Decide) {
        self.hosts4.sweep(now, decide);
        self.others.sweep(now, decide);
        if self.len() > decide.max_bans.max(1) {
            self.evicted += 1;
            if self.hosts4.all.len() >= self.others.all.len() {
                self.hosts4.evict(now, decide);
            } else {
                self.others.evict(now, decide);
            }
        }
    }

    fn past(&self, target: Target) -> Option<Past> {
        match Host4::of(target) {
            Some(key) => self.hosts4.all.get(key).map(Offender::past),
            None => self.others.all.get(target).map(Offender::past),
        }
    }

    fn put(&mut self, target: Target, past: Past) {
        self.put_quietly(target, past);
        self.note_changed(target);
    }

    /// Remembers to tell the store. Where nobody asks (a replay), each target is remembered once.
    fn note_changed(&mut self, target: Target) {
        if self.changed.len() >= self.changed_limit {
            self.changed.sort_unstable();
            self.changed.dedup();
            self.changed_limit = 1024.max(self.changed.len() * 2);
        }
        self.changed.push(target);
    }

    fn put_quietly(&mut self, target: Target, past: Past) {
        match Host4::of(target) {
            Some(key) => drop(self.hosts4.all.insert(Offender::new(key, past))),
            None => drop(self.others.all.insert(Offender::new(target, past))),
        }
    }

    fn remove(&mut self, target: Target) {
        match Host4::of(target) {
            Some(key) => drop(self.hosts4.all.remove(key)),
            None => drop(self.others.all.remove(target)),
        }
    }
}

/// The length of a ban, its random part included; `None` for good.
fn length(target: Target, term: Term, strike: u32, bans_of_day: usize, decide: &Decide) -> Option<Duration> {
    let length = match term {
        Term::Fixed(length) => length,
        Term::Ruled(length) => return Some(recidive(length?, bans_of_day, decide)),
        Term::Ladder { percent } => percent_of(sentence(strike, bans_of_day, decide)?, percent),
    };
    let extra = length.as_millis() as u64 / 1000 * u64::from(decide.jitter_permille);
    // Chance follows from the case alone. Decided once more, because a crash lay between kernel and store, it lasts as
    // long, and so ends no earlier than the kernel was told.
    let case = target.hash(Seed::new(u64::from(strike)));
    Some(length + Duration::from_millis(Chance::new(case).below(extra + 1)))
}

/// The length of a ban without its random part; `None` for good.
fn sentence(strike: u32, bans_of_day: usize, decide: &Decide) -> Option<Duration> {
    Some(recidive(ladder(decide, strike)?, bans_of_day, decide))
}

/// The length of a ban, or that of a repeat offender's if it is longer and this is one.
fn recidive(length: Duration, bans_of_day: usize, decide: &Decide) -> Duration {
    let is_recidive = decide.recidive_bans > 0 && bans_of_day >= decide.recidive_bans;
    if is_recidive { length.max(decide.recidive_length) } else { length }
}

/// What the ladder says of a strike; `None` for good.
fn ladder(decide: &Decide, strike: u32) -> Option<Duration> {
    let ladder = &decide.ladder;
    let step = (strike as usize).min(ladder.len()).saturating_sub(1);
    ladder.get(step).copied().unwrap_or(Some(NO_LADDER))
}

/// Strikes left at a moment: one is forgiven for each quiet period since the last ban began.
fn forgiven(past: Past, now: Moment, decide: &Decide) -> u32 {
    let quiet = now.since(Moment(past.last)).as_millis() / decide.forgive_after.as_millis().max(1);
    u32::from(past.count).saturating_sub(u32::try_from(quiet).unwrap_or(u32::MAX))
}

impl<K: Copy> Offender<K> {
    fn new(key: K, past: Past) -> Self {
        Self { key, count: past.count, last: Short48::new(past.last), until: Short48::new(past.until) }
    }

    fn past(&self) -> Past {
        Past { count: self.count, last: self.last.get(), until: self.until.get() }
    }
}

impl<K: Key> Record for Offender<K> {
    type Key = K;

    fn key(&self) -> K {
        self.key
    }
}

/// Offenders whose targets have keys of one type.
#[derive(Debug)]
struct Shelf<K> {
    all: Dense<Offender<K>>,
    chance: Chance,
    sweep: usize,
}

impl<K: TargetKey> Shelf<K> {
    fn new(hash: Seed, seed: u64) -> Self {
        Self { all: Dense::new(hash), chance: Chance::new(seed), sweep: 0 }
    }

    /// Gives those a ban without end whose last one should still stand by the ladder.
    fn presume_banned(&mut self, now: Moment, decide: &Decide) {
        for place in 0..self.all.len() {
            let offender = self.all.at_mut(place);
            let Past { count, last, .. } = offender.past();
            let lasts = ladder(decide, count.into()).is_none_or(|length| now.since(Moment(last)) < length);
            if count > 0 && lasts {
                offender.until = Short48::new(NEVER);
            }
        }
    }

    /// Every target.
    fn targets(&self) -> impl Iterator<Item = Target> {
        self.all.records().iter().map(|offender| offender.key.target())
    }

    /// Those with a ban without end.
    fn without_end(&self) -> impl Iterator<Item = Target> {
        let all = self.all.records().iter();
        all.filter(|offender| offender.until.get() == NEVER).map(|offender| offender.key.target())
    }

    /// Looks at two offenders and forgets those that are neither banned nor have a strike left.
    fn sweep(&mut self, now: Moment, decide: &Decide) {
        for _ in 0..2 {
            if self.sweep >= self.all.len() {
                self.sweep = 0;
            }
            match self.all.records().get(self.sweep) {
                Some(o) if o.until.get() <= now.0 && forgiven(o.past(), now, decide) == 0 => {
                    let key = o.key;
                    self.all.remove(key);
                }
                _ => self.sweep += 1,
            }
        }
    }

    /// Forgets the least of a few drawn by lot: not banned any more, few strikes, long ago.
    fn evict(&mut self, now: Moment, decide: &Decide) {
        let all = self.all.records();
        let draw = std::array::from_fn::<_, DRAW, _>(|_| self.chance.below(all.len() as u64) as usize);
        let rank = |place: &usize| {
            let past = all[*place].past();
            (past.until > now.0, forgiven(past, now, decide), past.last)
        };
        if let Some(place) = draw.into_iter().min_by_key(rank) {
            let key = all[place].key;
            self.all.remove(key);
        }
    }
}
