//! `doctor --bundle`: secrets and names are planted in every place that it reads, and looked for in the bytes of the file.

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use support::hsm::{PIN, SO_PIN};
use support::{Signer, fail, succeed, write_secret};

use crate::Bench;

/// Each has a form or a length of its own, and is no part of another.
const SECRETS: &[&str] = &[
    PIN,
    SO_PIN,
    "credstore-pin-7",
    "toml-pin-7",
    "uri-pin-7",
    "source-pin-7",
    "comment-pin-7",
    "proxy-password-7",
    "bridge-proxy-7",
    "est-password-7",
    "est-variable-7",
    "environment-pin-7",
    "credential-pin-7",
    "4711471147",
    "eyJhbGciOiJIUzI1NiJ9",
    "otp-in-url-7",
    "dXNlcjpzM2NyZXQ3",
    "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v",
    "unquoted-7",
    "plugin-key-7",
    "continued-7",
    "key-of-two-lines-7",
    "secret-of-a-customer-7",
    "quoted-7",
];
const NAMES: &[&str] = &[
    "box4711",
    "0123456789abcdef0123456789abcdef",
    "joetheoperator",
    "Joe Bloggs",
    "acme-tenant",
    "mqtt.acme.example",
    "203.0.113.77",
    "DENK0104455",
    "customer-cloud",
    "plant-topic",
    "02:42:ac:11:00:02",
    "BOX4711",
    "plantadmin",
    "acme-corp",
    "plant7-acme",
];

#[test]
fn a_bundle_has_what_helps_and_neither_secrets_nor_names() {
    let bench = Bench::new();
    let key = bench.hsm.create_key("box4711", "p256");
    let signer = Signer::start_with_default_policy(&bench.hsm);
    plant(&bench);
    let has_journal = plant_in_journal(&bench);
    let path = bench.hsm.file("report.tar");
    let mut command = bundle(&bench, &signer, &path);
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(
        path.exists(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o600);

    let bytes = std::fs::read(&path).unwrap();
    for planted in SECRETS.iter().chain(NAMES) {
        assert!(!contains(&bytes, planted), "{planted} is in the bundle");
        let hexadecimal = planted.bytes().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "%{byte:02X}");
            text
        });
        assert!(
            !contains(&bytes, &hexadecimal),
            "{planted} is in the bundle as {hexadecimal}"
        );
    }
    let serial = key.split(';').find_map(|part| part.strip_prefix("serial="));
    let serial = serial.unwrap();
    assert!(!contains(&bytes, serial), "{serial} is in the bundle");

    // What is in it is what was said.
    let listed = succeed(Command::new("tar").arg("-tf").arg(&path));
    for name in listed.lines() {
        let name = name.strip_prefix("tedge-hsm-bundle/").unwrap();
        assert!(
            said.contains(&format!("  {name} ")),
            "{name} is not listed: {said}"
        );
    }
    let file = |name: &str| {
        let mut tar = Command::new("tar");
        tar.arg("-xOf").arg(&path);
        succeed(tar.arg(format!("tedge-hsm-bundle/{name}")))
    };
    for (name, part) in [
        ("README.txt", "secrets were taken out"),
        (
            "versions.txt",
            concat!("tedge-hsm ", env!("CARGO_PKG_VERSION")),
        ),
        ("versions.txt", "ID=debian"),
        ("findings.txt", "ok       signer "),
        ("tokens.txt", "serial=serial-2;token=device\n"),
        ("tokens.txt", ";object=host-"),
        ("settings/tedge.toml", "device.id = \"host-"),
        ("settings/tedge.toml", "device.cryptoki.pin = <secret>\n"),
        ("settings/tedge.toml", "device.cryptoki.mode = \"socket\""),
        ("settings/tedge-hsm-bridge.toml", "preset = \"cumulocity\""),
        (
            "settings/tedge-hsm-bridge.toml",
            "password_file = \"/etc/bridge-proxy\"",
        ),
        ("settings/tedge-p11-server.toml", "it is no TOML"),
        (
            "settings/enroll.conf",
            "--user user-1 --password-file /etc/est-password",
        ),
        ("settings/enroll.conf", "EST_PASSWORD=<secret>\n"),
        (
            "settings/tedge-p11-server.service.d/drop-in-1.conf",
            "User=user-3\nSupplementaryGroups=tss",
        ),
        (
            "settings/tedge-p11-server.service.d/drop-in-1.conf",
            "TEDGE_DEVICE_CRYPTOKI_PIN=(removed)",
        ),
    ] {
        let text = file(name);
        assert!(text.contains(part), "no {part:?} in {name}: {text}");
    }
    if has_journal {
        let log = file("log/tedge-p11-server.txt");
        assert!(log.contains("CKR_DEVICE_ERROR at 12:34:56"), "{log}");
        assert!(log.contains("user user-1 connects (user-2)"), "{log}");
        // A client's labels are none of our words.
        assert!(
            log.contains(" is what was refused, as it is wrong"),
            "{log}"
        );
        let log = file("log/tedge-hsm-bridge.txt");
        assert!(log.contains(" (CN=host-"), "{log}");
    }
}

