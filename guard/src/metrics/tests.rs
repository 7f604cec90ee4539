//! The exposition as a scraper reads it, the reference page, and the server against rude clients.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::*;
use crate::enforce::{InterfaceStatus, MapStatus};

fn snapshot() -> Snapshot {
    let histogram = Histogram::default();
    histogram.observe(Duration::from_micros(80));
    histogram.observe(Duration::from_millis(3));
    Snapshot {
        version: "0.1.0".into(),
        restored: true,
        sources: vec![
            SourceCount {
                name: "/var/log/a \"b\"\\\n.log".into(),
                read: ReadCount { lines: 7, ..ReadCount::default() },
                healthy: true,
                behind: 12,
                silent_seconds: 700,
                unmatched: 0.25,
                faults: [true, false, false, false],
            },
            SourceCount { name: "journald".into(), ..SourceCount::default() },
        ],
        sightings: vec![("sshd".into(), Kind::FailedPassword, 5)],
        bans: vec![("sshd".into(), 1), ("manual".into(), 2)],
        active_ipv4: 3,
        enforcer: EnforcerStatus {
            backend: "xdp".into(),
            interfaces: vec![InterfaceStatus {
                name: "eth0".into(),
                index: 2,
                mode: "native".into(),
                reason: String::new(),
            }],
            maps: vec![MapStatus { name: "guard_hosts4".into(), entries: 3, capacity: 16_384 }],
            ..EnforcerStatus::default()
        },
        counters: Counters {
            reasons: vec![("clean".into(), 10, 1000)],
            drops: vec![("eth0".into(), "host".into(), 4, 400)],
        },
        line_to_kernel: histogram.distribution(),
        ..Snapshot::default()
    }
}

/// Samples by name and labels, read strictly.
fn parsed(text: &str) -> BTreeMap<(String, Vec<(String, String)>), String> {
    let mut samples = BTreeMap::new();
    let mut family: Option<&names::Metric> = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            family = names::ALL.iter().find(|metric| metric.name == name);
            assert_eq!(family.unwrap().kind.name(), kind);
        } else if !line.starts_with("# HELP ") {
            let (key, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = key
                .split_once('{')
                .map_or((key, ""), |(name, rest)| (name, rest.strip_suffix('}').expect("a closing brace")));
            let family = family.expect("a type before its samples");
            let labels = labels_of(labels);
            assert!(name.starts_with(family.name), "{line}");
            if family.kind != names::MetricKind::Histogram {
                let keys: Vec<_> = labels.iter().map(|(key, _)| key.as_str()).collect();
                assert_eq!(keys, family.labels, "{line}");
            }
            let old = samples.insert((name.to_owned(), labels), value.to_owned());
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(old.is_none(), "twice: {line}");
        }
    }
    samples
}

fn labels_of(mut text: &str) -> Vec<(String, String)> {
    let mut labels = Vec::new();
    while !text.is_empty() {
        let (key, rest) = text.split_once("=\"").unwrap();
        let (mut value, mut chars) = (String::new(), rest.char_indices());
        let end = loop {
            match chars.next().expect("a closing quote") {
                (at, '"') => break at,
                (_, '\\') => value.push(match chars.next().unwrap().1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, other) => value.push(other),
            }
        };
        labels.push((key.to_owned(), value));
        text = rest[end + 1..].trim_start_matches(',');
    }
    labels
}

#[test]
fn a_scraper_reads_what_was_counted() {
    let samples = parsed(&render(&snapshot()));
    let value = |name: &str, labels: &[(&str, &str)]| {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        samples[&(name.to_owned(), labels)].as_str()
    };
    assert_eq!(value("guard_source_lines_total", &[("source", "/var/log/a \"b\"\\\n.log")]), "7");
    assert_eq!(value("guard_source_lag", &[("source", "journald"), ("unit", "entries")]), "0");
    let odd = ("source", "/var/log/a \"b\"\\\n.log");
    assert_eq!(value("guard_source_silent_seconds", &[odd]), "700");
    assert_eq!(value("guard_source_unmatched_ratio", &[odd]), "0.25");
    assert_eq!(value("guard_source_fault", &[odd, ("fault", "silent")]), "1");
    assert_eq!(value("guard_source_fault", &[odd, ("fault", "gaps")]), "0");
    assert_eq!(value("guard_sightings_total", &[("filter", "sshd"), ("kind", "failed-password")]), "5");
    assert_eq!(value("guard_bans_total", &[("rule", "manual")]), "2");
    assert_eq!(value("guard_active_bans", &[("family", "ipv4"), ("backend", "xdp")]), "3");
    assert_eq!(value("guard_dropped_bytes_total", &[("interface", "eth0"), ("reason", "host")]), "400");
    assert_eq!(value("guard_interface_info", &[("interface", "eth0"), ("mode", "native")]), "1");
    assert_eq!(value("guard_line_to_kernel_seconds_bucket", &[("le", "0.0001")]), "1");
    assert_eq!(value("guard_line_to_kernel_seconds_bucket", &[("le", "0.005")]), "2");
    assert_eq!(value("guard_line_to_kernel_seconds_bucket", &[("le", "+Inf")]), "2");
    assert_eq!(value("guard_line_to_kernel_seconds_count", &[]), "2");
    assert_eq!(value("guard_line_to_kernel_seconds_sum", &[]), "0.00308");
}

