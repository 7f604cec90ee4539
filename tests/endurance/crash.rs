//! What is known of attackers outlives a crash: nothing is missed, and nothing counts twice.

use std::time::Duration;

use harness::{
    Arena, Daemon, LogFile, Options, attacker_v4, attacker_v6, missing_for_network_tests, skip_if,
};

use super::stored_address;

#[test]
fn a_kill_between_guesses_misses_and_doubles_nothing() {
    skip_if!(missing_for_network_tests());
    let arena = Arena::new();
    let log = LogFile::new();
    let mut daemon = started_before(&arena, &log);
    let mut chance = Chance(0x0067_7561_7264);
    let below = attacker_v4(7);
    for round in 0..6 {
        let attacker = if round % 2 == 0 { attacker_v4(round) } else { attacker_v6(round) };
        let before = 1 + chance.below(4) as u32;
        let wait = Duration::from_millis(chance.below(400));
        log.guesses(attacker, before);
        if round < 4 {
            log.guesses(below, 1);
        }
        std::thread::sleep(wait);
        daemon.kill();
        daemon.start_again();
        assert!(!daemon.drops(attacker), "{before} guesses, killed after {wait:?}\n{}", daemon.log());
        for left in (before..5).rev() {
            log.guesses(attacker, 1);
            if left > before {
                assert!(!daemon.drops(attacker), "{left} more to come");
            }
        }
        daemon.await_drop(attacker);
        let why = daemon.json(&format!("why {attacker}"));
        assert_eq!((&why["strikes"], &why["bans"][0]["strike"]), (&1.into(), &1.into()), "{why}");
        let events = why["events"].as_array().unwrap();
        assert_eq!(events.iter().filter(|event| event["kind"] == "ban").count(), 1, "{why}");
    }
    assert_eq!(daemon.json(&format!("why {below}"))["score"], "4", "each of four guesses counts once");
    assert!(!daemon.drops(below));
}

#[test]
fn kills_at_any_point_ban_each_attacker_once_and_nobody_else() {
    const ATTACKERS: u32 = 240;
    skip_if!(missing_for_network_tests());
    let arena = Arena::new();
    let log = LogFile::new();
    let mut daemon = started_before(&arena, &log);
    let mut chance = Chance(0x7061_7463_6880);
    let failures: Vec<u32> = (0..ATTACKERS).map(|_| 1 + chance.below(14) as u32).collect();
    let mut lines: Vec<u32> =
        (0..ATTACKERS).flat_map(|attacker| vec![attacker; failures[attacker as usize] as usize]).collect();
    for at in (1..lines.len()).rev() {
        lines.swap(at, chance.below(at as u64 + 1) as usize);
    }

    let mut kills = 0;
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let pause = Duration::from_secs(35) / lines.len() as u32;
            for (pid, attacker) in (1..).zip(&lines) {
                log.sshd(
                    pid,
                    &format!("Failed password for root from {} port 9 ssh2", stored_address(*attacker)),
                );
                std::thread::sleep(pause);
            }
        });
        while !writer.is_finished() {
            std::thread::sleep(Duration::from_millis(chance.below(900)));
            daemon.kill();
            kills += 1;
            daemon.spawn_again();
        }
    });
    daemon.await_ready();
    let last = attacker_v4(0);
    log.guesses(last, 5);
    daemon.await_drop(last);
    assert!(kills >= 20, "only {kills} kills");

    for (attacker, failures) in (0..).zip(failures) {
        let address = stored_address(attacker);
        let why = daemon.json(&format!("why {address}"));
        let times = u64::from(failures >= 5);
        let events = why["events"].as_array().unwrap();
        let told = events.iter().filter(|event| event["kind"] == "ban").count() as u64;
        let strikes = why["strikes"].as_u64().unwrap();
        assert_eq!((told, strikes), (times, times), "{failures} failures, {kills} kills: {why}");
        assert_eq!(daemon.drops(address), times == 1, "{failures} failures, {kills} kills: {why}");
        if times == 1 {
            assert_eq!(why["bans"][0]["strike"], 1, "{why}");
        }
    }
}

/// A daemon that follows a log and has kept its place in it: only from then on is what is written meanwhile read after
/// a crash.
fn started_before<'a>(arena: &'a Arena, log: &LogFile) -> Daemon<'a> {
    // Each attacker for himself, though they are neighbours.
    let more = "[decide]\nprefix_hosts = 0\n".to_owned();
    let mut daemon = Daemon::start(&arena.host, Options { more, ..Options::xdp() }.file(log.path()));
    daemon.stop();
    daemon.start_again();
    daemon
}

/// Numbers that follow from a seed (xorshift64, Marsaglia 2003).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
