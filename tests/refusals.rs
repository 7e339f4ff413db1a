//! What can't be done is refused in one line that names what is wrong.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use support::hsm::{PIN, tpm2_module};
use support::user::can_be_others;
use support::wire::ask;
use support::{Hsm, Kind, Signer, fail, openssl, parse_uri, program, succeed};
use tedge_p11_client::{KeySpec, Pin, PrivateKey as _, SocketKey, Uri};
use tedge_p11_protocol::{
    ChangePin, ExtensionRequest, InitToken, KeyInfoRequest, ListKeys, Request, Response,
};

#[test]
fn a_module_that_is_missing_or_none() {
    let dir = tempfile::tempdir().unwrap();
    let server = |module: &str| {
        let mut command = Command::new(program("tedge-p11-server"));
        command.args(["--module-path", module, "--socket-path"]);
        command.arg(dir.path().join("signer.sock"));
        command.arg("--config-dir").arg(dir.path());
        command.env_remove("TEDGE_DEVICE_CRYPTOKI_MODULE_PATH");
        fail(&mut command)
    };
    let error = server("/nowhere/module.so");
    assert!(
        error.contains("module /nowhere/module.so: there is no such file; correct the path"),
        "{error}"
    );
    let error = server("/bin/true");
    assert!(
        error.contains("cannot load the PKCS#11 module /bin/true"),
        "{error}"
    );
    let error = server("");
    assert!(
        error.contains("no PKCS#11 module is configured; set it with --module-path"),
        "{error}"
    );
}

#[test]
fn settings_that_are_wrong() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let server = |args: &[&str]| fail(Signer::command(&hsm, &hsm.module()).args(args));
    let error = server(&["--uri", "pkcs11:tokn=x"]);
    assert!(error.contains("unknown attribute \"tokn\""), "{error}");
    let error = server(&["--uri", "pkcs11:?pin-source=/nowhere/pin"]);
    assert!(
        error.contains("cannot read the PIN from /nowhere/pin"),
        "{error}"
    );
    // What a file says can't forge a line of the log.
    let forged = "[device.cryptoki]\nmodule_path = \"/nowhere\\nMAINPID=1\"\n";
    std::fs::write(hsm.file("tedge.toml"), forged).unwrap();
    let mut command = hsm.command(program("tedge-p11-server"));
    let error = fail(command.arg("--config-dir").arg(hsm.dir.path()));
    assert!(
        error.contains("MAINPID") && error.lines().count() == 1,
        "{error}"
    );
    std::fs::write(hsm.file("tedge.toml"), "[device.cryptoki]\npin = 123456\n").unwrap();
    let error = server(&[]);
    assert!(
        error.contains("tedge.toml, line 2: ") && !error.contains("123456"),
        "{error}"
    );
}

#[test]
fn tokens_and_keys_that_are_not_there_or_not_clear() {
    let hsm = Hsm::start(Kind::SoftHsm);
    hsm.create_key("twin", "p256");
    hsm.create_key("rsa", "rsa2048");
    let signer = Signer::start(&hsm);
    let open = |uri: &str| refused_key(&signer, uri);
    let error = open("pkcs11:token=absent;object=twin");
    assert!(
        error.contains("no token matches pkcs11:token=absent"),
        "{error}"
    );
    assert!(
        error.contains("token=device"),
        "it says what is there: {error}"
    );

    let error = open("pkcs11:token=device;object=absent");
    assert!(error.contains("no private key matches"), "{error}");
    assert!(
        error.contains("object=twin") && error.contains("object=rsa"),
        "{error}"
    );

    let error = open("pkcs11:token=device");
    assert!(error.contains("matches several keys"), "{error}");
    assert!(
        error.contains("object=twin") && error.contains("object=rsa"),
        "{error}"
    );

    // Every attribute that is given must match.
    for attribute in [
        "serial=0",
        "model=x",
        "manufacturer=x",
        "slot-id=7",
        "id=%00",
    ] {
        let error = open(&format!("pkcs11:object=twin;{attribute}"));
        assert!(error.contains("matches pkcs11:"), "{attribute}: {error}");
    }
    let error = open("pkcs11:object=twin;type=cert");
    assert!(
        error.contains("names an object of type cert; this needs type=private"),
        "{error}"
    );
    let error = open("pkcs11:object=twin;objekt=x");
    assert!(error.contains("unknown attribute \"objekt\""), "{error}");

    drop(signer);
    hsm.add_token("second");
    let signer = Signer::start(&hsm);
    let open = |uri: &str| {
        SocketKey::open(signer.client(), &parse_uri(uri), None)
            .unwrap_err()
            .to_string()
    };
    let error = open("pkcs11:object=twin");
    assert!(error.contains("matches several tokens"), "{error}");
    openssl::verify_all_schemes(&signer.key("pkcs11:token=device;object=twin"));
}

