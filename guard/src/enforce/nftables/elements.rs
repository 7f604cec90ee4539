//! Elements on their way into and out of sets.

use std::net::IpAddr;
use std::time::Duration;

use super::attributes::Attributes;
use super::batch::{Batch, Verb};
use super::set::Set;
use crate::target::Target;

/// Elements in one message. Their list is one attribute, which holds less than 64 KiB; a forced one of IPv6 takes 72
/// bytes.
const MESSAGE: usize = 896;

/// What an element of a forced ban has as its user data: a comment as `nft` writes and shows it (`libnftnl/udata.h`:
/// type, length, text with its zero).
const FORCED: &[u8] = b"\x00\x07forced\x00";

/// The kernel counts time in ticks of at most 10 ms and rounds down: with this added, no ban ends early.
const TICK: Duration = Duration::from_millis(10);

/// A ban or allowance as an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element {
    /// The target.
    pub(super) target: Target,
    /// How long it stays; `None` for good.
    pub(super) left: Option<Duration>,
    /// Whether a person forced the ban past what allows its target: its comment says so, so that the element alone
    /// tells as much.
    pub(super) is_forced: bool,
    /// Whether one that is there already is deleted first: a renewal in place leaves its comment as it is.
    pub(super) is_anew: bool,
}

impl Element {
    /// A ban, or allowance, that nobody forced.
    pub(super) const fn plain(target: Target, left: Option<Duration>) -> Self {
        Self { target, left, is_forced: false, is_anew: false }
    }

    /// A forced ban.
    pub(super) const fn forced(target: Target, left: Option<Duration>) -> Self {
        Self { target, left, is_forced: true, is_anew: true }
    }
}

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
    let is_replaced = |element: &&Element| renewal == Renewal::Replace || element.is_anew;
    let replaced: Vec<Element> = elements.iter().filter(is_replaced).copied().collect();
    list(batch, Verb::DeleteElements, table, set, &replaced);
    list(batch, Verb::NewElements, table, set, &replaced);
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
                part.iter().fold(list, |list, &Element { target, left, is_forced, .. }| {
                    let is_new = verb == Verb::NewElements;
                    let left = left.filter(|_| is_new);
                    list.nested(1, |element| {
                        let element = lasting(key(element, target), left);
                        if is_forced && is_new { element.bytes(6, FORCED) } else { element }
                    })
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

/// Whether user data of an element is what that of a forced ban is.
pub(super) fn is_forced(user_data: Option<&[u8]>) -> bool {
    user_data == Some(FORCED)
}

/// What a ban has left, of what its element has.
pub(super) fn without_tick(left: Duration) -> Duration {
    left.saturating_sub(TICK)
}
