//! Joining the lines of one attempt, so that a failed login that writes several lines counts once.
//!
//! sshd writes for one wrong password of an unknown account an invalid-user line, a PAM line and a failed-password
//! line, all from one process. An attempt is a set of kinds seen from one process about one address: a kind it
//! does not have yet joins it and adds only what the earlier lines have not given; a kind it has begins the next
//! attempt. So those three lines are one attempt, and six failed passwords on one connection are six. Where PAM asks
//! several modules, each says that the password was wrong: so each is told apart as if it were a kind of its own.
//!
//! Attempts are short-lived and shared by few lines, so they are kept in a cache of fixed size beside the sources:
//! a set of four for each hash of address and process. What is pushed out too early counts as a new attempt.

use crate::dense::Seed;
use crate::memory::prefetch;
use crate::sighting::{Kind, Points, Sighting, SourceId};
use crate::time::Moment;

/// Milliseconds after its first line in which a line can join an attempt: `LoginGraceTime` of sshd.
pub(super) const JOIN: u64 = 120_000;
/// Attempts in a set.
const WAYS: usize = 4;
/// Sets: together 32,768 attempts.
const SETS: usize = 8192;
/// Spreads process ids over all bits of a hash: 2^64 divided by the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Marks that are left for modules of PAM.
const MODULES: u16 = 32 - Kind::ALL.len() as u16;
const _: () = assert!(MODULES > 1, "a kind is a bit of a u32");

/// One attempt to get in.
#[derive(Clone, Copy, Debug, Default)]
struct Attempt {
    /// Hash of address and process; 0 for a free place.
    tag: u32,
    /// When its first line happened.
    first: Moment,
    /// Points given so far, in thousandths.
    given: i32,
    port: u16,
    /// The source its first line came through.
    via: u16,
    /// Kinds seen through that source.
    kinds: u32,
    /// Kinds seen through any other source.
    copies: u32,
}

/// The attempts of one hash, in two lines of a processor's cache.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Set([Attempt; WAYS]);

const _: () = assert!(size_of::<Set>() == 128);

/// The last attempts.
#[derive(Debug)]
pub(super) struct Attempts {
    sets: Vec<Set>,
    seed: Seed,
}

/// What a line means to its attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Joined {
    /// Points it adds.
    pub(super) points: Points,
    /// Whether it belongs to an attempt that had counted already.
    pub(super) joined: bool,
}

impl Attempts {
    /// No attempts; memory is taken with the first line.
    pub(super) const fn new(seed: Seed) -> Self {
        Self { sets: Vec::new(), seed }
    }

    /// Which attempt a line about an address ([`super::sources::address_bits`]) belongs to, and what it adds. A line of an
    /// unknown process is an attempt of its own.
    #[inline]
    pub(super) fn join(&mut self, address: u128, s: &Sighting<'_>, via: SourceId, at: Moment) -> Joined {
        if s.pid == 0 {
            return Joined { points: s.points, joined: false };
        }
        if self.sets.is_empty() {
            self.sets = vec![Set::default(); SETS];
        }
        let hash = self.hash(address, s.pid);
        let set = &mut self.sets[hash as usize % SETS].0;
        let tag = (hash >> 32) as u32 | 1;
        let kind = mark(s);
        for attempt in set.iter_mut() {
            if attempt.tag == tag && attempt.takes(kind, s.port, via, at) {
                let points = Points(s.points.0.saturating_sub(attempt.given).max(0));
                attempt.given = attempt.given.max(s.points.0);
                attempt.port = attempt.port.max(s.port);
                return Joined { points, joined: true };
            }
        }
        // Newest first: the oldest of the set makes room.
        set.copy_within(..WAYS - 1, 1);
        set[0] =
            Attempt { tag, first: at, given: s.points.0, port: s.port, via: via.0, kinds: kind, copies: 0 };
        Joined { points: s.points, joined: false }
    }

    /// The attempts of a line are asked for soon.
    #[inline]
    pub(super) fn expect(&self, address: u128, pid: u32) {
        if let Some(Set([first, .., last])) = self.sets.get(self.hash(address, pid) as usize % SETS) {
            prefetch(first);
            prefetch(last);
        }
    }

    #[inline]
    fn hash(&self, address: u128, pid: u32) -> u64 {
        self.seed.hash(address).wrapping_add(u64::from(pid).wrapping_mul(SPREAD))
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.sets.capacity() * size_of::<Set>()
    }
}

/// The bit of a line: its kind. Where PAM asks several modules each writes a line, so theirs are told apart by pattern.
fn mark(s: &Sighting<'_>) -> u32 {
    if s.kind == Kind::FailedPam {
        return 1 << (Kind::ALL.len() as u16 + s.pattern.pattern % MODULES);
    }
    1 << s.kind as u32
}

impl Attempt {
    /// Marks the kind as seen, unless the line must belong to another attempt.
    #[inline]
    fn takes(&mut self, kind: u32, port: u16, via: SourceId, at: Moment) -> bool {
        let near = at.0.abs_diff(self.first.0) <= JOIN;
        let same_port = port == 0 || self.port == 0 || port == self.port;
        let seen = if via.0 == self.via { &mut self.kinds } else { &mut self.copies };
        if !near || !same_port || *seen & kind != 0 {
            return false;
        }
        *seen |= kind;
        true
    }
}
