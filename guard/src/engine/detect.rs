//! What no score tells: guesses far apart, many accounts, an account that many try, a prefix whose hosts take turns, and
//! a password that was right after many that were wrong.

use std::time::Duration;

use super::accounts::AccountKey;
use super::escalate::{Sentence, Term};
use super::evidence::Given;
use super::logins::LoginAccounts;
use super::pace::Adapted;
use super::state::Engine;
use super::storm::{Ended, Hold};
use super::trail::Trail;
use super::{BanOrder, Cause, Decision, Incident, Trouble};
use crate::sighting::{PatternId, Points, Sighting};
use crate::target::Target;
use crate::time::Moment;

/// No threshold is lowered below this; one that was set lower stays.
pub(super) const LOWEST: Points = Points(2000);
/// Different accounts, of those that are told apart, from which on slow guesses are no forgotten robots with old
/// passwords. They count where logins that succeed are read as well: elsewhere nobody could tell an attacker from an
/// office that shares an address, mistypes now and then, and is let in all day.
const SLOW_SORTS: u32 = 3;
/// And guesses of a day: where several people share an address and one of them forgets a password now and then, somebody
/// will have logged in by then.
const SLOW_GUESSES: u16 = 10;
/// A password is right after so many wrong guesses of a day, at most: nobody forgets it that often.
const GUESSES: i32 = 6;
/// And after so many at least, however low the threshold is.
const LEAST_GUESSES: i32 = 3;
/// Fewer will do from an address that is new, if many try the same account.
const FEW_GUESSES: u16 = 2;

impl Engine {
    /// The threshold of an address, and the length of its ban. Earlier bans lower it, and so does the pace of all; but
    /// not for an address that somebody logs in from, because others may sit behind it.
    pub(super) fn adapted(&mut self, target: Target, now: Moment) -> Adapted {
        let adapted = self.pace.adapt(&self.decide, now);
        self.adapted_to(adapted, target, now)
    }

    /// Points that lead to a ban of this target at present.
    pub fn threshold_of(&self, target: Target, now: Moment) -> Points {
        let adapted = self.pace.clone().adapt(&self.decide, now);
        self.adapted_to(adapted, target, now).threshold
    }

    fn adapted_to(&self, adapted: Adapted, target: Target, now: Moment) -> Adapted {
        let usual = self.decide.threshold;
        let strikes = i32::try_from(self.offenders.count(target, now, &self.decide)).unwrap_or(i32::MAX);
        let lower = self.decide.known_offender.0.saturating_mul(strikes);
        let lowered = adapted.threshold.0.saturating_sub(lower).max(LOWEST.0);
        let threshold = Points(lowered.min(adapted.threshold.0));
        if threshold < usual && self.logins.from(target.address(), now) {
            return Adapted { threshold: usual, percent: 100, is_known: false };
        }
        Adapted { threshold, is_known: threshold < adapted.threshold, ..adapted }
    }

    /// Looks at a guess of an address, whose source is at a place, in the light of those before it. Answers what speaks for a ban besides
    /// the score.
    #[inline]
    pub(super) fn notice(
        &mut self,
        s: &Sighting<'_>,
        (address, source): (u128, usize),
        account: Option<AccountKey>,
        at: Moment,
        now: Moment,
    ) -> Option<Cause> {
        self.pace.add(now);
        if let Some(account) = account {
            self.notice_account(address, s, account, at);
        }
        if s.address.is_ipv6() && self.decide.prefix_hosts > 0 {
            let (enough, within) = (self.decide.prefix_hosts * 2, self.decide.prefix_within);
            if let Some(crowd) = self.failing.see(Target::host(s.address), now, enough, within)
                && self.order_prefix(crowd.prefix, Cause::Failing(crowd.members), s.pattern, now)
            {
                self.failing.answered(crowd.prefix);
            }
        }
        let trail = &self.sources.at_mut(source).trail;
        let tries_many = self.decide.accounts > 0 && trail.accounts() >= self.decide.accounts;
        let is_slow =
            self.decide.slow_guesses > 0 && trail.is_slow(self.decide.slow_guesses, self.decide.slow_gap);
        let many = tries_many.then(|| self.notice_many_accounts(s, source, at, now)).flatten();
        many.or_else(|| is_slow.then(|| self.notice_slow(s, source, at, now)).flatten())
    }

