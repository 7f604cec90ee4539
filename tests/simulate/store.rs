//! What is durable, in memory, and a model of what waits for it in the store's own thread.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use guard::source::Position;
use guard::store::{Memory, Snapshot, Store as _, StoredBan, StoredLogin, StoredScore, Write};
use guard::target::Target;
use guard::time::Wall;

/// The store and what waits for it.
#[derive(Debug)]
pub(crate) struct Store {
    durable: Memory,
    waiting: Vec<Write>,
    /// Of positions, scores and logins only the last counts; they come behind everything that waits.
    positions: BTreeMap<String, Position>,
    scores: BTreeMap<IpAddr, StoredScore>,
    logins: BTreeMap<IpAddr, StoredLogin>,
    /// What the engine is to recall.
    engine: Option<Write>,
    /// Everything anew, in place of what was lost.
    whole: Option<Vec<Write>>,
    lost: bool,
    capacity: usize,
    /// Until when nothing can be written.
    pub(crate) down_until: i64,
}

impl Store {
    /// An empty store before which so many writes may wait.
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            durable: Memory::new(),
            waiting: Vec::new(),
            positions: BTreeMap::new(),
            scores: BTreeMap::new(),
            logins: BTreeMap::new(),
            engine: None,
            whole: None,
            lost: false,
            capacity,
            down_until: 0,
        }
    }

    /// Takes writes that are to be durable together.
    pub(crate) fn write_all(&mut self, writes: impl IntoIterator<Item = Write>) {
        for write in writes {
            match write {
                Write::Position(position) => drop(self.positions.insert(position.source.clone(), position)),
                Write::Scores(_) | Write::Logins(_) if self.lost => {}
                Write::Scores(scores) => self.scores.extend(scores.into_iter().map(|s| (s.address, s))),
                Write::Logins(logins) => self.logins.extend(logins.into_iter().map(|l| (l.address, l))),
                // Nothing reads them here.
                Write::Event(_) => {}
                write @ Write::Engine(_) => self.engine = Some(write),
                write => {
                    if self.waiting.len() >= self.capacity {
                        self.lose();
                        if self.waiting.len() >= self.capacity {
                            self.waiting.clear();
                        }
                    }
                    self.waiting.push(write);
                }
            }
        }
    }

    /// Whether writes were lost and everything is to be given again.
    pub(crate) fn needs_resync(&self, now: i64) -> bool {
        self.lost && now >= self.down_until
    }

    /// Takes everything anew.
    pub(crate) fn resync(&mut self, writes: Vec<Write>) {
        self.lost = false;
        self.scores.clear();
        self.logins.clear();
        let positions = std::mem::take(&mut self.positions).into_values().map(Write::Position);
        let waiting = std::mem::take(&mut self.waiting);
        let older = self.whole.take().into_iter().flatten().chain(waiting).chain(positions);
        self.whole = Some(older.filter(outlives_resync).chain(writes).collect());
    }

    /// Makes durable what waits, as one transaction; whether it could.
    pub(crate) fn commit(&mut self, now: i64) -> bool {
        if now < self.down_until {
            return false;
        }
        let mut writes = std::mem::take(&mut self.waiting);
        if !self.lost {
            writes.push(Write::Scores(std::mem::take(&mut self.scores).into_values().collect()));
            writes.push(Write::Logins(std::mem::take(&mut self.logins).into_values().collect()));
            writes.extend(std::mem::take(&mut self.positions).into_values().map(Write::Position));
            writes.extend(self.engine.take());
        }
        if let Some(whole) = self.whole.take() {
            self.durable.replace(&whole).expect("memory takes everything");
        }
        self.durable.write(&writes).expect("memory takes everything");
        true
    }

    /// What a start finds: everything small, and the bans that have not ended, the latest to end first.
    pub(crate) fn open(&mut self, now: Wall) -> (Snapshot, Vec<StoredBan>) {
        self.durable.end_bans(now).expect("memory takes everything");
        let mut all = Vec::new();
        let mut take = |bans| {
            all.extend(bans);
            true
        };
        self.durable.bans(now, &mut take).expect("memory gives everything");
        // Those that end together come in any order.
        all.sort_by_key(|ban: &StoredBan| {
            (std::cmp::Reverse(ban.until.unwrap_or(Wall(i64::MAX))), ban.target)
        });
        (self.durable.snapshot().expect("memory gives everything"), all)
    }

    /// The daemon has died: what waits is gone with it.
    pub(crate) fn forget_waiting(&mut self) {
        *self = Self {
            durable: std::mem::take(&mut self.durable),
            down_until: self.down_until,
            ..Self::new(self.capacity)
        };
    }

    fn lose(&mut self) {
        self.lost = true;
        self.scores.clear();
        self.logins.clear();
        self.waiting.retain(outlives_resync);
    }
}

/// Whether a write is not superseded by a later whole set.
fn outlives_resync(write: &Write) -> bool {
    matches!(write, Write::Event(_) | Write::Strikes(_) | Write::Position(_))
}

/// The targets of bans that have not ended.
pub(crate) fn targets(bans: &[StoredBan]) -> BTreeSet<Target> {
    bans.iter().map(|ban| ban.target).collect()
}
