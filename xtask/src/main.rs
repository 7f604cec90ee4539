//! guard's own commands: `cargo xtask build-ebpf | test | fuzz | run | demo | bench | simulate | vm | clean-root | booted`.
//!
//! Each command sets up what it needs on the machine it runs on, says what it does, and leaves nothing running.

mod bench;
mod booted;
mod clean_root;
mod demo;
mod ebpf;
mod fuzz;
mod isolation;
mod licences;
mod machine;
mod mounts;
mod packages;
mod process;
mod run;
mod simulate;
mod test;
mod vm;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Build, test and try guard", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build the eBPF object into target/ebpf/, installing the toolchain for it where that is possible
    BuildEbpf {
        /// Build guard-bench.o too: the same verdict with random sources, for measurements
        #[arg(long)]
        bench: bool,
        /// Build even if the sources and the toolchain are those of the present object
        #[arg(long)]
        force: bool,
    },
    /// Set up what the tests need and run all of them
    Test(test::Options),
    /// Fuzz the parsers
    Fuzz(fuzz::Options),
    /// Set up, build and start the daemon in the foreground on this machine's real logs
    Run {
        /// Passed on to guard, for example --observe
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Watch guard stop a password-guessing attack, in namespaces that vanish afterwards
    Demo {
        /// Enforce with nftables instead of XDP
        #[arg(long)]
        nftables: bool,
    },
    /// Measure and write docs/performance.md
    Bench {
        /// Passed on to the benchmark program
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Simulate attackers, honest users and faults, and write the table of docs/decisions.md
    Simulate(simulate::Options),
    /// Test the packet program and nftables on other kernels, in emulated machines
    Vm(vm::Options),
    /// Try the two commands of the README as a new user, in a fresh Debian root (minutes, needs root)
    CleanRoot(clean_root::Options),
    /// Try guard's systemd unit under attack on a booted Debian, in a container (minutes, needs root)
    Booted(booted::Options),
}

fn main() -> ExitCode {
    match dispatch(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(command: Command) -> Result<ExitCode> {
    let workspace = Workspace::find()?;
    match command {
        Command::BuildEbpf { bench, force } => ebpf::build(&workspace, ebpf::Request { bench, force })?,
        Command::Test(options) => return Ok(test::run(&workspace, &options)),
        Command::Fuzz(options) => return fuzz::run(&workspace, &options),
        Command::Run { arguments } => run::run(&workspace, &arguments)?,
        Command::Demo { nftables } => return demo::run(&workspace, nftables),
        Command::Bench { arguments } => bench::run(&workspace, &arguments)?,
        Command::Simulate(options) => simulate::run(&workspace, &options)?,
        Command::Vm(options) => return vm::run(&workspace, &options),
        Command::CleanRoot(options) => clean_root::run(&workspace, &options)?,
        Command::Booted(options) => booted::run(&workspace, &options)?,
    }
    Ok(ExitCode::SUCCESS)
}
