//! `guardctl explain`: what guard makes of log lines. Needs no daemon and no privileges.

use std::io::{self, BufRead};
use std::process::ExitCode;
use std::sync::Arc;

use serde::Serialize;

use super::{CliError, Piece, Screen, Style, plain};
use crate::config::{Config, Enabled, Filters};
use crate::encode::printable;
use crate::scan::{Explainer, Explanation, FilterSet, Mode};
use crate::source::MAX_LINE;
use crate::time::Wall;

/// Bytes of an account that are shown.
const ACCOUNT: usize = 256;

/// A line and the patterns that matched it.
#[derive(Debug, Serialize)]
struct Explained {
    /// Number of the line, from 1.
    line: u64,
    matches: Vec<Matched>,
}

#[derive(Debug, Serialize)]
struct Matched {
    filter: String,
    pattern: String,
    address: std::net::IpAddr,
    account: Option<String>,
    kind: &'static str,
    points: f64,
}

/// Explains lines of the arguments, or of standard input for `-` or none.
pub(super) fn explain(
    screen: &mut Screen<'_>,
    config: &Config,
    filter: Option<&str>,
    mode: Option<Mode>,
    lines: &[String],
) -> Result<ExitCode, CliError> {
    let filters = filters(&config.filter, filter, mode)?;
    let wrong = |error| CliError::Usage(super::error::chain(&error));
    let mut explainer = Explainer::new(Arc::new(filters)).map_err(wrong)?;
    let mut number = 0;
    let reference = Wall::now();
    let mut each = |line: &[u8]| {
        number += 1;
        let line = &line[..line.len().min(MAX_LINE)];
        let explanation = explainer.explain(line, reference);
        if screen.json {
            screen.json_line(&explained(number, &explanation))
        } else {
            tell(screen, line, &explanation)
        }
    };
    if lines.is_empty() || lines == ["-"] {
        let mut input = io::stdin().lock();
        let mut line = Vec::new();
        while read_line(&mut input, &mut line)? {
            each(&line)?;
        }
    } else {
        for line in lines {
            each(line.as_bytes())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Every filter there is, or the one that is named, with every pattern unless a mode is named.
fn filters(config: &Filters, name: Option<&str>, mode: Option<Mode>) -> Result<FilterSet, CliError> {
    let wrong = |error| CliError::Usage(super::error::chain(&error));
    let mut config = config.clone();
    config.disable.clear();
    config.enable = name.map_or(Enabled::All, |name| Enabled::Named(vec![name.to_owned()]));
    config.mode = mode.unwrap_or(Mode::Aggressive);
    FilterSet::load(&config).map_err(wrong)
}

/// Reads a line without its newline; what is longer than guard reads is skipped. `false` at the end.
pub(super) fn read_line(input: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut any = false;
    loop {
        let chunk = input.fill_buf()?;
        if chunk.is_empty() {
            return Ok(any);
        }
        any = true;
        let end = memchr::memchr(b'\n', chunk);
        let part = &chunk[..end.unwrap_or(chunk.len())];
        line.extend_from_slice(&part[..part.len().min(MAX_LINE - line.len())]);
        let used = end.map_or(chunk.len(), |end| end + 1);
        input.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

/// A benign line bans nobody, so it is no match in what scripts read.
fn explained(line: u64, explanation: &Explanation) -> Explained {
    let matched = explanation.matched.iter().filter(|matched| !matched.kind.is_benign());
    let matches = matched
        .map(|matched| Matched {
            filter: matched.filter.clone(),
            pattern: matched.pattern.clone(),
            address: matched.address,
            account: matched.account.as_deref().map(|account| printable(account, ACCOUNT)),
            kind: matched.kind.name(),
            points: matched.points.as_f64(),
        })
        .collect();
    Explained { line, matches }
}

fn tell(screen: &mut Screen<'_>, line: &[u8], explanation: &Explanation) -> io::Result<()> {
    screen.line(&[Piece(Style::Faint, printable(line, 200))])?;
    let Some(matched) = &explanation.matched else {
        return screen.text(&format!("  no match: {}", explanation.miss));
    };
    if explanation.bare {
        screen.text("  read as a message without its header; as a line of a log file it says nothing")?;
    }
    let mut fields = vec![vec![plain("address"), Piece(Style::Strong, matched.address.to_string())]];
    if let Some(account) = &matched.account {
        fields.push(vec![plain("account"), plain(printable(account, ACCOUNT))]);
    }
    let says = if matched.kind.is_benign() {
        format!("{}: speaks for the address, bans nobody", matched.kind.name())
    } else {
        format!("{}, {} points", matched.kind.name(), matched.points.as_f64())
    };
    fields.push(vec![plain("says"), plain(says)]);
    fields.push(vec![plain("filter"), plain(matched.filter.clone())]);
    fields.push(vec![plain("pattern"), plain(matched.pattern.clone())]);
    screen.table(2, &[], &fields)
}
