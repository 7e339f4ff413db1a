//! What the signer refuses to whom: policy by user, key and purpose.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use support::broker::SServer;
use support::signer::POLICY;
use support::wire::ask;
use support::{Ca, Faulty, Hsm, Kind, Signer, fail, install, openssl, parse_uri, succeed};
use tedge_p11_client::{KeySpec, PrivateKey as _, SignatureScheme, Uri};
use tedge_p11_protocol::{DeleteKey, ExtensionRequest, Request, Response, Sign, V1Scheme};

/// Without a policy file, a TLS client's handshake and a certificate request for the key are signed.
#[test]
fn by_default_what_a_tls_client_needs_is_signed() {
    for (key_type, server) in [
        ("p256", &["-tls1_3"][..]),
        ("rsa2048", &["-tls1_3"]),
        ("p256", &["-tls1_2"]),
        ("rsa2048", &["-tls1_2", "-client_sigalgs", "RSA+SHA256"]),
    ] {
        let hsm = Hsm::start(Kind::SoftHsm);
        let uri = hsm.create_key("device", key_type);
        let signer = Signer::start_with_default_policy(&hsm);
        let ca = Ca::new();
        let csr = ["csr", "--common-name", "x", "--uri", &uri];
        let chain = ca.issue("x", &succeed(signer.tedge_hsm().args(csr)));
        let server = SServer::start(&ca, server);
        // s_server is no MQTT broker: what counts is that the handshake is done.
        let output = signer
            .tedge_hsm()
            .args([
                "connect",
                "--host",
                "localhost",
                "--port",
                &server.port.to_string(),
            ])
            .args(["--uri", &uri, "--timeout", "2", "--cert"])
            .arg(&chain)
            .arg("--ca")
            .arg(ca.certificate())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.contains("signature scheme"), "{key_type}: {output:?}");
        let log = signer.log();
        assert!(log.contains("purpose csr"), "{log}");
        assert!(log.contains("purpose tls1"), "{log}");
    }
}

/// Anything else is not: a token, a document, a server's handshake, another key's request.
#[test]
fn by_default_nothing_else_is_signed() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let uri = hsm.create_key("device", "p256");
    let other = hsm.create_key("other", "p256");
    let signer = Signer::start_with_default_policy(&hsm);
    let key = signer.key(&uri);
    let certificate_verify = |context: &str| {
        let mut message = vec![0x20; 64];
        message.extend(context.as_bytes());
        message.push(0);
        message.extend([7; 32]);
        message
    };
    let scheme = SignatureScheme::ECDSA_SECP256R1_SHA256;
    key.sign(
        scheme,
        &certificate_verify("TLS 1.3, client CertificateVerify"),
    )
    .unwrap();
    for message in [
        b"eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJyb290In0".to_vec(),
        b"".to_vec(),
        certificate_verify("TLS 1.3, server CertificateVerify"),
        [
            &certificate_verify("TLS 1.3, client CertificateVerify")[..],
            b"x",
        ]
        .concat(),
    ] {
        let error = key.sign(scheme, &message).unwrap_err().to_string();
        assert!(error.contains("may not sign this"), "{error}");
    }
    // The other key's request is signed with the other key only.
    let csr = ["csr", "--common-name", "x", "--uri", &other];
    let csr = succeed(signer.tedge_hsm().args(csr));
    let (_, csr) = der::pem::decode_vec(csr.as_bytes()).unwrap();
    let tbs = first_element(content(&csr));
    let error = key.sign(scheme, tbs).unwrap_err().to_string();
    assert!(error.contains("it is about another key"), "{error}");
    signer.key(&other).sign(scheme, tbs).unwrap();
    let log = signer.log();
    assert!(
        log.contains("warn: sign for uid 0") && log.contains("refused"),
        "{log}"
    );
}

