//! Who is on a feed's list starts with points.

use super::*;
use crate::engine::Suspects;
use crate::feed::List;

fn list(feed: &str, targets: &[&str], points: i32) -> Suspects {
    let list: List = targets.iter().map(|text| target(text)).collect();
    Suspects { feed: feed.into(), list: list.into(), points: Points(points) }
}

#[test]
fn who_is_listed_is_banned_sooner_and_the_list_alone_bans_nobody() {
    let mut scene = Scene::new();
    scene.engine.set_listed(vec![
        list("wide", &["203.0.113.0/24", "2001:db8::/32"], 2000),
        list("sharp", &[ATTACKER], 3000),
    ]);
    assert_eq!(scene.score(ATTACKER), 0.0);
    scene.fail("198.51.100.1");
    assert_eq!(scene.score("198.51.100.1"), 1.0);
    for _ in 0..2 {
        scene.fail("2001:db8::7");
    }
    assert_eq!(scene.score("2001:db8::7"), 4.0, "they count once");
    scene.fail(ATTACKER);
    assert_eq!(scene.score(ATTACKER), 4.0, "of two lists the one that gives more");
    let listed = |scene: &Scene, address: &str| -> Vec<_> {
        scene.engine.evidence(address.parse().unwrap()).into_iter().map(|line| line.listed).collect()
    };
    assert_eq!(listed(&scene, ATTACKER), [Some(("sharp".into(), Points(3000)))]);
    assert_eq!(listed(&scene, "2001:db8::7"), [Some(("wide".into(), Points(2000))), None]);
    scene.wait(HOUR).fail(ATTACKER);
    assert_eq!(scene.score(ATTACKER), 4.0, "what has leaked away starts anew");
    scene.engine.set_listed(Vec::new());
    scene.wait(HOUR).fail(ATTACKER);
    assert_eq!(scene.score(ATTACKER), 1.0);
}
