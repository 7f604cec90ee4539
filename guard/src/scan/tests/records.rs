//! Patterns over the fields of records, through whole lines.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use proptest::prelude::*;
use proptest::sample::select;

use super::REFERENCE;
use crate::scan::filter::Filter;
use crate::scan::pattern::{Form, Found};
use crate::scan::shape::FieldForms;
use crate::scan::{FilterError, FilterFile, FilterSet, Mode, Scanner};

/// A filter of lines in a format; the patterns begin in line 3 of its file.
fn file(name: &str, format: &str, patterns: &str) -> FilterFile {
    let text = format!("files = [\"/var/log/x.log\"]\nformat = \"{format}\"\n{patterns}");
    FilterFile { name: name.into(), path: format!("{name}.toml").into(), text, shipped: false }
}

/// Patterns with these fields, each of three lines.
fn patterns(fields: &[&str]) -> String {
    let one = |fields: &&str| format!("[[pattern]]\nkind = \"probe\"\nfields = {{ {fields} }}\n");
    fields.iter().map(one).collect()
}

fn compile(files: &[FilterFile]) -> Result<FilterSet, FilterError> {
    FilterSet::compile(files, Mode::Normal)
}

fn scanner(files: &[FilterFile]) -> Scanner {
    Scanner::with_zone(Arc::new(compile(files).unwrap()), TimeZone::UTC)
}

/// Number of the pattern that a line fits, and whom it blames.
fn read(scanner: &mut Scanner, line: &str) -> Option<(u16, String)> {
    let sighting = scanner.line(line.as_bytes(), REFERENCE)?;
    Some((sighting.pattern.pattern, sighting.address.to_string()))
}

/// A line of some format, from a path, a status and an agent.
type Line<'a> = &'a dyn Fn(&str, u16, &str) -> String;

