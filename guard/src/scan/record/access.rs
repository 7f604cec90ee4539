//! Access logs of every web server under the same names.
//!
//! Lines are JSON as Caddy, Traefik and nginx write it, `HAProxy`'s HTTP and TCP logs, CLF with what may stand around it, or Caddy's
//! console format. A field that the server says is not there (`-`, or empty) is not there.

use super::tree::{NodeId, Tree, Values};
use super::{clf, console, haproxy, json, request};
use crate::scan::timestamp::{Stamp, Usual};

/// A field of an access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// Who asked. An address, or a name if the server looks names up. A name is no address, unless somebody has given
    /// his address one that reads like another: servers that look names up must ask whether they lead back.
    Client,
    /// The account of HTTP authentication, whether it succeeded or not.
    User,
    Method,
    /// The virtual host, without a port.
    Host,
    /// The target of the request without its query, as it was sent.
    Path,
    Query,
    Protocol,
    Status,
    Agent,
    Referrer,
    /// The request line, if it is not well-formed; then method, path, query and protocol are missing.
    Request,
    /// How `HAProxy` says the session ended: `PT--` if it kept the client waiting on purpose.
    Termination,
}

/// The names, in the order of [`Name`].
pub(super) const NAMES: [&[u8]; 12] = [
    b"client",
    b"user",
    b"method",
    b"host",
    b"path",
    b"query",
    b"protocol",
    b"status",
    b"agent",
    b"referrer",
    b"request",
    b"termination",
];

impl Name {
    const ALL: [Self; NAMES.len()] = [
        Self::Client,
        Self::User,
        Self::Method,
        Self::Host,
        Self::Path,
        Self::Query,
        Self::Protocol,
        Self::Status,
        Self::Agent,
        Self::Referrer,
        Self::Request,
        Self::Termination,
    ];

    pub(super) fn of(name: &[u8]) -> Option<Self> {
        NAMES.iter().position(|known| *known == name).map(|index| Self::ALL[index])
    }
}

/// Fields that every log in JSON has under a key of its own.
const PLAIN: [Name; 6] =
    [Name::User, Name::Method, Name::Protocol, Name::Agent, Name::Referrer, Name::Status];

