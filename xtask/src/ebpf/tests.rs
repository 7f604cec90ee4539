//! The choice of a toolchain as people meet it: programs that answer as rustup, rustc, cargo, bpf-linker and apt do,
//! on a search path of their own, and nothing else of the machine.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::toolchain::{self, Origin, Toolchain};
use super::*;

const NIGHTLY: &str = "nightly-x86_64-unknown-linux-gnu";
const CORE: &str = "lib/rustlib/src/rust/library/core/src/lib.rs";

/// A machine that holds what is put into it. Programs that change it write a line into a journal first.
struct Scene {
    folder: TempDir,
    machine: Machine,
    workspace: Workspace,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_path_buf();
        let machine = Machine {
            root: root.clone(),
            search: root.join("path").into(),
            cargo_home: Some(root.join("cargo")),
            cargo: root.join("path/cargo"),
            is_root: true,
        };
        let workspace = Workspace { root: root.join("guard"), target: root.join("guard/target") };
        let scene = Self { folder, machine, workspace };
        scene.file("usr/sbin/policy-rc.d", "");
        // `ldd FILE`: what a stand-in is linked with is written beside it.
        scene.program("path/ldd", "read -r line < \"$1.so\" && echo \"$line\"");
        scene
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn file(&self, path: &str, text: &str) {
        fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
        fs::write(self.path(path), text).unwrap();
    }

    /// A stand-in; `$root` is the machine's root, and `note` writes what was asked into the journal.
    fn program(&self, path: &str, body: &str) {
        let root = self.folder.path().display();
        let name = path.rsplit('/').next().unwrap();
        let text =
            format!("#!/bin/sh\nroot={root}\nnote() {{ echo \"{name} $*\" >> $root/journal; }}\n{body}\n");
        // Written by another process: a test that forks meanwhile would hold the file open, and it could not be run.
        let draft = format!("{path}.draft");
        self.file(&draft, &text);
        let mut install = Command::new("install");
        process::output(install.args(["-m", "755"]).args([self.path(&draft), self.path(path)])).unwrap();
    }

    /// A compiler with its cargo, in `folder`.
    fn compiler(&self, folder: &str, release: &str, llvm: u32) {
        let body = format!(
            "case \"$*\" in\n\
             -vV) echo 'rustc {release} (e50aa6fba 2026-05-19)'; echo 'binary: rustc'; echo 'host: x86_64-unknown-linux-gnu'; \
             echo 'release: {release}'; echo 'LLVM version: {llvm}.1.4';;\n\
             '--print sysroot') echo $root/{folder};;\n\
             *) exit 1;;\nesac"
        );
        self.program(&format!("{folder}/bin/rustc"), &body);
        self.program(&format!("{folder}/bin/cargo"), "exit 0");
    }

    /// A rustup that knows stable, and this nightly if there is one; `add` is what it does when asked for more.
    fn rustup(&self, nightly: Option<u32>, add: &str) {
        if let Some(llvm) = nightly {
            self.compiler(&format!("rustup/{NIGHTLY}"), "1.97.0-nightly", llvm);
        }
        let listed = if nightly.is_some() { NIGHTLY } else { "" };
        let body = format!(
            "case \"$1 $2\" in\n\
             'toolchain list') echo 'stable-x86_64-unknown-linux-gnu (active, default)'; echo {listed};;\n\
             'which --toolchain') echo $root/rustup/$3/bin/rustc;;\n\
             'component add' | 'toolchain install') note \"$@\"; {add};;\n\
             *) exit 1;;\nesac"
        );
        self.program("path/rustup", &body);
    }

    /// An apt that offers Debian's compiler and LLVM, or nothing.
    fn apt(&self, offers: bool) {
        // What the packages hold, put in place when they are installed.
        self.compiler("debian", "1.96.0", 22);
        self.file(&format!("debian/{CORE}"), "");
        self.program("debian/bin/llvm-config", "exit 0");
        let candidate = if offers { "1.96.0+dfsg1" } else { "(none)" };
        self.program(
            "path/apt-cache",
            &format!("echo \"$2:\"; echo '  Installed: (none)'; echo '  Candidate: {candidate}'"),
        );
        self.program(
            "path/apt-get",
            "note \"$@\"\ncase \"$*\" in\n\
             *rustc-web*) /bin/mkdir -p $root/usr/bin && /bin/cp $root/debian/bin/rustc $root/debian/bin/cargo $root/usr/bin;;\n\
             *llvm-22-dev*) /bin/mkdir -p $root/usr/lib/llvm-22/bin && /bin/cp $root/debian/bin/llvm-config $root/usr/lib/llvm-22/bin;;\n\
             *llvm-*) exit 100;;\nesac",
        );
    }

