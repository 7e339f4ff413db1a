//! Real HTTP proxies: tinyproxy, and squid, which does by the book what tinyproxy does in its own way.

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::broker::free_port;
use crate::mqtt::await_some;
use crate::succeed;

/// A running tinyproxy. Only in its own container the name [`TARGET`] has an address.
pub struct HttpProxy {
    child: Child,
    address: &'static str,
    port: u16,
    dir: TempDir,
}

/// A name that the proxy alone can look up: this machine.
pub const TARGET: &str = "broker.factory.example";

/// Who may use a proxy with [`login`].
pub const USER: &str = "device";
pub const PASSWORD: &str = "s3cret-of-the-factory";

/// Configuration: only this user may.
pub fn login() -> String {
    format!("BasicAuth {USER} {PASSWORD}")
}

/// The same command where whoever looks up a name waits for ever. `dir` is an empty folder.
pub fn without_names(command: &Command, dir: &Path) -> Command {
    let (hosts, order) = (dir.join("hosts"), dir.join("nsswitch.conf"));
    if !hosts.exists() {
        succeed(Command::new("mkfifo").arg(&hosts));
        std::fs::write(&order, "hosts: files\n").unwrap();
    }
    let mut contained = Command::new("bwrap");
    contained.args(["--dev-bind", "/", "/", "--die-with-parent"]);
    contained.arg("--bind").arg(hosts).arg("/etc/hosts");
    contained.arg("--bind").arg(order).arg("/etc/nsswitch.conf");
    contained
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => contained.env(name, value),
            None => contained.env_remove(name),
        };
    }
    contained
}

impl HttpProxy {
    /// At `address`, with more lines of configuration.
    pub fn start_with(address: &'static str, more: &str) -> Self {
        Self::start_at(address, free_port(), more)
    }

    /// The same at a port that one before it had.
    pub fn start_at(address: &'static str, port: u16, more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name);
        let config = format!(
            "Listen {address}\nPort {port}\nTimeout 600\nMaxClients 50\nLogLevel Connect\nLogFile \"{}\"\n{more}\n",
            file("log").display()
        );
        std::fs::write(file("conf"), config).unwrap();
        std::fs::write(file("hosts"), format!("127.0.0.1 localhost {TARGET}\n")).unwrap();
        let mut child = Command::new("bwrap")
            .args(["--dev-bind", "/", "/", "--die-with-parent", "--bind"])
            .arg(file("hosts"))
            .args(["/etc/hosts", "tinyproxy", "-d", "-c"])
            .arg(file("conf"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("bubblewrap is installed");
        await_some("tinyproxy to listen", || {
            assert!(child.try_wait().unwrap().is_none(), "tinyproxy ended");
            TcpStream::connect((address, port)).ok()
        });
        Self {
            child,
            address,
            port,
            dir,
        }
    }

    /// As `--proxy` wants it.
    pub fn url(&self) -> String {
        match self.address {
            "::1" => format!("http://[::1]:{}", self.port),
            address => format!("http://{address}:{}", self.port),
        }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// The targets that it was asked for.
    pub fn targets(&self) -> Vec<String> {
        let log = self.log();
        let target = |line: &str| {
            let (_, rest) = line.split_once("): CONNECT ")?;
            Some(rest.split(' ').next()?.to_owned())
        };
        log.lines().filter_map(target).collect()
    }

    pub fn freeze(&self) {
        for pid in self.processes() {
            rustix::process::kill_process(pid, Signal::STOP).unwrap();
        }
    }

    /// Ends it with all its connections, as a crash does.
    pub fn kill(&mut self) {
        for pid in self.processes() {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        let _ = self.child.wait();
    }

    /// tinyproxy's, below bubblewrap's.
    fn processes(&self) -> Vec<rustix::process::Pid> {
        let id = self.child.id();
        let children = format!("/proc/{id}/task/{id}/children");
        let children = std::fs::read_to_string(children).unwrap_or_default();
        let pids = children.split_whitespace().map(|pid| pid.parse().unwrap());
        pids.chain([i32::try_from(id).unwrap()])
            .filter_map(rustix::process::Pid::from_raw)
            .collect()
    }
}

/// A running squid that takes [`USER`] only.
pub struct Squid {
    child: Child,
    port: u16,
    _dir: TempDir,
}

impl Squid {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        // It reads them as another user.
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(dir.path(), open).unwrap();
        let hash = succeed(Command::new("openssl").args(["passwd", "-apr1", PASSWORD]));
        let passwords = dir.path().join("passwords");
        std::fs::write(&passwords, format!("{USER}:{hash}")).unwrap();
        let config = format!(
            "http_port 127.0.0.1:{port}\nauth_param basic program /usr/lib/squid/basic_ncsa_auth {}\n\
             auth_param basic children 1\nacl users proxy_auth REQUIRED\nhttp_access allow users\n\
             http_access deny all\npid_filename none\ncache deny all\ncache_log /dev/null\naccess_log none\n\
             pinger_enable off\nnetdb_filename none\nshutdown_lifetime 0 seconds\ncoredump_dir none\n",
            passwords.display()
        );
        let file = dir.path().join("conf");
        std::fs::write(&file, config).unwrap();
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        let mut child = Command::new("squid")
            .env("PATH", path)
            .args(["-N", "-f"])
            .arg(file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("squid is installed");
        await_some("squid to listen", || {
            assert!(child.try_wait().unwrap().is_none(), "squid ended");
            TcpStream::connect(("127.0.0.1", port)).ok()
        });
        Self {
            child,
            port,
            _dir: dir,
        }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Squid {
    fn drop(&mut self) {
        // Its helper ends with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for HttpProxy {
    fn drop(&mut self) {
        self.kill();
    }
}
