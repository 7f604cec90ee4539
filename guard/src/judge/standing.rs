//! What speaks against a ban: one that stands already, a protection, too many prefixes. A replay asks the same.

use super::is_recovered;
use crate::ban::{BanRef, BanTable, Origin, ends_later};
use crate::protect::Protection;
use crate::rules::action::Term;
use crate::target::Target;
use crate::time::Moment;

/// Bans and protections as they stand at a moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing<'a> {
    pub(crate) bans: &'a BanTable,
    pub(crate) protection: &'a Protection,
    /// Prefixes that the engine may have banned at once.
    pub(crate) prefix_most: usize,
    pub(crate) now: Moment,
}

/// What speaks against an order of the engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Against {
    /// A ban of this target covers all of it.
    Covered(Target),
    /// It must not be banned, for this reason.
    Forbidden(String),
}

impl Standing<'_> {
    /// What speaks against an order of the engine.
    pub(crate) fn against(&self, target: Target) -> Option<Against> {
        let covered = self.covering(target).map(Against::Covered);
        covered.or_else(|| self.refusal(target).map(Against::Forbidden))
    }

    /// Whether what stands is enough for a rule: a ban of its own, which lines in flight do not move, or one that lasts as
    /// long as it wants. Where the ladder says how long, any is.
    pub(crate) fn serves(&self, target: Target, rule: &Origin, term: Term) -> bool {
        let wanted = term.length().map(|length| length.map(|length| self.now + length));
        self.bans.covering(target.address()).any(|ban| {
            let ours = ban.origin == rule && ban.target == target;
            let longer = wanted.is_none_or(|wanted| !ends_later(wanted, ban.until));
            !ban.is_over(self.now) && (ours || longer && !is_recovered(ban.origin))
        })
    }

    /// A ban that covers all of a target and is known to be more than a remainder in the kernel.
    fn covering(&self, target: Target) -> Option<Target> {
        let covers = |ban: &BanRef<'_>| {
            ban.target.length() <= target.length() && !ban.is_over(self.now) && !is_recovered(ban.origin)
        };
        self.bans.covering(target.address()).find(covers).map(|ban| ban.target)
    }

    fn refusal(&self, target: Target) -> Option<String> {
        if let Some(because) = self.protection.refusal(target, self.now) {
            return Some(because);
        }
        let most = self.prefix_most;
        (!target.is_host() && self.prefixes() >= most as u64)
            .then(|| format!("{most} prefixes are banned already (decide.prefix_most)"))
    }

    /// Prefixes that the engine has banned.
    fn prefixes(&self) -> u64 {
        let counts = self.bans.counts().filter(|(origin, _)| **origin == Origin::Prefix);
        counts.map(|(_, count)| count.ipv4 + count.ipv6).sum()
    }
}
