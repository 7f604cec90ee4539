//! A slow second reading of the pattern language: backtracks over a pattern's own tree and finds every reading of a
//! message, without forms, dispatch or a direction.

use std::net::IpAddr;
use std::sync::LazyLock;

use guard::scan::shipped;

/// What `<peer>` stands for.
const PEER: &str = r"(<v4>[:<port>]|<v6>|\[<v6>\][:<port>])";

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
    // `wordpress(www.example.org)` is wordpress.
    let identifier = identifier.split('(').next().unwrap();
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
                            read(rest, left, Some(address.to_canonical()), found);
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
