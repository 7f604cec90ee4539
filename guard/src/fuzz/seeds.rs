//! Inputs to begin with, from the corpora and what guard ships.

use std::path::Path;

use crate::scan::corpus::Corpus;
use crate::scan::shipped;

/// Text of the corpora's cases, each with the program that wrote it if it is a message.
fn cases() -> Vec<(Option<String>, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    let mut cases = Vec::new();
    for file in files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let corpus = Corpus::read(&text, Some(&name)).unwrap_or(Corpus { cases: Vec::new() });
        cases.extend(corpus.cases.into_iter().map(|case| (case.identifier.clone(), case.text().to_owned())));
    }
    cases
}

fn bytes<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<Vec<u8>> {
    texts.into_iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// Lines, by turns with one of three headers if they need one.
pub(super) fn lines() -> Vec<Vec<u8>> {
    let headers = [
        ("Nov 20 22:54:05 web1 ", "[4711]: "),
        ("2026-11-20T22:54:05.123456+00:00 web1 ", "[4711]: "),
        ("<38>1 2026-11-20T22:54:05Z web1 ", " 4711 - - "),
    ];
    let line = |((before, after), (identifier, text)): (_, (Option<String>, String))| match identifier {
        Some(identifier) => format!("{before}{identifier}{after}{text}\n").into_bytes(),
        None => text.into_bytes(),
    };
    headers.into_iter().cycle().zip(cases()).map(line).collect()
}

/// Lines of services' own files.
pub(super) fn records() -> Vec<Vec<u8>> {
    let lines =
        cases().into_iter().filter(|(identifier, text)| identifier.is_none() || text.starts_with('{'));
    let mut all: Vec<Vec<u8>> = lines.map(|(_, text)| text.into_bytes()).collect();
    all.extend(bytes([
        r#"{"request":{"headers":{"User-Agent":["a\u00e9\ud83d\ude00"]}},"status":401,"t":{"$date":1}}"#,
        r#"msg="a \"b\" \x41" status=401 bare a= =b"#,
    ]));
    all
}

/// One stamp of each notation.
pub(super) fn stamps() -> Vec<Vec<u8>> {
    bytes([
        "Nov 20 12:00:00 x",
        "2026-11-20T12:00:00.123+01:00",
        "2026-11-20 12:00:00,123 CET",
        "2026/11/20 12:00:00.123",
        "20/Nov/2026:12:00:00 +0000",
        "20/Nov/2026:12:00:00.123",
        "Fri Nov 20 12:00:00.123456 2026",
        "20-Nov-2026 12:00:00.123",
        "261120 12:00:00",
        "261120  1:02:03",
        "1646861401.52",
        "1646861401520",
        "[  123.456789]",
    ])
}

/// Addresses as programs write them.
pub(super) fn addresses() -> Vec<Vec<u8>> {
    bytes([
        "192.0.2.1",
        "192.0.2.1:22",
        "2001:db8::1",
        "::ffff:192.0.2.1",
        "[2001:db8::1]:443",
        "2001:db8:1:2:3:4:5:6:22",
        "fe80::1%eth0",
    ])
}

/// The patterns guard ships, with a message of the corpora below each.
pub(super) fn patterns() -> Vec<Vec<u8>> {
    let mut texts = Vec::new();
    for file in shipped() {
        let table: toml::Table = file.text.parse().unwrap_or_default();
        let patterns = table.get("pattern").and_then(toml::Value::as_array);
        patterns.into_iter().flatten().for_each(|pattern| strings(pattern, &mut texts));
    }
    let messages = cases();
    let message = |at: usize| messages.get(at % messages.len().max(1)).map_or("", |(_, text)| text);
    texts.iter().enumerate().map(|(at, text)| format!("{text}\n{}", message(at * 7)).into_bytes()).collect()
}

fn strings(value: &toml::Value, texts: &mut Vec<String>) {
    match value {
        toml::Value::String(text) if text.contains('<') => texts.push(text.clone()),
        toml::Value::Array(all) => all.iter().for_each(|one| strings(one, texts)),
        toml::Value::Table(table) => table.iter().for_each(|(_, one)| strings(one, texts)),
        _ => {}
    }
}

/// Filters of one pattern: what guard ships, in pieces.
pub(super) fn filters() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for file in shipped() {
        let mut parts = file.text.split("[[pattern]]");
        let head = parts.next().unwrap_or_default();
        let head: String = head.split_inclusive('\n').filter(|line| !line.starts_with('#')).collect();
        let small = parts.filter(|part| part.len() < 2000).take(8);
        all.extend(small.map(|part| format!("{head}[[pattern]]{part}").into_bytes()));
    }
    all
}

