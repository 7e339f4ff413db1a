//! Certificates that are written to a token take the place of those of their own key, and of no others.

use std::path::{Path, PathBuf};

use support::hsm::PIN;
use support::{Ca, Hsm, Kind, Signer, openssl, parse_uri, succeed};
use tedge_p11_client::{Error, Uri};

const P256: &str = "EC:prime256v1";
const LABEL_ONLY: &str = "pkcs11:token=device;object=shared;type=private";

/// Others may give their certificates the same id or label; only the public keys tell.
#[test]
fn certificates_of_other_keys_stay() {
    let test = Import::start();
    test.make_key(P256, &["--label", "shared", "--id", "07"]);
    let uri = format!("{LABEL_ONLY};id=%07");
    test.write("other", &["--id", "07", "--label", "shared"]);
    test.write("elsewhere", &["--id", "08", "--label", "shared"]);
    test.write("nameless", &[]);
    test.replaces_its_own_only(&uri, 3);
}

#[test]
fn a_key_without_an_id_takes_no_certificate_that_has_one() {
    let test = Import::start();
    test.make_key(P256, &["--label", "shared"]);
    // Its own, bound by an id to who knows what.
    let own = test.issue(LABEL_ONLY, "own");
    test.write_file(&own, &["--id", "07", "--label", "shared"]);
    test.write("other", &["--id", "08", "--label", "shared"]);
    test.write("same-label", &["--label", "shared"]);
    test.write("nameless", &[]);
    test.replaces_its_own_only(LABEL_ONLY, 4);
}

/// It matches everything.
#[test]
fn a_key_without_a_name_gets_no_certificate() {
    let test = Import::start();
    // SoftHSM2 tells the public key with the private one if it is RSA.
    test.make_key("rsa:2048", &[]);
    test.write("other", &["--id", "07", "--label", "other"]);
    test.write("nameless", &[]);
    let der = test.issue("pkcs11:token=device", "own");
    let error = test.import("pkcs11:token=device", &der).unwrap_err();
    assert!(
        error.to_string().contains("neither an id nor a label"),
        "{error}"
    );
    assert_eq!(test.stored(), 2);
}

struct Import {
    signer: Signer,
    ca: Ca,
    hsm: Hsm,
}

impl Import {
    fn start() -> Self {
        let hsm = Hsm::start(Kind::SoftHsm);
        Self {
            signer: Signer::start_with(&hsm, &["--pin", PIN]),
            ca: Ca::new(),
            hsm,
        }
    }

    /// With these names and no others.
    fn make_key(&self, key_type: &str, names: &[&str]) {
        let make = ["--keypairgen", "--key-type", key_type];
        self.hsm.pkcs11_tool(&[&make[..], names].concat());
    }

    /// A certificate of a key that is not on the token.
    fn write(&self, name: &str, names: &[&str]) {
        let pem = format!("{name}.pem");
        self.ca
            .make_key(name, &["-x509", "-days", "2", "-out", &pem]);
        self.write_file(&openssl::der(&self.ca.file(&pem)), names);
    }

    fn write_file(&self, der: &Path, names: &[&str]) {
        let write = ["--type", "cert", "--write-object", der.to_str().unwrap()];
        self.hsm.pkcs11_tool(&[&write[..], names].concat());
    }

    /// A certificate of the key, in DER.
    fn issue(&self, key: &str, name: &str) -> PathBuf {
        let mut csr = self.signer.tedge_hsm();
        let csr = succeed(csr.args(["csr", "--common-name", name, "--uri", key]));
        openssl::der(&self.ca.issue(name, &csr))
    }

    fn import(&self, key: &str, der: &Path) -> Result<Uri, Error> {
        let der = std::fs::read(der).unwrap();
        let client = self.signer.client();
        client.import_certificate(&parse_uri(key), None, &der)
    }

    /// As pkcs11-tool counts them.
    fn stored(&self) -> usize {
        let listed = self.hsm.pkcs11_tool(&["--list-objects", "--type", "cert"]);
        listed.matches("Certificate Object").count()
    }

    /// The key has one certificate, the last one; those of others, which were there before, stay.
    fn replaces_its_own_only(&self, key: &str, others: usize) {
        assert_eq!(self.stored(), others);
        for name in ["first", "second"] {
            let der = self.issue(key, name);
            for _ in 0..2 {
                self.import(key, &der).unwrap();
                let listed = self.hsm.pkcs11_tool(&["--list-objects", "--type", "cert"]);
                assert_eq!(self.stored(), others + 1, "{listed}");
                assert!(listed.contains(&format!("CN={name}")), "{listed}");
            }
        }
    }
}
