//! The view: 80 columns, drawn over itself on a terminal; elsewhere only what changed.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::sync::atomic::Ordering;
use std::time::Duration;

use harness::{Daemon, Reply};
use serde_json::Value;

use crate::latency::Latency;
use crate::{Person, Role};

const WIDTH: usize = 80;
/// Log lines shown.
const EVIDENCE: usize = 5;

/// Draws the state of the attack.
#[derive(Debug)]
pub(crate) struct Screen {
    terminal: bool,
    /// Lines of the last picture.
    height: usize,
    /// Without a terminal: what was last said about each person.
    said: Vec<String>,
}

impl Screen {
    pub(crate) fn new() -> Self {
        Self { terminal: std::io::stdout().is_terminal(), height: 0, said: Vec::new() }
    }

    /// Asks the daemon and draws; answers how many attackers the kernel drops.
    pub(crate) fn draw(
        &mut self,
        daemon: &Daemon<'_>,
        people: &[Person],
        latency: &Latency,
        elapsed: Duration,
    ) -> usize {
        let status = ask(daemon, "status");
        let rows: Vec<Row> = people.iter().map(|person| Row::of(daemon, person, latency)).collect();
        if self.terminal {
            self.repaint(&picture(&status, &rows, elapsed));
        } else {
            self.tell(&rows, elapsed);
        }
        rows.iter().filter(|row| row.role == Role::Attacker && row.dropped).count()
    }

    fn repaint(&mut self, picture: &str) {
        let mut output = String::new();
        if self.height > 0 {
            let _ = write!(output, "\x1b[{}A", self.height);
        }
        for line in picture.lines() {
            let _ = writeln!(output, "\x1b[2K{line}");
        }
        self.height = picture.lines().count();
        print!("{output}");
    }

    fn tell(&mut self, rows: &[Row], elapsed: Duration) {
        self.said.resize(rows.len(), String::new());
        for (row, said) in rows.iter().zip(&mut self.said) {
            let state = format!("{} {}", row.guesses, row.state);
            if *said != state {
                println!("{:5.1} s {}", elapsed.as_secs_f64(), row.line());
                *said = state;
            }
        }
    }
}

/// What is known about one person.
#[derive(Debug)]
struct Row {
    name: String,
    role: Role,
    guesses: u32,
    score: String,
    state: String,
    dropped: bool,
    packets: Option<u64>,
    latency: Option<Duration>,
    lines: Vec<(String, String)>,
}

impl Row {
    fn of(daemon: &Daemon<'_>, person: &Person, latency: &Latency) -> Self {
        let why = ask(daemon, &format!("why {}", person.address));
        let check = ask(daemon, &format!("check {}", person.address));
        let dropped = check["verdict"]["dropped"] == true;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let state = if dropped {
            let ban = &check["bans"][0];
            format!("banned for {}", ban["seconds_left"].as_u64().map_or("good".into(), hours))
        } else if check["protected_by"].is_string() {
            // The reason begins with the address, which stands in the row already.
            let reason = text(&check["protected_by"]);
            reason
                .trim_start_matches(&person.address.to_string())
                .trim_start_matches([' ', ':', '('])
                .to_owned()
        } else {
            match person.role {
                Role::Attacker => "guessing".into(),
                Role::Neighbour => "mistyped".into(),
                Role::Administrator => "logging in".into(),
            }
        };
        let lines = why["lines"].as_array().into_iter().flatten();
        Self {
            name: person.address.to_string(),
            role: person.role,
            guesses: person.guesses.load(Ordering::Relaxed),
            score: format!("{}/{}", text(&why["score"]), text(&why["threshold"])),
            state,
            dropped,
            packets: check["verdict"]["entries"][0]["packets"].as_u64().filter(|_| dropped),
            latency: latency.of(person.address).filter(|_| dropped),
            lines: lines.map(|line| (text(&line["at"]), text(&line["line"]))).collect(),
        }
    }

    fn line(&self) -> String {
        let packets = self.packets.map_or_else(String::new, grouped);
        let latency = self.latency.map_or_else(String::new, milliseconds);
        let state: String = self.state.chars().take(24).collect();
        format!(
            "{:<19} {:>7} {:>7}  {state:<24} {packets:>8} {latency:>9}",
            self.name, self.guesses, self.score
        )
    }
}

fn picture(status: &Value, rows: &[Row], elapsed: Duration) -> String {
    let rule = "─".repeat(WIDTH);
    let enforcer = &status["enforcer"];
    let mode = enforcer["interfaces"][0]["mode"].as_str().unwrap_or_default();
    let backend = enforcer["backend"].as_str().unwrap_or_default();
    let title = format!("guard · sshd under attack · enforced by {backend} ({mode})");
    let mut picture = format!("{title:<72}{:>6.1} s\n{rule}\n", elapsed.as_secs_f64());
    let _ = writeln!(
        picture,
        "{:<19} {:>7} {:>7}  {:<24} {:>8} {:>9}",
        "from", "refused", "score", "state", "dropped", "line→drop"
    );
    for row in rows {
        let colour = match (row.role, row.dropped) {
            (_, true) => "\x1b[31m",
            (Role::Attacker, false) => "\x1b[33m",
            _ => "\x1b[32m",
        };
        let _ = writeln!(picture, "{colour}{}\x1b[0m", row.line());
    }
    let _ = writeln!(picture, "{rule}\nwhat guard read last");
    let mut lines: Vec<_> = rows.iter().flat_map(|row| &row.lines).collect();
    lines.sort();
    let shown = lines.iter().rev().take(EVIDENCE).map(|(_, line)| without_header(line));
    let shown: Vec<String> = shown.chain(std::iter::repeat(String::new())).take(EVIDENCE).collect();
    for line in shown {
        let _ = writeln!(picture, "  {line}");
    }
    let _ = writeln!(picture, "{rule}\n{}", counters(status));
    picture
}

/// The kernel's counters, in one line.
fn counters(status: &Value) -> String {
    let reasons = status["counters"]["reasons"].as_array().into_iter().flatten();
    let counts: Vec<String> = reasons
        .filter(|reason| reason[1].as_u64() > Some(0))
        .map(|reason| {
            format!("{} {}", reason[0].as_str().unwrap_or("?"), grouped(reason[1].as_u64().unwrap_or(0)))
        })
        .collect();
    format!(
        "kernel: {} packets · lines {} · matched {}",
        counts.join(", "),
        status["lines"],
        status["matched"]
    )
    .chars()
    .take(WIDTH)
    .collect()
}

/// The message of a log line, as much as fits.
fn without_header(line: &str) -> String {
    let message = line.find("sshd").map_or(line, |start| &line[start..]);
    message.chars().take(WIDTH - 2).collect()
}

fn ask(daemon: &Daemon<'_>, request: &str) -> Value {
    let Reply { output, .. } = daemon.ctl(&format!("--json {request}"));
    serde_json::from_str(&output).unwrap_or_default()
}

fn hours(seconds: u64) -> String {
    format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60)
}

fn milliseconds(time: Duration) -> String {
    if time < Duration::from_micros(100) {
        "< 0.1 ms".into()
    } else {
        format!("{:.1} ms", time.as_secs_f64() * 1000.0)
    }
}

/// `1234567` as `1,234,567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
