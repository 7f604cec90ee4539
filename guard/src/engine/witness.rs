//! Joining what several programs say about one failed login.
//!
//! A failed login is often told twice: by the server and by the PAM stack of a helper (postfix and saslauthd, dovecot
//! and its worker), by a web application and the access log in front of it. These programs share neither a process
//! nor a port, only the address and the time. So of two attempts of one address that different filters saw within a
//! few seconds, the later is taken for the other's witness, unless both name an account and not the same: the two give
//! together what the higher of them is worth.
//!
//! A service can also tell of one login in two places itself, such as vsftpd in its own file and, through PAM, in the
//! journal. There the filter is the same, so sources and kinds must differ, and one of the two lines must come without
//! a process: else the processes would tell.
//!
//! And PAM has lines of its own ([`Kind::FailedPam`]), which may come from a process of their own. sshd forks for PAM where
//! it asks for a password through keyboard-interactive: the modules' lines are the child's, all others its own. Only then
//! does an unknown account come from PAM before or after it has come from another process, and only then does sshd tell
//! itself what PAM has said. And where no line names its process, as with vsftpd in syslog, the lines of PAM and those of
//! the program are told apart by their kind.
//!
//! That can be wrong: who tries SSH and IMAP at once makes two attempts that look like one. What he gains is bounded,
//! because an attempt has one witness at most, and of the two the higher counts. So he gets at least half of the points
//! of all his attempts, and at least those of any one filter in any one source.
//!
//! Kept as attempts are: in a cache of fixed size, a set for each hash of an address. What is pushed out too early
//! counts on its own.

use super::attempt::{JOIN, Joined};
use crate::bytes::first_eight;
use crate::dense::Seed;
use crate::memory::prefetch;
use crate::sighting::{Kind, Points, Sighting, SourceId};
use crate::time::Moment;

/// Milliseconds between two witnesses of a login. PAM waits up to three seconds before it tells a program that a
/// password was wrong (`pam_fail_delay(3)`: two seconds, more or less by half), after its own line; and stamps without
/// fractions are up to one second off.
const APART: u64 = 4000;
/// Attempts of a set. Within [`APART`] an address has seldom more before it is banned.
const WAYS: usize = 8;
const _: () = assert!(WAYS == 8, "a place is a bit of a u8");
/// Sets: together 16,384 attempts.
const SETS: usize = 2048;
/// The lowest bit of each of eight bytes.
const ONES: u64 = 0x0101_0101_0101_0101;
/// The highest bit of each of eight bytes.
const TOPS: u64 = 0x80 * ONES;

/// Kinds of lines, as a witness holds them.
const PAM: u8 = Kind::FailedPam as u8;
const AUTH: u8 = Kind::FailedAuth as u8;
const UNKNOWN: u8 = Kind::InvalidUser as u8;

/// Attempts to log in that failed, and who told of them.
#[derive(Debug)]
pub(super) struct Witnesses {
    sets: Vec<Set>,
    seed: Seed,
}

/// The logins of one hash. What is asked about all of them fills the first two lines of a processor's cache.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
struct Set {
    /// Hash of the address of each login, 0 for a free place.
    tags: [u32; WAYS],
    /// The place that is taken next: the oldest of the set makes room.
    next: usize,
    /// When the first that told of each login says it happened.
    at: [Moment; WAYS],
    logins: [Login; WAYS],
}

const _: () = assert!(std::mem::offset_of!(Set, logins) <= 128);

/// A failed login.
#[derive(Clone, Copy, Debug, Default)]
struct Login {
    /// Hash of the account, 0 if the first does not name it.
    account: u32,
    first: Witness,
    second: Option<Witness>,
}

/// One attempt, as a process told of it.
#[derive(Clone, Copy, Debug, Default)]
struct Witness {
    filter: u16,
    via: u16,
    pid: u32,
    kind: u8,
    /// The most points that a line of it is worth.
    worth: i32,
}

impl Witnesses {
    /// No logins; memory is taken with the first.
    pub(super) const fn new(seed: Seed) -> Self {
        Self { sets: Vec::new(), seed }
    }

