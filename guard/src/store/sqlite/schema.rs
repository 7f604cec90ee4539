//! The tables, and how an older file becomes the present one.

use rusqlite::Connection;

/// Step `n` makes schema `n + 1` of schema `n`; schema 0 is the empty file. Steps that were released are never
/// changed, only followed by others.
///
/// Addresses are their bytes in network order, times are milliseconds since the Unix epoch.
///
/// `ban` is kept in the order in which a restore reads it, by its end ([`FOR_GOOD`] if there is none), so that a
/// million of them come back in one sequential pass without sorting, and pruning is one range.
pub(super) const STEPS: &[&str] = &[
    "
    CREATE TABLE ban (
        until   INTEGER NOT NULL,
        address BLOB    NOT NULL,
        length  INTEGER NOT NULL,
        id      INTEGER NOT NULL,
        since   INTEGER NOT NULL,
        score   INTEGER NOT NULL,
        strike  INTEGER NOT NULL,
        origin  TEXT    NOT NULL,
        reason  TEXT    NOT NULL,
        PRIMARY KEY (until, address, length)
    ) STRICT, WITHOUT ROWID;
    CREATE UNIQUE INDEX ban_target ON ban (address, length);

    CREATE TABLE strike (
        address BLOB    NOT NULL,
        length  INTEGER NOT NULL,
        strikes INTEGER NOT NULL,
        last    INTEGER NOT NULL,
        -- Times of the last day's bans, eight bytes each, big-endian.
        recent  BLOB    NOT NULL,
        PRIMARY KEY (address, length)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE allow (
        address BLOB    NOT NULL,
        length  INTEGER NOT NULL,
        until   INTEGER NOT NULL,
        comment TEXT    NOT NULL,
        PRIMARY KEY (address, length)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE position (
        source TEXT NOT NULL PRIMARY KEY,
        place  TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE event (
        number  INTEGER PRIMARY KEY,
        at      INTEGER NOT NULL,
        kind    TEXT    NOT NULL,
        address BLOB,
        length  INTEGER,
        detail  TEXT    NOT NULL
    ) STRICT;
    CREATE INDEX event_target ON event (address, length, number) WHERE address IS NOT NULL;
    CREATE INDEX event_at ON event (at);

    CREATE TABLE last (
        only INTEGER NOT NULL PRIMARY KEY CHECK (only = 0),
        id   INTEGER NOT NULL
    ) STRICT;
    INSERT INTO last VALUES (0, 0);
",
    "
    CREATE TABLE score (
        address BLOB    NOT NULL PRIMARY KEY,
        points  INTEGER NOT NULL,
        settled INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
",
    "
    CREATE TABLE engine (
        only  INTEGER NOT NULL PRIMARY KEY CHECK (only = 0),
        state BLOB    NOT NULL
    ) STRICT;
",
];

/// The first files of schema 1 have no times of recent bans: they were written before that schema was settled.
const FIRST: &str = "ALTER TABLE strike ADD COLUMN recent BLOB NOT NULL DEFAULT x''";

/// The end of what has none.
pub(super) const FOR_GOOD: i64 = i64::MAX;

/// Which schema a file has; 0 if it is empty.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Takes the steps that a file lacks, each as one transaction together with its number.
pub(super) fn migrate(connection: &mut Connection, steps: &[&str]) -> rusqlite::Result<()> {
    for (n, step) in steps.iter().enumerate().skip(version(connection)? as usize) {
        let transaction = connection.transaction()?;
        if n == 1 && transaction.prepare("SELECT recent FROM strike").is_err() {
            transaction.prepare(FIRST)?.execute([])?;
        }
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", n as u32 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_taken_once_and_keeps_what_is_there() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, STEPS).unwrap();
        connection.execute("INSERT INTO position VALUES ('a', 'b')", []).unwrap();

        let more = [STEPS, &["ALTER TABLE position ADD COLUMN note TEXT NOT NULL DEFAULT 'x'"]].concat();
        migrate(&mut connection, &more).unwrap();
        migrate(&mut connection, &more).unwrap();

        assert_eq!(version(&connection).unwrap() as usize, STEPS.len() + 1);
        let row: (String, String) = connection
            .query_row("SELECT place, note FROM position", [], |r| Ok((r.get(0)?, r.get(1)?)))
            .unwrap();
        assert_eq!(row, ("b".into(), "x".into()));
    }

    #[test]
    fn a_step_that_fails_leaves_the_older_schema() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, STEPS).unwrap();
        let more = [STEPS, &["CREATE TABLE fresh (x) ; SELECT nonsense FROM nowhere"]].concat();
        assert!(migrate(&mut connection, &more).is_err());
        assert_eq!(version(&connection).unwrap() as usize, STEPS.len());
        assert!(connection.prepare("SELECT x FROM fresh").is_err());
    }
}
