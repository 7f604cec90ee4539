//! The control program.

use std::process::ExitCode;

fn main() -> ExitCode {
    guard::cli::main(std::env::args_os())
}
