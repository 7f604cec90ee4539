//! Fetching a feed from a server.
//!
//! A server is believed for what it is asked for and nothing more: neither it nor the name service may lead guard to
//! where only this machine or its network can reach.

use std::fs;
use std::io::Read;
use std::net::IpAddr;
use std::time::Duration;

use ureq::config::Config;
use ureq::http::{HeaderMap, StatusCode, Uri, header};
use ureq::tls::Certificate;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Error};

use super::fetch::{FetchError, Fetched, Seen};
use crate::config::{Feed, writable_by_others};
use crate::web::{
    USER_AGENT, certificates, is_inside, is_link_local, is_nobody, is_sandboxed, reason, tls, trusted,
};

/// How long the whole of it may take: less than a person waits for an answer.
const TIME: Duration = Duration::from_secs(90);
/// How long each step may take.
const STEP: Duration = Duration::from_secs(20);
/// Redirections that are followed.
const REDIRECTS: u32 = 4;
/// Bytes of a validator that are kept and sent back.
const VALIDATOR: usize = 512;

/// Asks for a feed, unless it is as it was seen.
pub(super) fn fetch(feed: &Feed, url: &str, seen: &Seen) -> Result<Fetched, FetchError> {
    let uri: Uri = url.parse().map_err(|_| FetchError::Network { reason: "it is no URL".into() })?;
    let agent = agent(feed, &uri)?;
    let mut request = agent.get(uri);
    if let Some(etag) = &seen.etag {
        request = request.header(header::IF_NONE_MATCH, etag);
    }
    if let Some(modified) = &seen.modified {
        request = request.header(header::IF_MODIFIED_SINCE, modified);
    }
    let mut response = request.call().map_err(|error| refused(&error))?;
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
    limited.map_err(|error| refused(&Error::from(error)))?;
    if bytes.len() as u64 > feed.max_bytes {
        return Err(FetchError::TooLong { most: feed.max_bytes });
    }
    Ok(Fetched::New { bytes, seen })
}

fn agent(feed: &Feed, uri: &Uri) -> Result<Agent, FetchError> {
    let config = Agent::config_builder()
        .https_only(uri.scheme_str() == Some("https"))
        .http_status_as_error(false)
        .max_redirects(REDIRECTS)
        .timeout_global(Some(TIME))
        .timeout_resolve(Some(STEP))
        .timeout_connect(Some(STEP))
        .timeout_recv_response(Some(STEP))
        .user_agent(USER_AGENT)
        .max_idle_connections(0)
        .tls_config(tls(authorities(feed)?))
        .build();
    let host = uri.host().unwrap_or_default().to_owned();
    let resolver = Guarded { host, link_local: feed.link_local };
    Ok(Agent::with_parts(config, DefaultConnector::default(), resolver))
}

/// Who may vouch for a feed's server: the feed's own authorities, else those this machine trusts.
fn authorities(feed: &Feed) -> Result<Vec<Certificate<'static>>, FetchError> {
    let Some(path) = &feed.ca else { return Ok(trusted()) };
    let unusable = |reason: String| FetchError::Authorities { path: path.clone(), reason };
    let meta = fs::metadata(path).map_err(|error| unusable(error.to_string()))?;
    if let Some((reason, remedy)) = writable_by_others(path, &meta) {
        return Err(FetchError::Unsafe { reason, remedy });
    }
    let found = certificates(&fs::read(path).map_err(|error| unusable(error.to_string()))?);
    if found.is_empty() { Err(unusable("there is none in it, in PEM".into())) } else { Ok(found) }
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

fn refused(error: &Error) -> FetchError {
    if is_sandboxed(error) { FetchError::Sandbox } else { FetchError::Network { reason: reason(error) } }
}

#[cfg(test)]
mod tests;
