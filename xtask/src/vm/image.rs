//! The file system that a kernel boots into: busybox, the tests, what they start, and the libraries of all.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::modules::Module;
use crate::process;

/// The first process.
const INIT: &str = include_str!("init.sh");

/// A file system in the making, in a folder that is removed at the end.
#[derive(Debug)]
pub struct Image {
    folder: PathBuf,
    /// Files of this machine that are there at their own places.
    there: BTreeSet<PathBuf>,
    tests: String,
}

impl Image {
    /// One with an init and a shell.
    pub fn new(folder: PathBuf) -> Result<Self> {
        remove(&folder)?;
        let image = Self { folder, there: BTreeSet::new(), tests: String::new() };
        let busybox = process::find("busybox").context("busybox is not installed")?;
        image.copy(&busybox, Path::new("/bin/busybox"))?;
        std::os::unix::fs::symlink("busybox", image.at(Path::new("/bin/sh")))?;
        image.write(Path::new("/init"), INIT.as_bytes())?;
        fs::set_permissions(image.at(Path::new("/init")), fs::Permissions::from_mode(0o755))?;
        image.write(Path::new("/etc/passwd"), b"root:x:0:0::/root:/bin/sh\n")?;
        Ok(image)
    }

    /// Adds a file of this machine at its own place.
    pub fn file(&mut self, path: &Path) -> Result<()> {
        if self.there.insert(path.to_owned()) {
            self.copy(path, path)?;
        }
        Ok(())
    }

    /// Adds a program of this machine, looked for on the path unless it is one, and the libraries that it loads.
    pub fn program(&mut self, program: &Path) -> Result<()> {
        let path = match program.to_str() {
            Some(name) if !name.contains('/') => {
                process::find(name).with_context(|| format!("{name} is not installed"))?
            }
            _ => program.to_owned(),
        };
        self.file(&path)?;
        for library in libraries(&process::output(Command::new("ldd").arg(&path))?) {
            self.file(Path::new(library))?;
        }
        Ok(())
    }

    /// Adds a test program without what only debuggers read, and has it run in a folder with arguments.
    pub fn test(&mut self, name: &str, program: &Path, folder: &Path, arguments: &[String]) -> Result<()> {
        self.program(program)?;
        process::run(Command::new("strip").arg("--strip-debug").arg(self.at(program)))?;
        fs::create_dir_all(self.at(folder))?;
        let command = [program.display().to_string()].into_iter().chain(arguments.iter().cloned());
        let command: Vec<String> = command.collect();
        writeln!(self.tests, "{name} {} {}", folder.display(), command.join(" "))?;
        Ok(())
    }

    /// Adds modules, which are loaded in this order.
    pub fn modules(&self, modules: &[Module]) -> Result<()> {
        for module in modules {
            self.write(Path::new(&format!("/modules/{}.ko", module.name)), &module.bytes)?;
        }
        let order: Vec<&str> = modules.iter().map(|module| module.name.as_str()).collect();
        self.write(Path::new("/modules/order"), order.join("\n").as_bytes())
    }

    /// Writes it as the compressed archive that kernels unpack, `Documentation/driver-api/early-userspace/buffer-format.rst`.
    pub fn pack(self, archive: &Path) -> Result<()> {
        self.write(Path::new("/tests"), self.tests.as_bytes())?;
        let file = fs::File::create(archive).with_context(|| format!("cannot make {}", archive.display()))?;
        let script = "find . | cpio --create --format=newc --owner=0:0 --quiet | gzip -1";
        let status = Command::new("sh")
            .args(["-c", script])
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(file)
            .status()?;
        if !status.success() {
            bail!("packing {} ended with {status}", archive.display());
        }
        Ok(())
    }

    fn at(&self, path: &Path) -> PathBuf {
        self.folder.join(path.strip_prefix("/").unwrap_or(path))
    }

    fn copy(&self, from: &Path, to: &Path) -> Result<()> {
        let to = self.at(to);
        to.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::copy(from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
        Ok(())
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let path = self.at(path);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = remove(&self.folder);
    }
}

fn remove(folder: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    Ok(())
}

/// The files that `ldd` names: `NAME => /path (0x…)`, or the loader's own path at the beginning of a line.
fn libraries(said: &str) -> impl Iterator<Item = &str> {
    said.split_whitespace().filter(|word| word.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_libraries_of_a_program() {
        let said = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/libc.so.6 (0x00007f)\n\t/lib64/ld-linux.so.2 (0x7f)\n";
        assert_eq!(libraries(said).collect::<Vec<_>>(), ["/lib/libc.so.6", "/lib64/ld-linux.so.2"]);
    }
}