/// Only a request without a URI, to a signer without one, takes what it finds, and says so.
#[test]
fn without_any_uri_the_first_key_is_taken_with_a_warning() {
    let hsm = Hsm::start(Kind::SoftHsm);
    hsm.create_key("one", "p256");
    hsm.create_key("two", "p256");
    let signer = Signer::start(&hsm);
    let key = SocketKey::open(signer.client(), &Uri::default(), None).unwrap();
    openssl::verify_all_schemes(&key);
    // Once, however often it is asked.
    SocketKey::open(signer.client(), &Uri::default(), None).unwrap();
    let warning = "warn: no URI configured or sent: taking the first key";
    assert_eq!(signer.log().matches(warning).count(), 1);
    let error = refused_key(&signer, "pkcs11:");
    assert!(error.contains("matches several keys"), "{error}");
}

#[test]
fn no_pin_and_wrong_pins() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let uri = hsm.create_key("device", "p256");
    let signer = Signer::start_with(&hsm, &[]);
    let without = || SocketKey::open(signer.client(), &parse_uri(&uri), None).unwrap_err();
    let error = without().to_string();
    assert!(
        error.contains("needs its user PIN and none is configured or sent"),
        "{error}"
    );
    assert!(
        error.contains("--pin") && error.contains("device.cryptoki.pin"),
        "{error}"
    );

    let error = signer.key_with_pin(&uri, "654321").unwrap_err().to_string();
    assert!(
        error.contains("wrong PIN") && error.contains("CKR_PIN_INCORRECT"),
        "{error}"
    );
    // The same again costs no further try.
    let error = signer.key_with_pin(&uri, "654321").unwrap_err().to_string();
    assert!(error.contains("refused this PIN before"), "{error}");

    let key = signer.key_with_pin(&uri, PIN).unwrap();
    openssl::verify_all_schemes(&key);
    // That the token is open now helps nobody who doesn't know the PIN.
    let error = without().to_string();
    assert!(error.contains("needs its user PIN"), "{error}");
    let error = signer.key_with_pin(&uri, "654321").unwrap_err().to_string();
    assert!(error.contains("is not the one that token"), "{error}");
    openssl::verify_all_schemes(&key);
}

/// A wrong PIN, again and again, must not lock a TPM, which gives three tries.
#[test]
fn a_wrong_pin_does_not_lock_the_tpm() {
    let hsm = Hsm::start(Kind::Tpm2);
    let uri = hsm.create_key("device", "p256");
    let signer = Signer::start_with(&hsm, &[]);
    for _ in 0..10 {
        signer.key_with_pin(&uri, "654321").unwrap_err();
    }
    openssl::verify_all_schemes(&signer.key_with_pin(&uri, PIN).unwrap());
}

