//! Debian's kernels, fetched beside the machine's own packages: nothing of them is installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::process;
use crate::workspace::Workspace;

/// What signs Debian's releases, on every Debian.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
/// Depends on the newest kernel for virtual machines.
const NEWEST: &str = "linux-image-cloud-amd64";

/// A release of Debian and the series of its kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Release {
    /// The first two numbers of the kernel's version.
    pub series: &'static str,
    suite: &'static str,
}

/// Those that servers run today.
pub const RELEASES: [Release; 2] =
    [Release { series: "6.1", suite: "bookworm" }, Release { series: "6.12", suite: "trixie" }];

/// An unpacked kernel.
#[derive(Debug)]
pub struct Kernel {
    /// What a boot loader starts.
    pub image: PathBuf,
    /// The folder of its modules.
    pub modules: PathBuf,
}

impl Release {
    /// The kernel below `target/`, fetched if it is not there.
    pub fn kernel(self, workspace: &Workspace) -> Result<Kernel> {
        let folder = workspace.target.join("vm").join(self.suite);
        let root = folder.join("root");
        if let Some(kernel) = Kernel::unpacked(&root) {
            return Ok(kernel);
        }
        eprintln!("missing: a kernel {:<14} of {}", self.series, self.suite);
        let tree = AptTree::new(&folder, self.suite)?;
        process::run(tree.get().arg("update"))?;
        let depends = process::output(tree.command("apt-cache").args(["depends", NEWEST]))?;
        let package = depends
            .lines()
            .find_map(|line| line.trim().strip_prefix("Depends: "))
            .with_context(|| format!("{} has no kernel: {depends}", self.suite))?;
        let download = folder.join("download");
        fs::create_dir_all(&download)?;
        process::run(tree.get().current_dir(&download).args(["download", package]))?;
        for file in fs::read_dir(&download)? {
            process::run(Command::new("dpkg").arg("-x").arg(file?.path()).arg(&root))?;
        }
        fs::remove_dir_all(&download)?;
        Kernel::unpacked(&root).with_context(|| format!("{package} holds no kernel"))
    }
}

impl Kernel {
    fn unpacked(root: &Path) -> Option<Self> {
        let image = entries(&root.join("boot")).find(|path| name(path).starts_with("vmlinuz-"))?;
        // Debian has merged /lib into /usr/lib.
        let modules = ["usr/lib/modules", "lib/modules"].into_iter();
        let modules = modules.flat_map(|place| entries(&root.join(place))).next()?;
        Some(Self { image, modules })
    }
}

fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What apt works in for one release, so that the machine's own lists and packages stay as they are.
struct AptTree(Vec<String>);

impl AptTree {
    fn new(folder: &Path, suite: &str) -> Result<Self> {
        let folder = folder.join("apt");
        for below in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(below))?;
        }
        let status = folder.join("status");
        fs::write(&status, "")?;
        let sources = folder.join("sources.list");
        fs::write(&sources, format!("deb [signed-by={KEYRING}] {} {suite} main\n", mirror()?))?;
        let place = |option: &str, path: &Path| format!("{option}={}", path.display());
        Ok(Self(vec![
            place("Dir::Etc::sourcelist", &sources),
            "Dir::Etc::sourceparts=/dev/null".into(),
            place("Dir::State::lists", &folder.join("lists")),
            place("Dir::State::status", &status),
            place("Dir::Cache", &folder.join("cache")),
            // The folder is root's or the user's, not that of apt's own account.
            "APT::Sandbox::User=root".into(),
            "APT::Architecture=amd64".into(),
            "Acquire::Languages=none".into(),
        ]))
    }

    fn get(&self) -> Command {
        self.command("apt-get")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.arg("-q").args(self.0.iter().flat_map(|option| ["-o", option]));
        command
    }
}

/// Where this machine's own Debian comes from.
fn mirror() -> Result<String> {
    let format = ["indextargets", "--format", "$(LABEL) $(REPO_URI)", "Created-By: Packages"];
    let known = process::output(Command::new("apt-get").args(format))?;
    match known.lines().find_map(|line| line.strip_prefix("Debian ")) {
        Some(mirror) => Ok(mirror.to_owned()),
        None => bail!("this machine's apt knows no mirror of Debian"),
    }
}