/// When a line was written, by its own account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Time<'a> {
    /// As far as it is known.
    Known(Option<Stamp<'a>>),
    /// Texts that may be a stamp, the first that is one counts.
    Texts([Option<&'a [u8]>; 2]),
}

/// The fields of one line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Access<'a> {
    fields: [Option<&'a [u8]>; NAMES.len()],
    /// Whether it is shown only and never counts: because another line tells of the same request, because a client can
    /// write such a line, or because who asked may be out of a header.
    shown_only: bool,
}

impl<'a> Access<'a> {
    /// A line of which nothing is known but the client.
    #[inline]
    pub(super) fn of_client(client: &'a [u8]) -> Self {
        let mut access = Self::default();
        access.set(Name::Client, client);
        access
    }

    #[inline]
    pub(super) fn get(&self, name: Name) -> Option<&'a [u8]> {
        self.fields[name as usize]
    }

    /// Whether it is shown only and never counts.
    pub(super) fn is_shown_only(&self) -> bool {
        self.shown_only
    }

    /// Sets a field, unless the text says that it is missing.
    #[inline]
    pub(super) fn set(&mut self, name: Name, text: &'a [u8]) {
        if !matches!(text, b"" | b"-") {
            self.fields[name as usize] = Some(text);
        }
    }

    /// Sets the fields of [`PLAIN`], as far as they are there.
    fn set_plain(&mut self, texts: [Option<&'a [u8]>; PLAIN.len()]) {
        for (name, text) in PLAIN.into_iter().zip(texts) {
            self.set(name, text.unwrap_or_default());
        }
    }

    /// Sets what a request line says.
    #[inline]
    pub(super) fn set_request(&mut self, line: &'a [u8]) {
        match request::split(line) {
            Some(request) => {
                self.set(Name::Method, request.method);
                self.set_target(request.target);
                self.set(Name::Protocol, request.protocol);
            }
            None => self.set(Name::Request, line),
        }
    }

    fn set_target(&mut self, target: &'a [u8]) {
        let (path, query) = request::split_query(target);
        self.set(Name::Path, path);
        if let Some(query) = query {
            self.set(Name::Query, query);
        }
    }

    /// Sets the virtual host, given with or without a port: `example.org:8443`, `[2001:db8::1]:443`.
    pub(super) fn set_host(&mut self, text: &'a [u8]) {
        let colon = memchr::memrchr(b':', text).filter(|colon| {
            let (host, port) = (&text[..*colon], &text[colon + 1..]);
            port.iter().all(u8::is_ascii_digit) && (host.ends_with(b"]") || !host.contains(&b':'))
        });
        self.set(Name::Host, colon.map_or(text, |colon| &text[..colon]));
    }
}

/// Whether a line begins as one of an access log in text.
pub(super) fn begins(line: &[u8]) -> bool {
    let text = clf::read(line, &mut Usual::default()).or_else(|| haproxy::read(line));
    text.is_some_and(|(_, stamp)| stamp.is_some())
}

/// The keys of access logs in JSON.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    tree: Tree,
    caddy: Caddy<NodeId>,
    traefik: Traefik<NodeId>,
    nginx: Nginx<NodeId>,
}

/// What Caddy writes (`modules/caddyhttp/server.go` and `marshalers.go`).
#[derive(Clone, Copy, Debug)]
struct Caddy<T> {
    logger: T,
    stamp: T,
    /// The address that Caddy itself takes for the client's: since 2.7 always written. Where it differs from the peer,
    /// that is one of `trusted_proxies`, and without `trusted_proxies_strict` Caddy has taken the first address of its
    /// `X-Forwarded-For`, which is the client's own word if the proxy appends to it: nobody is blamed.
    client: T,
    /// The peer of the connection, since 2.5.
    remote: T,
    /// The same with its port, before.
    remote_with_port: T,
    user: T,
    method: T,
    host: T,
    uri: T,
    protocol: T,
    agent: T,
    referrer: T,
    status: T,
}

/// What Traefik writes (`pkg/middlewares/accesslog/logger.go`).
#[derive(Clone, Copy, Debug)]
struct Traefik<T> {
    /// The peer of the connection with its port, or whom the PROXY protocol names (`ClientAddr`).
    peer: T,
    /// The peer, or what `X-Forwarded-For` says. 1.x believes that header from anybody, later versions only from
    /// `forwardedHeaders.trustedIPs` unless `forwardedHeaders.insecure` is set. Where it differs from the peer, the peer
    /// is a proxy or the header is made up: nobody is blamed. Where the log's owner keeps this field and not the peer's, the
    /// line is shown only.
    host_of_client: T,
    user: T,
    method: T,
    host: T,
    path: T,
    protocol: T,
    agent: T,
    referrer: T,
    status: T,
    stamp: T,
    start: T,
}

/// What nginx writes in a `log_format … escape=json`: the keys are the owner's choice, and mostly the variables' names. The
/// default way to escape makes no JSON of a quote in a request, and so no record.
#[derive(Clone, Copy, Debug)]
struct Nginx<T> {
    client: T,
    user: T,
    request: T,
    method: T,
    uri: T,
    protocol: T,
    host: T,
    agent: T,
    referrer: T,
    status: T,
    stamp: T,
    iso_stamp: T,
}

impl Keys {
    pub(super) fn new() -> Self {
        let mut tree = Tree::default();
        // Header names are the client's choice: no key with dots stands for keys inside each other.
        let mut key = |name: &str| tree.insert(name.as_bytes(), false);
        let caddy = Caddy {
            logger: key("logger"),
            stamp: key("ts"),
            client: key("request.client_ip"),
            remote: key("request.remote_ip"),
            remote_with_port: key("request.remote_addr"),
            user: key("user_id"),
            method: key("request.method"),
            host: key("request.host"),
            uri: key("request.uri"),
            protocol: key("request.proto"),
            agent: key("request.headers.User-Agent.0"),
            referrer: key("request.headers.Referer.0"),
            status: key("status"),
        };
        let traefik = Traefik {
            peer: key("ClientAddr"),
            host_of_client: key("ClientHost"),
            user: key("ClientUsername"),
            method: key("RequestMethod"),
            host: key("RequestHost"),
            path: key("RequestPath"),
            protocol: key("RequestProtocol"),
            agent: key("request_User-Agent"),
            referrer: key("request_Referer"),
            status: key("DownstreamStatus"),
            stamp: key("time"),
            start: key("StartUTC"),
        };
        let nginx = Nginx {
            client: key("remote_addr"),
            user: key("remote_user"),
            request: key("request"),
            method: key("request_method"),
            uri: key("request_uri"),
            protocol: key("server_protocol"),
            host: key("host"),
            agent: key("http_user_agent"),
            referrer: key("http_referer"),
            status: key("status"),
            stamp: key("time_local"),
            iso_stamp: key("time_iso8601"),
        };
        tree.finish();
        Self { tree, caddy, traefik, nginx }
    }
}

/// Reads a line of an access log.
#[inline]
pub(super) fn read<'a>(
    line: &'a [u8],
    keys: &Keys,
    usual: &mut Usual,
    values: &'a mut Values,
) -> Option<(Access<'a>, Time<'a>)> {
    if line.first()? == &b'{' {
        json::read(line, &keys.tree, values)?;
        let get = |key| Values::get(values, key, line);
        let caddy = keys.caddy.read(get(keys.caddy.logger), get);
        return caddy.or_else(|| keys.traefik.read(get)).or_else(|| keys.nginx.read(get));
    }
    if let Some((access, stamp)) = clf::read(line, usual).or_else(|| haproxy::read(line)) {
        return Some((access, Time::Known(stamp)));
    }
    let entry = console::read(line)?;
    json::read(entry.object, &keys.tree, values)?;
    let (access, _) = keys.caddy.read(Some(entry.logger), |key| Values::get(values, key, entry.object))?;
    Some((Access { shown_only: true, ..access }, Time::Known(Some(entry.stamp))))
}

