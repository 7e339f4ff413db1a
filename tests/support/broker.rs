//! Servers that ask for a client certificate: mosquitto, and openssl's s_server.

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::openssl::Ca;

/// A running mosquitto that takes TLS 1.3 with a certificate of the CA only, whose subject is the
/// user's name.
pub struct Broker {
    child: Child,
    pub port: u16,
    log: PathBuf,
}

impl Broker {
    pub fn start(ca: &Ca) -> Self {
        Self::start_with(ca, "use_subject_as_username true\n")
    }

    /// It takes this user with this password only, beside the certificate.
    pub fn start_with_password(ca: &Ca, user: &str, password: &str) -> Self {
        let file = ca.file("passwords");
        let mut make = Command::new("mosquitto_passwd");
        make.args(["-b", "-c"]).arg(&file).args([user, password]);
        crate::succeed(&mut make);
        let file = file.display();
        Self::start_with(
            ca,
            &format!("password_file {file}\nallow_anonymous false\n"),
        )
    }

    /// With these lines of configuration that say who a client is.
    fn start_with(ca: &Ca, users: &str) -> Self {
        let log = ca.file("mosquitto.log");
        let port = free_port();
        let config = format!(
            "listener {port} 127.0.0.1\ncafile {ca}\ncertfile {cert}\nkeyfile {key}\n\
             tls_version tlsv1.3\nrequire_certificate true\n{users}\
             user {user}\nlog_dest file {log}\nlog_type all\nconnection_messages true\n",
            ca = ca.certificate().display(),
            cert = ca.file("localhost.pem").display(),
            key = ca.file("localhost.key").display(),
            user = std::env::var("USER").unwrap_or_else(|_| "root".to_owned()),
            log = log.display(),
        );
        let file = ca.file("mosquitto.conf");
        std::fs::write(&file, config).unwrap();
        // Debian has it in /usr/sbin, which is not in everybody's PATH.
        let path = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        let mut child = Command::new("mosquitto")
            .env("PATH", path)
            .arg("-c")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto is installed");
        await_port(port, &mut child);
        Self { child, port, log }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A running `openssl s_server` that asks for a certificate of the CA, and sends every line back
/// reversed.
pub struct SServer {
    child: Child,
    pub port: u16,
}

impl SServer {
    /// Sends each line back the other way round.
    pub fn start(ca: &Ca, args: &[&str]) -> Self {
        Self::start_by(ca.openssl(), ca, args)
    }

    /// As `start`, with another openssl.
    pub fn start_by(openssl: Command, ca: &Ca, args: &[&str]) -> Self {
        Self::start_as(openssl, "-rev", ca, args)
    }

    /// Answers HTTP.
    pub fn start_http(ca: &Ca) -> Self {
        Self::start_as(ca.openssl(), "-www", ca, &[])
    }

    fn start_as(mut openssl: Command, what: &str, ca: &Ca, args: &[&str]) -> Self {
        let port = free_port();
        let mut child = openssl
            .current_dir(ca.certificate().parent().unwrap())
            .args([
                "s_server",
                "-accept",
                &format!("127.0.0.1:{port}"),
                "-cert",
                "localhost.pem",
            ])
            .args(["-key", "localhost.key", "-CAfile", "ca.pem", "-Verify", "2"])
            .args(["-verify_return_error", what, "-naccept", "100"])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // It says ACCEPT once it listens; what follows is read away so that it never blocks.
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert!(
            lines.any(|line| line.is_ok_and(|line| line.starts_with("ACCEPT"))),
            "s_server did not start"
        );
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, port }
    }
}

impl Drop for SServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago; the servers here can't be asked to choose one.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// mosquitto tells nobody when it listens: connecting is the only way to learn it.
pub(crate) fn await_port(port: u16, child: &mut Child) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(child.try_wait().unwrap().is_none(), "the broker ended");
        assert!(Instant::now() < deadline, "the broker does not listen");
        std::thread::yield_now();
    }
}