/// Who may open the socket may not therefore change what is on the token.
#[test]
fn by_default_only_root_changes_a_token() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let uri = hsm.create_key("device", "p256");
    let signer = Signer::start_with_default_policy(&hsm);
    let Some(nobody) = Nobody::new(&hsm, &signer) else {
        return;
    };
    succeed(&mut nobody.tedge_hsm(&["list-keys"]));
    succeed(&mut nobody.tedge_hsm(&["csr", "--common-name", "x", "--uri", &uri]));
    let error = fail(&mut nobody.tedge_hsm(&["create-key", "--label", "more"]));
    assert!(
        error.contains("may not create-key: no rule of the policy allows it"),
        "{error}"
    );
    let mut csr = nobody.tedge_hsm(&["csr", "--common-name", "x", "--uri", &uri]);
    let ca = Ca::new();
    let certificate = ca.issue("x", &succeed(&mut csr));
    let certificate = nobody.file("x.pem", &std::fs::read(certificate).unwrap());
    let pin = nobody.file("pin", b"135790");
    let import = ["import-certificate", "--uri", &uri, "--cert", &certificate];
    let change = ["--pin-file", &pin, "change-pin", "--new-pin-file", &pin];
    let so = ["--so-pin-file", &pin, "--new-pin-file", &pin];
    for (operation, args) in [
        ("import-certificate", &import[..]),
        ("delete-key", &["delete-key", "--yes", "--uri", &uri]),
        ("change-pin", &change),
        ("change-pin", &[&["unlock"], &so[..]].concat()),
        ("change-pin", &[&["change-pin", "--so"], &so[..]].concat()),
    ] {
        let output = nobody.tedge_hsm(args).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let refusal = format!("may not {operation}: no rule of the policy allows it");
        assert!(said.contains(&refusal), "{args:?}: {said}");
    }
    // The log says on what.
    let log = signer.log();
    for operation in ["import-certificate", "delete-key"] {
        let line = log
            .lines()
            .find(|line| line.contains(&format!("{operation} for uid ")))
            .unwrap();
        assert!(line.contains("refused") && line.contains(&uri), "{log}");
    }
    assert_eq!(succeed(&mut nobody.tedge_hsm(&["list-certificates"])), "");
    succeed(signer.tedge_hsm().args(import));
    succeed(&mut nobody.tedge_hsm(&["export-certificate", "--uri", &uri]));
    signer
        .client()
        .create_key(
            &parse_uri("pkcs11:token=device"),
            None,
            KeySpec::EcP256,
            "more",
            None,
        )
        .unwrap();
}

/// A rule names its users, operations, keys and purposes; SIGHUP has the file read again, and a bad
/// one keeps the old rules.
#[test]
fn rules_confine_a_user_to_a_key_and_a_purpose() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let ours = hsm.create_key("ours", "p256");
    let theirs = hsm.create_key("theirs", "p256");
    let ca = Ca::new();
    for uri in [&ours, &theirs] {
        let csr = succeed(
            hsm.tedge_hsm()
                .args(["csr", "--common-name=x", "--uri", uri]),
        );
        let certificate = ca.issue("x", &csr);
        let mut import = hsm.tedge_hsm();
        import.args(["import-certificate", "--uri", uri, "--cert"]);
        succeed(import.arg(certificate));
    }
    let rules = |purpose: &str| {
        format!(
            "[[rule]]\nuser = \"nobody\"\noperations = [\"sign\", \"describe\", \"list\"]\n\
             keys = [\"pkcs11:object=ours\"]\npurposes = [\"{purpose}\"]\n"
        )
    };
    std::fs::write(hsm.file(POLICY), rules("csr")).unwrap();
    let signer = Signer::start(&hsm);
    let Some(nobody) = Nobody::new(&hsm, &signer) else {
        return;
    };
    let csr = |uri: &str| nobody.tedge_hsm(&["csr", "--common-name", "x", "--uri", uri]);
    succeed(&mut csr(&ours));
    let error = fail(&mut csr(&theirs));
    assert!(
        error.contains("no rule that allows it covers this key"),
        "{error}"
    );
    let listed = succeed(&mut nobody.tedge_hsm(&["list-keys"]));
    assert!(
        listed.contains("object=ours") && !listed.contains("object=theirs"),
        "{listed}"
    );
    let listed = succeed(&mut nobody.tedge_hsm(&["list-certificates"]));
    assert!(
        listed.contains("object=ours") && !listed.contains("object=theirs"),
        "{listed}"
    );
    let export = |uri: &str| nobody.tedge_hsm(&["export-certificate", "--uri", uri]);
    succeed(&mut export(&ours));
    let error = fail(&mut export(&theirs));
    assert!(error.contains("may not describe"), "{error}");
    // Root has no rule, so it may nothing.
    let error = signer
        .client()
        .keys(&Uri::default(), None)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("uid 0") && error.contains("may not list"),
        "{error}"
    );

    let reload = |text: &str, said: &str| {
        std::fs::write(hsm.file(POLICY), text).unwrap();
        let before = signer.log().matches(said).count();
        signer.signal(rustix::process::Signal::HUP);
        while signer.log().matches(said).count() == before {
            std::thread::yield_now();
        }
    };
    reload(&rules("tls13-client"), "configuration read again");
    let output = csr(&ours).output().unwrap();
    assert!(!output.status.success());
    assert!(
        signer.log().contains("it is for csr, and no rule"),
        "{}",
        signer.log()
    );
    reload("[[rule]]\nusr = 1\n", "the old configuration stays");
    succeed(&mut nobody.tedge_hsm(&["list-keys"]));
    reload(&rules("csr"), "configuration read again");
    succeed(&mut csr(&ours));
}

