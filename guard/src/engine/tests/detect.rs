//! What no score tells.

use super::*;
use crate::config::Adapt;
use crate::engine::{BanOrder, Trouble};

const OWNER: &str = "198.51.100.10";

impl Scene {
    /// The troubles that were told of.
    fn troubles(&mut self) -> Vec<Trouble> {
        let told = |decision| match decision {
            Decision::Incident(incident) => Some(incident.trouble),
            _ => None,
        };
        self.further().into_iter().filter_map(told).collect()
    }

    /// Bans a host, and has that stand.
    fn ban(&mut self, address: &str) -> BanOrder {
        let order =
            std::iter::repeat_with(|| self.fail(address)).take(5).find_map(|decision| match decision {
                Some(Decision::Ban(order)) => Some(order),
                _ => None,
            });
        let order = order.expect("not banned");
        self.engine.stands(&order, self.now);
        order
    }

    fn login(&mut self, address: &str, kind: Kind) -> Option<Decision> {
        self.login_to(address, "anna", kind)
    }

    fn login_to(&mut self, address: &str, account: &'static str, kind: Kind) -> Option<Decision> {
        self.see(Sighting { account: Some(account.as_bytes()), ..line(address, kind, 7) })
    }
}

fn prefixes(decisions: &[Decision]) -> Vec<String> {
    let prefix = |decision: &Decision| match decision {
        Decision::Ban(order) => Some(order.target.to_string()),
        _ => None,
    };
    decisions.iter().filter_map(prefix).collect()
}

#[test]
fn a_known_offender_starts_closer_to_the_threshold() {
    let mut scene = Scene::new();
    let needed: Vec<u32> = (0..5)
        .map(|_| {
            let failures = (1..10).find(|_| scene.fail(ATTACKER).is_some()).unwrap();
            scene.engine.lifted(target(ATTACKER));
            scene.wait(DAY);
            failures
        })
        .collect();
    assert_eq!(needed, [5, 4, 3, 2, 2]);
}

#[test]
fn who_shares_an_address_with_a_known_offender_is_not_punished_for_it() {
    let mut scene = Scene::new();
    scene.ban(ATTACKER);
    scene.engine.lifted(target(ATTACKER));
    scene.login(ATTACKER, Kind::PasswordLogin);
    assert!((0..4).all(|_| scene.fail(ATTACKER).is_none()), "somebody logs in from there");
    assert!(scene.fail(ATTACKER).is_some());
}

#[test]
fn a_busy_minute_lowers_the_threshold_where_that_is_wanted() {
    for (adapt, needed, length) in [(Adapt::Off, 5, HOUR), (Adapt::Stricter, 3, 2 * HOUR)] {
        let mut scene = Scene::with(|d| d.adapt = adapt);
        for host in 0..20 {
            scene.fail(&format!("192.0.{host}.1"));
        }
        let order = (1..10).find_map(|n| Some((n, scene.fail(ATTACKER)?)));
        let Some((failures, Decision::Ban(order))) = order else { panic!("not banned") };
        assert_eq!((failures, order.until.unwrap().0 - order.since.0), (needed, length), "{adapt:?}");
    }
}

#[test]
fn one_guess_each_ten_minutes_is_seen() {
    let mut scene = Scene::new();
    for guess in 0..24 {
        assert_eq!(
            scene.at(guess * 10 * MINUTE).fail_at(ATTACKER, "anna"),
            None,
            "a robot may have an old password"
        );
    }
    let troubles = scene.troubles();
    let guesses = |n| Trouble::SlowGuessing { guesses: n };
    assert_eq!(troubles, [4, 10, 16].map(guesses), "as their number passes powers of two");
}

#[test]
fn slow_guesses_at_several_accounts_are_a_ban() {
    let mut scene = Scene::new();
    let accounts = ["root", "admin", "anna", "test", "oracle", "git", "ubuntu", "bert"];
    let decisions: Vec<_> = (0..16)
        .filter_map(|i| scene.at(i as i64 * 11 * MINUTE).fail_at(ATTACKER, accounts[i % accounts.len()]))
        .collect();
    let [Decision::Ban(order), ..] = &decisions[..] else { panic!("{decisions:?}") };
    assert_eq!((order.cause, order.until), (Cause::Slow, Some(order.since + Duration::from_secs(3600))));
}

