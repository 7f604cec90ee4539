//! What the machine tells, for the judge: batches of sightings, sessions, own addresses.

use std::cell::OnceCell;
use std::time::Duration;

use crate::judge::Voucher;
use crate::protect::system::connections;
use crate::protect::{Connection, session};
use crate::sighting::SourceId;
use crate::source::{Batch, journald};
use crate::store::Write;
use crate::time::{Clock, boot_nanoseconds};

use super::control::Control;

impl Control {
    /// Has a batch judged, and changes the kernel before anything else is done with it.
    pub(super) fn decide(&mut self, batch: &Batch) {
        let clock = Clock::now();
        let vouched_for = self.is_vouched_for(batch.source);
        let mut banned = false;
        let sockets = OnceCell::new();
        let is_connected = |address, port| {
            let read = || connections().ok();
            let here = |c: &Connection| c.peer == address && c.peer_port == port;
            sockets.get_or_init(read).as_ref().map(|all| all.iter().any(here))
        };
        let voucher = if vouched_for { Voucher::Kernel } else { Voucher::Sockets(&is_connected) };
        for sighting in batch.sightings() {
            self.sightings.add(sighting.pattern.filter, sighting.kind);
            banned |= self.judge.sighting(&sighting, batch.source, voucher, clock);
        }
        if self.apply() && banned {
            self.count
                .line_to_kernel
                .observe(Duration::from_nanos(boot_nanoseconds().saturating_sub(batch.read_at)));
        }
        self.run_orders();
        if let Some(status) = self.sources.get(&batch.source) {
            self.count.read.entry(status.name.clone()).or_default().add(&batch.read);
        }
        self.learn_health(batch, clock.moment);
        if let Some(position) = &batch.position {
            self.has_new_position |= self.readers.remember(position);
            self.judge.write(Write::Position(position.clone()));
        }
    }

    /// Whether the kernel vouches for who wrote a source's lines: journald's trusted fields. Into a log file every
    /// local user can write a line in the name of sshd.
    fn is_vouched_for(&self, source: SourceId) -> bool {
        self.sources.get(&source).is_some_and(|status| status.name == journald::NAME)
    }

    /// Compares the sessions that protect an address with the sockets the kernel has.
    pub(super) fn follow_sessions(&mut self) {
        let clock = Clock::now();
        let records = session::recorded_logins();
        if self.judge.protection().has_sessions() || !records.is_empty() {
            match connections() {
                Ok(connections) => {
                    self.judge.live_connections(&connections, clock);
                    self.judge.recorded_logins(&records, &connections);
                    self.problems.clear("sessions");
                }
                Err(cause) => self.problems.set(
                    "sessions",
                    format!("open sessions cannot be read ({cause}); those that are known stay protected"),
                ),
            }
        }
        self.judge.expire_protections(clock);
        self.keep_names();
        self.apply();
    }

    /// Tells the kernel what has become protected or is no longer.
    pub(super) fn sync_allowed(&mut self) {
        self.judge.sync_allowed(Clock::now());
        self.apply();
    }
}
