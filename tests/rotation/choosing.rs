//! With two keys on a token, and a URI that names only the token, the signer takes the key of the installed certificate.

use std::path::PathBuf;

use der::pem;
use support::wire::ask;
use support::{Hsm, Kind, Signer, fail, openssl, succeed};
use tedge_p11_client::{PrivateKey as _, PublicKey, SignatureScheme};
use tedge_p11_protocol::{ChooseScheme, Request, Response, Sign};

#[test]
fn a_token_with_two_keys_signs_with_that_of_the_certificate_on_softhsm() {
    signs_with_the_key_of_the_certificate(Kind::SoftHsm);
}

#[test]
fn a_token_with_two_keys_signs_with_that_of_the_certificate_on_a_tpm() {
    signs_with_the_key_of_the_certificate(Kind::Tpm2);
}

/// The frames are those that thin-edge.io sends: it names the token, and no certificate.
fn signs_with_the_key_of_the_certificate(kind: Kind) {
    let device = Device::new(kind);
    let keys = ["old", "new"].map(|label| device.key(label, "p256"));
    device.install("old");
    for uri in ["pkcs11:token=device", "pkcs11:token=device;type=private"] {
        for (at, name) in [(0, "old"), (1, "new"), (0, "old")] {
            device.install(name);
            // Twice: the second time, the key is known.
            for _ in 0..2 {
                device.signs_with(uri, &keys[at]);
            }
        }
    }
    // Our own client.
    let key = device.signer.key("pkcs11:token=device");
    assert_eq!(key.public_key(), &keys[0]);
    openssl::verify_all_schemes(&key);
    // A key that the URI leaves alone needs no certificate.
    device.signs_with("pkcs11:token=device;object=new", &keys[1]);
}

#[test]
fn keys_of_other_kinds_and_labels_that_are_alike() {
    let device = Device::new(Kind::SoftHsm);
    let keys = [
        device.key("same", "p256"),
        device.key("same", "rsa2048"),
        device.key("other", "ed25519"),
    ];
    // The second of that label.
    let uri = "pkcs11:token=device;object=same";
    let files = ["p256", "rsa2048"].map(|kind| device.hsm.file(&format!("{kind}.pem")));
    for (file, key) in files.iter().zip(&keys) {
        std::fs::copy(file, device.cert()).unwrap();
        device.signs_with(uri, key);
        device.signs_with("pkcs11:token=device", key);
    }
    // It chooses among those that the URI leaves, and no other.
    std::fs::copy(device.hsm.file("ed25519.pem"), device.cert()).unwrap();
    let error = device.refused(uri);
    let expected = format!(
        "; the installed certificate, {}, is for none of them",
        device.cert().display()
    );
    assert!(error.contains("matches several keys"), "{error}");
    assert!(error.ends_with(&expected), "{error}");
}

#[test]
fn a_certificate_that_tells_nothing_leaves_it_an_error() {
    let device = Device::new(Kind::SoftHsm);
    let key = device.key("old", "p256");
    device.key("new", "p256");
    let uri = "pkcs11:token=device";
    let error = device.refused(uri);
    assert!(error.contains("cannot read"), "{error}");
    assert!(error.contains("tedge-certificate.pem"), "{error}");
    std::fs::write(device.cert(), "rubbish").unwrap();
    let error = device.refused(uri);
    assert!(error.contains("does not begin with an X.509"), "{error}");
    device.install("old");
    device.signs_with(uri, &key);
    std::fs::remove_file(device.cert()).unwrap();
    assert!(device.refused(uri).contains("matches several keys"));
    // What is deleted must be named, whatever the certificate says.
    device.install("old");
    let mut delete = device.signer.tedge_hsm();
    let error = fail(delete.args(["delete-key", "--yes", "--uri", uri]));
    assert!(error.contains("names no key"), "{error}");
}

/// A signer without a URI takes the first key where nothing tells which is meant.
#[test]
fn without_any_uri_it_is_the_certificates_key_too() {
    let device = Device::new(Kind::SoftHsm);
    let keys = ["one", "two", "three"].map(|label| device.key(label, "p256"));
    for (name, key) in ["two", "three", "one"].into_iter().zip([1, 2, 0]) {
        device.install(name);
        let signed = device.sign(None);
        let scheme = SignatureScheme::ECDSA_SECP256R1_SHA256;
        openssl::verify(&keys[key], scheme, MESSAGE, &signed);
    }
}

