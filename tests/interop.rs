//! Other programs' keys and certificates are ours to use, and ours are theirs: GnuTLS's p11tool and
//! certtool, OpenSC's pkcs11-tool, softhsm2-util, tpm2_ptool, and openssl with its PKCS#11 engine. URIs go
//! from one to the other as they are printed.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use support::hsm::{LABEL, PIN};
use support::openssl::der;
use support::{Ca, Hsm, Kind, Signer, succeed};

#[test]
fn keys_of_others_on_softhsm() {
    keys_of_others(Kind::SoftHsm);
}

#[test]
fn keys_of_others_on_a_tpm() {
    keys_of_others(Kind::Tpm2);
}

#[test]
fn our_keys_for_others_on_softhsm() {
    our_keys_for_others(Kind::SoftHsm);
}

#[test]
fn our_keys_for_others_on_a_tpm() {
    our_keys_for_others(Kind::Tpm2);
}

#[test]
fn pins_on_softhsm() {
    pins(Kind::SoftHsm);
}

#[test]
fn pins_on_a_tpm() {
    pins(Kind::Tpm2);
}

/// A PIN that one sets is the other's.
fn pins(kind: Kind) {
    let hsm = Hsm::start(kind);
    for (name, pin) in [("new-pin", "135790"), ("new-so-pin", "24681357")] {
        support::write_secret(&hsm.file(name), pin);
    }
    let ours = |args: &[&str], files: &[(&str, &str)]| {
        let mut tedge_hsm = hsm.tedge_hsm();
        tedge_hsm.args(args).args(["--uri", TOKEN]);
        for (option, file) in files {
            tedge_hsm.arg(option).arg(hsm.file(file));
        }
        succeed(&mut tedge_hsm)
    };
    let theirs = |args: &[&str]| {
        let mut pkcs11_tool = hsm.command("pkcs11-tool");
        pkcs11_tool.arg("--module").arg(hsm.module());
        pkcs11_tool.args(["--token-label", LABEL, "--login"]);
        succeed(pkcs11_tool.args(args))
    };
    ours(&["change-pin"], &[("--new-pin-file", "new-pin")]);
    theirs(&["--pin=135790", "--change-pin", "--new-pin", PIN]);
    let so = [("--so-pin-file", "so-pin"), ("--new-pin-file", "new-pin")];
    ours(&["unlock"], &so);
    theirs(&["--pin=135790", "--list-objects"]);
    let so = [
        ("--so-pin-file", "so-pin"),
        ("--new-pin-file", "new-so-pin"),
    ];
    ours(&["change-pin", "--so"], &so);
    let so = ["--login-type=so", "--so-pin=24681357"];
    theirs(&[&so[..], &["--init-pin", "--pin", PIN]].concat());
    ours(&["list-keys"], &[]);
}

/// Others may leave out the public key object. A login is needed then, and the signer may have no PIN.
#[test]
fn a_private_key_without_a_public_one() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let uri = hsm.create_key("alone", "rsa2048");
    let public_key = |mut tedge_hsm: Command| {
        tedge_hsm.arg("--pin-file").arg(hsm.file("pin"));
        succeed(tedge_hsm.args(["public-key", "--uri", &uri]))
    };
    let with_both = public_key(Signer::start(&hsm).tedge_hsm());
    hsm.pkcs11_tool(&["--delete-object", "--type=pubkey", "--label=alone"]);
    let signer = Signer::start_with(&hsm, &[]);
    assert_eq!(public_key(signer.tedge_hsm()), with_both);
    support::fail(signer.tedge_hsm().args(["public-key", "--uri", &uri]));
}

