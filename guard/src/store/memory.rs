//! A store that forgets everything with the process: for simulations, and the plainest thing that a store can be.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use super::{
    ENGINE_STATE, EventPage, EventQuery, KeptEvent, Retention, Snapshot, Store, StoreError, StoredAddress,
    StoredAllow, StoredBan, StoredEvent, StoredLogin, StoredName, StoredScore, StoredStrikes, Write,
};
use crate::source::Position;
use crate::target::{HostName, Target};
use crate::time::Wall;

/// Bans handed over at once by [`Store::bans`].
const CHUNK: usize = 2048;

/// State in memory.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    bans: HashMap<Target, StoredBan>,
    strikes: BTreeMap<Target, StoredStrikes>,
    positions: BTreeMap<String, Position>,
    allowed: BTreeMap<Target, StoredAllow>,
    allowed_names: BTreeMap<HostName, StoredName>,
    resolved: BTreeMap<(HostName, IpAddr), Wall>,
    scores: BTreeMap<IpAddr, StoredScore>,
    logins: BTreeMap<IpAddr, StoredLogin>,
    events: BTreeMap<u64, StoredEvent>,
    engine: Option<Box<[u8]>>,
    last_id: u64,
    last_event: u64,
}

impl Memory {
    /// An empty state.
    pub fn new() -> Self {
        Self::default()
    }

    fn put(&mut self, write: &Write) {
        match write {
            Write::Ban(ban) => {
                self.last_id = self.last_id.max(ban.id.number());
                self.bans.insert(ban.target, ban.clone());
            }
            Write::Unban(target) => drop(self.bans.remove(target)),
            Write::Strikes(past) if past.strikes == 0 => drop(self.strikes.remove(&past.target)),
            Write::Strikes(past) => drop(self.strikes.insert(past.target, past.clone())),
            Write::Position(position) => {
                self.positions.insert(position.source.clone(), position.clone());
            }
            Write::ForgetPosition(source) => drop(self.positions.remove(source)),
            Write::Event(event) => {
                self.last_event += 1;
                self.events.insert(self.last_event, event.clone());
            }
            Write::Allow { target, until, comment } => {
                let allow = StoredAllow { target: *target, until: *until, comment: comment.clone() };
                self.allowed.insert(*target, allow);
            }
            Write::Disallow(target) => drop(self.allowed.remove(target)),
            Write::AllowName(allow) => drop(self.allowed_names.insert(allow.name.clone(), allow.clone())),
            Write::DisallowName(name) => drop(self.allowed_names.remove(name)),
            Write::Resolved { name, addresses } => {
                self.resolved.retain(|(known, _), _| known != name);
                let rows = addresses.iter().map(|(address, seen)| ((name.clone(), *address), *seen));
                self.resolved.extend(rows);
            }
            Write::Scores(all) => {
                for score in all {
                    if score.points == 0 {
                        self.scores.remove(&score.address);
                    } else {
                        self.scores.insert(score.address, *score);
                    }
                }
            }
            Write::Logins(all) => {
                for login in all {
                    if login.last.is_none() {
                        self.logins.remove(&login.address);
                    } else {
                        self.logins.insert(login.address, *login);
                    }
                }
            }
            Write::Engine(state) => self.engine = (state.len() <= ENGINE_STATE).then(|| state.clone()),
        }
    }

    /// About what the events take up.
    fn event_bytes(&self) -> u64 {
        let bytes = |event: &StoredEvent| size_of::<StoredEvent>() + event.kind.len() + event.detail.len();
        self.events.values().map(|event| bytes(event) as u64).sum()
    }
}

