//! A damaged file is set aside, and what can still be read of it becomes a new one.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, params_from_iter};

use super::{explain, open_file};
use crate::store::StoreError;
use crate::time::Wall;

/// Damaged files that are kept; older ones make room, so that a failing disk is not filled by its own ruins.
const KEPT: usize = 3;

/// How far a new ban id is from the highest one found where the last id is lost: it must not be given out twice.
const ID_GAP: i64 = 1_000_000;

/// The highest [number](crate::ban::BanId::number) of the bans, whose identities are this and a bit.
const HIGHEST: &str = "coalesce(max(id & ((1 << 46) - 1)), 0)";

struct Table {
    name: &'static str,
    columns: &'static str,
    key: &'static [&'static str],
}

const TABLES: &[Table] = &[
    Table {
        name: "ban",
        columns: "until, address, length, id, since, score, strike, origin, reason",
        key: &["until", "address", "length"],
    },
    Table { name: "strike", columns: "address, length, strikes, last, recent", key: &["address", "length"] },
    Table { name: "allow", columns: "address, length, until, comment", key: &["address", "length"] },
    Table { name: "position", columns: "source, place", key: &["source"] },
    Table { name: "event", columns: "number, at, kind, address, length, detail", key: &["number"] },
    Table { name: "last", columns: "only, id", key: &["only"] },
    Table { name: "allow_name", columns: "name, until, comment", key: &["name"] },
    Table { name: "resolved", columns: "name, address, seen", key: &["name", "address"] },
    Table { name: "login", columns: "address, last, accounts", key: &["address"] },
];

/// Fails where a table is missing or is another program's.
pub(super) fn probe(connection: &Connection) -> rusqlite::Result<()> {
    TABLES.iter().try_for_each(|table| {
        connection.prepare(&format!("SELECT {} FROM {}", table.columns, table.name)).map(|_| ())
    })
}

/// Sets the file at `path` aside and puts a new one in its place that holds what could be read. Answers what
/// became of it, for people.
pub(super) fn rebuild(path: &Path, reason: &str) -> Result<String, StoreError> {
    let fresh = beside(path, ".salvage");
    for rest in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(beside(&fresh, rest)); // of an attempt that was cut off
    }
    let read = take_over(path, &fresh)?;
    let aside = set_aside(path)?;
    fs::rename(&fresh, path).map_err(|e| StoreError::from_io("replacing the state", path, &e))?;
    forget_old(path);
    Ok(format!(
        "{} was damaged ({reason}) and is kept as {}; {} bans, {} strikes, {} allowances and {} events could be read and go on in a new file",
        path.display(),
        aside.display(),
        read[0],
        read[1],
        read[2],
        read[4],
    ))
}

/// Copies every readable row into a new file; the number of rows by table.
fn take_over(damaged: &Path, fresh: &Path) -> Result<[u64; TABLES.len()], StoreError> {
    let mut new = open_file(fresh, false)?;
    let failed = |e| explain("saving what is readable", fresh, &e);
    let mut read = [0; TABLES.len()];
    // What cannot even be opened has nothing to give.
    if let Ok(old) = Connection::open_with_flags(damaged, OpenFlags::SQLITE_OPEN_READ_WRITE)
        && old.pragma_update(None, "writable_schema", true).is_ok()
    {
        let transaction = new.transaction().map_err(failed)?;
        transaction.execute("DELETE FROM last", []).map_err(failed)?;
        for (table, read) in TABLES.iter().zip(&mut read) {
            *read = copy(&old, &transaction, table).map_err(failed)?;
        }
        transaction
            .execute(&format!("INSERT OR IGNORE INTO last SELECT 0, {HIGHEST} FROM ban"), [])
            .and_then(|_| {
                let gap = if read[5] == 0 { ID_GAP } else { 0 };
                let highest = format!("max(id, (SELECT {HIGHEST} FROM ban))");
                transaction.execute(&format!("UPDATE last SET id = {highest} + ?1"), [gap])
            })
            .map_err(failed)?;
        transaction.commit().map_err(failed)?;
        // Closing the damaged file must not write its log back into it: it is kept as it was found.
        let _ = old.set_db_config(rusqlite::config::DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true);
    }
    new.close().map_err(|(_, e)| failed(e))?;
    Ok(read)
}

/// Copies a table from both its ends towards the damage.
fn copy(old: &Connection, new: &Connection, table: &Table) -> rusqlite::Result<u64> {
    let Table { name, columns, key } = table;
    let places = vec!["?"; columns.split(',').count()].join(", ");
    let mut insert = new.prepare(&format!("INSERT OR REPLACE INTO {name} ({columns}) VALUES ({places})"))?;
    for direction in ["ASC", "DESC"] {
        let order = key.iter().map(|k| format!("{k} {direction}")).collect::<Vec<_>>().join(", ");
        let Ok(mut select) =
            old.prepare(&format!("SELECT {columns} FROM {name} NOT INDEXED ORDER BY {order}"))
        else {
            break;
        };
        let width = select.column_count();
        let Ok(mut rows) = select.query([]) else { break };
        let whole = loop {
            match rows.next() {
                Ok(Some(row)) => {
                    let values: rusqlite::Result<Vec<Value>> = (0..width).map(|i| row.get(i)).collect();
                    if let Ok(values) = values {
                        keep(&mut insert, values)?;
                    }
                }
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        if whole {
            break;
        }
    }
    new.query_row(&format!("SELECT count(*) FROM {name}"), [], |row| row.get::<_, i64>(0)).map(|n| n as u64)
}

/// Inserts a row unless its values break the table's rules, as torn ones do.
fn keep(insert: &mut rusqlite::Statement<'_>, values: Vec<Value>) -> rusqlite::Result<()> {
    use rusqlite::ErrorCode as Code;
    match insert.execute(params_from_iter(values)) {
        Err(e) if !matches!(e.sqlite_error_code(), Some(Code::ConstraintViolation | Code::TypeMismatch)) => {
            Err(e)
        }
        _ => Ok(()),
    }
}

/// Renames the file and its log; the new name.
fn set_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let stamp = Wall::now().to_string().replace(':', "");
    let mut aside = beside(path, &format!(".damaged-{stamp}"));
    for n in 2.. {
        if !aside.exists() {
            break;
        }
        aside = beside(path, &format!(".damaged-{stamp}-{n}"));
    }
    fs::rename(path, &aside).map_err(|e| StoreError::from_io("setting the damaged state aside", path, &e))?;
    for rest in ["-wal", "-shm"] {
        match fs::rename(beside(path, rest), beside(&aside, rest)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::from_io("setting the damaged state aside", path, &e));
            }
            _ => {}
        }
    }
    Ok(aside)
}

/// Removes all but the last damaged files.
fn forget_old(path: &Path) {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
        return;
    };
    let prefix = format!("{name}.damaged-");
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|p| p.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with(&prefix)))
        .filter(|p| !p.to_string_lossy().ends_with("-wal") && !p.to_string_lossy().ends_with("-shm"))
        .collect();
    found.sort();
    for old in found.iter().rev().skip(KEPT) {
        for rest in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(beside(old, rest));
        }
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
