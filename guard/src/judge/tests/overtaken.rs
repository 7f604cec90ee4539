//! Prefixes that become allowed over many bans.

use super::*;

const BANS: u32 = 30_000;
/// Bans that are lifted in one turn, at most.
const MOST: usize = 128;

fn ban(address: u32, id: u64) -> Ban {
    Ban {
        id: BanId(id),
        target: Target::host(IpAddr::V4(address.into())),
        since: START.moment,
        until: Some(START.moment + Duration::from_secs(86_400)),
        origin: Origin::Filter("sshd".into()),
        score: Points(5),
        strike: 1,
        reason: "".into(),
    }
}

impl World {
    /// Every second host of 8.0.0.0/8 and 9.0.0.0/8 is banned, as many of each.
    fn full() -> Self {
        let mut world = Self::new(&[]);
        for n in 0..BANS {
            let base = 0x0800_0000 + (n % 2) * 0x0100_0000;
            world.judge.bans.insert(ban(base + n, u64::from(n) + 1));
        }
        world
    }

    fn standing_in(&self, prefix: &str) -> usize {
        let prefix = target(prefix);
        self.judge.bans().iter().filter(|ban| prefix.covers(ban.target.address())).count()
    }

    /// A turn of whoever owns the judge. Answers how many bans were lifted in it.
    fn turn(&mut self, clock: Clock) -> usize {
        let before = self.judge.bans().len();
        self.judge.expire(clock);
        before - self.judge.bans().len()
    }
}

#[test]
fn a_prefix_that_becomes_allowed_lifts_its_bans_in_parts() {
    let mut world = World::full();
    let (prefix, before) = (target("8.0.0.0/8"), world.judge.bans().len());
    let said = world.judge.allow(&[prefix], None, "", 0, START).remove(0).unwrap();
    let lifted = before - world.judge.bans().len();
    assert_eq!(said, format!("allowed; bans lifted so far: {lifted}; more may follow"));
    assert!(world.judge.outcome().changes.contains(&Change::Allow(prefix)), "it passes at once");
    assert!((1..=MOST).contains(&lifted));
    let elsewhere = world.judge.allow(&[target("198.18.0.0/24")], None, "", 0, START).remove(0).unwrap();
    assert_eq!(elsewhere, "allowed; bans that it overlaps, if there are any, are being lifted");
    let mut turns = 0;
    while world.judge.is_lifting() {
        assert_eq!(world.judge.next_due(), Some(OVERDUE), "nobody has to wait for the next tick");
        let lifted = world.turn(after(1));
        assert!(lifted <= MOST, "{lifted} in one turn");
        // What comes meanwhile is refused, or stays.
        world.ban("8.0.0.7", &asker(None, false), after(1)).unwrap_err();
        world.ban(&format!("9.200.0.{}", turns % 200), &asker(None, false), after(1)).unwrap();
        turns += 1;
    }
    assert!(turns > 100, "{turns}");
    assert_eq!(world.standing_in("8.0.0.0/8"), 0);
    assert_eq!(world.standing_in("9.0.0.0/9"), BANS as usize / 2);
    assert_eq!(world.standing_in("9.200.0.0/16"), turns.min(200));
}

#[test]
fn what_is_allowed_meanwhile_is_lifted_too_and_few_bans_are_lifted_at_once() {
    let mut world = World::full();
    world.judge.allow(&[target("8.0.0.0/8")], None, "", 0, START);
    world.turn(after(1));
    world.judge.allow(&[target("9.0.0.0/24")], None, "", 0, after(1));
    while world.judge.is_lifting() {
        world.turn(after(2));
    }
    assert_eq!((world.standing_in("8.0.0.0/8"), world.standing_in("9.0.0.0/24")), (0, 0));
    // Hosts need no walk, and bans around what is allowed go at once.
    world.ban("192.0.2.0/24", &asker(None, false), after(3)).unwrap();
    let said = world.judge.allow(&[target("192.0.2.7"), target("9.0.1.1")], None, "", 0, after(4));
    assert!(!world.judge.is_lifting());
    assert_eq!(said[0].as_ref().unwrap(), "allowed; lifted the ban of 192.0.2.0/24");
    assert_eq!(said[1].as_ref().unwrap(), "allowed; lifted the ban of 9.0.1.1");
}

#[test]
fn no_more_is_forced_inside_an_allowance_than_can_hold() {
    let mut world = World::new(&["10.0.0.0/8"]);
    let mut said = String::new();

    for n in 0..1000u32 {
        // Each makes a /20 into twelve parts.
        let host = Target::host(IpAddr::V4((0x0a00_0000 + (n << 12)).into()));
        let forced = world.judge.ban(host, None, None, &asker(None, true), START);
        match forced {
            Ok(_) => *world.judge.outcome() = Outcome::default(),
            Err(why) => {
                said = why;
                break;
            }
        }
    }
    assert!(said.contains("so many bans are forced inside 10.0.0.0/8"), "{said}");
    assert!(world.judge.allowed.len() > 4000, "those before hold");
    assert_eq!(world.judge.protection().unheld(START.moment), None);
    // An allowance that comes later is not known when a ban is forced: then it is told.
    let mut protection = Protection::new(&Allow::default(), START);
    for n in 0..6000u32 {
        protection.force(Target::host(IpAddr::V4((0x0800_0000 + n * 2).into())));
    }
    assert_eq!(protection.unheld(START.moment), None);
    protection.allow_runtime(target("8.0.0.0/8"), None, "");
    let told = protection.unheld(START.moment).unwrap();
    assert!(told.starts_with("8.0.0.0/8 is allowed and so many bans are forced inside it"), "{told}");
}
