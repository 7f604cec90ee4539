//! Lists that others keep: fetched, banned, swapped and kept.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

use std::fmt::Write as _;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use harness::{
    ADMIN, Arena, Background, Daemon, FeedServer, Flood, GUARDED_V4, GUARDED_V6, LogFile, Metrics, Options,
    attacker_v4, attacker_v6, counter, missing_for_xdp_tests, pings, poll_until, run, skip, skip_if,
};
use serde_json::Value;
use tempfile::TempDir;

/// A configuration with one feed, which is not fetched by itself while a test runs.
fn with_feed(mut options: Options, server: &FeedServer, more: &str) -> Options {
    let _ = write!(
        options.more,
        "\n[[feed]]\nname = \"test\"\nurl = \"{}\"\nevery = \"1d\"\n{more}",
        server.url()
    );
    options
}

fn feed(daemon: &Daemon<'_>) -> Value {
    daemon.json("feed show test")
}

fn problems(daemon: &Daemon<'_>) -> String {
    daemon.json("status")["problems"].to_string()
}

#[test]
fn a_feed_is_banned_around_what_is_protected_and_follows_its_server() {
    for options in [Options::xdp(), Options::nftables()] {
        skip_if!(missing_for_xdp_tests());
        let arena = Arena::new();
        // The first prefix holds the guarded host itself.
        let (first, second, third) = (attacker_v4(0), attacker_v6(0), attacker_v4(1));
        let list = format!("# test\n203.0.113.0/29\n{first} ; seen\n{second}\n{third}\nrubbish\n0.0.0.0/1\n");
        let server = FeedServer::new(&arena.host, list.clone());
        let daemon = Daemon::start(&arena.host, with_feed(options, &server, ""));
        daemon.await_drop(first);
        poll_until(Duration::from_secs(10), "all of it is banned", || {
            (feed(&daemon)["bans"] == 6).then_some(())
        });
        assert!(!pings(&arena.outside, first, GUARDED_V4) && !pings(&arena.outside, second, GUARDED_V6));
        assert!(pings(&arena.outside, attacker_v4(2), GUARDED_V4), "others pass");
        assert!(daemon.drops(Ipv4Addr::new(203, 0, 113, 2).into()));
        let own = daemon.json(&format!("check {GUARDED_V4}"));
        assert_eq!((&own["bans"], &own["verdict"]["dropped"]), (&Value::Array(vec![]), &false.into()));
        let shown = feed(&daemon);
        assert_eq!(
            (&shown["targets"], &shown["protected"], &shown["rubbish"]["count"]),
            (&4.into(), &1.into(), &1.into())
        );
        assert_eq!(shown["rubbish"]["first"][0], "line 6: `rubbish`");
        assert_eq!(shown["too_wide"]["first"][0], "line 7: `0.0.0.0/1`");
        let why = daemon.json(&format!("why {first}"));
        assert_eq!(why["bans"][0]["origin"]["feed"], "test", "{why}");

        // Unchanged, it is not sent again.
        daemon.json("feed refresh test");
        assert_eq!(server.asked(), (1, 1));

        // A person's word stands above it.
        let refused = daemon.ctl(&format!("unban {first}"));
        assert!(refused.code == 1 && refused.output.contains("guardctl allow add"), "{refused:?}");
        daemon.json("unban --all");
        assert!(daemon.drops(first));
        daemon.json(&format!("allow add {first}"));
        assert!(pings(&arena.outside, first, GUARDED_V4));
        daemon.json(&format!("allow remove {first}"));
        daemon.await_drop(first);

        // It loses most of what it had: nothing changes until that is accepted.
        server.set(format!("{third}\n"));
        daemon.json("feed refresh");
        assert_eq!(feed(&daemon)["held"], 1);
        assert!(problems(&daemon).contains("guardctl feed accept test"));
        assert!(!pings(&arena.outside, first, GUARDED_V4));
        daemon.json("feed accept test");
        poll_until(Duration::from_secs(10), "the short list is in force", || {
            (!daemon.drops(first)).then_some(())
        });
        assert!(pings(&arena.outside, first, GUARDED_V4) && daemon.drops(third));
        assert_eq!(problems(&daemon), "[]");
    }
}

