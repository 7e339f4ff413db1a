//! Programs that are not Rust use the key by our PKCS#11 module: one in C (tests/module/program.c), pkcs11-tool, p11tool and
//! OpenSSH. openssl verifies what they sign.

mod crowd;
mod objects;
mod refusals;
mod rig;

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};

use support::hsm::PIN;
use support::{Hsm, Kind, Signer, fail, program, repository, succeed};

use crate::rig::{Rig, module, search_among_a_thousand, text};

#[test]
fn a_program_in_c() {
    let rig = Rig::start(&["p256"]);
    let c = rig.program_in_c();
    for what in [
        "interfaces",
        "life",
        "buffers",
        "forks",
        "threads",
        "signals",
    ] {
        succeed(rig.uses(&c).arg(module()).arg(what));
    }
}

/// Children are watched too. What is lost for good is an error, what is kept to the end is not. A child that was forked
/// among threads has lost what only their stacks knew of: that is looked for in the other cases.
#[test]
fn valgrind_finds_nothing() {
    let rig = Rig::start(&["p256"]);
    let c = rig.program_in_c();
    for (what, leaks) in [
        ("interfaces", "full"),
        ("life", "full"),
        ("buffers", "full"),
        ("forks", "full"),
        ("signals", "full"),
        ("threads", "no"),
    ] {
        succeed(
            rig.uses("valgrind")
                .args(["-q", "--error-exitcode=9"])
                .args([
                    "--errors-for-leak-kinds=definite",
                    &format!("--leak-check={leaks}"),
                ])
                .arg(&c)
                .arg(module())
                .arg(what),
        );
    }
}

/// A request that loses its signer is sent again; one that finds none gets an error, and the program goes on with the same
/// session and handles.
#[test]
fn the_signer_may_go_away_and_come_back() {
    let mut rig = Rig::start(&["p256"]);
    let c = rig.program_in_c();
    let mut child = rig
        .uses(&c)
        .arg(module())
        .arg("survives")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = child.stdin.take();
    let mut codes = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut until = |wanted: &dyn Fn(&str) -> bool| {
        let found = codes.by_ref().map(Result::unwrap).inspect(|code| {
            // CKR_OK, CKR_DEVICE_ERROR
            assert!(matches!(code.as_str(), "0x0" | "0x30"), "{code}");
        });
        assert!(found.take(1_000_000).any(|code| wanted(&code)), "never");
    };
    for _ in 0..3 {
        until(&|code| code == "0x0");
        rig.kill_signer();
        rig.signer = Signer::start(&rig.hsm);
    }
    until(&|code| code == "0x0");
    drop(stdin);
    for code in codes {
        assert_eq!(code.unwrap(), "0x0");
    }
    let output = child.wait_with_output().unwrap();
    let status = output.status;
    assert!(status.success(), "{status} {:?}", status.signal());
    // What passes is no refusal: standard error is the program's.
    assert!(output.stderr.is_empty(), "{}", text(&output));
}

/// With a PIN of its own, and though it lists the slots while there is no signer.
#[test]
fn a_program_stays_logged_in() {
    let mut rig = Rig::start_with_policy(&["p256"], support::signer::ALL_ALLOWED, &[]);
    let mut child = rig
        .uses(rig.program_in_c())
        .arg(module())
        .arg("stays_logged_in")
        .env("PIN", PIN)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut go_on = child.stdin.take().unwrap();
    let mut reached = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = || reached.next().map(Result::unwrap);
    assert_eq!(next().as_deref(), Some("logged in"));
    rig.kill_signer();
    go_on.write_all(b"\n").unwrap();
    assert_eq!(next().as_deref(), Some("no token"));
    rig.signer = Signer::start_with(&rig.hsm, &[]);
    go_on.write_all(b"\n").unwrap();
    assert!(child.wait().unwrap().success());
}

/// Built as what ships is, but for one function that panics.
#[test]
fn a_panic_is_a_code() {
    let rig = Rig::start(&["p256"]);
    let target = repository().join("target/forced-panic");
    succeed(
        Command::new(env!("CARGO"))
            .current_dir(repository())
            .args(["build", "--quiet", "--locked", "--profile", "module"])
            .args(["-p", "tedge-p11-module", "--features", "forced-panic"])
            .arg("--target-dir")
            .arg(&target),
    );
    let module = target.join("module/libtedge_p11.so");
    let size = std::fs::metadata(&module).unwrap().len();
    assert!(size <= 1_500_000, "{size} bytes");
    let mut run = rig.uses(rig.program_in_c());
    let output = run.arg(module).arg("panics").output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    // Nothing on standard error: that is the program's.
    assert!(output.stderr.is_empty(), "{}", text(&output));
}

