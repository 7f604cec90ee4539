//! Server and client against each other, with a handler in place of the engine.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::client::{Client, ClientError};
use super::server::{ApiCount, Asked, Listener, MAX_CONNECTIONS, MAX_REQUEST, serve};
use super::*;

/// A server on a thread of its own. Dropping it stops it.
struct Served {
    socket: PathBuf,
    count: Arc<ApiCount>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

impl Served {
    fn new(group: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let socket = folder.path().join("guard.sock");
        let listener = Listener::bind(&socket, group).unwrap();
        let count = Arc::new(ApiCount::default());
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let counted = Arc::clone(&count);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let stopped = async {
                let _ = stopped.await;
            };
            runtime.block_on(serve(listener, counted, answer, stopped)).unwrap();
        });
        Self { socket, count, stop: Some(stop), thread: Some(thread), _folder: folder }
    }

    fn ask(&self, request: &Request) -> Answer {
        Client::connect(&self.socket).unwrap().ask(request).unwrap()
    }

    fn raw(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.socket).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap();
        assert!(!self.socket.exists(), "a server that ends takes its socket with it");
    }
}

/// Answers every request with what it was asked and by whom; drops one kind unanswered.
fn answer(asked: Asked) -> Result<(), crate::source::Closed> {
    let Asked { caller, request, reply } = asked;
    match request {
        Request::UnbanAll {} => {}
        Request::Unlock {} => return Err(crate::source::Closed),
        Request::Status {} => {
            let status = Status { version: format!("uid {}", caller.uid), ..Status::default() };
            reply.send(Answer::Status(Box::new(status))).unwrap();
        }
        _ => reply.send(Answer::Lifted(caller.pid as u64)).unwrap(),
    }
    Ok(())
}

fn error_of(line: &str) -> (ErrorClass, String) {
    match serde_json::from_str(line).unwrap() {
        Answer::Error { class, message } => (class, message),
        other => panic!("{other:?}"),
    }
}

fn line_of(stream: &UnixStream) -> String {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line
}

#[test]
fn answers_go_to_who_asked() {
    let served = Served::new(None);
    let mut client = Client::connect(&served.socket).unwrap();
    for _ in 0..3 {
        assert_eq!(client.ask(&Request::Reload {}).unwrap(), Answer::Lifted(u64::from(std::process::id())));
    }
    assert_eq!(served.count.requests.load(Ordering::Relaxed), 3);
}

#[test]
fn an_engine_that_is_gone_is_told() {
    let served = Served::new(None);
    for request in [Request::UnbanAll {}, Request::Unlock {}] {
        let Answer::Error { class, message } = served.ask(&request) else { panic!("an error was due") };
        assert_eq!((class, message.as_str()), (ErrorClass::Failed, "the daemon is stopping"));
    }
}

#[test]
fn malformed_requests_are_answered_and_the_connection_goes_on() {
    let served = Served::new(None);
    let mut stream = served.raw();
    for bad in ["", "{", "null", "{\"request\":\"format-disk\"}", "{\"request\":\"status\",\"x\":1}", "\u{0}"]
    {
        writeln!(stream, "{bad}").unwrap();
        let (class, message) = error_of(&line_of(&stream));
        assert_eq!(class, ErrorClass::Usage, "{bad}");
        assert!(message.starts_with("this is not a request: "), "{message}");
    }
    stream.write_all(b"\xff\xfe\n").unwrap();
    error_of(&line_of(&stream));
    let status = br#"{"request":"status"}"#;
    stream.write_all(status).unwrap();
    stream.write_all(b"\n").unwrap();
    assert!(line_of(&stream).contains("\"answer\":\"status\""));
    assert_eq!(served.count.malformed.load(Ordering::Relaxed), 7);
}

#[test]
fn an_oversized_request_ends_its_connection_only() {
    let served = Served::new(None);
    let mut stream = served.raw();
    // The server closes before it has read everything, so the end of this may fail.
    let _ = stream.write_all(&vec![b'x'; MAX_REQUEST + 1]);
    assert!(error_of(&line_of(&stream)).1.contains("longer than 64 KiB"));
    let mut rest = Vec::new();
    assert!(matches!(stream.read_to_end(&mut rest), Ok(0) | Err(_)), "the connection is over");
    assert!(matches!(served.ask(&Request::Status {}), Answer::Status(_)));
}

#[test]
fn a_slow_request_ends_and_others_are_served_meanwhile() {
    let served = Served::new(None);
    let mut slow = served.raw();
    slow.write_all(b"{\"request\":").unwrap();
    let begun = Instant::now();
    assert!(matches!(served.ask(&Request::Status {}), Answer::Status(_)));
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(error_of(&line_of(&slow)).1.contains("within 10 seconds"));
}