/// Nor does the security officer's, which any client may send.
#[test]
fn wrong_security_officer_pins_are_spared_too() {
    for kind in [Kind::SoftHsm, Kind::Tpm2] {
        let hsm = Hsm::start(kind);
        let uri = hsm.create_key("device", "p256");
        let signer = Signer::start_with(&hsm, &[]);
        let reset = |so_pin: &str, new_pin: &str| {
            ask(
                signer.socket(),
                &Request::ChangePin(ChangePin {
                    uri: Some("pkcs11:token=device".into()),
                    new_pin: Pin::new(new_pin.into()).unwrap(),
                    old_pin: None,
                    so_pin: Pin::new(so_pin.into()).ok(),
                    reset: true,
                }),
            )
        };
        for number in 0..10 {
            let Response::Error(error) = reset(&format!("wrong{number}"), "7777") else {
                panic!("reset")
            };
            let expected = if number < 2 {
                "CKR_PIN_INCORRECT"
            } else {
                "wrong PINs were given"
            };
            // SoftHSM warns of the last try before that.
            assert!(
                error.contains(expected) || error.contains("one try left"),
                "{error}"
            );
        }
        let pin = |text: &str| Pin::new(text.into()).unwrap();
        let (token, client) = (parse_uri("pkcs11:token=device"), signer.client());
        let wrong = client.change_so_pin(&token, &pin("wrong10"), &pin("7777"));
        wrong.unwrap_err();
        // The log says on which token; the same again within a second is counted.
        let is_change = |line: &str| line.contains("change-pin for");
        let log = signer.log();
        let mut lines = log.lines().filter(|line| is_change(line));
        let named = |line: &str| line.contains(" key pkcs11:token=device: ");
        assert!(lines.all(named), "{log}");
        let told = signer.logged(is_change, "change-pin failed", 11);
        assert_eq!(told, 11, "{}", signer.log());
        openssl::verify_all_schemes(&signer.key_with_pin(&uri, PIN).unwrap());
    }
}

/// What an operator does whose PIN is lost: the one that was refused before is right afterwards.
#[test]
fn a_pin_that_was_refused_is_right_after_the_reset() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let uri = hsm.create_key("device", "p256");
    let signer = Signer::start_with(&hsm, &[]);
    signer.key_with_pin(&uri, "7777").unwrap_err();
    let changed = ask(
        signer.socket(),
        &Request::ChangePin(ChangePin {
            uri: Some("pkcs11:token=device".into()),
            new_pin: Pin::new("7777".into()).unwrap(),
            old_pin: None,
            so_pin: Pin::new(support::hsm::SO_PIN.into()).ok(),
            reset: true,
        }),
    );
    assert!(matches!(changed, Response::ChangePin(_)), "{changed:?}");
    openssl::verify_all_schemes(&signer.key_with_pin(&uri, "7777").unwrap());
    signer.key_with_pin(&uri, PIN).unwrap_err();
}

/// The configured PIN is not replaced by that of a token which it was not configured for.
#[test]
fn a_pin_set_on_one_token_is_not_tried_on_another() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let uri = hsm.create_key("device", "p256");
    hsm.add_token("other");
    let reset = |signer: &Signer, new: &str| {
        let token = parse_uri("pkcs11:token=other");
        let so_pin = Pin::new(support::hsm::SO_PIN.into()).unwrap();
        let new = Pin::new(new.into()).unwrap();
        signer.client().reset_pin(&token, &so_pin, &new).unwrap();
    };
    let signer = Signer::start(&hsm);
    openssl::verify_all_schemes(&signer.key(&uri));
    reset(&signer, "7777");
    openssl::verify_all_schemes(&signer.key(&uri));
    drop(signer);
    // Where it was configured for that very token, the new one serves from then on.
    let signer = Signer::start_with(&hsm, &["--uri", "pkcs11:token=other", "--pin", "7777"]);
    reset(&signer, "8888");
    let key = signer
        .client()
        .create_key(&Uri::default(), None, KeySpec::EcP256, "more", None)
        .unwrap();
    openssl::verify_all_schemes(&signer.key(&key));
}

