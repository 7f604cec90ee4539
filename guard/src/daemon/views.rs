//! Bans and events as people see them.

use crate::api::{Answer, BanView, ErrorClass};
use crate::ban::BanRef;
use crate::sighting::Points;
use crate::store::{EventPage, KeptEvent, StoreError, StoredEventView};
use crate::time::Clock;

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

/// Points as a decimal number.
pub(super) fn points(points: Points) -> String {
    points.as_f64().to_string()
}

/// An answer that holds events, or why they could not be read.
pub(super) fn with_events(
    events: Result<EventPage, StoreError>,
    answer: impl FnOnce(Vec<StoredEventView>) -> Answer,
) -> Answer {
    match events {
        Ok(page) => answer(page.events.into_iter().map(event).collect()),
        Err(cause) => Answer::Error { class: ErrorClass::Failed, message: cause.to_string() },
    }
}

/// An event for people. A detail that is not JSON is shown as it is.
fn event(kept: KeptEvent) -> StoredEventView {
    let KeptEvent { number, event } = kept;
    StoredEventView {
        number,
        at: event.at.to_string(),
        kind: event.kind,
        target: event.target,
        detail: serde_json::from_str(&event.detail).unwrap_or(serde_json::Value::String(event.detail)),
    }
}
