//! What every request to a web server has in common: whom this machine trusts, and what kind of place an address is.

use std::fs;
use std::net::{IpAddr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::config::writable_by_others;

/// How guard calls itself.
pub(crate) const USER_AGENT: &str = concat!("guard/", env!("CARGO_PKG_VERSION"));

/// Where distributions keep the certificates that this machine trusts: Debian and Arch, Red Hat, `openSUSE`, Alpine.
const TRUSTED: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// TLS with servers that these authorities vouch for.
pub(crate) fn tls(authorities: Vec<Certificate<'static>>) -> TlsConfig {
    static PROVIDER: OnceLock<Arc<rustls::crypto::CryptoProvider>> = OnceLock::new();
    let provider = PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider()));
    TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(authorities)))
        .unversioned_rustls_crypto_provider(Arc::clone(provider))
        .build()
}

/// Why the authorities of a file cannot vouch for a server.
#[derive(Debug)]
pub(crate) enum Unusable {
    /// The file cannot be read, or has no certificate.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Others could change it, and with it who is believed.
    Unsafe {
        /// Who could.
        reason: String,
        /// The command that puts it right.
        remedy: String,
    },
}

/// Who may vouch for a server: the authorities in a file, else those this machine trusts. Without any, no server is
/// believed.
pub(crate) fn authorities(file: Option<&Path>) -> Result<Vec<Certificate<'static>>, Unusable> {
    let Some(path) = file else {
        return Ok(certificates(&TRUSTED.iter().find_map(|path| fs::read(path).ok()).unwrap_or_default()));
    };
    let unreadable = |reason: String| Unusable::Unreadable { path: path.to_owned(), reason };
    let failed = |error: std::io::Error| unreadable(error.to_string());
    let meta = fs::metadata(path).map_err(failed)?;
    if let Some((reason, remedy)) = writable_by_others(path, &meta) {
        return Err(Unusable::Unsafe { reason, remedy });
    }
    let found = certificates(&fs::read(path).map_err(failed)?);
    if found.is_empty() {
        return Err(unreadable("there is none in it, in PEM".into()));
    }
    Ok(found)
}

/// The certificates in a file's text (PEM).
fn certificates(pem: &[u8]) -> Vec<Certificate<'static>> {
    let items = ureq::tls::parse_pem(pem).filter_map(Result::ok);
    items.filter_map(|item| if let PemItem::Certificate(one) = item { Some(one) } else { None }).collect()
}

/// Where nobody answers, or everybody.
pub(crate) fn is_nobody(address: IpAddr) -> bool {
    address.is_unspecified()
        || address.is_multicast()
        || matches!(address, IpAddr::V4(v4) if v4.is_broadcast() || v4.octets()[0] == 0)
}

/// Link-local addresses (RFC 3927, RFC 4291), where clouds tell machines their secrets, and the unique-local one that
/// Amazon's does it at (EC2 user guide, "Instance metadata service").
pub(crate) fn is_link_local(address: IpAddr) -> bool {
    const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6 == METADATA,
    }
}

/// This machine and its network: nothing that a server may redirect to.
pub(crate) fn is_inside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_loopback() || v4.is_private() || v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local(),
    }
}

/// Where requests may go.
pub(crate) trait Reach: std::fmt::Debug + Send + Sync + 'static {
    /// What is said of an address where they may not.
    const REFUSED: &str;

    /// Whether they may go to an address of this host.
    fn may_reach(&self, host: &str, address: IpAddr) -> bool;
}

/// Finds addresses, and leaves out those that must not be reached. The connection goes to one of those that are left:
/// nothing is resolved a second time.
#[derive(Debug)]
pub(crate) struct Within<R>(pub(crate) R);

impl<R: Reach> Resolver for Within<R> {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = DefaultResolver::default().resolve(uri, config, timeout)?;
        // A proxy that the administrator named is where he wants guard to go.
        if config.proxy().is_some() {
            return Ok(found);
        }
        let host = uri.host().unwrap_or_default();
        let mut kept = self.empty();
        for address in found.iter().filter(|address| self.0.may_reach(host, address.ip())) {
            kept.push(*address);
        }
        if kept.is_empty() {
            let address = found.iter().next().map_or_else(String::new, |address| address.ip().to_string());
            return Err(ureq::Error::Other(Box::new(NotThere { address, refused: R::REFUSED })));
        }
        Ok(kept)
    }
}

/// Every address of a host is one that must not be reached.
#[derive(Debug, thiserror::Error)]
#[error("{address} {refused}")]
struct NotThere {
    address: String,
    refused: &'static str,
}

/// Why a request came to nothing, in words.
pub(crate) fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>())
        {
            Some(inner) => inner.to_string(),
            None => error.to_string(),
        },
        ureq::Error::Other(error) => error.to_string(),
        error => error.to_string(),
    }
}

/// Whether the system does not let guard reach the server.
pub(crate) fn is_sandboxed(error: &ureq::Error) -> bool {
    matches!(error, ureq::Error::Io(error) if error.raw_os_error() == Some(libc::EPERM))
}