#[test]
fn fields_are_the_same_in_every_format() {
    let fields = [
        r#"client = "<address>", path = ["/a", "<text>/b"], status = "404""#,
        r#"client = "<address>", agent = "<text>sqlmap<text>""#,
    ];
    let clf = |path: &str, status: u16, agent: &str| {
        format!(
            r#"192.0.2.1 - - [20/Nov/2026:00:00:00 +0000] "GET {path} HTTP/1.1" {status} 5 "-" "{agent}""#
        )
    };
    let json = |path: &str, status: u16, agent: &str| {
        format!(r#"{{"client":"192.0.2.1","path":"{path}","status":{status},"agent":"{agent}"}}"#)
    };
    let logfmt = |path: &str, status: u16, agent: &str| {
        format!(r#"client=192.0.2.1 path={path} status={status} agent="{agent}""#)
    };
    let formats: [(&str, Line<'_>); 3] = [("access", &clf), ("json", &json), ("logfmt", &logfmt)];
    for (format, line) in formats {
        let mut scanner = scanner(&[file("x", format, &patterns(&fields))]);
        for (path, status, agent, expected) in [
            ("/a", 404, "curl", Some(0)),
            ("/x/b", 404, "curl", Some(0)),
            ("/b", 404, "curl", Some(0)),
            ("/a", 200, "curl", None),
            ("/ab", 404, "curl", None),
            ("/x/bb", 404, "curl", None),
            ("/", 200, "x sqlmap/1", Some(1)),
            ("/", 200, "sqlmap", Some(1)),
            ("/", 200, "sqlma", None),
            ("/a", 404, "sqlmap", Some(0)),
        ] {
            let line = line(path, status, agent);
            let expected = expected.map(|pattern| (pattern, "192.0.2.1".to_owned()));
            assert_eq!(read(&mut scanner, &line), expected, "{format}: {line}");
        }
    }
}

#[test]
fn the_most_points_win_and_among_equals_the_first() {
    let pattern = |points: &str, fields: &str| {
        format!(
            "[[pattern]]\nkind = \"probe\"\npoints = {points}\nfields = {{ ip = \"<address>\", {fields} }}\n"
        )
    };
    let all = [
        pattern("1", r#"a = "x<text>""#),
        pattern("2", r#"b = "y""#),
        pattern("2", r#"a = "xx", b = "y""#),
        pattern("3", r#"c = "<text>z<text>""#),
        pattern("1", r#"a = "xx""#),
    ]
    .concat();
    let mut scanner = scanner(&[file("x", "json", &all)]);
    for (rest, expected) in [
        (r#""a":"xx""#, 0),
        (r#""a":"x","b":"y""#, 1),
        (r#""b":"y","a":"xx""#, 1),
        (r#""a":"xx","b":"y","c":"aza""#, 3),
        (r#""a":"xx","b":"n","c":"a""#, 0),
    ] {
        let line = format!(r#"{{"ip":"::1",{rest}}}"#);
        assert_eq!(read(&mut scanner, &line), Some((expected, "::1".into())), "{line}");
    }
}

#[test]
fn every_field_of_a_pattern_must_be_there() {
    let fields = [r#"msg = "login failed", ip = "<address>", user = "<account>""#];
    let mut scanner = scanner(&[file("x", "json", &patterns(&fields))]);
    for (line, fits) in [
        (r#"{"msg":"login failed","ip":"::1","user":"a"}"#, true),
        (r#"{"user":"","ip":"::1","msg":"login failed"}"#, true),
        (r#"  {"msg":"login failed","ip":"::1","user":"a"}"#, true),
        (r#"{"msg":"login failed","ip":"::1"}"#, false),
        (r#"{"msg":"login failed","user":"a"}"#, false),
        (r#"{"ip":"::1","user":"a"}"#, false),
        (r#"{"msg":"login failed","ip":["::1"],"user":"a"}"#, false),
        (r#"{"msg":"login failed","ip":"::1 ","user":"a"}"#, false),
        (r#"{"x":{"msg":"login failed","ip":"::1","user":"a"}}"#, false),
    ] {
        assert_eq!(read(&mut scanner, line).is_some(), fits, "{line}");
    }
}

#[test]
fn an_address_in_a_message_field_stands_where_the_pattern_has_it() {
    let fields = [r#"level = "warn", msg = "(login|sign-in) of <account> from <peer> failed""#];
    let mut scanner = scanner(&[file("x", "logfmt", &patterns(&fields))]);
    for (message, address, port, account) in [
        ("login of root from 192.0.2.1:7 failed", "192.0.2.1", 7, "root"),
        (
            "sign-in of a from 192.0.2.66 failed from 2001:db8::1 failed",
            "2001:db8::1",
            0,
            "a from 192.0.2.66 failed",
        ),
    ] {
        let line = format!(r#"time=2026-11-20T00:00:00Z level=warn msg="{message}""#);
        let sighting = scanner.line(line.as_bytes(), REFERENCE).unwrap();
        assert_eq!(sighting.address, address.parse::<IpAddr>().unwrap());
        assert_eq!((sighting.port, sighting.account), (port, Some(account.as_bytes())));
        assert_eq!(sighting.at, Some(REFERENCE));
    }
    assert_eq!(read(&mut scanner, r#"level=info msg="login of root from 192.0.2.1 failed""#), None);
}

#[test]
fn two_patterns_that_clash_in_a_field_are_refused_with_their_place() {
    let first = r#"msg = "user <account> from <address>""#;
    let second = r#"msg = "user <account> from <address> <token> <token>""#;
    let error = compile(&[file("x", "json", &patterns(&[first, second]))]).unwrap_err().to_string();
    assert!(error.starts_with("x.toml:8: ") && error.contains("two readings"), "{error}");
    assert!(error.contains("user <account> from <address>"), "{error}");
    // In files of their own, too: both read the same lines.
    let files = [file("a", "json", &patterns(&[first])), file("b", "json", &patterns(&[second]))];
    let error = compile(&files).unwrap_err().to_string();
    assert!(error.starts_with("b.toml:5: ") && error.contains("two readings"), "{error}");
    // Not where they are never read together.
    compile(&[file("a", "json", &patterns(&[first])), file("b", "logfmt", &patterns(&[second]))]).unwrap();
}

#[test]
fn a_field_that_an_access_log_does_not_have_is_refused_with_those_it_has() {
    let fields = [r#"client = "<address>", path = "/a""#, r#"client = "<address>", url = "/a""#];
    let error = compile(&[file("x", "access", &patterns(&fields))]).unwrap_err().to_string();
    assert!(error.starts_with("x.toml:8: there is no field `url`; there are client, user, "), "{error}");
    compile(&[file("x", "json", &patterns(&fields))]).unwrap();
}

#[test]
fn a_needle_that_comes_often_costs_no_more_than_its_line() {
    let forms: Vec<String> = (1..60).map(|n| format!("\"<text>{}<text>x<text>\"", "a".repeat(n))).collect();
    let fields = format!(r#"client = "<address>", agent = [{}]"#, forms.join(", "));
    let mut scanner = scanner(&[file("x", "json", &patterns(&[&fields]))]);
    let line = format!(r#"{{"client":"::1","agent":"{}"}}"#, "a".repeat(60_000));
    let start = Instant::now();
    for _ in 0..5 {
        assert_eq!(read(&mut scanner, &line), None);
    }
    // A search of sixty forms over 300 KB: a second at most, unoptimised; a search for each occurrence of each would
    // be hours.
    assert!(start.elapsed() < Duration::from_secs(20));
}

/// Patterns that overlap in every way: heads of heads, needles in needles, free text, one key or several.
const OVERLAPPING: [(&str, &str); 10] = [
    ("1", r#"ip = "<address>", a = "x""#),
    ("1", r#"ip = "<address>", a = "x<text>""#),
    ("2", r#"ip = "<address>", a = ["xy", "y<text>", "<text>xx<text>"]"#),
    ("2", r#"ip = "<address>", a = "<text>x<text>", b = "<text>y""#),
    ("0.5", r#"ip = "<address>""#),
    ("3", r#"ip = "<address>", b = ["yx<text>", "<text>xyx<text>"], c = "<account>""#),
    ("3", r#"ip = "<address>", c = "<text>xyx""#),
    ("1", r#"msg = "x<account> <address>", a = "y""#),
    ("4", r#"msg = "xy<account> <address>", b = "<number>""#),
    ("4", r#"ip = "<address>", a = "(x|y)[z]<token> y", c = "<token>""#),
];

/// The same over the fields of an access log.
const OVERLAPPING_ACCESS: [(&str, &str); 6] = [
    ("1", r#"client = "<address>", path = "/x""#),
    ("2", r#"client = "<address>", path = ["/xy", "<text>y<text>"], status = ["404", "40<number>"]"#),
    ("2", r#"client = "<address>", agent = "<text>xx<text>", method = "(GET|POST)""#),
    ("0.5", r#"client = "<address>", user = "<account>""#),
    ("3", r#"client = "<address>", agent = "x<text>", referrer = "<text>y""#),
    ("3", r#"client = "<address>", query = "<text>x", status = "404""#),
];

/// The patterns that overlap in a format, as they are written and compiled.
fn overlapping(format: &str) -> &'static (Filter, Arc<FilterSet>) {
    static FORMATS: [OnceLock<(Filter, Arc<FilterSet>)>; 3] = [const { OnceLock::new() }; 3];
    let (at, patterns) = match format {
        "json" => (0, &OVERLAPPING[..]),
        "logfmt" => (1, &OVERLAPPING[..]),
        _ => (2, &OVERLAPPING_ACCESS[..]),
    };
    let one = |(points, fields): &(&str, &str)| {
        format!("[[pattern]]\nkind = \"probe\"\npoints = {points}\nfields = {{ {fields} }}\n")
    };
    FORMATS[at].get_or_init(|| {
        let file = file("x", format, &patterns.iter().map(one).collect::<String>());
        (Filter::read(&file).unwrap(), Arc::new(compile(&[file]).unwrap()))
    })
}

/// Reads a line with the patterns that overlap, and plainly.
fn both(format: &str, line: &str, record: &BTreeMap<&str, String>) -> [Option<(u16, String)>; 2] {
    let (filter, filters) = overlapping(format);
    let mut scanner = Scanner::with_zone(Arc::clone(filters), TimeZone::UTC);
    [read(&mut scanner, line), plain(filter, record)]
}

/// What a plain evaluation makes of a record: every pattern, every field, every form, in their order.
fn plain(filter: &Filter, record: &BTreeMap<&str, String>) -> Option<(u16, String)> {
    let fits = |form: &Form, text: &str, found: &mut Found<'_>| {
        let mut its = Found::default();
        let fits = form.read(text.as_bytes(), &mut its);
        if fits && form.has_address() {
            found.address = its.address;
        }
        fits
    };
    let mut best: Option<(i32, u16, String)> = None;
    for (number, pattern) in (0..).zip(&filter.patterns) {
        let fields = pattern.field_forms().unwrap();
        let mut found = Found::default();
        let mut field = |field: &FieldForms| {
            record
                .get(field.name.as_str())
                .is_some_and(|text| field.forms.iter().any(|form| fits(form, text, &mut found)))
        };
        let all = fields.iter().all(&mut field);
        if all && best.as_ref().is_none_or(|(points, _, _)| pattern.points.0 > *points) {
            best = Some((pattern.points.0, number, found.address.address().to_string()));
        }
    }
    best.map(|(_, number, address)| (number, address))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn equals_the_plain_evaluation(
        ip in select(vec!["192.0.2.1", "2001:db8::1", "x", ""]),
        texts in proptest::collection::btree_map(select(vec!["a", "b", "c"]), "[xyz 1]{0,6}", 0..4),
        message in proptest::option::of("x?y?[xy ]{0,3} (192\\.0\\.2\\.7|::7|x)"),
    ) {
        let mut record: BTreeMap<&str, String> = texts;
        record.insert("ip", ip.to_owned());
        record.extend(message.map(|message| ("msg", message)));
        let pairs: Vec<String> = record.iter().map(|(name, text)| format!("{name}={text:?}")).collect();
        let lines = [("json", serde_json::to_string(&record).unwrap()), ("logfmt", pairs.join(" "))];
        for (format, line) in lines {
            let [fast, plain] = both(format, &line, &record);
            prop_assert_eq!(fast, plain, "{}", line);
        }
    }

    #[test]
    fn access_logs_equal_the_plain_evaluation(
        client in select(vec!["192.0.2.1", "2001:db8::1", "peer.example.org"]),
        user in "[xy]{0,2}",
        method in select(vec!["GET", "POST", "PUT"]),
        path in "/[xy]{0,3}",
        query in proptest::option::of("[xy]{1,2}"),
        status in select(vec!["404", "401", "200"]),
        referrer in "[xy ]{0,3}",
        agent in "[xy ]{0,4}",
    ) {
        let target = query.as_ref().map_or(path.clone(), |query| format!("{path}?{query}"));
        let dash = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
        let line = format!(
            r#"{client} - {} [20/Nov/2026:00:00:00 +0000] "{method} {target} HTTP/1.1" {status} 5 "{}" "{}""#,
            dash(&user), dash(&referrer), dash(&agent),
        );
        let fields = [("client", client), ("user", &user), ("method", method), ("path", &path), ("status", status)];
        let behind = [("query", query.as_deref().unwrap_or_default()), ("referrer", &referrer), ("agent", &agent)];
        let all = fields.into_iter().chain(behind).filter(|(_, text)| !text.is_empty());
        let record: BTreeMap<&str, String> = all.map(|(name, text)| (name, text.to_owned())).collect();
        let [fast, plain] = both("access", &line, &record);
        prop_assert_eq!(fast, plain, "{}", line);
    }
}

#[test]
fn a_sighting_tells_of_the_request_and_of_the_program() {
    let access = file("web", "access", &patterns(&[r#"client = "<address>""#]));
    let mut own = scanner(&[access]);
    let told = |scanner: &mut Scanner, line: &str| {
        let sighting = scanner.line(line.as_bytes(), REFERENCE).unwrap();
        let request = sighting.request.map(|request| {
            (request.path.map(|path| String::from_utf8_lossy(path).into_owned()), request.status)
        });
        (String::from_utf8_lossy(sighting.service).into_owned(), request)
    };
    let clf = r#"192.0.2.1 - - [20/Nov/2026:00:00:00 +0000] "GET /a%20b?c=d HTTP/1.1" 404 5 "-" "x""#;
    assert_eq!(told(&mut own, clf), (String::new(), Some((Some("/a%20b".into()), Some(404)))));
    let broken = r#"192.0.2.1 - - [20/Nov/2026:00:00:00 +0000] "\x16\x03" 400 5 "-" "x""#;
    assert_eq!(told(&mut own, broken).1, Some((None, Some(400))));
    let caddy = r#"{"ts":1795176000.5,"logger":"http.log.access","request":{"remote_ip":"203.0.113.9","proto":"HTTP/2.0","method":"GET","host":"h","uri":"/x?y"},"status":503}"#;
    assert_eq!(told(&mut own, caddy).1, Some((Some("/x".into()), Some(503))));
    let mut json = scanner(&[file("app", "json", &patterns(&[r#"client = "<address>""#]))]);
    assert_eq!(
        told(&mut json, r#"{"client":"192.0.2.1","path":"/x","status":404}"#).1,
        None,
        "no access log"
    );

    let text = "identifiers = [\"app\"]\n[[pattern]]\nkind = \"probe\"\ntext = 'bad <address>'\n";
    let app = FilterFile { name: "app".into(), path: "app.toml".into(), text: text.into(), shipped: false };
    let mut syslog = scanner(&[app]);
    for line in ["Nov 20 00:00:00 host app[7]: bad 192.0.2.1", "2026-11-20T00:00:00Z host app: bad 192.0.2.1"]
    {
        // Alone, and among others in a chunk.
        assert_eq!(told(&mut syslog, line), ("app".into(), None));
        let (mut seen, chunk) = (Vec::new(), format!("{line}\n").repeat(100));
        syslog.scan(chunk.as_bytes(), REFERENCE, |sighting| seen.push(sighting.service.to_vec()));
        assert_eq!(seen, vec![b"app"; 100]);
    }
    assert_eq!(syslog.message(b"app", 1, None, b"bad 192.0.2.1").unwrap().service, b"app");
}
