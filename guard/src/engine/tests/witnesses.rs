//! One failed login counts once, however many programs tell of it, and nobody hides much behind that.

use proptest::prelude::*;

use super::*;
use crate::scan::{FilterSet, Mode, Scanner, shipped};
use crate::time::Wall;

const SERVER: u16 = 1;
const HELPER: u16 = 2;

/// A failed login as a program tells of it.
fn told(filter: u16, pid: u32) -> Sighting<'static> {
    Sighting { pattern: PatternId { filter, pattern: 0 }, ..line(ATTACKER, Kind::FailedAuth, pid) }
}

/// The score after lines, each with the milliseconds since the one before it.
fn score(lines: &[(i64, SourceId, Sighting<'_>)]) -> f64 {
    let mut scene = Scene::with(|d| d.window = Duration::from_secs(6000));
    for (wait, via, s) in lines {
        scene.wait(*wait);
        scene.engine.observe(s, *via, scene.now, scene.now);
    }
    scene.score(ATTACKER)
}

#[test]
fn a_login_that_two_programs_tell_of_counts_once_with_the_higher_points() {
    let low = |s: Sighting<'static>| Sighting { points: Points(200), ..s };
    let (server, helper) = (told(SERVER, 10), told(HELPER, 20));
    for (first, second) in [
        (server, helper),
        (helper, server),
        (low(helper), server),
        (server, low(helper)),
        (told(SERVER, 0), helper),
        (helper, told(SERVER, 0)),
    ] {
        assert_eq!(score(&[(0, JOURNAL, first), (3 * SECOND, FILE, second)]), 1.0, "{first:?} {second:?}");
    }
    let mut scene = Scene::new();
    scene.see(server);
    scene.see(helper);
    assert_eq!(scene.engine.count().joined, 1);
}

#[test]
fn lines_read_late_find_the_login_they_are_about() {
    let mut scene = Scene::new();
    scene.at(MINUTE);
    for (via, s) in [(JOURNAL, told(SERVER, 10)), (FILE, told(HELPER, 20))] {
        for at in [10 * SECOND, 20 * SECOND, 30 * SECOND] {
            let s = Sighting { pid: s.pid + at as u32, ..s };
            scene.engine.observe(&s, via, Moment(at), scene.now);
        }
    }
    assert_eq!(scene.score(ATTACKER), 3.0);
}

#[test]
fn each_attempt_has_one_witness() {
    let (a, b) = (|pid| (0, JOURNAL, told(SERVER, pid)), |pid| (0, JOURNAL, told(HELPER, pid)));
    assert_eq!(score(&[a(10), a(11), b(20)]), 2.0);
    assert_eq!(score(&[a(10), b(20), b(21)]), 2.0);
    assert_eq!(score(&[a(10), b(20), a(11), b(21)]), 2.0);
    assert_eq!(score(&[a(10), a(11), b(20), b(21)]), 2.0);
    assert_eq!(score(&[a(10), b(20), (0, JOURNAL, told(3, 30))]), 2.0, "a third program has no say");
}

#[test]
fn what_is_no_witness() {
    let (server, helper) = (told(SERVER, 10), told(HELPER, 20));
    let account =
        |account: &'static str, s: Sighting<'static>| Sighting { account: Some(account.as_bytes()), ..s };
    let both = |first, wait, second| score(&[(0, JOURNAL, first), (wait, JOURNAL, second)]);
    assert_eq!(both(server, 4 * SECOND, helper), 1.0);
    assert_eq!(both(server, 4 * SECOND + 1, helper), 2.0, "too late");
    assert_eq!(both(account("bob", server), 0, account("eve", helper)), 2.0, "another account");
    assert_eq!(both(account("bob", server), 0, account("Bob@example.org", helper)), 1.0, "its domain added");
    assert_eq!(both(account("bob", server), 0, helper), 1.0, "account not told");
    assert_eq!(both(server, 0, told(SERVER, 11)), 2.0, "the same filter");
    for kind in [Kind::Probe, Kind::FailedKey, Kind::Scanner, Kind::Limited] {
        let s = Sighting { kind, points: Points(1000), ..helper };
        assert_eq!(both(server, 0, s), 2.0, "{kind:?} is no login");
    }
    let mut scene = Scene::new();
    scene.see(server);
    scene.see(Sighting { address: "203.0.113.8".parse().unwrap(), ..helper });
    assert_eq!((scene.score(ATTACKER), scene.score("203.0.113.8")), (1.0, 1.0), "another address");
}

#[test]
fn a_service_that_tells_in_two_places_itself_tells_of_one_login() {
    // vsftpd: its own file, without a process, and PAM's line in the journal.
    let file = Sighting { kind: Kind::FailedPassword, ..told(SERVER, 0) };
    let pam = told(SERVER, 10);
    assert_eq!(score(&[(0, JOURNAL, pam), (2 * SECOND, FILE, file)]), 1.0);
    // But two access logs tell of two requests.
    let request = told(SERVER, 0);
    assert_eq!(score(&[(0, JOURNAL, request), (0, FILE, file)]), 2.0);
    assert_eq!(score(&[(0, JOURNAL, request), (0, FILE, request)]), 2.0);
    assert_eq!(score(&[(0, JOURNAL, request), (0, JOURNAL, file)]), 2.0);
}

#[test]
fn a_login_of_which_three_lines_are_written_by_two_programs_counts_once() {
    // dovecot with PAM: the worker's PAM line, the word of the process that asks it, and the login process at the end.
    // The last two come through dovecot's log process.
    let low = |s: Sighting<'static>| Sighting { points: Points(200), ..s };
    let worker = low(told(HELPER, 20));
    let asks = Sighting { kind: Kind::FailedPassword, ..low(told(SERVER, 10)) };
    let login = told(SERVER, 10);
    let attempt = [(0, JOURNAL, worker), (SECOND, JOURNAL, asks), (2 * SECOND, JOURNAL, login)];
    assert_eq!(score(&attempt), 1.0);
    let three: Vec<_> = [attempt; 3].concat();
    assert_eq!(score(&three), 3.0);
    let by_line: Vec<_> = attempt.iter().flat_map(|(_, via, s)| [(0, *via, *s); 3]).collect();
    assert_eq!(score(&by_line), 3.0, "three at once");
}

/// What the lines of a log give, as the shipped filters read them, if nothing leaks.
fn score_of_log(log: &str) -> f64 {
    let names = ["sshd", "vsftpd", "proftpd"];
    let files: Vec<_> = shipped().into_iter().filter(|file| names.contains(&&*file.name)).collect();
    let filters =
        std::sync::Arc::new(FilterSet::compile(&files, Mode::Normal).unwrap().for_syslog().unwrap());
    let mut scanner = Scanner::with_zone(filters, jiff::tz::TimeZone::UTC);
    let mut scene =
        Scene::with(|d| (d.threshold, d.window) = (Points(100_000), Duration::from_secs(1_000_000)));
    for line in log.lines() {
        // The day after all of them.
        if let Some(s) = scanner.line(line.as_bytes(), Wall(1_795_392_000_000)) {
            let at = Moment(s.at.unwrap().0);
            scene.engine.observe(&s, JOURNAL, at, at);
            scene.at(at.0);
        }
    }
    scene.score(ATTACKER)
}

#[test]
fn one_login_through_keyboard_interactive_and_pam_counts_once() {
    // OpenSSH 9.2 with UsePAM and KbdInteractiveAuthentication, LogLevel INFO, observed.
    let known = "\
Nov 21 22:34:37 web1 sshd[18467]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=203.0.113.7  user=root
Nov 21 22:34:40 web1 sshd[18452]: error: PAM: Authentication failure for root from 203.0.113.7
Nov 21 22:34:40 web1 sshd[18452]: Connection closed by authenticating user root 203.0.113.7 port 57938 [preauth]
";
    let unknown = "\
Nov 21 22:34:40 web1 sshd[18537]: Invalid user nosuch from 203.0.113.7 port 57948
Nov 21 22:34:40 web1 sshd[18537]: Postponed keyboard-interactive for invalid user nosuch from 203.0.113.7 port 57948 ssh2 [preauth]
Nov 21 22:34:40 web1 sshd[18539]: pam_unix(sshd:auth): check pass; user unknown
Nov 21 22:34:40 web1 sshd[18539]: pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=203.0.113.7\x20
Nov 21 22:34:42 web1 sshd[18537]: error: PAM: Authentication failure for illegal user nosuch from 203.0.113.7
Nov 21 22:34:42 web1 sshd[18537]: Failed keyboard-interactive/pam for invalid user nosuch from 203.0.113.7 port 57948 ssh2
Nov 21 22:34:42 web1 sshd[18537]: Connection closed by invalid user nosuch 203.0.113.7 port 57948 [preauth]
";
    assert_eq!((score_of_log(known), score_of_log(unknown)), (1.0, 1.0));
    assert_eq!(score_of_log(&[known, unknown].concat()), 2.0);
    // Somebody who thinks before he types, and then another at once.
    let slow = unknown
        .replace("22:34:40 web1 sshd[18539]", "22:35:20 web1 sshd[18539]")
        .replace("22:34:42", "22:35:22");
    assert_eq!(score_of_log(&slow), 1.0);
    let other = slow.replace("18537", "28537").replace("18539", "28539").replace("57948", "57950");
    assert_eq!(score_of_log(&[slow, other].concat()), 2.0);
    // Two connections whose lines take turns.
    let turns = |log: &str| {
        let other = log.replace("sshd[18", "sshd[28").replace("port 57", "port 58");
        let lines = log.lines().zip(other.lines());
        lines.flat_map(|(one, another)| [one, "\n", another, "\n"]).collect::<String>()
    };
    assert_eq!((score_of_log(&turns(known)), score_of_log(&turns(unknown))), (2.0, 2.0));
    // A second password on the same connection: PAM runs in a new process.
    let again: String = unknown
        .lines()
        .filter(|line| !line.contains("Invalid user") && !line.contains("Connection closed"))
        .map(|line| line.replace("18539", "18541").replace("22:34:4", "22:34:5") + "\n")
        .collect();
    assert_eq!(score_of_log(&[unknown, &again].concat()), 2.0);
}

#[test]
fn one_login_of_which_several_modules_of_pam_tell_counts_once() {
    let login = |second: u32, pid: u32, first: bool| {
        let fields = "authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost=203.0.113.7";
        let at =
            |more: u32, text: String| format!("Nov 21 10:00:{:02} web1 sshd[{pid}]: {text}\n", second + more);
        let unix =
            if first { at(0, format!("pam_unix(sshd:auth): {fields}  user=bob")) } else { String::new() };
        let sss = at(1, format!("pam_sss(sshd:auth): {fields} user=bob"));
        let port = 50_000 + pid;
        unix + &sss + &at(3, format!("Failed password for bob from 203.0.113.7 port {port} ssh2"))
    };
    assert_eq!(score_of_log(&login(0, 5, true)), 1.0);
    // pam_unix tells of the first of a connection only.
    let connection = [login(0, 5, true), login(4, 5, false), login(8, 5, false)].concat();
    assert_eq!(score_of_log(&connection), 3.0);
    let (one, another) = (login(0, 5, true), login(0, 6, true));
    let turns: String = one.lines().zip(another.lines()).flat_map(|(a, b)| [a, "\n", b, "\n"]).collect();
    assert_eq!(score_of_log(&turns), 2.0, "two at once");
    let second = [login(4, 5, false), login(4, 6, false)].concat();
    assert_eq!(score_of_log(&[turns, second].concat()), 4.0, "and both try again");
}

#[test]
fn one_login_of_a_program_without_a_process_counts_once() {
    // vsftpd with syslog_enable.
    let login = "\
Nov 21 10:00:00 ftp1 vsftpd: pam_unix(vsftpd:auth): authentication failure; logname= uid=0 euid=0 tty=ftp ruser=bob rhost=203.0.113.7  user=bob
Nov 21 10:00:02 ftp1 vsftpd: [bob] FAIL LOGIN: Client \"203.0.113.7\"
";
    assert_eq!(score_of_log(login), 1.0);
    let (pam, own) = login.split_once('\n').unwrap();
    assert_eq!(score_of_log(&[login, login].concat()), 2.0);
    assert_eq!(score_of_log(&[pam, "\n", pam, "\n", own, own].concat()), 2.0, "two at once");
    assert_eq!(score_of_log(&[own, own].concat()), 2.0);
}

#[test]
fn what_is_pushed_out_counts_on_its_own() {
    let lines: Vec<_> = (0..100).map(|pid| (0, JOURNAL, told(SERVER, 1000 + pid))).collect();
    let late: Vec<_> = (0..100).map(|pid| (0, JOURNAL, told(HELPER, 2000 + pid))).collect();
    let mut scene = Scene::with(|d| d.threshold = Points(i32::MAX));
    for (_, _, s) in lines.iter().chain(&late) {
        scene.see(*s);
    }
    assert_eq!(scene.score(ATTACKER), 192.0, "eight of them are remembered");
}

/// Failed logins of some programs: each has processes of its own, unknown in its file.
fn any_log() -> impl Strategy<Value = Vec<(Sighting<'static>, SourceId, i64)>> {
    let account = prop::sample::select(vec![None, Some("bob"), Some("bob@example.org"), Some("eve")]);
    let kind = prop::sample::select(vec![Kind::FailedPassword, Kind::FailedAuth, Kind::InvalidUser]);
    let one = (1..4u16, 0..4u32, account, kind, prop::sample::select(vec![200, 1000]), 0..6000i64);
    let one = one.prop_map(|(filter, process, account, kind, points, wait)| {
        let (pid, via) = if process == 0 { (0, FILE) } else { (u32::from(filter) * 100 + process, JOURNAL) };
        let account = account.map(str::as_bytes);
        (Sighting { kind, account, points: Points(points), ..told(filter, pid) }, via, wait)
    });
    prop::collection::vec(one, 0..60)
}

proptest! {
    #[test]
    fn nobody_hides_more_than_half_nor_anything_of_one_service(log in any_log()) {
        let points = |chosen: &dyn Fn(&Sighting<'_>, SourceId) -> bool| {
            // So long a window that nothing leaks.
            let window = Duration::from_millis(i64::MAX as u64 / 1000);
            let mut scene = Scene::with(|d| (d.threshold, d.window) = (Points(i32::MAX), window));
            for (s, via, wait) in &log {
                scene.wait(*wait);
                if chosen(s, *via) {
                    scene.engine.observe(s, *via, scene.now, scene.now);
                }
            }
            scene.score(ATTACKER)
        };
        let all = points(&|_, _| true);
        let each: Vec<f64> = (1..4)
            .flat_map(|filter| [(filter, JOURNAL), (filter, FILE)])
            .map(|(filter, via)| points(&move |s, of| s.pattern.filter == filter && of == via))
            .collect();
        let (sum, most) = (each.iter().sum::<f64>(), each.iter().copied().fold(0.0, f64::max));
        prop_assert!(all <= sum + 1e-9 && all * 2.0 >= sum - 1e-9, "{all} of {sum}");
        prop_assert!(all >= most - 1e-9, "{all} of {most}");
    }
}
