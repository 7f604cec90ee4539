//! Fetching a feed from a server.
//!
//! A server is believed for what it is asked for and nothing more: neither it nor the name service may lead guard to
//! where only this machine or its network can reach.

use std::io::Read;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ureq::config::Config;
use ureq::http::{HeaderMap, StatusCode, Uri, header};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Error};

use super::fetch::{FetchError, Fetched, Seen};
use crate::config::Feed;

/// How long the whole of it may take: less than a person waits for an answer.
const TIME: Duration = Duration::from_secs(90);
/// How long each step may take.
const STEP: Duration = Duration::from_secs(20);
/// Redirections that are followed.
const REDIRECTS: u32 = 4;
/// Bytes of a validator that are kept and sent back.
const VALIDATOR: usize = 512;

/// Where distributions keep the certificates that this machine trusts: Debian and Arch, Red Hat, `openSUSE`, Alpine.
const TRUSTED: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Asks for a feed, unless it is as it was seen.
pub(super) fn fetch(feed: &Feed, url: &str, seen: &Seen) -> Result<Fetched, FetchError> {
    let uri: Uri = url.parse().map_err(|_| FetchError::Network { reason: "it is no URL".into() })?;
    let agent = agent(feed, &uri);
    let mut request = agent.get(uri);
    if let Some(etag) = &seen.etag {
        request = request.header(header::IF_NONE_MATCH, etag);
    }
    if let Some(modified) = &seen.modified {
        request = request.header(header::IF_MODIFIED_SINCE, modified);
    }
    let mut response = request.call().map_err(refused)?;
    let headers = response.headers();
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_MODIFIED => return Ok(Fetched::Unchanged),
        status => {
            let wait = text(headers, &header::RETRY_AFTER).and_then(|text| text.parse().ok());
            return Err(FetchError::Status { status: status.as_u16(), wait: wait.map(Duration::from_secs) });
        }
    }
    let seen = Seen { etag: text(headers, &header::ETAG), modified: text(headers, &header::LAST_MODIFIED) };
    let mut bytes = Vec::new();
    let limited = response
        .body_mut()
        .with_config()
        .limit(u64::MAX)
        .reader()
        .take(feed.max_bytes + 1)
        .read_to_end(&mut bytes);
    limited.map_err(|error| refused(Error::from(error)))?;
    if bytes.len() as u64 > feed.max_bytes {
        return Err(FetchError::TooLong { most: feed.max_bytes });
    }
    Ok(Fetched::New { bytes, seen })
}

fn agent(feed: &Feed, uri: &Uri) -> Agent {
    static PROVIDER: OnceLock<Arc<rustls::crypto::CryptoProvider>> = OnceLock::new();
    let provider = PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider()));
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(trusted())))
        .unversioned_rustls_crypto_provider(Arc::clone(provider))
        .build();
    let config = Agent::config_builder()
        .https_only(uri.scheme_str() == Some("https"))
        .http_status_as_error(false)
        .max_redirects(REDIRECTS)
        .timeout_global(Some(TIME))
        .timeout_resolve(Some(STEP))
        .timeout_connect(Some(STEP))
        .timeout_recv_response(Some(STEP))
        .user_agent(concat!("guard/", env!("CARGO_PKG_VERSION")))
        .max_idle_connections(0)
        .tls_config(tls)
        .build();
    let host = uri.host().unwrap_or_default().to_owned();
    Agent::with_parts(config, DefaultConnector::default(), Guarded { host, link_local: feed.link_local })
}

/// The certificates this machine trusts. Without any, no server is believed.
fn trusted() -> Vec<Certificate<'static>> {
    let pem = TRUSTED.iter().find_map(|path| std::fs::read(path).ok()).unwrap_or_default();
    let items = ureq::tls::parse_pem(&pem).filter_map(Result::ok);
    items.filter_map(|item| if let PemItem::Certificate(one) = item { Some(one) } else { None }).collect()
}

fn text(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?;
    (text.len() <= VALIDATOR).then(|| text.to_owned())
}

/// Finds addresses, and leaves out those that a feed must not be fetched from.
#[derive(Debug)]
struct Guarded {
    /// The host that the configuration names. Others come by redirection.
    host: String,
    link_local: bool,
}

impl Guarded {
    fn may_reach(&self, host: &str, address: IpAddr) -> bool {
        let address = crate::target::canonical(address);
        if is_nobody(address) || is_link_local(address) && !self.link_local {
            return false;
        }
        host == self.host || !is_inside(address)
    }
}

impl Resolver for Guarded {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let found = DefaultResolver::default().resolve(uri, config, timeout)?;
        // A proxy that the administrator named is where he wants guard to go.
        if config.proxy().is_some() {
            return Ok(found);
        }
        let host = uri.host().unwrap_or_default();
        let mut kept = self.empty();
        for address in found.iter().filter(|address| self.may_reach(host, address.ip())) {
            kept.push(*address);
        }
        if kept.is_empty() {
            let first = found.iter().next().map_or_else(String::new, |address| address.ip().to_string());
            return Err(Error::Other(Box::new(NotThere(first))));
        }
        Ok(kept)
    }
}

/// Every address of a host is one that must not be reached.
#[derive(Debug, thiserror::Error)]
#[error("{0} is not where a feed may come from")]
struct NotThere(String);

/// Where nobody answers, or everybody.
fn is_nobody(address: IpAddr) -> bool {
    address.is_unspecified()
        || address.is_multicast()
        || matches!(address, IpAddr::V4(v4) if v4.is_broadcast() || v4.octets()[0] == 0)
}

/// Link-local addresses (RFC 3927, RFC 4291), where clouds tell machines their secrets, and the unique-local one that
/// Amazon's does it at (EC2 user guide, "Instance metadata service").
fn is_link_local(address: IpAddr) -> bool {
    const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6 == METADATA,
    }
}

/// This machine and its network: nothing that a server may redirect to.
fn is_inside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_loopback() || v4.is_private() || v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64
        }
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local(),
    }
}

fn refused(error: Error) -> FetchError {
    match error {
        Error::Io(error) if error.raw_os_error() == Some(libc::EPERM) => FetchError::Sandbox,
        Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
            Some(inner) => FetchError::Network { reason: inner.to_string() },
            None => FetchError::Network { reason: error.to_string() },
        },
        Error::Other(error) => FetchError::Network { reason: error.to_string() },
        error => FetchError::Network { reason: error.to_string() },
    }
}

#[cfg(test)]
mod tests;
