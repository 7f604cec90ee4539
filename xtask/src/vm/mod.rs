//! `cargo xtask vm`: the packet program and the nftables backend on the kernels that servers run.
//!
//! Each kernel of [`kernel::RELEASES`] is booted in an emulated machine, into an archive that holds the test programs of
//! this build and what they start; what it prints is counted like a test run here. Nothing is installed or mounted.

mod image;
mod kernel;
mod machine;
mod modules;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::packages;
use crate::test::{Suite, Tally};
use crate::workspace::Workspace;
use image::Image;
use kernel::{RELEASES, Release};

/// The test programs that are about kernels.
const TESTS: [&str; 2] = ["kernel", "nftables"];
/// What they start or look for.
const STARTED: [&str; 6] = ["ip", "nft", "ping", "unshare", "sleep", "ss"];
/// Tests of how much a kernel takes, which say the same on every one and take minutes where each instruction is emulated.
const LARGE: [&str; 4] = [
    "a_hundred_thousand_in_one_batch",
    "a_large_map_grows_while_bans_come_and_go",
    "every_length_covers_exactly_its_addresses",
    "three_hundred_thousand_bans_in_one_call",
];

/// Which kernels to boot.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Only kernels of these series, such as 6.1
    #[arg(long, value_delimiter = ',')]
    series: Vec<String>,
    /// Only tests whose name contains this
    #[arg(long)]
    filter: Option<String>,
}

/// Boots the kernels that are chosen.
pub fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    let chosen =
        |release: &&Release| options.series.is_empty() || options.series.iter().any(|s| s == release.series);
    let releases: Vec<Release> = RELEASES.iter().filter(chosen).copied().collect();
    if releases.is_empty() {
        let known: Vec<&str> = RELEASES.iter().map(|release| release.series).collect();
        bail!("no such series: there are {}", known.join(" and "));
    }
    packages::ensure(packages::VM)?;
    let suite = Suite::of(workspace, &TESTS)?;
    let tally = boot(workspace, &suite, &releases, options.filter.as_deref())?;
    println!("{tally}");
    Ok(if tally.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn boot(workspace: &Workspace, suite: &Suite, releases: &[Release], filter: Option<&str>) -> Result<Tally> {
    let mut tally = Tally::default();
    for release in releases {
        let kernel = release.kernel(workspace)?;
        let folder = workspace.target.join("vm");
        let mut image = Image::new(folder.join("image"))?;
        image.modules(&modules::wanted(&kernel.modules)?)?;
        for program in STARTED {
            image.program(Path::new(program))?;
        }
        for object in objects(workspace)? {
            image.file(&object)?;
        }
        for name in TESTS {
            let (program, package) = suite.program(name)?;
            image.test(name, program, package, &arguments(filter))?;
        }
        let archive = folder.join("image.gz");
        image.pack(&archive)?;
        tally.add(machine::run(release.series, &kernel.image, &archive)?);
    }
    Ok(tally)
}

/// What the tests read of the build.
fn objects(workspace: &Workspace) -> Result<Vec<PathBuf>> {
    let mut objects = Vec::new();
    for entry in std::fs::read_dir(workspace.objects())? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "o") {
            objects.push(path);
        }
    }
    Ok(objects)
}

fn arguments(filter: Option<&str>) -> Vec<String> {
    let mut arguments = vec!["--test-threads=2".to_owned()];
    arguments.extend(LARGE.map(|name| format!("--skip={name}")));
    arguments.extend(filter.map(str::to_owned));
    arguments
}
