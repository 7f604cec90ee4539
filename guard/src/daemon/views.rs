//! Bans as people and the store see them.

use crate::api::{Answer, BanView, ErrorClass};
use crate::ban::{Ban, BanId, BanRef, Origin};
use crate::engine::Strikes;
use crate::sighting::Points;
use crate::store::{StoreError, StoredBan, StoredEvent, StoredEventView, StoredStrikes};
use crate::time::{Clock, Moment};

/// A ban for people.
pub(super) fn view(ban: BanRef<'_>, clock: Clock) -> BanView {
    BanView {
        target: ban.target,
        id: ban.id.0,
        since: clock.wall_of(ban.since).to_string(),
        until: ban.until.map(|until| clock.wall_of(until).to_string()),
        seconds_left: ban.until.map(|until| until.since(clock.moment).as_millis().div_ceil(1000) as u64),
        origin: ban.origin.clone(),
        score: points(ban.score),
        strike: ban.strike,
        reason: ban.reason.to_string(),
    }
}

/// The end of a ban in words.
pub(super) fn until(until: Option<Moment>, clock: Clock) -> String {
    until.map_or_else(|| "for good".to_owned(), |until| clock.wall_of(until).to_string())
}

/// Points as a decimal number.
pub(super) fn points(points: Points) -> String {
    points.as_f64().to_string()
}

/// A ban for the store.
pub(super) fn stored(ban: BanRef<'_>, clock: Clock) -> StoredBan {
    StoredBan {
        id: ban.id,
        target: ban.target,
        since: clock.wall_of(ban.since),
        until: ban.until.map(|until| clock.wall_of(until)),
        origin: match ban.origin {
            Origin::Filter(name) => format!("filter:{name}").into(),
            Origin::Manual(uid) => format!("manual:{uid}").into(),
        },
        score: ban.score.0,
        strike: ban.strike,
        reason: ban.reason.into(),
    }
}

/// A ban from the store.
pub(super) fn restored(stored: &StoredBan, clock: Clock) -> Ban {
    Ban {
        id: BanId(stored.id.0),
        target: stored.target,
        since: clock.moment_of(stored.since),
        until: stored.until.map(|until| clock.moment_of(until)),
        origin: match stored.origin.split_once(':') {
            Some(("manual", uid)) => Origin::Manual(uid.parse().unwrap_or(0)),
            Some((_, name)) => Origin::Filter(name.into()),
            None => Origin::Filter((&*stored.origin).into()),
        },
        score: Points(stored.score),
        strike: stored.strike,
        reason: (&*stored.reason).into(),
    }
}

/// An offender's past for the store.
pub(super) fn stored_strikes(past: &Strikes, clock: Clock) -> StoredStrikes {
    StoredStrikes {
        target: past.target,
        strikes: past.count,
        last: clock.wall_of(past.last),
        recent: past.recent.iter().map(|at| clock.wall_of(*at)).collect(),
    }
}

/// An offender's past from the store.
pub(super) fn restored_strikes(stored: &StoredStrikes, clock: Clock) -> Strikes {
    Strikes {
        target: stored.target,
        count: stored.strikes,
        last: clock.moment_of(stored.last),
        recent: stored.recent.iter().map(|at| clock.moment_of(*at)).collect(),
    }
}

/// An answer that holds events, or why they could not be read.
pub(super) fn with_events(
    events: Result<Vec<StoredEvent>, StoreError>,
    answer: impl FnOnce(Vec<StoredEventView>) -> Answer,
) -> Answer {
    match events {
        Ok(events) => answer(events.into_iter().map(event).collect()),
        Err(cause) => Answer::Error { class: ErrorClass::Failed, message: cause.to_string() },
    }
}

/// An event for people. A detail that is not JSON is shown as it is.
fn event(event: StoredEvent) -> StoredEventView {
    StoredEventView {
        at: event.at.to_string(),
        kind: event.kind,
        target: event.target,
        detail: serde_json::from_str(&event.detail).unwrap_or(serde_json::Value::String(event.detail)),
    }
}
