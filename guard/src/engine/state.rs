//! The engine's state and the way of one sighting through it.

use std::collections::{HashSet, VecDeque};
use std::net::IpAddr;
use std::ops::Range;

use super::accounts::Accounts;
use super::attacked::Attacks;
use super::attempt::Attempts;
use super::detect::LOWEST;
use super::escalate::{Offenders, Strikes, Term};
use super::evidence::{Given, Ring};
use super::kept::{KeptLogin, KeptScore};
use super::listed::Listed;
use super::logins::{LoginAccounts, Logins};
use super::pace::Pace;
use super::partial::Partials;
use super::prefixes::Prefixes;
use super::score::Leak;
use super::sources::{Sources, address_bits};
use super::storm::Storm;
use super::trail::Trail;
use super::witness::Witnesses;
use super::{BanOrder, Cause, Decision, EngineCount, EngineOptions, Evidence, Incident, Prospect};
use crate::config::Decide;
use crate::dense::{Chance, Seed};
use crate::feed::List;
use crate::sighting::{Kind, PatternId, Points, Sighting, SourceId};
use crate::target::{Target, canonical};
use crate::time::Moment;

/// Scores sources and decides which to ban. The same sightings, times and seed give the same decisions.
#[derive(Debug)]
pub struct Engine {
    pub(super) decide: Decide,
    pub(super) leak: Leak,
    /// How scores were leaking that the store has from before.
    pub(super) stored_leak: Leak,
    /// What chance and hashes follow from.
    pub(super) seed: u64,
    decoys: HashSet<Box<[u8]>>,
    attempts: Attempts,
    witnesses: Witnesses,
    partials: Partials,
    pub(super) sources: Sources,
    pub(super) offenders: Offenders,
    pub(super) accounts: Accounts,
    pub(super) attacks: Attacks,
    /// Hosts and prefixes that were banned, by the prefix they are in.
    pub(super) banned: Prefixes,
    /// IPv6 addresses that have failed, by the prefix they are in.
    pub(super) failing: Prefixes,
    pub(super) logins: Logins,
    /// Which filters also read logins that succeed, by number.
    reads_logins: Vec<bool>,
    pub(super) pace: Pace,
    pub(super) storm: Storm,
    pub(super) evidence: Ring,
    pub(super) listed: Listed,
    pub(super) count: EngineCount,
    /// Decisions besides the one that is answered at once.
    pub(super) further: VecDeque<Decision>,
    /// The latest time it was told.
    now: Moment,
}

impl Engine {
    /// An engine that has seen nothing.
    pub fn new(options: EngineOptions) -> Self {
        let EngineOptions { decide, seed, evidence } = options;
        let mut chance = Chance::new(seed);
        let mut hash = || Seed::new(chance.next());
        let (attempts, sources, offenders, lines) = (hash(), hash(), hash(), hash());
        let (accounts, banned, failing, witnesses) = (hash(), hash(), hash(), hash());
        Self {
            stored_leak: Leak::new(decide.threshold, decide.window),
            leak: Leak::new(decide.threshold, decide.window),
            seed,
            decoys: decoys(&decide),
            attempts: Attempts::new(attempts),
            witnesses: Witnesses::new(witnesses),
            partials: Partials::default(),
            sources: Sources::new(decide.max_sources, sources, chance.clone()),
            offenders: Offenders::new(chance.next(), offenders),
            accounts: Accounts::new(accounts, Chance::new(chance.next())),
            attacks: Attacks::default(),
            banned: Prefixes::new(banned, Chance::new(chance.next())),
            failing: Prefixes::new(failing, Chance::new(chance.next())),
            logins: Logins::default(),
            reads_logins: Vec::new(),
            pace: Pace::new(),
            storm: Storm::default(),
            evidence: Ring::new(evidence, lines),
            listed: Listed::default(),
            count: EngineCount::default(),
            further: VecDeque::new(),
            now: Moment(i64::MIN),
            decide,
        }
    }

    /// A sighting comes soon. Changes nothing: what is remembered of its attempt and its source is brought near, for
    /// which the processor waits longer than all the rest takes if nobody asks in time.
    #[inline]
    pub fn expect(&self, s: &Sighting<'_>) {
        if !s.kind.is_benign() {
            let address = address_bits(s.address);
            self.attempts.expect(address, s.pid);
            self.witnesses.expect(address, s.kind);
            self.sources.expect(address);
            self.offenders.expect(s.address);
        }
    }