#[test]
fn a_restart_without_its_server_opens_no_gap_and_a_feed_that_goes_leaves_nothing() {
    for options in [Options::xdp(), Options::nftables()] {
        skip_if!(missing_for_xdp_tests());
        let arena = Arena::new();
        let listed = attacker_v4(0);
        let server = FeedServer::new(&arena.host, format!("{listed}\n198.51.100.0/24\n"));
        let mut daemon = Daemon::start(&arena.host, with_feed(options, &server, ""));
        daemon.await_drop(listed);
        daemon.json(&format!("ban {} --for 1h", attacker_v4(1)));
        drop(server);

        let place = SocketAddr::new(GUARDED_V4, 9);
        let passed = counter(&arena.host, place);
        let flood = Flood::start(&arena.outside, listed, place);
        for _ in 0..3 {
            daemon.kill();
            daemon.start_again();
            poll_until(Duration::from_secs(20), "everything is restored", || {
                (daemon.json("status")["restored"] == true).then_some(())
            });
        }
        poll_until(Duration::from_secs(20), "enough was sent", || (flood.sent() > 100_000).then_some(()));
        drop(flood);
        assert_eq!(passed.load(Ordering::Relaxed), 0);
        assert_eq!(daemon.json("status")["bans"], 3);
        assert_eq!(feed(&daemon)["bans"], 2);
        assert_ne!(daemon.ctl("feed refresh test").code, 0, "nobody is there");
        assert!(problems(&daemon).contains("feed test: "));
        daemon.await_drop(listed);

        // Taken out of the configuration while guard does not run: what it left in the kernel is nobody's ban.
        daemon.stop();
        let config = fs::read_to_string(daemon.config()).unwrap();
        fs::write(daemon.config(), config.split("\n[[feed]]").next().unwrap()).unwrap();
        daemon.start_again();
        poll_until(Duration::from_secs(20), "what it listed passes", || {
            (!daemon.drops(listed)).then_some(())
        });
        let bans = daemon.json("list");
        assert_eq!(bans.as_array().unwrap().len(), 1, "{bans}");
        assert!(pings(&arena.outside, listed, GUARDED_V4) && daemon.drops(attacker_v4(1)));

        // And back by a reload, with another server.
        let server = FeedServer::new(&arena.host, format!("{listed}\n"));
        let without = fs::read_to_string(daemon.config()).unwrap();
        let with = format!("{without}\n[[feed]]\nname = \"test\"\nurl = \"{}\"\n", server.url());
        fs::write(daemon.config(), with).unwrap();
        daemon.json("reload");
        daemon.await_drop(listed);
        fs::write(daemon.config(), without).unwrap();
        daemon.json("reload");
        poll_until(Duration::from_secs(10), "what it listed passes", || {
            (!daemon.drops(listed)).then_some(())
        });
    }
}

/// A web server behind TLS, as `openssl s_server` is one, with authorities of its own.
struct TlsServer {
    folder: TempDir,
    url: String,
    port: u16,
    process: Option<Background>,
}

impl TlsServer {
    fn openssl(folder: &Path, arguments: &str) {
        run(Command::new("openssl").args(arguments.split(' ')).current_dir(folder).stderr(Stdio::null()));
    }

    /// Serves a list, with a certificate for this machine that the authority `ours` vouches for; `other` vouches for
    /// nobody.
    fn new(arena: &Arena, list: &str) -> Self {
        const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
        let folder = TempDir::with_prefix("guard-tls-").unwrap();
        fs::write(folder.path().join("list"), list).unwrap();
        for name in ["ours", "other"] {
            let files = format!("-keyout {name}.key -out {name}.pem -days 2 -subj /CN={name}");
            Self::openssl(folder.path(), &format!("req -x509 {KEY} {files}"));
        }
        for (name, host) in [("here", "IP:127.0.0.1"), ("elsewhere", "DNS:feeds.example")] {
            let files = format!("-keyout {name}.key -out {name}.csr -subj /CN={name}");
            Self::openssl(folder.path(), &format!("req -new {KEY} {files} -addext subjectAltName={host}"));
            let by = "-CA ours.pem -CAkey ours.key -CAcreateserial -days 2 -copy_extensions copy";
            Self::openssl(folder.path(), &format!("x509 -req -in {name}.csr {by} -out {name}.pem"));
        }
        // Free now, and nobody else is in the namespace.
        let port =
            arena.host.enter(|| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port());
        let mut server = Self { folder, url: format!("https://127.0.0.1:{port}/list"), port, process: None };
        server.show(arena, "here");
        server
    }