/// Who may write in the folder of the policy can't stop the signer by something that is no file.
#[test]
fn a_policy_that_is_no_file_is_refused() {
    let hsm = Hsm::start(Kind::SoftHsm);
    for name in [POLICY, "tedge.toml"] {
        let path = hsm.file(name);
        let _ = std::fs::remove_file(&path);
        succeed(Command::new("mkfifo").args(["-m", "600"]).arg(&path));
        let server = Signer::command(&hsm, &hsm.module());
        // It would wait for ever.
        let mut command = hsm.command("timeout");
        command.arg("60").arg(server.get_program());
        let error = fail(command.args(server.get_args()));
        assert!(error.contains("is no regular file"), "{error}");
        std::fs::remove_file(&path).unwrap();
    }
}

/// Errors and the status name no key that a list would not.
#[test]
fn errors_name_only_what_may_be_listed() {
    let hsm = Hsm::start(Kind::SoftHsm);
    for key in ["ours", "theirs"] {
        hsm.create_key(key, "p256");
    }
    let rule = "[[rule]]\nkeys = [\"pkcs11:object=ours\"]\noperations = [\"sign\", \"describe\"";
    std::fs::write(hsm.file(POLICY), format!("{rule}, \"list\"]\n")).unwrap();
    let signer = Signer::start(&hsm);
    let Some(nobody) = Nobody::new(&hsm, &signer) else {
        return;
    };
    let error = |uri: &str| fail(&mut nobody.tedge_hsm(&["csr", "--common-name=x", "--uri", uri]));
    let absent = error("pkcs11:token=device;object=absent");
    assert!(absent.contains("its keys are <"), "{absent}");
    assert!(absent.contains("object=ours"), "{absent}");
    assert!(!absent.contains("theirs"), "{absent}");
    let several = error("pkcs11:token=device");
    assert!(several.contains("matches several keys"), "{several}");
    assert!(!several.contains("theirs"), "{several}");
    // The journal has it all.
    assert!(signer.log().contains("object=theirs"), "{}", signer.log());
    let status = succeed(&mut nobody.tedge_hsm(&["status"]));
    assert!(status.contains("ago: see the journal"), "{status}");
    let status = signer.client().status().unwrap();
    assert!(status.last_error.contains("object=theirs"), "{status:?}");
    drop(signer);

    std::fs::write(hsm.file(POLICY), format!("{rule}]\n")).unwrap();
    let signer = Signer::start(&hsm);
    let error = |uri: &str| {
        let sign = Request::Sign(Sign {
            to_sign: b"x".to_vec().into(),
            uri: Some(uri.to_owned()),
            pin: None,
        });
        let Response::Error(error) = ask(signer.socket(), &sign) else {
            panic!("signed")
        };
        error
    };
    for (uri, said) in [
        (
            "pkcs11:token=device;object=absent",
            "no private key matches",
        ),
        ("pkcs11:token=device", "matches several keys"),
        (
            "pkcs11:token=absent",
            "no token matches pkcs11:token=absent",
        ),
    ] {
        let error = error(uri);
        assert!(error.contains(said), "{error}");
        assert!(!error.contains('<') && !error.contains("ours"), "{error}");
    }
}