#[test]
fn openssl_verifies_what_each_mechanism_signs() {
    let rig = Rig::start(&["p256", "p384", "p521", "rsa2048", "ed25519"]);
    std::fs::write(rig.hsm.file("message"), [7; 1000]).unwrap();
    let pss = [
        "-sigopt",
        "rsa_padding_mode:pss",
        "-sigopt",
        "rsa_pss_saltlen:digest",
    ];
    for (key, mechanism, verify) in [
        ("p256", "ECDSA-SHA256", &["-sha256"][..]),
        ("p384", "ECDSA-SHA384", &["-sha384"]),
        ("p521", "ECDSA-SHA512", &["-sha512"]),
        ("rsa2048", "SHA256-RSA-PKCS", &["-sha256"]),
        ("rsa2048", "SHA384-RSA-PKCS", &["-sha384"]),
        ("rsa2048", "SHA512-RSA-PKCS", &["-sha512"]),
        (
            "rsa2048",
            "SHA256-RSA-PKCS-PSS",
            &[&["-sha256"], &pss[..]].concat(),
        ),
        (
            "rsa2048",
            "SHA384-RSA-PKCS-PSS",
            &[&["-sha384"], &pss[..]].concat(),
        ),
        (
            "rsa2048",
            "SHA512-RSA-PKCS-PSS",
            &[&["-sha512"], &pss[..]].concat(),
        ),
    ] {
        rig.sign(key, mechanism, "message");
        let said = succeed(
            Command::new("openssl")
                .current_dir(rig.hsm.dir.path())
                .args(["dgst", "-verify"])
                .arg(rig.public_key(key))
                .args(["-signature", "signature"])
                .args(verify)
                .arg("message"),
        );
        assert_eq!(said, "Verified OK\n", "{mechanism}");
    }
    // SoftHSM2 makes Ed25519 keys; openssl dgst has no way to verify what they sign.
    rig.sign("ed25519", "EDDSA", "message");
    let said = succeed(
        Command::new("openssl")
            .current_dir(rig.hsm.dir.path())
            .args(["pkeyutl", "-verify", "-rawin", "-pubin", "-inkey"])
            .arg(rig.public_key("ed25519"))
            .args(["-in", "message", "-sigfile", "signature"]),
    );
    assert_eq!(said, "Signature Verified Successfully\n");
    let own = succeed(&mut rig.pkcs11_tool(&["--test"]));
    assert!(own.ends_with("No errors\n"), "{own}");
}

#[test]
fn lists_are_as_others_print_them() {
    let rig = Rig::start(&["p256", "rsa2048", "ed25519"]);
    let listed = succeed(&mut rig.pkcs11_tool(&["-O", "-L"]));
    for line in [
        "Private Key Object; EC\n  label:      p256\n",
        "Public Key Object; RSA 2048 bits\n  label:      rsa2048\n",
        // As the token says.
        "  Access:     sensitive, always sensitive, never extractable, local\n",
        "  Allowed mechanisms: ECDSA-SHA256\n",
        "  token flags        : rng, token initialized, PIN initialized\n",
    ] {
        assert!(listed.contains(line), "{line}{listed}");
    }
    let p11tool = succeed(
        rig.uses("p11tool")
            .arg("--provider")
            .arg(module())
            .args(["--list-all", "pkcs11:token=device"]),
    );
    for line in [
        "Type: Private key (EC/ECDSA-SECP256R1)",
        "Type: Public key (RSA-2048)",
        "Type: Private key (EdDSA (Ed25519))",
    ] {
        assert!(p11tool.contains(line), "{line}\n{p11tool}");
    }
    let ssh = rig.uses("ssh-keygen").arg("-D").arg(module()).output();
    let ssh = text(&ssh.unwrap());
    assert!(ssh.contains("ecdsa-sha2-nistp256 "), "{ssh}");
    assert!(ssh.contains("ssh-rsa "), "{ssh}");
}

/// What the list of slots says where there is nothing: the reason.
#[test]
fn without_a_signer_there_is_no_token() {
    let listed = succeed(
        Command::new("pkcs11-tool")
            .env("TEDGE_DEVICE_CRYPTOKI_SOCKET_PATH", "/nowhere/signer.sock")
            .arg("--module")
            .arg(module())
            .arg("-L"),
    );
    assert!(
        listed.contains("tedge-p11-server: no signer at the socket"),
        "{listed}"
    );
    assert!(listed.contains("(empty)"), "{listed}");
}

