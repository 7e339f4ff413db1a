//! Servers whose certificate is no good: each command and the bridge say what is wrong with which
//! certificate, and how it is made right, in words that are no library's.

use std::io::Write as _;
use std::net::TcpListener;
use std::process::Command;

use support::mqtt::await_some;
use support::{Bridge, Broker, Ca, Device, fail, succeed};

/// What is wrong: how the server's certificate is made, by shell commands in the CA's folder; the CA that is
/// given, and what is said.
struct Case {
    make: &'static str,
    ca: &'static str,
    what: &'static str,
    cure: &'static str,
}

const CASES: &[Case] = &[
    Case {
        make: "openssl req -x509 $NEW -keyout localhost.key -out localhost.pem -subj /CN=broker -days 2",
        ca: "localhost.pem",
        what: "the server's certificate (CN=broker) is a CA's own (CA:TRUE), and none that a CA issued to it",
        cure: "with CA:FALSE",
    },
    Case {
        make: "openssl x509 -req -in localhost.csr $CA -days 2 -out localhost.pem",
        ca: "ca.pem",
        what: "the server's certificate (CN=localhost) is X.509 version 1",
        cure: "openssl x509 -req with -extfile and subjectAltName",
    },
    Case {
        make: "issue 'extendedKeyUsage=serverAuth'",
        ca: "ca.pem",
        what: "the server's certificate (CN=localhost) has no subjectAltName, so it is not for localhost",
        cure: "the common name does not count",
    },
    Case {
        make: "issue 'subjectAltName=DNS:other.example,IP:192.0.2.1'",
        ca: "ca.pem",
        what: "the server's certificate (CN=localhost) is not for localhost, but for other.example, 192.0.2.1",
        cure: "name the server as its certificate does",
    },
    Case {
        make: "issue \"$SAN\" 'extendedKeyUsage=clientAuth'",
        ca: "ca.pem",
        what: "(CN=localhost) is not for TLS servers: its extended key usage has no serverAuth",
        cure: "have one issued with extendedKeyUsage=serverAuth",
    },
    Case {
        make: "issue \"$SAN\" '1.2.3.4=critical,ASN1:UTF8String:x'",
        ca: "ca.pem",
        what: "has a critical extension that is not known here",
        cure: "have it issued without",
    },
    Case {
        make: "DAYS=-1 issue \"$SAN\"",
        ca: "ca.pem",
        what: "the server's certificate (CN=localhost) expired on 20",
        cure: "set the clock (timedatectl); if it is right, the server needs a new certificate",
    },
    Case {
        make: "make_ca other",
        ca: "other.pem",
        what: "the server's certificate (CN=localhost) leads to the CA CN=ca, which is not among those that are trusted",
        cure: "give the CA that issued the server's certificate",
    },
    Case {
        make: "make_ca ca2 /CN=ca",
        ca: "ca2.pem",
        what: "(CN=localhost), or one in its chain, is not signed by the key of the CA that has its issuer's name",
        cure: "there may be two of the same name",
    },
    Case {
        make: "make_ca localhost /CN=alone -addext basicConstraints=critical,CA:FALSE",
        ca: "ca.pem",
        what: "the server's certificate (CN=alone) issued itself, and is not among the CAs that are trusted",
        cure: "give it as the CA if it is the right one",
    },
    Case {
        make: "make_ca sub /CN=sub $CA; issue_by sub \"$SAN\"",
        ca: "ca.pem",
        what: "the server's certificate (CN=localhost) leads to the CA CN=sub, which is not among",
        cure: "have the server send its certificate, too",
    },
    Case {
        make: "issue \"$SAN\"; cp localhost.pem device.pem; cp localhost.key device.key; \
               openssl req $NEW -keyout localhost.key -out localhost.csr -subj /CN=below; \
               issue_by device \"$SAN\"; cat device.pem >> localhost.pem",
        ca: "ca.pem",
        what: "the server's certificate (CN=below) was issued by a certificate that is not a CA's",
        cure: "have it issued by a CA",
    },
    Case {
        make: "make_ca one /CN=one $CA -addext basicConstraints=critical,CA:TRUE,pathlen:0; \
               make_ca two /CN=two -CA one.pem -CAkey one.key; issue_by two \"$SAN\"; \
               cat two.pem one.pem >> localhost.pem",
        ca: "ca.pem",
        what: "has more CAs above it than one of them allows (pathlen)",
        cure: "by a CA that may",
    },
    Case {
        make: "NEW='-newkey ec -pkeyopt ec_paramgen_curve:P-521 -nodes' make_ca p521; issue_by p521 \"$SAN\"",
        ca: "p521.pem",
        what: "nothing here can verify the signature (ecdsa-with-SHA",
        cure: "have it issued with ECDSA on P-256",
    },
];

