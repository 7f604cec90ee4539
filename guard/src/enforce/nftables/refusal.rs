//! What the kernel's refusals mean.

use std::io;

use super::EnforceError;

/// A read that failed.
pub(super) fn reading(source: io::Error) -> EnforceError {
    refused("reading nftables", source)
}

/// A transaction that failed. `operation` says what for.
pub(super) fn changing(operation: &str, source: io::Error) -> EnforceError {
    refused(operation, source)
}

/// Whether a smaller transaction may succeed: it did not fit the socket or the kernel's memory, or there were more
/// answers than fit.
pub(super) fn is_too_much(error: &EnforceError) -> bool {
    let EnforceError::Transient { source, .. } = error else { return false };
    matches!(source.raw_os_error(), Some(libc::EMSGSIZE | libc::ENOBUFS | libc::ENOMEM))
}

fn refused(operation: &str, source: io::Error) -> EnforceError {
    match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => EnforceError::Permission {
            operation: operation.to_owned(),
            hint: "it needs CAP_NET_ADMIN in this network namespace".to_owned(),
        },
        // No netfilter over netlink at all, no `nf_tables` behind it, or not for family inet.
        Some(libc::EPROTONOSUPPORT | libc::EOPNOTSUPP | libc::EAFNOSUPPORT) => EnforceError::Unavailable {
            backend: "nftables",
            reason: "the kernel has no nf_tables for family inet; it comes with the module nf_tables \
                     (CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET)"
                .to_owned(),
        },
        _ => EnforceError::Transient { operation: operation.to_owned(), source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_is_missing() {
        let told = |code| changing("changing bans", io::Error::from_raw_os_error(code)).to_string();
        assert!(told(libc::EPERM).contains("CAP_NET_ADMIN"));
        for code in [libc::EPROTONOSUPPORT, libc::EOPNOTSUPP, libc::EAFNOSUPPORT] {
            assert!(told(code).contains("the kernel has no nf_tables"), "{code}");
        }
        assert_eq!(told(libc::EBUSY), "changing bans failed");
    }

    #[test]
    fn only_what_was_too_large_is_tried_in_parts() {
        let is_too_much = |code| is_too_much(&reading(io::Error::from_raw_os_error(code)));
        assert!([libc::EMSGSIZE, libc::ENOBUFS, libc::ENOMEM].into_iter().all(is_too_much));
        assert!(![libc::EPERM, libc::ENOENT, libc::EBUSY, libc::EEXIST].into_iter().any(is_too_much));
    }
}
