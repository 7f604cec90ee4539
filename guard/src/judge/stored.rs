//! Bans and pasts as the store keeps them: in wall-clock time, because moments end with the boot.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ban::{BanId, BanRef, Origin};
use crate::engine::{KeptLogin, KeptScore, LoginAccounts, Strikes};
use crate::sighting::Points;
use crate::store::{StoredBan, StoredLogin, StoredScore, StoredStrikes, Write};
use crate::time::Clock;

/// A ban for the store.
pub fn ban(ban: BanRef<'_>, clock: Clock) -> StoredBan {
    Texts::default().ban(ban, clock)
}

/// Origins and reasons of bans in words, each once: nearly all of a table's bans have one of a few.
#[derive(Debug, Default)]
pub struct Texts<'a>(HashMap<(&'a Origin, &'a str), [Arc<str>; 2]>);

impl<'a> Texts<'a> {
    /// A ban for the store, which shares its texts with others.
    pub fn ban(&mut self, ban: BanRef<'a>, clock: Clock) -> StoredBan {
        let new = || [origin(ban.origin), ban.reason.into()];
        let [origin, reason] = self.0.entry((ban.origin, ban.reason)).or_insert_with(new).clone();
        stored(ban, origin, reason, clock)
    }
}

fn origin(origin: &Origin) -> Arc<str> {
    match origin {
        Origin::Filter(name) => format!("filter:{name}").into(),
        Origin::Prefix => "prefix".into(),
        Origin::Rule(name) => format!("rule:{name}").into(),
        Origin::Manual(uid) => format!("manual:{uid}").into(),
        Origin::Forced(uid) => format!("forced:{uid}").into(),
        Origin::Feed(name) => format!("feed:{name}").into(),
    }
}

fn stored(ban: BanRef<'_>, origin: Arc<str>, reason: Arc<str>, clock: Clock) -> StoredBan {
    StoredBan {
        id: ban.id,
        target: ban.target,
        since: clock.wall_of(ban.since),
        until: ban.until.map(|until| clock.wall_of(until)),
        origin,
        score: ban.score.0,
        strike: ban.strike,
        reason,
    }
}

/// A ban from the store, whose origin [`Origins`] has read. It began no later than now and ends no later than its own length
/// from now, wherever the wall clock was when it was stored.
pub(super) fn restored<'a>(stored: &'a StoredBan, origin: &'a Origin, clock: Clock) -> BanRef<'a> {
    BanRef {
        id: BanId(stored.id.0),
        target: stored.target,
        since: clock.moment_of(stored.since).min(clock.moment),
        until: stored.until.map(|until| {
            let length = clock.moment_of(until).since(clock.moment_of(stored.since));
            clock.moment_of(until).min(clock.moment + length)
        }),
        origin,
        score: Points(stored.score),
        strike: stored.strike,
        reason: &stored.reason,
    }
}

/// Origins from the store. Most bans have that of the one before.
#[derive(Debug, Default)]
pub(super) struct Origins(Option<(Arc<str>, Origin)>);

impl Origins {
    /// The origin that a text names.
    pub(super) fn read(&mut self, text: &Arc<str>) -> &Origin {
        if self.0.as_ref().is_some_and(|(last, _)| last != text) {
            self.0 = None;
        }
        &self.0.get_or_insert_with(|| (Arc::clone(text), origin_of(text))).1
    }
}

fn origin_of(text: &str) -> Origin {
    match text.split_once(':') {
        Some(("manual", uid)) => Origin::Manual(uid.parse().unwrap_or(0)),
        Some(("forced", uid)) => Origin::Forced(uid.parse().unwrap_or(0)),
        Some(("rule", name)) => Origin::Rule(name.into()),
        Some(("feed", name)) => Origin::Feed(name.into()),
        Some((_, name)) => Origin::Filter(name.into()),
        None if text == "prefix" => Origin::Prefix,
        None => Origin::Filter(text.into()),
    }
}

/// An offender's past for the store.
pub(super) fn strikes(past: &Strikes, clock: Clock) -> StoredStrikes {
    StoredStrikes {
        target: past.target,
        strikes: past.count,
        last: clock.wall_of(past.last),
        recent: past.recent.iter().map(|at| clock.wall_of(*at)).collect(),
    }
}

/// An offender's past from the store. None of it lies in the future, where it would never be forgiven.
pub(super) fn restored_strikes(stored: &StoredStrikes, clock: Clock) -> Strikes {
    Strikes {
        target: stored.target,
        count: stored.strikes,
        last: clock.moment_of(stored.last).min(clock.moment),
        recent: stored.recent.iter().map(|at| clock.moment_of(*at).min(clock.moment)).collect(),
    }
}

/// Scores for the store.
pub(super) fn scores(scores: impl IntoIterator<Item = KeptScore>, clock: Clock) -> Write {
    let stored = |kept: KeptScore| StoredScore {
        address: kept.address,
        points: kept.points.0,
        settled: clock.wall_of(kept.settled),
    };
    Write::Scores(scores.into_iter().map(stored).collect())
}

/// A score from the store.
pub(super) fn restored_score(stored: &StoredScore, clock: Clock) -> KeptScore {
    KeptScore {
        address: stored.address,
        points: Points(stored.points),
        settled: clock.moment_of(stored.settled),
    }
}

/// Logins for the store.
pub(super) fn logins(logins: impl IntoIterator<Item = KeptLogin>, clock: Clock) -> Write {
    let stored = |kept: KeptLogin| StoredLogin {
        address: kept.address,
        last: kept.last.map(|last| clock.wall_of(last)),
        accounts: kept.accounts.0,
    };
    Write::Logins(logins.into_iter().map(stored).collect())
}

/// A login from the store.
pub(super) fn restored_login(stored: &StoredLogin, clock: Clock) -> KeptLogin {
    KeptLogin {
        address: stored.address,
        last: stored.last.map(|last| clock.moment_of(last)),
        accounts: LoginAccounts(stored.accounts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_read_as_they_were_stored_whichever_came_before() {
        let name = || "sshd".into();
        let all = [
            Origin::Filter(name()),
            Origin::Rule(name()),
            Origin::Feed(name()),
            Origin::Prefix,
            Origin::Manual(1000),
            Origin::Forced(0),
        ];
        let texts = all.each_ref().map(origin);
        let mut origins = Origins::default();
        for before in 0..all.len() {
            for (text, origin) in texts.iter().zip(&all) {
                assert_eq!(origins.read(&texts[before]), &all[before]);
                assert_eq!(origins.read(text), origin);
                assert_eq!(origins.read(&(&**text).into()), origin, "the same text elsewhere");
            }
        }
        assert_eq!(origins.read(&"sshd".into()), &Origin::Filter(name()), "of an older store");
    }
}