    /// What a line about an address ([`super::sources::address_bits`]) adds to the login that it is about, given what it
    /// means to its own attempt.
    #[inline]
    pub(super) fn join(
        &mut self,
        address: u128,
        s: &Sighting<'_>,
        via: SourceId,
        at: Moment,
        line: Joined,
    ) -> Joined {
        let Joined { points, joined } = line;
        if !is_login(s.kind) || points.0 <= 0 {
            return line;
        }
        if self.sets.is_empty() {
            self.sets = vec![Set::default(); SETS];
        }
        let hash = self.seed.hash(address);
        let set = &mut self.sets[hash as usize % SETS];
        let tag = (hash >> 32) as u32 | 1;
        let witness = Witness {
            filter: s.pattern.filter,
            via: via.0,
            pid: s.pid,
            kind: s.kind as u8,
            worth: s.points.0,
        };
        // A later line of an attempt, worth more than the earlier ones.
        let before = s.points.0.saturating_sub(points.0);
        if joined && let Some(login) = set.find(tag, |_, login| login.has(s.pid, before)) {
            let more = login.raised_by(|login| login.raise(&witness, before));
            return Joined { points: Points(more.min(points.0)), joined };
        }
        let account = s.account.map_or(0, |account| hash_of_account(self.seed, account));
        let apart = |then: Moment| then.0.abs_diff(at.0);
        if let Some(login) = set.find(tag, |then, login| login.takes(&witness, account, apart(then))) {
            let more = login.raised_by(|login| login.second = Some(witness));
            return Joined { points: Points(more.min(points.0)), joined: true };
        }
        set.add(tag, at, Login { account, first: witness, second: None });
        line
    }

    /// The logins of a line's address are asked for soon.
    #[inline]
    pub(super) fn expect(&self, address: u128, kind: Kind) {
        if is_login(kind)
            && let Some(set) = self.sets.get(self.seed.hash(address) as usize % SETS)
        {
            prefetch(&set.tags);
            prefetch(&set.at[WAYS - 1]);
        }
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.sets.capacity() * size_of::<Set>()
    }
}

impl Set {
    /// The oldest login of an address that `fits`, which is asked when it happened, and then what is known of it.
    #[inline]
    fn find(&mut self, tag: u32, fits: impl Fn(Moment, &Login) -> bool) -> Option<&mut Login> {
        let same = (0..WAYS).fold(0u8, |same, place| same | u8::from(self.tags[place] == tag) << place);
        let mut oldest_first = same.rotate_right(self.next as u32);
        while oldest_first != 0 {
            let place = (self.next + oldest_first.trailing_zeros() as usize) % WAYS;
            if fits(self.at[place], &self.logins[place]) {
                return Some(&mut self.logins[place]);
            }
            oldest_first &= oldest_first - 1;
        }
        None
    }

    fn add(&mut self, tag: u32, at: Moment, login: Login) {
        self.tags[self.next] = tag;
        self.at[self.next] = at;
        self.logins[self.next] = login;
        self.next = (self.next + 1) % WAYS;
    }
}

impl Login {
    /// What all that is known of it gives.
    fn worth(&self) -> i32 {
        self.first.worth.max(self.second.map_or(0, |second| second.worth))
    }

    /// By how much `change` raises what it gives.
    fn raised_by(&mut self, change: impl FnOnce(&mut Self)) -> i32 {
        let before = self.worth();
        change(self);
        self.worth() - before
    }

    /// Whether this process has told of it, and was worth so much until now.
    fn has(&self, pid: u32, worth: i32) -> bool {
        self.first.is(pid, worth) || self.second.is_some_and(|second| second.is(pid, worth))
    }

    /// The process that was worth so much until now has said more.
    fn raise(&mut self, line: &Witness, worth: i32) {
        if self.first.is(line.pid, worth) {
            self.first.worth = line.worth;
        } else if let Some(second) = &mut self.second {
            second.worth = line.worth;
        }
    }

    /// Whether a new attempt so many milliseconds apart is this login, told by somebody else.
    fn takes(&self, other: &Witness, account: u32, apart: u64) -> bool {
        let same_account = account == 0 || self.account == 0 || account == self.account;
        self.second.is_none()
            && same_account
            && apart <= self.first.patience(other)
            && self.first.may_agree_with(other)
    }
}

impl Witness {
    fn is(&self, pid: u32, worth: i32) -> bool {
        self.pid == pid && self.worth == worth
    }

