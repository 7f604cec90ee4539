//! A slow second reading of the pattern language: backtracks over a pattern's own tree and finds every reading of a
//! message, without forms, dispatch or a direction.

use std::net::IpAddr;
use std::sync::LazyLock;

use guard::scan::shipped;

use crate::own_lines::behind_stamp;

/// What `<peer>` stands for.
const PEER: &str = r"(<v4>[:<port>]|<v6>|\[<v6>\][:<port>])";

enum Node {
    Byte(u8),
    Field(String),
    /// One of these sequences.
    Choice(Vec<Vec<Node>>),
}

/// What a field of a record may be: any of these.
type Choices = Vec<Vec<Node>>;

/// The patterns of a filter, and the programs whose messages it reads.
struct Filter {
    name: String,
    identifiers: Vec<String>,
    /// Whether its service begins lines with a stamp of its own, and so perhaps messages.
    stamped: bool,
    patterns: Vec<Vec<Node>>,
    /// Patterns over fields, each by their names.
    records: Vec<Vec<(String, Choices)>>,
}

static FILTERS: LazyLock<Vec<Filter>> = LazyLock::new(|| {
    let read = |name: &str, text: &str| {
        let table: toml::Table = text.parse().unwrap();
        let patterns = || table["pattern"].as_array().unwrap().iter();
        let identifiers = table.get("identifiers").and_then(|names| names.as_array()).into_iter().flatten();
        Filter {
            name: name.to_owned(),
            identifiers: identifiers.map(|name| name.as_str().unwrap().to_owned()).collect(),
            stamped: table.get("format").is_some_and(|format| format.as_str() == Some("stamped")),
            patterns: patterns().filter_map(|pattern| pattern.get("text")).map(written).collect(),
            records: patterns().filter_map(|pattern| pattern.get("fields")?.as_table()).map(record).collect(),
        }
    };
    shipped().iter().map(|filter| read(&filter.name, &filter.text)).collect()
});

/// A pattern's text as a tree.
fn written(text: &toml::Value) -> Vec<Node> {
    sequence(&mut text.as_str().unwrap().bytes().peekable())
}

fn record(fields: &toml::Table) -> Vec<(String, Choices)> {
    let choices = |value: &toml::Value| match value.as_array() {
        Some(several) => several.iter().map(written).collect(),
        None => vec![written(value)],
    };
    fields.iter().map(|(name, value)| (name.clone(), choices(value))).collect()
}

/// Different addresses that the first pattern with a reading finds in a message of a program, or else behind a stamp in front
/// of it.
pub(crate) fn addresses(identifier: &str, message: &[u8]) -> Vec<IpAddr> {
    // `wordpress(www.example.org)` is wordpress.
    let identifier = identifier.split('(').next().unwrap();
    let readers = || FILTERS.iter().filter(|filter| filter.reads(identifier));
    let found = first(readers(), message);
    if !found.is_empty() || !readers().any(|filter| filter.stamped) {
        return found;
    }
    behind_stamp(message).map(|rest| first(readers(), rest)).unwrap_or_default()
}

/// The same in a text that one filter reads.
pub(crate) fn addresses_of(filter: &str, text: &[u8]) -> Vec<IpAddr> {
    first(FILTERS.iter().filter(|known| known.name == filter), text)
}

/// Whether a filter reads messages of a program.
pub(crate) fn reads(filter: &str, identifier: &str) -> bool {
    FILTERS.iter().any(|known| known.name == filter && known.reads(identifier))
}

/// Whether a pattern of a filter asks for a field of records.
pub(crate) fn asks(filter: &str, name: &str) -> bool {
    let filter = FILTERS.iter().find(|known| known.name == filter).unwrap();
    filter.records.iter().flatten().any(|(known, _)| known == name)
}

/// Different addresses that patterns of a filter find in a record, whose fields `value` answers by name.
pub(crate) fn addresses_in(filter: &str, value: impl Fn(&str) -> Option<String>) -> Vec<IpAddr> {
    let filter = FILTERS.iter().find(|known| known.name == filter).unwrap();
    let mut all = Vec::new();
    for pattern in &filter.records {
        let mut address: Vec<IpAddr> = Vec::new();
        let fits = pattern.iter().all(|(name, choices)| {
            value(name).is_some_and(|text| {
                choices.iter().any(|choice| {
                    let mut ends = Vec::new();
                    walk(&choice.iter().collect::<Vec<_>>(), text.as_bytes(), None, &mut ends);
                    address.extend(ends.iter().flatten());
                    !ends.is_empty()
                })
            })
        });
        all.extend(address.into_iter().filter(|_| fits));
    }
    different(all)
}

fn first<'a>(filters: impl Iterator<Item = &'a Filter>, text: &[u8]) -> Vec<IpAddr> {
    for pattern in filters.flat_map(|filter| &filter.patterns) {
        let mut ends = Vec::new();
        walk(&pattern.iter().collect::<Vec<_>>(), text, None, &mut ends);
        let found = different(ends.into_iter().flatten().collect());
        if !found.is_empty() {
            return found;
        }
    }
    Vec::new()
}

