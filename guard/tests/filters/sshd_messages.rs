//! Every message of OpenSSH's server that names a peer: read, or left alone and why.

use guard::scan::Mode;

use super::scanner;

/// Messages that are read, of 192.0.2.66.
const READ: [&str; 38] = [
    // auth.c auth_log(), auth_maxtries_exceeded(); auth2.c; monitor.c
    "Failed password for root from 192.0.2.66 port 22 ssh2",
    "Failed password for invalid user a from b from 192.0.2.66 port 22 ssh2",
    "Failed none for invalid user admin from 192.0.2.66 port 22 ssh2",
    "Failed publickey for root from 192.0.2.66 port 22 ssh2: ED25519 SHA256:a",
    "Failed hostbased for root from 192.0.2.66 port 22 ssh2: ED25519 SHA256:a",
    "Failed keyboard-interactive/pam for root from 192.0.2.66 port 22 ssh2",
    "Failed gssapi-with-mic for root from 192.0.2.66 port 22 ssh2",
    "Accepted publickey for root from 192.0.2.66 port 22 ssh2: ED25519 SHA256:a",
    "Partial publickey for root from 192.0.2.66 port 22 ssh2: ED25519 SHA256:a",
    "Accepted password for root from 192.0.2.66 port 22 ssh2",
    "error: maximum authentication attempts exceeded for root from 192.0.2.66 port 22 ssh2 [preauth]",
    "Invalid user admin from 192.0.2.66 port 22",
    "User root from 192.0.2.66 not allowed because not listed in AllowUsers",
    "User root from 192.0.2.66 not allowed because shell /bin/x does not exist",
    "ROOT LOGIN REFUSED FROM 192.0.2.66 port 22",
    "administratively prohibited connection for root from 192.0.2.66 port 22",
    // auth-options.c, auth2-pubkeyfile.c
    "f:1: Authentication tried for root with correct key but not from a permitted host (host=h, ip=192.0.2.66).",
    "cert: Authentication tried for root with valid certificate but not from a permitted source address (192.0.2.66).",
    // auth-pam.c
    "error: PAM: Authentication failure for root from 192.0.2.66",
    "error: PAM: User account has expired for root from 192.0.2.66",
    // packet.c
    "Disconnecting authenticating user root 192.0.2.66 port 22: Too many authentication failures [preauth]",
    "Disconnecting invalid user a 192.0.2.66 port 22: Change of username or service not allowed: (a,b) -> (c,d) [preauth]",
    "Connection closed by authenticating user root 192.0.2.66 port 22 [preauth]",
    "Connection reset by 192.0.2.66 port 22 [preauth]",
    "Connection from 192.0.2.66 port 22 timed out",
    "Received disconnect from 192.0.2.66 port 22:11: Bye Bye [preauth]",
    "Disconnected from user root 192.0.2.66 port 22",
    "fatal: ssh_dispatch_run_fatal: Connection from 192.0.2.66 port 22: message authentication code incorrect [preauth]",
    "Unable to negotiate with 192.0.2.66 port 22: no matching key exchange method found. Their offer: a [preauth]",
    // sshd.c, sshd-session.c, kex.c
    "fatal: Timeout before authentication for 192.0.2.66 port 22",
    "Timeout before authentication for connection from 192.0.2.66 to 192.0.2.1, pid = 7",
    "Did not receive identification string from 192.0.2.66 port 22",
    "Bad protocol version identification 'x' from 192.0.2.66 port 22",
    "error: Protocol major versions differ for 192.0.2.66 port 22: SSH-2.0-a vs. SSH-1.5-b",
    "banner exchange: Connection from 192.0.2.66 port 22: invalid format",
    "drop connection #10 from [192.0.2.66]:22 on [192.0.2.1]:22 past MaxStartups",
    "Session process 7 unpriv child crash for connection from 192.0.2.66 to 192.0.2.1",
    // srclimit.c
    "srclimit_penalise: ipv4: new 192.0.2.66/32 active penalty of 10 seconds for penalty: failed authentication",
];

/// Messages that are left alone, and why.
const LEFT: [(&str, &str); 13] = [
    ("Connection from 192.0.2.66 port 22 on 192.0.2.1 port 22 rdomain \"\"", "every connection begins so"),
    ("Postponed keyboard-interactive for root from 192.0.2.66 port 22 ssh2 [preauth]", "not an answer yet"),
    ("Accepted key ED25519 SHA256:a found at /root/.ssh/authorized_keys:1", "names no peer"),
    ("Starting session: shell on pts/0 for root from 192.0.2.66 port 22 id 0", "has logged in"),
    ("Close session: user root from 192.0.2.66 port 22 id 0", "has logged in"),
    ("Transferred: sent 1, received 2 bytes", "names no peer"),
    (
        "reverse mapping checking getaddrinfo for h.example [192.0.2.66] failed.",
        "a zone that is badly kept is nobody's attempt",
    ),
    ("Address 192.0.2.66 maps to h.example, but this does not map back to the address.", "the same"),
    (
        "Nasty PTR record \"198.51.100.1\" is set up for 192.0.2.66, ignoring",
        "the same; the first address is a name that its owner chose",
    ),
    (
        "userauth_hostbased mismatch: client sends h., but we resolve 192.0.2.66 to g.example",
        "the client's text stands in front of the address; the login fails with a line of its own",
    ),
    ("Could not write ident string to 192.0.2.66 port 22: Broken pipe", "the network's fault"),
    (
        "Failed publickey for invalid user a b from 192.0.2.66 port 22 ssh2: ED25519 SHA256:a",
        "a name with spaces in front, the peer's text behind: nobody can tell which address is the peer's",
    ),
    (
        "srclimit_penalise: ipv4: 192.0.2.66/32 deferred penalty of 1 seconds for penalty: failed authentication",
        "the failed login before it has counted",
    ),
];

#[test]
fn every_message_of_sshd_about_a_peer_is_read_or_left_alone() {
    let mut scanner = scanner(Mode::Aggressive);
    let mut read = |message: &str| {
        scanner.message(b"sshd", 7, None, message.as_bytes()).map(|sighting| sighting.address.to_string())
    };
    for message in READ {
        assert_eq!(read(message).as_deref(), Some("192.0.2.66"), "{message}");
    }
    for (message, why) in LEFT {
        assert_eq!(read(message), None, "{why}: {message}");
    }
}
