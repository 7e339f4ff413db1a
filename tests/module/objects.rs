//! What objects say of themselves, held against what the token's own module says, and how much that costs the signer.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;

use support::hsm::PIN;
use support::openssl::{self, Ca};
use support::succeed;
use tedge_p11_client::Client;
use tedge_p11_protocol::Response;

use crate::rig::{Rig, module, search_among_a_thousand};

/// By class, label and attribute.
type Values = BTreeMap<String, String>;

/// What is this module's own to say, and so differs from what SoftHSM2 says: see docs/programs.md.
const OWN: [&str; 9] = [
    "PRIVATE",
    "MODIFIABLE",
    "COPYABLE",
    "ALWAYS_AUTHENTICATE",
    "ALLOWED_MECHANISMS",
    "UNIQUE_ID",
    // SoftHSM2 has it of no private EC key, and empty where PKCS#11 3.0 has it filled in.
    "EC_POINT",
    "PUBLIC_KEY_INFO",
    // SoftHSM2 tells the secrets of a key that is not sensitive.
    "VALUE",
];

#[test]
fn attributes_are_the_tokens() {
    let rig = Rig::start(&[]);
    let own = two_kinds(&rig);
    let ours = attributes(&rig, rig.signer.socket());
    let mut compared = BTreeSet::new();
    for (name, value) in &own {
        let attribute = name.rsplit(' ').next().unwrap();
        let is_secret = matches!(attribute, "PRIVATE_EXPONENT" | "PRIME_1");
        // What SoftHSM2 has no attribute for, the module may have.
        if OWN.contains(&attribute) || is_secret || value == "-" {
            continue;
        }
        assert_eq!(ours.get(name), Some(value), "{name}");
        compared.insert(attribute);
    }
    assert!(compared.len() >= 24, "{compared:?}");
    let log = rig.signer.log();
    assert!(!log.contains("error"), "{log}");
    // Those that were made up before.
    for (name, value) in [
        ("private open SENSITIVE", "00"),
        ("private open EXTRACTABLE", "01"),
        ("private open ALWAYS_SENSITIVE", "00"),
        ("private open NEVER_EXTRACTABLE", "00"),
        ("private open SIGN", "00"),
        ("private open DECRYPT", "01"),
        ("private open SUBJECT", "3000"),
        ("private closed SENSITIVE", "01"),
        ("private closed EXTRACTABLE", "00"),
        ("private closed ALWAYS_SENSITIVE", "01"),
        ("private closed NEVER_EXTRACTABLE", "01"),
        ("private closed LOCAL", "01"),
        ("private closed WRAP_WITH_TRUSTED", "01"),
        ("private imported LOCAL", "00"),
        ("private imported ALWAYS_SENSITIVE", "00"),
        ("public open VERIFY", "00"),
        ("public open WRAP", "01"),
        // This module's own.
        ("private open PRIVATE", "00"),
        ("private open PRIVATE_EXPONENT", "*"),
        ("private closed VALUE", "*"),
        ("private closed MODIFIABLE", "00"),
        ("private closed ALWAYS_AUTHENTICATE", "00"),
        ("private closed VENDOR_DEFINED", "-"),
        ("private closed ISSUER", "-"),
    ] {
        assert_eq!(ours.get(name).map(String::as_str), Some(value), "{name}");
    }
    let point = |class: &str| &ours[&format!("{class} closed EC_POINT")];
    assert_eq!(point("private"), point("public"));
    assert_eq!(point("public").len(), 2 * 99);
}