/// Who may write the certificate has no key used that a rule keeps from a user.
#[test]
fn rules_are_asked_of_the_key_that_is_chosen() {
    let device = Device::new(Kind::SoftHsm);
    let key = device.key("old", "p256");
    device.key("new", "p256");
    let policy = "[[rule]]\noperations = [\"sign\", \"describe\"]\nkeys = [\"pkcs11:object=old\"]\n\
                  purposes = [\"any\"]\n";
    std::fs::write(device.hsm.file(support::signer::POLICY), policy).unwrap();
    let device = device.restarted();
    device.install("old");
    device.signs_with("pkcs11:token=device", &key);
    device.install("new");
    let error = device.refused("pkcs11:token=device");
    assert!(error.contains("no rule"), "{error}");
}

struct Device {
    signer: Signer,
    hsm: Hsm,
}

impl Device {
    fn new(kind: Kind) -> Self {
        let hsm = Hsm::start(kind);
        std::fs::create_dir(hsm.file("device-certs")).unwrap();
        Self {
            signer: Signer::start(&hsm),
            hsm,
        }
    }

    fn restarted(self) -> Self {
        let Self { signer, hsm } = self;
        drop(signer);
        Self {
            signer: Signer::start(&hsm),
            hsm,
        }
    }

    /// Where thin-edge.io has it.
    fn cert(&self) -> PathBuf {
        self.hsm.file("device-certs/tedge-certificate.pem")
    }

    /// Makes a key by the signer, and a certificate for it in the files of its label and its type.
    fn key(&self, label: &str, key_type: &str) -> PublicKey {
        let mut create = self.signer.tedge_hsm();
        create.args(["create-key", "--uri", "pkcs11:token=device", "--label"]);
        let id = tedge_p11_client::hex(format!("{label} {key_type}").as_bytes());
        let uri = succeed(create.args([label, "--type", key_type, "--id", &id, "--another"]));
        let uri = uri.trim_end();
        for name in [label, key_type] {
            let mut certificate = self.signer.tedge_hsm();
            certificate.args(["self-signed", "--common-name", "device", "--uri", uri]);
            let file = self.hsm.file(&format!("{name}.pem"));
            succeed(certificate.arg("--output").arg(file));
        }
        self.signer.key(uri).public_key().clone()
    }

    /// Installs the certificate of a key, by rename.
    fn install(&self, name: &str) {
        let new = self.hsm.file("device-certs/new");
        std::fs::copy(self.hsm.file(&format!("{name}.pem")), &new).unwrap();
        std::fs::rename(new, self.cert()).unwrap();
    }

    fn signs_with(&self, uri: &str, key: &PublicKey) {
        let offer = [0x0403, 0x0807, 0x0804].map(SignatureScheme);
        let choose = Request::ChooseScheme(ChooseScheme {
            offered: offer.to_vec(),
            uri: Some(uri.to_owned()),
            pin: None,
        });
        let Response::ChosenScheme(chosen) = ask(self.signer.socket(), &choose) else {
            panic!("no scheme for {uri}");
        };
        let signed = self.sign(Some(uri));
        openssl::verify(key, chosen.scheme.unwrap(), MESSAGE, &signed);
        let request = Request::PublicKeyPem(Some(uri.to_owned()));
        let Response::PublicKeyPem(pem) = ask(self.signer.socket(), &request) else {
            panic!("no public key for {uri}");
        };
        assert_eq!(pem::decode_vec(pem.as_bytes()).unwrap().1, key.raw());
    }

    fn sign(&self, uri: Option<&str>) -> Vec<u8> {
        let sign = Request::Sign(Sign {
            to_sign: MESSAGE.to_vec().into(),
            uri: uri.map(str::to_owned),
            pin: None,
        });
        match ask(self.signer.socket(), &sign) {
            Response::Signature(signature) => signature.0,
            other => panic!("{uri:?}: {other:?}"),
        }
    }

    fn refused(&self, uri: &str) -> String {
        let sign = Request::Sign(Sign {
            to_sign: MESSAGE.to_vec().into(),
            uri: Some(uri.to_owned()),
            pin: None,
        });
        match ask(self.signer.socket(), &sign) {
            Response::Error(error) => error,
            other => panic!("{uri}: {other:?}"),
        }
    }
}

const MESSAGE: &[u8] = b"transcript";
