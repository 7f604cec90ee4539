//! Rules against a naive reader of the same TOML, on random rules and facts.

use std::fmt::Write as _;

use proptest::prelude::*;
use toml::Value;

use super::*;

/// What is asked of small sets of values, so that conditions often hold.
fn leaf() -> impl Strategy<Value = String> {
    let users = prop::sample::subsequence(vec!["'root'", "'admin'", "'a*'", "''"], 1..3);
    let kinds = prop::sample::subsequence(vec!["'probe'", "'timeout'", "'failed-password'"], 1..3);
    let prefixes = prop::sample::subsequence(vec!["'192.0.2.0/31'", "'192.0.2.3'", "'2001:db8::/127'"], 1..3);
    prop_oneof![
        users.clone().prop_map(|users| format!("user = [{}]", users.join(", "))),
        users.prop_map(|users| format!("path = [{}]", users.join(", "))),
        kinds.prop_map(|kinds| format!("kind = [{}]", kinds.join(", "))),
        prefixes.prop_map(|prefixes| format!("cidr = [{}]", prefixes.join(", "))),
        prop_oneof![Just("status = [404, '5xx']".to_owned()), Just("status = '400-499'".to_owned())],
        prop_oneof![Just("filter = 'sshd'".to_owned()), Just("filter = ['http', 'nginx']".to_owned())],
        prop_oneof![Just("pattern = 'b+c'".to_owned()), Just("pattern = ['^a', 'c$']".to_owned())],
    ]
}

fn condition() -> impl Strategy<Value = String> {
    leaf().prop_recursive(4, 24, 4, |inner| {
        let several = prop::collection::vec(inner.clone(), 1..4);
        let list = |word: &'static str| {
            move |parts: Vec<String>| {
                let parts: Vec<_> = parts.iter().map(|part| format!("{{ {part} }}")).collect();
                format!("{word} = [{}]", parts.join(", "))
            }
        };
        prop_oneof![
            several.clone().prop_map(list("all")),
            several.prop_map(list("any")),
            inner.prop_map(|inner| format!("not = {{ {inner} }}")),
        ]
    })
}

fn one_rule() -> impl Strategy<Value = (String, bool, bool, Option<u32>)> {
    (condition(), prop::bool::ANY, prop::bool::weighted(0.2), prop::option::weighted(0.3, 1u32..4))
}

fn facts() -> impl Strategy<Value = Facts<'static>> {
    let text = || prop::option::of(prop::sample::select(vec![&b"root"[..], b"admin", b"b", b""]));
    let address =
        prop::sample::select(vec!["192.0.2.1", "192.0.2.2", "192.0.2.3", "2001:db8::1", "2001:db8::2"]);
    let kind = prop::sample::select(vec![Kind::Probe, Kind::Timeout, Kind::FailedPassword]);
    let filter = prop::sample::select(vec!["sshd", "http", "nginx", "pam"]);
    let status = prop::option::of(prop::sample::select(vec![200u16, 404, 499, 500]));
    let line = prop::sample::select(vec![&b"abc"[..], b"bbc", b"", b"cab", b"xbbbcx"]);
    (text(), text(), address, kind, filter, status, line).prop_map(
        |(user, path, address, kind, filter, status, line)| Facts {
            address: address.parse().unwrap(),
            kind,
            filter,
            user,
            service: None,
            path,
            status,
            line,
        },
    )
}

/// Whether a condition holds, `None` if that is not known, by the words of its TOML.
fn naive(condition: &toml::Table, facts: &Facts<'_>) -> Option<bool> {
    let parts = condition.iter().map(|(key, value)| {
        let inner = || value.as_array().unwrap().iter().map(|inner| naive(inner.as_table().unwrap(), facts));
        match key.as_str() {
            "all" => all(inner()),
            "any" => any(inner()),
            "not" => naive(value.as_table().unwrap(), facts).map(|holds| !holds),
            _ => {
                let one = std::slice::from_ref(value);
                let values = value.as_array().map_or(one, Vec::as_slice);
                any(values.iter().map(|value| fits(key, value, facts)))
            }
        }
    });
    all(parts)
}

fn all(mut parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut known = true;
    let untrue = parts.any(|part| {
        known &= part.is_some();
        part == Some(false)
    });
    if untrue { Some(false) } else { known.then_some(true) }
}