#[test]
fn other_users_are_refused_and_counted() {
    if !rustix::process::geteuid().is_root() {
        return harness::skip("only root can become another user");
    }
    let served = Served::new(None);
    // Open to all by mistake: the credentials still decide.
    fs::set_permissions(&served.socket, Permissions::from_mode(0o666)).unwrap();
    let said = ask_as(&served, 65_534, 65_534, r#"{"request":"status"}"#);
    assert_eq!(error_of(&said).0, ErrorClass::Denied);
    assert_eq!(served.count.refused.load(Ordering::Relaxed), 1);
    assert_eq!(served.count.requests.load(Ordering::Relaxed), 0);
}

#[test]
fn members_of_the_group_read_and_change_nothing() {
    if !rustix::process::geteuid().is_root() {
        return harness::skip("only root can become another user");
    }
    let served = Served::new(Some("adm"));
    let adm = peer::group_id("adm").unwrap();
    assert!(ask_as(&served, 65_534, adm, r#"{"request":"status"}"#).contains("uid 65534"));
    for change in [r#"{"request":"unlock"}"#, r#"{"request":"unban","targets":["192.0.2.1"]}"#] {
        assert_eq!(error_of(&ask_as(&served, 65_534, adm, change)).0, ErrorClass::Denied);
    }
    assert_eq!(served.count.refused.load(Ordering::Relaxed), 2);
}

/// Asks from a process of another user: this test binary again, running [`asks_for_the_tests`] only.
fn ask_as(served: &Served, uid: u32, gid: u32, request: &str) -> String {
    // The build folder may be closed to other users, so the child runs from an open copy of itself.
    let copy = served.socket.with_file_name(format!("ask-{uid}"));
    if !copy.exists() {
        fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
        fs::set_permissions(&copy, Permissions::from_mode(0o755)).unwrap();
    }
    let output = Command::new(&copy)
        .args(["--exact", "api::tests::asks_for_the_tests", "--nocapture"])
        .env("GUARD_TEST_SOCKET", &served.socket)
        .env("GUARD_TEST_REQUEST", request)
        .current_dir("/")
        .uid(uid)
        .gid(gid)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find_map(|line| line.split_once("ANSWER ")).expect(&text);
    line.1.to_owned()
}

#[test]
fn asks_for_the_tests() {
    let Some(socket) = std::env::var_os("GUARD_TEST_SOCKET") else { return };
    let mut stream = UnixStream::connect(socket).unwrap();
    // Refused connections may be closed before this is written.
    let _ = writeln!(stream, "{}", std::env::var("GUARD_TEST_REQUEST").unwrap());
    println!("ANSWER {}", line_of(&stream));
}

#[test]
fn more_connections_than_places_are_turned_away_and_then_served_again() {
    let served = Served::new(None);
    let idle: Vec<_> = (0..MAX_CONNECTIONS).map(|_| served.raw()).collect();
    let extra = served.raw();
    assert!(error_of(&line_of(&extra)).1.contains("too many connections"));
    drop(idle);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !matches!(served.ask(&Request::Status {}), Answer::Status(_)) {
        assert!(Instant::now() < deadline, "places never came free");
    }
}

#[test]
fn ten_thousand_connections_leave_no_trace() {
    let served = Served::new(None);
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let socket = served.socket.clone();
            std::thread::spawn(move || {
                for turn in 0..1250 {
                    let mut stream = UnixStream::connect(&socket).unwrap();
                    match turn % 3 {
                        0 => drop(stream),
                        1 => drop(stream.write_all(b"{\"requ")),
                        _ => {
                            writeln!(stream, r#"{{"request":"status"}}"#).unwrap();
                            assert!(line_of(&stream).contains("status"));
                        }
                    }
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
    assert!(matches!(served.ask(&Request::Status {}), Answer::Status(_)));
    assert_eq!(served.count.turned_away.load(Ordering::Relaxed), 0);
}

#[test]
fn a_daemon_that_is_not_there_is_told_from_one_that_refuses() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("guard.sock");
    let error = Client::connect(&socket).unwrap_err();
    assert!(matches!(error, ClientError::NotReachable { .. }));
    assert!(error.to_string().contains("systemctl status guard"), "{error}");

    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(Client::connect(&socket).unwrap_err().to_string().contains("nobody listens there"));
}

#[test]
fn a_long_list_is_one_short_line_of_the_log() {
    let targets = |count: u32| {
        (1..=count).map(|n| Target::host(std::net::Ipv4Addr::from(n).into())).collect::<Vec<_>>()
    };
    let ban = |count| {
        Request::Ban {
            targets: targets(count),
            seconds: None,
            reason: None,
            from: BTreeSet::new(),
            force: false,
        }
        .brief()
    };
    assert_eq!(ban(10_000), "ban 10000 targets, the first 0.0.0.1");
    assert_eq!(Request::Unban { targets: targets(5) }.brief(), "unban 5 targets, the first 0.0.0.1");
    assert!(ban(4).contains("0.0.0.4"), "{}", ban(4));
    assert_eq!(Request::Reload {}.brief(), "Reload");
}
