//! What is remembered of a source for a day, besides its points: how often it guessed, how far apart, and at whom.

use std::time::Duration;

use super::second::Second;
use crate::time::Moment;

/// How long it is remembered.
pub(super) const REMEMBERED: Duration = Duration::from_secs(24 * 3600);
/// Gaps that are remembered.
const GAPS: usize = 5;
/// Different accounts that are told apart within a short time.
pub(super) const ACCOUNTS: usize = 6;

/// A source's trail: 32 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Trail {
    /// When it guessed last.
    last: Second,
    /// When the first of `accounts` was tried.
    begun: Second,
    /// The different accounts tried since `begun`, as hashes.
    accounts: [u16; ACCOUNTS],
    /// Guesses since the trail began.
    guesses: u16,
    /// Different accounts tried since the trail began: a bit for each of eight sorts.
    sorts: u8,
    /// Minutes between the last guesses, newest first.
    gaps: [u8; GAPS],
    /// How many of `gaps` are there.
    gaps_known: u8,
    /// How many of `accounts` are there.
    accounts_known: u8,
    /// Guesses when their slowness was last told of.
    told: u16,
}

const _: () = assert!(size_of::<Trail>() == 32);

impl Trail {
    /// One more guess, at an account of this hash if it is known.
    pub(super) fn guess(&mut self, account: Option<u64>, at: Moment, accounts_within: Duration) {
        let now = Second::of(at);
        if self.guesses > 0 {
            let minutes = (now.since(self.last).as_secs() + 30) / 60;
            self.gaps.copy_within(..GAPS - 1, 1);
            self.gaps[0] = u8::try_from(minutes).unwrap_or(u8::MAX);
            self.gaps_known = (self.gaps_known + 1).min(GAPS as u8);
        }
        self.guesses = self.guesses.saturating_add(1);
        self.last = now;
        if let Some(account) = account {
            self.try_account(account, now, accounts_within);
        }
    }

    fn try_account(&mut self, account: u64, now: Second, within: Duration) {
        self.sorts |= 1 << (account >> 61);
        let account = account as u16;
        let known = usize::from(self.accounts_known);
        if known == 0 || now.since(self.begun) > within {
            (self.begun, self.accounts_known) = (now, 1);
            self.accounts[0] = account;
        } else if known < ACCOUNTS && !self.accounts[..known].contains(&account) {
            self.accounts[known] = account;
            self.accounts_known += 1;
        }
    }

    /// Guesses in the time that is remembered.
    pub(super) const fn guesses(&self) -> u16 {
        self.guesses
    }

    /// Different accounts tried in a short time, at most [`ACCOUNTS`].
    pub(super) const fn accounts(&self) -> usize {
        self.accounts_known as usize
    }

    /// Different accounts tried in the time that is remembered: at least so many.
    pub(super) const fn sorts(&self) -> u32 {
        self.sorts.count_ones()
    }

    /// Whether there were so many guesses, and the median time between the last ones is at least `gap`.
    pub(super) fn is_slow(&self, guesses: usize, gap: Duration) -> bool {
        let known = usize::from(self.gaps_known);
        if known == 0 || known + 1 < guesses.min(GAPS + 1) {
            return false;
        }
        // Less than half of them are shorter.
        let shorter = self.gaps[..known].iter().filter(|minutes| minutes_long(**minutes) < gap).count();
        shorter <= (known - 1) / 2
    }

    /// The gaps have been looked at: the next ones begin a new count. Answers whether they are to be told of: the first
    /// ones are, and then each time the guesses have doubled.
    pub(super) fn forget_gaps(&mut self) -> bool {
        self.gaps_known = 0;
        let is_news = self.guesses >= self.told.saturating_mul(2).max(1);
        if is_news {
            self.told = self.guesses;
        }
        is_news
    }

    /// The accounts have been told of.
    pub(super) const fn forget_accounts(&mut self) {
        self.accounts_known = 0;
    }

    /// Whether there is nothing left to remember.
    pub(super) fn is_over(&self, now: Moment) -> bool {
        self.guesses == 0 || Second::of(now).since(self.last) > REMEMBERED
    }

    /// The same trail on a timeline that is so many seconds ahead, as one that may have been tampered with.
    pub(super) fn shifted(self, seconds: i64) -> Self {
        Self {
            gaps_known: self.gaps_known.min(GAPS as u8),
            accounts_known: self.accounts_known.min(ACCOUNTS as u8),
            last: self.last.shifted(seconds),
            begun: self.begun.shifted(seconds),
            ..self
        }
    }
}

const fn minutes_long(minutes: u8) -> Duration {
    Duration::from_secs(60 * minutes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60_000;
    const FIVE: Duration = Duration::from_secs(300);

    #[test]
    fn the_median_of_the_gaps_is_told_once_there_are_enough() {
        let mut trail = Trail::default();
        for (minute, median) in
            [(0, None), (10, None), (19, None), (31, Some(10)), (41, Some(10)), (42, Some(10))]
        {
            trail.guess(None, Moment(minute * MINUTE), FIVE);
            let is_slow = |minutes: u64| trail.is_slow(4, Duration::from_secs(minutes * 60));
            let told = (0..=60).rev().find(|minutes| is_slow(*minutes));
            assert_eq!(told, median, "minute {minute}");
        }
        assert!(trail.forget_gaps());
        assert!(!trail.is_slow(4, Duration::ZERO));
        assert!(!trail.forget_gaps(), "that is no news");
    }

    #[test]
    fn a_gap_of_nearly_ten_minutes_is_one_of_ten() {
        let mut trail = Trail::default();
        for guess in 0..4 {
            trail.guess(None, Moment(guess * (10 * MINUTE - 7000)), FIVE);
        }
        assert!(trail.is_slow(4, Duration::from_secs(600)) && !trail.is_slow(4, Duration::from_secs(601)));
    }

    #[test]
    fn different_accounts_count_once_each_and_within_their_time() {
        let mut trail = Trail::default();
        for account in [1, 2, 1, 2, 3] {
            trail.guess(Some(account), Moment(MINUTE), FIVE);
        }
        assert_eq!(trail.accounts(), 3);
        trail.guess(Some(4), Moment(7 * MINUTE), FIVE);
        assert_eq!(trail.accounts(), 1, "the others were tried too long ago");
    }

    #[test]
    fn a_day_later_it_is_over() {
        let mut trail = Trail::default();
        assert!(trail.is_over(Moment(0)));
        trail.guess(None, Moment(-MINUTE), FIVE);
        assert!(!trail.is_over(Moment(23 * 60 * MINUTE)));
        assert!(trail.is_over(Moment(25 * 60 * MINUTE)));
    }
}