fn different(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

impl Filter {
    fn reads(&self, identifier: &str) -> bool {
        self.identifiers.iter().any(|name| name == identifier)
    }
}

/// Whether a pattern ends in a literal or a field that ends with its kind of byte, whichever way it is read.
pub(crate) fn has_end(pattern: &str) -> bool {
    ends(&sequence(&mut pattern.bytes().peekable()))
}

fn ends(nodes: &[Node]) -> bool {
    match nodes.split_last() {
        None | Some((Node::Byte(_), _)) => true,
        Some((Node::Field(name), _)) => !name.starts_with("account") && !name.starts_with("text"),
        Some((Node::Choice(choices), before)) => {
            choices.iter().all(|choice| if choice.is_empty() { ends(before) } else { ends(choice) })
        }
    }
}

type Bytes<'a> = std::iter::Peekable<std::str::Bytes<'a>>;

fn sequence(text: &mut Bytes<'_>) -> Vec<Node> {
    let mut nodes = Vec::new();
    while let Some(&b) = text.peek() {
        if matches!(b, b')' | b']' | b'|') {
            break;
        }
        text.next();
        nodes.push(match b {
            b'(' | b'[' => {
                let mut choices = vec![sequence(text)];
                while text.next() == Some(b'|') {
                    choices.push(sequence(text));
                }
                if b == b'[' {
                    choices.push(Vec::new());
                }
                Node::Choice(choices)
            }
            b'<' => match field(text) {
                name if name == "peer" => sequence(&mut PEER.bytes().peekable()).pop().expect("one choice"),
                name => Node::Field(name),
            },
            b'\\' => Node::Byte(text.next().unwrap()),
            b => Node::Byte(b),
        });
    }
    nodes
}

/// A field's name; bytes it cannot hold follow a `^`.
fn field(text: &mut Bytes<'_>) -> String {
    let mut name = String::new();
    while let Some(b) = text.next().filter(|b| *b != b'>') {
        name.push(char::from(if b == b'\\' { text.next().unwrap() } else { b }));
    }
    name
}

/// Walks a pattern through a text in every way, and notes at each end the address that was found.
fn walk(nodes: &[&Node], text: &[u8], address: Option<IpAddr>, ends: &mut Vec<Option<IpAddr>>) {
    let Some((first, rest)) = nodes.split_first() else {
        if text.is_empty() {
            ends.push(address);
        }
        return;
    };
    match first {
        Node::Byte(b) => {
            if let Some(text) = text.strip_prefix(&[*b]) {
                walk(rest, text, address, ends);
            }
        }
        Node::Choice(choices) => {
            for choice in choices {
                let nodes: Vec<_> = choice.iter().chain(rest.iter().copied()).collect();
                walk(&nodes, text, address, ends);
            }
        }
        Node::Field(name) => {
            let longest = text.iter().position(|b| !takes(name, *b)).unwrap_or(text.len());
            for end in 0..=longest {
                // A field takes all bytes of its kind; only a colon or a full stop may follow an address.
                let free = name == "token" || name.starts_with("account") || name.starts_with("text");
                let whole = end == longest || free || ends_in_punctuation(name, rest, &text[end..]);
                let (value, left) = text.split_at(end);
                match name.as_str() {
                    _ if !whole => {}
                    "address" | "v4" | "v6" => {
                        let address: Option<IpAddr> =
                            std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
                        if let Some(address) = address.filter(|address| match name.as_str() {
                            "v4" => address.is_ipv4(),
                            "v6" => address.is_ipv6(),
                            _ => true,
                        }) {
                            walk(rest, left, Some(address.to_canonical()), ends);
                        }
                    }
                    "port"
                        if value.len() > 5 || std::str::from_utf8(value).unwrap().parse::<u16>().is_err() => {
                    }
                    "number" if value.is_empty() => {}
                    _ => walk(rest, left, address, ends),
                }
            }
        }
    }
}

/// Whether an address may end before bytes that could be its own: a colon or full stop with nothing of an address
/// behind it, or the colon before the port that the pattern asks for.
fn ends_in_punctuation(field: &str, rest: &[&Node], left: &[u8]) -> bool {
    if !matches!(field, "address" | "v4" | "v6") {
        return false;
    }
    let port = matches!(rest, [Node::Byte(b':'), Node::Field(port), ..] if port == "port");
    match left {
        [b':', digits @ ..] if port && field != "v6" => {
            // The last colon separates, and no port ends in one.
            let length = digits.iter().position(|b| !takes("port", *b)).unwrap_or(digits.len());
            match &digits[length..] {
                [b':', behind @ ..] => !behind.first().is_some_and(|b| takes("address", *b)),
                [b, ..] => !takes("address", *b),
                [] => true,
            }
        }
        [b':' | b'.', behind @ ..] => !behind.first().is_some_and(|b| takes(field, *b)),
        _ => false,
    }
}

fn takes(field: &str, b: u8) -> bool {
    if let Some((_, except)) = field.split_once('^') {
        return !except.as_bytes().contains(&b);
    }
    match field {
        "address" | "v6" => b.is_ascii_hexdigit() || b == b':' || b == b'.',
        "v4" => b.is_ascii_digit() || b == b'.',
        "port" | "number" => b.is_ascii_digit(),
        "token" => b != b' ',
        _ => true,
    }
}