const SHELL: &str = r#"
exec >/dev/null 2>&1
NEW=${NEW:-'-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes'}
CA='-CA ca.pem -CAkey ca.key'
SAN=subjectAltName=DNS:localhost
issue_by() {
    by=$1; shift
    printf '%s\n' "$@" > made.ext
    openssl x509 -req -in localhost.csr -CA "$by.pem" -CAkey "$by.key" -CAcreateserial -days "${DAYS:-2}" \
        -extfile made.ext -out localhost.pem
}
issue() { issue_by ca "$@"; }
make_ca() {
    name=$1; subject=${2:-/CN=$1}; shift; [ $# -eq 0 ] || shift
    # Its extensions are those that are given: the default file's would be there twice.
    printf '[req]\ndistinguished_name=dn\n[dn]\n' > made.cnf
    case "$*" in *basicConstraints*) ;; *) set -- "$@" -addext basicConstraints=critical,CA:TRUE ;; esac
    openssl req -config made.cnf -x509 $NEW -keyout "$name.key" -out "$name.pem" -subj "$subject" -days 2 "$@"
}
set -e
"#;

/// With a certificate by `ca`, to a server whose CA is in the file `trusted`.
fn connect(device: &Device, port: u16, ca: &Ca, trusted: &str) -> Command {
    let mut command = device.signer.tedge_hsm();
    command.args(["connect", "--host", "localhost", "--uri", &device.uri]);
    command.args(["--port", &port.to_string(), "--cert"]);
    command.arg(ca.file("device-1.pem"));
    command.arg("--ca").arg(ca.file(trusted));
    command
}

fn make(ca: &Ca, commands: &str) {
    let script = format!("{SHELL}{commands}\n");
    let made = Command::new("sh")
        .args(["-c", &script])
        .current_dir(ca.file("."))
        .status();
    assert!(made.unwrap().success(), "{commands}");
}

/// A word with a capital inside, as names in Rust have them, is a library's.
fn has_debug(text: &str) -> bool {
    [
        "Other(",
        "Error",
        "{ ",
        "UnknownIssuer",
        "BadSignature",
        "DnsName",
        "AlertReceived",
    ]
    .iter()
    .any(|part| text.contains(part))
}

#[test]
fn every_command_says_what_is_wrong_with_which_certificate() {
    let device = Device::start();
    for case in CASES {
        let ca = Ca::new();
        device.certificate_by(&ca);
        make(&ca, case.make);
        let broker = Broker::start(&ca);
        let said = fail(&mut connect(&device, broker.port, &ca, case.ca));
        assert!(said.contains(case.what), "{}: {said}", case.make);
        assert!(said.contains(case.cure), "{}: {said}", case.make);
        assert!(!has_debug(&said), "{said}");

        let mut doctor = device.signer.tedge_hsm();
        doctor.args(["doctor", "--host", "localhost", "--uri", &device.uri]);
        doctor.args(["--port", &broker.port.to_string(), "--cert"]);
        doctor.arg(ca.file("device-1.pem"));
        doctor.arg("--ca").arg(ca.file(case.ca));
        let output = doctor.output().unwrap();
        let found = String::from_utf8(output.stdout).unwrap();
        let line = found
            .lines()
            .find(|line| line.contains(" broker "))
            .unwrap();
        let (what, cure) = line.split_once(" -> ").unwrap();
        assert!(
            what.contains(case.what) && cure.contains(case.cure),
            "{line}"
        );
        assert!(!has_debug(line), "{line}");

        let mut renew = device.signer.tedge_hsm();
        let est = format!("https://localhost:{}", broker.port);
        renew.args(["renew", "--uri", &device.uri, "--est", &est, "--cert"]);
        renew.arg(ca.file("device-1.pem"));
        renew.arg("--ca").arg(ca.file(case.ca));
        let said = fail(&mut renew);
        assert!(
            said.contains(case.what) && said.contains(case.cure),
            "{said}"
        );
    }
}