/// What the token fails with names keys and tokens to those only who may list them.
#[test]
fn a_failure_at_the_token_names_only_what_may_be_listed() {
    let hsm = Faulty::tokens();
    let make = ["--keypairgen", "--key-type", "EC:prime256v1", "--id", "77"];
    hsm.pkcs11_tool(&[&make[..], &["--label", "inner"]].concat());
    let rule = "[[rule]]\noperations = [\"sign\", \"describe\"]\npurposes = [\"any\"]\n";
    for (rule, named) in [
        (rule.to_owned(), false),
        (rule.replace("[\"sign\"", "[\"list\", \"sign\""), true),
    ] {
        std::fs::write(hsm.file(POLICY), rule).unwrap();
        let signer = Faulty::spawn(&hsm);
        // Several times, until the token gets a pause.
        for rule in ["C_SignInit", "C_Login"] {
            std::fs::write(
                hsm.file("control"),
                format!("{rule} return CKR_DEVICE_ERROR"),
            )
            .unwrap();
            for _ in 0..6 {
                let sign = Request::Sign(Sign {
                    to_sign: b"x".to_vec().into(),
                    uri: Some("pkcs11:id=%77;serial=".to_owned() + &serial(&hsm)),
                    pin: None,
                });
                let Response::Error(error) = ask(signer.socket(), &sign) else {
                    panic!("signed")
                };
                assert!(error.contains("CKR_DEVICE_ERROR"), "{error}");
                let names = error.contains("inner") || error.contains("\"device\"");
                assert_eq!(names, named, "{error}");
                assert!(!error.contains("pkcs11:"), "{error}");
            }
        }
        assert!(
            signer.log().contains("token \"device\""),
            "{}",
            signer.log()
        );
        std::fs::write(hsm.file("control"), "").unwrap();
    }
}

/// Serial number of the token `device`.
fn serial(hsm: &Hsm) -> String {
    let tokens = succeed(hsm.tedge_hsm().arg("list-tokens"));
    let line = tokens.lines().find(|line| line.contains("token=device"));
    let uri = line
        .unwrap()
        .split_whitespace()
        .find(|word| word.starts_with("pkcs11:"));
    parse_uri(uri.unwrap()).serial.unwrap()
}

/// A rule for one key: the request names another by its id, and is told neither its label nor what it can do.
#[test]
fn a_refusal_names_only_what_was_asked_for() {
    let hsm = Hsm::start(Kind::SoftHsm);
    hsm.create_key("ours", "p256");
    let make = ["--keypairgen", "--key-type", "rsa:2048", "--id", "77"];
    hsm.pkcs11_tool(&[&make[..], &["--label", "hidden"]].concat());
    let rule = "[[rule]]\nkeys = [\"pkcs11:object=ours\"]\noperations = [\"sign\", \"describe\"]\n";
    std::fs::write(hsm.file(POLICY), rule).unwrap();
    let signer = Signer::start(&hsm);
    let uri = "pkcs11:token=device;id=%77";
    // The second time, the signer has the key's handle if it kept it.
    for _ in 0..2 {
        let sign = Request::Sign(Sign {
            to_sign: b"x".to_vec().into(),
            uri: Some(uri.to_owned()),
            pin: None,
        });
        let with_scheme = Request::SignWithScheme(tedge_p11_protocol::SignWithScheme {
            to_sign: b"x".to_vec().into(),
            uri: Some(uri.to_owned()),
            pin: None,
            scheme: V1Scheme::new(SignatureScheme::ECDSA_SECP256R1_SHA256),
        });
        let public_key = Request::PublicKeyPem(Some(uri.to_owned()));
        for request in [sign, with_scheme, public_key] {
            let Response::Error(error) = ask(signer.socket(), &request) else {
                panic!("answered")
            };
            assert!(
                error.contains("no rule that allows it covers this key"),
                "{error}"
            );
            assert!(error.contains(uri), "{error}");
            assert!(
                !error.contains("hidden") && !error.contains("rsa"),
                "{error}"
            );
        }
        let error = signer.client().public_key(&parse_uri(uri)).unwrap_err();
        let error = error.to_string();
        assert!(!error.contains("hidden"), "{error}");
    }
}

