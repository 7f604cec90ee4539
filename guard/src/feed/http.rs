//! Fetching a feed from a server.
//!
//! A server is believed for what it is asked for and nothing more: neither it nor the name service may lead guard to
//! where only this machine or its network can reach.

use std::io::Read;
use std::net::IpAddr;
use std::time::Duration;

use ureq::http::{HeaderMap, StatusCode, Uri, header};
use ureq::tls::Certificate;
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Error};

use super::fetch::{FetchError, Fetched, Seen};
use crate::config::Feed;
use crate::web::{
    Reach, USER_AGENT, Unusable, Within, authorities, is_inside, is_link_local, is_nobody, is_sandboxed,
    reason, tls,
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
        .tls_config(tls(vouching(feed)?))
        .build();
    let host = uri.host().unwrap_or_default().to_owned();
    let resolver = Guarded { host, link_local: feed.link_local };
    Ok(Agent::with_parts(config, DefaultConnector::default(), Within(resolver)))
}

/// Who may vouch for a feed's server: the feed's own authorities, else those this machine trusts.
fn vouching(feed: &Feed) -> Result<Vec<Certificate<'static>>, FetchError> {
    authorities(feed.ca.as_deref()).map_err(|unusable| match unusable {
        Unusable::Unreadable { path, reason } => FetchError::Authorities { path, reason },
        Unusable::Unsafe { reason, remedy } => FetchError::Unsafe { reason, remedy },
    })
}

fn text(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?;
    (text.len() <= VALIDATOR).then(|| text.to_owned())
}

/// Where a feed may be fetched from.
#[derive(Debug)]
struct Guarded {
    /// The host that the configuration names. Others come by redirection.
    host: String,
    link_local: bool,
}

impl Reach for Guarded {
    const REFUSED: &str = "is not where a feed may come from";

    fn may_reach(&self, host: &str, address: IpAddr) -> bool {
        let address = crate::target::canonical(address);
        if is_nobody(address) || is_link_local(address) && !self.link_local {
            return false;
        }
        host == self.host || !is_inside(address)
    }
}

fn refused(error: &Error) -> FetchError {
    if is_sandboxed(error) { FetchError::Sandbox } else { FetchError::Network { reason: reason(error) } }
}

#[cfg(test)]
mod tests;
