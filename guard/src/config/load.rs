//! From a file to a validated [`Config`], or everything that is wrong with it.

use std::fs::{File, Metadata};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::settings::{SETTINGS, Setting};
use super::shape::Wrong;
use super::units;
use super::{Config, ConfigError};
use crate::rules::{located, read_rules};

/// Longest file that is read.
const LONGEST: u64 = 1 << 20;

/// Reads the configuration from a file that only root (or the caller) can change.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    parse(&read_text(path, LONGEST)?, path)
}

/// Reads as much of the configuration as can be read, with its defaults for the rest, and what is wrong with it: for
/// those who must get somewhere even past a mistake in the file.
pub fn load_readable(path: &Path) -> (Config, Option<ConfigError>) {
    match read_text(path, LONGEST) {
        Ok(text) => parse_readable(&text, path),
        Err(error) => (Config::default(), Some(error)),
    }
}

/// Reads the configuration from text; `path` is what errors name. What the text leaves out has its default.
pub fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
    match parse_readable(text, path) {
        (config, None) => Ok(config),
        (_, Some(error)) => Err(error),
    }
}

fn parse_readable(text: &str, path: &Path) -> (Config, Option<ConfigError>) {
    let (config, wrong) = match DeTable::parse_recoverable(text) {
        (table, errors) if errors.is_empty() => read_tables(table.get_ref(), text, path),
        (table, errors) => {
            let start = |error: &toml::de::Error| error.span().map_or(0, |span| span.start);
            let wrong = errors.iter().map(|e| (start(e), e.message().to_owned())).collect();
            // Faults of what a broken file seems to say would only hide the one that broke it.
            (read_tables(table.get_ref(), text, path).0, wrong)
        }
    };
    if wrong.is_empty() {
        return (config, None);
    }
    (config, Some(located(text, path, wrong)))
}

/// The known word nearest to one that is unknown, if one is near enough to be meant.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word.to_lowercase(), candidate), candidate))
        .filter(|(distance, candidate)| {
            *distance <= 1.max(candidate.len() / 3) || (word.len() > 3 && candidate.starts_with(word))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// The question that follows a wrong word whose nearest known one, if any, is this one.
fn meant(near: &str, quote: char) -> String {
    format!("; did you mean {quote}{near}{quote}?")
}

/// What a fault about a word ends with: the known word that was meant, in these quotes. Empty if none is near.
pub(crate) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>, quote: char) -> String {
    nearest(word, known).map_or_else(String::new, |near| meant(near, quote))
}

/// As [`did_you_mean`]; all known words if none is near.
pub(crate) fn did_you_mean_or_known<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
    quote: char,
) -> String {
    nearest(word, known.clone()).map_or_else(
        || format!("; there are {}", known.into_iter().collect::<Vec<_>>().join(", ")),
        |near| meant(near, quote),
    )
}

/// What is wrong with a key that nobody knows, with the known one that was meant.
pub(crate) fn unknown_name<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    format!("unknown key `{name}`{}", did_you_mean(name, known, '`'))
}

/// Reads a text that only root (or the caller) can change, of at most so many bytes.
pub(crate) fn read_text(path: &Path, longest: u64) -> Result<String, ConfigError> {
    String::from_utf8(read_bytes(path, longest)?)
        .map_err(|_| ConfigError::Unreadable { path: path.into(), reason: "it is not UTF-8 text".into() })
}

/// Reads a file that only root (or the caller) can change, of at most so many bytes.
pub(crate) fn read_bytes(path: &Path, longest: u64) -> Result<Vec<u8>, ConfigError> {
    let unreadable = |reason: String| ConfigError::Unreadable { path: path.into(), reason };
    // Without O_NONBLOCK, opening a FIFO would wait for a writer.
    let file =
        File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path).map_err(
            |error| match error.kind() {
                ErrorKind::NotFound => ConfigError::Missing { path: path.into() },
                _ => unreadable(error.to_string()),
            },
        )?;
    check_owner(path, &file)?;
    let mut bytes = Vec::new();
    file.take(longest + 1).read_to_end(&mut bytes).map_err(|error| unreadable(error.to_string()))?;
    if bytes.len() as u64 > longest {
        return Err(unreadable(format!("it is longer than {}", units::show_size(longest))));
    }
    Ok(bytes)
}