/// One that knows nothing of lists with attributes: what they would tell is what holds for this module.
#[test]
fn an_older_signer_will_do() {
    let rig = Rig::start(&[]);
    let own = two_kinds(&rig);
    let socket = rig.hsm.file("older.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let signer = rig.signer.socket().to_path_buf();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            older(client.unwrap(), &signer);
        }
    });
    let ours = attributes(&rig, &socket);
    assert_eq!(ours.len(), own.len());
    for (name, value) in [
        ("private open SENSITIVE", "01"),
        ("private open EXTRACTABLE", "00"),
        ("private open ALWAYS_SENSITIVE", "00"),
        ("private open SIGN", "01"),
        ("private open SUBJECT", "empty"),
        ("private closed ALWAYS_SENSITIVE", "00"),
        ("private closed LOCAL", "00"),
        ("public open VERIFY", "01"),
    ] {
        assert_eq!(ours.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert_eq!(
        ours["public open MODULUS"], own["public open MODULUS"],
        "by a request of its own"
    );
}

/// Two lists for a search, one of keys and one of certificates, whatever it is for.
#[test]
fn a_search_by_the_public_key_is_not_a_request_for_each() {
    let (mut rig, mut child) = search_among_a_thousand("searches_by_point");
    let mut go_on = child.stdin.take().unwrap();
    let mut reached = BufReader::new(child.stdout.take().unwrap()).lines();
    let client: Client = rig.signer.client();
    let mut requests_until = |wanted: &str| {
        let line = reached.next().map(Result::unwrap);
        assert_eq!(line.as_deref(), Some(wanted));
        client.status().unwrap().requests
    };
    let before = requests_until("found");
    go_on.write_all(b"\n").unwrap();
    let after = requests_until("searched");
    go_on.write_all(b"\n").unwrap();
    assert!(child.wait().unwrap().success());
    // Three searches, and the signature, whose key was opened before.
    assert_eq!(after - before, 3 * 2 + 1);
    // SoftHSM2 takes its time to forget a thousand keys.
    rig.kill_signer();
}

/// Who may list keys only is told no public key, by whatever request.
#[test]
fn a_list_tells_no_more_than_the_policy_lets_it() {
    for (operations, told) in [(r#""list""#, false), (r#""list", "describe""#, true)] {
        let policy = format!("[[rule]]\noperations = [{operations}]\n");
        let rig = Rig::start_with_policy(&["p256"], &policy, &["--pin", PIN]);
        let client = rig.signer.client().explained();
        let all = support::parse_uri("pkcs11:token=device");
        for contents in [false, true] {
            let listed = client.objects(&all, None, contents).unwrap().unwrap();
            assert_eq!(listed.objects.len(), 2);
            let mut objects = listed.objects.iter();
            assert!(objects.all(|object| object.content.is_some() == (told && contents)));
        }
    }
}

/// Nor by the token's URI: one that is hidden is as one that is not there.
#[test]
fn a_list_does_not_tell_that_a_hidden_key_is_there() {
    let policy =
        "[[rule]]\noperations = [\"list\", \"describe\"]\nkeys = [\"pkcs11:object=p256\"]\n";
    let rig = Rig::start_with_policy(&["p256", "p384"], policy, &["--pin", PIN]);
    let client = rig.signer.client().explained();
    let listed = |label: &str| {
        let uri = support::parse_uri(format!("pkcs11:token=device;object={label}"));
        let listed = client.objects(&uri, None, true).unwrap().unwrap();
        (listed.token, listed.objects.len())
    };
    assert_eq!(listed("p256").1, 2);
    assert_eq!(listed("p384"), listed("nosuch"));
}

/// One that lies beside its key on the token, as others read it: all of it, and each of its parts as SoftHSM2 has them.
#[test]
fn a_certificate_is_an_object() {
    let rig = Rig::start(&["p256"]);
    let file = |name| rig.hsm.file(name);
    let uri = "pkcs11:object=p256";
    let mut csr = rig.signer.tedge_hsm();
    let csr = succeed(csr.args(["csr", "--common-name", "device-1", "--uri", uri]));
    let ca = Ca::new();
    let pem = ca.issue("device-1", &csr);
    let der = openssl::der(&pem);
    let mut import = rig.signer.tedge_hsm();
    import.args(["import-certificate", "--uri", uri, "--cert"]);
    succeed(import.arg(&pem));

    let id = rig.id("p256");
    let read = ["--read-object", "--type", "cert", "--id", &id, "-o"];
    succeed(rig.pkcs11_tool(&read).arg(file("read.der")));
    let whole = std::fs::read(der).unwrap();
    assert_eq!(std::fs::read(file("read.der")).unwrap(), whole);
    let listed = succeed(&mut rig.pkcs11_tool(&["-O", "--type", "cert"]));
    for part in [
        "Certificate Object; type = X.509 cert\n  label:      p256\n",
        "  subject:    DN: CN=device-1\n",
        &format!("  ID:         {id}\n"),
    ] {
        assert!(listed.contains(part), "{part}{listed}");
    }
    let mut p11tool = rig.uses("p11tool");
    p11tool.arg("--provider").arg(module());
    let exported = succeed(p11tool.args(["--export", "pkcs11:token=device;object=p256;type=cert"]));
    let device = std::fs::read_to_string(pem).unwrap();
    assert_eq!(exported.trim(), device.trim());

    let mut own = rig.hsm.command(rig.program_in_c());
    let own = own.arg(rig.hsm.module()).arg("attributes");
    let own = values(&succeed(own));
    let ours = attributes(&rig, rig.signer.socket());
    for attribute in [
        "VALUE",
        "SUBJECT",
        "ISSUER",
        "SERIAL_NUMBER",
        "ID",
        "CERTIFICATE_TYPE",
        "TOKEN",
        "PRIVATE",
        "TRUSTED",
        "CERTIFICATE_CATEGORY",
    ] {
        let name = format!("cert p256 {attribute}");
        assert_eq!(ours.get(&name), own.get(&name), "{name}");
        assert_ne!(ours[&name], "-", "{name}");
    }
    assert_eq!(ours["cert p256 DESTROYABLE"], "00");
    assert_eq!(ours["cert p256 KEY_TYPE"], "-");
}

/// A private EC key without its public key, as pkcs11-tool imports one: it signs nothing here, and hides no other.
#[test]
fn a_key_without_its_public_key_hides_no_other() {
    let rig = Rig::start(&["p256"]);
    let file = rig.hsm.file("lonely.der");
    let mut make = Command::new("openssl");
    make.args(["genpkey", "-algorithm", "EC", "-pkeyopt"]);
    make.args(["ec_paramgen_curve:P-256", "-outform", "DER", "-out"]);
    succeed(make.arg(&file));
    let name = ["--type", "privkey", "--id", "09", "--label", "lonely"];
    let write = ["--write-object", file.to_str().unwrap()];
    rig.hsm.pkcs11_tool(&[&name[..], &write].concat());
    let ours = attributes(&rig, rig.signer.socket());
    for (name, value) in [
        ("private lonely SIGN", "01"),
        ("private lonely ID", "09"),
        ("private lonely EC_POINT", "-"),
        ("private lonely ALLOWED_MECHANISMS", "-"),
        ("public lonely EC_POINT", "-"),
    ] {
        assert_eq!(ours.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert_eq!(ours["private p256 EC_POINT"], ours["public p256 EC_POINT"]);
}

/// A key that may leave the token, one that may not, and one that was made elsewhere; and what SoftHSM2 itself says of
/// them.
fn two_kinds(rig: &Rig) -> Values {
    let c = rig.program_in_c();
    let run = |what: &str| {
        let mut command = rig.hsm.command(&c);
        succeed(command.arg(rig.hsm.module()).arg(what).env("PIN", PIN))
    };
    run("makes_two_kinds");
    let openssl = |args: &[&str]| {
        let mut command = Command::new("openssl");
        succeed(command.current_dir(rig.hsm.dir.path()).args(args));
    };
    let private = ["-outform", "DER", "-out", "private.der"];
    openssl(&[&["genpkey", "-algorithm", "RSA"], &private[..]].concat());
    let public = [
        "-inform",
        "DER",
        "-in",
        "private.der",
        "-pubout",
        "-outform",
        "DER",
        "-out",
        "public.der",
    ];
    openssl(&[&["pkey"], &public[..]].concat());
    for (class, file) in [("privkey", "private.der"), ("pubkey", "public.der")] {
        let file = rig.hsm.file(file);
        let name = [
            "--type",
            class,
            "--id",
            "03",
            "--label",
            "imported",
            "--write-object",
        ];
        rig.hsm
            .pkcs11_tool(&[&name[..], &[file.to_str().unwrap()]].concat());
    }
    values(&run("attributes"))
}

fn attributes(rig: &Rig, socket: &Path) -> Values {
    let mut command = rig.uses(rig.program_in_c());
    command.env("TEDGE_DEVICE_CRYPTOKI_SOCKET_PATH", socket);
    values(&succeed(command.arg(module()).arg("attributes")))
}

fn values(printed: &str) -> Values {
    let lines = printed.lines().map(|line| line.rsplit_once(' ').unwrap());
    lines
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Passes a request on to the signer, but for the one that an older one does not know.
fn older(mut client: UnixStream, signer: &Path) {
    let mut request = Vec::new();
    client.read_to_end(&mut request).unwrap();
    if request.starts_with(&[113, 112, 11]) {
        let unknown = "unknown or misplaced frame (discriminant 11)".to_owned();
        let answer = Response::Error(unknown).encode();
        client.write_all(&answer).unwrap();
        return;
    }
    let mut signer = UnixStream::connect(signer).unwrap();
    signer.write_all(&request).unwrap();
    signer.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    signer.read_to_end(&mut answer).unwrap();
    client.write_all(&answer).unwrap();
}
