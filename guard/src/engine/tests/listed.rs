//! Who is on a feed's list starts with points.

use super::*;
use crate::feed::List;

fn list(targets: &[&str]) -> std::sync::Arc<List> {
    std::sync::Arc::new(targets.iter().map(|text| target(text)).collect())
}

#[test]
fn who_is_listed_is_banned_sooner_and_the_list_alone_bans_nobody() {
    let mut scene = Scene::new();
    scene.engine.set_listed(vec![
        (list(&["203.0.113.0/24", "2001:db8::/32"]), Points(2000)),
        (list(&[ATTACKER]), Points(3000)),
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
    scene.wait(HOUR).fail(ATTACKER);
    assert_eq!(scene.score(ATTACKER), 4.0, "what has leaked away starts anew");
    scene.engine.set_listed(Vec::new());
    scene.wait(HOUR).fail(ATTACKER);
    assert_eq!(scene.score(ATTACKER), 1.0);
}