    /// Looks at the account that was tried. A line that adds nothing to its attempt may still be the one that names it.
    pub(super) fn notice_account(
        &mut self,
        address: u128,
        s: &Sighting<'_>,
        account: AccountKey,
        at: Moment,
    ) {
        let (enough, within) = (self.decide.account_addresses, self.decide.account_within);
        if enough == 0 {
            return;
        }
        let key = account.at(s.pattern.filter);
        if let Some(addresses) = self.accounts.fail(key, address, s, at, enough, within) {
            self.attacks.add(s.account.unwrap_or_default(), account.0, s.pattern, at, addresses);
            let trouble = Trouble::AccountUnderAttack { addresses };
            let account = s.account.map(Into::into);
            self.tell(Incident {
                trouble,
                address: None,
                account,
                at,
                pattern: s.pattern,
                is_doubted: false,
            });
        }
    }

    #[cold]
    fn notice_many_accounts(
        &mut self,
        s: &Sighting<'_>,
        source: usize,
        at: Moment,
        now: Moment,
    ) -> Option<Cause> {
        let trail = &mut self.sources.at_mut(source).trail;
        let accounts = trail.accounts() as u32;
        trail.forget_accounts();
        let tried = trail.tried();
        if !self.logins.outnumber(tried, s.address, now) {
            return Some(Cause::Accounts(accounts));
        }
        self.tell(Incident::of(Trouble::ManyAccounts { accounts }, s, at));
        None
    }

    #[cold]
    fn notice_slow(&mut self, s: &Sighting<'_>, source: usize, at: Moment, now: Moment) -> Option<Cause> {
        let trail = &mut self.sources.at_mut(source).trail;
        let is_news = trail.forget_gaps();
        let trail = *trail;
        if is_news {
            self.tell(Incident::of(Trouble::SlowGuessing { guesses: trail.guesses().into() }, s, at));
        }
        let is_attack = trail.sorts() >= SLOW_SORTS && trail.guesses() >= SLOW_GUESSES;
        (is_attack && !self.logins.outnumber(trail.tried(), s.address, now)).then_some(Cause::Slow)
    }

    /// Somebody logged in with a password.
    pub(super) fn password_login(&mut self, s: &Sighting<'_>, at: Moment, now: Moment) {
        if let Some(incident) = self.guessed_right(s, at, now) {
            self.tell(incident);
        }
        let account = s.account.map(|account| self.accounts.key(account));
        if let Some(account) = account {
            self.accounts.let_in(account.at(s.pattern.filter));
        }
        self.logins.add(s.address, LoginAccounts::of(account), at);
    }

    /// A password was right that an attacker may have guessed.
    pub(super) fn guessed_right(&mut self, s: &Sighting<'_>, at: Moment, now: Moment) -> Option<Incident> {
        let trail = self.sources.get(s.address).map_or_else(Trail::default, |source| source.trail);
        let guesses = trail.guesses_at(now);
        let within = self.decide.account_within;
        let addresses = s.account.map_or(0, |account| {
            let key = self.accounts.key(account).at(s.pattern.filter);
            self.accounts.addresses(key, at, within)
        });
        let enough = self.decide.account_addresses;
        let is_attacked = enough > 0 && addresses >= enough;
        // Where many log in day by day, somebody else may have guessed.
        let is_news = !self.logins.outnumber(trail.tried(), s.address, now);
        // One guess fewer than would have been a ban: who guesses at speed cannot get further and be let in.
        let suspicious = (self.decide.threshold.0 / 1000 - 1).clamp(LEAST_GUESSES, GUESSES);
        if !is_news || i32::from(guesses) < suspicious && (!is_attacked || guesses < FEW_GUESSES) {
            return None;
        }
        let score = self.score(s.address, at);
        self.evidence.push(s, Given::NONE, score, at);
        let trouble = Trouble::SuccessAfterFailures { guesses: guesses.into(), addresses: addresses as u32 };
        Some(Incident::of(trouble, s, at))
    }

