//! Events: written in order, searched from the newest backwards, a bounded number of rows at a time.

use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection, Row, ToSql, params};

use super::rows::{Unreadable, octets, target};
use crate::store::{EventPage, EventQuery, KeptEvent, StoredEvent};
use crate::target::Target;
use crate::time::Wall;

/// Rows looked at in one call: some ten milliseconds, for which writes wait.
const LOOK: i64 = 16_384;

/// Writes an event, inside the caller's transaction.
pub(super) fn put(connection: &Connection, event: &StoredEvent) -> rusqlite::Result<()> {
    let address = event.target.map(octets);
    connection
        .prepare_cached("INSERT INTO event (at, kind, address, length, detail) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![
            event.at.0,
            event.kind,
            address.as_ref().map(AsRef::<[u8]>::as_ref),
            event.target.map(Target::length),
            event.detail
        ])?;
    Ok(())
}

/// A part of the answer to a question.
pub(super) fn find(
    connection: &Connection,
    query: &EventQuery,
    notes: &mut Vec<String>,
) -> rusqlite::Result<EventPage> {
    if query.limit == 0 {
        return Ok(EventPage::default());
    }
    let mut unreadable = Unreadable::default();
    let page = match query.target {
        Some(host) if host.is_host() => about_host(connection, query, host, &mut unreadable),
        _ => among_all(connection, query, &mut unreadable),
    }?;
    unreadable.tell("events", notes);
    Ok(page)
}

/// Searches all events.
fn among_all(
    connection: &Connection,
    query: &EventQuery,
    unreadable: &mut Unreadable,
) -> rusqlite::Result<EventPage> {
    let (first, last) = connection
        .prepare_cached("SELECT min(number), max(number) FROM event")?
        .query_row([], |row| Ok((row.get::<_, Option<i64>>(0)?, row.get::<_, Option<i64>>(1)?)))?;
    let (Some(first), Some(last)) = (first, last) else { return Ok(EventPage::default()) };
    let to = query.before.map_or(last, |before| last.min(signed(before) - 1));
    let end = first.max(signed(query.after).saturating_add(1));
    let from = end.max(to.saturating_sub(LOOK - 1));
    let statement = connection.prepare_cached(
        "SELECT number, at, kind, address, length, detail FROM event
         WHERE number BETWEEN ?1 AND ?2 ORDER BY number DESC",
    )?;
    let Scan { events, .. } = scan(statement, params![from, to], query, unreadable)?;
    let more = events.len() < query.limit && from > end;
    Ok(EventPage { events, next: more.then_some(from as u64) })
}

/// Searches the events of a host and of each prefix that covers it, through their index.
fn about_host(
    connection: &Connection,
    query: &EventQuery,
    host: Target,
    unreadable: &mut Unreadable,
) -> rusqlite::Result<EventPage> {
    let before = query.before.map_or(i64::MAX, signed);
    let mut events = Vec::new();
    // What is below this number has not been seen of every target.
    let mut reached = 0;
    for about in (0..=host.length()).rev().filter_map(|length| Target::prefix(host.address(), length)) {
        let statement = connection.prepare_cached(
            "SELECT number, at, kind, address, length, detail FROM event
             WHERE address = ?1 AND length = ?2 AND number > ?3 AND number < ?4 ORDER BY number DESC LIMIT ?5",
        )?;
        let bytes = octets(about);
        let values = params![bytes.as_ref(), about.length(), signed(query.after), before, LOOK];
        let found = scan(statement, values, query, unreadable)?;
        if !found.is_whole {
            reached = reached.max(found.lowest);
        }
        events.extend(found.events);
    }
    events.retain(|event| event.number >= reached);
    events.sort_by_key(|event| std::cmp::Reverse(event.number));
    events.truncate(query.limit);
    let more = events.len() < query.limit && reached > 0;
    Ok(EventPage { events, next: more.then_some(reached) })
}

/// What a statement found.
struct Scan {
    events: Vec<KeptEvent>,
    /// The number of the last row that was looked at.
    lowest: u64,
    /// Whether it ended for want of rows.
    is_whole: bool,
}

/// Goes through rows until there are none left, enough of them are wanted, or enough were looked at.
fn scan(
    mut statement: CachedStatement<'_>,
    values: &[&dyn ToSql],
    query: &EventQuery,
    unreadable: &mut Unreadable,
) -> rusqlite::Result<Scan> {
    let mut rows = statement.query(values)?;
    let mut scan = Scan { events: Vec::new(), lowest: 0, is_whole: true };
    let mut looked = 0;
    while let Some(row) = rows.next()? {
        looked += 1;
        scan.lowest = row.get::<_, i64>(0)? as u64;
        if let Some(event) = unreadable.sift(event(row, query))?.flatten() {
            scan.events.push(KeptEvent { number: scan.lowest, event });
        }
        if scan.events.len() >= query.limit || looked == LOOK {
            scan.is_whole = false;
            break;
        }
    }
    Ok(scan)
}

/// An event, if it is wanted.
fn event(row: &Row<'_>, query: &EventQuery) -> rusqlite::Result<Option<StoredEvent>> {
    if !query.wants_kind(row.get_ref(2)?.as_str()?) {
        return Ok(None);
    }
    let about = if row.get_ref(3)? == ValueRef::Null { None } else { Some(target(row, 3)?) };
    let event = StoredEvent { at: Wall(row.get(1)?), kind: row.get(2)?, target: about, detail: row.get(5)? };
    Ok(query.wants(&event).then_some(event))
}

/// A number as the table has it: there are none that do not fit.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