#[test]
fn slow_guesses_are_no_ban_where_no_login_is_ever_read() {
    let accounts = ["root", "admin", "anna", "test", "oracle", "git", "ubuntu", "bert"];
    let mut office = Scene::new();
    for i in 0..200 {
        office.wait(30 * MINUTE);
        let pattern = PatternId { filter: 1, pattern: 0 };
        let account = Some(accounts[i % accounts.len()].as_bytes());
        let s = Sighting { pattern, account, ..line(ATTACKER, Kind::FailedPassword, 0) };
        assert_eq!(office.see(s), None, "guess {i}: of a web server nobody knows who was let in");
    }
    assert!(office.troubles().iter().any(|told| matches!(told, Trouble::SlowGuessing { .. })));
}

#[test]
fn two_jobs_with_old_passwords_are_no_ban() {
    let mut jobs = Scene::new();
    for i in 0..200 {
        let banned = jobs.wait(11 * MINUTE).fail_at(ATTACKER, ["backup", "deploy"][i % 2]);
        assert_eq!(banned, None, "guess {i}");
    }
}

#[test]
fn a_mistake_a_day_never_adds_up_and_a_ban_answers_those_before_it() {
    let accounts = ["root", "admin", "anna", "test", "oracle", "git", "ubuntu", "bert"];
    let mut office = Scene::new();
    for day in 0..60 {
        for mistake in 0..2 {
            let at = day * DAY + mistake * 5 * HOUR;
            assert_eq!(office.at(at).fail_at(ATTACKER, accounts[(day % 8) as usize]), None, "day {day}");
        }
    }
    office.login(ATTACKER, Kind::PasswordLogin);
    assert!(!office.troubles().iter().any(|t| matches!(t, Trouble::SuccessAfterFailures { .. })));

    let mut slow = Scene::new();
    let bans: Vec<usize> = (0..40)
        .filter(|i| {
            let banned = slow.wait(11 * MINUTE).fail_at(ATTACKER, accounts[i % 8]).is_some();
            slow.engine.lifted(target(ATTACKER));
            banned
        })
        .collect();
    assert!(bans.windows(2).all(|pair| pair[1] - pair[0] >= 10) && bans.len() >= 2, "{bans:?}");
}

#[test]
fn what_one_service_says_of_an_account_is_not_said_of_anothers() {
    let mut scene = Scene::new();
    let web = Sighting {
        account: Some(b"anna"),
        pattern: PatternId { filter: 3, pattern: 0 },
        ..line("198.51.100.1", Kind::InvalidUser, 1)
    };
    scene.see(web);
    for host in 0..30 {
        scene.wait(2 * SECOND).fail_at(&format!("192.0.2.{host}"), "anna");
    }
    assert_eq!(scene.troubles(), [Trouble::AccountUnderAttack { addresses: 20 }]);

    // It was made later, as a login shows.
    let mut scene = Scene::new();
    scene.see(Sighting { account: Some(b"anna"), ..line("198.51.100.1", Kind::InvalidUser, 1) });
    scene.see(Sighting { account: Some(b"anna"), ..line("198.51.100.2", Kind::PasswordLogin, 2) });
    for host in 0..30 {
        scene.wait(2 * SECOND).fail_at(&format!("192.0.2.{host}"), "anna");
    }
    assert_eq!(scene.troubles(), [Trouble::AccountUnderAttack { addresses: 20 }]);
}

#[test]
fn many_accounts_from_one_address_are_a_ban_unless_more_log_in_from_there() {
    let accounts = ["anna", "bert", "carl", "dora", "emil", "fritz"];
    let spray = |scene: &mut Scene| {
        accounts.iter().filter_map(|account| scene.wait(49 * SECOND).fail_at(ATTACKER, account)).last()
    };
    let mut scene = Scene::new();
    let Some(Decision::Ban(order)) = spray(&mut scene) else { panic!("not banned") };
    assert_eq!(order.cause, Cause::Accounts(6));

    let mut customer = Scene::new();
    customer.login_to(ATTACKER, "mallory", Kind::PasswordLogin);
    assert!(matches!(spray(&mut customer), Some(Decision::Ban(_))), "his own account earns no trust");

    let mut office = Scene::new();
    for account in &accounts[..4] {
        office.login_to(ATTACKER, account, Kind::PasswordLogin);
    }
    let mut owner = Scene::new();
    owner.login_to(ATTACKER, "owner", Kind::KeyLogin);
    for shared in [&mut office, &mut owner] {
        assert_eq!(spray(shared), None);
        assert_eq!(shared.troubles(), [Trouble::ManyAccounts { accounts: 6 }]);
    }
}

