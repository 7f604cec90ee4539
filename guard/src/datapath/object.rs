//! The eBPF object that this build carries.

/// The object, or `None` where the build had none: see `guard/build.rs`.
pub fn bytes() -> Option<&'static [u8]> {
    #[cfg(guard_ebpf_object)]
    return Some(aya::include_bytes_aligned!(env!("GUARD_EBPF_OBJECT_FILE")));
    #[cfg(not(guard_ebpf_object))]
    return None;
}