fn keys_of_others(kind: Kind) {
    let hsm = Hsm::start(kind);
    let ca = Ca::new();
    let p256 = "--curve=secp256r1";
    hsm.pkcs11_tool(&[
        "--keypairgen",
        "--key-type=EC:prime256v1",
        "--label=opensc",
        "--id=1a",
    ]);
    p11tool(
        &hsm,
        &[
            "--generate-privkey=ecdsa",
            p256,
            "--label=gnutls",
            "--id=1b",
            TOKEN,
        ],
    );
    let own_tool = match kind {
        Kind::SoftHsm => {
            softhsm2_util_import(&hsm, &ca);
            "softhsm2-util"
        }
        Kind::Tpm2 => {
            tpm2_ptool(
                &hsm,
                "addkey",
                &["--algorithm=rsa2048", "--userpin", PIN, "--id=12"],
            );
            "tpm2_ptool"
        }
        Kind::Piv | Kind::ScHsm | Kind::Kryoptic => unreachable!("not in this test"),
    };

    let theirs = urls(&hsm, "--list-privkeys");
    assert_eq!(theirs, our_list(&hsm, "list-keys", "private"));
    let labels = ["gnutls", "opensc", own_tool];
    assert_eq!(theirs.len(), labels.len(), "{theirs:?}");

    let signer = Signer::start(&hsm);
    let mut certificates = Vec::new();
    for label in labels {
        let url = with_label(&theirs, label);
        let mut straight = hsm.tedge_hsm();
        for tedge_hsm in [&mut straight, &mut signer.tedge_hsm()] {
            let csr = csr(tedge_hsm, url, &hsm.file("request.csr"));
            certificates.push((label, url, ca.issue(label, &csr)));
        }
    }
    drop(signer);
    certificates.dedup_by_key(|(label, ..)| *label);
    for (label, _, pem) in &certificates {
        let der = der(pem);
        let (der, pem) = (der.to_str().unwrap(), pem.to_str().unwrap());
        match *label {
            "opensc" => {
                let object = ["--write-object", der, "--type=cert", "--label=opensc"];
                hsm.pkcs11_tool(&[&object[..], &["--id=1a"]].concat());
            }
            "gnutls" => {
                let load = format!("--load-certificate={pem}");
                p11tool(
                    &hsm,
                    &["--write", &load, "--label=gnutls", "--id=1b", TOKEN],
                );
            }
            "tpm2_ptool" => tpm2_ptool(&hsm, "addcert", &[pem]),
            // softhsm2-util takes no certificates.
            _ => {
                hsm.pkcs11_tool(&["--write-object", der, "--type=cert", "--id=12"]);
            }
        }
    }
    let theirs = urls(&hsm, "--list-all-certs");
    assert_eq!(theirs.len(), labels.len(), "{theirs:?}");
    assert_eq!(theirs, our_list(&hsm, "list-certificates", ""));
    let signer = Signer::start(&hsm);
    for (label, url, pem) in &certificates {
        let exported = export(hsm.tedge_hsm(), url);
        assert_eq!(exported, one_pem(pem), "{label}");
        assert_eq!(export(signer.tedge_hsm(), url), exported, "{label}");
    }
    for url in &theirs {
        let exported = export(signer.tedge_hsm(), url);
        assert!(
            certificates.iter().any(|c| one_pem(&c.2) == exported),
            "{url}"
        );
    }
}

fn our_keys_for_others(kind: Kind) {
    let hsm = Hsm::start(kind);
    let ca = Ca::new();
    for (label, key_type, id) in [("ec", "p256", "2a"), ("rsa", "rsa2048", "2b")] {
        let mut create = hsm.tedge_hsm();
        create.args(["create-key", "--uri", TOKEN, "--label", label]);
        let url = succeed(create.args(["--type", key_type, "--id", id]));
        let url = url.trim_end();
        let (public, cert) = (of_type(url, "public"), of_type(url, "cert"));
        let csr = csr(&mut hsm.tedge_hsm(), url, &hsm.file("request.csr"));
        let pem = ca.issue(label, &csr);
        let signer = Signer::start(&hsm);
        let mut import = signer.tedge_hsm();
        import
            .args(["import-certificate", "--uri", url, "--cert"])
            .arg(&pem);
        assert_eq!(succeed(&mut import).trim_end(), cert);
        drop(signer);

        let all = urls(&hsm, "--list-all");
        for url in [url, &public, &cert] {
            assert!(all.contains(url), "{url} is not in {all:?}");
        }
        let exported = p11tool(&hsm, &["--export", &cert]);
        assert_eq!(exported.trim_end(), one_pem(&pem).trim_end());
        let mut public_key = hsm.tedge_hsm();
        let public_key = succeed(public_key.args(["public-key", "--uri", url]));
        let exported = p11tool(&hsm, &["--export", &public]);
        assert_eq!(exported.trim_end(), public_key.trim_end());

        let read = hsm.file("read.der");
        let (id, file) = (format!("--id={id}"), read.to_str().unwrap());
        hsm.pkcs11_tool(&["--read-object", "--type=cert", &id, "--output-file", file]);
        assert_eq!(
            std::fs::read(&read).unwrap(),
            std::fs::read(der(&pem)).unwrap()
        );

        let request = hsm.file("theirs.csr");
        std::fs::write(hsm.file("template"), "cn = device-1\nsigning_key\n").unwrap();
        let mut certtool = hsm.command("certtool");
        certtool.env("GNUTLS_PIN", PIN).arg("--provider");
        certtool
            .arg(hsm.module())
            .args(["--generate-request", "--template"]);
        certtool
            .arg(hsm.file("template"))
            .arg("--outfile")
            .arg(&request);
        succeed(certtool.args(["--load-privkey", url]));
        assert_eq!(verified(&request), public_key);

        if kind == Kind::Tpm2 {
            // openssl makes an engine its source of random numbers too, and libtpm2_pkcs11 asks openssl for
            // such when it logs in: CKR_GENERAL_ERROR.
            continue;
        }
        if !has_engine() {
            println!("skipped: openssl has no engine pkcs11 (libengine-pkcs11-openssl)");
            continue;
        }
        let mut openssl = hsm.command("openssl");
        openssl.env("PKCS11_MODULE_PATH", hsm.module());
        openssl.args(["req", "-new", "-subj", "/CN=device-1", "-engine", "pkcs11"]);
        openssl.args(["-keyform", "engine", "-key"]);
        openssl.arg(format!("{url}?pin-value={PIN}"));
        succeed(openssl.arg("-out").arg(&request));
        assert_eq!(verified(&request), public_key);
    }
}

