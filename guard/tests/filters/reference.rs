//! A slow second reading of the pattern language: backtracks over a pattern's own tree and finds every reading of a
//! message, without forms, dispatch or a direction.

use std::net::IpAddr;
use std::sync::LazyLock;

use guard::scan::shipped;

enum Node {
    Byte(u8),
    Field(String),
    /// One of these sequences.
    Choice(Vec<Vec<Node>>),
}

/// The patterns of a filter, and the programs whose messages it reads.
struct Filter {
    identifiers: Vec<String>,
    patterns: Vec<Vec<Node>>,
}

static FILTERS: LazyLock<Vec<Filter>> = LazyLock::new(|| {
    let read = |text: &str| {
        let table: toml::Table = text.parse().unwrap();
        let texts = table["pattern"].as_array().unwrap().iter().filter_map(|pattern| pattern.get("text"));
        let identifiers = table.get("identifiers").and_then(|names| names.as_array()).into_iter().flatten();
        Filter {
            identifiers: identifiers.map(|name| name.as_str().unwrap().to_owned()).collect(),
            patterns: texts.map(|text| sequence(&mut text.as_str().unwrap().bytes().peekable())).collect(),
        }
    };
    shipped().iter().map(|filter| read(&filter.text)).collect()
});

/// Different addresses that the first pattern with a reading finds in a message of a program.
pub(crate) fn addresses(identifier: &str, message: &[u8]) -> Vec<IpAddr> {
    let readers = FILTERS.iter().filter(|filter| filter.identifiers.iter().any(|name| name == identifier));
    for pattern in readers.flat_map(|filter| &filter.patterns) {
        let mut found = Vec::new();
        read(&pattern.iter().collect::<Vec<_>>(), message, None, &mut found);
        if !found.is_empty() {
            found.sort_unstable();
            found.dedup();
            return found;
        }
    }
    Vec::new()
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
            b'<' => Node::Field(field(text)),
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

fn read(nodes: &[&Node], text: &[u8], address: Option<IpAddr>, found: &mut Vec<IpAddr>) {
    let Some((first, rest)) = nodes.split_first() else {
        if text.is_empty() {
            found.extend(address);
        }
        return;
    };
    match first {
        Node::Byte(b) => {
            if let Some(text) = text.strip_prefix(&[*b]) {
                read(rest, text, address, found);
            }
        }
        Node::Choice(choices) => {
            for choice in choices {
                let nodes: Vec<_> = choice.iter().chain(rest.iter().copied()).collect();
                read(&nodes, text, address, found);
            }
        }
        Node::Field(name) => {
            let longest = text.iter().position(|b| !takes(name, *b)).unwrap_or(text.len());
            for end in 0..=longest {
                // A field takes all bytes of its kind; only a colon may follow an address.
                let free = name.starts_with("account") || name.starts_with("text");
                let whole = end == longest || free || text[end] == b':';
                let (value, left) = text.split_at(end);
                match name.as_str() {
                    _ if !whole => {}
                    "address" => {
                        if let Some(address) = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok()) {
                            read(rest, left, Some(IpAddr::to_canonical(&address)), found);
                        }
                    }
                    "port"
                        if value.len() > 5 || std::str::from_utf8(value).unwrap().parse::<u16>().is_err() => {
                    }
                    "number" if value.is_empty() => {}
                    _ => read(rest, left, address, found),
                }
            }
        }
    }
}

fn takes(field: &str, b: u8) -> bool {
    if let Some((_, except)) = field.split_once('^') {
        return !except.as_bytes().contains(&b);
    }
    match field {
        "address" => b.is_ascii_hexdigit() || b == b':' || b == b'.',
        "port" | "number" => b.is_ascii_digit(),
        "token" => b != b' ',
        _ => true,
    }
}
