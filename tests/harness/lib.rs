//! What the end-to-end tests and the demo stand on: namespaces, servers, clients and the daemon, each removed when
//! its value is dropped.
//!
//! A test makes an [`Arena`] (attackers and a guarded host, joined by a wire), starts servers and a [`Daemon`] in
//! it, and waits for what must come of it with [`poll_until`]. Nothing here touches the machine's own network,
//! accounts, logs or services.

#![allow(clippy::missing_panics_doc, clippy::unwrap_used, reason = "a test that cannot be set up ends here")]

mod arena;
mod daemon;
mod disk;
mod dns;
mod feed_server;
mod filter;
mod foreign;
mod journald;
mod memory;
mod namespace;
mod notified;
mod poll;
mod probe;
mod process;
mod room;
mod scrape;
mod skip;
mod sshd;
mod syslog;

pub use arena::{ADMIN, Arena, GUARDED_V4, GUARDED_V6, attacker_v4, attacker_v6};
pub use daemon::{Daemon, Denied, LOGIND, Options, Reply, config_text, program, program_without_object};
pub use disk::SmallDisk;
pub use dns::Dnsmasq;
pub use feed_server::FeedServer;
pub use foreign::{attach_foreign_xdp, fill_map, foreign_xdp, put_map_entry, take_map_entry};
pub use journald::Journald;
pub use memory::MemoryGroup;
pub use namespace::Namespace;
pub use notified::Notified;
pub use poll::{patience, poll_until};
pub use probe::{Flood, connects, counter, pings};
pub use process::{Background, run};
pub use scrape::{METRICS, Metrics};
pub use skip::{
    missing_for_kernel_tests, missing_for_namespaces, missing_for_network_tests, missing_for_nftables_tests,
    missing_for_xdp_tests, skip,
};
pub use sshd::{Client, Sshd};
pub use syslog::{LogFile, Rsyslog};

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_wrong_password_reaches_the_log_file() {
        crate::skip_if!(missing_for_network_tests());
        let arena = Arena::new();
        let sshd = Sshd::with_rsyslog(&arena);
        for (attacker, account) in [(attacker_v4(0), "root"), (attacker_v6(0), "nobody-here")] {
            assert!(sshd.client(&arena, attacker).guess(account), "{attacker} is refused by the server");
            poll_until(Duration::from_secs(5), "sshd's line is in the file", || {
                let log = fs::read_to_string(sshd.log_file()).ok()?;
                log.lines()
                    .any(|line| line.contains("Failed password") && line.contains(&attacker.to_string()))
                    .then_some(())
            });
        }
        let admin = sshd.client(&arena, ADMIN);
        assert!(admin.log_in());
        let session = admin.session();
        drop(session);
    }

    #[test]
    fn a_wrong_password_reaches_the_journal() {
        crate::skip_if!(missing_for_network_tests());
        if !Journald::is_installed() {
            return skip("systemd-journald is not installed");
        }
        let arena = Arena::new();
        let sshd = Sshd::with_journald(&arena);
        assert!(sshd.client(&arena, attacker_v4(1)).guess("root"));
        let reader = || {
            let mut journalctl = std::process::Command::new("journalctl");
            run(journalctl.args(["--quiet", "--output=cat", "--directory"]).arg(sshd.journal_folder()))
        };
        poll_until(Duration::from_secs(5), "sshd's entry is in the journal", || {
            reader().contains("Failed password for root from 203.0.113.11").then_some(())
        });
    }

    #[test]
    fn a_foreign_program_is_attached_and_recognised() {
        crate::skip_if!(missing_for_network_tests());
        let arena = Arena::new();
        assert_eq!(foreign_xdp(&arena.host, Arena::INTERFACE), None);
        let id = attach_foreign_xdp(&arena.host, Arena::INTERFACE);
        assert_eq!(foreign_xdp(&arena.host, Arena::INTERFACE), Some(id));
        assert!(pings(&arena.outside, ADMIN, GUARDED_V4));
    }

    #[test]
    fn packets_are_counted() {
        crate::skip_if!(missing_for_network_tests());
        let arena = Arena::new();
        assert!(pings(&arena.outside, attacker_v4(0), GUARDED_V4));
        assert!(pings(&arena.outside, attacker_v6(0), GUARDED_V6));
        let place = std::net::SocketAddr::new(GUARDED_V4, 9);
        let count = counter(&arena.host, place);
        let flood = Flood::start(&arena.outside, attacker_v4(2), place);
        poll_until(Duration::from_secs(5), "datagrams arrive", || {
            (count.load(std::sync::atomic::Ordering::Relaxed) > 1000).then_some(())
        });
        assert!(flood.sent() >= 1000);
        assert!(!connects(&arena.outside, attacker_v4(0), place, Duration::from_secs(1)), "nothing listens");
    }
}