    /// Judges one sighting. `at` is when the line happened, on the engine's timeline; `now` is the time. A line
    /// from the future counts as of now, one older than the window does not count.
    pub fn observe(&mut self, s: &Sighting<'_>, via: SourceId, at: Moment, now: Moment) -> Option<Decision> {
        let at = at.min(now);
        self.now = self.now.max(now);
        self.count.sightings += 1;
        if s.kind.is_benign() {
            return self.observe_benign(s, via, at, now);
        }
        if at < now && now.since(at) > self.decide.window {
            self.count.too_old += 1;
            return None;
        }
        let address = address_bits(s.address);
        let joined = self.attempts.join(address, s, via, at);
        let joined = self.witnesses.join(address, s, via, at, joined);
        self.count.joined += u64::from(joined.joined);
        let decoy = !self.decoys.is_empty() && s.account.is_some_and(|account| self.decoys.contains(account));
        let account = s.account.filter(|_| s.kind.is_guess()).map(|account| self.accounts.key(account));
        if joined.points.0 == 0 && !decoy {
            if let Some(account) = account {
                self.notice_account(address, s, account, at);
            }
            if self.evidence.is_kept() {
                let score = self.score(s.address, at);
                self.evidence.push(s, Given::of(joined), score, at);
            }
            return None;
        }
        let is_guess = s.kind.is_guess() && joined.points.0 > 0;
        let place = self.sources.find(address, at, self.leak);
        let source = self.sources.at_mut(place);
        let mut given = Given::of(joined);
        if !self.listed.is_empty()
            && source.score.at(at, self.leak).0 == 0
            && let Some((feed, points)) = self.listed.by(canonical(s.address))
        {
            given.listed = Some((feed, source.score.add(points, at, self.leak)));
        }
        let score = source.score.add(joined.points, at, self.leak);
        self.evidence.push(s, given, score, at);
        let mut cause = None;
        if is_guess {
            source.trail.guess(account.map(|key| key.0), at, self.decide.accounts_within);
            if let Some(account) = account
                && self.reads_logins.get(usize::from(s.pattern.filter)).is_some_and(|reads| *reads)
            {
                source.trail.open(account.0);
            }
            cause = self.notice(s, (address, place), account, at, now);
        }
        if !decoy && cause.is_none() && score < LOWEST.min(self.decide.threshold) {
            return None;
        }
        let target = Target::host(s.address);
        let adapted = self.adapted(target, now);
        let cause = if decoy {
            Cause::Decoy
        } else if score >= adapted.threshold {
            if adapted.is_known { Cause::Known(adapted.threshold) } else { Cause::Score(adapted.threshold) }
        } else {
            cause?
        };
        let source = self.sources.at_mut(place);
        source.score.clear();
        source.trail.forget_guesses();
        self.order(s, target, Term::Ladder { percent: adapted.percent }, (score, cause), now)
    }

    /// Rules have changed the points of the sighting that comes next: what people are told of that.
    pub fn ruled_by(&mut self, rules: &str) {
        if self.evidence.is_kept() {
            self.evidence.ruled_by = rules.into();
        }
    }

    /// Points of an address at a moment.
    pub fn score(&self, address: IpAddr, now: Moment) -> Points {
        let source = self.sources.get(canonical(address));
        source.map_or(Points(0), |source| source.score.at(now, self.leak))
    }

    /// All scores, for the store.
    pub fn scores(&self) -> impl Iterator<Item = KeptScore> {
        self.sources.scores().map(|(address, score)| KeptScore::of(address, Some(score)))
    }

    /// The scores of the sources in these places, of [`Self::tracked`]. A source that goes leaves its place to the last
    /// one, and a new one comes behind all others: who goes from the last place to the first meets every one that stays.
    pub fn scores_in(&self, places: Range<usize>) -> impl Iterator<Item = KeptScore> {
        self.sources.scores_in(places).map(|(address, score)| KeptScore::of(address, Some(score)))
    }

    /// From here on [`Self::changed_scores`] and [`Self::changed_logins`] are asked, from time to time.
    pub fn follow(&mut self) {
        self.sources.follow();
        self.logins.follow();
    }

    /// The scores that changed since the last call, each once, for the store. One without points is forgotten.
    pub fn changed_scores(&mut self) -> Vec<KeptScore> {
        self.sources.changed().into_iter().map(|(address, score)| KeptScore::of(address, score)).collect()
    }

    /// The addresses that somebody has logged in from lately, for the store.
    pub fn logins(&self) -> impl Iterator<Item = KeptLogin> {
        self.logins.all()
    }

    /// Those that changed since the last call, each once, for the store.
    pub fn changed_logins(&mut self) -> Vec<KeptLogin> {
        self.logins.changed()
    }