#[test]
fn a_bundle_is_not_written_over_another_file() {
    let bench = Bench::new();
    bench.hsm.create_key("tls", "p256");
    let signer = Signer::start_with_default_policy(&bench.hsm);
    let path = bench.write("there", "kept");
    let said = fail(&mut bundle(&bench, &signer, &path));
    assert!(said.contains("there: no file is overwritten"), "{said}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "kept");
}

fn bundle(bench: &Bench, signer: &Signer, path: &Path) -> Command {
    let mut command = signer.tedge_hsm();
    command
        .arg("--pin-file")
        .arg(bench.hsm.file("pin"))
        .args(["doctor", "--config-dir"])
        .arg(bench.root.join("etc/tedge"))
        .arg("--root")
        .arg(&bench.root)
        .arg("--bundle")
        .arg(path)
        .env("TEDGE_DEVICE_CRYPTOKI_PIN", "environment-pin-7")
        .env_remove("TEDGE_CONFIG_DIR")
        .env_remove("TEDGE_DEVICE_CRYPTOKI_MODULE_PATH");
    command
}

fn contains(bytes: &[u8], part: &str) -> bool {
    bytes
        .windows(part.len())
        .any(|window| window == part.as_bytes())
}

/// In the files that it reads.
fn plant(bench: &Bench) {
    bench.write("etc/hostname", "box4711\n");
    bench.write("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    bench.write(
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\njoetheoperator:x:1000:1000:Joe Bloggs,,,:/home/joetheoperator:/bin/sh\n",
    );
    bench.write(
        "etc/os-release",
        "ID=debian\nVERSION_ID=\"12\"\nHOME_URL=\"https://acme-tenant.example\"\n",
    );
    let secret = |path: &str, content: &str| write_secret(&bench.write(path, ""), content);
    secret("etc/credstore/tedge-p11-server.pin", "credstore-pin-7\n");
    secret("etc/credstore/tedge-hsm.so-pin", SO_PIN);
    secret("etc/source-pin", "source-pin-7");
    secret("etc/est-password", "est-password-7");
    secret("etc/bridge-proxy", "bridge-proxy-7\n");
    bench.write(
        "etc/tedge/tedge.toml",
        r#"# the PIN was comment-pin-7
[device]
id = "box4711"
plant7-acme = 1
plant7-acme-password = "secret-of-a-customer-7"
[device.cryptoki]
mode = "socket"
pin = "toml-pin-7"
uri = "pkcs11:token=device;serial=DENK0104455?pin-value=uri-pin-7"
[device.other]
key_uri = "pkcs11:token=device?pin-source=file:/etc/source-pin"
[c8y]
url = "acme-tenant.cumulocity.com"
[c8y.profiles.customer-cloud]
url = "mqtt.acme.example:8883"
[proxy]
address = "http://joe:proxy-password-7@203.0.113.77:3128"
password = "proxy-password-7"
pin = 4711471147
[plugin]
key = "plugin-key-7"
keys = ["plugin-key-7"]
uri = "pkcs11:token=plugin-key-7"
[cloud.x]
cert = "plugin-key-7"
"x = 1\nkey-of-two-lines-7" = true
"#,
    );
    bench.write(
        "etc/tedge/tedge-hsm-bridge.toml",
        r#"[proxy]
address = "http://203.0.113.77:3128"
username = "joetheoperator"
password_file = "/etc/bridge-proxy"
[cloud.customer-cloud]
preset = "cumulocity"
host = "mqtt.acme.example"
client_id = "box4711"
[[cloud.customer-cloud.out]]
topic = "plant-topic/#"
"#,
    );
    bench.write("etc/tedge/tedge-p11-server.toml", "pin = unquoted-7\n");
    bench.write(
        "etc/tedge-hsm/enroll.conf",
        "OPTIONS=\"est --est https://mqtt.acme.example --user joetheoperator --password-file /etc/est-password\"\n\
         EST_PASSWORD=est-variable-7\n# comment-pin-7\n",
    );
    bench.write(
        "etc/systemd/system/tedge-p11-server.service.d/10-acme-corp.conf",
        "[Service]\nUser=plantadmin\nSupplementaryGroups=tss\nEnvironment=TEDGE_DEVICE_CRYPTOKI_PIN=environment-pin-7\n\
         SetCredential=pin:credential-pin-7\nSetCredential=pin:\\\n# none\n[continued-7]\nType=notify\n",
    );
}

/// As a module, a library or a program of others may write it. False, with a note, without the program that makes journals.
fn plant_in_journal(bench: &Bench) -> bool {
    let Some(program) = JOURNAL_REMOTE.iter().find(|path| Path::new(path).exists()) else {
        println!("skipped: the journal (install systemd-journal-remote)");
        return false;
    };
    let mut entries = String::new();
    let mut add = |unit: &str, message: &str| {
        let _ = write!(
            entries,
            "__REALTIME_TIMESTAMP=1700000000000000\n__MONOTONIC_TIMESTAMP=1000000\n\
             _BOOT_ID=0123456789abcdef0123456789abcdee\n_MACHINE_ID=0123456789abcdef0123456789abcdef\n\
             _HOSTNAME=box4711\n_SYSTEMD_UNIT={unit}.service\nSYSLOG_IDENTIFIER={unit}\nPRIORITY=3\nMESSAGE={message}\n\n"
        );
    };
    for message in [
        "CKR_DEVICE_ERROR at 12:34:56",
        &format!(
            "login with {PIN} and credstore-pin-7, or uri-pin-7, source-pin-7, toml-pin-7, est-password-7"
        ),
        "pkcs11:token=device;serial=DENK0104455?pin-value=otp-in-url-7",
        "the PIN 4711471147 is wrong",
        "user joetheoperator connects (Joe Bloggs)",
        "Authorization: Basic dXNlcjpzM2NyZXQ3",
        "token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln",
        "-----BEGIN PRIVATE KEY-----",
        "MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v",
        "-----END PRIVATE KEY-----",
        "https://acme-tenant.cumulocity.com/register?one-time-password=otp-in-url-7",
        "pkcs11:token=refused;object=wrong is what was refused, as it is wrong",
        r#"{"password":"ab\"quoted-7"} at BOX4711"#,
        "eth0 02:42:ac:11:00:02 203.0.113.77 proxy-password-7 bridge-proxy-7",
    ] {
        add("tedge-p11-server", message);
    }
    add(
        "tedge-hsm-bridge",
        "the broker at mqtt.acme.example:8883 refuses box4711 (CN=box4711,O=acme-tenant)",
    );
    let folder = bench
        .root
        .join("var/log/journal/0123456789abcdef0123456789abcdef");
    std::fs::create_dir_all(&folder).unwrap();
    let mut child = Command::new(program)
        .arg("--output")
        .arg(folder.join("system.journal"))
        .arg("-")
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(entries.as_bytes())
        .unwrap();
    assert!(child.wait().unwrap().success());
    true
}

const JOURNAL_REMOTE: [&str; 2] = [
    "/usr/lib/systemd/systemd-journal-remote",
    "/lib/systemd/systemd-journal-remote",
];
