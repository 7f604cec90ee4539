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

static PATTERNS: LazyLock<Vec<Vec<Node>>> = LazyLock::new(|| {
    let texts = shipped().into_iter().flat_map(|filter| {
        let table: toml::Table = filter.text.parse().unwrap();
        let patterns = table["pattern"].as_array().unwrap().clone();
        patterns.into_iter().map(|pattern| pattern["text"].as_str().unwrap().to_owned())
    });
    texts.map(|text| sequence(&mut text.bytes().peekable())).collect()
});

/// Different addresses that the first pattern with a reading finds in a message.
pub(crate) fn addresses(message: &[u8]) -> Vec<IpAddr> {
    for pattern in &*PATTERNS {
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
            b'<' => Node::Field(text.by_ref().take_while(|b| *b != b'>').map(char::from).collect()),
            b'\\' => Node::Byte(text.next().unwrap()),
            b => Node::Byte(b),
        });
    }
    nodes
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
                let whole =
                    end == longest || matches!(name.as_str(), "account" | "text") || text[end] == b':';
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
    match field {
        "address" => b.is_ascii_hexdigit() || b == b':' || b == b'.',
        "port" | "number" => b.is_ascii_digit(),
        "token" => b != b' ',
        _ => true,
    }
}