/// GnuTLS's p11tool, logged in.
fn p11tool(hsm: &Hsm, args: &[&str]) -> String {
    let mut command = hsm.command("p11tool");
    command.env("GNUTLS_PIN", PIN).arg("--provider");
    command.arg(hsm.module()).args(["--login", "--batch"]);
    succeed(command.args(args))
}

/// What p11tool lists on the token.
fn urls(hsm: &Hsm, list: &str) -> BTreeSet<String> {
    let listed = p11tool(hsm, &["--only-urls", list, TOKEN]);
    let urls = listed.lines().filter(|line| line.starts_with("pkcs11:"));
    urls.map(str::to_owned).collect()
}

/// What tedge-hsm lists.
fn our_list(hsm: &Hsm, list: &str, class: &str) -> BTreeSet<String> {
    let listed = succeed(hsm.tedge_hsm().args([list, "--json", "--uri", TOKEN]));
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let listed = listed.as_array().unwrap().iter();
    listed
        .filter(|object| class.is_empty() || object["class"] == class)
        .map(|object| object["uri"].as_str().unwrap().to_owned())
        .collect()
}

fn with_label<'a>(urls: &'a BTreeSet<String>, label: &str) -> &'a str {
    let object = format!(";object={label};");
    let url = urls.iter().find(|url| url.contains(&object));
    url.unwrap_or_else(|| panic!("no {label} in {urls:?}"))
}

fn of_type(url: &str, object_type: &str) -> String {
    url.replace("type=private", &format!("type={object_type}"))
}

/// A request by tedge-hsm that openssl has verified.
fn csr(tedge_hsm: &mut Command, url: &str, file: &Path) -> String {
    tedge_hsm.args(["csr", "--common-name=device-1", "--uri", url, "--output"]);
    succeed(tedge_hsm.arg(file));
    verified(file);
    std::fs::read_to_string(file).unwrap()
}

/// Has openssl verify a request, and returns its public key in PEM.
fn verified(request: &Path) -> String {
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-noout", "-verify", "-pubkey", "-in"]);
    let output = openssl.arg(request).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("verify OK"), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

fn export(mut tedge_hsm: Command, url: &str) -> String {
    succeed(tedge_hsm.args(["export-certificate", "--uri", url]))
}

/// The certificate without the text that openssl may put before it.
fn one_pem(pem: &Path) -> String {
    succeed(Command::new("openssl").arg("x509").arg("-in").arg(pem))
}

fn softhsm2_util_import(hsm: &Hsm, ca: &Ca) {
    let key = ca.file("pkcs8.pem");
    let mut genpkey = ca.openssl();
    genpkey.args(["genpkey", "-algorithm", "RSA", "-out"]);
    succeed(genpkey.arg(&key));
    let mut import = hsm.command("softhsm2-util");
    import.arg("--import").arg(&key);
    import.args(["--token", LABEL, "--label", "softhsm2-util", "--id", "12"]);
    succeed(import.args(["--pin", PIN]));
}

fn tpm2_ptool(hsm: &Hsm, command: &str, args: &[&str]) {
    let mut ptool = hsm.command("tpm2_ptool");
    let find = ["-c", "printf %s \"$TPM2_PKCS11_TCTI\""];
    ptool.env("TPM2TOOLS_TCTI", succeed(hsm.command("sh").args(find)));
    ptool.args([command, "--label", LABEL, "--key-label", "tpm2_ptool"]);
    succeed(ptool.args(args));
}

fn has_engine() -> bool {
    let mut openssl = Command::new("openssl");
    let found = openssl.args(["engine", "pkcs11"]).output().unwrap();
    found.status.success()
}

const TOKEN: &str = "pkcs11:token=device";
