//! Names that are allowed: what was said of them becomes what is protected, and is kept over restarts.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use serde_json::json;
use tracing::{info, warn};

use super::{Judge, Said};
use crate::encode::printable;
use crate::protect::names::Answer;
use crate::store::{Snapshot, StoredName, Write};
use crate::target::{HostName, Target};
use crate::time::{Clock, Moment};

/// Characters of a comment that are kept.
const COMMENT: usize = 200;
/// What did not change is written no more often: it says when addresses were last heard of, to the hour.
const WRITE_EVERY: Duration = Duration::from_secs(3600);

/// When what is known of each name was last written.
pub(super) type Written = BTreeMap<HostName, Moment>;

impl Judge {
    /// Takes what was said of a name: addresses that are its from now on lose their bans, and those it has no more may be
    /// banned. Answers the targets whose bans were lifted.
    pub fn resolved(&mut self, name: &HostName, answer: &Answer, clock: Clock) -> Vec<Target> {
        let Some(change) = self.protection.resolve(name, answer, clock.moment) else { return Vec::new() };
        let texts = |addresses: &[IpAddr]| addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>();
        let (added, removed, refused) =
            (texts(&change.added), texts(&change.removed), texts(&change.refused));
        if !added.is_empty() || !removed.is_empty() || !refused.is_empty() {
            info!(%name, ?added, ?removed, ?refused, "a name has other addresses");
            let detail = json!({ "name": name, "added": added, "removed": removed, "refused": refused });
            self.event("name", None, &detail, clock);
        }
        if let Some(failure) = change.failure {
            warn!(%name, failure, "a name cannot be resolved");
            self.event("name", None, &json!({ "name": name, "failure": failure }), clock);
        }
        let is_old = |at: &Moment| clock.moment.since(*at) >= WRITE_EVERY;
        let is_due = answer.failure().is_none() && self.names_written.get(name).is_none_or(is_old);
        if is_due || !change.added.is_empty() || !change.removed.is_empty() {
            self.names_written.insert(name.clone(), clock.moment);
            let write = self.addresses_to_keep(name, clock);
            self.write(write);
        }
        self.sync_allowed(clock)
    }

    /// Allows the addresses of a name, for good or for a time. They are to be asked for.
    pub fn allow_name(
        &mut self,
        name: &HostName,
        length: Option<Duration>,
        comment: &str,
        uid: u32,
        clock: Clock,
    ) -> Said {
        let comment = printable(comment.as_bytes(), COMMENT);
        let until = length.filter(|length| !length.is_zero()).map(|length| clock.moment + length);
        if !self.protection.allow_name(name, until, &comment) {
            let most = crate::config::MAX_NAMES;
            return Err(format!("not allowed: there are {most} names already"));
        }
        let end = until.map(|until| clock.wall_of(until));
        self.write(Write::AllowName(StoredName { name: name.clone(), until: end, comment: comment.clone() }));
        let seconds = length.map(|length| length.as_secs());
        let detail = json!({ "uid": uid, "name": name, "seconds": seconds, "comment": comment });
        self.event("allow", None, &detail, clock);
        self.sync_allowed(clock);
        let known: Vec<String> =
            self.protection.addresses_of(name).iter().map(|(address, _)| address.to_string()).collect();
        Ok(if known.is_empty() {
            "allowed; its addresses are asked for (guardctl allow list shows them)".into()
        } else {
            format!("allowed: {}", known.join(", "))
        })
    }

    /// Takes a run-time allowance of a name back. [`Self::sync_allowed`] is due afterwards.
    pub fn disallow_name(&mut self, name: &HostName, uid: u32, clock: Clock) -> Said {
        if !self.protection.disallow_name(name) {
            return Err(if self.protection.allows_name(name) {
                "was not allowed at run time; the configuration allows it".into()
            } else {
                "was not allowed".into()
            });
        }
        self.forget_name(name, &json!({ "uid": uid, "name": name }), clock);
        Ok("no longer allowed".into())
    }

    /// Forgets run-time allowances of names whose time is over.
    pub(super) fn expire_names(&mut self, clock: Clock) {
        for name in self.protection.expire_names(clock.moment) {
            let because = "its time is over";
            self.forget_name(&name, &json!({ "name": name, "because": because }), clock);
        }
    }

    fn forget_name(&mut self, name: &HostName, detail: &serde_json::Value, clock: Clock) {
        self.write(Write::DisallowName(name.clone()));
        if !self.protection.allows_name(name) {
            self.forget_addresses(name);
        }
        self.event("disallow", None, detail, clock);
    }

    fn forget_addresses(&mut self, name: &HostName) {
        self.names_written.remove(name);
        self.write(Write::Resolved { name: name.clone(), addresses: Vec::new() });
    }

    /// Forgets the addresses of names that another configuration no longer allows.
    pub(super) fn forget_unnamed(&mut self) {
        let gone: Vec<HostName> =
            self.names_written.keys().filter(|name| !self.protection.allows_name(name)).cloned().collect();
        for name in gone {
            self.forget_addresses(&name);
        }
    }

    /// Takes over which names were allowed, and which addresses names had, before a restart: what they protect is
    /// protected before a name server answers.
    pub(super) fn remember_names(&mut self, snapshot: &Snapshot, clock: Clock) {
        for allowed in &snapshot.allowed_names {
            let until = allowed.until.map(|until| clock.moment_of(until));
            if !self.protection.allow_name(&allowed.name, until, &allowed.comment) {
                warn!(name = %allowed.name, "there are too many names: it is allowed no more");
            }
        }
        let mut known: BTreeMap<&HostName, Vec<(IpAddr, Moment)>> = BTreeMap::new();
        for one in &snapshot.resolved {
            // A clock that was set back does not keep an address for longer.
            let seen = clock.moment_of(one.seen).min(clock.moment);
            known.entry(&one.name).or_default().push((one.address, seen));
        }
        for (name, addresses) in known {
            self.names_written.insert(name.clone(), clock.moment);
            if !self.protection.recall_name(name, addresses) {
                self.forget_addresses(name);
            }
        }
    }

    /// What the store has to hold of names.
    pub(super) fn names_to_keep(&self, clock: Clock) -> Vec<Write> {
        let allowed = self.protection.runtime_names().map(|(name, until, comment)| {
            let until = until.map(|until| clock.wall_of(until));
            Write::AllowName(StoredName { name: name.clone(), until, comment: comment.to_owned() })
        });
        let known = self.names_written.keys().map(|name| self.addresses_to_keep(name, clock));
        allowed.chain(known).collect()
    }

    fn addresses_to_keep(&self, name: &HostName, clock: Clock) -> Write {
        let addresses = self.protection.addresses_of(name).into_iter();
        let addresses = addresses.map(|(address, seen)| (address, clock.wall_of(seen))).collect();
        Write::Resolved { name: name.clone(), addresses }
    }
}