/// The host of `192.0.2.1:4711` or `[2001:db8::1]:4711`.
fn without_port(text: &[u8]) -> Option<&[u8]> {
    let host = &text[..memchr::memrchr(b':', text)?];
    Some(host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host))
}

impl Caddy<NodeId> {
    fn read<'a>(
        &self,
        logger: Option<&[u8]>,
        get: impl Fn(NodeId) -> Option<&'a [u8]>,
    ) -> Option<(Access<'a>, Time<'a>)> {
        // Other loggers tell of the same request with the same keys: it would count twice. What `http.log.error` says of a
        // password is shown, because the log of requests is off by default.
        let is_error = logger.is_some_and(|logger| logger.starts_with(b"http.log.error"))
            && get(self.status) == Some(b"401");
        if !is_error && logger.is_some_and(|logger| !logger.starts_with(b"http.log.access")) {
            return None;
        }
        let peer = get(self.remote).or_else(|| without_port(get(self.remote_with_port)?))?;
        if get(self.client).is_some_and(|client| client != peer) {
            return None;
        }
        let mut access = Access::of_client(peer);
        let keys = [self.user, self.method, self.protocol, self.agent, self.referrer, self.status];
        access.set_plain(keys.map(&get));
        access.set_host(get(self.host).unwrap_or_default());
        access.set_target(get(self.uri).unwrap_or_default());
        access.shown_only = is_error;
        Some((access, Time::Texts([get(self.stamp), None])))
    }
}

impl Traefik<NodeId> {
    fn read<'a>(&self, get: impl Fn(NodeId) -> Option<&'a [u8]>) -> Option<(Access<'a>, Time<'a>)> {
        let (peer, host) = (get(self.peer).and_then(without_port), get(self.host_of_client));
        // With the peer left out of the log's fields, nothing tells a header's word from it.
        let is_unchecked = get(self.peer).is_none();
        let client = if is_unchecked { host? } else { peer? };
        if host.is_some_and(|host| host != client) {
            return None;
        }
        // Other JSON has a host too: these are what makes it a request.
        let (path, status) = (get(self.path), get(self.status));
        if is_unchecked && (path.is_none() || status.is_none()) {
            return None;
        }
        let mut access = Access::of_client(client);
        access.shown_only = is_unchecked;
        let keys = [self.user, self.method, self.protocol, self.agent, self.referrer, self.status];
        access.set_plain(keys.map(&get));
        access.set_host(get(self.host).unwrap_or_default());
        access.set_target(get(self.path).unwrap_or_default());
        Some((access, Time::Texts([get(self.stamp), get(self.start)])))
    }
}

impl Nginx<NodeId> {
    fn read<'a>(&self, get: impl Fn(NodeId) -> Option<&'a [u8]>) -> Option<(Access<'a>, Time<'a>)> {
        let (client, status) = (get(self.client)?, get(self.status)?);
        let mut access = Access::of_client(client);
        match (get(self.request), get(self.uri)) {
            (Some(request), _) => access.set_request(request),
            (None, uri) => access.set_target(uri?),
        }
        for (name, key) in [
            (Name::User, self.user),
            (Name::Method, self.method),
            (Name::Protocol, self.protocol),
            (Name::Agent, self.agent),
            (Name::Referrer, self.referrer),
        ] {
            access.set(name, get(key).unwrap_or_default());
        }
        access.set(Name::Status, status);
        access.set_host(get(self.host).unwrap_or_default());
        Some((access, Time::Texts([get(self.stamp), get(self.iso_stamp)])))
    }
}