/// Who has no key on a token has no PIN to try there.
#[test]
fn a_pin_is_not_tried_on_a_token_that_no_rule_covers() {
    let hsm = Hsm::start(Kind::SoftHsm);
    hsm.add_token("other");
    let policy = "[[rule]]\nkeys = [\"pkcs11:token=device\"]\n\
                  operations = [\"sign\", \"describe\", \"list\"]\n";
    std::fs::write(hsm.file(POLICY), policy).unwrap();
    let signer = Signer::start_with(&hsm, &[]);
    let error = |uri: &str| signer.key_with_pin(uri, "654321").unwrap_err().to_string();
    let ours = error("pkcs11:token=device;object=x");
    assert!(ours.contains("CKR_PIN_INCORRECT"), "{ours}");
    // However the token is named: what counts is which it is.
    let serial = |label: &str| {
        let tokens = signer.client().tokens().unwrap().into_iter();
        let mut found = tokens.filter(|token| token.label == label);
        found.next().unwrap().serial
    };
    for named in [
        "token=other".to_owned(),
        format!("serial={}", serial("other")),
    ] {
        let key = format!("pkcs11:{named};object=x");
        let theirs = error(&key);
        let said = format!("with pkcs11:{named}: no rule that allows it covers");
        assert!(theirs.contains(&said), "{theirs}");
        let pin = tedge_p11_client::Pin::new("654321".into()).unwrap();
        let uri = format!("pkcs11:{named}");
        let listed = signer
            .client()
            .keys(&parse_uri(&uri), Some(&pin))
            .unwrap_err();
        assert!(listed.to_string().contains(&said), "{listed}");
    }
    let key = format!("pkcs11:serial={};object=x", serial("device"));
    let ours = error(&key);
    assert!(ours.contains("refused this PIN before"), "{ours}");
}

/// The same where the request names none, and there is one.
#[test]
fn a_pin_is_not_tried_on_the_only_token_if_no_rule_covers_it() {
    let mut faulty = Faulty::start();
    let policy = "[[rule]]\nkeys = [\"pkcs11:token=elsewhere\"]\n\
                  operations = [\"sign\", \"describe\"]\n";
    std::fs::write(faulty.hsm.file(POLICY), policy).unwrap();
    faulty.rules("token two absent");
    faulty.restart(&[], false);
    let pin = || tedge_p11_client::Pin::new("654321".into()).ok();
    for uri in [Uri::default(), parse_uri("pkcs11:object=key")] {
        let error =
            tedge_p11_client::SocketKey::open(faulty.signer.client(), &uri, pin()).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("no rule that allows it covers"), "{error}");
    }
    assert_eq!(faulty.refused_logins(), 0);
}

#[test]
fn a_bad_policy_is_an_error_with_its_line() {
    let hsm = Hsm::start(Kind::SoftHsm);
    std::fs::write(hsm.file(POLICY), "[[rule]]\noperations = [\"sing\"]\n").unwrap();
    let error = fail(&mut Signer::command(&hsm, &hsm.module()));
    assert!(
        error.contains("rule 1: \"sing\" is no operation"),
        "{error}"
    );
}

/// Who could write the policy could have anything signed.
#[test]
fn a_policy_that_others_may_write_is_refused() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let mode = std::fs::Permissions::from_mode(0o664);
    std::fs::set_permissions(hsm.file(POLICY), mode).unwrap();
    let error = fail(&mut Signer::command(&hsm, &hsm.module()));
    assert!(
        error.contains("users other than root may write it"),
        "{error}"
    );
}

