//! Rules and the engine, with the protections behind both.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::config::{self, Config};
use crate::judge::Voucher;
use crate::protect::Protection;
use crate::scan::{FilterSet, Mode};
use crate::sighting::{Kind, PatternId, SourceId};
use crate::store::{Snapshot, Write};
use crate::time::{Moment, Wall};

const ATTACKER: &str = "203.0.113.7";

/// A judge, and what has come of what it judged.
struct Court {
    judge: Judge,
    now: Clock,
    events: Vec<(String, Value)>,
    sshd: u16,
}

impl Court {
    fn new(rules: &str) -> Self {
        let config = config::parse("[decide]\njitter = 0\n", Path::new("guard.toml")).unwrap();
        Self::with(&config, rules)
    }

    fn with(config: &Config, rules: &str) -> Self {
        let filters = Arc::new(FilterSet::shipped(Mode::Normal).unwrap().without_services());
        let now = Clock { wall: Wall(1_795_132_800_000), moment: Moment(1_000_000) };
        let sshd = filters.numbers(&["sshd".into()])[0];
        let protection = Protection::new(&config.allow, now);
        let mut judge = Judge::new(config, filters, protection, &Snapshot::default(), 7, now);
        judge.set_rules(RuleSet::compile(rules, Path::new("rules.toml")).unwrap());
        Self { judge, now, events: Vec::new(), sshd }
    }

    /// A sighting, a second after the last one. Answers whether somebody was banned.
    fn see(&mut self, address: &str, kind: Kind, account: &str) -> bool {
        self.now.wall.0 += 1000;
        self.now.moment.0 += 1000;
        let line = format!("Something about {account}\x1b from {address}");
        let sighting = Sighting {
            at: Some(self.now.wall),
            address: address.parse().unwrap(),
            kind,
            points: kind.default_points(),
            pattern: PatternId { filter: self.sshd, pattern: 0 },
            pid: (self.now.wall.0 / 1000 % 10_000) as u32,
            port: 4711,
            account: Some(account.as_bytes()),
            service: b"sshd",
            request: None,
            line: line.as_bytes(),
        };
        let banned = self.judge.sighting(&sighting, SourceId(0), Voucher::Kernel, self.now);
        for write in self.judge.outcome().writes.drain(..) {
            if let Write::Event(event) = write {
                self.events.push((event.kind, serde_json::from_str(&event.detail).unwrap()));
            }
        }
        banned
    }

    /// Lets time pass, and bans with it.
    fn wait(&mut self, time: Duration) {
        self.now.wall.0 += time.as_millis() as i64;
        self.now.moment.0 += time.as_millis() as i64;
        self.judge.expire(self.now);
    }

    fn guess(&mut self, account: &str) -> bool {
        self.see(ATTACKER, Kind::FailedPassword, account)
    }

    fn score(&self) -> f64 {
        self.judge.engine().score(ATTACKER.parse().unwrap(), self.now.moment).as_f64()
    }

    fn kinds(&self) -> Vec<&str> {
        self.events.iter().map(|(kind, _)| kind.as_str()).collect()
    }
}

fn rule(keys: &str) -> String {
    format!("[[rule]]\nname = 'one'\n{keys}\n")
}

#[test]
fn a_rule_bans_at_once_for_its_own_time() {
    let mut court =
        Court::new(&rule("when = { user = 'oracle' }\nthen = { ban = '2d', tag = ['decoy', 'db'] }"));
    assert!(!court.guess("root") && court.guess("oracle"));
    let ban = court.judge.bans().get(ATTACKER.parse().unwrap()).unwrap().to_ban();
    assert_eq!(ban.until, Some(court.now.moment + Duration::from_secs(2 * 86_400)));
    assert_eq!((ban.origin, &*ban.reason, ban.strike), (Origin::Rule("one".into()), "rule one", 1));
    assert_eq!(court.judge.count().bans_by_rule["rule:one"], 1);
    let (kind, detail) = &court.events[0];
    assert_eq!(
        (kind.as_str(), &detail["rule"], &detail["tags"]),
        ("ban", &json!("one"), &json!(["db", "decoy"]))
    );
    assert_eq!(
        detail["lines"].as_array().unwrap().len(),
        2,
        "what led to it, the last line included: {detail}"
    );
    assert!(detail["lines"][1]["line"].as_str().unwrap().contains("oracle\\x1b"), "{detail}");

    for _ in 0..20 {
        assert!(!court.guess("oracle") && !court.guess("root"), "it stands until its end");
    }
    assert_eq!(court.events.len(), 1);
    assert_eq!(court.judge.engine().count().orders, 0, "the engine orders no second one");
    assert_eq!(
        court.judge.engine().strikes(ATTACKER.parse().unwrap(), court.now.moment),
        1,
        "it is a strike, and one only"
    );
}

