//! What rules do, in which order, and how often.

use std::time::Duration;

use super::action::{Command, Does, Scoring, Term, Webhook};
use super::*;

fn of(actions: &str) -> Vec<Does> {
    let mut set = then(actions);
    set.judge(&login(), Moment(0)).acts().map(|(_, action)| action.does.clone()).collect()
}

#[test]
fn each_action_is_read() {
    let day = Term::Time(Duration::from_secs(86_400));
    let command = |arguments: &[&str], seconds| {
        Does::Run(Command {
            program: "/bin/true".into(),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            timeout: Duration::from_secs(seconds),
        })
    };
    let webhook = |url: &str, secret: Option<&str>, private, seconds| {
        Does::Webhook(Webhook {
            url: url.into(),
            secret: secret.map(Into::into),
            ca: None,
            private,
            timeout: Duration::from_secs(seconds),
        })
    };
    for (text, does) in [
        ("{ ignore = true }", Does::Ignore),
        ("{ score = { add = 2 } }", Does::Score(Scoring::Add(Points(2000)))),
        ("{ score = { add = -0.5 } }", Does::Score(Scoring::Add(Points(-500)))),
        ("{ score = { set = 0 } }", Does::Score(Scoring::Set(Points(0)))),
        ("{ ban = true }", Does::Ban(Term::Ladder)),
        ("{ ban = '1d' }", Does::Ban(day)),
        ("{ ban = 'permanent' }", Does::Ban(Term::ForGood)),
        ("{ ban = {} }", Does::Ban(Term::Ladder)),
        ("{ ban = { for = '1d' } }", Does::Ban(day)),
        ("{ tag = 'a' }", Does::Tag(["a".into()].into())),
        ("{ tag = ['a', 'b'] }", Does::Tag(["a".into(), "b".into()].into())),
        ("{ notify = true }", Does::Notify("".into())),
        ("{ notify = 'look here' }", Does::Notify("look here".into())),
        ("{ notify = { text = 'look' } }", Does::Notify("look".into())),
        ("{ run = ['/bin/true', '-x', ''] }", command(&["-x", ""], 10)),
        ("{ run = { command = ['/bin/true'], timeout = '1m' } }", command(&[], 60)),
        ("{ webhook = 'https://a.org/x' }", webhook("https://a.org/x", None, false, 10)),
        (
            "{ webhook = { url = 'http://10.0.0.1/', secret = '/etc/s', private = true, timeout = '3s' } }",
            webhook("http://10.0.0.1/", Some("/etc/s"), true, 3),
        ),
    ] {
        assert_eq!(of(text), [does], "{text}");
    }
    let [Does::Webhook(webhook)] = &of("{ webhook = { url = 'https://a.org', ca = '/etc/ca.pem' } }")[..]
    else {
        panic!("it is a webhook");
    };
    assert_eq!(webhook.ca.as_deref(), Some(Path::new("/etc/ca.pem")));
    let all = of(
        "{ run = ['/bin/true'], tag = 'x', ban = '1h', webhook = 'https://u:p@a.org:8/x?y', notify = true, score = { add = 1 } }",
    );
    let names: Vec<_> = all.iter().map(Does::name).collect();
    assert_eq!(names, ["score", "ban", "tag", "notify", "webhook", "run"], "in their own order");
    assert_eq!(all[4].to_string(), "webhook a.org:8", "what may be a secret is not shown");
}

const THREE: &str = "
    [[rule]]
    name = 'first'
    when = { user = 'root' }
    then = { tag = 'a' }
    CONTINUE
    [[rule]]
    name = 'second'
    when = { filter = 'sshd' }
    then = { tag = 'b', score = { add = 1 } }
    CONTINUE
    [[rule]]
    name = 'third'
    then = { tag = ['a', 'c'], score = { set = 7 }, ban = '1h' }
";

#[test]
fn the_first_match_acts_unless_it_says_continue() {
    let mut first = rules(&THREE.replace("CONTINUE", ""));
    assert_eq!(acting(&mut first, &login()), ["first"]);
    assert_eq!(acting(&mut first, &Facts { user: None, ..login() }), ["second"]);
    assert_eq!(acting(&mut first, &request()), ["third"]);

    let mut all = rules(&THREE.replace("CONTINUE", "continue = true"));
    let verdict = all.judge(&login(), Moment(0));
    assert_eq!(verdict.tags(), ["a", "b", "c"]);
    assert_eq!(verdict.points(Points(500)), Points(7000), "one after the other");
    assert_eq!(verdict.ban().unwrap().0.name(), "third");
    assert!(verdict.ignores().is_none());
}

#[test]
fn points_are_never_below_zero() {
    let points = |actions: &str, points| then(actions).judge(&login(), Moment(0)).points(Points(points));
    assert_eq!(points("{ score = { add = -3 } }", 1000), Points(0));
    assert_eq!(points("{ score = { add = 1000 } }", i32::MAX), Points(i32::MAX));
    assert_eq!(points("{ tag = 'x' }", 1000), Points(1000));
}

