//! The configuration written back, and compared.

use super::Config;
use super::settings::{SETTINGS, Setting};

impl Config {
    /// The effective configuration as TOML that [`super::parse`] reads back. A value that differs from its
    /// default says so in a comment.
    pub fn show(&self) -> String {
        let default = Self::default();
        let mut out = String::new();
        let mut table = "";
        for setting in SETTINGS {
            let (its_table, key) = setting.place();
            if its_table.is_empty() {
                let shown = (setting.show)(self);
                out.extend([if shown.is_empty() { "" } else { "\n" }, &shown]);
                continue;
            }
            if its_table != table {
                let gap = if table.is_empty() { "" } else { "\n" };
                out.extend([gap, "[", its_table, "]\n"]);
                table = its_table;
            }
            let (value, usual) = ((setting.show)(self), (setting.show)(&default));
            let note = if value == usual { String::new() } else { format!("  # default: {usual}") };
            out.extend([key, " = ", &value, &note, "\n"]);
        }
        for rule in &self.rules {
            out.extend(["\n[[rule]]\n", &rule.toml()]);
        }
        out
    }

    /// What differs between two configurations, as `key: old → new`.
    pub fn diff(old: &Self, new: &Self) -> Vec<String> {
        changed(old, new).map(|setting| told(setting, old, new)).collect()
    }

    /// What of [`Config::diff`] takes effect at the next start only.
    pub fn diff_at_restart(old: &Self, new: &Self) -> Vec<String> {
        changed(old, new)
            .filter(|setting| setting.at_restart)
            .map(|setting| told(setting, old, new))
            .collect()
    }

    /// This configuration with every value that cannot change while running taken from `running`: what a
    /// reload makes effective.
    #[must_use]
    pub fn reloaded_over(&self, running: &Self) -> Self {
        let mut effective = self.clone();
        for setting in SETTINGS.iter().filter(|setting| setting.at_restart) {
            (setting.copy)(&mut effective, running);
        }
        effective
    }

    /// The path of every option, as `table.key`.
    pub fn keys() -> impl Iterator<Item = &'static str> {
        SETTINGS.iter().map(|setting| setting.key)
    }
}

fn changed<'a>(old: &'a Config, new: &'a Config) -> impl Iterator<Item = &'static Setting> + 'a {
    SETTINGS.iter().filter(|setting| (setting.show)(old) != (setting.show)(new))
}

fn told(setting: &Setting, old: &Config, new: &Config) -> String {
    if setting.place().0.is_empty() {
        return format!("{}: changed", setting.key);
    }
    format!("{}: {} → {}", setting.key, (setting.show)(old), (setting.show)(new))
}
