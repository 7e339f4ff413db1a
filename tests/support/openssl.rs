//! The outsider: openssl verifies what our code signed.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tedge_p11_client::{PrivateKey, PublicKey, SignatureScheme};
use tempfile::TempDir;

use crate::succeed;

/// Panics unless openssl finds that `signature` is one of `message` by `scheme`.
pub fn verify(key: &PublicKey, scheme: SignatureScheme, message: &[u8], signature: &[u8]) {
    verify_by(Path::new("openssl"), key, scheme, message, signature);
}

/// The same by another openssl, which may know more schemes.
pub fn verify_by(
    openssl: &Path,
    key: &PublicKey,
    scheme: SignatureScheme,
    message: &[u8],
    signature: &[u8],
) {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    let key = file("key.der", key.spki());
    let message = file("message", message);
    let signature = file("signature", signature);
    let mut command = Command::new(openssl);
    let name = scheme.to_string();
    if scheme == SignatureScheme::ED25519 || scheme.is_post_quantum() {
        command.args([
            "pkeyutl", "-verify", "-rawin", "-pubin", "-keyform", "DER", "-inkey",
        ]);
        command.arg(&key).arg("-sigfile").arg(&signature).arg("-in");
    } else {
        let digest = name.rsplit('_').next().unwrap();
        command.args(["dgst", &format!("-{digest}"), "-keyform", "DER", "-verify"]);
        command.arg(&key).arg("-signature").arg(&signature);
        if name.starts_with("rsa_pss") {
            // RFC 8446, section 4.2.3: the salt is as long as the digest.
            for option in ["rsa_padding_mode:pss", "rsa_pss_saltlen:digest"] {
                command.args(["-sigopt", option]);
            }
        }
    }
    command.arg(&message);
    let said = succeed(&mut command);
    assert!(said.to_lowercase().contains("verified"), "{scheme}: {said}");
}

/// Signs with every scheme of the key and has openssl verify.
pub fn verify_all_schemes(key: &dyn PrivateKey) -> Vec<String> {
    verify_all_schemes_by(Path::new("openssl"), key)
}

/// The same by another openssl.
pub fn verify_all_schemes_by(openssl: &Path, key: &dyn PrivateKey) -> Vec<String> {
    let message = b"what a TLS client signs";
    key.schemes()
        .iter()
        .map(|scheme| {
            let signature = key.sign(*scheme, message).unwrap();
            verify_by(openssl, key.public_key(), *scheme, message, &signature);
            scheme.to_string()
        })
        .collect()
}

/// A certificate authority for one test.
pub struct Ca {
    dir: TempDir,
    openssl: PathBuf,
}

impl Ca {
    pub fn new() -> Self {
        Self::by(Path::new("openssl"))
    }

    /// One that uses another openssl, and so issues to more kinds of keys.
    pub fn by(openssl: &Path) -> Self {
        let ca = Self {
            dir: tempfile::tempdir().unwrap(),
            openssl: openssl.to_owned(),
        };
        ca.make_key("ca", &["-x509", "-days", "2", "-out", "ca.pem"]);
        ca.write(
            "server.ext",
            "subjectAltName=DNS:localhost\nextendedKeyUsage=serverAuth\n",
        );
        ca.write("client.ext", "extendedKeyUsage=clientAuth\n");
        ca.make_key("localhost", &["-out", "localhost.csr"]);
        ca.sign("localhost", "server.ext");
        ca
    }