fn any(parts: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    all(parts.map(|part| part.map(|holds| !holds))).map(|holds| !holds)
}

fn fits(key: &str, value: &Value, facts: &Facts<'_>) -> Option<bool> {
    let text = || value.as_str().unwrap();
    let glob = |fact: Option<&[u8]>| {
        fact.map(|fact| match text().strip_suffix('*') {
            Some(front) => fact.starts_with(front.as_bytes()),
            None => fact == text().as_bytes(),
        })
    };
    match key {
        "user" => glob(facts.user),
        "path" => glob(facts.path),
        "kind" => Some(facts.kind.name() == text()),
        "filter" => Some(facts.filter == text()),
        "cidr" => Some(text().parse::<crate::target::Target>().unwrap().covers(facts.address)),
        "status" => facts.status.map(|status| match value {
            Value::Integer(one) => i64::from(status) == *one,
            _ if text() == "5xx" => status / 100 == 5,
            _ => (400..=499).contains(&status),
        }),
        "pattern" => {
            let has = |part: &[u8]| memchr::memmem::find(facts.line, part).is_some();
            Some(match text() {
                "b+c" => has(b"bc"),
                "^a" => facts.line.starts_with(b"a"),
                _ => facts.line.ends_with(b"c"),
            })
        }
        _ => panic!("{key}"),
    }
}

fn text(given: &[(String, bool, bool, Option<u32>)]) -> String {
    let mut text = String::new();
    for (number, (condition, go_on, simulate, limit)) in given.iter().enumerate() {
        writeln!(
            text,
            "[[rule]]\nname = '{number}'\nthen = {{ tag = 't{number}' }}\nwhen = {{ {condition} }}"
        )
        .unwrap();
        writeln!(text, "continue = {go_on}\nsimulate = {simulate}").unwrap();
        if let Some(max) = limit {
            writeln!(text, "rate_limit = {{ max = {max}, window = '2s' }}").unwrap();
        }
    }
    text
}

proptest! {
    #[test]
    fn the_index_leaves_out_only_rules_that_cannot_hold(
        given in prop::collection::vec(one_rule(), 1..40),
        sightings in prop::collection::vec((facts(), 0i64..3000), 1..20),
    ) {
        let text = text(&given);
        let (mut set, mut plain) = (rules(&text), rules(&text));
        plain.index = Index::without_keys(plain.kinds.iter().copied());
        let mut now = 0;
        for (facts, wait) in &sightings {
            now += wait;
            let (verdict, wanted) = (set.judge(facts, Moment(now)), plain.judge(facts, Moment(now)));
            prop_assert_eq!(verdict.acted, wanted.acted);
        }
        let counts = |set: &RuleSet| set.rules().map(|(_, count)| count).collect::<Vec<_>>();
        prop_assert_eq!(counts(&set), counts(&plain));
    }

    #[test]
    fn rules_do_what_a_naive_reader_of_them_does(
        given in prop::collection::vec(one_rule(), 1..12),
        sightings in prop::collection::vec((facts(), 0i64..3000), 1..20),
    ) {
        let text = text(&given);
        let mut set = rules(&text);
        let table: toml::Table = text.parse().unwrap();
        let mut times: Vec<Vec<i64>> = vec![Vec::new(); given.len()];
        let mut now = 0;
        for (facts, wait) in &sightings {
            now += wait;
            let (mut acts, mut would) = (Vec::new(), Vec::new());
            for (number, rule) in table["rule"].as_array().unwrap().iter().enumerate() {
                let (_, go_on, simulate, limit) = &given[number];
                if naive(rule["when"].as_table().unwrap(), facts) != Some(true) {
                    continue;
                }
                if let Some(max) = limit {
                    let times = &mut times[number];
                    if times.first().is_none_or(|first| now - first >= 2000) {
                        times.clear();
                    }
                    if times.len() as u32 == *max {
                        continue;
                    }
                    times.push(now);
                }
                if *simulate {
                    would.push(format!("t{number}"));
                    continue;
                }
                acts.push(format!("t{number}"));
                if !go_on {
                    break;
                }
            }
            let verdict = set.judge(facts, Moment(now));
            acts.sort();
            prop_assert_eq!(verdict.tags(), acts);
            let simulated: Vec<_> = verdict.would_act().map(|(rule, _)| format!("t{}", rule.name())).collect();
            prop_assert_eq!(simulated, would);
        }
    }
}
