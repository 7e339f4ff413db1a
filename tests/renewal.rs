//! `tedge-hsm renew`: certificates from an EST server, with the key in a token. openssl judges them,
//! and what is no good leaves the old certificate as it is.

use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use support::est::EstServer;
use support::openssl::Ca;
use support::{Hsm, Kind, Signer, fail, succeed, write_secret};

/// A key in a token behind a signer without rules, an EST server, and a place for certificates.
struct Device {
    // Ended in this order.
    server: EstServer,
    signer: Signer,
    ca: Ca,
    hsm: Hsm,
    key: String,
}

#[test]
fn a_first_certificate_is_got_with_a_password_and_renewed_with_the_key() {
    for (kind, key_type) in [
        (Kind::SoftHsm, "p256"),
        (Kind::SoftHsm, "p521"),
        (Kind::SoftHsm, "rsa2048"),
        (Kind::SoftHsm, "ed25519"),
        (Kind::Tpm2, "p256"),
        (Kind::Tpm2, "rsa2048"),
    ] {
        let device = Device::on(kind, key_type);
        let said = succeed(device.enroll().args(["--san", "DNS:device-1.example"]));
        assert!(said.contains("device.pem: CN=device-1 until 20"), "{said}");
        device.judge("DNS:device-1.example");
        let first = device.certificate();
        let mode = device.cert().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o644);

        // Valid for 90 days.
        let said = succeed(device.renew("est").args(["--days", "30"]));
        assert!(said.ends_with("nothing to do\n"), "{said}");
        assert_eq!(device.certificate(), first);

        succeed(device.renew("est").args(["--days", "91"]));
        device.judge("DNS:device-1.example");
        let second = device.certificate();
        assert_ne!(second, first);

        // Without a signer.
        succeed(&mut device.command(device.hsm.tedge_hsm(), "est"));
        device.judge("DNS:device-1.example");
        assert_ne!(device.certificate(), second);
    }
}

#[test]
fn a_chain_is_put_in_order_and_kept() {
    let device = Device::new("p256");
    succeed(&mut device.enroll());
    succeed(&mut device.renew("chunked"));
    device.judge("");
    let subjects = |pem: &str| {
        std::fs::write(device.hsm.file("chain.pem"), pem).unwrap();
        let mut show = device.signer.tedge_hsm();
        let shown = succeed(show.arg("show").arg(device.hsm.file("chain.pem")));
        let chain = shown.lines().filter_map(|line| line.strip_prefix("chain"));
        chain.map(str::trim).collect::<Vec<_>>().join("\n")
    };
    let chain = "CN=device-1: issued by the next\n\
                 CN=issuing: issued by CN=ca, which is not the next in the file";
    assert_eq!(subjects(&device.certificate()), chain);
    // The next one comes alone.
    let before = device.certificate();
    succeed(&mut device.renew("issuing"));
    device.judge("");
    assert_ne!(device.certificate(), before);
    assert_eq!(subjects(&device.certificate()), chain);
}

/// What servers send beside RFC 7030's words, and can mean one thing only.
#[test]
fn every_form_of_an_answer_is_taken() {
    let device = Device::new("p256");
    succeed(&mut device.enroll());
    for label in ["created", "capitals", "der", "pem", "alone"] {
        let before = device.certificate();
        succeed(&mut device.renew(label));
        device.judge("");
        assert_ne!(device.certificate(), before, "{label}");
    }
}

#[test]
fn what_is_no_good_leaves_the_old_certificate_alone() {
    let device = Device::new("p256");
    succeed(&mut device.enroll());
    let before = device.certificate();
    let inode = device.cert().metadata().unwrap().ino();
    for (label, why) in [
        ("other-key", "it is not for the key pkcs11:"),
        ("other-ca", "it was not issued by the CA"),
        ("expired", "it expired on 2021-01-01T00:00:00Z"),
        ("for-servers", "it is not for TLS clients"),
        ("garbage", "holds no PKCS#7 certificates"),
        ("no-base64", "holds no PKCS#7 certificates"),
        ("empty", "holds no PKCS#7 certificates"),
        ("huge", "has more than 262144 bytes"),
        ("html", "answers with text/html, not with certificates"),
        (
            "pending",
            "has yet to decide (HTTP 202): run this again in 120 s",
        ),
        (
            "denied",
            "HTTP 403: this client is not allowed to (device-1 is \u{fffd}[31mblocked)",
        ),
        ("broken", "HTTP 500: it failed itself; try again later"),
        ("moved", "HTTP 307: it redirects to https://localhost/"),
        ("json", "HTTP 400 (the device is not registered)"),
        ("xml", "HTTP 400 (7 no such profile)"),
        (
            "digest",
            "HTTP 401: it wants Digest, and tedge-hsm supports only Basic",
        ),
        ("cut", "the server closed the connection"),
    ] {
        let error = fail(&mut device.renew(label));
        assert!(error.contains(why), "{label}: {error}");
        assert_eq!(device.certificate(), before, "{label}");
        assert_eq!(device.cert().metadata().unwrap().ino(), inode, "{label}");
    }
    for label in ["silent", "dripping"] {
        let error = fail(device.renew(label).args(["--timeout", "2"]));
        assert!(error.contains("no answer in time"), "{label}: {error}");
        assert_eq!(device.certificate(), before, "{label}");
    }
    let files = std::fs::read_dir(device.cert().parent().unwrap()).unwrap();
    // The certificate, and what became of its renewals.
    assert_eq!(files.count(), 2, "something is left behind");
}