#[test]
fn a_login_a_day_to_an_account_of_his_own_hides_no_slow_guesser_and_an_office_is_no_such() {
    let accounts = ["root", "admin", "anna", "test", "oracle", "git", "ubuntu", "bert"];
    let days = |own: &[&'static str]| {
        let mut scene = Scene::new();
        (0..3 * 130).any(|i| {
            scene.wait(11 * MINUTE);
            if i % 130 == 0 {
                for account in own {
                    scene.login_to(ATTACKER, account, Kind::PasswordLogin);
                }
            }
            scene.fail_at(ATTACKER, accounts[i % 8]).is_some()
        })
    };
    assert!(days(&["mallory"]), "a guesser");
    assert!(!days(&accounts), "people who mistype their own passwords");
}

#[test]
fn one_guess_from_each_of_many_hosts_at_one_account_is_seen_once() {
    let mut scene = Scene::new();
    for host in 0..1000 {
        scene.wait(2 * SECOND);
        assert_eq!(scene.fail_at(&format!("192.0.{}.{}", host / 250, host % 250), "anna"), None);
    }
    assert_eq!(scene.troubles(), [Trouble::AccountUnderAttack { addresses: 20 }]);

    let mut nobody = Scene::new();
    for host in 0..100 {
        let address = format!("192.0.2.{host}");
        nobody.see(Sighting { account: Some(b"nobody"), ..line(&address, Kind::InvalidUser, host + 1) });
    }
    assert_eq!(nobody.troubles(), [], "nobody can get into an account that is not there");
}

#[test]
fn a_right_password_after_many_wrong_ones_is_critical() {
    let mut scene = Scene::new();
    for _ in 0..6 {
        scene.wait(3 * MINUTE).fail_at(ATTACKER, "anna");
    }
    scene.login(ATTACKER, Kind::PasswordLogin);
    let troubles = scene.troubles();
    assert_eq!(troubles[0], Trouble::SlowGuessing { guesses: 4 }, "slower than points leak");
    assert_eq!(troubles[1..], [Trouble::SuccessAfterFailures { guesses: 6, addresses: 1 }]);

    let mut customer = Scene::new();
    customer.login_to(ATTACKER, "mallory", Kind::PasswordLogin);
    for _ in 0..6 {
        customer.wait(3 * MINUTE).fail_at(ATTACKER, "anna");
    }
    customer.login(ATTACKER, Kind::PasswordLogin);
    let critical = Trouble::SuccessAfterFailures { guesses: 6, addresses: 1 };
    assert!(customer.troubles().contains(&critical), "whoever has an account of his own");
    let mut fast = Scene::new();
    for _ in 0..4 {
        fast.wait(SECOND).fail_at(ATTACKER, "anna");
    }
    fast.login(ATTACKER, Kind::PasswordLogin);
    assert_eq!(
        fast.troubles(),
        [Trouble::SuccessAfterFailures { guesses: 4, addresses: 1 }],
        "no ban before"
    );

    let mut patient = Scene::with(|d| d.threshold = Points(20_000));
    for guesses in 1..=6 {
        assert_eq!(patient.troubles(), [], "{guesses}");
        patient.wait(SECOND).fail_at(ATTACKER, "anna");
    }
    patient.login(ATTACKER, Kind::PasswordLogin);
    assert_eq!(patient.troubles(), [Trouble::SuccessAfterFailures { guesses: 6, addresses: 1 }]);

    let mut honest = Scene::with(|d| d.threshold = Points(3000));
    for _ in 0..2 {
        honest.wait(SECOND).fail_at(OWNER, "anna");
    }
    honest.login(OWNER, Kind::PasswordLogin);
    assert_eq!(honest.troubles(), [], "who has not forgotten a password twice?");

    let mut honest = Scene::new();
    for _ in 0..3 {
        honest.wait(SECOND).fail_at(OWNER, "anna");
    }
    honest.login(OWNER, Kind::PasswordLogin);
    assert_eq!(honest.troubles(), [], "who has not forgotten a password three times?");
}

#[test]
fn a_guess_that_hits_while_many_try_the_account_is_critical() {
    let mut scene = Scene::new();
    for host in 0..30 {
        scene.wait(SECOND).fail_at(&format!("192.0.2.{host}"), "anna");
    }
    for _ in 0..2 {
        scene.fail_at(ATTACKER, "anna");
    }
    scene.login(ATTACKER, Kind::PasswordLogin);
    let troubles = scene.troubles();
    assert_eq!(troubles.last(), Some(&Trouble::SuccessAfterFailures { guesses: 2, addresses: 31 }));
}