#[test]
fn a_rule_lengthens_a_shorter_ban_and_leaves_a_longer_one() {
    let mut court = Court::new(&rule("when = { user = 'oracle' }\nthen = { ban = '2d' }"));
    for _ in 0..5 {
        court.guess("root");
    }
    let until = |court: &Court| court.judge.bans().get(ATTACKER.parse().unwrap()).unwrap().until;
    let first = until(&court).unwrap();
    assert!(court.guess("oracle"));
    assert!(until(&court).unwrap() > first);
    let mut court = Court::new(&rule("when = { user = 'oracle' }\nthen = { ban = '10m' }"));
    for _ in 0..5 {
        court.guess("root");
    }
    let first = until(&court);
    assert!(!court.guess("oracle"));
    assert_eq!((until(&court), court.kinds()), (first, vec!["ban"]));
}

/// How long the ban of the attacker lasts, and which strike it is.
fn sentence(court: &Court) -> (Option<Duration>, u32) {
    let ban = court.judge.bans().get(ATTACKER.parse().unwrap()).unwrap();
    (ban.until.map(|until| until.since(ban.since)), ban.strike)
}

const HOUR: Duration = Duration::from_secs(3600);
const WEEK: Duration = Duration::from_secs(7 * 86_400);

#[test]
fn a_rule_without_a_length_follows_the_ladder() {
    let mut court = Court::new(&rule("when = { user = 'oracle' }\nthen = { ban = true }"));
    assert!(court.guess("oracle"));
    assert_eq!(sentence(&court), (Some(HOUR), 1));
    assert!(!court.guess("oracle"), "it stands");
    court.wait(HOUR);
    assert!(court.guess("oracle"));
    assert_eq!(sentence(&court), (Some(24 * HOUR), 2));
    court.wait(24 * HOUR);
    // What the engine decides afterwards is the third.
    while !court.guess("root") {}
    assert_eq!(sentence(&court), (Some(30 * 24 * HOUR), 3));
}

#[test]
fn bans_of_rules_make_a_repeat_offender() {
    let mut court = Court::new(&rule("when = { user = 'oracle' }\nthen = { ban = '10m' }"));
    for strike in 1..=4 {
        assert!(court.guess("oracle"));
        assert_eq!(sentence(&court), (Some(HOUR / 6), strike));
        court.wait(HOUR / 6);
    }
    assert!(court.guess("oracle"));
    assert_eq!(sentence(&court), (Some(WEEK), 5), "the fifth of a day");
    court.wait(WEEK);
    assert!(court.guess("oracle"));
    assert_eq!(sentence(&court), (Some(HOUR / 6), 6), "the first of another day is as the rule says");
}

#[test]
fn a_rule_that_lengthens_a_ban_is_no_second_strike() {
    let mut court = Court::new(&rule("when = { user = 'oracle' }\nthen = { ban = '2d' }"));
    while !court.guess("root") {}
    assert_eq!(sentence(&court).1, 1);
    assert!(court.guess("oracle"));
    let (length, strike) = sentence(&court);
    assert_eq!((length, strike), (Some(48 * HOUR), 1));
    assert_eq!(court.judge.engine().strikes(ATTACKER.parse().unwrap(), court.now.moment), 1);
    assert!(!court.guess("root"), "the engine knows of it");
    // Of no length of its own, it leaves a ban as it is.
    let mut court = Court::new(&rule("when = { user = 'oracle' }\nthen = { ban = true }"));
    while !court.guess("root") {}
    assert!(!court.guess("oracle"));
    assert_eq!(sentence(&court), (Some(HOUR), 1));
}

#[test]
fn hosts_that_rules_ban_count_toward_their_prefix() {
    let mut court = Court::new(&rule("when = { user = 'oracle' }\nthen = { ban = '10m' }"));
    for host in 1..=9 {
        assert!(court.see(&format!("198.51.100.{host}"), Kind::FailedPassword, "oracle"));
        assert!(!court.see(&format!("198.51.100.{host}"), Kind::FailedPassword, "oracle"));
    }
    let prefix = "198.51.100.0/24".parse().unwrap();
    assert!(court.judge.bans().get(prefix).is_none(), "nine different hosts");
    assert!(court.see("198.51.100.10", Kind::FailedPassword, "oracle"));
    let ban = court.judge.bans().get(prefix).unwrap();
    assert_eq!((ban.origin, ban.reason), (&Origin::Prefix, "10 of its hosts were banned within 10m"));
}

