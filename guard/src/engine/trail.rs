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

/// Half of the time that guesses are counted: those of the present half and of the one before it. So what counts is no older
/// than a day, and what is no older than half a day counts.
const HALF: u32 = REMEMBERED.as_secs() as u32 / 2;

/// Accounts, told apart as eight sorts: a bit for each, by the first bits of their hash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sorts(pub(super) u8);

/// A source's trail: 32 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Trail {
    /// When it guessed last.
    last: Second,
    /// Seconds from the beginning of the present half to `last`.
    into_half: u16,
    /// Seconds from when the first of `accounts` was tried to `last`.
    since_first: u16,
    /// The different accounts tried since the first of them, as hashes.
    accounts: [u16; ACCOUNTS],
    /// Guesses of the present half.
    guesses: u8,
    /// Guesses of the half before it.
    before: u8,
    /// Different accounts tried in the present half and in the one before it: a bit for each of eight sorts.
    sorts: [u8; 2],
    /// Those of them that were tried where logins that succeed would be seen too.
    open: u8,
    /// Minutes between the last guesses, newest first.
    gaps: [u8; GAPS],
    /// How many of `gaps` are there.
    gaps_known: u8,
    /// How many of `accounts` are there, and from how many guesses on their slowness is told of again: a power of two. Four
    /// bits each.
    accounts_known_and_told: u8,
}

const _: () = assert!(size_of::<Trail>() == 32);
const _: () = assert!(HALF <= u16::MAX as u32);

impl Trail {
    /// One more guess, at an account of this hash if it is known.
    pub(super) fn guess(&mut self, account: Option<u64>, at: Moment, accounts_within: Duration) {
        let now = Second::of(at);
        if self.is_over(at) {
            *self = Self { last: now, ..Self::default() };
        } else {
            let passed = now.seconds_since(self.last) as u32;
            self.pass(passed);
            self.gaps.copy_within(..GAPS - 1, 1);
            self.gaps[0] = u8::try_from((passed + 30) / 60).unwrap_or(u8::MAX);
            self.gaps_known = (self.gaps_known + 1).min(GAPS as u8);
        }
        self.guesses = self.guesses.saturating_add(1);
        if let Some(account) = account {
            self.try_account(account, accounts_within);
        }
    }

    /// Goes on by so many seconds.
    #[inline]
    fn pass(&mut self, seconds: u32) {
        self.last = self.last.shifted(seconds.into());
        self.since_first = self.since_first.saturating_add(u16::try_from(seconds).unwrap_or(u16::MAX));
        let into = u32::from(self.into_half) + seconds;
        self.into_half = if into < HALF {
            into as u16
        } else {
            self.begin_half(into / HALF == 1);
            (into % HALF) as u16
        };
    }

    /// Begins another half, right after the present one or later.
    #[cold]
    fn begin_half(&mut self, is_next: bool) {
        self.before = if is_next { self.guesses } else { 0 };
        self.sorts = [0, if is_next { self.sorts[0] } else { 0 }];
        self.open &= self.sorts[1];
        self.guesses = 0;
        let told = self.told().min(doubled(self.before.into()));
        self.set(self.accounts(), told);
    }

    /// The guess was at an account of this hash, where logins that succeed would be seen too.
    pub(super) const fn open(&mut self, account: u64) {
        self.open |= 1 << (account >> 61);
    }

    fn try_account(&mut self, account: u64, within: Duration) {
        self.sorts[0] |= 1 << (account >> 61);
        let account = account as u16;
        let known = self.accounts();
        if known == 0 || u64::from(self.since_first) > within.as_secs() {
            self.since_first = 0;
            self.accounts[0] = account;
            self.set(1, self.told());
        } else if known < ACCOUNTS && !self.has(account) {
            self.accounts[known] = account;
            self.set(known + 1, self.told());
        }
    }

    /// Whether an account is one of those that are told apart.
    #[inline]
    pub(super) fn has(&self, account: u16) -> bool {
        let same = |same, place: usize| same | u8::from(self.accounts[place] == account) << place;
        (0..ACCOUNTS).fold(0, same) & ((1 << self.accounts()) - 1) != 0
    }

    /// Guesses up to the last one, of half a day at least and a day at most.
    pub(super) const fn guesses(&self) -> u16 {
        self.guesses as u16 + self.before as u16
    }

    /// The same as seen at a moment.
    pub(super) fn guesses_at(mut self, now: Moment) -> u16 {
        if self.is_over(now) {
            return 0;
        }
        self.pass(Second::of(now).seconds_since(self.last) as u32);
        self.guesses()
    }

    /// Different accounts tried in a short time, at most [`ACCOUNTS`].
    pub(super) const fn accounts(&self) -> usize {
        (self.accounts_known_and_told & 15) as usize
    }

    /// From so many guesses on, as a power of two, their slowness is told of again.
    const fn told(&self) -> u8 {
        self.accounts_known_and_told >> 4
    }

    const fn set(&mut self, accounts: usize, told: u8) {
        self.accounts_known_and_told = accounts as u8 | told << 4;
    }

    /// Different accounts tried in the time that guesses are counted, of those that [`Self::open`] was told of: at least so
    /// many.
    pub(super) const fn sorts(&self) -> u32 {
        (self.open & self.tried().0).count_ones()
    }

    /// Which sorts of accounts were tried in that time.
    pub(super) const fn tried(&self) -> Sorts {
        Sorts(self.sorts[0] | self.sorts[1])
    }

