//! The `bpf` system call, as far as aya does not offer it: bpf(2), `union bpf_attr` in `include/uapi/linux/bpf.h`.
#![allow(unsafe_code, reason = "the system call takes pointers as integers")]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// `enum bpf_cmd`.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(super) enum Command {
    MapCreate = 0,
    Lookup = 1,
    Update = 2,
    Delete = 3,
    NextKey = 4,
    Pin = 6,
    Get = 7,
    InfoByFd = 15,
    LookupBatch = 24,
    UpdateBatch = 26,
    DeleteBatch = 27,
    LinkCreate = 28,
    LinkUpdate = 29,
    LinkDetach = 34,
}

/// `BPF_XDP` of `enum bpf_attach_type`.
const ATTACH_XDP: u32 = 37;
/// `BPF_LINK_TYPE_XDP` of `enum bpf_link_type`.
pub(super) const LINK_XDP: u32 = 6;
/// `XDP_FLAGS_SKB_MODE` of `include/uapi/linux/if_link.h`.
pub(super) const XDP_GENERIC: u32 = 1 << 1;
/// `XDP_FLAGS_DRV_MODE`.
pub(super) const XDP_NATIVE: u32 = 1 << 2;
/// `ENOTSUPP`, the kernel's own number for an operation a map type does not have.
pub(super) const ENOTSUPP: i32 = 524;

/// Arguments of the element commands.
#[repr(C)]
#[derive(Default)]
pub(super) struct Element {
    pub(super) map: u32,
    pub(super) pad: u32,
    pub(super) key: u64,
    /// The value, or for [`Command::NextKey`] the next key.
    pub(super) value: u64,
    pub(super) flags: u64,
}

/// Arguments of the batch commands.
#[repr(C)]
#[derive(Default)]
pub(super) struct Batch {
    pub(super) from: u64,
    pub(super) next: u64,
    pub(super) keys: u64,
    pub(super) values: u64,
    pub(super) count: u32,
    pub(super) map: u32,
    pub(super) element_flags: u64,
    pub(super) flags: u64,
}

#[repr(C)]
#[derive(Default)]
struct Object {
    path: u64,
    fd: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct Info {
    fd: u32,
    length: u32,
    address: u64,
}

#[repr(C)]
#[derive(Default)]
struct LinkCreate {
    program: u32,
    ifindex: u32,
    attach_type: u32,
    flags: u32,
}

#[repr(C)]
#[derive(Default)]
struct LinkUpdate {
    link: u32,
    program: u32,
    flags: u32,
    old_program: u32,
}

#[repr(C)]
struct LinkDetach {
    link: u32,
}

#[repr(C)]
#[derive(Default)]
struct MapCreate {
    kind: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

/// The start of `struct bpf_map_info`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MapInfo {
    pub(super) kind: u32,
    pub(super) id: u32,
    pub(super) key_size: u32,
    pub(super) value_size: u32,
    pub(super) max_entries: u32,
    pub(super) flags: u32,
}

/// The start of `struct bpf_link_info`, of an XDP link.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LinkInfo {
    pub(super) kind: u32,
    pub(super) id: u32,
    pub(super) program: u32,
    pad: u32,
    /// 0 when the interface is gone.
    pub(super) ifindex: u32,
}

/// The start of `struct bpf_prog_info`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ProgramInfo {
    kind: u32,
    pub(super) id: u32,
}

/// Makes the call.
///
/// # Safety
/// Every address in `argument` must point to memory of the size the command reads or writes there.
pub(super) unsafe fn bpf<T>(command: Command, argument: &mut T) -> io::Result<i64> {
    // SAFETY: `argument` is a live `repr(C)` value of the given size; the kernel takes what is missing of the union
    // as zero. The addresses in it are the caller's promise.
    let answer = unsafe {
        libc::syscall(libc::SYS_bpf, command as libc::c_int, std::ptr::from_mut(argument), size_of::<T>())
    };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// A descriptor as the call takes it.
pub(super) fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd() as u32
}

/// Opens a pinned object.
pub(super) fn open_pinned(path: &Path) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let mut argument = Object { path: path.as_ptr() as u64, ..Object::default() };
    // SAFETY: the path is a live C string.
    let fd = unsafe { bpf(Command::Get, &mut argument) }?;
    Ok(own(fd))
}

/// Pins an object.
pub(super) fn pin(fd: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    let mut argument = Object { path: path.as_ptr() as u64, fd: raw(fd), flags: 0 };
    // SAFETY: the path is a live C string.
    unsafe { bpf(Command::Pin, &mut argument) }.map(drop)
}

/// What the kernel tells of a map.
pub(super) fn map_info(fd: BorrowedFd<'_>) -> io::Result<MapInfo> {
    info(fd)
}

/// What the kernel tells of a link.
pub(super) fn link_info(fd: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    info(fd)
}

/// What the kernel tells of a program.
pub(super) fn program_info(fd: BorrowedFd<'_>) -> io::Result<ProgramInfo> {
    info(fd)
}

/// Reads the start of an object's information. `T` is one of the plain structures above.
fn info<T: Copy + Default>(fd: BorrowedFd<'_>) -> io::Result<T> {
    let mut value = T::default();
    let mut argument =
        Info { fd: raw(fd), length: size_of::<T>() as u32, address: std::ptr::from_mut(&mut value) as u64 };
    // SAFETY: the kernel writes at most `length` bytes into `value`, which consists of integers.
    unsafe { bpf(Command::InfoByFd, &mut argument) }?;
    Ok(value)
}

/// Attaches an XDP program to an interface.
pub(super) fn link_create(program: BorrowedFd<'_>, ifindex: u32, flags: u32) -> io::Result<OwnedFd> {
    let mut argument = LinkCreate { program: raw(program), ifindex, attach_type: ATTACH_XDP, flags };
    // SAFETY: the argument holds no address.
    let fd = unsafe { bpf(Command::LinkCreate, &mut argument) }?;
    Ok(own(fd))
}

/// Puts another program into a link; every packet sees the one or the other.
pub(super) fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut argument = LinkUpdate { link: raw(link), program: raw(program), ..LinkUpdate::default() };
    // SAFETY: the argument holds no address.
    unsafe { bpf(Command::LinkUpdate, &mut argument) }.map(drop)
}

/// Takes a link off its interface now. Closing and unpinning alone do so only some time later.
pub(super) fn link_detach(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut argument = LinkDetach { link: raw(link) };
    // SAFETY: the argument holds no address.
    unsafe { bpf(Command::LinkDetach, &mut argument) }.map(drop)
}

/// Creates the smallest hash map and drops it: shows whether the process may use bpf(2) at all.
pub(super) fn probe_map() -> io::Result<()> {
    map_create(1, 4, 4, 1).map(drop)
}

/// Makes a map, of a kind of `enum bpf_map_type`.
pub(super) fn map_create(kind: u32, key_size: u32, value_size: u32, max_entries: u32) -> io::Result<OwnedFd> {
    let mut argument = MapCreate { kind, key_size, value_size, max_entries };
    // SAFETY: the argument holds no address.
    unsafe { bpf(Command::MapCreate, &mut argument) }.map(own)
}

fn own(fd: i64) -> OwnedFd {
    // SAFETY: the kernel has just made this descriptor for us.
    unsafe { OwnedFd::from_raw_fd(fd as i32) }
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(io::Error::from)
}