/// A PIN in a file that others may read is no secret.
#[test]
fn a_pin_file_that_others_may_read_is_refused() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let uri = hsm.create_key("device", "p256");
    let pin = hsm.file("pin");
    let mode = |mode| {
        std::fs::set_permissions(&pin, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let configured = format!("pkcs11:token=device?pin-source={}", pin.display());
    mode(0o640);
    let error = fail(Signer::command(&hsm, &hsm.module()).args(["--uri", &configured]));
    assert!(
        error.contains("may be read or written by users other"),
        "{error}"
    );
    mode(0o600);
    let signer = Signer::start_with(&hsm, &["--uri", &configured]);
    openssl::verify_all_schemes(&signer.key(&uri));
}

/// As `LoadCredential=pin:…` passes it.
#[test]
fn a_systemd_credential_is_the_pin() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let uri = hsm.create_key("device", "p256");
    let mut command = Signer::command(&hsm, &hsm.module());
    command.env("CREDENTIALS_DIRECTORY", hsm.dir.path());
    let signer = Signer::spawn(&hsm, &mut command);
    openssl::verify_all_schemes(&signer.key(&uri));
}

/// One user's silent connections leave room for the others'.
#[test]
fn a_user_cannot_take_every_place() {
    let hsm = Hsm::start(Kind::SoftHsm);
    hsm.create_key("device", "p256");
    let signer = Signer::start(&hsm);
    let Some(nobody) = Nobody::new(&hsm, &signer) else {
        return;
    };
    let silent: Vec<_> = (0..600)
        .map(|_| support::wire::connect(signer.socket()))
        .collect();
    succeed(&mut nobody.tedge_hsm(&["list-keys"]));
    drop(silent);
}

/// A user that floods the signer gets errors; others are served, and the journal is not filled.
#[test]
fn a_user_that_sends_too_fast_is_throttled() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let uri = hsm.create_key("device", "p256");
    let policy = "[[rule]]\noperations = [\"sign\", \"describe\", \"list\"]\npurposes = [\"any\"]\n\
                  [limits]\nrequests-per-second = 50\n";
    std::fs::write(hsm.file(POLICY), policy).unwrap();
    let signer = Signer::start(&hsm);
    let Some(nobody) = Nobody::new(&hsm, &signer) else {
        return;
    };
    let key = signer.key(&uri);
    let started = std::time::Instant::now();
    let (mut done, mut throttled) = (0, 0);
    while throttled < 2000 {
        match key.sign(SignatureScheme::ECDSA_SECP256R1_SHA256, b"x") {
            Ok(_) => done += 1,
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains("may send 50 requests a second"), "{error}");
                throttled += 1;
            }
        }
        let seconds = started.elapsed().as_secs() + 2;
        assert!(done <= 50 * seconds, "{done} in {seconds} s");
        // Who is told no when it asks for the extension takes the signer for thin-edge.io's.
        if throttled % 100 == 1 {
            let hello = Request::Extension(ExtensionRequest::Hello);
            for request in [hello, Request::Ping] {
                let answer = ask(signer.socket(), &request);
                assert!(!matches!(answer, Response::Error(_)), "{answer:?}");
            }
        }
    }
    succeed(&mut nobody.tedge_hsm(&["list-keys"]));
    let seconds = started.elapsed().as_secs() + 2;
    log_has_all(&signer, done + 2000, seconds, |line| {
        line.contains("sign for uid 0") || line.contains("uid 0") && line.contains("may send")
    });
    // A second later, all is as before.
    while key
        .sign(SignatureScheme::ECDSA_SECP256R1_SHA256, b"x")
        .is_err()
    {
        std::thread::yield_now();
    }
    // It is throttled, too.
    let status = loop {
        if let Ok(status) = signer.client().status() {
            break status;
        }
    };
    assert!(status.throttled >= 2000, "{status:?}");
}

/// Nor by changes that are refused: what was done must not be rotated away.
#[test]
fn refused_changes_do_not_fill_the_journal() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let uri = hsm.create_key("device", "p256");
    let policy = "[[rule]]\noperations = [\"list\"]\n[limits]\nrequests-per-second = 1000000\n";
    std::fs::write(hsm.file(POLICY), policy).unwrap();
    let signer = Signer::start(&hsm);
    let started = std::time::Instant::now();
    let request = Request::DeleteKey(DeleteKey { uri, pin: None });
    for _ in 0..2000 {
        let Response::Error(error) = ask(signer.socket(), &request) else {
            panic!("deleted")
        };
        assert!(error.contains("may not delete-key"), "{error}");
    }
    let seconds = started.elapsed().as_secs() + 2;
    log_has_all(&signer, 2000, seconds, |line| {
        line.contains("delete-key for uid 0")
    });
}

