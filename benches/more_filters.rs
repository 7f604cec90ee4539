//! An administrator's hundred filters, as different from each other as those of a hundred programs are.

use std::fmt::Write as _;
use std::path::Path;
use std::{fs, io};

/// How many there are.
pub const COUNT: usize = 100;

/// Parts of programs' names; each filter has another pair of them.
const FIRST: [&str; 10] = ["mail", "auth", "sync", "post", "cron", "system", "su", "git", "radius", "web"];
const SECOND: [&str; 10] =
    ["gate", "shop", "-login", "proxy", "d-helper", "relay", "keeper", "board", "hub", "panel"];
/// Filters whose patterns begin with a field; the others' begin with text.
const FIELD_FIRST: usize = COUNT / 2;
/// Of the others, those of records.
const RECORDS: usize = COUNT / 4;

/// Writes them into a new folder.
pub fn write(folder: &Path) -> io::Result<()> {
    fs::create_dir(folder)?;
    for number in 0..COUNT {
        let name = format!("{}{}", FIRST[number % 10], SECOND[number / 10]);
        fs::write(folder.join(format!("{name}.toml")), text(number, &name))?;
    }
    Ok(())
}

fn text(number: usize, name: &str) -> String {
    let mut text = format!("description = \"Program {number}\"\nidentifiers = [\"{name}\"]\n");
    let patterns: &[&str] = if number < FIELD_FIRST {
        &[
            "text = '<token>: login of <account> from <peer> failed'",
            "text = '<address> was refused by rule <number>'",
            "text = '<number> wrong codes of <account> from <address>:<port>'",
        ]
    } else if number < FIELD_FIRST + RECORDS {
        let format = ["json", "logfmt"][number % 2];
        // Writing to a string cannot fail.
        let _ = writeln!(text, "files = [\"/var/log/{name}/{name}.log\"]\nformat = \"{format}\"");
        &[
            "fields = { msg = 'login of <token> failed', remote = '<peer>' }",
            "fields = { event = ['denied', 'expired'], ip = '<address>' }",
        ]
    } else {
        &[
            "text = 'wrong password of <account> at <peer>[ (<number> attempts)]'",
            "text = '(rejected|refused) (token|key|code) from <address>: <text>'",
            "text = 'session of <account^ > from <address> port <port> dropped[ early]'",
        ]
    };
    for pattern in patterns {
        let _ = writeln!(text, "\n[[pattern]]\nkind = \"failed-auth\"\n{pattern}");
    }
    text
}

#[cfg(test)]
mod tests {
    use guard::config::Filters;
    use guard::scan::{FilterSet, shipped};

    #[test]
    fn all_of_them_load_beside_the_shipped_ones() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let filters = Filters { folder: folder.path().join("filters.d"), ..Filters::default() };

        super::write(&filters.folder)?;

        assert_eq!(FilterSet::load(&filters)?.names().count(), shipped().len() + super::COUNT);
        Ok(())
    }
}
