//! Lines of pairs and access logs against plain readings of them: regular expressions, written down a second time.

use std::sync::OnceLock;

use regex_automata::meta::Regex;
use regex_automata::util::captures::Captures;

use super::*;
use crate::scan::record::access::NAMES;

/// Text in quotes, in which a backslash takes the next byte along.
const QUOTED: &str = r#"(?s-u:[^"\\]|\\.)*"#;
const STAMP: &str = "20/Nov/2026:12:00:00 +0000";

fn compile(text: &str) -> Regex {
    let config = regex_automata::util::syntax::Config::new().utf8(false);
    Regex::builder().syntax(config).build(text).unwrap()
}

fn captures(pattern: &Regex, text: &[u8]) -> Option<Captures> {
    let mut groups = pattern.create_captures();
    pattern.captures(text, &mut groups);
    groups.is_match().then_some(groups)
}

fn text<'a>(groups: &Captures, name: &str, line: &'a [u8]) -> Option<&'a [u8]> {
    groups.get_group_by_name(name).map(|span| &line[span.start..span.end])
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

/// The values of names in a line of pairs, of which escapes other than of a quote, a backslash and a newline are left
/// out of the tests.
fn plain_logfmt(names: &[&str], line: &[u8]) -> Option<Vec<Option<String>>> {
    static PAIR: OnceLock<Regex> = OnceLock::new();
    let pair = PAIR.get_or_init(|| {
        let value = format!(r#"=(?:"(?<quoted>{QUOTED})"|(?<word>(?-u:[^ "])*))"#);
        compile(&format!(r#"^(?s-u: *(?<key>[^= "]+)(?<value>{value})?(?: +|$))"#))
    });
    let mut rest = line;
    let (mut found, mut pairs) = (vec![None; names.len()], 0);
    let mut seen: Vec<&[u8]> = Vec::new();
    while !rest.iter().all(|b| *b == b' ') {
        let groups = captures(pair, rest)?;
        let key = text(&groups, "key", rest)?;
        pairs += usize::from(groups.get_group_by_name("value").is_some());
        let number = names.iter().position(|name| name.as_bytes() == key);
        if number.is_some() || STAMPS.contains(&key) {
            if seen.contains(&key) {
                return None;
            }
            seen.push(key);
            let quoted = text(&groups, "quoted", rest).map(unescape);
            let value =
                quoted.unwrap_or_else(|| text(&groups, "word", rest).map(<[u8]>::to_vec).or(Some(vec![])))?;
            if let Some(number) = number {
                found[number] = Some(lossy(&value));
            }
        }
        rest = &rest[groups.get_match()?.end()..];
    }
    (pairs > 0).then_some(found)
}

fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = text.iter();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'\\' => match bytes.next()? {
                b'n' => b'\n',
                same @ (b'"' | b'\\') => *same,
                _ => return None,
            },
            plain => *plain,
        });
    }
    Some(out)
}

