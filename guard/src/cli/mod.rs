//! guardctl: arguments in, text or JSON out. Each command is a function from its arguments to what it writes.

use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::api::client::Client;
use crate::api::{Answer, Request};
use crate::config::{self, Config, ConfigError};

mod allow;
mod args;
mod bans;
mod check;
mod configuration;
mod doctor;
mod error;
mod events;
mod explain;
mod feeds;
mod filters;
mod human;
mod replay;
mod rules;
mod screen;
mod status;
#[cfg(test)]
mod tests;
mod unlock;
mod why;

pub use args::{CONFIG, Cli, Color, Command};
pub use error::CliError;
pub use screen::{Piece, Screen, Style, plain};

/// Runs a command line and answers the exit code: 0 done, 1 failed, 2 wrong use, 3 daemon not reachable.
#[expect(clippy::print_stderr, reason = "a command line tells its errors there")]
pub fn main(line: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(line) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version, or a wrong use that clap explains; nothing is left to do if that fails.
            let _ = error.print();
            return ExitCode::from(error.exit_code() as u8);
        }
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let mut screen = Screen::stdout(&mut out, cli.color, cli.json);
    let result = run(&cli, &mut screen).and_then(|code| {
        screen.flush()?;
        Ok(code)
    });
    match result {
        Ok(code) => code,
        Err(error) => {
            let code = error.exit();
            if code != ExitCode::SUCCESS {
                // What was written before the error still comes first.
                let _ = out.flush();
                eprintln!("guardctl: {}", screen::inert_lines(&error.to_string()));
            }
            code
        }
    }
}

/// Runs a command on a screen.
pub fn run(cli: &Cli, screen: &mut Screen<'_>) -> Result<ExitCode, CliError> {
    match &cli.command {
        Command::Status => status::status(&mut connect(cli)?, screen),
        Command::Ban(ban) => bans::ban(&mut connect(cli)?, screen, ban),
        Command::Unban(unban) => bans::unban(&mut connect(cli)?, screen, unban),
        Command::Forget { targets } => bans::forget(&mut connect(cli)?, screen, targets),
        Command::List(list) => bans::list(&mut connect(cli)?, screen, list),
        Command::Check { address } => check::check(&mut connect(cli)?, screen, *address),
        Command::Allow(allow) => allow::allow(&mut connect(cli)?, screen, allow),
        Command::Why { target } => why::why(&mut connect(cli)?, screen, *target),
        Command::Events(events) if events.follow => events::follow(|| connect(cli), screen, events),
        Command::Events(events) => events::events(&mut connect(cli)?, screen, events),
        Command::Explain { filter, mode, lines } => {
            explain::explain(screen, &effective(cli)?, filter.as_deref(), *mode, lines)
        }
        Command::Rule(command) => rules::rule(screen, &effective(cli)?, command),
        Command::Filter(command) => filters::filter(screen, &effective(cli)?, command),
        Command::Replay(args::Replay { against, threads, filter, files }) => {
            let processors = || std::thread::available_parallelism().map_or(1, usize::from);
            let threads = threads.map_or_else(processors, usize::from);
            let asked = replay::Replayed { files, filters: filter, against: against.as_deref(), threads };
            replay::replay(screen, &effective(cli)?, &asked)
        }
        Command::Feed(command) => feeds::feed(&mut connect(cli)?, screen, command),
        Command::Reload => configuration::reload(&mut connect(cli)?, screen),
        Command::Config(args::Config::Check { file }) => {
            configuration::check(screen, &config_path(cli, file.as_deref()))
        }
        Command::Config(args::Config::Show { file }) => {
            configuration::show(screen, &config_path(cli, file.as_deref()))
        }
        Command::Doctor => doctor::doctor(screen, &config_path(cli, None), cli.socket.as_deref()),
        Command::Unlock { offline } => unlock::unlock(cli, screen, *offline),
        Command::Completions { shell } => completions(*shell, screen),
    }
}

fn completions(shell: clap_complete::Shell, screen: &mut Screen<'_>) -> Result<ExitCode, CliError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "guardctl", &mut script);
    screen.verbatim(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}

/// Connects to the daemon that the options name.
fn connect(cli: &Cli) -> Result<Client, CliError> {
    Ok(Client::connect(&socket(cli))?)
}

/// The socket that the options name. A mistake elsewhere in the configuration does not take guardctl away: it is
/// told, and what can be read counts.
fn socket(cli: &Cli) -> PathBuf {
    cli.socket.clone().unwrap_or_else(|| readable(cli).socket())
}

/// As much of the configuration as can be read. Its mistakes are told, unless there is no file where one is usual.
#[expect(clippy::print_stderr, reason = "a warning beside the answer, which goes to standard output")]
fn readable(cli: &Cli) -> Config {
    let (config, error) = config::load_readable(cli.config.as_deref().unwrap_or(Path::new(CONFIG)));
    match error {
        Some(ConfigError::Missing { .. }) if cli.config.is_none() => {}
        Some(error) => {
            let error = screen::inert_lines(&error.to_string());
            eprintln!("guardctl: {error}\nguardctl: going on with what could be read of it");
        }
        None => {}
    }
    config
}

/// The configuration that a file gives. Of the usual one, which nobody has named, what can be read.
fn effective(cli: &Cli) -> Result<Config, CliError> {
    match &cli.config {
        Some(named) => Ok(config::load(named)?),
        None => Ok(readable(cli)),
    }
}

fn config_path(cli: &Cli, file: Option<&Path>) -> PathBuf {
    file.or(cli.config.as_deref()).unwrap_or(Path::new(CONFIG)).to_path_buf()
}

/// Asks, and takes errors of the daemon as errors.
fn ask(client: &mut Client, request: &Request) -> Result<Answer, CliError> {
    match client.ask(request)? {
        answer @ Answer::Error { .. } => Err(error::unexpected(answer)),
        answer => Ok(answer),
    }
}
