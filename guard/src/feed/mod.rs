//! Feeds: lists of addresses that others keep, banned or given points as long as they are listed.
//!
//! [`parse`] reads a list from bytes, [`List`] holds it, [`cut`](crate::target::cut) takes out of it what must never be
//! banned. All of this is pure. A [`Keeper`] fetches feeds in a thread of its own and keeps their last good copies;
//! what bans the listed targets is the [`judge`](crate::judge).

mod copy;
mod fetch;
#[cfg(feature = "feeds")]
mod http;
mod keeper;
mod list;
pub mod parse;

pub use keeper::{Command, FeedState, Keeper, News};
pub use list::List;

#[cfg(test)]
pub(crate) mod tests;
