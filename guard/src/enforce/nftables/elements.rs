//! Elements on their way into and out of sets.

use std::net::IpAddr;
use std::time::Duration;

use super::attributes::Attributes;
use super::batch::{Batch, Verb};
use super::set::Set;
use crate::target::Target;

/// Elements in one message. Their list is one attribute, which holds less than 64 KiB; one of IPv6 takes 56 bytes.
const MESSAGE: usize = 1024;

/// The kernel counts time in ticks of at most 10 ms and rounds down: with this added, no ban ends early.
const TICK: Duration = Duration::from_millis(10);

/// A ban or allowance as an element: the target, and how long; `None` for good.
pub(super) type Element = (Target, Option<Duration>);

/// How an element that may be there already gets a new deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewal {
    /// To add it changes it in place and its counter goes on (Linux 6.12 and later).
    InPlace,
    /// It is deleted and added within the transaction; its counter starts again.
    Replace,
}

/// Appends what puts elements into a set, or renews those that are in it.
pub(super) fn put(batch: &mut Batch, table: &str, set: Set, elements: &[Element], renewal: Renewal) {
    list(batch, Verb::NewElements, table, set, elements);
    if renewal == Renewal::Replace {
        list(batch, Verb::DeleteElements, table, set, elements);
        list(batch, Verb::NewElements, table, set, elements);
    }
}

/// Appends what takes elements out of a set, whether they are in it or not. They are added first, so that there is
/// something to delete: to delete what has ended meanwhile would fail the transaction.
pub(super) fn take(batch: &mut Batch, table: &str, set: Set, elements: &[Element]) {
    list(batch, Verb::NewElements, table, set, elements);
    list(batch, Verb::DeleteElements, table, set, elements);
}

fn list(batch: &mut Batch, verb: Verb, table: &str, set: Set, elements: &[Element]) {
    let name = set.name();
    for part in elements.chunks(MESSAGE) {
        batch.message(verb, |message| {
            message.text(1, table).text(2, &name).nested(3, |list| {
                part.iter().fold(list, |list, &(target, left)| {
                    let left = left.filter(|_| verb == Verb::NewElements);
                    list.nested(1, |element| lasting(key(element, target), left))
                })
            })
        });
    }
}

/// Adds the key of a target's element.
pub(super) fn key(element: Attributes, target: Target) -> Attributes {
    element.nested(1, |value| match target.address() {
        IpAddr::V4(v4) => value.bytes(1, &v4.octets()),
        IpAddr::V6(v6) => value.bytes(1, &v6.octets()),
    })
}

/// Adds when it ends: both attributes, because the kernel renews an element only if it is told when it expires.
fn lasting(element: Attributes, left: Option<Duration>) -> Attributes {
    let Some(left) = left else { return element };
    let milliseconds = u64::try_from((left + TICK).as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
    element.u64(4, milliseconds).u64(5, milliseconds)
}

/// What a ban has left, of what its element has.
pub(super) fn without_tick(left: Duration) -> Duration {
    left.saturating_sub(TICK)
}
