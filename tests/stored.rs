//! Bans that are in the store before the daemon starts.

use std::net::IpAddr;

use guard::ban::BanId;
use guard::store::{Sqlite, Store as _, StoredBan, Write};
use guard::target::Target;
use guard::time::Wall;
use harness::Daemon;

/// The first of many public addresses that belong to nobody in the arena.
pub(crate) const FIRST_STORED: u32 = 0x0B00_0000;

/// An end that no test waits for.
#[expect(clippy::unnecessary_wraps, reason = "a ban's end is an option")]
pub(crate) fn in_an_hour() -> Option<Wall> {
    Some(Wall(Wall::now().0 + 3_600_000))
}

/// Writes bans with one common end into the store of a daemon that does not run.
pub(crate) fn store_bans(daemon: &Daemon<'_>, addresses: impl Iterator<Item = IpAddr>, until: Option<Wall>) {
    let (mut store, notes) = Sqlite::open(&daemon.config().with_file_name("state")).unwrap();
    assert!(notes.is_empty(), "{notes:?}");
    let last = store.snapshot().unwrap().last_id;
    let since = Wall(Wall::now().0 - 60_000);
    let ban = |(number, address): (usize, IpAddr)| {
        Write::Ban(StoredBan {
            id: BanId(last + number as u64 + 1),
            target: Target::host(address),
            since,
            until,
            origin: "filter:sshd".into(),
            score: 5000,
            strike: 1,
            reason: "stored by the test".into(),
        })
    };
    let writes: Vec<Write> = addresses.enumerate().map(ban).collect();
    for chunk in writes.chunks(50_000) {
        store.write(chunk).unwrap();
    }
}
