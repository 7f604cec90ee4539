//! The lines of one attempt count once.

use super::*;

#[test]
fn lines_of_one_attempt_count_once() {
    let mut scene = Scene::new();
    for kind in [Kind::InvalidUser, Kind::FailedAuth, Kind::FailedPassword, Kind::PreauthClose] {
        scene.wait(SECOND).see(line(ATTACKER, kind, 42));
    }
    assert_eq!(scene.score(ATTACKER), 1.0);
    assert_eq!(scene.engine.count().joined, 3);
}

#[test]
fn a_joined_line_adds_what_the_earlier_ones_did_not_give() {
    let mut scene = Scene::new();
    scene.see(line(ATTACKER, Kind::PreauthClose, 42));
    assert_eq!(scene.score(ATTACKER), 0.2);
    scene.see(line(ATTACKER, Kind::InvalidUser, 42));
    assert_eq!(scene.score(ATTACKER), 1.0);
}

#[test]
fn six_failed_passwords_on_one_connection_are_six() {
    let mut scene = Scene::with(|d| d.threshold = Points(6001));
    for _ in 0..6 {
        scene.wait(SECOND).see(line(ATTACKER, Kind::FailedAuth, 42));
        scene.wait(SECOND).see(line(ATTACKER, Kind::FailedPassword, 42));
    }
    scene.see(line(ATTACKER, Kind::TooManyAttempts, 42));
    assert_eq!(scene.score(ATTACKER), 6.0);
}

#[test]
fn what_never_joins() {
    let score = |first: Sighting<'static>, wait: i64, second: Sighting<'static>| {
        let mut scene = Scene::new();
        scene.see(first);
        scene.wait(wait).see(second);
        scene.score(ATTACKER)
    };
    let (a, b) = (Kind::FailedPassword, Kind::InvalidUser);
    let port = |port, s: Sighting<'static>| Sighting { port, ..s };
    let (first, second) = (line(ATTACKER, a, 42), line(ATTACKER, b, 42));
    assert_eq!(score(first, SECOND, second), 1.0);
    assert_eq!(score(line(ATTACKER, a, 0), SECOND, line(ATTACKER, b, 0)), 2.0, "unknown process");
    assert_eq!(score(first, SECOND, line(ATTACKER, b, 43)), 2.0, "other process");
    assert_eq!(score(port(1, first), SECOND, port(2, second)), 2.0, "other port");
    assert_eq!(score(port(1, first), SECOND, port(1, second)), 1.0, "same port");
    assert_eq!(score(port(1, first), SECOND, second), 1.0, "port not known");
    assert_eq!(score(first, 2 * MINUTE - 1, second), 1.0, "within two minutes");
    assert_eq!(score(first, 2 * MINUTE + 1, second), 1.0, "after two minutes the first point has leaked");
    let mut scene = Scene::with(|d| d.window = Duration::from_secs(6000));
    scene.see(first);
    scene.wait(2 * MINUTE + 1).see(second);
    assert_eq!(scene.score(ATTACKER), 2.0, "after two minutes");
    scene.see(line("203.0.113.8", b, 42));
    assert_eq!(scene.score("203.0.113.8"), 1.0, "other address");
}

#[test]
fn the_same_log_through_two_sources_counts_once() {
    let log =
        [(Kind::InvalidUser, 1), (Kind::FailedAuth, 1), (Kind::FailedPassword, 1), (Kind::FailedAuth, 1)];
    let log = log.into_iter().chain([(Kind::FailedPassword, 1), (Kind::FailedPassword, 2)]);
    let lines: Vec<_> = log.map(|(kind, pid)| line(ATTACKER, kind, pid)).collect();
    let run = |order: &[(SourceId, usize)]| {
        let mut scene = Scene::new();
        for (via, i) in order {
            let now = scene.now;
            scene.engine.observe(&lines[*i], *via, Moment(*i as i64), now + Duration::from_secs(10));
        }
        scene.engine.score(ATTACKER.parse().unwrap(), Moment(SECOND)).as_f64()
    };
    let journal: Vec<_> = (0..lines.len()).map(|i| (JOURNAL, i)).collect();
    let file: Vec<_> = (0..lines.len()).map(|i| (FILE, i)).collect();
    let alternating: Vec<_> = journal.iter().zip(&file).flat_map(|(a, b)| [*a, *b]).collect();
    assert_eq!(run(&journal), 3.0);
    assert_eq!(run(&[journal.clone(), file.clone()].concat()), 3.0);
    assert_eq!(run(&[file, journal].concat()), 3.0);
    assert_eq!(run(&alternating), 3.0);
}