/// Nor by long URIs: each is cut, what goes wrong again is counted, and bytes are limited as lines are.
#[test]
fn long_uris_do_not_fill_the_journal() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let signer = Signer::start(&hsm);
    let started = std::time::Instant::now();
    for number in 0..1000 {
        let uri = format!("pkcs11:token=device;object={number}{}", "x".repeat(1900));
        for _ in 0..2 {
            let request = Request::PublicKeyPem(Some(uri.clone()));
            let answer = ask(signer.socket(), &request);
            // The client is told what it asked for.
            assert!(
                matches!(&answer, Response::Error(error) if error.len() > 1900),
                "{answer:?}"
            );
        }
    }
    let seconds = usize::try_from(started.elapsed().as_secs() + 2).unwrap();
    let log = signer.log();
    assert!(
        log.len() < 70 * 1024 * seconds,
        "{} in {seconds} s",
        log.len()
    );
    assert!(log.lines().all(|line| line.len() < 1000), "{log}");
    assert!(
        log.contains("xxx… (") && log.contains("describe for uid 0"),
        "{log}"
    );
    log_has_all(&signer, 2000, seconds as u64, |line| {
        line.contains("describe for uid 0")
    });
}

/// Waits until the log accounts for `sent` requests of root, by lines of their own and by counts, and
/// checks that few had lines.
fn log_has_all(signer: &Signer, sent: u64, seconds: u64, is_line: impl Fn(&str) -> bool) {
    let lines = || {
        let log = signer.log();
        u64::try_from(log.lines().filter(|line| is_line(line)).count()).unwrap()
    };
    let before = lines();
    assert!(before <= 110 * seconds, "{before} lines in {seconds} s");
    let counted = || -> u64 {
        let log = signer.log();
        let counts = log.lines().filter_map(|line| {
            let (count, _) = line.split_once(" more requests of uid 0")?;
            count.rsplit(' ').next()?.parse::<u64>().ok()
        });
        counts.sum()
    };
    while lines() + counted() < sent {
        std::thread::yield_now();
    }
}

/// The content of a DER element.
fn content(der: &[u8]) -> &[u8] {
    &der[header_len(der)..]
}

/// The first of several DER elements.
fn first_element(der: &[u8]) -> &[u8] {
    let header = header_len(der);
    let len = match header {
        2 => usize::from(der[1]),
        _ => der[2..header]
            .iter()
            .fold(0, |len, byte| len << 8 | usize::from(*byte)),
    };
    &der[..header + len]
}

fn header_len(der: &[u8]) -> usize {
    match der[1] {
        len if len < 0x80 => 2,
        len => 2 + usize::from(len & 0x7f),
    }
}

/// Programs of an unprivileged user who may open the socket.
struct Nobody {
    dir: tempfile::TempDir,
    socket: std::path::PathBuf,
}

impl Nobody {
    fn new(hsm: &Hsm, signer: &Signer) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            println!("skipped: becoming another user takes root");
            return None;
        }
        let everybody = |path: &std::path::Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        everybody(hsm.dir.path(), 0o755);
        everybody(signer.socket(), 0o666);
        let dir = tempfile::tempdir().unwrap();
        everybody(dir.path(), 0o755);
        install("tedge-hsm", dir.path());
        Some(Self {
            dir,
            socket: signer.socket().to_owned(),
        })
    }

    /// A file that they can read.
    fn file(&self, name: &str, content: &[u8]) -> String {
        let path = self.dir.path().join(name);
        support::write_secret(&path, content);
        std::os::unix::fs::chown(&path, Some(65534), None).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn tedge_hsm(&self, args: &[&str]) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"])
            .arg(self.dir.path().join("tedge-hsm"))
            .arg("--socket-path")
            .arg(&self.socket)
            .args(args);
        command
    }
}