/// The fields of a line in the Common Log Format or its relatives, in the order of [`NAMES`]. `None` for much that the
/// reader knows beyond that.
fn plain_access(line: &[u8]) -> Option<Vec<Option<String>>> {
    static PATTERNS: OnceLock<[Regex; 5]> = OnceLock::new();
    let [whole, referrer, agent, request, imitation] = PATTERNS.get_or_init(|| {
        [
            compile(&format!(
                r#"^(?s-u:(?:(?<host>[a-z.]+):[0-9]{{1,5}} )?(?<client>[^ ]+) (?<identity>[^ "]+) (?<user>{QUOTED}|"") \[{}\] "(?<request>{QUOTED})" (?<status>[0-9]{{3}}|-) (?:[0-9]+|-)(?<tail>(?: .*)?))$"#,
                STAMP.replace('+', r"\+")
            )),
            compile(&format!(r#"^(?s-u: "(?<referrer>{QUOTED})"(?: .*)?)$"#)),
            compile(&format!(r#"^(?s-u: "{QUOTED}" "(?<agent>{QUOTED})"(?: .*)?)$"#)),
            compile(
                r"^(?s-u:(?<method>[A-Z][A-Z_-]{0,31}) (?<path>[^ ?]*)(?:\?(?<query>[^ ]*))? (?<protocol>HTTP/[0-9](?:\.[0-9])?))$",
            ),
            compile(r#"[0-9]\] "[^ ]"#),
        ]
    });
    // What begins so is an object of JSON, or nothing.
    let groups = captures(whole, line).filter(|_| !line.starts_with(b"{"))?;
    let part = |name| text(&groups, name, line);
    let (client, tail) = (part("client")?, part("tail")?);
    let strange = client.contains(&b':') && lossy(client).parse::<std::net::Ipv6Addr>().is_err();
    let identity = part("identity")?;
    if strange
        || identity.contains(&b':')
        || lossy(identity).parse::<std::net::IpAddr>().is_ok()
        || imitation.is_match(tail)
    {
        return None;
    }
    let (referrer, agent) = (captures(referrer, tail), captures(agent, tail));
    let asked = part("request")?;
    let parts = captures(request, asked).filter(|groups| {
        // A target of nothing is none.
        let long = |name| groups.get_group_by_name(name).is_some_and(|span| !span.is_empty());
        long("path") || groups.get_group_by_name("query").is_some()
    });
    let of_request = |name: &str| parts.as_ref().and_then(|groups| text(groups, name, asked));
    let find = |name: &str| match name {
        "client" => Some(client),
        "user" => part("user").filter(|user| *user != b"\"\""),
        "host" => part("host").or(Some(identity)),
        "status" => part("status"),
        "referrer" => referrer.as_ref().and_then(|groups| text(groups, name, tail)),
        "agent" => agent.as_ref().and_then(|groups| text(groups, name, tail)),
        "request" => parts.is_none().then_some(asked),
        _ => of_request(name),
    };
    let is_there = |text: &&[u8]| !matches!(*text, b"" | b"-");
    Some(access_names().iter().map(|name| find(name).filter(is_there).map(lossy)).collect())
}

fn access_names() -> Vec<&'static str> {
    NAMES.iter().map(|name| std::str::from_utf8(name).unwrap()).collect()
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}

/// What an attacker may choose.
fn hostile() -> impl Strategy<Value = String> {
    let imitations = vec![
        "frank".to_owned(),
        "-".to_owned(),
        format!("x [{STAMP}] \"GET / HTTP/1.1\" 401 5"),
        format!("[{STAMP}]"),
        "\\".to_owned(),
        " \"\" [".to_owned(),
        "a=1 b=\"2\" c".to_owned(),
    ];
    prop_oneof![2 => "[ -~]{0,20}", 1 => prop::sample::select(imitations)]
}

fn access_line() -> impl Strategy<Value = String> {
    let host = prop::sample::select(vec!["", "", "www.example.org:443 "]);
    let client = prop::sample::select(vec!["192.0.2.1", "2001:db8::1", "peer.example.org"]);
    let identity = prop::sample::select(vec!["-", "www.example.org"]);
    let request = prop_oneof![
        (
            prop::sample::select(vec!["GET", "POST", "get", "M-SEARCH"]),
            "[!-~]{0,12}",
            "HTTP/[0-9](\\.[0-9])?"
        )
            .prop_map(|(method, target, protocol)| format!("{method} {target} {protocol}")),
        hostile(),
    ];
    let status = prop::sample::select(vec!["200", "401", "-"]);
    (host, client, identity, hostile(), request, status, hostile(), hostile(), 0..4usize).prop_map(
        |(host, client, identity, user, request, status, referrer, agent, parts)| {
            let mut line = format!(
                "{host}{client} {identity} {} [{STAMP}] \"{}\" {status} 5",
                quoted(&user),
                quoted(&request)
            );
            let behind =
                [format!(" \"{}\"", quoted(&referrer)), format!(" \"{}\"", quoted(&agent)), " 17 x".into()];
            line.extend(behind.into_iter().take(parts));
            line
        },
    )
}

fn logfmt_line() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec!["a", "b", "c", "time", "other", "x.y"]);
    let value = prop_oneof![
        3 => hostile().prop_map(|text| format!("=\"{}\"", quoted(&text))),
        2 => "=[!#-\\[\\]-~]{0,8}",
        1 => Just(String::new()),
        1 => Just("=\"a\\nb\"".to_owned()),
        1 => "=[ -~]{0,8}",
    ];
    let pair = (key, value, " {1,2}").prop_map(|(key, value, blank)| format!("{key}{value}{blank}"));
    proptest::collection::vec(pair, 0..6)
        .prop_map(|pairs| pairs.concat())
        // Of escapes only these are known here.
        .prop_filter("an escape", |line: &String| {
            let mut bytes = line.bytes();
            while let Some(byte) = bytes.next() {
                if byte == b'\\' && !matches!(bytes.next(), Some(b'n' | b'"' | b'\\')) {
                    return false;
                }
            }
            true
        })
}

/// A line with one byte changed, added or everything behind it taken away.
fn mutated(line: String, at: prop::sample::Index, byte: u8, how: u8) -> Vec<u8> {
    let mut line = line.into_bytes();
    if !line.is_empty() {
        let at = at.index(line.len());
        match how {
            0 => line[at] = byte,
            1 => line.insert(at, byte),
            _ => line.truncate(at),
        }
    }
    line
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn pairs_equal_the_plain_reading(line in logfmt_line()) {
        let names = ["a", "b", "c"];
        let fast = read(Format::Logfmt, &names, line.as_bytes()).map(|(values, _)| values);
        prop_assert_eq!(fast, plain_logfmt(&names, line.as_bytes()), "{}", line);
    }

    #[test]
    fn mutated_pairs_equal_the_plain_reading(
        line in logfmt_line(),
        at in any::<prop::sample::Index>(),
        byte in prop_oneof![Just(b' '), Just(b'='), Just(b'"'), b'a'..=b'c'],
        how in 0..3u8,
    ) {
        let names = ["a", "b", "c"];
        let line = mutated(line, at, byte, how);
        // A backslash may stand before anything now: what the plain reading knows is compared.
        if let Some(plain) = plain_logfmt(&names, &line) {
            let fast = read(Format::Logfmt, &names, &line).map(|(values, _)| values);
            prop_assert_eq!(fast, Some(plain), "{}", lossy(&line));
        }
    }

    #[test]
    fn access_logs_equal_the_plain_reading(line in access_line()) {
        let plain = plain_access(line.as_bytes());
        prop_assert!(plain.is_some(), "{}", line);
        let fast = read(Format::Access, &access_names(), line.as_bytes()).map(|(values, _)| values);
        prop_assert_eq!(fast, plain, "{}", line);
    }

    #[test]
    fn mutated_access_logs_equal_the_plain_reading(
        line in access_line(),
        at in any::<prop::sample::Index>(),
        byte in prop_oneof![Just(b' '), Just(b'"'), Just(b'\\'), Just(b'['), b'0'..=b'9', b'!'..=b'~'],
        how in 0..3u8,
    ) {
        let line = mutated(line, at, byte, how);
        if let Some(plain) = plain_access(&line) {
            let fast = read(Format::Access, &access_names(), &line).map(|(values, _)| values);
            prop_assert_eq!(fast, Some(plain), "{}", lossy(&line));
        }
    }
}
