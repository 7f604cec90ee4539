//! Sends one document to a web server. Where it goes is for the configuration to say: neither the server nor the name
//! service may lead it to where only this machine or its network can reach.

use super::orders::Failure;
use crate::rules::action::Webhook;

/// This guard cannot send.
#[cfg(not(feature = "feeds"))]
pub(super) fn post(_: &Webhook, _: &str) -> Result<(), Failure> {
    Err(Failure::Other("this guard was built without the feature `feeds`".into()))
}

#[cfg(feature = "feeds")]
pub(super) use client::post;

#[cfg(feature = "feeds")]
mod client {
    use std::fs::File;
    use std::io::Read;
    use std::net::IpAddr;
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
    use std::path::Path;

    use ureq::http::{HeaderName, HeaderValue, Uri, header};
    use ureq::tls::Certificate;
    use ureq::unversioned::transport::DefaultConnector;
    use ureq::{Agent, Error};

    use super::{Failure, Webhook};
    use crate::config::units::show_duration;
    use crate::web::{
        Reach, USER_AGENT, Unusable, Within, authorities, is_inside, is_link_local, is_nobody, is_sandboxed,
        reason, tls,
    };

    /// Bytes of a header that proves who sends.
    const SECRET: u64 = 8192;

    /// Sends a document, once. Nothing of the URL but the host is told.
    pub(in super::super) fn post(webhook: &Webhook, document: &str) -> Result<(), Failure> {
        let host = webhook.host();
        let other = |how: String| Failure::Other(format!("{host}: {how}"));
        let uri: Uri = webhook.url.parse().map_err(|_| other("it is no URL".into()))?;
        let is_plain = uri.scheme_str() == Some("http");
        let agent = agent(webhook, is_plain, vouching(webhook).map_err(other)?);
        let mut request = agent.post(uri).header(header::CONTENT_TYPE, "application/json");
        if let Some(path) = &webhook.secret {
            let (name, value) =
                secret(path).map_err(|how| Failure::Other(format!("{}: {how}", path.display())))?;
            request = request.header(name, value);
        }
        let response = request.send(document).map_err(|error| match error {
            Error::Timeout(_) => {
                Failure::Timeout(format!("{host} has not answered within {}", show_duration(webhook.timeout)))
            }
            error if is_sandboxed(&error) => other(
                "the system lets guard reach nobody: under systemd, install the drop-in config/systemd/feeds.conf as /etc/systemd/system/guard.service.d/feeds.conf".into(),
            ),
            error => other(reason(&error)),
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        Err(other(if status.is_redirection() {
            format!("the server answered with status {}, and redirections are not followed", status.as_u16())
        } else {
            format!("the server answered with status {}", status.as_u16())
        }))
    }

    /// Who may vouch for the server: the webhook's own authorities, else those this machine trusts.
    fn vouching(webhook: &Webhook) -> Result<Vec<Certificate<'static>>, String> {
        authorities(webhook.ca.as_deref()).map_err(|unusable| match unusable {
            Unusable::Unreadable { path, reason } => {
                format!("the certificates in {} cannot be used: {reason}", path.display())
            }
            Unusable::Unsafe { reason, remedy } => format!("{reason}; put it right with: {remedy}"),
        })
    }

    fn agent(webhook: &Webhook, is_plain: bool, authorities: Vec<Certificate<'static>>) -> Agent {
        let config = Agent::config_builder()
            .https_only(!is_plain)
            .http_status_as_error(false)
            .max_redirects(0)
            // It would reach what guard may not.
            .proxy(None)
            .timeout_global(Some(webhook.timeout))
            .user_agent(USER_AGENT)
            .max_idle_connections(0)
            .tls_config(tls(authorities))
            .build();
        let places = Places { private: webhook.private, is_plain };
        Agent::with_parts(config, DefaultConnector::default(), Within(places))
    }

    /// The one header in a file. The file must be for its owner and group only.
    fn secret(path: &Path) -> Result<(HeaderName, HeaderValue), String> {
        // Without O_NONBLOCK, opening a FIFO would wait for a writer.
        let file = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path);
        let file = file.map_err(|cause| cause.to_string())?;
        let meta = file.metadata().map_err(|cause| cause.to_string())?;
        if !meta.is_file() {
            return Err("it is not a regular file".into());
        }
        if meta.mode() & 0o007 != 0 {
            return Err(format!(
                "everybody can read or write it; put it right with: chmod o= {}",
                path.display()
            ));
        }
        let mut text = String::new();
        file.take(SECRET).read_to_string(&mut text).map_err(|cause| cause.to_string())?;
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let header = lines.next().filter(|_| lines.next().is_none()).and_then(|line| line.split_once(':'));
        let parsed = header.and_then(|(name, value)| {
            let mut value = HeaderValue::from_str(value.trim()).ok()?;
            value.set_sensitive(true);
            Some((name.trim().parse().ok()?, value))
        });
        parsed.ok_or_else(|| "it is not one line with a header, like `Authorization: Bearer …`".into())
    }

