//! A real server on loopback, and what it may not get guard to do.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use super::*;
use crate::config::FeedSource;

/// Answers one connection after the other, each with the next of some texts. Its port, and the requests it got.
fn server(answers: Vec<Vec<u8>>) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = channel();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = String::new();
            let mut lines = BufReader::new(stream.try_clone().unwrap());
            while !head.ends_with("\r\n\r\n") && lines.read_line(&mut head).is_ok_and(|read| read > 0) {}
            let _ = tell.send(head);
            // A client that has heard enough hangs up.
            let _ = stream.write_all(&answer);
        }
    });
    (port, told)
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}

fn asked(port: u16, feed: impl FnOnce(&mut Feed), seen: &Seen) -> Result<Fetched, FetchError> {
    let url = format!("http://127.0.0.1:{port}/list");
    let mut asked = Feed::new("test", FeedSource::Url(url.clone()));
    feed(&mut asked);
    fetch(&asked, &url, seen)
}

#[test]
fn a_list_is_fetched_once_until_it_changes() {
    let headers = "ETag: \"v1\"\r\nLast-Modified: Sat, 21 Nov 2026 08:45:02 GMT\r\n";
    let (port, requests) =
        server(vec![answer("200 OK", headers, b"203.0.113.7\n"), answer("304 Not Modified", "", b"")]);
    let Ok(Fetched::New { bytes, seen }) = asked(port, |_| {}, &Seen::default()) else { panic!() };
    assert_eq!(bytes, b"203.0.113.7\n");
    assert_eq!(seen.etag.as_deref(), Some("\"v1\""));
    let first = requests.recv().unwrap().to_lowercase();
    assert!(first.starts_with("get /list http/1.1\r\n") && first.contains("user-agent: guard/"), "{first}");
    assert!(!first.contains("if-none-match"), "{first}");

    assert_eq!(asked(port, |_| {}, &seen).unwrap(), Fetched::Unchanged);
    let second = requests.recv().unwrap().to_lowercase();
    assert!(second.contains("if-none-match: \"v1\"\r\n"), "{second}");
    assert!(second.contains("if-modified-since: sat, 21 nov 2026 08:45:02 gmt\r\n"), "{second}");
}

#[test]
fn what_is_packed_is_measured_unpacked() {
    // `head -c 1000000 /dev/zero | gzip`, made by hand: stored blocks would be as long as what they hold.
    let mut packed = std::process::Command::new("sh");
    let packed =
        packed.args(["-c", "head -c 1000000 /dev/zero | tr '\\0' '#' | gzip"]).output().unwrap().stdout;
    assert!(packed.len() < 5000);
    let gzip = "Content-Encoding: gzip\r\n";
    let (port, _requests) = server(vec![answer("200 OK", gzip, &packed), answer("200 OK", gzip, &packed)]);
    let Ok(Fetched::New { bytes, .. }) = asked(port, |_| {}, &Seen::default()) else { panic!() };
    assert_eq!(bytes.len(), 1_000_000);
    let error = asked(port, |feed| feed.max_bytes = 999_999, &Seen::default()).unwrap_err();
    assert!(matches!(error, FetchError::TooLong { most: 999_999 }), "{error}");
}

#[test]
fn what_breaks_off_or_is_refused_is_an_error() {
    let cut = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n203.0.113.7\n".to_vec();
    let busy = answer("429 Too Many Requests", "Retry-After: 300\r\n", b"slow down");
    let (port, _requests) = server(vec![cut, busy, b"not http at all\r\n\r\n".to_vec()]);
    assert!(matches!(asked(port, |_| {}, &Seen::default()), Err(FetchError::Network { .. })));
    let error = asked(port, |_| {}, &Seen::default()).unwrap_err();
    assert_eq!((error.wait(), error.to_string().contains("429")), (Some(Duration::from_secs(300)), true));
    assert!(matches!(asked(port, |_| {}, &Seen::default()), Err(FetchError::Network { .. })));
    // Nobody listens there any more.
    assert!(matches!(asked(port, |_| {}, &Seen::default()), Err(FetchError::Network { .. })));
}

#[test]
fn redirections_end_and_lead_nowhere_inside() {
    let to = |place: &str| answer("302 Found", &format!("Location: {place}\r\n"), b"");
    let (port, _requests) = server(vec![to("/other"), answer("200 OK", "", b"203.0.113.7\n")]);
    assert!(matches!(asked(port, |_| {}, &Seen::default()), Ok(Fetched::New { .. })));

    let (port, requests) = server(vec![to("/list"); 10]);
    assert!(asked(port, |_| {}, &Seen::default()).is_err());
    assert_eq!(requests.try_iter().count(), REDIRECTS as usize + 1);

    let (inner, requests) = server(vec![answer("200 OK", "", b"203.0.113.7\n")]);
    let (port, _requests) = server(vec![to(&format!("http://localhost:{inner}/list"))]);
    let error = asked(port, |_| {}, &Seen::default()).unwrap_err().to_string();
    assert!(error.contains("is not where a feed may come from"), "{error}");
    assert_eq!(requests.try_iter().count(), 0);
}

#[test]
fn addresses_that_clouds_tell_secrets_at_are_refused() {
    for host in [
        "169.254.169.254",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "[::ffff:169.254.169.254]",
        "0.0.0.0",
        "224.0.0.1",
    ] {
        let url = format!("http://{host}/latest/meta-data/");
        let feed = Feed::new("test", FeedSource::Url(url.clone()));
        let error = fetch(&feed, &url, &Seen::default()).unwrap_err().to_string();
        assert!(error.contains("is not where a feed may come from"), "{host}: {error}");
    }
    let guarded = |link_local| Guarded { host: "feeds.example".into(), link_local };
    let reaches = |guarded: Guarded, host, address: &str| guarded.may_reach(host, address.parse().unwrap());
    assert!(reaches(guarded(true), "feeds.example", "169.254.1.1"));
    assert!(!reaches(guarded(true), "elsewhere.example", "10.0.0.1"), "by redirection");
    assert!(reaches(guarded(false), "feeds.example", "10.0.0.1"), "an administrator's own server");
    assert!(reaches(guarded(false), "elsewhere.example", "203.0.113.7"));
}