    /// The system's compiler, as after an installation of Debian's packages.
    fn system_compiler(&self) {
        self.compiler("usr", "1.96.0", 22);
        self.file(&format!("usr/{CORE}"), "");
    }

    fn linker(&self, llvm: u32) {
        self.program("cargo/bin/bpf-linker", "echo bpf-linker 0.13.0");
        let library =
            format!("libLLVM.so.{llvm}.1 => /usr/lib/llvm-{llvm}/lib/libLLVM.so.{llvm}.1 (0x00007f)\n");
        self.file("cargo/bin/bpf-linker.so", &library);
    }

    fn llvm(&self, llvm: u32) {
        self.program(&format!("usr/lib/llvm-{llvm}/bin/llvm-config"), "exit 0");
    }

    /// A cargo that installs a bpf-linker of the generation of the prefix it is given.
    fn cargo(&self) {
        self.program(
            "path/cargo",
            "note \"$@\"\nto=$root/cargo\n\
             while [ $# -gt 0 ]; do [ \"$1\" = --root ] && to=$2; shift; done\n\
             llvm=${LLVM_PREFIX##*-}\n\
             /bin/mkdir -p $to/bin\n\
             printf '#!/bin/sh\\necho bpf-linker 0.13.0\\n' > $to/bin/bpf-linker\n\
             /bin/chmod +x $to/bin/bpf-linker\n\
             echo \"libLLVM.so.$llvm.1 => $LLVM_PREFIX/lib/libLLVM.so.$llvm.1\" > $to/bin/bpf-linker.so",
        );
    }

    fn ensure(&self) -> Result<Toolchain> {
        toolchain::ensure(&self.machine, &self.workspace)
    }

    /// What was done to the machine, apt's switches left out.
    fn journal(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("journal")).unwrap_or_default();
        text.lines().map(|line| line.replace(" -q -o Dpkg::Use-Pty=0", "")).collect()
    }
}

#[test]
fn a_nightly_with_sources_is_chosen_before_the_system_and_nothing_is_installed() {
    let scene = Scene::new();
    scene.rustup(Some(22), "exit 1");
    scene.file(&format!("rustup/{NIGHTLY}/{CORE}"), "");
    scene.system_compiler();
    scene.linker(22);
    let Toolchain { compiler, linker } = scene.ensure().unwrap();
    assert_eq!(compiler.origin, Origin::Rustup(NIGHTLY.into()));
    assert_eq!(compiler.rustc, scene.path(&format!("rustup/{NIGHTLY}/bin/rustc")));
    assert_eq!((compiler.llvm, linker.llvm), (22, Some(22)));
    assert_eq!(scene.journal(), [""; 0]);
}

#[test]
fn the_linker_is_built_on_the_generation_of_the_compiler() {
    let scene = Scene::new();
    scene.rustup(Some(23), "exit 1");
    scene.file(&format!("rustup/{NIGHTLY}/{CORE}"), "");
    scene.llvm(23);
    scene.cargo();
    let toolchain = scene.ensure().unwrap();
    assert_eq!(toolchain.linker.llvm, Some(23));
    assert_eq!(
        scene.journal(),
        ["cargo install bpf-linker --version 0.13.0 --locked --no-default-features --features llvm-23"]
    );
}

#[test]
fn a_nightly_without_sources_is_given_them() {
    let scene = Scene::new();
    let core = format!("$root/rustup/{NIGHTLY}/{CORE}");
    scene.rustup(
        Some(22),
        &format!(
            "/bin/mkdir -p ${{root}}/rustup/{NIGHTLY}/lib/rustlib/src/rust/library/core/src && : > {core}"
        ),
    );
    scene.linker(22);
    let toolchain = scene.ensure().unwrap();
    assert_eq!(toolchain.compiler.origin, Origin::Rustup(NIGHTLY.into()));
    assert_eq!(scene.journal(), [format!("rustup component add rust-src --toolchain {NIGHTLY}")]);
}

#[test]
fn where_rustup_refuses_the_sources_the_system_is_taken() {
    let scene = Scene::new();
    scene.rustup(Some(22), "echo 'error: could not download file' >&2; exit 1");
    scene.apt(true);
    scene.file(&format!("debian/{CORE}"), "");
    scene.linker(22);
    let toolchain = scene.ensure().unwrap();
    assert_eq!(toolchain.compiler.origin, Origin::System);
    assert_eq!(
        scene.journal(),
        [
            &*format!("rustup component add rust-src --toolchain {NIGHTLY}"),
            "apt-get update",
            "apt-get install -y --no-install-recommends rustc-web cargo-web rust-web-src",
        ]
    );
}

