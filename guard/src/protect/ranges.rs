//! Ranges with a meaning of their own (RFC 6890 and the IANA special-purpose address registries).

/// Never the source of honest traffic from elsewhere, or the machine itself: protected whatever is configured.
pub(super) const ALWAYS: &[(&str, &str)] = &[
    ("127.0.0.0/8", "loopback"),
    ("::1", "loopback"),
    ("0.0.0.0/8", "unspecified"),
    ("::", "unspecified"),
    ("224.0.0.0/4", "multicast"),
    ("ff00::/8", "multicast"),
    ("255.255.255.255", "broadcast"),
];

/// Protected unless [`crate::config::Allow::private`] says otherwise.
pub(super) const PRIVATE: &[(&str, &str)] = &[
    ("10.0.0.0/8", "a private range"),
    ("172.16.0.0/12", "a private range"),
    ("192.168.0.0/16", "a private range"),
    ("100.64.0.0/10", "the range of carrier-grade NAT"),
    ("169.254.0.0/16", "the link-local range"),
    ("fc00::/7", "the unique-local range"),
    ("fe80::/10", "the link-local range"),
];