#[test]
fn what_is_ignored_gives_no_points() {
    let mut court = Court::new(&rule("when = { user = 'monitor' }\nthen = { ignore = true }"));
    for _ in 0..50 {
        assert!(!court.guess("monitor"));
    }
    assert!(court.score().abs() < f64::EPSILON && court.events.is_empty());
    for _ in 0..5 {
        court.guess("root");
    }
    assert_eq!(court.kinds(), ["ban"]);
}

#[test]
fn points_are_added_or_replaced() {
    let mut court =
        Court::new(&rule("when = { user = 'root' }\nthen = { score = { add = 1.5 }, tag = 'r' }"));
    assert!(!court.guess("root"));
    assert!((court.score() - 2.5).abs() < 0.01, "{}", court.score());
    assert!(court.guess("root"), "a point has leaked, but two of these are enough");
    assert_eq!(
        court.events[0].1["tags"],
        json!(["r"]),
        "the engine's ban carries the tags of the line that tipped it"
    );
    let mut court = Court::new(&rule("then = { score = { set = 0 } }"));
    assert!(!(0..50).any(|_| court.guess("root")));
}

#[test]
fn protections_have_the_last_word_and_a_flood_of_refusals_is_bounded() {
    let mut court = Court::new(&rule("then = { ban = '1h' }"));
    for _ in 0..200 {
        assert!(
            !court.see("127.0.0.1", Kind::FailedPassword, "x")
                && !court.see("192.168.1.1", Kind::InvalidUser, "y")
        );
    }
    assert!(court.judge.bans().is_empty());
    assert_eq!(
        court.kinds(),
        ["refuse"; 4],
        "of each address one by the rule and one by its score in 400 seconds"
    );
    assert!(court.events[0].1["because"].as_str().unwrap().contains("loopback"));
}

#[test]
fn of_refusals_by_the_engine_an_address_has_one_event_in_a_quarter_of_an_hour() {
    let mut court = Court::new(&rule("when = { path = '/never' }\nthen = { ignore = true }"));
    for _ in 0..1000 {
        assert!(!court.see("192.168.1.1", Kind::FailedPassword, "root"));
        court.wait(Duration::from_secs(1));
    }
    let refused = court.judge.count().refused;
    let told = |court: &Court| -> Vec<u64> {
        let times = |detail: &Value| detail["times"].as_u64().unwrap_or(1);
        court.events.iter().filter(|(kind, _)| kind == "refuse").map(|(_, detail)| times(detail)).collect()
    };
    let before = told(&court);
    assert!(before.len() <= 4 && refused > 100, "{before:?} of {refused} in 2000 seconds");
    court.judge.tell_all_repeats(court.now);
    court.see(ATTACKER, Kind::FailedPassword, "root");
    assert_eq!(told(&court).iter().sum::<u64>(), refused, "none is lost, not even at the end");
    assert!(court.events.iter().any(|(_, detail)| detail["filter"] == "sshd" && detail["times"].is_u64()));
}

#[test]
fn a_login_protects_before_a_rule_can_ban() {
    let mut court = Court::new(&rule("then = { ban = '1h', ignore = true }").replace(", ignore = true", ""));
    assert!(!court.see(ATTACKER, Kind::KeyLogin, "owner"), "a key login protects");
    assert!(!court.guess("owner"));
    assert_eq!((court.judge.count().refused, court.kinds()), (2, vec!["refuse"]));
    assert!(court.see("203.0.113.8", Kind::PasswordLogin, "somebody"), "a password earns no trust");
    let mut court = Court::new(&rule("then = { ignore = true }"));
    court.see(ATTACKER, Kind::KeyLogin, "owner");
    let protected = court.judge.protection().refusal(ATTACKER.parse().unwrap(), court.now.moment);
    assert!(protected.is_some(), "who is ignored is protected all the same");
}

#[test]
fn what_can_be_forged_bans_nobody() {
    let mut court = Court::new(&rule("then = { ban = '1h', score = { add = 10 }, notify = true }"));
    assert!(!court.see(ATTACKER, Kind::Spoofable, "x"));
    assert!(court.judge.bans().is_empty() && court.score().abs() < f64::EPSILON);
    assert_eq!(court.kinds(), ["notify"]);
}