#[test]
fn every_metric_is_exported_and_well_named() {
    let text = render(&Snapshot::default());
    let typed: BTreeSet<_> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert_eq!(typed.len(), names::ALL.len());
    for metric in names::ALL {
        assert!(
            typed.contains(format!("{} {}", metric.name, metric.kind.name()).as_str()),
            "{}",
            metric.name
        );
        assert_eq!(
            metric.name.ends_with("_total"),
            metric.kind == names::MetricKind::Counter,
            "{}",
            metric.name
        );
        assert!(metric.name.starts_with("guard_"));
        assert!(
            !metric.labels.iter().any(|label| label.contains("addr") || *label == "ip"),
            "{}",
            metric.name
        );
    }
}

/// `docs/metrics.md` as it should be.
fn reference() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         What `GET /metrics` serves at `metrics.listen` (default `127.0.0.1:19187`), in the text exposition format\n\
         of Prometheus. No label ever holds an address. Generated from `guard/src/metrics/names.rs`: after a change\n\
         there, run `UPDATE=1 cargo test -p guard --lib metrics`.\n\n\
         | metric | kind | labels | meaning |\n|---|---|---|---|\n",
    );
    for metric in names::ALL {
        let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let (kind, labels) = (metric.kind.name(), labels.join(", "));
        page.extend(["| `", metric.name, "` | ", kind, " | ", &labels, " | ", metric.help, " |\n"]);
    }
    page
}

#[test]
fn the_reference_page_is_current() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, reference()).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(found == reference(), "docs/metrics.md is old: run UPDATE=1 cargo test -p guard --lib metrics");
}

/// A server on a free loopback port, on a thread that ends with the returned sender.
fn served(alive: bool) -> (SocketAddr, tokio::sync::oneshot::Sender<()>) {
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = http::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            let ask = move || async move { alive.then(snapshot) };
            http::serve(listener, ask, async {
                let _ = stopped.await;
            })
            .await;
        });
    });
    (told.recv().unwrap(), stop)
}

fn say(address: SocketAddr, text: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let _ = stream.write_all(text);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

#[test]
fn pages_are_served_over_http() {
    let (address, _stop) = served(true);
    let answer = say(address, b"GET /metrics?x=1 HTTP/1.1\r\nHost: x\r\n\r\n");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())));
    parsed(body);
    assert!(say(address, b"GET /healthz HTTP/1.0\r\n\r\n").ends_with("\r\n\r\nok\n"));
}

#[test]
fn an_engine_that_is_gone_is_unhealthy() {
    let (address, _stop) = served(false);
    for page in ["metrics", "healthz"] {
        let answer = say(address, format!("GET /{page} HTTP/1.1\r\n\r\n").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    }
}

#[test]
fn rude_clients_are_told() {
    let (address, _stop) = served(true);
    let long = [b"GET /metrics HTTP/1.1\r\nA: ".as_slice(), &[b'x'; 9000]].concat();
    for (request, status) in [
        (b"POST /metrics HTTP/1.1\r\n\r\n".as_slice(), "405"),
        (b"GET / HTTP/1.1\r\n\r\n", "404"),
        (b"GET /metrics/../etc HTTP/1.1\r\n\r\n", "404"),
        (b"hello\r\n\r\n", "400"),
        (b"GET /metrics HTTP/2\r\n\r\n", "400"),
        (b"\xff\xfe \xff HTTP/1.1\r\n\r\n", "405"),
        (&long, "431"),
        (b"GET /metrics HTTP/1.1\r\n", "408"),
    ] {
        let answer = say(address, request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {answer}");
    }
}

#[test]
fn silent_connections_do_not_keep_others_out() {
    let (address, _stop) = served(true);
    let _silent: Vec<_> = (0..200).map(|_| TcpStream::connect(address).unwrap()).collect();
    assert!(say(address, b"GET /healthz HTTP/1.1\r\n\r\n").ends_with("ok\n"));
}
