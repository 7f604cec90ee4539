//! Embeds the eBPF object if it is wanted and there is one. Without it the build still succeeds, and the daemon says so.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo::rustc-check-cfg=cfg(guard_ebpf_object)");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=GUARD_EBPF_OBJECT");
    println!("cargo::rerun-if-env-changed=CARGO_TARGET_DIR");
    if env::var_os("CARGO_FEATURE_OBJECT").is_none() {
        return;
    }
    let object = match env::var_os("GUARD_EBPF_OBJECT") {
        Some(path) => PathBuf::from(path),
        None => built_object(),
    };
    if let Some(folder) = object.parent().filter(|folder| folder.is_dir()) {
        // The folder, not the file: cargo takes a file that is missing for changed, each time.
        println!("cargo::rerun-if-changed={}", folder.display());
    }
    if let Ok(object) = object.canonicalize() {
        println!("cargo::rustc-cfg=guard_ebpf_object");
        println!("cargo::rustc-env=GUARD_EBPF_OBJECT_FILE={}", object.display());
    }
}

/// Where `cargo xtask build-ebpf` puts it. The folder is made, so that an object which appears later is noticed.
fn built_object() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let folder = workspace.join(target).join("ebpf");
    // Sources that cannot be written to have no object that could appear.
    let _ = fs::create_dir_all(&folder);
    folder.join("guard.o")
}