#[test]
fn keys_are_made_and_deleted() {
    let rig = Rig::start(&[]);
    for (key_type, id) in [("EC:secp384r1", "0a"), ("rsa:2048", "0b")] {
        let made = [
            "--keypairgen",
            "--key-type",
            key_type,
            "--label",
            "new",
            "--id",
            id,
        ];
        succeed(&mut rig.pkcs11_tool(&made));
    }
    let keys = rig
        .signer
        .client()
        .keys(&support::parse_uri("pkcs11:object=new"), None);
    assert_eq!(keys.unwrap().len(), 4);
    succeed(&mut rig.pkcs11_tool(&["--delete-object", "--type", "privkey", "--id", "0a"]));
    let listed = succeed(&mut rig.pkcs11_tool(&["-O"]));
    assert!(
        !listed.contains("0a\n") && listed.contains("0b\n"),
        "{listed}"
    );
}

/// Searches by several templates; each finds all, or that the signer is away, also when that is killed meanwhile.
#[test]
fn a_thousand_keys() {
    let (mut rig, mut child) = search_among_a_thousand("searches");
    let stdin = child.stdin.take();
    let mut rounds = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut until = |wanted| {
        let found = rounds.by_ref().any(|round| round.unwrap() == wanted);
        assert!(found, "never {wanted}");
    };
    until("all");
    rig.kill_signer();
    until("away");
    rig.signer = Signer::start(&rig.hsm);
    until("all");
    drop(stdin);
    assert!(child.wait().unwrap().success());
    let p11tool = succeed(rig.uses("p11tool").arg("--provider").arg(module()).args([
        "--only-urls",
        "--list-privkeys",
        "pkcs11:token=device",
    ]));
    assert_eq!(p11tool.matches("type=private").count(), 1000);
}

#[test]
fn a_policy_holds_for_programs() {
    let rig = Rig::start_with_policy(&["p256"], refusals::POLICY, &["--pin", PIN]);
    // RFC 8446, section 4.4.3.
    let handshake = [
        &[b' '; 64][..],
        b"TLS 1.3, client CertificateVerify\0",
        &[1; 32],
    ]
    .concat();
    std::fs::write(rig.hsm.file("handshake"), handshake).unwrap();
    std::fs::write(rig.hsm.file("document"), "a document").unwrap();
    rig.sign("p256", "ECDSA-SHA256", "handshake");
    let id = rig.id("p256");
    let document = rig.hsm.file("document");
    let mut tool = rig.pkcs11_tool(&["--sign", "-m", "ECDSA-SHA256", "--id", &id, "-i"]);
    tool.arg(&document).arg("-o").arg(rig.hsm.file("signature"));
    let refused = tool.output().unwrap();
    assert!(!refused.status.success());
    let said = text(&refused);
    assert!(said.contains("CKR_KEY_FUNCTION_NOT_PERMITTED"), "{said}");
    // The signer's own words.
    assert!(
        said.contains("it is no TLS handshake, certificate request or certificate"),
        "{said}"
    );
}

#[test]
fn digests_take_a_rule() {
    let rule = "[[rule]]\noperations = [\"sign\", \"describe\", \"list\"]\n";
    let key = ["p256", "rsa2048"];
    let rig = Rig::start_with_policy(&key, rule, &["--pin", PIN]);
    let mechanisms = succeed(&mut rig.pkcs11_tool(&["-M"]));
    assert!(
        !mechanisms.contains("  ECDSA, ") && mechanisms.contains("  ECDSA-SHA256, "),
        "{mechanisms}"
    );
    std::fs::write(rig.hsm.file("digest"), [7; 32]).unwrap();
    let id = rig.id("p256");
    let mut tool = rig.pkcs11_tool(&["--sign", "-m", "ECDSA", "--id", &id, "-i"]);
    tool.arg(rig.hsm.file("digest"))
        .arg("-o")
        .arg(rig.hsm.file("signature"));
    let refused = tool.output().unwrap();
    assert!(!refused.status.success());
    let refused = text(&refused);
    let told = "libtedge_p11: the signer refused to sign: the program made a digest itself";
    assert!(refused.contains(told), "{refused}");

    let rule = format!("{rule}purposes = [\"digest\"]\n");
    let rig = Rig::start_with_policy(&key, &rule, &["--pin", PIN]);
    let mechanisms = succeed(&mut rig.pkcs11_tool(&["-M"]));
    assert!(mechanisms.contains("  ECDSA, "), "{mechanisms}");
    std::fs::write(rig.hsm.file("digest"), [7; 32]).unwrap();
    rig.sign("p256", "ECDSA", "digest");
    let said = succeed(
        Command::new("openssl")
            .current_dir(rig.hsm.dir.path())
            .args(["pkeyutl", "-verify", "-pubin", "-inkey"])
            .arg(rig.public_key("p256"))
            .args(["-in", "digest", "-sigfile", "signature"]),
    );
    assert_eq!(said, "Signature Verified Successfully\n");
    // A DigestInfo, as GnuTLS makes it; and what is none.
    let info = [
        &[
            0x30, 0x31, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 0x20,
        ][..],
        &[7; 32],
    ];
    std::fs::write(rig.hsm.file("info"), info.concat()).unwrap();
    rig.sign("rsa2048", "RSA-PKCS", "info");
    let id = rig.id("rsa2048");
    let mut tool = rig.pkcs11_tool(&["--sign", "-m", "RSA-PKCS", "--id", &id, "-i"]);
    tool.arg(rig.hsm.file("digest"))
        .arg("-o")
        .arg(rig.hsm.file("signature"));
    let refused = text(&tool.output().unwrap());
    assert!(refused.contains("CKR_DATA_INVALID"), "{refused}");
    assert!(rig.signer.log().contains("purpose digest"));
}