/// Refuses what others than root and the caller could have written. The open file is looked at, not its path.
fn check_owner(path: &Path, file: &File) -> Result<(), ConfigError> {
    let unreadable = |reason: String| ConfigError::Unreadable { path: path.into(), reason };
    let meta = file.metadata().map_err(|error| unreadable(error.to_string()))?;
    if !meta.is_file() {
        return Err(unreadable("it is not a regular file".into()));
    }
    match writable_by_others(path, &meta) {
        Some((reason, remedy)) => Err(ConfigError::Unsafe { path: path.into(), reason, remedy }),
        None => Ok(()),
    }
}

/// Whether others than root and the caller may change a file: how, and the command that puts it right.
pub(crate) fn writable_by_others(path: &Path, meta: &Metadata) -> Option<(String, String)> {
    if meta.uid() != 0 && meta.uid() != rustix::process::geteuid().as_raw() {
        return Some((
            format!("it belongs to user {}, not to root", meta.uid()),
            format!("chown root {}", path.display()),
        ));
    }
    (meta.mode() & 0o022 != 0).then(|| {
        (
            format!("others than its owner may write it (mode {:04o})", meta.mode() & 0o7777),
            format!("chmod go-w {}", path.display()),
        )
    })
}

fn read_tables(root: &DeTable<'_>, text: &str, path: &Path) -> (Config, Vec<Wrong>) {
    let mut config = Config::default();
    let mut wrong = Vec::new();
    for (name, value) in root {
        let at = name.span().start;
        let name = name.get_ref().as_ref();
        match value.get_ref() {
            _ if name == "rule" => {
                let (rules, faults) = read_rules(value, text, path);
                config.rules = rules;
                wrong.extend(faults);
            }
            _ if SETTINGS.iter().any(|setting| setting.key == name) => {
                read_setting(&mut config, ("", name), value, &mut wrong);
            }
            _ if !SETTINGS.iter().any(|setting| setting.place().0 == name) => {
                wrong.push((at, unknown_table(name)));
            }
            DeValue::Table(table) => read_table(&mut config, name, table, &mut wrong),
            _ => wrong.push((at, format!("`{name}` is a table: write [{name}] on a line of its own"))),
        }
    }
    (config, wrong)
}

fn read_table(config: &mut Config, table: &str, entries: &DeTable<'_>, wrong: &mut Vec<Wrong>) {
    for (key, value) in entries {
        let name = key.get_ref().as_ref();
        if !read_setting(config, (table, name), value, wrong) {
            wrong.push((key.span().start, unknown_key(table, name)));
        }
    }
}

/// Reads the option at a place; `false` if there is none.
fn read_setting(
    config: &mut Config,
    place: (&str, &str),
    value: &Spanned<DeValue<'_>>,
    wrong: &mut Vec<Wrong>,
) -> bool {
    let Some(setting) = SETTINGS.iter().find(|setting| setting.place() == place) else { return false };
    if let Err(faults) = (setting.read)(config, value) {
        let told = |(at, text)| (at, format!("`{}`: {text}", setting.key));
        wrong.extend(faults.into_iter().map(told));
    }
    true
}

fn unknown_table(name: &str) -> String {
    let in_table = |setting: &&Setting| !setting.place().0.is_empty() && setting.place().1 == name;
    if let Some(setting) = SETTINGS.iter().find(in_table) {
        return format!("`{name}` stands outside of its table; it belongs under [{}]", setting.place().0);
    }
    let known =
        SETTINGS.iter().map(Setting::place).map(|(table, key)| if table.is_empty() { key } else { table });
    let known = known.chain(["rule"]);
    with_hint(format!("unknown table `{name}`"), nearest(name, known), None)
}

fn unknown_key(table: &str, name: &str) -> String {
    let known = SETTINGS.iter().map(Setting::place).filter(|place| place.0 == table);
    let elsewhere = SETTINGS.iter().map(Setting::place).find(|place| place.1 == name);
    let near = nearest(name, known.map(|place| place.1));
    with_hint(format!("unknown key `{table}.{name}`"), near, elsewhere.map(|place| place.0))
}

fn with_hint(message: String, near: Option<&str>, elsewhere: Option<&str>) -> String {
    match (near, elsewhere) {
        (Some(near), _) => format!("{message}{}", meant(near, '`')),
        (None, Some(table)) => format!("{message}; it belongs under [{table}]"),
        (None, None) => message,
    }
}
