//! Values to rows and back.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, TransactionBehavior, params};

use super::schema::FOR_GOOD;
use super::{events, logins, names, scores};
use crate::ban::BanId;
use crate::source::Position;
use crate::store::{ENGINE_STATE, Snapshot, StoredAllow, StoredBan, StoredStrikes, Write};
use crate::target::Target;
use crate::time::Wall;

/// Carries out writes in order, inside the caller's transaction.
pub(super) fn put(connection: &Connection, writes: &[Write]) -> rusqlite::Result<()> {
    let mut last_id = 0;
    for write in writes {
        match write {
            Write::Ban(ban) => {
                last_id = last_id.max(ban.id.number());
                put_ban(connection, ban)?;
            }
            Write::Unban(target) => {
                on_target(
                    connection.prepare_cached("DELETE FROM ban WHERE address = ?1 AND length = ?2")?,
                    *target,
                )?;
            }
            Write::Strikes(s) if s.strikes == 0 => {
                on_target(
                    connection.prepare_cached("DELETE FROM strike WHERE address = ?1 AND length = ?2")?,
                    s.target,
                )?;
            }
            Write::Strikes(s) => {
                connection
                    .prepare_cached("INSERT OR REPLACE INTO strike VALUES (?1, ?2, ?3, ?4, ?5)")?
                    .execute(params![
                        octets(s.target).as_ref(),
                        s.target.length(),
                        s.strikes,
                        s.last.0,
                        pack(&s.recent)
                    ])?;
            }
            Write::Position(p) => {
                connection
                    .prepare_cached("INSERT OR REPLACE INTO position VALUES (?1, ?2)")?
                    .execute(params![p.source, p.place])?;
            }
            Write::ForgetPosition(source) => {
                connection.prepare_cached("DELETE FROM position WHERE source = ?1")?.execute([source])?;
            }
            Write::Event(event) => events::put(connection, event)?,
            Write::Allow { target, until, comment } => {
                connection
                    .prepare_cached("INSERT OR REPLACE INTO allow VALUES (?1, ?2, ?3, ?4)")?
                    .execute(params![octets(*target).as_ref(), target.length(), end_of(*until), comment])?;
            }
            Write::Scores(all) => scores::put(connection, all)?,
            Write::Logins(all) => logins::put(connection, all)?,
            Write::Engine(state) => put_engine(connection, state)?,
            Write::AllowName(allow) => names::allow(connection, allow)?,
            Write::DisallowName(name) => names::disallow(connection, name)?,
            Write::Resolved { name, addresses } => names::resolved(connection, name, addresses)?,
            Write::Disallow(target) => {
                on_target(
                    connection.prepare_cached("DELETE FROM allow WHERE address = ?1 AND length = ?2")?,
                    *target,
                )?;
            }
        }
    }
    if last_id > 0 {
        connection.prepare_cached("UPDATE last SET id = max(id, ?1)")?.execute([last_id as i64])?;
    }
    Ok(())
}

fn put_ban(connection: &Connection, ban: &StoredBan) -> rusqlite::Result<()> {
    // Replaces the row of the same target, whatever its end, through the unique index `ban_target`.
    connection
        .prepare_cached(
            "INSERT OR REPLACE INTO ban (until, address, length, id, since, score, strike, origin, reason)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            end_of(ban.until),
            octets(ban.target).as_ref(),
            ban.target.length(),
            ban.id.0 as i64,
            ban.since.0,
            ban.score,
            ban.strike,
            ban.origin,
            ban.reason
        ])?;
    Ok(())
}

fn put_engine(connection: &Connection, state: &[u8]) -> rusqlite::Result<()> {
    if state.len() > ENGINE_STATE {
        connection.prepare_cached("DELETE FROM engine")?.execute([])?;
    } else {
        connection.prepare_cached("INSERT OR REPLACE INTO engine VALUES (0, ?1)")?.execute([state])?;
    }
    Ok(())
}

/// Number of bans, those that have ended included.
pub(super) fn ban_count(connection: &Connection) -> rusqlite::Result<u64> {
    connection
        .prepare_cached("SELECT count(*) FROM ban")?
        .query_row([], |row| Ok(row.get::<_, i64>(0)? as u64))
}

