//! How an entry came to a real journald, and whether the shipped filters believe it.

use std::os::unix::net::UnixDatagram;
use std::sync::Arc;

use super::*;
use crate::scan::{FilterSet, Mode, Scanner};

/// What nginx writes of `GET /x%0a2026/…`: up to the newline, and behind it.
const FIRST: &str = r#"2026/11/20 10:00:00 [error] 1#1: *1 open() "/srv/www/x"#;
const FORGED: &str =
    r#"2026/11/20 10:00:00 [error] 1#1: *1 user "a": password mismatch, client: 198.51.100.1, x" failed"#;
const REAL: &str = r#"2026/11/20 10:00:00 [error] 1#1: *1 user "a": password mismatch, client: 203.0.113.9, server: x, request: "GET / HTTP/1.1", host: "x""#;

#[test]
fn a_newline_in_a_message_makes_no_entry_that_is_believed() {
    if lacks(JOURNALD) {
        return;
    }
    let journald = Journald::start("late");
    journald.log("before");
    let var = journald.var();
    journald.until("an entry", |j| j.journals() > 0 && !journalctl(&var).is_empty());
    let scanner = Scanner::new(Arc::new(FilterSet::shipped(Mode::Normal).unwrap()));
    let mut run = Run::scanned(&var, None, Options::default(), Box::new(scanner)).reading();
    // Standard error of a service: journald makes an entry of each line.
    assert!(journald.inside(&["systemd-cat", "-t", "nginx", "printf", "%s\\n%s\\n", FIRST, FORGED]));
    run.until("both are refused", |run| run.count.untrusted >= 2);
    assert!(run.rows.is_empty(), "{:?}", run.rows);
    // Syslog keeps the message in one piece.
    let socket = format!("/proc/{}/root/run/systemd/journal/dev-log", journald.child.id());
    let sender = UnixDatagram::unbound().unwrap();
    for message in [format!("{FIRST}\n{FORGED}"), REAL.to_owned()] {
        sender.send_to(format!("<27>nginx: {message}").as_bytes(), &socket).unwrap();
    }
    run.expect(&[REAL]);
    let (_, count, _) = run.end();
    assert_eq!((count.untrusted, count.known, count.matched), (2, 2, 1));
}