/// Requests of each kind.
pub(super) fn requests() -> Vec<Vec<u8>> {
    bytes([
        r#"{"request":"status"}"#,
        r#"{"request":"ban","targets":["192.0.2.1","2001:db8::/64"],"seconds":60,"reason":"x"}"#,
        r#"{"request":"unban","targets":["192.0.2.0/24"]}"#,
        r#"{"request":"list","after":"192.0.2.1","limit":10}"#,
        r#"{"request":"check","address":"::ffff:192.0.2.1"}"#,
        r#"{"request":"why","target":"192.0.2.1"}"#,
        r#"{"request":"events","limit":3}"#,
        r#"{"request":"allow-add","targets":["192.0.2.1"],"seconds":null,"comment":"c"}"#,
        r#"{"request":"unlock"}"#,
        r#"{"request":"feed-refresh","name":"a"}"#,
    ])
}

/// Lists in the forms they are published in.
pub(super) fn feeds() -> Vec<Vec<u8>> {
    bytes([
        "; a comment\n192.0.2.0/24 ; SBL1\n2001:db8::/48\r\n192.0.2.1 - 192.0.2.9\n[2001:db8::1]:80\n",
        "# \"first\",\"ip\"\n\"2026-01-01\",\"192.0.2.1:8080\"\n\"x, y\",\"192.0.2.2\"\n",
        "ip;port\n192.0.2.1;80\n0.0.0.0/1;0\n",
        "{\"cidr\":\"192.0.2.0/24\",\"x\":[1,null]}\n{\"type\":\"metadata\"}\n{\"cidr\":7}\n",
        r#"{"prefixes":[{"ip_prefix":"192.0.2.0/24"}],"x":{"y":["192.0.2.1"]}}"#,
        r#"["192.0.2.1",["2001:db8::1"],"text",1e9]"#,
    ])
}

/// Answers of some kinds.
pub(super) fn answers() -> Vec<Vec<u8>> {
    bytes([
        r#"{"answer":"lifted","value":7}"#,
        r#"{"answer":"targets","value":[{"target":"192.0.2.1","done":true,"message":"m"}]}"#,
        r#"{"answer":"error","value":{"class":"usage","message":"m"}}"#,
        r#"{"answer":"reloaded","value":{"changes":["a"],"at_restart":[]}}"#,
        r#"{"answer":"allowed","value":{"targets":[{"target":"::1","because":"b","seconds_left":null}],"names":[{"name":"a.org","because":"b","addresses":[],"failures":0,"refused":[]}]}}"#,
    ])
}

/// The shipped configuration, and its options one by one as if they were set.
pub(super) fn configs() -> Vec<Vec<u8>> {
    let text = include_str!("../../../config/guard.toml");
    let mut all = vec![text.as_bytes().to_vec()];
    let mut table = "";
    for line in text.lines() {
        let line = line.trim_start_matches(['#', ' ']);
        if line.starts_with('[') {
            table = line;
        } else if line.contains(" = ") {
            all.push(format!("{table}\n{line}\n").into_bytes());
        }
    }
    all
}