    /// A ban that was ordered stands. What many of them lead to is ordered in turn ([`Self::further`]).
    pub fn stands(&mut self, order: &BanOrder, now: Moment) {
        self.offenders.stands(order.target);
        self.counts(order.target, order.pattern, now);
    }

    /// A rule bans a host because of a line of this pattern, for so long, or by the ladder where it does not say: that
    /// counts as every ban does. `None` if the host is banned already.
    pub fn ruled(
        &mut self,
        target: Target,
        length: Option<Option<Duration>>,
        pattern: PatternId,
        now: Moment,
    ) -> Option<Sentence> {
        let term = length.map_or(Term::Ladder { percent: 100 }, Term::Ruled);
        let sentence = self.offenders.strike(target, term, now, &self.decide)?;
        self.counts(target, pattern, now);
        Some(sentence)
    }

    /// A ban has begun, because of a line of this pattern.
    fn counts(&mut self, target: Target, pattern: PatternId, now: Moment) {
        // What many of them have led to is no more of them.
        if target.is_host()
            && self.storm.ban(&self.decide, now)
            && let Some(until) = self.storm.until()
        {
            self.further.push_back(Decision::StormBegins(until));
        }
        if self.decide.prefix_hosts == 0 {
            return;
        }
        let (enough, within) = if target.is_host() {
            (self.decide.prefix_hosts, self.decide.prefix_within)
        } else {
            (self.decide.prefix_children, self.decide.prefix_length)
        };
        if let Some(crowd) = self.banned.see(target, now, enough, within)
            && self.order_prefix(crowd.prefix, Cause::Banned(crowd.members), pattern, now)
        {
            self.banned.answered(crowd.prefix);
        }
    }

    /// Takes note of the time: a storm may be over, and what has waited for that is ordered.
    pub fn tick(&mut self, now: Moment) {
        if let Some(Ended { held, unheld }) = self.storm.end(now) {
            self.further.push_back(Decision::StormEnds { held: held.len() as u32, unheld });
            for order in held {
                self.order_prefix(order.target, order.cause, order.pattern, now);
            }
        }
    }

    /// When [`Self::tick`] has something to do.
    pub const fn next_tick(&self) -> Option<Moment> {
        self.storm.until()
    }

    /// The next of the decisions that were made besides the one that [`Self::observe`] has answered.
    pub fn further(&mut self) -> Option<Decision> {
        self.further.pop_front()
    }

    /// Orders a prefix, unless somebody logged in from it lately or a storm makes it wait. Answers whether something came of
    /// it: not where too many wait.
    fn order_prefix(&mut self, target: Target, cause: Cause, pattern: PatternId, now: Moment) -> bool {
        if let Some(login) = self.logins.within(target, now) {
            self.count.spared += 1;
            self.further.push_back(Decision::Spared { target, login });
            return true;
        }
        let order = BanOrder { target, since: now, until: None, score: Points(0), strike: 0, cause, pattern };
        if self.storm.holds(now) {
            let hold = self.storm.hold(&order);
            match hold {
                Hold::New => self.further.push_back(Decision::Held(order)),
                Hold::Known => {}
                Hold::Full => self.count.unheld += 1,
            }
            return hold != Hold::Full;
        }
        let term = Term::Fixed(self.decide.prefix_length);
        if let Some(sentence) = self.offenders.strike(target, term, now, &self.decide) {
            self.count.orders += 1;
            let order = BanOrder { until: sentence.until, strike: sentence.strike, ..order };
            self.further.push_back(Decision::Ban(order));
        }
        true
    }

    pub(super) fn tell(&mut self, incident: Incident) {
        self.count.incidents += 1;
        self.further.push_back(Decision::Incident(incident));
    }
}

impl Incident {
    /// An incident of the address that a line is about.
    fn of(trouble: Trouble, s: &Sighting<'_>, at: Moment) -> Self {
        let account = s.account.map(Into::into);
        Self { trouble, address: Some(s.address), account, at, pattern: s.pattern, is_doubted: false }
    }
}