/// A server that sends a byte now and then, of a TLS record that does not end for a minute.
#[test]
fn the_time_limit_is_for_the_whole_exchange() {
    let device = Device::new("p256");
    succeed(&mut device.enroll());
    let server = TcpListener::bind("localhost:0").unwrap();
    let port = server.local_addr().unwrap().port().to_string();
    std::thread::spawn(move || {
        for client in server.incoming() {
            let mut client = client.unwrap();
            std::thread::spawn(move || {
                let record = [0x16, 3, 3, 0x3f, 0xff].into_iter().chain([0; 600]);
                for byte in record {
                    if client.write_all(&[byte]).is_err() {
                        break;
                    }
                    std::thread::sleep(Duration::from_millis(100));
                }
            });
        }
    });
    let on = |command: &str| {
        let mut on = device.signer.tedge_hsm();
        on.args([command, "--uri", &device.key, "--timeout", "2", "--cert"]);
        on.arg(device.cert())
            .arg("--ca")
            .arg(device.ca.certificate());
        on
    };
    let mut renew = on("renew");
    renew.args(["--est", &format!("https://localhost:{port}")]);
    let mut connect = on("connect");
    connect.args(["--host", "localhost", "--port", &port]);
    for mut command in [renew, connect] {
        let error = fail(&mut command);
        assert!(error.contains("no answer in time"), "{error}");
    }
}

#[test]
fn who_may_not_is_told() {
    let device = Device::new("p256");
    std::fs::write(device.hsm.file("password"), "wrong\n").unwrap();
    let error = fail(&mut device.enroll());
    assert!(error.contains("HTTP 401: it wants another user"), "{error}");
    assert!(!device.cert().exists());

    // The manufacturer's certificate, for another key in the token, opens the door.
    let factory = device.hsm.create_key("factory", "rsa2048");
    let mut csr = device.signer.tedge_hsm();
    csr.args(["csr", "--common-name", "factory", "--uri", &factory]);
    let cert = device.ca.issue("factory", &succeed(&mut csr));
    let mut command = device.renew("est");
    command.args(["--enroll", "--common-name", "device-1", "--bootstrap-cert"]);
    command.arg(&cert).args(["--bootstrap-uri", &factory]);
    succeed(&mut command);
    device.judge("");

    // Who has a certificate does not enroll again by mistake.
    let error = fail(&mut device.enroll());
    assert!(error.contains("already exists"), "{error}");
}

#[test]
fn a_server_that_nobody_trusts_gets_nothing() {
    let device = Device::new("p256");
    let stranger = Ca::new();
    let mut command = device.signer.tedge_hsm();
    command.args([
        "renew",
        "--uri",
        &device.key,
        "--est",
        &device.server.url("est"),
    ]);
    command.arg("--cert").arg(device.cert());
    command.arg("--ca").arg(stranger.certificate());
    command.args([
        "--enroll",
        "--common-name",
        "device-1",
        "--user",
        "installer",
    ]);
    let error = fail(
        command
            .arg("--password-file")
            .arg(device.hsm.file("password")),
    );
    assert!(
        error.contains("is not signed by the key of the CA"),
        "{error}"
    );
}

#[test]
fn another_ca_is_trusted_when_the_server_says_so() {
    let device = Device::new("p256");
    succeed(&mut device.enroll());
    let cas = device.hsm.file("cas.pem");
    succeed(device.renew("other-ca").arg("--cacerts-out").arg(&cas));
    succeed(
        Command::new("openssl")
            .args(["verify", "-purpose", "sslclient", "-CAfile"])
            .args([cas, device.cert()]),
    );
}

#[test]
fn another_key_is_for_the_new_certificate() {
    let device = Device::new("p256");
    succeed(&mut device.enroll());
    let new = device.hsm.create_key("new", "p384");
    succeed(device.renew("est").args(["--new-key", &new]));
    let mut verify = device.signer.tedge_hsm();
    verify
        .arg("verify")
        .arg(device.cert())
        .args(["--uri", &new]);
    succeed(verify.arg("--ca").arg(device.ca.certificate()));
}

#[test]
fn a_link_stays_a_link_and_a_file_keeps_its_owner() {
    let device = Device::new("p256");
    succeed(&mut device.enroll());
    let real = device.hsm.file("real.pem");
    std::fs::rename(device.cert(), &real).unwrap();
    symlink(&real, device.cert()).unwrap();
    let root = rustix::process::geteuid().is_root();
    if root {
        std::os::unix::fs::chown(&real, Some(65534), Some(65534)).unwrap();
    } else {
        println!("skipped: only root gives files to others");
    }
    succeed(&mut device.renew("est"));
    assert!(device.cert().symlink_metadata().unwrap().is_symlink());
    let file = real.metadata().unwrap();
    if root {
        assert_eq!((file.uid(), file.gid()), (65534, 65534));
    }
    device.judge("");
}