#[test]
fn ten_banned_hosts_of_a_prefix_ban_it_for_a_day() {
    let mut scene = Scene::new();
    for host in 0..9 {
        scene.wait(30 * SECOND).ban(&format!("203.0.113.{host}"));
        assert_eq!(scene.further(), []);
    }
    scene.ban("203.0.113.9");
    let [Decision::Ban(order)] = &scene.further()[..] else { panic!("not one") };
    assert_eq!((order.target, order.cause), (target("203.0.113.0/24"), Cause::Banned(10)));
    assert_eq!(order.until, Some(scene.now + Duration::from_secs(86_400)));
}

#[test]
fn hosts_of_other_prefixes_and_of_long_ago_do_not_count() {
    let mut scene = Scene::new();
    for host in 0..40 {
        scene.wait(70 * SECOND).ban(&format!("203.0.{}.{host}", host % 2));
    }
    assert_eq!(prefixes(&scene.further()), [] as [&str; 0], "five of each within ten minutes");
}

#[test]
fn a_prefix_that_somebody_logs_in_from_is_spared() {
    let mut scene = Scene::new();
    scene.login("203.0.113.200", Kind::PasswordLogin);
    for host in 0..10 {
        scene.ban(&format!("203.0.113.{host}"));
    }
    let spared =
        Decision::Spared { target: target("203.0.113.0/24"), login: "203.0.113.200".parse().unwrap() };
    assert_eq!(scene.further(), [spared]);
    assert_eq!(scene.engine.count().spared, 1);
}

#[test]
fn who_moves_about_in_a_64_is_banned_with_it_and_wider_ones_follow() {
    let mut scene = Scene::with(|d| d.storm_bans = 0);
    let mut ordered = Vec::new();
    for net in 0..16 {
        for host in 0..20 {
            scene.wait(SECOND).fail(&format!("2001:db8:0:{net:x}0{net:x}::{host:x}"));
            for decision in scene.further() {
                let Decision::Ban(order) = decision else { panic!("{decision:?}") };
                scene.engine.stands(&order, scene.now);
                ordered.push(order.target.to_string());
            }
        }
    }
    ordered.extend(prefixes(&scene.further()));
    assert_eq!(ordered.iter().filter(|prefix| prefix.ends_with("/64")).count(), 16, "{ordered:?}");
    assert!(ordered.iter().all(|prefix| prefix.ends_with("/64")), "no /56 has four: {ordered:?}");

    let mut near = Scene::with(|d| d.storm_bans = 0);
    let mut ordered = Vec::new();
    for net in 0..4 {
        for host in 0..20 {
            near.wait(SECOND).fail(&format!("2001:db8:0:10{net:x}::{host:x}"));
            while let Some(decision) = near.engine.further() {
                let Decision::Ban(order) = decision else { panic!("{decision:?}") };
                near.engine.stands(&order, near.now);
                ordered.push((order.target.to_string(), order.cause));
            }
        }
    }
    assert_eq!(ordered.last(), Some(&("2001:db8:0:100::/56".to_owned(), Cause::Banned(4))));
}

#[test]
fn in_a_storm_hosts_are_banned_and_prefixes_wait_for_its_end() {
    let mut scene = Scene::new();
    for host in 0..20 {
        scene.wait(SECOND).ban(&format!("192.0.{host}.1"));
    }
    assert_eq!(scene.further(), [Decision::StormBegins(Moment(320 * SECOND))]);
    for host in 0..10 {
        scene.wait(SECOND).ban(&format!("203.0.113.{host}"));
    }
    let [Decision::Held(order)] = &scene.further()[..] else { panic!("not held") };
    assert_eq!(order.target, target("203.0.113.0/24"));

    scene.wait(299 * SECOND);
    scene.engine.tick(scene.now);
    assert_eq!(scene.further(), []);
    scene.wait(SECOND);
    scene.engine.tick(scene.now);
    let ended = scene.further();
    assert_eq!(ended[0], Decision::StormEnds { held: 1, unheld: 0 });
    assert_eq!(prefixes(&ended), ["203.0.113.0/24"]);
    assert_eq!(scene.engine.next_tick(), None);
}