/// Texts that are kept once, however many rows have them.
#[derive(Default)]
struct Texts {
    last: Option<Arc<str>>,
    all: HashSet<Arc<str>>,
}

impl Texts {
    /// Different texts that are remembered at most.
    const MOST: usize = 4096;

    fn share(&mut self, text: &str) -> Arc<str> {
        if let Some(last) = self.last.as_ref().filter(|last| ***last == *text) {
            return Arc::clone(last);
        }
        let shared = self.all.get(text).map_or_else(|| text.into(), Arc::clone);
        if self.all.len() < Self::MOST {
            self.all.insert(Arc::clone(&shared));
        }
        self.last = Some(Arc::clone(&shared));
        shared
    }
}

/// Hands over the bans that end after `now`, the latest to end first.
pub(super) fn bans(
    connection: &Connection,
    now: Wall,
    chunk: usize,
    each: &mut dyn FnMut(Vec<StoredBan>) -> bool,
    notes: &mut Vec<String>,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "SELECT until, address, length, id, since, score, strike, origin, reason FROM ban
         WHERE until > ?1 ORDER BY until DESC",
    )?;
    let mut rows = statement.query([now.0])?;
    let mut unreadable = Unreadable::default();
    let (mut origins, mut reasons) = (Texts::default(), Texts::default());
    let mut bans = Vec::with_capacity(chunk);
    while let Some(row) = rows.next()? {
        bans.extend(unreadable.sift(ban(row, &mut origins, &mut reasons))?);
        if bans.len() == chunk && !each(std::mem::replace(&mut bans, Vec::with_capacity(chunk))) {
            return Ok(());
        }
    }
    if !bans.is_empty() {
        each(bans);
    }
    unreadable.tell("bans", notes);
    Ok(())
}

/// Makes an event of each ban that ended at `now` or before, in the order of their ends, and removes it; how many.
pub(super) fn end_bans(connection: &mut Connection, now: Wall) -> rusqlite::Result<u64> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute(
        "INSERT INTO event (at, kind, address, length, detail)
         SELECT until, 'expire', address, length,
                '{\"strike\":' || CAST(strike AS INTEGER) || ',\"because\":\"it ended while guard was not running\"}'
         FROM ban WHERE until <= ?1 ORDER BY until",
        [now.0],
    )?;
    let ended = transaction.execute("DELETE FROM ban WHERE until <= ?1", [now.0])?;
    transaction.commit()?;
    Ok(ended as u64)
}

/// Everything small.
pub(super) fn snapshot(connection: &Connection, notes: &mut Vec<String>) -> rusqlite::Result<Snapshot> {
    let mut unreadable = Unreadable::default();
    let strikes =
        unreadable.all(connection, "SELECT address, length, strikes, last, recent FROM strike", |row| {
            Ok(StoredStrikes {
                target: target(row, 0)?,
                strikes: row.get(2)?,
                last: Wall(row.get(3)?),
                recent: unpack(row.get_ref(4)?.as_blob()?),
            })
        })?;
    let positions = unreadable.all(connection, "SELECT source, place FROM position", |row| {
        Ok(Position { source: row.get(0)?, place: row.get(1)? })
    })?;
    let allowed = unreadable.all(connection, "SELECT address, length, until, comment FROM allow", |row| {
        Ok(StoredAllow { target: target(row, 0)?, until: end(row.get(2)?), comment: row.get(3)? })
    })?;
    let allowed_names = unreadable.all(connection, names::SELECT_ALLOWED, names::allowed)?;
    let resolved = unreadable.all(connection, names::SELECT_RESOLVED, names::address)?;
    let scores = unreadable.all(connection, scores::SELECT, scores::score)?;
    let logins = unreadable.all(connection, logins::SELECT, logins::login)?;
    let last_id: Option<i64> =
        connection.query_row("SELECT id FROM last", [], |row| row.get(0)).optional()?;
    let engine = connection.query_row("SELECT state FROM engine", [], |row| row.get(0)).optional()?;
    unreadable.tell("strikes, positions, allowances, scores and logins", notes);
    Ok(Snapshot {
        strikes,
        positions,
        allowed,
        allowed_names,
        resolved,
        scores,
        logins,
        last_id: last_id.unwrap_or(0) as u64,
        engine,
    })
}