    /// Takes over a login from the store. Its accounts are told apart as by an engine of the same seed.
    pub fn restore_login(&mut self, login: &KeptLogin, now: Moment) {
        self.logins.restore(login, now);
    }

    /// Who logged in from an address is still there.
    pub fn stays_logged_in(&mut self, address: IpAddr, now: Moment) {
        self.logins.stays(address, now);
    }

    /// A log file tells of a login, and nobody vouches for that. It clears nothing and spares nobody; but somebody who has
    /// guessed a password may have been gone before anybody could look, so that is told all the same.
    pub fn observe_doubted(&mut self, s: &Sighting<'_>, at: Moment, now: Moment) {
        self.now = self.now.max(now);
        self.count.sightings += 1;
        if s.kind == Kind::PasswordLogin {
            let incident = self.guessed_right(s, at.min(now), now);
            if let Some(incident) = incident {
                self.tell(Incident { is_doubted: true, ..incident });
            }
        }
    }

    /// Takes over a score from the store, less what has leaked away since, as scores leaked when it was kept. Where it lies in the future the wall clock was
    /// set back meanwhile: nobody knows how old it is, and the points of an hour ago must not count as those of now.
    pub fn restore_score(&mut self, kept: &KeptScore, now: Moment) {
        if kept.settled.since(now) > self.stored_leak.period() {
            return;
        }
        let mut score = kept.score(now);
        if self.stored_leak != self.leak {
            score.settle(now, self.stored_leak);
        }
        if score.at(now, self.leak).0 > 0 {
            let place = self.sources.find(address_bits(canonical(kept.address)), now, self.leak);
            self.sources.at_mut(place).score = score;
        }
    }

    /// Points that lead to a ban.
    pub fn threshold(&self) -> Points {
        self.decide.threshold
    }

    /// The last lines about an address that counted, oldest first.
    pub fn evidence(&self, address: IpAddr) -> Vec<Evidence> {
        self.evidence.of(canonical(address))
    }

    /// Patterns have other numbers from now on: `number` answers the new one of each.
    pub fn renumber(&mut self, mut number: impl FnMut(PatternId) -> PatternId) {
        self.evidence.renumber(&mut number);
        self.attacks.renumber(&mut number);
        self.storm.renumber(&mut number);
    }

    /// How many bans of a target count against it, after forgiveness.
    pub fn strikes(&self, target: Target, now: Moment) -> u32 {
        self.offenders.count(target, now, &self.decide)
    }

    /// What the next ban of a target would be, if nothing else happens before.
    pub fn prospect(&self, target: Target, now: Moment) -> Prospect {
        self.offenders.prospect(target, now, &self.decide)
    }

    /// A target's past as the store keeps it; `None` if it was never banned or all is forgotten.
    pub fn past(&self, target: Target) -> Option<Strikes> {
        self.offenders.strikes(target)
    }

    /// All pasts, for the store.
    pub fn pasts(&self) -> impl Iterator<Item = Strikes> {
        self.offenders.pasts()
    }

    /// Takes over a past from the store. Changes nothing about whether the target is banned.
    pub fn restore_strikes(&mut self, strikes: &Strikes) {
        self.offenders.restore(strikes);
    }

    /// The pasts that changed since the last call, for the store. A count of 0 means the past is forgotten.
    pub fn changed_strikes(&mut self) -> Vec<Strikes> {
        self.offenders.changed()
    }

    /// Tells the engine of a ban it did not order itself (restored, or made by a person), so that it orders no
    /// second one while that stands.
    pub fn banned(&mut self, target: Target, until: Option<Moment>) {
        self.offenders.banned(target, until);
    }

    /// Makes room for the bans of so many targets in all, most of them IPv4 hosts.
    pub fn reserve_offenders(&mut self, all: usize) {
        self.offenders.reserve(all);
    }

    /// [`Self::banned`] is about to be told of these targets: see [`BanTable::expect`](crate::ban::BanTable::expect).
    pub fn expect_offenders(&self, targets: impl Iterator<Item = Target>) {
        self.offenders.expect_all(targets);
    }

    /// Until [`Self::release`], orders no second ban for targets whose last one should still stand by the ladder:
    /// what is known of them comes back before the bans themselves.
    pub fn presume_banned(&mut self, now: Moment) {
        self.offenders.presume_banned(now, &self.decide);
    }

    /// Every ban that stands is told: what was only presumed, and does not, counts no more.
    pub fn release(&mut self, stands: impl Fn(Target) -> bool) {
        self.offenders.release(stands);
    }

    /// Tells the engine that no ban of this target stands any more, so that it may order one before the end that
    /// was set. Bans that reach their end need not be told.
    pub fn lifted(&mut self, target: Target) {
        self.offenders.lifted(target);
    }

