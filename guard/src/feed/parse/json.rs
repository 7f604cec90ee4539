//! JSON: a document, or one a line. The values of one key are targets, wherever it stands; so are texts that stand in
//! no object. Nothing of the document is built.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Found, ParseError, Place, is_comment, numbered};

/// Keys in common use for what is listed.
const KEYS: [&str; 12] = [
    "cidr",
    "ip",
    "ip_address",
    "ipAddress",
    "address",
    "prefix",
    "ip_prefix",
    "ipv6_prefix",
    "ipv4Prefix",
    "ipv6Prefix",
    "network",
    "dst_ip",
];

/// Reads all values of a key.
pub(super) fn read(bytes: &[u8], key: &str, found: &mut Found<'_>) -> Result<(), ParseError> {
    let mut lines = numbered(bytes).filter(|(_, line)| !is_comment(line));
    let is_whole = |line: &[u8]| serde_json::from_slice::<IgnoredAny>(line).is_ok();
    if lines.next().is_some_and(|(_, line)| is_whole(line)) && lines.next().is_some() {
        return each_line(bytes, key, found);
    }
    let mut walk = Walk { key, found, error: None, place: Place("value", 0), taken: 0, is_metadata: false };
    let mut input = serde_json::Deserializer::from_slice(bytes);
    let done = Value { walk: &mut walk, is_listed: true }.deserialize(&mut input).and_then(|()| input.end());
    match (walk.error, done) {
        (Some(error), _) => Err(error),
        (None, Err(error)) => Err(ParseError::NotJson { reason: error.to_string() }),
        (None, Ok(())) => Ok(()),
    }
}

/// A line that is no JSON, or says nothing of a target, is rubbish.
fn each_line(bytes: &[u8], key: &str, found: &mut Found<'_>) -> Result<(), ParseError> {
    for (place, line) in numbered(bytes).filter(|(_, line)| !is_comment(line)) {
        let mut walk = Walk { key, found: &mut *found, error: None, place, taken: 0, is_metadata: false };
        let mut input = serde_json::Deserializer::from_slice(line);
        let done = Value { walk: &mut walk, is_listed: true }.deserialize(&mut input);
        let Walk { error, taken, is_metadata, .. } = walk;
        if let Some(error) = error {
            return Err(error);
        }
        if done.and_then(|()| input.end()).is_err() || taken == 0 && !is_metadata {
            found.rubbish(line, place);
        }
    }
    Ok(())
}

/// The way through a document.
struct Walk<'a, 'f> {
    key: &'a str,
    found: &'a mut Found<'f>,
    /// Why it ended early.
    error: Option<ParseError>,
    place: Place,
    /// Texts that were taken for targets.
    taken: usize,
    /// Whether it says `"type": "metadata"`, as the last line of Spamhaus's lists does.
    is_metadata: bool,
}

impl Walk<'_, '_> {
    fn is_key(&self, key: &str) -> bool {
        if self.key.is_empty() { KEYS.contains(&key) } else { self.key == key }
    }

    fn take(&mut self, text: &str) -> Result<(), ()> {
        self.taken += 1;
        if self.place.0 == "value" {
            self.place.1 = self.taken;
        }
        self.found.take(text.as_bytes(), self.place).map_err(|error| self.error = Some(error))
    }
}

/// One value of it.
struct Value<'w, 'a, 'f> {
    walk: &'w mut Walk<'a, 'f>,
    /// Whether a text here is a target.
    is_listed: bool,
}

impl<'de> DeserializeSeed<'de> for Value<'_, '_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_, '_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        if self.is_listed {
            self.walk.take(text).map_err(|()| E::custom("refused"))?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Self { walk, is_listed } = self;
        while items.next_element_seed(Value { walk: &mut *walk, is_listed })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let walk = self.walk;
        while let Some(key) = entries.next_key::<std::borrow::Cow<'de, str>>()? {
            if key == "type" && walk.place.0 == "line" {
                let kind: serde_json::Value = entries.next_value()?;
                walk.is_metadata |= kind == "metadata";
                continue;
            }
            let is_listed = walk.is_key(&key);
            entries.next_value_seed(Value { walk: &mut *walk, is_listed })?;
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}