/// The PIN is changed by another program while the signer is running: who has the new one is served.
#[test]
fn a_pin_changed_elsewhere_is_learnt() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let uri = hsm.create_key("device", "p256");
    let mut signer = Signer::start_with(&hsm, &[]);
    signer.key_with_pin(&uri, PIN).unwrap();
    hsm.pkcs11_tool(&["--change-pin", "--new-pin", "8888"]);
    // The login of before lasts; the signer finds out with the next one.
    signer.key_with_pin(&uri, "8888").unwrap_err();
    openssl::verify_all_schemes(&signer.key_with_pin(&uri, PIN).unwrap());
    signer.signal(rustix::process::Signal::TERM);
    signer.wait();
    let signer = Signer::start_with(&hsm, &[]);
    openssl::verify_all_schemes(&signer.key_with_pin(&uri, "8888").unwrap());
}

/// `token=device` must stay unambiguous, whatever clients do.
#[test]
fn a_token_cannot_be_given_a_label_that_looks_the_same() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let uri = hsm.create_key("device", "p256");
    let signer = Signer::start(&hsm);
    let pin = |text: &str| Pin::new(text.into()).unwrap();
    for label in ["device ", "device\0", " ", ""] {
        let so_pin = pin("11111111");
        let error =
            signer
                .client()
                .init_token(&Uri::default(), label, Some(&so_pin), Some(&pin("2222")));
        let error = error.unwrap_err().to_string();
        assert!(error.contains("no blank at its end"), "{error}");
    }
    openssl::verify_all_schemes(&signer.key(&uri));
}

/// Keys that share an id, as other tools let one make: each has its own public key.
#[test]
fn keys_that_share_an_id_are_told_apart_by_label() {
    let hsm = Hsm::start(Kind::SoftHsm);
    for label in ["a", "b", "c"] {
        hsm.pkcs11_tool(&[
            "--keypairgen",
            "--key-type",
            "EC:prime256v1",
            "--id",
            "01",
            "--label",
            label,
        ]);
    }
    let signer = Signer::start(&hsm);
    for label in ["a", "b", "c"] {
        let key = signer.key(format!("pkcs11:token=device;object={label}"));
        openssl::verify_all_schemes(&key);
    }
    let error = SocketKey::open(signer.client(), &parse_uri("pkcs11:id=%01"), None).unwrap_err();
    assert!(
        error.to_string().contains("matches several keys"),
        "{error}"
    );
}

/// libtpm2_pkcs11 1.9 gives a new key the handle of another one after a key was deleted.
#[test]
fn a_key_made_after_one_was_deleted_is_the_right_one() {
    for kind in [Kind::SoftHsm, Kind::Tpm2] {
        let hsm = Hsm::start(kind);
        let signer = Signer::start(&hsm);
        let create = |label: &str| {
            signer
                .client()
                .create_key(
                    &parse_uri("pkcs11:token=device"),
                    None,
                    KeySpec::EcP256,
                    label,
                    None,
                )
                .unwrap()
        };
        let [a, b, c] = ["a", "b", "c"].map(create);
        assert_eq!(signer.client().delete_key(&a, None).unwrap().len(), 2);
        let d = create("d");
        assert_eq!(d.object.as_deref(), Some("d"));
        let keys = signer.client().keys(&Uri::default(), None).unwrap();
        let mut labels: Vec<_> = keys
            .iter()
            .filter(|key| key.class == "private")
            .map(|key| key.label.as_str())
            .collect();
        labels.sort_unstable();
        assert_eq!(labels, ["b", "c", "d"]);
        let mut public_keys = Vec::new();
        for uri in [&b, &c, &d] {
            let key = signer.key(uri);
            openssl::verify_all_schemes(&key);
            public_keys.push(key.public_key().clone());
        }
        public_keys.dedup();
        assert_eq!(public_keys.len(), 3);
        assert_eq!(signer.client().delete_key(&d, None).unwrap().len(), 2);
        openssl::verify_all_schemes(&signer.key(&c));
    }
}

/// Nothing of a PIN ends up in an error because it was written the wrong way.
#[test]
fn an_unescaped_pin_is_not_repeated() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let signer = Signer::start_with(&hsm, &[]);
    let error = refused_key(&signer, "pkcs11:token=device?pin-value=12&34secret");
    assert!(error.contains("a query attribute has no value"), "{error}");
    assert!(
        !error.contains("secret") && !signer.log().contains("secret"),
        "{error}"
    );
}