#[test]
fn a_complete_system_leaves_a_nightly_without_sources_alone() {
    let scene = Scene::new();
    scene.rustup(Some(22), "exit 1");
    scene.system_compiler();
    scene.linker(22);
    assert_eq!(scene.ensure().unwrap().compiler.origin, Origin::System);
    assert_eq!(scene.journal(), [""; 0]);
}

#[test]
fn a_linker_of_another_generation_is_left_alone_and_one_that_fits_is_built_beside_the_objects() {
    let scene = Scene::new();
    scene.system_compiler();
    scene.linker(21);
    scene.apt(true);
    scene.cargo();
    let toolchain = scene.ensure().unwrap();
    assert_eq!(toolchain.linker.llvm, Some(22));
    assert_eq!(toolchain.linker.path, scene.path("guard/target/tools/bin/bpf-linker"));
    let journal = scene.journal();
    assert!(journal[0].starts_with("apt-get install -y --no-install-recommends llvm-22-dev libpolly-22-dev"));
    assert!(journal[1].contains("--features llvm-22 --force --root"), "{journal:?}");
    let old = fs::read_to_string(scene.path("cargo/bin/bpf-linker.so")).unwrap();
    assert!(old.contains("libLLVM.so.21"), "somebody's own linker has changed");
}

#[test]
fn a_linker_of_another_generation_decides_for_the_compiler_it_fits() {
    let scene = Scene::new();
    scene.rustup(Some(23), "exit 1");
    scene.file(&format!("rustup/{NIGHTLY}/{CORE}"), "");
    scene.system_compiler();
    scene.linker(22);
    assert_eq!(scene.ensure().unwrap().compiler.origin, Origin::System);
    assert_eq!(scene.journal(), [""; 0]);
}

#[test]
fn where_no_linker_can_be_had_for_a_nightly_the_system_is_taken() {
    let scene = Scene::new();
    scene.rustup(Some(23), "exit 1");
    scene.file(&format!("rustup/{NIGHTLY}/{CORE}"), "");
    scene.apt(true);
    scene.cargo();
    let toolchain = scene.ensure().unwrap();
    assert_eq!((toolchain.compiler.origin, toolchain.linker.llvm), (Origin::System, Some(22)));
}

#[test]
fn one_command_is_named_where_nothing_can_be_installed() {
    let refusal = |scene: &Scene| scene.ensure().unwrap_err().to_string();
    let debian = "as root, this helps: `apt-get update && apt-get install --no-install-recommends rustc-web cargo-web \
                  rust-web-src`";

    let scene = Scene::new();
    let said = refusal(&scene);
    assert!(
        said.contains("https://rustup.rs") && said.contains("`rustup toolchain install nightly"),
        "{said}"
    );

    let mut scene = Scene::new();
    scene.machine.is_root = false;
    scene.apt(true);
    assert!(refusal(&scene).ends_with(debian), "{}", refusal(&scene));
    assert_eq!(scene.journal(), [""; 0], "nothing is tried that needs root");

    // rustup cannot: the way that is left.
    scene.rustup(Some(22), "exit 1");
    assert!(refusal(&scene).ends_with(debian), "{}", refusal(&scene));

    // Both were tried: the nearest way.
    scene.machine.is_root = true;
    scene.apt(false);
    let said = refusal(&scene);
    assert!(
        said.ends_with(&format!(
            "what helps has failed: `rustup component add rust-src --toolchain {NIGHTLY}`"
        )),
        "{said}"
    );
}

#[test]
fn one_command_is_named_where_llvm_for_the_linker_is_missing() {
    let mut scene = Scene::new();
    scene.machine.is_root = false;
    scene.system_compiler();
    scene.linker(21);
    let said = scene.ensure().unwrap_err().to_string();
    assert!(
        said.contains("as root, this helps: `apt-get install --no-install-recommends llvm-22-dev"),
        "{said}"
    );
    assert!(said.ends_with("--features llvm-22`"), "{said}");
    assert_eq!(scene.journal(), [""; 0]);
}

#[test]
fn a_compiler_whose_llvm_no_linker_fits_does_not_count() {
    let scene = Scene::new();
    scene.rustup(Some(20), "exit 1");
    scene.file(&format!("rustup/{NIGHTLY}/{CORE}"), "");
    scene.linker(20);
    let said = scene.ensure().unwrap_err().to_string();
    assert!(said.contains("`rustup toolchain install nightly"), "{said}");
}

#[test]
fn the_object_is_the_program_cargo_names() {
    let library = r#"{"reason":"compiler-artifact","executable":null}"#;
    let program = r#"{"reason":"compiler-artifact","executable":"/t/release/guard"}"#;
    assert_eq!(executable(library), None);
    assert_eq!(executable(program), Some("/t/release/guard".into()));
    assert_eq!(executable("warning: not JSON"), None);
}
