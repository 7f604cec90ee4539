//! A name server, dnsmasq, that a namespace's programs find by a file of their own.

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::{Background, Namespace};

/// The address at which it serves.
const ADDRESS: &str = "127.0.0.1";
/// What its answers are an alias of: the server resolves it, and so must whoever asks.
const REAL: &str = "gateway.example.org";

/// Serves `vpn.example.org`, an alias, on loopback of a namespace until it is dropped.
#[derive(Debug)]
pub struct Dnsmasq<'a> {
    namespace: &'a Namespace,
    folder: TempDir,
    process: Option<Background>,
}

impl<'a> Dnsmasq<'a> {
    /// The name.
    pub const NAME: &'static str = "vpn.example.org";

    /// Serves these addresses, which hold for a second.
    pub fn start(namespace: &'a Namespace, addresses: &[IpAddr]) -> Self {
        let folder = TempDir::with_prefix("guard-dns-").expect("a temporary folder can be made");
        fs::write(folder.path().join("resolv.conf"), format!("nameserver {ADDRESS}\n"))
            .expect("the folder is ours");
        let mut server = Self { namespace, folder, process: None };
        server.set(addresses);
        server.start_again();
        server
    }

    /// What programs see as `/etc/resolv.conf`.
    pub fn resolv_conf(&self) -> PathBuf {
        self.folder.path().join("resolv.conf")
    }

    /// Serves other addresses.
    pub fn set(&self, addresses: &[IpAddr]) {
        let mut hosts = String::new();
        for address in addresses {
            let _ = writeln!(hosts, "{address} {REAL}");
        }
        fs::write(self.folder.path().join("hosts"), hosts).expect("the folder is ours");
        if let Some(process) = &self.process {
            process.signal(Signal::HUP);
        }
    }

    /// Serves no more.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Serves again.
    pub fn start_again(&mut self) {
        let mut command = Command::new("dnsmasq");
        command
            .args([
                "--keep-in-foreground",
                "--conf-file=/dev/null",
                "--no-resolv",
                "--no-hosts",
                "--user=root",
            ])
            .args(["--bind-interfaces", "--local-ttl=1", "--local=/example.org/", "--pid-file="])
            .arg(format!("--listen-address={ADDRESS}"))
            .arg(format!("--cname={},{REAL}", Self::NAME))
            .arg(format!("--addn-hosts={}", self.folder.path().join("hosts").display()))
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.process = Some(self.namespace.enter(|| Background::start(&mut command)));
    }
}