/// The PIN goes along where the signer has none, and is dropped where it has one.
#[test]
fn pins() {
    let rig = Rig::start_with_policy(&["p256"], support::signer::ALL_ALLOWED, &[]);
    let listed = succeed(&mut rig.pkcs11_tool(&["-L", "-O"]));
    assert!(listed.contains("login required"), "{listed}");
    assert!(!listed.contains("Private Key Object"), "{listed}");
    let keys = ["-O", "--type", "privkey", "--login", "--pin"];
    let listed = succeed(rig.pkcs11_tool(&keys).arg(PIN));
    assert!(listed.contains("label:      p256\n"), "{listed}");
    let wrong = text(&rig.pkcs11_tool(&keys).arg("999999").output().unwrap());
    assert!(wrong.contains("CKR_PIN_INCORRECT"), "{wrong}");

    let rig = Rig::start(&["p256"]);
    let listed = succeed(rig.pkcs11_tool(&keys).arg("any PIN"));
    assert!(listed.contains("label:      p256\n"), "{listed}");
}

/// A blank token gets a label and PINs, by pkcs11-tool. The user's first one is the signer's, as the protocol has it; a
/// PIN that is changed through the signer is the signer's from then on.
#[test]
fn tokens_and_pins_are_set() {
    let args = ["--uri", "pkcs11:token=new", "--pin", PIN];
    let rig = Rig::start_with_policy(&[], support::signer::ALL_ALLOWED, &args);
    let so_pin = ["--so-pin", "87654321"];
    let tool = |args: &[&[&str]]| succeed(&mut rig.pkcs11_tool(&args.concat()));
    let refused = |args: &[&[&str]]| {
        let output = rig.pkcs11_tool(&args.concat()).output().unwrap();
        assert!(!output.status.success());
        text(&output)
    };
    tool(&[
        &["--slot-index", "0", "--init-token", "--label", "new"],
        &so_pin,
    ]);
    let new = ["--token-label", "new", "--login"];
    let change = |old, new| ["--change-pin", "--pin", old, "--new-pin", new];
    tool(&[&new, &change(PIN, "222222")]);
    let wrong = refused(&[&new, &change(PIN, "333333")]);
    assert!(wrong.contains("CKR_PIN_INCORRECT"), "{wrong}");
    let init_pin = ["--login-type", "so", "--init-pin", "--new-pin", "444444"];
    tool(&[&new, &init_pin, &so_pin]);
    tool(&[&new, &change("444444", "555555")]);
    let made = [
        "--pin",
        "x",
        "--keypairgen",
        "--key-type",
        "EC:prime256v1",
        "--label",
        "k",
    ];
    tool(&[&new, &made]);
}

#[test]
fn the_signer_refuses_our_own_module() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let copy = hsm.file("libother.so");
    std::fs::copy(module(), &copy).unwrap();
    let link = hsm.file("liblink.so");
    std::os::unix::fs::symlink(module(), &link).unwrap();
    for file in [&module(), &copy, &link] {
        let mut signer = Signer::command(&hsm, file);
        // The linker tells of each file that it takes in.
        let refused = signer.env("LD_DEBUG", "files").output().unwrap();
        assert_eq!(refused.status.code(), Some(1));
        let refused = text(&refused);
        assert!(
            refused.contains("this is the module for programs that use the signer"),
            "{refused}"
        );
        let name = file.file_name().unwrap().to_str().unwrap();
        let loaded = refused
            .lines()
            .find(|line| line.contains(name) && line.contains("calling init"));
        assert_eq!(loaded, None);
        assert!(refused.contains("calling init"), "{refused}");
    }
    // Another module may load it, as p11-kit-proxy does, into the signer's process.
    let rig = Rig::start(&["p256"]);
    let signer = rig.hsm.file("tedge-p11-server");
    std::fs::copy(rig.program_in_c(), &signer).unwrap();
    succeed(rig.uses(&signer).arg(module()).arg("is_signer"));
    let mut tedge_hsm = Command::new(program("tedge-hsm"));
    let refused = fail(
        tedge_hsm
            .arg("--module-path")
            .arg(module())
            .arg("list-tokens"),
    );
    assert!(
        refused.contains("this is the module for programs that use the signer"),
        "{refused}"
    );
}
