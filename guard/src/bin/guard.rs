//! The daemon: `guard --config FILE [--observe]`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use guard::daemon;

/// Reads what attackers leave in logs and drops them in the network driver.
///
/// Stopping the daemon leaves its bans in force; `guardctl unlock` takes everything out of the kernel.
#[derive(Parser, Debug)]
#[command(name = "guard", version, about, long_about)]
struct Arguments {
    /// The configuration.
    #[arg(short, long, value_name = "FILE", default_value = "/etc/guard/guard.toml")]
    config: PathBuf,

    /// Decide and record only: nothing is put into the kernel.
    #[arg(long)]
    observe: bool,
}

#[expect(clippy::print_stderr, reason = "errors of the start go to the terminal that started it")]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match daemon::run(&daemon::Options { config: arguments.config, observe: arguments.observe }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("guard: {error}");
            let mut source = std::error::Error::source(&error);
            while let Some(cause) = source {
                eprintln!("  because: {cause}");
                source = cause.source();
            }
            ExitCode::from(error.exit_code())
        }
    }
}