    /// Whether there were so many guesses, and the median time between the last ones is at least `gap`.
    pub(super) fn is_slow(&self, guesses: usize, gap: Duration) -> bool {
        let known = usize::from(self.gaps_known);
        if known == 0 || known + 1 < guesses.min(GAPS + 1) {
            return false;
        }
        // Less than half of them are shorter.
        let minutes = (gap.as_secs() + u64::from(gap.subsec_nanos() > 0)).div_ceil(60);
        let is_shorter = |place: usize| place < known && u64::from(self.gaps[place]) < minutes;
        let shorter: usize = (0..GAPS).map(|place| usize::from(is_shorter(place))).sum();
        shorter <= (known - 1) / 2
    }

    /// The gaps have been looked at: the next ones begin a new count. Answers whether they are to be told of: the first
    /// ones are, and then as the guesses pass powers of two.
    pub(super) fn forget_gaps(&mut self) -> bool {
        self.gaps_known = 0;
        let is_news = u32::from(self.guesses()) >= 1 << self.told();
        if is_news {
            self.set(self.accounts(), doubled(self.guesses()));
        }
        is_news
    }

    /// The accounts have been told of.
    pub(super) const fn forget_accounts(&mut self) {
        self.set(0, self.told());
    }

    /// A ban has answered the guesses up to now. What was told of them stays told.
    pub(super) const fn forget_guesses(&mut self) {
        (self.guesses, self.before, self.sorts, self.open) = (0, 0, [0; 2], 0);
    }

    /// Whether nothing was ever remembered.
    pub(super) fn is_blank(&self) -> bool {
        *self == Self::default()
    }

    /// Whether there is nothing left to remember.
    #[inline]
    pub(super) fn is_over(&self, now: Moment) -> bool {
        self.guesses == 0 && self.is_blank() || Second::of(now).since(self.last) > REMEMBERED
    }

    /// The same trail on a timeline that is so many seconds ahead, as one that may have been tampered with.
    pub(super) fn shifted(self, seconds: i64) -> Self {
        let mut trail = Self {
            gaps_known: self.gaps_known.min(GAPS as u8),
            into_half: (u32::from(self.into_half) % HALF) as u16,
            last: self.last.shifted(seconds),
            ..self
        };
        trail.set(self.accounts().min(ACCOUNTS), self.told());
        trail
    }
}

/// The least power of two above so many.
const fn doubled(guesses: u16) -> u8 {
    let power = u16::BITS - guesses.leading_zeros();
    if power < 15 { power as u8 } else { 15 }
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
    fn guesses_of_more_than_a_day_ago_count_no_more_however_many_follow() {
        const HOUR: i64 = 60 * MINUTE;
        let mut trail = Trail::default();
        for day in 0..30 {
            for mistake in 0..2 {
                trail.guess(Some(u64::MAX), Moment((day * 24 + mistake) * HOUR), FIVE);
                trail.open(u64::MAX);
                assert!(trail.guesses() <= 4, "day {day}");
            }
        }
        assert_eq!((trail.sorts(), trail.guesses_at(Moment((29 * 24 + 2) * HOUR))), (1, 2));
        // Half a day is told whole.
        for guess in 0..11 {
            trail.guess(Some(guess << 61), Moment((1000 + guess as i64) * HOUR), FIVE);
            trail.open(guess << 61);
        }
        assert_eq!((trail.guesses(), trail.sorts()), (11, 8));
        assert_eq!(trail.guesses_at(Moment(1034 * HOUR)), 0, "and after a day nothing");
    }

    #[test]
    fn only_accounts_where_logins_are_seen_count_as_sorts_and_for_as_long_as_they_are_tried() {
        const HOUR: i64 = 60 * MINUTE;
        let mut trail = Trail::default();
        for guess in 0..8_u64 {
            trail.guess(Some(guess << 61), Moment(0), FIVE);
            if guess < 6 {
                trail.open(guess << 61);
            }
        }
        assert_eq!((trail.sorts(), trail.tried()), (6, Sorts(255)));
        trail.guess(Some(0), Moment(13 * HOUR), FIVE);
        assert_eq!(trail.sorts(), 6, "in the half before");
        trail.guess(Some(0), Moment(25 * HOUR), FIVE);
        assert_eq!(trail.sorts(), 1, "the others were tried too long ago");
        trail.guess(Some(1 << 61), Moment(26 * HOUR), FIVE);
        assert_eq!(trail.sorts(), 1, "and this one is not where it was");
    }

    #[test]
    fn a_trail_is_the_same_on_another_timeline() {
        let guesses = [0, 7 * 3600, 13 * 3600, 14 * 3600, 30 * 3600, 41 * 3600];
        let ahead = 1_234_567;
        let tried = |trail: &mut Trail, at: i64| trail.guess(Some(at as u64), Moment(at * 1000), FIVE);
        for cut in 0..guesses.len() {
            let (mut straight, mut shifted) = (Trail::default(), Trail::default());
            for (number, at) in guesses.into_iter().enumerate() {
                tried(&mut straight, at);
                if number == cut {
                    shifted = shifted.shifted(ahead);
                }
                // The hashes of accounts stay those of before.
                let moved = Moment((at + if number < cut { 0 } else { ahead }) * 1000);
                shifted.guess(Some(at as u64), moved, FIVE);
            }
            assert_eq!(shifted, straight.shifted(ahead), "cut at {cut}");
        }
    }

    #[test]
    fn a_ban_answers_the_guesses_before_it() {
        let mut trail = Trail::default();
        for guess in 0..12 {
            trail.guess(Some(guess << 61), Moment(guess as i64 * 10 * MINUTE), FIVE);
            trail.open(guess << 61);
        }
        trail.forget_guesses();
        assert_eq!((trail.guesses(), trail.sorts()), (0, 0));
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