    /// Where a document may go.
    #[derive(Debug)]
    struct Places {
        private: bool,
        /// Without TLS: then it must not leave this machine's network.
        is_plain: bool,
    }

    impl Reach for Places {
        const REFUSED: &str =
            "is not where a webhook may go (`private = true` is for servers in this machine's own network)";

        fn may_reach(&self, _: &str, address: IpAddr) -> bool {
            let address = crate::target::canonical(address);
            let is_own = is_inside(address) || is_link_local(address);
            !is_nobody(address) && if is_own { self.private } else { !self.is_plain }
        }
    }

    #[cfg(test)]
    mod tests {
        use std::io::{BufRead, BufReader, Write};
        use std::net::TcpListener;
        use std::os::unix::fs::PermissionsExt;
        use std::sync::Arc;
        use std::sync::mpsc::{Receiver, channel};
        use std::time::{Duration, Instant};

        use rustls::pki_types::pem::PemObject;
        use rustls::pki_types::{CertificateDer, PrivateKeyDer};

        use super::*;

        /// Answers one connection after the other, each with the next of some texts. Its URL, and the requests it got.
        fn server(answers: Vec<&'static str>) -> (String, Receiver<String>) {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("http://{}/hook?token=hush", listener.local_addr().unwrap());
            let (tell, told) = channel();
            std::thread::spawn(move || {
                for answer in answers {
                    let (mut stream, _) = listener.accept().unwrap();
                    let mut lines = BufReader::new(stream.try_clone().unwrap());
                    let mut request = String::new();
                    while !request.ends_with("\r\n\r\n") && lines.read_line(&mut request).is_ok_and(|n| n > 0)
                    {
                    }
                    let lower = request.to_lowercase();
                    let length =
                        lower.split_once("content-length: ").and_then(|(_, rest)| rest.lines().next());
                    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
                    lines.read_exact(&mut body).unwrap();
                    let _ = tell.send(lower + &String::from_utf8(body).unwrap());
                    let _ = stream.write_all(answer.as_bytes());
                    if answer.is_empty() {
                        std::thread::sleep(Duration::from_secs(3));
                    }
                }
            });
            (url, told)
        }

        fn hook(url: &str) -> Webhook {
            Webhook {
                url: url.into(),
                secret: None,
                ca: None,
                private: true,
                timeout: Duration::from_secs(5),
            }
        }

        const OK: &str = "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n";

        fn failure(webhook: &Webhook) -> String {
            match post(webhook, "{}") {
                Err(Failure::Other(how) | Failure::Timeout(how)) => how,
                Ok(()) => panic!("it was sent"),
            }
        }

        #[test]
        fn a_document_is_posted_with_the_header_of_a_file() {
            let (url, requests) = server(vec![OK, OK]);
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("secret");
            std::fs::write(&path, "Authorization: Bearer s3cret\n").unwrap();
            let webhook = Webhook { secret: Some(path.clone()), ..hook(&url) };
            let how = failure(&webhook);
            assert!(how.contains("chmod o= "), "{how}");
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
            post(&webhook, "{\"line\":\"x\"}").unwrap();
            let request = requests.recv().unwrap();
            for part in [
                "post /hook?token=hush http/1.1\r\n",
                "content-type: application/json\r\n",
                "authorization: bearer s3cret\r\n",
                "\r\n\r\n{\"line\":\"x\"}",
            ] {
                assert!(request.contains(part), "{part}: {request}");
            }
            // It is read anew each time; nonsense is told without what it says.
            std::fs::write(&path, "s3cret\n").unwrap();
            let how = failure(&webhook);
            assert!(how.contains("not one line with a header") && !how.contains("s3cret"), "{how}");
            assert!(!format!("{webhook:?}").contains("hush") && !webhook.host().contains("hush"));
        }

        #[test]
        fn what_leads_inside_is_refused_unless_it_is_wanted() {
            let (url, requests) = server(vec![OK]);
            let how = failure(&Webhook { private: false, ..hook(&url) });
            assert!(
                how.contains("127.0.0.1 is not where a webhook may go") && !how.contains("hush"),
                "{how}"
            );
            // A name that leads there is no way around.
            let how = failure(&Webhook { private: false, ..hook(&url.replace("127.0.0.1", "localhost")) });
            assert!(how.contains("is not where a webhook may go"), "{how}");
            assert!(requests.try_recv().is_err(), "nothing was sent");
            let may = |private, is_plain, address: &str| {
                Places { private, is_plain }.may_reach("", address.parse().unwrap())
            };
            for inside in [
                "127.0.0.1",
                "10.1.2.3",
                "192.168.1.1",
                "169.254.169.254",
                "100.64.0.1",
                "::1",
                "fd00::1",
                "fe80::1",
                "fd00:ec2::254",
                "::ffff:10.1.2.3",
            ] {
                assert!(
                    !may(false, false, inside) && may(true, false, inside) && may(true, true, inside),
                    "{inside}"
                );
            }
            assert!(may(false, false, "192.0.2.1") && may(true, false, "192.0.2.1"));
            assert!(!may(true, true, "192.0.2.1"), "unencrypted, it stays inside");
            for nobody in ["0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "ff02::1"] {
                assert!(!may(true, false, nobody), "{nobody}");
            }
        }