    /// How many milliseconds may lie between the lines of both.
    const fn patience(&self, other: &Self) -> u64 {
        match (self.kind, other.kind) {
            // Between them somebody types his password.
            (UNKNOWN, PAM) if self.filter == other.filter => JOIN,
            _ => APART,
        }
    }

    /// Whether one is of PAM, the other of the process that has forked for it.
    fn is_asked_by(&self, other: &Self) -> bool {
        // Where nobody forks, the account is told of by the process that asks PAM, and PAM's line has been joined.
        matches!((self.kind, other.kind), (PAM, AUTH) | (AUTH | UNKNOWN, PAM))
    }

    /// Whether the lines of both can be about one login.
    fn may_agree_with(&self, other: &Self) -> bool {
        if self.filter == other.filter {
            return match (self.pid, other.pid) {
                (0, 0) => (self.kind == PAM) != (other.kind == PAM),
                (0, _) | (_, 0) => self.via != other.via && self.kind != other.kind,
                (one, another) => one != another && self.is_asked_by(other),
            };
        }
        // What one process says has been joined, or is about another attempt.
        self.pid != other.pid || self.pid == 0
    }
}

/// Whether this is a login that failed, of which several programs may tell. Of keys only the SSH server knows.
const fn is_login(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::FailedPassword | Kind::FailedAuth | Kind::FailedPam | Kind::InvalidUser | Kind::RefusedUser
    )
}

/// Hash of an account without the domain that some programs add, in whatever case, never 0. Who finds accounts with one
/// hash gains no more than with one account.
#[inline]
fn hash_of_account(seed: Seed, account: &[u8]) -> u32 {
    let mut hash = 0;
    for chunk in account.chunks(8) {
        let eight = first_eight(chunk);
        let domain = domain(eight);
        if domain == 1 {
            break; // the name has ended with the chunk before
        }
        let name = lower(eight & domain.wrapping_sub(1));
        hash = seed.hash(u128::from(hash) << 64 | u128::from(name));
        if domain != 0 {
            break;
        }
    }
    (hash as u32).max(1)
}

/// The lowest bit of the first `@` of eight bytes; 0 if there is none.
#[inline]
const fn domain(eight: u64) -> u64 {
    let zero = eight ^ (ONES * b'@' as u64);
    // A byte borrows only if one below it was zero, so the lowest mark is right.
    let marks = zero.wrapping_sub(ONES) & !zero & TOPS;
    (marks & marks.wrapping_neg()) >> 7
}

/// Eight bytes of ASCII in lower case, all others as they are.
#[inline]
const fn lower(eight: u64) -> u64 {
    let low = eight & !TOPS;
    let from_a = low + ONES * (0x80 - b'A' as u64);
    let above_z = low + ONES * (0x7f - b'Z' as u64);
    eight | (from_a & !above_z & !eight & TOPS) >> 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_the_same_in_any_case_and_with_any_domain() {
        let hash = |account: &str| hash_of_account(Seed::new(1), account.as_bytes());
        for (one, other) in [
            ("root", "ROOT"),
            ("AZaz@[`{", "azaz@example.org"),
            ("Administrator", "aDMINISTRATOR@x"),
            ("eightlen@example.org", "eightlen"),
            ("", "@example.org"),
        ] {
            assert_eq!(hash(one), hash(other), "{one} {other}");
        }
        let different = ["root", "toor", "[", "{", "\u{c0}", "\u{e0}", "administrator", "administrators", ""];
        let hashes: std::collections::HashSet<u32> = different.into_iter().map(hash).collect();
        assert_eq!(hashes.len(), different.len());
        assert!(!hashes.contains(&0));
    }

    #[test]
    fn every_byte_is_lower_case_as_in_ascii_at_every_place() {
        for byte in 0..=u8::MAX {
            for place in 0..8 {
                let mut eight = *b"zZ[@`aA\xff";
                eight[place] = byte;
                let wanted = eight.map(|byte| byte.to_ascii_lowercase());
                assert_eq!(lower(u64::from_le_bytes(eight)).to_le_bytes(), wanted);
                let first = eight.iter().position(|byte| *byte == b'@');
                let domain = domain(u64::from_le_bytes(eight));
                assert_eq!(first, (domain != 0).then(|| domain.trailing_zeros() as usize / 8));
            }
        }
    }
}