#[test]
fn a_simulation_records_and_does_nothing() {
    let mut court =
        Court::new(&rule("then = { ban = '1h', tag = 'x', run = ['/bin/true'] }\nsimulate = true"));
    assert!(!court.guess("root"));
    let (kind, detail) = &court.events[0];
    assert_eq!(kind, "simulate");
    assert_eq!(detail["would"], json!(["ban for 1h", "tag x", "run /bin/true"]));
    assert!(court.judge.bans().is_empty() && court.judge.outcome().orders.is_empty());
    assert!((court.score() - 1.0).abs() < f64::EPSILON);
}

#[test]
fn notices_commands_and_webhooks_get_the_facts() {
    let mut court = Court::new(&rule(
        "then = { notify = 'look', webhook = 'https://a.org/x', run = ['/bin/told', '-v'] }",
    ));
    court.guess("a\u{202e}b");
    let (kind, detail) = &court.events[0];
    assert_eq!(
        (kind.as_str(), &detail["text"], &detail["kind"]),
        ("notify", &json!("look"), &json!("failed-password"))
    );
    let orders = std::mem::take(&mut court.judge.outcome().orders);
    let [posted, order] = &orders[..] else { panic!("{orders:?}") };
    let Task::Post { webhook, document } = &posted.task else { panic!("{posted:?}") };
    let document: Value = serde_json::from_str(document).unwrap();
    assert_eq!(
        (webhook.host(), &document["rule"], &document["address"]),
        ("a.org", &json!("one"), &json!(ATTACKER))
    );
    assert_eq!((&document["user"], &document["path"]), (&json!("a\\u{202e}b"), &Value::Null));
    assert!(document["line"].as_str().unwrap().contains("\\x1b from"), "{document}");
    let Task::Run { command, environment } = &order.task else { panic!("{order:?}") };
    assert_eq!((&*order.rule, command.program.to_str()), ("one", Some("/bin/told")));
    let told =
        |name: &str| environment.iter().find(|(known, _)| *known == name).map(|(_, text)| text.as_str());
    assert_eq!(told("GUARD_ADDRESS"), Some(ATTACKER));
    assert_eq!(
        (told("GUARD_USER"), told("GUARD_SERVICE"), told("GUARD_PATH")),
        (Some("a\\u{202e}b"), Some("sshd"), None)
    );
    assert_eq!((told("GUARD_FILTER"), told("GUARD_POINTS")), (Some("sshd"), Some("1")));
    assert!(told("GUARD_LINE").unwrap().contains("\\x1b from"));
}

#[test]
fn other_rules_take_over_while_bans_stay() {
    let mut court = Court::new(&rule("then = { ban = '1h' }"));
    court.guess("x");
    court.judge.set_rules(RuleSet::default());
    assert_eq!(court.judge.bans().len(), 1);
    assert!(!court.see("203.0.113.9", Kind::FailedPassword, "x"));
}

/// Listed by a feed for two points.
const LISTED: &str = "198.51.100.7";

/// Rules that change points, of which two may act on one line, and one that ignores lines.
const SCORING: &str = "
    [[rule]]
    name = 'half'
    when = { user = 'half' }
    then = { score = { set = 0.5 } }
    [[rule]]
    name = 'friends'
    when = { user = ['friend', 'both'] }
    then = { score = { add = 3 } }
    continue = true
    [[rule]]
    name = 'less'
    when = { user = 'both' }
    then = { score = { add = -3.5 } }
    [[rule]]
    name = 'monitor'
    when = { user = 'monitor' }
    then = { ignore = true }
";

impl Court {
    fn with_a_feed() -> Self {
        let mut court = Self::new(SCORING);
        let list: crate::feed::List = [LISTED.parse().unwrap()].into_iter().collect();
        let suspects =
            crate::engine::Suspects { feed: "drop".into(), list: list.into(), points: Points(2000) };
        court.judge.set_suspects(vec![suspects]);
        court
    }

    fn lines(&self, address: &str) -> Vec<crate::judge::Line> {
        self.judge.lines(address.parse().unwrap(), self.now)
    }
}