    /// Shows this certificate from now on.
    fn show(&mut self, arena: &Arena, name: &str) {
        self.process = None;
        let arguments =
            format!("s_server -quiet -WWW -accept 127.0.0.1:{} -cert {name}.pem -key {name}.key", self.port);
        let mut command = Command::new("openssl");
        command.args(arguments.split(' ')).current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(arena.host.enter(|| Background::start(&mut command)));
        let there = || arena.host.enter(|| TcpStream::connect(("127.0.0.1", self.port))).ok();
        poll_until(Duration::from_secs(10), "the server listens", || there().map(drop));
    }

    /// A feed of it, with this authority.
    fn feed(&self, authority: Option<&str>) -> String {
        let ca = authority.map(|name| format!("ca = \"{}/{name}.pem\"\n", self.folder.path().display()));
        format!(
            "\n[[feed]]\nname = \"test\"\nurl = \"{}\"\nevery = \"1d\"\n{}",
            self.url,
            ca.unwrap_or_default()
        )
    }
}

#[test]
fn a_server_is_believed_if_the_right_authority_vouches_for_it_by_its_name() {
    skip_if!(missing_for_xdp_tests());
    if Command::new("openssl").arg("version").output().is_err() {
        return skip("openssl is not installed");
    }
    let arena = Arena::new();
    let (listed, later) = (attacker_v4(0), attacker_v4(1));
    let mut server = TlsServer::new(&arena, &format!("{listed}\n"));
    let daemon = Daemon::start(&arena.host, Options { more: server.feed(None), ..Options::xdp() });
    let without = fs::read_to_string(daemon.config()).unwrap().replace(&server.feed(None), "");
    let refused = |authority: Option<&str>, because: &str| {
        fs::write(daemon.config(), [&*without, &server.feed(authority)].concat()).unwrap();
        daemon.json("reload");
        let reply = daemon.ctl("feed refresh test");
        assert!(reply.code != 0 && format!("{reply:?}").contains(because), "{authority:?}: {reply:?}");
        assert!(problems(&daemon).contains(because) && !daemon.drops(listed), "{}", problems(&daemon));
    };
    refused(None, "UnknownIssuer");
    refused(Some("other"), "UnknownIssuer");
    refused(Some("none"), "No such file");
    fs::write(server.folder.path().join("empty.pem"), "nothing").unwrap();
    refused(Some("empty"), "there is none in it");

    fs::write(daemon.config(), [&*without, &server.feed(Some("ours"))].concat()).unwrap();
    daemon.json("reload");
    daemon.json("feed refresh test");
    daemon.await_drop(listed);
    assert_eq!(problems(&daemon), "[]");

    // One who shows another server's certificate is not believed, and what is in force stays.
    fs::write(server.folder.path().join("list"), format!("{listed}\n{later}\n")).unwrap();
    server.show(&arena, "elsewhere");
    let reply = daemon.ctl("feed refresh test");
    assert!(reply.code != 0 && format!("{reply:?}").contains("not valid for name"), "{reply:?}");
    assert!(daemon.drops(listed) && !daemon.drops(later));
    server.show(&arena, "here");
    daemon.json("feed refresh test");
    daemon.await_drop(later);
}

#[test]
fn who_is_listed_starts_with_points() {
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let log = LogFile::new();
    let listed = attacker_v4(0);
    let server = FeedServer::new(&arena.host, format!("{listed}\n"));
    let more = "action = \"points\"\npoints = 3\n";
    let daemon = Daemon::start(&arena.host, with_feed(Options::xdp().file(log.path()), &server, more));
    poll_until(Duration::from_secs(10), "it is fetched", || (feed(&daemon)["targets"] == 1).then_some(()));
    assert!(!daemon.drops(listed));
    log.guesses(attacker_v4(1), 2);
    log.guesses(listed, 2);
    daemon.await_drop(listed);
    assert!(!daemon.drops(attacker_v4(1)));
    let why = daemon.json(&format!("why {listed}"));
    let told = serde_json::json!({ "feed": "test", "points": 3.0 });
    assert_eq!((&why["lines"][0]["listed"], &why["lines"][0]["score"]), (&told, &4.0.into()), "{why}");
}

/// So many entries, each tenth line of them rubbish; every other one of two `editions` differs.
fn long_list(entries: u32, edition: u32, steady: &[IpAddr]) -> String {
    let mut text = String::new();
    for address in steady {
        let _ = writeln!(text, "{address}");
    }
    for n in 0..entries {
        let address = Ipv4Addr::from_bits(0x1000_0000 + n * 8 + n % 2 * edition);
        let _ = if n % 10 == 0 {
            writeln!(text, "{address} rubbish\nrubbish {n}")
        } else {
            writeln!(text, "{address}")
        };
    }
    text
}