impl Store for Memory {
    fn snapshot(&mut self) -> Result<Snapshot, StoreError> {
        Ok(Snapshot {
            strikes: self.strikes.values().cloned().collect(),
            positions: self.positions.values().cloned().collect(),
            allowed: self.allowed.values().cloned().collect(),
            allowed_names: self.allowed_names.values().cloned().collect(),
            resolved: self
                .resolved
                .iter()
                .map(|((name, address), seen)| StoredAddress {
                    name: name.clone(),
                    address: *address,
                    seen: *seen,
                })
                .collect(),
            scores: self.scores.values().copied().collect(),
            logins: self.logins.values().copied().collect(),
            last_id: self.last_id,
            engine: self.engine.as_ref().map(|state| state.to_vec()),
        })
    }

    fn bans(&mut self, now: Wall, each: &mut dyn FnMut(Vec<StoredBan>) -> bool) -> Result<(), StoreError> {
        let lasts = |ban: &&StoredBan| ban.until.is_none_or(|until| until > now);
        let mut bans: Vec<&StoredBan> = self.bans.values().filter(lasts).collect();
        bans.sort_by_key(|ban| std::cmp::Reverse(ban.until.map_or(i64::MAX, |until| until.0)));
        for chunk in bans.chunks(CHUNK) {
            if !each(chunk.iter().copied().cloned().collect()) {
                break;
            }
        }
        Ok(())
    }

    fn end_bans(&mut self, now: Wall) -> Result<u64, StoreError> {
        let is_over = |ban: &&StoredBan| ban.until.is_some_and(|until| until <= now);
        let mut ended: Vec<StoredBan> = self.bans.values().filter(is_over).cloned().collect();
        ended.sort_by_key(|ban| ban.until);
        for ban in &ended {
            self.bans.remove(&ban.target);
            let because = "it ended while guard was not running";
            self.put(&Write::Event(StoredEvent {
                at: ban.until.unwrap_or(now),
                kind: "expire".to_owned(),
                target: Some(ban.target),
                detail: serde_json::json!({ "strike": ban.strike, "because": because }).to_string(),
            }));
        }
        Ok(ended.len() as u64)
    }

    fn ban_count(&mut self) -> Result<u64, StoreError> {
        Ok(self.bans.len() as u64)
    }

    fn write(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        for write in writes {
            self.put(write);
        }
        Ok(())
    }

    fn replace(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        self.bans.clear();
        self.strikes.clear();
        self.allowed.clear();
        self.allowed_names.clear();
        self.resolved.clear();
        self.scores.clear();
        self.logins.clear();
        self.write(writes)
    }

    fn events(&mut self, query: &EventQuery) -> Result<EventPage, StoreError> {
        let before = query.before.unwrap_or(u64::MAX);
        let wanted = self
            .events
            .iter()
            .rev()
            .skip_while(|(number, _)| **number >= before)
            .take_while(|(number, _)| **number > query.after)
            .filter(|(_, event)| query.wants(event));
        let kept =
            |(number, event): (&u64, &StoredEvent)| KeptEvent { number: *number, event: event.clone() };
        Ok(EventPage { events: wanted.take(query.limit).map(kept).collect(), next: None })
    }

    fn prune(&mut self, retention: Retention) -> Result<bool, StoreError> {
        let Retention { keep_from, now, max_events, max_bytes, .. } = retention;
        self.bans.retain(|_, ban| ban.until.is_none_or(|until| until >= keep_from));
        self.allowed.retain(|_, allow| allow.until.is_none_or(|until| until >= keep_from));
        self.allowed_names.retain(|_, allow| allow.until.is_none_or(|until| until >= keep_from));
        let forgiven = |past: &StoredStrikes| {
            past.last.0.saturating_add(retention.forgive_after_ms().saturating_mul(past.strikes.into()))
                < now.0
        };
        self.strikes.retain(|target, past| !forgiven(past) || self.bans.contains_key(target));
        self.scores.retain(|_, score| score.settled >= keep_from);
        let newest = self.last_event;
        self.events.retain(|number, event| event.at >= keep_from || *number == newest);
        while self.events.len() as u64 > max_events.max(1) {
            self.events.pop_first();
        }
        while self.events.len() > 1 && self.event_bytes() > max_bytes {
            self.events.pop_first();
        }
        Ok(false)
    }
}