/// Counts rows whose values make no sense. They are left out: the file itself is in order.
#[derive(Default)]
pub(super) struct Unreadable(u64);

impl Unreadable {
    pub(super) fn sift<T>(&mut self, row: rusqlite::Result<T>) -> rusqlite::Result<Option<T>> {
        use rusqlite::Error;
        match row {
            Err(
                Error::FromSqlConversionFailure(..)
                | Error::IntegralValueOutOfRange(..)
                | Error::InvalidColumnType(..)
                | Error::Utf8Error(..),
            ) => {
                self.0 += 1;
                Ok(None)
            }
            row => row.map(Some),
        }
    }

    fn all<T>(
        &mut self,
        connection: &Connection,
        sql: &str,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<Vec<T>> {
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query([])?;
        let mut values = Vec::new();
        while let Some(row) = rows.next()? {
            values.extend(self.sift(read(row))?);
        }
        Ok(values)
    }

    pub(super) fn tell(self, what: &str, notes: &mut Vec<String>) {
        if self.0 > 0 {
            notes.push(format!("{} stored {what} could not be understood and were left out", self.0));
        }
    }
}

fn on_target(mut statement: CachedStatement<'_>, target: Target) -> rusqlite::Result<usize> {
    statement.execute(params![octets(target).as_ref(), target.length()])
}

fn ban(row: &Row<'_>, origins: &mut Texts, reasons: &mut Texts) -> rusqlite::Result<StoredBan> {
    Ok(StoredBan {
        until: end(row.get(0)?),
        target: target(row, 1)?,
        id: BanId(row.get::<_, i64>(3)? as u64),
        since: Wall(row.get(4)?),
        score: row.get(5)?,
        strike: row.get(6)?,
        origin: origins.share(text(row, 7)?),
        reason: reasons.share(text(row, 8)?),
    })
}

fn text<'a>(row: &'a Row<'_>, column: usize) -> rusqlite::Result<&'a str> {
    let value = row.get_ref(column)?;
    value.as_str().map_err(|cause| {
        rusqlite::Error::FromSqlConversionFailure(column, value.data_type(), Box::new(cause))
    })
}

/// The target in two columns, address and length.
pub(super) fn target(row: &Row<'_>, column: usize) -> rusqlite::Result<Target> {
    Target::prefix(address(row, column)?, row.get(column + 1)?).ok_or_else(|| no_address(column))
}

/// The address in a column.
pub(super) fn address(row: &Row<'_>, column: usize) -> rusqlite::Result<IpAddr> {
    let bytes = row.get_ref(column)?.as_blob().map_err(|_| no_address(column))?;
    <[u8; 4]>::try_from(bytes)
        .map(IpAddr::from)
        .or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from))
        .map_err(|_| no_address(column))
}

fn no_address(column: usize) -> rusqlite::Error {
    let blob = rusqlite::types::Type::Blob;
    rusqlite::Error::FromSqlConversionFailure(column, blob, "no address and length".into())
}

pub(super) fn end(milliseconds: i64) -> Option<Wall> {
    (milliseconds != FOR_GOOD).then_some(Wall(milliseconds))
}

pub(super) fn end_of(until: Option<Wall>) -> i64 {
    until.map_or(FOR_GOOD, |wall| wall.0)
}

/// An address's bytes in network order, on the stack.
pub(super) struct Octets {
    bytes: [u8; 16],
    length: usize,
}

impl AsRef<[u8]> for Octets {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

pub(super) fn octets(target: Target) -> Octets {
    let mut bytes = [0; 16];
    let length = match target.address() {
        IpAddr::V4(a) => {
            bytes[..4].copy_from_slice(&a.octets());
            4
        }
        IpAddr::V6(a) => {
            bytes = a.octets();
            16
        }
    };
    Octets { bytes, length }
}

/// Times as eight bytes each.
fn pack(times: &[Wall]) -> Vec<u8> {
    times.iter().flat_map(|time| time.0.to_be_bytes()).collect()
}

fn unpack(bytes: &[u8]) -> Vec<Wall> {
    bytes.as_chunks::<8>().0.iter().map(|time| Wall(i64::from_be_bytes(*time))).collect()
}
