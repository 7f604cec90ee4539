//! What is past its retention goes, a little at a time, and the file gets smaller with it.

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, params};

use crate::store::Retention;

/// Rows that one step forgets of a table at most: some milliseconds, for which writes wait.
const PART: i64 = 1024;
/// Rows that one step looks at where no index tells which are old.
const LOOK: i64 = 16_384;
/// Pages that one step gives back to the file system.
const PAGES: i64 = 256;
/// Free pages that stay in the file, for what is written next.
const SPARE: i64 = 256;

/// What people are told in each round that ends with nothing left to forget.
const TOO_LARGE: &str =
    "with all events forgotten the state takes up more than `store.max_size`: its bans need that";

/// Where forgetting has come to.
#[derive(Debug, Default)]
pub(super) struct Pruning {
    stage: Stage,
}

/// What is looked at next.
#[derive(Debug, Default)]
enum Stage {
    /// What an index finds by its age or number.
    #[default]
    Indexed,
    /// Strikes behind this target.
    Strikes(Value, Value),
    /// Scores behind this address.
    Scores(Value),
    /// Events, as far as the size demands.
    Size,
    /// Free pages.
    Space,
}

impl Pruning {
    /// One step. Whether there is more to do.
    pub(super) fn step(
        &mut self,
        connection: &mut Connection,
        retention: Retention,
        notes: &mut Vec<String>,
    ) -> rusqlite::Result<bool> {
        let from = retention.keep_from.0;
        if matches!(self.stage, Stage::Space) {
            let more = give_back(connection)?;
            if !more {
                self.stage = Stage::Indexed;
            }
            return Ok(more);
        }
        let transaction = connection.transaction()?;
        // A step that fails begins the round anew.
        let next = match std::mem::take(&mut self.stage) {
            Stage::Indexed if forget_old(&transaction, retention)? => Stage::Indexed,
            Stage::Indexed => Stage::Strikes(Value::Blob(Vec::new()), Value::Integer(0)),
            Stage::Strikes(address, length) => {
                match sweep_strikes(&transaction, &address, &length, retention)? {
                    Some((address, length)) => Stage::Strikes(address, length),
                    None => Stage::Scores(Value::Blob(Vec::new())),
                }
            }
            Stage::Scores(address) => {
                sweep_scores(&transaction, &address, from)?.map_or(Stage::Size, Stage::Scores)
            }
            Stage::Size if shorten(&transaction, retention.max_bytes, notes)? => Stage::Size,
            Stage::Size | Stage::Space => Stage::Space,
        };
        transaction.commit()?;
        self.stage = next;
        Ok(true)
    }
}

/// Forgets the oldest events if all of it takes up too much. Whether it may still do so.
fn shorten(connection: &Connection, most: u64, notes: &mut Vec<String>) -> rusqlite::Result<bool> {
    if used_bytes(connection)? <= most {
        return Ok(false);
    }
    let forgotten = forget_events(connection, i64::MAX)?;
    if forgotten == 0 {
        notes.push(TOO_LARGE.to_owned());
    }
    Ok(forgotten > 0)
}