#[test]
fn lines_say_which_rule_and_which_feed_their_points_are_of() {
    let mut court = Court::with_a_feed();
    for account in ["root", "half", "both", "monitor", "root"] {
        court.see(LISTED, Kind::FailedPassword, account);
    }
    let lines = court.lines(LISTED);
    let told: Vec<_> = lines
        .iter()
        .map(|l| (l.listed.as_ref().map(|l| (&*l.feed, l.points)), l.ruled_by.as_deref(), l.points, l.score))
        .collect();
    assert_eq!(
        told,
        [
            (Some(("drop", 2.0)), None, 1.0, 3.0),
            (None, Some("half"), 0.5, 3.5),
            (None, Some("friends, less"), 0.5, 4.0),
            (None, None, 1.0, 5.0),
        ],
        "{lines:?}"
    );
    let ignored = court.judge.ignored(LISTED.parse().unwrap()).unwrap();
    assert_eq!((&*ignored.rule, ignored.times), ("monitor", 1));
    assert!(ignored.last.line.contains("about monitor"), "{ignored:?}");
    assert!(court.judge.ignored(ATTACKER.parse().unwrap()).is_none());

    // What rules say of a line that is too old to count is said of no other line.
    let old = Sighting {
        at: Some(Wall(court.now.wall.0 - 86_400_000)),
        address: ATTACKER.parse().unwrap(),
        kind: Kind::FailedPassword,
        points: Points(1000),
        pattern: PatternId { filter: court.sshd, pattern: 0 },
        pid: 1,
        port: 0,
        account: Some(b"half"),
        service: b"sshd",
        request: None,
        line: b"an old line",
    };
    court.judge.sighting(&old, SourceId(0), Voucher::Kernel, court.now);
    court.guess("root");
    assert_eq!(court.lines(ATTACKER)[0].ruled_by, None);
}

#[test]
fn a_feed_and_a_rule_are_named_in_the_event_of_a_ban() {
    let mut court = Court::with_a_feed();
    for account in ["root", "half", "half", "root", "root"] {
        court.see(LISTED, Kind::FailedPassword, account);
    }
    let (kind, detail) = court.events.last().unwrap();
    let lines = detail["lines"].as_array().unwrap();
    assert_eq!((kind.as_str(), &lines[0]["listed"]["feed"]), ("ban", &json!("drop")), "{detail}");
    assert_eq!((&lines[1]["ruled_by"], lines[3].get("ruled_by")), (&json!("half"), None), "{detail}");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// From line to line: what was there, less what has gone, with what came, is what is there.
    #[test]
    fn the_sums_of_the_lines_add_up(
        steps in proptest::collection::vec((0..2usize, 0..7usize, 0..200_000u64), 1..60),
    ) {
        let mut court = Court::with_a_feed();
        for (host, what, wait) in steps {
            let address = [LISTED, ATTACKER][host];
            court.wait(Duration::from_millis(wait));
            match what {
                6 => court.see(address, Kind::KeyLogin, "anna"),
                5 => court.see(address, Kind::InvalidUser, "root"),
                account => {
                    let account = ["root", "half", "friend", "both", "monitor"][account];
                    court.see(address, Kind::FailedPassword, account)
                }
            };
            for address in [LISTED, ATTACKER] {
                let mut before = 0.0;
                for line in court.lines(address) {
                    let listed = line.listed.as_ref().map_or(0.0, |listed| listed.points);
                    let sum = before - line.leaked - line.forgotten + line.earlier + listed + line.points;
                    proptest::prop_assert!((sum - line.score).abs() < 1e-6, "{sum}: {line:?}");
                    before = line.score;
                }
            }
        }
    }
}

/// Why an address was banned a second time, in a minute in which everybody fails.
fn second_reason(known_offender: &str) -> String {
    let text = format!(
        "[decide]\njitter = 0\nadapt = \"stricter\"\nprefix_hosts = 0\nknown_offender = {known_offender}\n"
    );
    let config = config::parse(&text, Path::new("guard.toml")).unwrap();
    let mut court = Court::with(&config, "");
    while !court.guess("root") {}
    court.wait(Duration::from_secs(2 * 3600));
    for host in 0..20 {
        court.see(&format!("198.18.{host}.1"), Kind::FailedPassword, "root");
    }
    while !court.guess("root") {}
    let (kind, detail) = court.events.last().unwrap();
    assert_eq!((kind.as_str(), &detail["strike"]), ("ban", &json!(2)));
    detail["reason"].as_str().unwrap().to_owned()
}

#[test]
fn who_is_told_to_be_a_known_offender_is_banned_earlier_for_it() {
    assert!(second_reason("1").contains("(a known offender: 2 lead to a ban)"), "{}", second_reason("1"));
    assert!(second_reason("0").contains("(many fail at present: 3 lead to a ban)"), "{}", second_reason("0"));
}
