//! What rules cost each sighting.

use std::fmt::Write as _;
use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use guard::rules::{Facts, RuleSet};
use guard::sighting::Kind;
use guard::time::Moment;

use crate::table::Section;

/// Sightings asked about in one round.
const SIGHTINGS: usize = 1000;

/// Rules by what they ask, and what each costs a sighting for which none holds.
pub fn run() -> anyhow::Result<Section> {
    let mut section = Section::new("Rules", &["rules", "what they ask", "ns each sighting"]);
    let mixed = |number| match number % 10 {
        0 => "{ user = ['oracle', 'postgres', 'test*', 'admin'] }".to_owned(),
        1 => format!("{{ cidr = [{}] }}", prefixes(number * 100, 100)),
        2 => "{ path = ['/wp-login.php', '*/.env', '/admin/*'] }".to_owned(),
        3 => "{ status = ['401', '5xx'], kind = 'probe' }".to_owned(),
        4 => format!("{{ ip = '192.0.2.{}' }}", number % 256),
        5 => "{ filter = ['http', 'nginx'], kind = ['probe', 'not-found'] }".to_owned(),
        6 => "{ any = [{ user = 'nobody' }, { service = 'dropbear' }] }".to_owned(),
        7 => "{ not = { kind = ['failed-password', 'invalid-user'] } }".to_owned(),
        8 => "{ kind = 'scanner', pattern = 'zgrab|masscan' }".to_owned(),
        _ => format!("{{ pattern = 'port {number} ssh2$' }}"),
    };
    let no_pattern = |number| if number % 10 == 9 { mixed(number - 1) } else { mixed(number) };
    for (count, what, condition) in [
        (0, "", &mixed as &dyn Fn(usize) -> String),
        (10, "ten kinds of conditions, one a regular expression", &mixed),
        (10, "the same without the regular expression", &no_pattern),
        (100, "ten kinds of conditions, ten regular expressions", &mixed),
        (100, "the same without the regular expressions", &no_pattern),
        (1, "`cidr` with 10,000 prefixes", &|_| format!("{{ cidr = [{}] }}", prefixes(0, 10_000))),
        (10_000, "one prefix each", &|number| format!("{{ cidr = {} }}", prefixes(number, 1))),
    ] {
        section.row([count.to_string(), what.to_owned(), format!("{:.0}", cost(count, condition)?)]);
    }
    section.note(
        "A failed login over SSH with a line of 80 bytes, for which no rule holds; the least of five rounds.",
    );
    Ok(section)
}

fn prefixes(first: usize, count: usize) -> String {
    let prefix = |number: usize| format!("'10.{}.{}.0/24'", number / 256 % 256, number % 256);
    (first..first + count).map(prefix).collect::<Vec<_>>().join(", ")
}

fn cost(count: usize, condition: &dyn Fn(usize) -> String) -> anyhow::Result<f64> {
    let mut text = String::new();
    for number in 0..count {
        writeln!(text, "[[rule]]\nname = 'r{number}'\nwhen = {}\nthen = {{ tag = 'x' }}", condition(number))?;
    }
    let mut rules = RuleSet::compile(&text, Path::new("rules.toml"))?;
    let lines: Vec<String> = (0..SIGHTINGS)
        .map(|n| {
            format!(
                "Nov 20 21:00:00 host sshd[{n}]: Failed password for root from 203.0.{}.{} port 50000 ssh2",
                n / 256,
                n % 256
            )
        })
        .collect();
    let mut best = f64::MAX;
    for _ in 0..5 {
        let begin = Instant::now();
        for (number, line) in lines.iter().enumerate() {
            let facts = Facts {
                address: std::net::Ipv4Addr::from(0xcb00_0000 + number as u32).into(),
                kind: Kind::FailedPassword,
                filter: "sshd",
                user: Some(b"root"),
                service: Some(b"sshd"),
                path: None,
                status: None,
                line: line.as_bytes(),
            };
            black_box(rules.judge(black_box(&facts), Moment(number as i64)).is_empty());
        }
        best = best.min(begin.elapsed().as_nanos() as f64 / SIGHTINGS as f64);
    }
    Ok(best)
}