/// An operator's URI confines clients to one token.
#[test]
fn clients_are_confined_by_the_configured_uri() {
    let hsm = Hsm::start(Kind::SoftHsm);
    hsm.create_key("ours", "p256");
    hsm.add_token("private");
    hsm.create_key_on("private", "theirs", "p256");
    let signer = Signer::start_with(&hsm, &["--uri", "pkcs11:token=device", "--pin", PIN]);
    openssl::verify_all_schemes(&signer.key("pkcs11:object=ours"));
    let uri = parse_uri("pkcs11:token=private;object=theirs");
    let error = SocketKey::open(signer.client(), &uri, None)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("no private key matches pkcs11:token=device;object=theirs"),
        "{error}"
    );

    let Response::Keys(keys) = ask(
        signer.socket(),
        &Request::ListKeys(ListKeys {
            uri: Some("pkcs11:token=private".into()),
            pin: None,
        }),
    ) else {
        panic!("no list")
    };
    assert!(
        keys.iter().all(|key| key.uri.contains("token=device")),
        "{keys:?}"
    );

    let pin = |text: &str| Pin::new(text.into()).ok();
    let Response::Error(error) = ask(
        signer.socket(),
        &Request::InitToken(InitToken {
            label: "more".into(),
            so_pin: pin("11111111"),
            pin: pin("2222"),
            uri: None,
        }),
    ) else {
        panic!("initialised")
    };
    assert!(
        error.contains("confined to the token labelled \"device\""),
        "{error}"
    );
}

/// A token with keys on it is not to be erased by a slip.
#[test]
fn a_used_token_is_not_initialised_again() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let uri = hsm.create_key("device", "p256");
    let signer = Signer::start(&hsm);
    let pin = |text: &str| Pin::new(text.into()).unwrap();
    let init = |uri: &Uri, label: &str, so: Option<&Pin>| {
        let user = pin("2222");
        signer.client().init_token(uri, label, so, Some(&user))
    };
    // As thin-edge.io has it: the token that is there is the answer, and is left as it is.
    let same = init(&Uri::default(), "device", None).unwrap();
    assert!(uri.starts_with(&same.to_string()), "{same}");
    let serial = "pkcs11:serial=".to_owned()
        + uri
            .split("serial=")
            .nth(1)
            .unwrap()
            .split(';')
            .next()
            .unwrap();
    let error = init(&parse_uri(&serial), "new", Some(&pin("11111111")))
        .unwrap_err()
        .to_string();
    assert!(error.contains("no uninitialised token matches"), "{error}");
    // PINs are not made up out of one another.
    let error = init(&Uri::default(), "new", None).unwrap_err().to_string();
    assert!(error.contains("a new SO PIN is needed"), "{error}");
    openssl::verify_all_schemes(&signer.key(&uri));
}

/// A URI that names a token and no key does not empty the token, nor does one that leaves two keys.
#[test]
fn delete_key_deletes_one_key() {
    let hsm = Hsm::start(Kind::SoftHsm);
    for id in ["01", "02"] {
        let args = [
            "create-key",
            "--uri",
            "pkcs11:token=device",
            "--label",
            id,
            "--id",
            id,
        ];
        succeed(hsm.tedge_hsm().args(args));
    }
    let signer = Signer::start(&hsm);
    let delete = |uri: &str| signer.client().delete_key(&parse_uri(uri), None);
    let error = delete("pkcs11:token=device").unwrap_err().to_string();
    assert!(error.contains("matches several keys"), "{error}");
    assert_eq!(delete("pkcs11:token=device;id=%01").unwrap().len(), 2);
    let error = delete("pkcs11:token=device").unwrap_err().to_string();
    assert!(
        error.contains("matches several keys"),
        "the last one, unnamed: {error}"
    );
    let key = signer.key("pkcs11:token=device;id=%02");
    // Gone is gone, also for who had it open.
    assert_eq!(delete("pkcs11:token=device;object=02").unwrap().len(), 2);
    let error = key.sign(key.schemes()[0], b"x").unwrap_err().to_string();
    assert!(error.contains("no private key matches"), "{error}");
}