/// Of the next strikes forgets those that are all forgiven, unless a ban of their target stands; the last that was looked
/// at, if there are more.
fn sweep_strikes(
    connection: &Connection,
    address: &Value,
    length: &Value,
    retention: Retention,
) -> rusqlite::Result<Option<(Value, Value)>> {
    let to: Option<(Value, Value)> = connection
        .prepare_cached(
            "SELECT address, length FROM strike WHERE (address, length) > (?1, ?2)
             ORDER BY address, length LIMIT 1 OFFSET ?3",
        )?
        .query_row(params![address, length, LOOK - 1], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let (now, forgive_after) = (retention.now.0, retention.forgive_after_ms());
    match &to {
        Some((last, its_length)) => connection
            .prepare_cached(
                "DELETE FROM strike WHERE (address, length) > (?1, ?2) AND (address, length) <= (?5, ?6)
                 AND last + strikes * ?4 < ?3
                 AND NOT EXISTS (SELECT 1 FROM ban WHERE ban.address = strike.address AND ban.length = strike.length)",
            )?
            .execute(params![address, length, now, forgive_after, last, its_length])?,
        None => connection
            .prepare_cached(
                "DELETE FROM strike WHERE (address, length) > (?1, ?2) AND last + strikes * ?4 < ?3
                 AND NOT EXISTS (SELECT 1 FROM ban WHERE ban.address = strike.address AND ban.length = strike.length)",
            )?
            .execute(params![address, length, now, forgive_after])?,
    };
    Ok(to)
}

/// Forgets the old ones of the next scores; the last address that was looked at, if there are more.
fn sweep_scores(connection: &Connection, address: &Value, from: i64) -> rusqlite::Result<Option<Value>> {
    let to: Option<Value> = connection
        .prepare_cached("SELECT address FROM score WHERE address > ?1 ORDER BY address LIMIT 1 OFFSET ?2")?
        .query_row(params![address, LOOK - 1], |row| row.get(0))
        .optional()?;
    match &to {
        Some(last) => connection
            .prepare_cached("DELETE FROM score WHERE address > ?1 AND address <= ?2 AND settled < ?3")?
            .execute(params![address, last, from])?,
        None => connection
            .prepare_cached("DELETE FROM score WHERE address > ?1 AND settled < ?2")?
            .execute(params![address, from])?,
    };
    Ok(to)
}

/// Forgets what an index finds. Whether there may be more.
fn forget_old(connection: &Connection, retention: Retention) -> rusqlite::Result<bool> {
    let from = retention.keep_from.0;
    let bans = connection
        .prepare_cached(
            "DELETE FROM ban WHERE (until, address, length) IN
             (SELECT until, address, length FROM ban WHERE until < ?1 ORDER BY until LIMIT ?2)",
        )?
        .execute([from, PART])?;
    connection.prepare_cached("DELETE FROM allow WHERE until < ?1")?.execute([from])?;
    connection.prepare_cached("DELETE FROM allow_name WHERE until < ?1")?.execute([from])?;
    // The newest stays: the next one is numbered after it.
    let old = connection
        .prepare_cached(
            "DELETE FROM event WHERE number IN (SELECT number FROM event WHERE at < ?1 ORDER BY at LIMIT ?2)
             AND number < (SELECT max(number) FROM event)",
        )?
        .execute([from, PART])?;
    let most = i64::try_from(retention.max_events.max(1)).unwrap_or(i64::MAX);
    let last: Option<i64> =
        connection.prepare_cached("SELECT max(number) FROM event")?.query_row([], |row| row.get(0))?;
    let beyond = forget_events(connection, last.unwrap_or(0).saturating_sub(most))?;
    Ok(bans as i64 == PART || old as i64 == PART || beyond as i64 == PART)
}

/// Forgets the oldest events, none with a greater number than this, and not the newest; how many.
fn forget_events(connection: &Connection, to: i64) -> rusqlite::Result<usize> {
    connection
        .prepare_cached(
            "DELETE FROM event WHERE number <= ?1 AND number < (SELECT max(number) FROM event)
             AND number < (SELECT min(number) FROM event) + ?2",
        )?
        .execute([to, PART])
}

/// Bytes of the file that are in use.
fn used_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let pages = number(connection, "page_count")? - number(connection, "freelist_count")?;
    Ok((pages * number(connection, "page_size")?) as u64)
}

/// Gives pages back to the file system where far more are free than will be needed soon. Whether there are more.
fn give_back(connection: &Connection) -> rusqlite::Result<bool> {
    let (free, all) = (number(connection, "freelist_count")?, number(connection, "page_count")?);
    let surplus = free - SPARE.max(all / 16);
    if surplus <= 0 || number(connection, "auto_vacuum")? == 0 {
        return Ok(false);
    }
    let pages = surplus.min(PAGES);
    // A page at a time: each row of the answer is one.
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    drop(rows);
    if surplus > PAGES {
        return Ok(true);
    }
    // Only what has left the log makes the file smaller.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    Ok(false)
}

/// Whether the file has nothing in it yet: then it may be said what it is to be like.
pub(super) fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    Ok(number(connection, "page_count")? == 0)
}

/// Lets the file of an older guard shrink from now on: it is written anew, once. Where there is no room for that it
/// stays as it is, and free pages are only used again.
pub(super) fn make_shrinkable(connection: &Connection) -> rusqlite::Result<()> {
    if number(connection, "auto_vacuum")? != 0 {
        return Ok(());
    }
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    match connection.execute_batch("VACUUM") {
        Err(e) if e.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull) => Ok(()),
        done => done,
    }
}

fn number(connection: &Connection, pragma: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, pragma, |row| row.get(0))
}
