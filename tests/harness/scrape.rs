//! Metrics as Prometheus gets them.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::Namespace;

/// Where metrics are served if the configuration says nothing.
pub const METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 19187);

/// What a daemon exports.
#[derive(Clone, Debug)]
pub struct Metrics(String);

impl Metrics {
    /// Scrapes an address of a namespace; `None` if nothing listens there.
    #[track_caller]
    pub fn scrape(namespace: &Namespace, address: SocketAddr) -> Option<Self> {
        let mut stream = namespace.enter(|| TcpStream::connect(address)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out can be set");
        let mut answer = String::new();
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: guard\r\n\r\n")
            .and_then(|()| stream.read_to_string(&mut answer))
            .expect("the daemon answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        Some(Self(body.to_owned()))
    }

    /// All of it, as it came.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The value of a sample that is a whole number.
    #[track_caller]
    pub fn count(&self, sample: &str) -> u64 {
        let value = self.value(sample);
        assert!(value >= 0.0 && value.fract() == 0.0, "{sample} is {value}");
        value as u64
    }

    /// The value of a sample, written as in the exposition: `name` or `name{label="value"}`.
    #[track_caller]
    pub fn value(&self, sample: &str) -> f64 {
        let value = self.0.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {sample} in\n{}", self.0))
    }
}
