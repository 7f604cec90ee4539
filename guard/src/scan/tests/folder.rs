//! The administrator's filters: beside the shipped ones, instead of them, and as large as they may be.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::REFERENCE;
use crate::config::{Enabled, Filters};
use crate::scan::{FilterError, FilterFile, FilterSet, Mode, Scanner, available, shipped};

const OWN_SSHD: &str =
    "identifiers = [\"sshd\"]\n[[pattern]]\nkind = \"failed-auth\"\ntext = 'no entry for <address>'\n";
const APP: &str = "identifiers = [\"app\"]\n[[pattern]]\nkind = \"failed-auth\"\ntext = 'denied <address>'\n";

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn filters(folder: &Path) -> Filters {
    Filters { folder: folder.to_owned(), ..Filters::default() }
}

/// The filter that reads a message, by name.
fn reader(set: &Arc<FilterSet>, identifier: &str, message: &str) -> Option<String> {
    let mut scanner = Scanner::with_zone(Arc::clone(set), TimeZone::UTC);
    let line = format!("Nov 20 00:00:00 web1 {identifier}[7]: {message}");
    let pattern = scanner.line(line.as_bytes(), REFERENCE)?.pattern;
    Some(set.filter_name(pattern.filter).to_owned())
}

#[test]
fn a_shipped_service_is_compiled_for_its_first_line_and_an_own_one_at_once() {
    let set = Arc::new(FilterSet::shipped(Mode::Normal).unwrap());
    let (services, compiled) = set.compiled();
    assert!(services > 20 && compiled == 0, "{compiled} of {services}");
    let message = "Failed password for root from 203.0.113.7 port 22 ssh2";
    assert_eq!(reader(&set, "nobody", message), None);
    assert_eq!(set.compiled().1, 0, "no filter reads this program");
    assert_eq!(reader(&set, "sshd", message).as_deref(), Some("sshd"));
    assert_eq!(reader(&set, "sshd", message).as_deref(), Some("sshd"));
    assert_eq!(set.compiled().1, 1);
    let syslog = set.for_syslog().unwrap();
    assert_eq!(syslog.compiled().1, 0, "they are known to be good");
    let own = FilterSet::compile(&[file(APP.to_owned())], Mode::Normal).unwrap();
    assert_eq!(own.compiled(), (1, 1));
    assert_eq!(own.for_syslog().unwrap().compiled(), (1, 0));
}

/// A filter of the administrator's with so many patterns of one form each.
fn with_patterns(count: usize) -> FilterFile {
    let mut text = "identifiers = [\"app\"]\n".to_owned();
    for number in 0..count {
        write!(text, "[[pattern]]\nkind = \"failed-auth\"\ntext = 'denial {number:04} of <address>'\n")
            .unwrap();
    }
    file(text)
}

/// A filter of the administrator's whose one pattern has a field with so many forms.
fn with_forms(count: usize, form: impl Fn(usize) -> String) -> FilterFile {
    let forms = (0..count).map(|number| format!("'{}'", form(number))).collect::<Vec<_>>().join(", ");
    file(format!(
        "files = [\"/var/log/app.json\"]\nformat = \"json\"\n[[pattern]]\nkind = \"failed-auth\"\n\
         fields = {{ ip = '<address>', msg = [{forms}] }}\n"
    ))
}

fn file(text: String) -> FilterFile {
    FilterFile { name: "app".into(), path: "/etc/guard/filters.d/app.toml".into(), text, shipped: false }
}

fn refusal(file: &FilterFile) -> FilterError {
    FilterSet::compile(std::slice::from_ref(file), Mode::Normal).unwrap_err()
}

#[test]
fn a_filter_of_the_folder_takes_the_place_of_the_shipped_one_of_its_name() {
    let folder = folder(&[("sshd.toml", OWN_SSHD)]);
    let set = Arc::new(FilterSet::load(&filters(folder.path())).unwrap());
    assert_eq!(reader(&set, "sshd", "no entry for 192.0.2.1").as_deref(), Some("sshd"));
    let failed = "Failed password for root from 192.0.2.1 port 22 ssh2";
    assert_eq!(reader(&set, "sshd", failed), None, "the shipped patterns are gone");
    assert_eq!(set.names().filter(|name| *name == "sshd").count(), 1);
    assert_eq!(set.names().count(), shipped().len());

    let files = available(folder.path()).unwrap();
    let sshd = files.iter().find(|file| file.name == "sshd").unwrap();
    assert!(!sshd.shipped && sshd.path == folder.path().join("sshd.toml"));
    assert_ne!(set.fingerprint(), FilterSet::shipped(Mode::Normal).unwrap().fingerprint());
}