    /// Tells the engine, before the next sighting, that its last order was refused because the target is allowed
    /// or protected: no strike, and the next time the threshold is reached it orders again.
    pub fn refused(&mut self, target: Target) {
        self.offenders.take_back(target);
    }

    /// A person has spoken for a target: see [`Self::forgive_all`].
    pub fn forgive(&mut self, target: Target) {
        self.forgive_all(&[target]);
    }

    /// A person has spoken for targets: their bans, strikes and points, and the points of every address in them, are
    /// forgotten. However many prefixes are among them, the sources are gone through once.
    pub fn forgive_all(&mut self, targets: &[Target]) {
        for &target in targets {
            self.offenders.forget(target);
            if target.is_host()
                && let Some(source) = self.sources.get_mut(target.address())
            {
                source.score.clear();
                source.trail = Trail::default();
            }
        }
        let prefixes: List = targets.iter().copied().filter(|target| !target.is_host()).collect();
        if !prefixes.is_empty() {
            self.sources.forget(|address| prefixes.covering(address).is_some());
        }
    }

    /// Decides by other options from now on. Scores, strikes and bans stay.
    pub fn configure(&mut self, decide: Decide, now: Moment) {
        self.now = self.now.max(now);
        let leak = Leak::new(decide.threshold, decide.window);
        if leak != self.leak {
            self.sources.settle(self.now, self.leak);
            self.leak = leak;
        }
        self.decoys = decoys(&decide);
        self.sources.resize(decide.max_sources, self.now, self.leak);
        self.decide = decide;
    }

    /// Tells which filters also read logins that succeed, by number. Only of their services can be said that nobody who
    /// shares an address with a slow guesser has logged in.
    pub fn set_login_filters(&mut self, reads_logins: Vec<bool>) {
        self.reads_logins = reads_logins;
    }

    /// Number of sources that have done something lately.
    pub fn tracked(&self) -> u64 {
        self.sources.len() as u64
    }

    /// What was counted since the start.
    pub fn count(&self) -> EngineCount {
        EngineCount {
            evicted: self.sources.evicted,
            offenders: self.offenders.len() as u64,
            offenders_evicted: self.offenders.evicted,
            logins_evicted: self.logins.evicted,
            groups_evicted: self.accounts.evicted() + self.banned.evicted() + self.failing.evicted(),
            ..self.count
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.attempts.bytes()
            + self.witnesses.bytes()
            + self.partials.bytes()
            + self.sources.bytes()
            + self.offenders.bytes()
            + self.accounts.bytes()
            + self.banned.bytes()
            + self.failing.bytes()
            + self.logins.bytes()
            + self.evidence.bytes()
    }

    fn observe_benign(
        &mut self,
        s: &Sighting<'_>,
        via: SourceId,
        at: Moment,
        now: Moment,
    ) -> Option<Decision> {
        match s.kind {
            Kind::KeyLogin => Some(self.key_login(s, at, now)),
            Kind::PartialKey => {
                self.partials.begin(s, via, at);
                None
            }
            Kind::PasswordLogin => {
                if self.partials.complete(s, via, at) {
                    return Some(self.key_login(s, at, now));
                }
                self.password_login(s, at, now);
                None
            }
            Kind::SessionEnd => Some(Decision::SessionEnd { address: s.address, port: s.port }),
            _ => None,
        }
    }

    fn key_login(&mut self, s: &Sighting<'_>, at: Moment, now: Moment) -> Decision {
        if now.since(at) <= self.decide.window
            && let Some(source) = self.sources.get_mut(s.address)
        {
            source.score.clear();
            source.trail = Trail::default();
        }
        self.logins.add(s.address, LoginAccounts::TRUSTED, at);
        Decision::KeyLogin { address: s.address, port: s.port, at }
    }

    /// Orders a ban unless one stands.
    #[cold]
    fn order(
        &mut self,
        s: &Sighting<'_>,
        target: Target,
        term: Term,
        (score, cause): (Points, Cause),
        now: Moment,
    ) -> Option<Decision> {
        let Some(sentence) = self.offenders.strike(target, term, now, &self.decide) else {
            self.count.suppressed += 1;
            return None;
        };
        self.count.orders += 1;
        Some(Decision::Ban(BanOrder {
            target,
            since: now,
            until: sentence.until,
            score,
            strike: sentence.strike,
            cause,
            pattern: s.pattern,
        }))
    }
}

fn decoys(decide: &Decide) -> HashSet<Box<[u8]>> {
    decide.decoys.iter().map(|account| account.as_bytes().into()).collect()
}
