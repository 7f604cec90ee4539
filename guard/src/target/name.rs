//! Names of hosts. They are resolved to allow, never to ban: what a name means is somebody else's to say.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Target;

/// Bytes of a name, written without its last dot (RFC 1035, 2.3.4).
const NAME: usize = 253;
/// Bytes of a label.
const LABEL: usize = 63;

/// The full name of a host, in lower case and without its last dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HostName(Box<str>);

/// Why a text is no name of a host.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("`{text}` is not the full name of a host, like vpn.example.org (others than ASCII as xn--…)")]
pub struct ParseNameError {
    /// The text as given.
    pub text: String,
}

impl HostName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = ParseNameError;

    /// Labels of letters, digits, `-` and `_`, at least two, the last of which is no number.
    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_label = |label: &str| {
            (1..=LABEL).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let last = name.rsplit_once('.').map(|(_, last)| last);
        let is_name = name.len() <= NAME
            && name.split('.').all(is_label)
            && last.is_some_and(|last| last.bytes().any(|b| b.is_ascii_alphabetic()));
        if is_name {
            return Ok(Self(name.to_ascii_lowercase().into()));
        }
        Err(ParseNameError { text: text.chars().take(80).collect() })
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for HostName {
    type Error = ParseNameError;

    fn try_from(text: String) -> Result<Self, ParseNameError> {
        text.parse()
    }
}

impl From<HostName> for String {
    fn from(name: HostName) -> Self {
        name.0.into()
    }
}

/// What can be allowed: a target, or the addresses that a name has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Allowable {
    /// An address or prefix.
    Target(Target),
    /// A name.
    Name(HostName),
}

/// Why a text can not be allowed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "`{text}` is not an address, CIDR prefix or name of a host (examples: 203.0.113.7, 203.0.113.0/24, 2001:db8::/64, vpn.example.org)"
)]
pub struct ParseAllowableError {
    /// The text as given.
    pub text: String,
}

impl FromStr for Allowable {
    type Err = ParseAllowableError;

    fn from_str(text: &str) -> Result<Self, ParseAllowableError> {
        text.parse()
            .map(Self::Target)
            .or_else(|_| text.parse().map(Self::Name))
            .map_err(|_| ParseAllowableError { text: text.chars().take(80).collect() })
    }
}

impl fmt::Display for Allowable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target(target) => target.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

impl From<Target> for Allowable {
    fn from(target: Target) -> Self {
        Self::Target(target)
    }
}

impl TryFrom<String> for Allowable {
    type Error = ParseAllowableError;

    fn try_from(text: String) -> Result<Self, ParseAllowableError> {
        text.parse()
    }
}

impl From<Allowable> for String {
    fn from(allowable: Allowable) -> Self {
        allowable.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_names_of_hosts() {
        let long = format!("{}.org", "a.".repeat(124) + "a");
        assert_eq!(long.len(), 253);
        for (text, name) in [
            ("VPN.Example.org.", "vpn.example.org"),
            ("_x.a-1.xn--p1ai", "_x.a-1.xn--p1ai"),
            ("7.example.org", "7.example.org"),
            (&long, &*long),
        ] {
            assert_eq!(text.parse::<HostName>().map(String::from).as_deref(), Ok(name), "{text}");
        }
        let label = format!("{}.org", "a".repeat(64));
        let long = format!("b{long}");
        for text in [
            "",
            ".",
            "localhost",
            "a..org",
            ".a.org",
            "a.org..",
            "-a.org",
            "a-.org",
            "ä.org",
            "a b.org",
            "203.0.113.300",
            "1.2",
            "a.org/24",
            "a/b.org",
            "*.example.org",
            &label,
            &long,
        ] {
            assert!(text.parse::<HostName>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_can_be_allowed_is_a_target_or_a_name() {
        let read = |text: &str| text.parse::<Allowable>();
        assert_eq!(read("203.0.113.7"), Ok(Allowable::Target("203.0.113.7".parse().unwrap())));
        assert_eq!(read("vpn.example.org"), Ok(Allowable::Name("vpn.example.org".parse().unwrap())));
        assert!(read("203.0.113.0/33").unwrap_err().to_string().contains("name of a host"));
    }

    #[test]
    fn a_name_is_no_target() {
        let error = |text: &str| text.parse::<Target>().unwrap_err().to_string();
        assert!(error("vpn.example.org").contains("names are resolved to allow, never to ban"));
        assert!(error("203.0.113.300").contains("examples: "));
    }
}
