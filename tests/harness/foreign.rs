//! What somebody else does to the kernel's side: an XDP program of his own, entries of guard's maps.

#![allow(unsafe_code, reason = "a program is loaded by the raw system call: no loader is wanted here")]

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::path::Path;

use crate::Namespace;

/// Attaches a program that passes every packet to an interface, as another tool would through netlink, and answers its
/// id. It goes with the interface.
pub fn attach_foreign_xdp(namespace: &Namespace, interface: &str) -> u64 {
    let program = load_pass();
    // `ip` takes a pinned program only; the pin is gone again as soon as the program is attached.
    let pin = format!("/sys/fs/bpf/guard-foreign-{}-{}", std::process::id(), program.as_raw_fd());
    pin_object(&program, &pin).unwrap_or_else(|error| panic!("cannot pin at {pin}: {error}"));
    namespace.ip(&format!("link set dev {interface} xdp pinned {pin}"));
    let _ = std::fs::remove_file(&pin);
    foreign_xdp(namespace, interface).expect("the program was attached")
}

/// The id of the program that is attached to an interface.
pub fn foreign_xdp(namespace: &Namespace, interface: &str) -> Option<u64> {
    let link = namespace.ip(&format!("-json -details link show dev {interface}"));
    let link: serde_json::Value = serde_json::from_str(&link).ok()?;
    link[0]["xdp"]["prog"]["id"].as_u64()
}

/// Takes an entry out of a pinned map, as another tool would; answers what it held.
pub fn take_map_entry(pin: &Path, key: &[u8]) -> Option<Vec<u8>> {
    let map = open_pinned(pin);
    // No value of guard's is longer, and none of these maps is one for each processor.
    let mut value = vec![0; 64];
    element(&map, BPF_MAP_LOOKUP_ELEM, key, &mut value).ok()?;
    element(&map, BPF_MAP_DELETE_ELEM, key, &mut []).ok()?;
    Some(value)
}

/// Puts an entry into a pinned map, or over the one that is there.
pub fn put_map_entry(pin: &Path, key: &[u8], value: &mut [u8]) {
    element(&open_pinned(pin), BPF_MAP_UPDATE_ELEM, key, value)
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", pin.display()));
}

/// Puts entries with one value into a pinned map until it is full; how many went in.
pub fn fill_map(pin: &Path, keys: impl Iterator<Item = [u8; 4]>, value: &mut [u8]) -> usize {
    let map = open_pinned(pin);
    keys.take_while(|key| match element(&map, BPF_MAP_UPDATE_ELEM, key, value) {
        Ok(()) => true,
        Err(error) if error.raw_os_error() == Some(libc::E2BIG) => false,
        Err(error) => panic!("cannot write {}: {error}", pin.display()),
    })
    .count()
}

const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
const BPF_MAP_DELETE_ELEM: libc::c_long = 3;

/// `BPF_OBJ_GET`.
fn open_pinned(path: &Path) -> OwnedFd {
    const BPF_OBJ_GET: libc::c_long = 7;
    let path = std::ffi::CString::new(path.as_os_str().as_encoded_bytes()).expect("a path has no zero byte");
    let attr = Pin { path: path.as_ptr() as u64, fd: 0, flags: 0 };
    // SAFETY: the call reads `attr` and the path it points to, both live.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_OBJ_GET, &raw const attr, size_of::<Pin>()) };
    assert!(fd >= 0, "cannot open {path:?}: {}", std::io::Error::last_os_error());
    // SAFETY: the kernel has just given this descriptor to us and nobody else has it.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

/// A command on one element of a map, with room for any value in `value`.
fn element(map: &OwnedFd, command: libc::c_long, key: &[u8], value: &mut [u8]) -> std::io::Result<()> {
    #[repr(C)]
    struct Element {
        map: u64,
        key: u64,
        value: u64,
        flags: u64,
    }
    // Where a command takes no value the kernel insists on none.
    let value = if value.is_empty() { 0 } else { value.as_mut_ptr() as u64 };
    let key = key.as_ptr() as u64;
    let attr = Element { map: map.as_raw_fd() as u64, key, value, flags: 0 };
    // SAFETY: key and value are as long as the map's or longer, and live through the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const attr, size_of::<Element>()) };
    if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}

/// `BPF_PROG_LOAD` of `r0 = XDP_PASS; exit` (include/uapi/linux/bpf.h).
fn load_pass() -> OwnedFd {
    /// The first fields of `union bpf_attr` for that command; the kernel takes the rest for zero.
    #[repr(C)]
    struct Load {
        kind: u32,
        instructions: u32,
        code: u64,
        license: u64,
    }
    const BPF_PROG_LOAD: libc::c_long = 5;
    const BPF_PROG_TYPE_XDP: u32 = 6;
    let code: [u64; 2] = [0x0000_0002_0000_00b7, 0x0000_0000_0000_0095];
    let attr = Load {
        kind: BPF_PROG_TYPE_XDP,
        instructions: 2,
        code: code.as_ptr() as u64,
        license: c"MIT".as_ptr() as u64,
    };
    // SAFETY: `attr` and what it points to live through the call, which reads exactly `size_of::<Load>()` bytes of it.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const attr, size_of::<Load>()) };
    assert!(fd >= 0, "the program is accepted: {}", std::io::Error::last_os_error());
    // SAFETY: the kernel has just given this descriptor to us and nobody else has it.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

/// The fields of `union bpf_attr` for pins.
#[repr(C)]
struct Pin {
    path: u64,
    fd: u32,
    flags: u32,
}

/// `BPF_OBJ_PIN`.
fn pin_object(program: &OwnedFd, path: &str) -> std::io::Result<()> {
    const BPF_OBJ_PIN: libc::c_long = 6;
    let path = std::ffi::CString::new(path)?;
    let attr = Pin { path: path.as_ptr() as u64, fd: program.as_raw_fd() as u32, flags: 0 };
    // SAFETY: as above: the call reads `attr` and the path it points to, both live.
    let result = unsafe { libc::syscall(libc::SYS_bpf, BPF_OBJ_PIN, &raw const attr, size_of::<Pin>()) };
    if result < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}