/// User tedge has /etc/tedge, with the CA's file and tedge.toml in it: none of root's passwords goes where he says.
#[test]
fn a_password_goes_nowhere_by_a_file_of_another_user() {
    if !support::user::can_be_others() {
        return;
    }
    let device = Device::new("p256");
    let theirs = device.hsm.file("theirs.pem");
    std::fs::copy(device.ca.certificate(), &theirs).unwrap();
    let chown = |path: &std::path::Path| {
        std::os::unix::fs::chown(path, Some(65534), Some(65534)).unwrap();
    };
    chown(&theirs);
    let mut enroll = device.with_ca(device.signer.tedge_hsm(), "est", &theirs);
    enroll.args([
        "--enroll",
        "--common-name",
        "device-1",
        "--user",
        "installer",
    ]);
    let password = device.hsm.file("password");
    let error = fail(enroll.arg("--password-file").arg(&password));
    assert!(error.contains("it is not relied on here"), "{error}");
    assert!(!device.cert().exists());
    succeed(&mut device.enroll());
    // What his server would send, root would write down.
    let error = fail(&mut device.with_ca(device.signer.tedge_hsm(), "est", &theirs));
    assert!(error.contains("it is not relied on here"), "{error}");
    // Neither the broker's name nor its CAs are taken from his tedge.toml.
    let toml = device.hsm.file("tedge.toml");
    std::fs::write(&toml, "[c8y]\nurl = \"localhost:1\"\n").unwrap();
    chown(&toml);
    for host in [None, Some("localhost:1")] {
        let mut renew = device.renew("est");
        renew.env("TEDGE_CONFIG_DIR", device.hsm.dir.path());
        renew.arg("--try-connect").args(host);
        renew.args(["--try-username", "device-1", "--try-password-file"]);
        let error = fail(renew.arg(&password));
        assert!(error.contains("no password goes where it says"), "{error}");
        let error = fail(renew.arg("--try-ca").arg(&theirs));
        let said = match host {
            None => "no password goes where it says",
            Some(_) => "it is not relied on here",
        };
        assert!(error.contains(said), "{error}");
    }
}

impl Device {
    fn new(key_type: &str) -> Self {
        Self::on(Kind::SoftHsm, key_type)
    }

    fn on(kind: Kind, key_type: &str) -> Self {
        let hsm = Hsm::start(kind);
        let key = hsm.create_key("tls", key_type);
        let signer = Signer::start_with_default_policy(&hsm);
        let ca = Ca::new();
        std::fs::create_dir(hsm.file("certs")).unwrap();
        write_secret(&hsm.file("password"), "s3cret\n");
        Self {
            server: EstServer::start(&ca),
            signer,
            ca,
            hsm,
            key,
        }
    }

    fn cert(&self) -> PathBuf {
        self.hsm.file("certs/device.pem")
    }

    fn certificate(&self) -> String {
        std::fs::read_to_string(self.cert()).unwrap()
    }

    fn command(&self, command: Command, label: &str) -> Command {
        self.with_ca(command, label, &self.ca.certificate())
    }

    fn with_ca(&self, mut command: Command, label: &str, ca: &std::path::Path) -> Command {
        command.args([
            "renew",
            "--uri",
            &self.key,
            "--est",
            &self.server.url(label),
        ]);
        command.arg("--cert").arg(self.cert());
        command.arg("--ca").arg(ca);
        command
    }

    fn renew(&self, label: &str) -> Command {
        self.command(self.signer.tedge_hsm(), label)
    }

    fn enroll(&self) -> Command {
        let mut command = self.renew("est");
        command.args([
            "--enroll",
            "--common-name",
            "device-1",
            "--user",
            "installer",
        ]);
        command
            .arg("--password-file")
            .arg(self.hsm.file("password"));
        command
    }

    /// openssl finds the certificate good, for the key, and with this further name.
    fn judge(&self, name: &str) {
        let cert = self.cert();
        succeed(
            Command::new("openssl")
                .args(["verify", "-purpose", "sslclient", "-CAfile"])
                .arg(self.ca.certificate())
                .arg("-untrusted")
                .args([&cert, &cert]),
        );
        let x509 = |option: &str| {
            let mut x509 = Command::new("openssl");
            succeed(x509.args(["x509", "-noout", option, "-in"]).arg(&cert))
        };
        let mut csr = self.signer.tedge_hsm();
        csr.args(["csr", "--common-name", "x", "--uri", &self.key, "--output"]);
        succeed(csr.arg(self.hsm.file("key.csr")));
        let mut key = Command::new("openssl");
        key.args(["req", "-noout", "-pubkey", "-in"])
            .arg(self.hsm.file("key.csr"));
        assert_eq!(x509("-pubkey"), succeed(&mut key));
        assert!(x509("-text").contains(name));
    }
}