        /// Runs openssl in a folder; `false` if there is none.
        fn openssl(folder: &Path, arguments: &str) -> bool {
            let mut command = std::process::Command::new("openssl");
            let ran = command.args(arguments.split(' ')).current_dir(folder).output();
            assert!(ran.as_ref().map_or(true, |ran| ran.status.success()), "{arguments}: {ran:?}");
            ran.is_ok()
        }

        /// Takes documents over TLS, with this certificate and its key.
        fn tls_server(folder: &Path, name: &str) -> String {
            let chain = CertificateDer::pem_file_iter(folder.join(format!("{name}.pem"))).unwrap();
            let key = PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key"))).unwrap();
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = rustls::ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(chain.map(Result::unwrap).collect(), key)
                .unwrap();
            let config = Arc::new(config);
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("https://{}/hook", listener.local_addr().unwrap());
            std::thread::spawn(move || {
                for mut stream in listener.incoming().flatten() {
                    let mut connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
                    let mut stream = rustls::Stream::new(&mut connection, &mut stream);
                    let (mut request, mut more) = (Vec::new(), [0; 1024]);
                    while !request.ends_with(b"\r\n\r\n{}") {
                        // A client that does not believe hangs up.
                        let Ok(length @ 1..) = stream.read(&mut more) else { break };
                        request.extend_from_slice(&more[..length]);
                    }
                    let _ = stream.write_all(OK.as_bytes());
                }
            });
            url
        }

        #[test]
        fn a_server_is_believed_if_the_right_authority_vouches_for_it() {
            const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
            let folder = tempfile::tempdir().unwrap();
            let at = |name: &str| folder.path().join(name);
            for name in ["ours", "other"] {
                let files = format!("-keyout {name}.key -out {name}.pem -days 2 -subj /CN={name}");
                if !openssl(folder.path(), &format!("req -x509 {KEY} {files}")) {
                    eprintln!("skipped: openssl is not installed");
                    return;
                }
            }
            let files = "-keyout here.key -out here.csr -subj /CN=here -addext subjectAltName=IP:127.0.0.1";
            openssl(folder.path(), &format!("req -new {KEY} {files}"));
            let by = "-CA ours.pem -CAkey ours.key -CAcreateserial -days 2 -copy_extensions copy";
            openssl(folder.path(), &format!("x509 -req -in here.csr {by} -out here.pem"));
            let url = tls_server(folder.path(), "here");
            let by = |ca: Option<&str>| Webhook { ca: ca.map(at), ..hook(&url) };

            for (ca, because) in [
                (None, "UnknownIssuer"),
                (Some("other.pem"), "UnknownIssuer"),
                (Some("none.pem"), "No such file"),
                (Some("here.key"), "there is none in it, in PEM"),
            ] {
                let how = failure(&by(ca));
                assert!(how.contains(because), "{ca:?}: {how}");
            }
            post(&by(Some("ours.pem")), "{}").unwrap();
            std::fs::set_permissions(at("ours.pem"), PermissionsExt::from_mode(0o666)).unwrap();
            let how = failure(&by(Some("ours.pem")));
            assert!(
                how.contains("others than its owner may write it") && how.contains("chmod go-w"),
                "{how}"
            );
        }

        #[test]
        fn redirections_are_not_followed_and_other_answers_are_failures() {
            let (other, reached) = server(vec![OK]);
            let redirect: &'static str = format!(
                "HTTP/1.1 307 Temporary Redirect\r\nLocation: {other}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )
            .leak();
            let (url, _requests) =
                server(vec![redirect, "HTTP/1.1 500 Oh\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"]);
            let how = failure(&hook(&url));
            assert!(how.ends_with("status 307, and redirections are not followed"), "{how}");
            assert!(failure(&hook(&url)).ends_with("the server answered with status 500"));
            assert!(reached.try_recv().is_err());
        }

        #[test]
        fn who_does_not_answer_is_given_up() {
            let (url, _requests) = server(vec![""]);
            let start = Instant::now();
            let webhook = Webhook { timeout: Duration::from_secs(1), ..hook(&url) };
            let Err(Failure::Timeout(how)) = post(&webhook, "{}") else { panic!("it is no timeout") };
            assert!(
                how.ends_with("has not answered within 1s") && start.elapsed() < Duration::from_secs(3),
                "{how}"
            );
        }
    }
}