#[test]
fn the_bridge_says_the_same() {
    let device = Device::start();
    for case in [&CASES[0], &CASES[1], &CASES[3]] {
        let ca = Ca::new();
        device.certificate_by(&ca);
        make(&ca, case.make);
        let broker = Broker::start(&ca);
        let config = format!(
            "[local]\nport = 1\n[cloud.test]\nsigner = \"{}\"\nhost = \"localhost\"\nport = {}\nclient_id = \"a\"\n\
             cert = \"{}\"\nca = \"{}\"\nkey = \"{}\"\n[[cloud.test.out]]\ntopic = \"a\"\n",
            device.signer.socket().display(),
            broker.port,
            ca.file("device-1.pem").display(),
            ca.file(case.ca).display(),
            device.uri,
        );
        let bridge = Bridge::spawn(&device.hsm.file("."), &config);
        let status = bridge.await_notification("no TLS: ");
        assert!(
            status.contains(case.what) && status.contains(case.cure),
            "{status}"
        );
        assert!(!has_debug(&status), "{status}");
    }
}

/// What the message tells to do.
#[test]
fn the_cure_for_a_ca_of_its_own_works() {
    let device = Device::start();
    let ca = Ca::new();
    device.certificate_by(&ca);
    make(
        &ca,
        "make_ca localhost /CN=broker -addext basicConstraints=critical,CA:FALSE -addext \"$SAN\"",
    );
    let broker = Broker::start(&ca);
    let said = succeed(&mut connect(&device, broker.port, &ca, "localhost.pem"));
    assert!(said.contains("CONNACK           accepted"), "{said}");
}

#[test]
fn what_is_no_tls_is_told() {
    let device = Device::start();
    let ca = Ca::new();
    device.certificate_by(&ca);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"220 mail.example ESMTP\r\n").unwrap();
        // Until the client has read it.
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let said = fail(&mut connect(&device, port, &ca, "ca.pem"));
    assert!(
        said.contains("the server's answer is no TLS; is this the port for TLS?"),
        "{said}"
    );
    server.join().unwrap();
}

/// A device whose certificate is of version 1 or has a byte order mark before it.
#[test]
fn the_bridge_takes_certificates_in_every_form() {
    let device = Device::start();
    let ca = Ca::new();
    device.certificate_by(&ca);
    make(
        &ca,
        "openssl x509 -req -in device-1.csr $CA -days 2 -out v1.pem; \
         { echo 77u/ | base64 -d; cat device-1.pem; } > bom.pem; \
         openssl x509 -in ca.pem -outform DER -out ca.der",
    );
    let broker = Broker::start(&ca);
    for (cert, trusted) in [("v1.pem", "ca.pem"), ("bom.pem", "ca.der")] {
        let config = format!(
            "[local]\nport = 1\n[cloud.test]\nsigner = \"{}\"\nhost = \"localhost\"\nport = {}\nclient_id = \"a\"\n\
             cert = \"{}\"\nca = \"{}\"\nkey = \"{}\"\n[[cloud.test.out]]\ntopic = \"a\"\n",
            device.signer.socket().display(),
            broker.port,
            ca.file(cert).display(),
            ca.file(trusted).display(),
            device.uri,
        );
        let before = broker.log().matches(" as a (").count();
        let _bridge = Bridge::spawn(&device.hsm.file("."), &config);
        await_some("the bridge at the broker", || {
            (broker.log().matches(" as a (").count() > before).then_some(())
        });
    }
}