/// A file named by a client would be read with the signer's rights.
#[test]
fn a_client_cannot_name_a_pin_file() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let uri = hsm.create_key("device", "p256");
    let signer = Signer::start_with(&hsm, &[]);
    let pin_source = format!("{uri}?pin-source={}", hsm.file("pin").display());
    let error = refused_key(&signer, &pin_source);
    assert!(
        error.contains("pin-source is not taken from clients"),
        "{error}"
    );
    let pin_value = format!("{uri}?pin-value={PIN}");
    let found = ask(signer.socket(), &key_info(&pin_value));
    assert!(matches!(found, Response::Extension(_)), "{found:?}");
    // Our client reads the PIN itself, and sends that.
    for uri in [pin_source, pin_value] {
        openssl::verify_all_schemes(&signer.key(uri));
    }
}

/// The curve of such a key must not be taken for P-256.
#[test]
fn a_key_on_an_unknown_curve_is_refused() {
    let hsm = Hsm::start(Kind::SoftHsm);
    hsm.pkcs11_tool(&[
        "--keypairgen",
        "--key-type",
        "EC:secp256k1",
        "--id",
        "07",
        "--label",
        "odd",
    ]);
    let signer = Signer::start(&hsm);
    let error = SocketKey::open(signer.client(), &parse_uri("pkcs11:object=odd"), None);
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("unknown curve (CKA_EC_PARAMS 06052b8104000a)"),
        "{error}"
    );
    // Nor is it what a request without a URI gets.
    let uri = hsm.create_key("good", "p256");
    assert_eq!(
        SocketKey::open(signer.client(), &Uri::default(), None)
            .unwrap()
            .uri()
            .to_string(),
        uri
    );
}

/// What the signer says to any text as a URI, of a client that does not look at it.
fn refused_key(signer: &Signer, uri: &str) -> String {
    match ask(signer.socket(), &key_info(uri)) {
        Response::Error(error) => error,
        other => panic!("{uri}: {other:?}"),
    }
}

fn key_info(uri: &str) -> Request {
    Request::Extension(ExtensionRequest::KeyInfo(KeyInfoRequest {
        uri: Some(uri.to_owned()),
        pin: None,
    }))
}

/// Another one would succeed, and the next command fail.
#[test]
fn a_token_gets_the_configured_pin_and_no_other() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let signer = Signer::start_with(&hsm, &["--uri", "pkcs11:token=fresh", "--pin", "7777"]);
    let client = signer.client();
    let so_pin = Pin::new(support::hsm::SO_PIN.into()).unwrap();
    let init = |pin: Option<&str>| {
        let pin = pin.map(|pin| Pin::new(pin.into()).unwrap());
        client.init_token(&Uri::default(), "fresh", Some(&so_pin), pin.as_ref())
    };
    let error = init(Some("8888")).unwrap_err().to_string();
    assert!(error.contains("another user PIN than this one"), "{error}");
    assert!(
        !error.contains("8888") && !error.contains("7777"),
        "{error}"
    );
    let tokens = client.tokens().unwrap();
    assert!(tokens.iter().all(|token| token.label != "fresh"));
    init(None).unwrap();
    let key = client
        .create_key(&Uri::default(), None, KeySpec::EcP256, "tls", None)
        .unwrap();
    openssl::verify_all_schemes(&signer.key(&key));

    // The same one, sent, is none that differs; and a token that the PIN is not meant for may have its own.
    let hsm = Hsm::start(Kind::SoftHsm);
    let signer = Signer::start_with(&hsm, &["--uri", "pkcs11:token=fresh", "--pin", "7777"]);
    let pin = Pin::new("7777".into()).unwrap();
    let client = signer.client();
    client
        .init_token(&Uri::default(), "fresh", Some(&so_pin), Some(&pin))
        .unwrap();
}