#[test]
fn a_filter_of_another_name_comes_beside_the_shipped_ones() {
    let folder = folder(&[("app.toml", APP), ("app.toml.bak", OWN_SSHD), ("sshd.conf", OWN_SSHD)]);
    let mut config = filters(folder.path());
    let set = Arc::new(FilterSet::load(&config).unwrap());
    assert_eq!(reader(&set, "app", "denied 192.0.2.1").as_deref(), Some("app"));
    let failed = "Failed password for root from 192.0.2.1 port 22 ssh2";
    assert_eq!(reader(&set, "sshd", failed).as_deref(), Some("sshd"));
    assert_eq!(set.names().count(), shipped().len() + 1, "other files of the folder are no filters");

    config.disable = vec!["app".into()];
    let set = Arc::new(FilterSet::load(&config).unwrap());
    assert_eq!(reader(&set, "app", "denied 192.0.2.1"), None);
    config.disable.clear();
    config.enable = Enabled::Named(vec!["app".into()]);
    assert_eq!(FilterSet::load(&config).unwrap().names().collect::<Vec<_>>(), ["app"]);
}

#[test]
fn a_folder_that_is_missing_holds_no_filters_and_a_wrong_filter_is_named() {
    let nowhere = tempfile::tempdir().unwrap().path().join("none");
    assert_eq!(FilterSet::load(&filters(&nowhere)).unwrap().names().count(), shipped().len());

    let folder = folder(&[(
        "sshd.toml",
        "identifiers = [\"sshd\"]\n[[pattern]]\nkind = \"failed-auth\"\ntext = 'x'\n",
    )]);
    let error = FilterSet::load(&filters(folder.path())).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}:4: ", folder.path().join("sshd.toml").display())), "{error}");

    let named = Filters { enable: Enabled::Named(vec!["ssh".into()]), ..filters(&nowhere) };
    let error = FilterSet::load(&named).unwrap_err();
    assert!(
        matches!(&error, FilterError::Unknown { name, known } if name == "ssh" && known.contains("sshd")),
        "{error}"
    );

    fs::write(folder.path().join("sshd.toml"), b"\xff").unwrap();
    let error = FilterSet::load(&filters(folder.path())).unwrap_err();
    assert!(matches!(error, FilterError::Unreadable { .. }), "{error}");
}

#[test]
fn a_file_is_at_most_a_quarter_of_a_mebibyte() {
    let sized = |size: usize| file(format!("{APP}#{}", "x".repeat(size - APP.len() - 1)));
    assert_eq!(sized(256 * 1024).about().unwrap().patterns, 1);
    let error = sized(256 * 1024 + 1).about().unwrap_err().to_string();
    assert!(error.ends_with("app.toml:1: the file is larger than 262144 bytes"), "{error}");
}

#[test]
fn a_filter_has_at_most_so_many_patterns() {
    let set = Arc::new(FilterSet::compile(&[with_patterns(1024)], Mode::Normal).unwrap());
    assert!(reader(&set, "app", "denial 1023 of 192.0.2.1").is_some());
    let error = refusal(&with_patterns(1025)).to_string();
    assert!(error.ends_with("a filter has 1 to 1024 patterns"), "{error}");
    let error = refusal(&file("identifiers = [\"app\"]\npattern = []\n".into())).to_string();
    assert!(error.ends_with("a filter has 1 to 1024 patterns"), "{error}");
}

#[test]
fn a_field_has_at_most_so_many_forms() {
    let word = |number| format!("denial {number}");
    assert!(FilterSet::compile(&[with_forms(4096, word)], Mode::Normal).is_ok());
    let error = refusal(&with_forms(4097, word)).to_string();
    assert!(error.ends_with("msg: a field has 1 to 4096 forms"), "{error}");
}

#[test]
fn what_is_too_much_together_is_refused_by_name() {
    let holding = |number| format!("<text> denial {number}");
    assert!(FilterSet::compile(&[with_forms(1024, holding)], Mode::Normal).is_ok());
    let error = refusal(&with_forms(1025, holding));
    assert!(matches!(error, FilterError::TooLarge { .. }), "{error}");
    assert_eq!(error.to_string(), "the filters app have too many patterns together");
}
