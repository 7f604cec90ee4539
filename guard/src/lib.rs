//! guard reads what attackers leave in logs, decides, and drops them in the network driver.
//!
//! The way of a log line: [`source`] → [`scan`] → [`engine`] → [`ban`] table → [`enforce`] → kernel
//! ([`datapath`] or nftables), with [`store`] beside it and [`api`] above it. `ARCHITECTURE.md` has the map.

pub mod api;
pub mod ban;
mod bytes;
mod causes;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod datapath;
mod dense;
pub mod encode;
pub mod enforce;
pub mod engine;
pub mod feed;
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz;
pub mod judge;
mod memory;
pub mod metrics;
pub mod protect;
pub mod rules;
pub mod scan;
pub mod sighting;
mod simd;
pub mod source;
pub mod store;
pub mod target;
mod thread;
pub mod time;
#[cfg(feature = "feeds")]
mod web;