#[test]
fn a_module_that_this_user_may_not_read() {
    if !can_be_others() {
        return;
    }
    let hsm = Hsm::start(Kind::SoftHsm);
    let open = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    open(hsm.dir.path(), 0o755);
    let folder = hsm.file("modules");
    let module = folder.join("module.so");
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(hsm.module(), &module).unwrap();
    open(&folder, 0o755);
    let load = || {
        let mut command = hsm.command(program("tedge-hsm"));
        command.arg("--module-path").arg(&module).arg("list-tokens");
        fail(command.uid(NOBODY).gid(NOBODY))
    };
    open(&module, 0o600);
    let error = load();
    for said in [
        &format!("cannot load the PKCS#11 module {}: ", module.display()),
        "user nobody may not read it",
        &format!("chmod a+r {}", module.display()),
    ] {
        assert!(error.contains(said), "{error}");
    }
    open(&module, 0o644);
    open(&folder, 0o700);
    let error = load();
    for said in [
        &format!("may not enter the folder {}; ", folder.display()),
        "chmod a+x",
    ] {
        assert!(error.contains(said), "{error}");
    }
}

/// Debian's user without a right.
const NOBODY: u32 = 65534;

/// A user without settings of his own gets those of the system, which he may not read.
#[test]
fn a_token_folder_of_another_user_is_named() {
    if !can_be_others() {
        return;
    }
    let hsm = Hsm::start(Kind::SoftHsm);
    let set = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    set(hsm.dir.path(), 0o755);
    let home = hsm.file("home");
    let closed = hsm.file("closed");
    let conf = home.join(".config/softhsm2/softhsm2.conf");
    std::fs::create_dir_all(conf.parent().unwrap()).unwrap();
    std::fs::create_dir(&closed).unwrap();
    set(&closed, 0o700);
    let list = |module: &Path| {
        let mut command = hsm.command(program("tedge-hsm"));
        command.env_remove("SOFTHSM2_CONF");
        command.env_remove("TPM2_PKCS11_STORE");
        command.env("HOME", &home);
        command.arg("--module-path").arg(module).arg("list-tokens");
        // tpm2-pkcs11 says something of its own.
        let output = command.uid(NOBODY).gid(NOBODY).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let ours: Vec<_> = said
            .lines()
            .filter(|line| line.starts_with("tedge-hsm: "))
            .collect();
        assert!(!output.status.success() && ours.len() == 1, "{said}");
        ours[0].to_owned()
    };
    let named = |module: &Path, folder: &Path| {
        let error = list(module);
        for said in [
            "CKR_GENERAL_ERROR",
            folder.to_str().unwrap(),
            "by user nobody",
        ] {
            assert!(error.contains(said), "{error}");
        }
    };
    // The one of the user's own settings.
    let text = format!("directories.tokendir = {}\n", closed.display());
    std::fs::write(&conf, text).unwrap();
    named(&hsm.module(), &closed);
    let own = home.join(".tpm2_pkcs11");
    std::fs::create_dir(&own).unwrap();
    set(&own, 0o700);
    named(&tpm2_module(), &own);
    // Without, the system's settings count; they or their folder are not for everybody.
    std::fs::remove_file(&conf).unwrap();
    named(&hsm.module(), Path::new("/softhsm"));
}

/// Of a missing folder, SoftHSM2 says CKR_GENERAL_ERROR only.
#[test]
fn a_missing_token_folder_is_named() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let conf = hsm.file("elsewhere.conf");
    let missing = hsm.file("missing");
    std::fs::write(
        &conf,
        format!("directories.tokendir = {}\n", missing.display()),
    )
    .unwrap();
    let mut command = Signer::command(&hsm, &hsm.module());
    let error = fail(command.env("SOFTHSM2_CONF", &conf));
    for said in ["CKR_GENERAL_ERROR", missing.to_str().unwrap(), "make it"] {
        assert!(error.contains(said), "{error}");
    }
}