/// An address that is on no list, each in a network of its own.
fn guesser(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x2800_0001 + (number << 8)).into()
}

/// Long lists are swapped under as many packets as one thread sends, while lines are judged and commands answered.
#[test]
fn a_long_feed_is_swapped_without_a_stall() {
    // A program that is not optimised needs minutes for a million beside two threads that send.
    const ENTRIES: u32 = if cfg!(debug_assertions) { 200_000 } else { 1_000_000 };
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let log = LogFile::new();
    let (steady, clean) = (attacker_v4(0), attacker_v4(7));
    let server = FeedServer::new(&arena.host, long_list(ENTRIES, 0, &[steady]));
    let more = "max_entries = 2000000\n";
    let daemon = Daemon::start(&arena.host, with_feed(Options::xdp().file(log.path()), &server, more));
    let limit = Duration::from_secs(120);
    let wanted = u64::from(ENTRIES) + 1;
    poll_until(limit, "the first list is in force", || (feed(&daemon)["bans"] == wanted).then_some(()));
    let shown = feed(&daemon);
    assert_eq!(shown["rubbish"]["count"], ENTRIES / 10, "{shown}");
    assert!(!pings(&arena.outside, steady, GUARDED_V4));

    let (closed, open) = (SocketAddr::new(GUARDED_V4, 9), SocketAddr::new(GUARDED_V4, 10));
    let (passed, arrived) = (counter(&arena.host, closed), counter(&arena.host, open));
    let floods = [Flood::start(&arena.outside, steady, closed), Flood::start(&arena.outside, clean, open)];
    server.set(long_list(ENTRIES, 1, &[steady]));
    let start = Instant::now();
    let old = |n: u32| IpAddr::from(Ipv4Addr::from_bits(0x1000_0000 + n * 8));
    std::thread::scope(|scope| {
        let swap = scope.spawn(|| daemon.json("feed refresh test"));
        let (mut judged, mut slowest, mut seen, mut last) = (0, Duration::ZERO, 0, Instant::now());
        poll_until(limit, "the second list is in force", || {
            let asked = Instant::now();
            let there = daemon.json("status")["bans"].as_u64()?;
            slowest = slowest.max(asked.elapsed());
            let now = arrived.load(Ordering::Relaxed);
            if now > seen {
                (seen, last) = (now, Instant::now());
            }
            assert!(last.elapsed() < Duration::from_secs(2), "clean packets do not arrive");
            judged += 1;
            log.guesses(guesser(judged), 5);
            let is_over = feed(&daemon)["bans"] == wanted
                && !daemon.drops(old(1))
                && !daemon.drops(old(ENTRIES - 1))
                && there > wanted;
            is_over.then_some(())
        });
        swap.join().unwrap();
        daemon.await_drop(guesser(judged));
        println!("swapped in {:?}, slowest answer {slowest:?}", start.elapsed());
        assert!(slowest < Duration::from_secs(1), "an answer took {slowest:?}");
    });
    let sent: u64 = floods.iter().map(Flood::sent).sum();
    println!("{sent} packets in {:?}", start.elapsed());
    drop(floods);
    assert_eq!(passed.load(Ordering::Relaxed), 0, "of {sent} packets of who is on both lists");
    assert!(daemon.drops(old(0)) && daemon.drops(IpAddr::from(Ipv4Addr::from_bits(0x1000_0000 + 8 + 1))));
    assert!(pings(&arena.outside, ADMIN, GUARDED_V4));
    let metrics = Metrics::scrape(&arena.host, SocketAddr::from(([127, 0, 0, 1], 19187))).unwrap();
    let decided = |bucket: &str| metrics.count(&format!("guard_line_to_kernel_seconds_{bucket}"));
    let within = |seconds: &str| decided(&format!("bucket{{le=\"{seconds}\"}}"));
    let (all, quick, slow) = (decided("count"), within("0.05"), within("1"));
    println!("{all} bans decided meanwhile, {quick} within 50 ms of their line, {slow} within a second");
    assert!(all >= 5 && slow == all, "{slow} of {all}");
    assert_eq!(metrics.count("guard_feed_targets{feed=\"test\"}"), wanted);
    assert_eq!(metrics.count("guard_feed_bans{feed=\"test\"}"), wanted);
    assert_eq!(
        metrics.count("guard_feed_refused_entries{feed=\"test\",because=\"rubbish\"}"),
        u64::from(ENTRIES / 10)
    );
}
