//! Feeds: lists of addresses that others keep, banned or given points as long as they are listed.
//!
//! [`parse`] reads a list from bytes, [`List`] holds it, [`cut()`] takes out of it what must never be banned. All of
//! this is pure.

mod cut;
mod list;
pub mod parse;

pub use cut::{Cut, cut, is_left};
pub use list::List;

#[cfg(test)]
pub(crate) mod tests;