#[test]
fn a_prefix_that_cannot_wait_is_counted_on() {
    let mut scene = Scene::with(|d| (d.prefix_hosts, d.storm_bans) = (2, 3));
    let hosts = |net: u32| (0..2).map(move |host| format!("2001:db8:{:x}:{net:x}::{host}", net / 256));
    for net in 0..1030 {
        for host in hosts(net) {
            scene.ban(&host);
        }
    }
    let held = scene.further().into_iter().filter(|decision| matches!(decision, Decision::Held(_))).count();
    let unheld = scene.engine.count().unheld;
    assert!(held == 1024 && unheld > 0, "{held} {unheld}");
    scene.wait(300 * SECOND);
    scene.engine.tick(scene.now);
    assert_eq!(scene.engine.further(), Some(Decision::StormEnds { held: 1024, unheld: unheld as u32 }));
    scene.further();
    scene.ban("2001:db8:4:405::99");
    assert_eq!(prefixes(&scene.further()), ["2001:db8:4:405::/64"], "one more of its hosts");
}

#[test]
fn prefixes_that_have_waited_make_no_storm_and_each_can_be_refused() {
    let mut scene = Scene::with(|d| d.storm_bans = 5);
    for prefix in 0..8 {
        for host in 0..10 {
            scene.ban(&format!("198.18.{prefix}.{host}"));
        }
    }
    scene.further();
    scene.wait(300 * SECOND);
    scene.engine.tick(scene.now);
    let ended = scene.further();
    let orders: Vec<_> = ended
        .iter()
        .filter_map(|decision| match decision {
            Decision::Ban(order) => Some(order.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(orders.len(), 8, "{ended:?}");
    for order in &orders {
        if order.target == target("198.18.2.0/24") {
            scene.engine.refused(order.target);
        } else {
            scene.engine.stands(order, scene.now);
        }
    }
    assert!(!scene.further().iter().any(|decision| matches!(decision, Decision::StormBegins(_))));
    assert_eq!(scene.engine.strikes(target("198.18.2.0/24"), scene.now), 0, "refused");
    assert_eq!(scene.engine.strikes(target("198.18.3.0/24"), scene.now), 1);
    scene.engine.refused(target("198.18.3.0/24"));
    assert_eq!(scene.engine.strikes(target("198.18.3.0/24"), scene.now), 1, "it stands");
}

#[test]
fn four_56_of_a_48_ban_it_and_nothing_wider_follows() {
    let mut scene = Scene::with(|d| d.storm_bans = 0);
    let mut ordered = Vec::new();
    for site in 0..8 {
        for net in 0..16 {
            for host in 0..20 {
                let address = format!("2001:db8:{site:x}:{:x}::{host:x}", ((net / 4) << 8) | (net % 4));
                scene.wait(SECOND).fail(&address);
                while let Some(decision) = scene.engine.further() {
                    let Decision::Ban(order) = decision else { panic!("{decision:?}") };
                    scene.engine.stands(&order, scene.now);
                    ordered.push((order.target, order.cause));
                }
            }
        }
    }
    let of = |length| ordered.iter().filter(|(target, _)| target.length() == length).count();
    assert_eq!((of(64), of(56), of(48), ordered.len()), (128, 32, 8, 168), "{ordered:?}");
    let first = ordered.iter().find(|(target, _)| target.length() == 48);
    assert_eq!(first, Some(&(target("2001:db8::/48"), Cause::Banned(4))));
    let before =
        ordered.iter().take_while(|(target, _)| target.length() > 48).map(|(target, _)| target.length());
    assert_eq!(before.filter(|length| *length == 56).count(), 4, "each of another /56");
}

#[test]
fn who_took_part_in_an_attack_on_an_account_is_known_after_a_restart_too() {
    let mut scene = Scene::new();
    let host = |number: u32| format!("192.0.{}.{}", number / 250, number % 250);
    for number in 0..1000 {
        scene.wait(2 * SECOND).fail_at(&host(number), "anna");
    }
    scene.fail_at(ATTACKER, "root");
    scene.restart();
    let attacks = |scene: &Scene, address: &str| -> Vec<(String, u32)> {
        let attacks = scene.engine.attacks_by(address.parse().unwrap(), scene.now);
        attacks.iter().map(|a| (String::from_utf8_lossy(&a.account).into_owned(), a.addresses)).collect()
    };
    for number in [0, 19, 500, 999] {
        assert_eq!(attacks(&scene, &host(number)), [("anna".to_owned(), 20)], "{number}");
    }
    assert_eq!(attacks(&scene, ATTACKER), []);
    scene.wait(DAY + HOUR);
    assert_eq!(attacks(&scene, &host(999)), [], "long ago");
}
