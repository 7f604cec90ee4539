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
    "
    CREATE TABLE allow_name (
        name    TEXT    NOT NULL PRIMARY KEY,
        until   INTEGER NOT NULL,
        comment TEXT    NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE resolved (
        name    TEXT    NOT NULL,
        address BLOB    NOT NULL,
        seen    INTEGER NOT NULL,
        PRIMARY KEY (name, address)
    ) STRICT, WITHOUT ROWID;
",
    "
    CREATE TABLE login (
        address  BLOB    NOT NULL PRIMARY KEY,
        last     INTEGER NOT NULL,
        accounts INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
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
        let has = |column: &str| transaction.prepare(&format!("SELECT {column} FROM strike")).is_ok();
        if n == 1 && has("last") && !has("recent") {
            transaction.execute_batch(FIRST)?;
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
    use crate::store::{EventQuery, Sqlite, Store as _, StoredLogin, StoredScore, Write};
    use crate::time::Wall;

    /// Schema 1 as the first files have it.
    const OLDEST: &str = "
        CREATE TABLE ban (until INTEGER NOT NULL, address BLOB NOT NULL, length INTEGER NOT NULL, id INTEGER NOT NULL,
            since INTEGER NOT NULL, score INTEGER NOT NULL, strike INTEGER NOT NULL, origin TEXT NOT NULL,
            reason TEXT NOT NULL, PRIMARY KEY (until, address, length)) STRICT, WITHOUT ROWID;
        CREATE UNIQUE INDEX ban_target ON ban (address, length);
        CREATE TABLE strike (address BLOB NOT NULL, length INTEGER NOT NULL, strikes INTEGER NOT NULL,
            last INTEGER NOT NULL, PRIMARY KEY (address, length)) STRICT, WITHOUT ROWID;
        CREATE TABLE allow (address BLOB NOT NULL, length INTEGER NOT NULL, until INTEGER NOT NULL,
            comment TEXT NOT NULL, PRIMARY KEY (address, length)) STRICT, WITHOUT ROWID;
        CREATE TABLE position (source TEXT NOT NULL PRIMARY KEY, place TEXT NOT NULL) STRICT, WITHOUT ROWID;
        CREATE TABLE event (number INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind TEXT NOT NULL, address BLOB,
            length INTEGER, detail TEXT NOT NULL) STRICT;
        CREATE INDEX event_target ON event (address, length, number) WHERE address IS NOT NULL;
        CREATE INDEX event_at ON event (at);
        CREATE TABLE last (only INTEGER NOT NULL PRIMARY KEY CHECK (only = 0), id INTEGER NOT NULL) STRICT;
        INSERT INTO last VALUES (0, 0);
        PRAGMA user_version = 1;";

    /// A row in each table that every schema has.
    const ROWS: &str = "
        INSERT INTO ban VALUES (9223372036854775807, x'cb007107', 32, 41, 1000, 5000, 2, 'filter:sshd', 'because');
        INSERT INTO allow VALUES (x'c6336407', 32, 9223372036854775807, 'me');
        INSERT INTO position VALUES ('/var/log/auth.log', '1:2:3');
        INSERT INTO event VALUES (7, 1000, 'ban', x'cb007107', 32, '{}');
        UPDATE last SET id = 42;";

    #[test]
    fn a_file_of_every_earlier_schema_becomes_one_of_the_present() {
        for steps in 0..=STEPS.len() {
            let name = format!("after {steps} steps");
            let make = |connection: &mut Connection| match steps {
                0 => connection.execute_batch(OLDEST),
                _ => migrate(connection, &STEPS[..steps]),
            };
            let recent = if steps == 0 { "" } else { ", x'00000000000003e8'" };
            let strikes = &format!("INSERT INTO strike VALUES (x'cb007107', 32, 2, 1000{recent});");
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("guard.db");
            let mut old = Connection::open(&path).unwrap();
            old.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(())).unwrap();
            make(&mut old).unwrap();
            old.execute_batch(ROWS).unwrap();
            old.execute_batch(strikes).unwrap();
            drop(old);

            let (mut store, notes) = Sqlite::open(folder.path()).unwrap();
            assert_eq!(notes, Vec::<String>::new(), "{name}");
            let snapshot = store.snapshot().unwrap();
            assert_eq!((snapshot.last_id, snapshot.strikes[0].strikes), (42, 2), "{name}");
            assert_eq!((snapshot.positions.len(), snapshot.allowed.len()), (1, 1), "{name}");
            let mut bans = Vec::new();
            store.bans(Wall(0), &mut |chunk| (bans.extend(chunk), true).1).unwrap();
            assert_eq!((bans.len(), bans[0].id.0, bans[0].strike), (1, 41, 2), "{name}");
            assert_eq!(store.events(&EventQuery::default()).unwrap().events[0].number, 7, "{name}");
            let score = StoredScore { address: [203, 0, 113, 8].into(), points: 1, settled: Wall(1) };
            let login = StoredLogin { address: score.address, last: Some(Wall(1)), accounts: u32::MAX };
            let writes =
                [Write::Engine(Box::new([1])), Write::Scores(vec![score]), Write::Logins(vec![login])];
            store.write(&writes).unwrap();
            let snapshot = store.snapshot().unwrap();
            assert_eq!((snapshot.engine, snapshot.logins), (Some(vec![1]), vec![login]), "{name}");
            drop(store);
            let new = Connection::open(&path).unwrap();
            assert_eq!(version(&new).unwrap() as usize, STEPS.len(), "{name}");
            let shrinks: i64 = new.pragma_query_value(None, "auto_vacuum", |row| row.get(0)).unwrap();
            assert_eq!(shrinks, 2, "{name}: it can get smaller");
        }
    }

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