#[test]
fn a_simulated_rule_does_nothing_and_stops_nobody() {
    let text = THREE.replacen("CONTINUE", "simulate = true", 1).replace("CONTINUE", "");
    let mut set = rules(&text);
    let verdict = set.judge(&login(), Moment(0));
    let would: Vec<_> = verdict.would_act().map(|(rule, action)| (rule.name(), action.does.name())).collect();
    assert_eq!(would, [("first", "tag")]);
    assert_eq!(verdict.tags(), ["b"]);
    let count = set.rules().next().unwrap().1;
    assert_eq!(count, RuleCount { matched: 1, simulated: 1, ..RuleCount::default() });
}

#[test]
fn what_a_simulation_records_is_limited() {
    let mut set = rules("[[rule]]\nname = 'one'\nthen = { ban = '1h' }\nsimulate = true");
    let recorded = (0..200).filter(|_| !set.judge(&login(), Moment(0)).is_empty()).count();
    assert_eq!(recorded, 60);
    assert_eq!(set.rules().next().unwrap().1.simulated, 200);
}

#[test]
fn over_its_limit_a_rule_is_as_if_it_were_not_there() {
    let text =
        THREE.replacen("CONTINUE", "rate_limit = { max = 2, window = '10s' }", 1).replace("CONTINUE", "");
    let mut set = rules(&text);
    let mut at = |second: i64| {
        let verdict = set.judge(&login(), Moment(second * 1000));
        verdict.acts().next().map(|(rule, _)| rule.name().to_owned()).unwrap()
    };
    let acted: Vec<_> = [0, 1, 2, 9, 10, 11, 12].map(&mut at).into();
    assert_eq!(acted, ["first", "first", "second", "second", "first", "first", "second"]);
    let count = set.rules().next().unwrap().1;
    assert_eq!((count.matched, count.acted, count.limited), (7, 4, 3));
}

#[test]
fn over_its_limit_an_action_is_left_out() {
    let mut set = then("{ tag = 'x', notify = { rate_limit = { max = 1, window = '1m' } } }");
    let mut names = || -> Vec<_> {
        set.judge(&login(), Moment(0)).acts().map(|(_, action)| action.does.name()).collect()
    };
    assert_eq!((names(), names()), (vec!["tag", "notify"], vec!["tag"]));
    assert_eq!(set.rules().next().unwrap().1.limited, 1);
}

#[test]
fn processes_and_notices_have_a_usual_limit() {
    for action in ["notify = true", "run = ['/bin/true']"] {
        let mut set = then(&format!("{{ {action} }}"));
        let done = (0..100).filter(|_| !set.judge(&login(), Moment(0)).is_empty()).count();
        assert_eq!(done, 60, "{action}");
    }
}

#[test]
fn what_can_be_forged_counts_against_nobody() {
    let mut set = then("{ ban = '1h', score = { add = 3 }, notify = true }");
    let forged = Facts { kind: Kind::Spoofable, ..login() };
    let names: Vec<_> = set.judge(&forged, Moment(0)).acts().map(|(_, action)| action.does.name()).collect();
    assert_eq!(names, ["notify"]);
}

#[test]
fn counters_and_limits_outlive_an_exchange() {
    let one = "[[rule]]\nname = 'one'\nthen = { tag = 'x' }\nrate_limit = { max = 2, window = '1m' }\n";
    let mut old = rules(one);
    old.judge(&login(), Moment(0));
    old.judge(&login(), Moment(0));
    let mut same = rules(&format!(
        "[[rule]]\nname = 'zero'\nwhen = {{ kind = 'probe' }}\nthen = {{ tag = 'y' }}\n{one}"
    ));
    same.take_over(&old);
    assert!(same.judge(&login(), Moment(1)).is_empty(), "its limit is used up");
    assert_eq!(same.rules().nth(1).unwrap().1.matched, 3);
    assert_eq!(old.diff(&same), ["rule zero: new"]);
    let mut changed = rules(&one.replace("'x'", "'z'"));
    changed.take_over(&old);
    assert!(!changed.judge(&login(), Moment(1)).is_empty(), "another rule begins anew");
    assert_eq!(changed.rules().next().unwrap().1.matched, 3, "what is counted goes on");
    assert_eq!(same.diff(&changed), ["rule one: changed", "rule zero: gone"]);
    assert!(old.diff(&rules(one)).is_empty());
    let (ab, ba) = (["a", "b"], ["b", "a"]);
    let set = |names: [&str; 2]| {
        rules(
            &names
                .map(|name| format!("[[rule]]\nname = '{name}'\nthen = {{ tag = 'x' }}\ncontinue = true\n"))
                .concat(),
        )
    };
    assert_eq!(set(ab).diff(&set(ba)), ["rules: in another order"]);
}
