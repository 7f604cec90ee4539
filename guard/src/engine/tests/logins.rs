//! What logins change, and what they do not.

use super::*;

#[test]
fn a_key_login_clears_the_score_and_a_password_login_does_not() {
    let mut scene = Scene::new();
    for _ in 0..4 {
        scene.fail(ATTACKER);
    }
    assert_eq!(scene.see(line(ATTACKER, Kind::PasswordLogin, 5)), None);
    assert_eq!(scene.score(ATTACKER), 4.0);
    let login = Sighting { port: 4711, ..line(ATTACKER, Kind::KeyLogin, 6) };
    let address: IpAddr = ATTACKER.parse().unwrap();
    assert_eq!(scene.see(login), Some(Decision::KeyLogin { address, port: 4711, at: scene.now }));
    assert_eq!(scene.score(ATTACKER), 0.0);
    let end = Sighting { port: 4711, ..line(ATTACKER, Kind::SessionEnd, 6) };
    assert_eq!(scene.see(end), Some(Decision::SessionEnd { address, port: 4711 }));
}

#[test]
fn a_key_and_then_another_method_are_a_key_login() {
    let mut scene = Scene::new();
    scene.fail(ATTACKER);
    let key = Sighting { port: 4711, ..line(ATTACKER, Kind::PartialKey, 6) };
    let login = Sighting { kind: Kind::PasswordLogin, ..key };
    let address: IpAddr = ATTACKER.parse().unwrap();
    assert_eq!(scene.see(key), None);
    assert_eq!(scene.score(ATTACKER), 1.0, "the key alone says nothing");
    scene.wait(MINUTE);
    assert_eq!(scene.see(login), Some(Decision::KeyLogin { address, port: 4711, at: scene.now }));
    assert_eq!(scene.score(ATTACKER), 0.0);
    assert_eq!(scene.see(login), None, "the key counts for one login");
}

#[test]
fn a_key_and_a_login_of_another_connection_are_no_key_login() {
    let key = Sighting { port: 4711, ..line(ATTACKER, Kind::PartialKey, 6) };
    let login = Sighting { kind: Kind::PasswordLogin, ..key };
    let other = "203.0.113.8".parse().unwrap();
    for (key, login) in [
        (key, Sighting { port: 4712, ..login }),
        (key, Sighting { pid: 7, ..login }),
        (key, Sighting { address: other, ..login }),
        (Sighting { pid: 0, ..key }, Sighting { pid: 0, ..login }),
        (Sighting { port: 0, ..key }, Sighting { port: 0, ..login }),
    ] {
        let mut scene = Scene::new();
        assert_eq!((scene.see(key), scene.see(login)), (None, None), "{login:?}");
    }
    let mut scene = Scene::new();
    scene.engine.observe(&key, FILE, scene.now, scene.now);
    assert_eq!(scene.see(login), None, "a forged line of a file helps no login of the journal");
    scene.see(key);
    scene.wait(HOUR);
    assert_eq!(scene.see(login), None, "too late");
}

#[test]
fn who_offers_key_after_key_pushes_out_the_oldest() {
    let mut scene = Scene::new();
    let key = |pid| Sighting { port: 4711, ..line(ATTACKER, Kind::PartialKey, pid) };
    for pid in 1..=2000 {
        scene.see(key(pid));
    }
    let mut login = |pid| scene.see(Sighting { kind: Kind::PasswordLogin, ..key(pid) });
    assert_eq!(login(1), None);
    assert!(login(2000).is_some());
}

#[test]
fn an_old_key_login_is_told_but_clears_nothing() {
    let mut scene = Scene::new();
    scene.at(HOUR).fail(ATTACKER);
    let at = Moment(0);
    let told = scene.engine.observe(&line(ATTACKER, Kind::KeyLogin, 6), JOURNAL, at, scene.now);
    assert!(matches!(told, Some(Decision::KeyLogin { at: Moment(0), .. })));
    assert_eq!(scene.score(ATTACKER), 1.0);
}

#[test]
fn a_shared_address_with_good_logins_and_one_offender_under_the_threshold_is_not_banned() {
    let mut scene = Scene::new();
    for minute in 0..24 * 60 {
        scene.at(minute * MINUTE);
        if minute % 5 == 0 {
            scene.see(line(ATTACKER, Kind::KeyLogin, 9));
        }
        assert!(!matches!(scene.wait(SECOND).fail(ATTACKER), Some(Decision::Ban(_))), "minute {minute}");
    }
}
