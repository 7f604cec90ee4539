//! What the end-to-end tests and the demo stand on: namespaces, servers, clients and the daemon, each removed when
//! its value is dropped.
//!
//! A test makes an [`Arena`] (attackers and a guarded host, joined by a wire), starts servers and a [`Daemon`] in
//! it, and waits for what must come of it with [`poll_until`]. Nothing here touches the machine's own network,
//! accounts, logs or services.

#![allow(clippy::missing_panics_doc, clippy::unwrap_used, reason = "a test that cannot be set up ends here")]

mod arena;
mod daemon;
mod journald;
mod namespace;
mod poll;
mod probe;
mod process;
mod room;
mod skip;
mod sshd;
mod syslog;

pub use arena::{ADMIN, Arena, GUARDED_V4, GUARDED_V6, attacker_v4, attacker_v6};
pub use daemon::{Daemon, Options, Reply, config_text, program};
pub use journald::Journald;
pub use namespace::Namespace;
pub use poll::poll_until;
pub use probe::{Flood, connects, counter, pings};
pub use process::{Background, run};
pub use skip::{missing_for_network_tests, skip};
pub use sshd::{Client, Sshd};
pub use syslog::{LogFile, Rsyslog};