    /// The CA's certificate.
    pub fn certificate(&self) -> PathBuf {
        self.file("ca.pem")
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Servers that start from now on have another name, too.
    pub fn add_server_name(&self, name: &str) {
        self.write(
            "server.ext",
            &format!("subjectAltName=DNS:localhost,DNS:{name}\nextendedKeyUsage=serverAuth\n"),
        );
        self.sign("localhost", "server.ext");
    }

    /// Signs a certificate signing request with the CA, and returns the certificate's file.
    pub fn issue(&self, name: &str, csr: &str) -> PathBuf {
        self.write(&format!("{name}.csr"), csr);
        self.sign(name, "client.ext")
    }

    /// A server's key and certificate, with these DNS names; the files are `name.key` and `name.pem`.
    pub fn issue_server(&self, name: &str, hosts: &[&str]) -> PathBuf {
        let hosts: Vec<_> = hosts.iter().map(|host| format!("DNS:{host}")).collect();
        let extensions = format!(
            "subjectAltName={}\nextendedKeyUsage=serverAuth\n",
            hosts.join(",")
        );
        self.write(&format!("{name}.ext"), &extensions);
        self.make_key(name, &["-out", &format!("{name}.csr")]);
        self.sign(name, &format!("{name}.ext"))
    }

    /// The same with the times between which the certificate is valid, in seconds of the Unix epoch.
    pub fn issue_at(&self, name: &str, csr: &str, from: u64, until: u64) -> PathBuf {
        self.write(&format!("{name}.csr"), csr);
        self.write("index.txt", "");
        self.write(
            "ca.cnf",
            "[ca]\ndefault_ca=x\n[x]\ndatabase=index.txt\nrand_serial=yes\nnew_certs_dir=.\ndefault_md=sha256\n\
             policy=p\n[p]\ncommonName=supplied\n",
        );
        let time = |seconds: u64| {
            let at = format!("@{seconds}");
            let mut date = Command::new("date");
            let time = succeed(date.args(["-u", "-d", &at, "+%Y%m%d%H%M%SZ"]));
            time.trim().to_owned()
        };
        let issued = format!("{name}.pem");
        succeed(
            self.openssl()
                .args(["ca", "-batch", "-notext", "-config", "ca.cnf", "-in"])
                .args([
                    &format!("{name}.csr"),
                    "-cert",
                    "ca.pem",
                    "-keyfile",
                    "ca.key",
                ])
                .args(["-extfile", "client.ext", "-out", &issued])
                .args(["-startdate", &time(from), "-enddate", &time(until)]),
        );
        self.file(&issued)
    }

    pub fn openssl(&self) -> Command {
        let mut command = Command::new(&self.openssl);
        command.current_dir(&self.dir);
        command
    }

    /// The folder of the openssl, where it is not the system's.
    pub(crate) fn openssl_folder(&self) -> Option<&Path> {
        self.openssl.parent().filter(|folder| folder.is_absolute())
    }

    /// A P-256 key in a file, and a request or certificate for it, depending on `args`.
    pub fn make_key(&self, name: &str, args: &[&str]) {
        succeed(
            self.openssl()
                .args([
                    "req",
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:P-256",
                ])
                .args(["-nodes", "-keyout", &format!("{name}.key")])
                .args(["-subj", &format!("/CN={name}")])
                .args(args),
        );
    }

    fn write(&self, name: &str, content: &str) {
        let mut file = std::fs::File::create(self.file(name)).unwrap();
        file.write_all(content.as_bytes()).unwrap();
    }

    fn sign(&self, name: &str, extensions: &str) -> PathBuf {
        succeed(self.openssl().args([
            "x509",
            "-req",
            "-in",
            &format!("{name}.csr"),
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
            "-CAcreateserial",
            "-days",
            "2",
            "-extfile",
            extensions,
            "-out",
            &format!("{name}.pem"),
        ]));
        self.file(&format!("{name}.pem"))
    }
}

impl Default for Ca {
    fn default() -> Self {
        Self::new()
    }
}

/// A file beside `pem`, with the certificate in DER.
pub fn der(pem: &Path) -> PathBuf {
    let der = pem.with_extension("der");
    let mut openssl = Command::new("openssl");
    openssl.args(["x509", "-outform", "DER", "-in"]).arg(pem);
    succeed(openssl.arg("-out").arg(&der));
    der
}

/// What openssl makes of a public key in DER, as text.
pub fn describe_public_key(der: &[u8], dir: &Path) -> String {
    let path = dir.join("described.der");
    std::fs::write(&path, der).unwrap();
    succeed(
        Command::new("openssl")
            .args(["pkey", "-pubin", "-inform", "DER", "-noout", "-text", "-in"])
            .arg(&path),
    )
}
