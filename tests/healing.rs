//! A module that misbehaves on command (tests/faulty-module, around SoftHSM2), and tokens that go and
//! come: the signer heals by itself, and other tokens are served meanwhile.

use std::io::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use support::faulty::{CODES, LOST_INITIALISATION, NOT_INITIALIZED, key_uri};
use support::healing::{heals, sign};
use support::{Ca, Faulty, Hsm, Kind, Signer, openssl, parse_uri, succeed};
use tedge_p11_client::{Client, Error, PrivateKey as _, SocketKey, TimeLimits};
use tedge_p11_protocol::{ExtensionRequest, KeyInfoRequest, Request};

/// A fault that passes is not seen by clients at all.
#[test]
fn one_failure_is_not_seen_by_the_client() {
    let faulty = Faulty::start();
    let key = faulty.key("device");
    for code in CODES {
        for function in ["C_SignInit", "C_Sign"] {
            faulty.rules(&format!("{function} slot=device return {code} 1"));
            sign(&key).unwrap_or_else(|error| panic!("{function} {code}: {error}"));
        }
    }
    faulty.rules("sessions slot=device lost");
    sign(&key).unwrap();
    faulty.rules("");
    openssl::verify_all_schemes(&key);
}

/// A login that went with its sessions is no error of the module's: it only hides the keys.
#[test]
fn a_lost_login_does_not_hide_the_keys() {
    let faulty = Faulty::start();
    let key = faulty.key("device");
    // The session that was kept is given up, with an error that says nothing of the login.
    faulty.rules("C_FindObjectsInit slot=device return CKR_ARGUMENTS_BAD 1");
    let find = || SocketKey::open(faulty.signer.client(), &parse_uri(key_uri("device")), None);
    assert!(
        find()
            .unwrap_err()
            .to_string()
            .contains("CKR_ARGUMENTS_BAD")
    );
    faulty.rules("sessions slot=device lost");
    let found = find().unwrap();
    assert_eq!(found.public_key(), key.public_key());
    sign(&key).unwrap();
    // Nor when the sessions go just after the login.
    faulty.rules(
        "sessions slot=device lost\n\
         C_GetSessionInfo slot=device return CKR_SESSION_HANDLE_INVALID 1\n\
         C_FindObjectsInit slot=device return CKR_ARGUMENTS_BAD 1",
    );
    find().unwrap_err();
    faulty.rules("sessions slot=device lost");
    find().unwrap();
}

/// While a token fails, its clients get errors, the other token's don't; once it works again, so does
/// the signer. It does not log in thousands of times meanwhile.
#[test]
fn a_token_that_fails_for_a_while_heals_and_disturbs_no_other() {
    let faulty = Faulty::start();
    let (device, other) = (faulty.key("device"), faulty.key("two"));
    for code in CODES {
        // A real module that says this says it of every token.
        let slot = if code == NOT_INITIALIZED {
            ""
        } else {
            "slot=device "
        };
        let logins = faulty.calls("C_Login");
        faulty.rules(&format!("C_SignInit {slot}return {code}"));
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(300) {
            sign(&device).unwrap_err();
            if !slot.is_empty() {
                sign(&other).unwrap_or_else(|error| panic!("{code}, other token: {error}"));
            }
        }
        faulty.rules("");
        heals(&device);
        heals(&other);
        let logins = faulty.calls("C_Login") - logins;
        assert!(logins < 30, "{code}: {logins} logins");
    }
}

/// Logins that fail, for another reason than the PIN, are spaced out.
#[test]
fn failing_logins_are_spaced_out() {
    let faulty = Faulty::start();
    let key = faulty.key("device");
    let logins = faulty.calls("C_Login");
    faulty.rules("sessions slot=device lost\nC_Login slot=device return CKR_GENERAL_ERROR");
    let started = Instant::now();
    let mut errors = 0;
    while started.elapsed() < Duration::from_secs(1) {
        let error = sign(&key).unwrap_err().to_string();
        assert!(error.contains("CKR_GENERAL_ERROR"), "{error}");
        errors += 1;
    }
    let logins = faulty.calls("C_Login") - logins;
    assert!(
        logins < 20 && errors > logins,
        "{logins} logins, {errors} errors"
    );
    faulty.rules("");
    heals(&key);
}

/// Nothing but C_Initialize helps then, and the signer finds out by itself.
#[test]
fn a_module_that_lost_its_initialisation_is_initialised_anew() {
    let faulty = Faulty::start();
    let (device, other) = (faulty.key("device"), faulty.key("two"));
    faulty.rules(LOST_INITIALISATION);
    sign(&device).unwrap();
    sign(&other).unwrap();
}

/// As when the TPM has died: clients and `status` are told why the module is not initialised.
#[test]
fn a_module_that_cannot_be_initialised_anew_says_why() {
    let faulty = Faulty::start();
    let key = faulty.key("device");
    sign(&key).unwrap();
    faulty.rules("* return CKR_CRYPTOKI_NOT_INITIALIZED\nC_Initialize return CKR_FUNCTION_FAILED");
    for _ in 0..3 {
        let error = sign(&key).unwrap_err().to_string();
        assert!(
            error.contains("C_Initialize") && error.contains("CKR_FUNCTION_FAILED"),
            "{error}"
        );
    }
    let output = faulty.signer.tedge_hsm().arg("status").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("C_Initialize"), "{said}");
    faulty.rules("");
    heals(&key);
    succeed(faulty.signer.tedge_hsm().arg("status"));
}

#[test]
fn a_token_that_is_taken_out_and_put_back() {
    let faulty = Faulty::start();
    let (device, other) = (faulty.key("device"), faulty.key("two"));
    for requests_in_between in [true, false] {
        faulty.rules("token device absent");
        if requests_in_between {
            sign(&device).unwrap_err();
        }
        sign(&other).unwrap();
        faulty.rules("");
        heals(&device);
    }
}

/// A call that never returns costs its client an error in time, and nobody else anything.
#[test]
fn a_call_that_hangs_disturbs_no_other_token() {
    let faulty = Faulty::start();
    let other = faulty.key("two");
    let device = faulty.key("device");
    let patience = Duration::from_millis(300);
    let impatient = Client::new(faulty.signer.socket()).with_limits(TimeLimits {
        connect: patience,
        read: patience,
        write: patience,
    });
    let hasty = SocketKey::open(impatient, &parse_uri(key_uri("device")), None).unwrap();
    faulty.rules("C_Sign slot=device hang");
    std::thread::scope(|scope| {
        for _ in 0..40 {
            scope.spawn(|| {
                let error = sign(&hasty).unwrap_err();
                assert!(matches!(error, Error::Timeout { .. }), "{error}");
            });
        }
    });
    for _ in 0..20 {
        sign(&other).unwrap();
        faulty.signer.client().ping().unwrap();
    }
    // Opening a key anew asks for what is there; the token that hangs is not in the way.
    faulty.key("two");
    faulty.rules("");
    heals(&device);
}

/// Who waits for a token that hangs is told in time, in a lane, too, and the log says whose call it was.
#[test]
fn a_client_of_a_token_that_hangs_gets_an_error() {
    const CLIENTS: usize = 12;
    let faulty = Faulty::start();
    let device = faulty.key("device");
    faulty.rules("C_Sign slot=device hang");
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let error = sign(&device).unwrap_err().to_string();
                assert!(error.contains("did not answer within 25 s"), "{error}");
            });
        }
    });
    let is_late = |line: &str| {
        line.contains("warn: sign for uid 0 (pid") && line.contains("did not answer within 25 s")
    };
    // The same failure again within a second is counted, not written out.
    let told = faulty.signer.logged(is_late, "sign failed", CLIENTS);
    assert_eq!(told, CLIENTS, "{}", faulty.signer.log());
    faulty.rules("");
    heals(&device);
}

/// Making an RSA key can take a TPM minutes. Who looks for a key then has to wait, who signs has not.
#[test]
fn signatures_go_on_while_a_key_is_made_and_others_wait_for_it() {
    let faulty = Faulty::start();
    let key = faulty.key("device");
    sign(&key).unwrap();
    let sessions = faulty.calls("C_OpenSession");
    faulty.rules("C_GenerateKeyPair slot=device hang");
    std::thread::scope(|scope| {
        let client = faulty.signer.client();
        let rsa = tedge_p11_client::KeySpec::Rsa2048;
        let make = scope.spawn(move || {
            client.create_key(&parse_uri("pkcs11:token=device"), None, rsa, "slow", None)
        });
        // The session that the key is made in.
        while faulty.calls("C_OpenSession") == sessions {
            std::thread::yield_now();
        }
        let waiting = scope.spawn(|| faulty.key("device"));
        // The two, and the one that asks.
        while faulty.signer.client().status().unwrap().connections < 3 {
            std::thread::yield_now();
        }
        for _ in 0..3 {
            // More at once than there are sessions.
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| sign(&key).unwrap());
                }
            });
        }
        assert!(!make.is_finished() && !waiting.is_finished());
        faulty.rules("");
        make.join().unwrap().unwrap();
        waiting.join().unwrap();
    });
    heals(&key);
}

/// Nor do those who wait take up what signing needs, however many there are and whatever they call the token.
#[test]
fn those_who_wait_for_a_key_to_be_made_do_not_stop_signatures() {
    const EACH: usize = 12;
    let faulty = Faulty::start();
    let key = faulty.key("device");
    sign(&key).unwrap();
    let token = faulty.signer.client().tokens().unwrap();
    let serial = token.iter().find(|token| token.label == "device").unwrap();
    let serial = format!("pkcs11:serial={};object=key", serial.serial);
    let sessions = faulty.calls("C_OpenSession");
    faulty.rules("C_GenerateKeyPair slot=device hang");
    std::thread::scope(|scope| {
        let client = faulty.signer.client();
        let rsa = tedge_p11_client::KeySpec::Rsa2048;
        let make = scope.spawn(move || {
            client.create_key(&parse_uri("pkcs11:token=device"), None, rsa, "slow", None)
        });
        while faulty.calls("C_OpenSession") == sessions {
            std::thread::yield_now();
        }
        // What the key is called is new to the signer, so that it has to be looked for.
        let sign_request = |number: usize| {
            Request::Sign(tedge_p11_protocol::Sign {
                to_sign: b"message".to_vec().into(),
                uri: Some(format!("pkcs11:token=device;object=key{number}")),
                pin: None,
            })
        };
        let info = |uri: &str| {
            Request::Extension(ExtensionRequest::KeyInfo(KeyInfoRequest {
                uri: Some(uri.to_owned()),
                pin: None,
            }))
        };
        for number in 0..EACH {
            for request in [
                info(&key_uri("device")),
                info(&serial),
                sign_request(number),
            ] {
                let socket = faulty.signer.socket();
                scope.spawn(move || support::wire::ask(socket, &request));
            }
        }
        // They are all there; who may be answered at once has been.
        let are_there = || faulty.signer.client().status().unwrap().connections > EACH as u64;
        while !are_there() {
            std::thread::yield_now();
        }
        for _ in 0..50 {
            sign(&key).unwrap();
        }
        assert!(!make.is_finished());
        faulty.rules("");
        make.join().unwrap().unwrap();
    });
    heals(&key);
}

/// How the signer is can be asked while nothing else works.
#[test]
fn status_tells_what_is_wrong_while_every_token_hangs() {
    let faulty = Faulty::start();
    let key = faulty.key("device");
    for _ in 0..10 {
        sign(&key).unwrap();
    }
    let status = faulty.signer.client().status().unwrap();
    assert_eq!((status.signatures, status.failed), (10, 0), "{status:?}");
    assert!(status.latency.p50 > 0 && status.latency.max >= status.latency.p99);
    assert_eq!(status.calls, 0);
    let said = succeed(faulty.signer.tedge_hsm().arg("status"));
    assert!(said.contains("10 signatures"), "{said}");

    faulty.rules("C_SignInit slot=device return CKR_DEVICE_ERROR");
    sign(&key).unwrap_err();
    let output = faulty.signer.tedge_hsm().arg("status").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("CKR_DEVICE_ERROR"), "{said}");

    faulty.rules("* hang");
    let impatient = faulty.signer.client().with_limits(TimeLimits {
        connect: Duration::from_secs(30),
        read: Duration::from_millis(300),
        write: Duration::from_secs(30),
    });
    std::thread::scope(|scope| {
        for _ in 0..30 {
            scope.spawn(|| impatient.tokens().unwrap_err());
        }
    });
    let status = faulty.signer.client().status().unwrap();
    assert!(status.calls > 0 && status.longest_call > 0, "{status:?}");
    assert!(status.last_error.contains("CKR_DEVICE_ERROR"), "{status:?}");
    faulty.rules("");
    heals(&key);
}

/// The module crashes and the signer with it. Who restarts it is systemd; the client that was waiting
/// asks again by itself.
#[test]
fn a_client_survives_a_crash_of_the_module() {
    let mut faulty = Faulty::start();
    let key = faulty.key("device");
    faulty.rules("C_Sign slot=device crash");
    let result = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| sign(&key));
        assert!(!faulty.signer.wait().success());
        faulty.rules("");
        faulty.signer = Faulty::spawn(&faulty.hsm);
        waiting.join().unwrap()
    });
    result.unwrap();
}

/// Out of file descriptors: nobody is accepted for a while, then everybody again.
#[test]
fn descriptors_run_out_and_come_back() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let uri = hsm.create_key("device", "p256");
    let server = Signer::command(&hsm, &hsm.module());
    let mut command = Command::new("prlimit");
    command.arg("--nofile=40").arg(server.get_program());
    command
        .args(server.get_args())
        .args(["--pin", support::hsm::PIN]);
    for (name, value) in server.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let mut signer = Signer::spawn(&hsm, &mut command);
    let key = signer.key(&uri);
    for _ in 0..3 {
        let silent: Vec<_> = (0..100)
            .map(|_| support::wire::connect(signer.socket()))
            .collect();
        while !signer.log().contains("cannot accept a client") {
            std::thread::yield_now();
        }
        drop(silent);
        sign(&key).unwrap();
    }
    assert!(signer.is_running());
}

/// Out of threads: requests that need one more fail, or wait; the signer goes on.
#[test]
fn threads_run_out_and_come_back() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: becoming another user takes root");
        return;
    }
    let hsm = Hsm::start(Kind::SoftHsm);
    let uri = hsm.create_key("device", "p256");
    // A user of its own, since the limit counts all threads of a user.
    let program = hsm.file("tedge-p11-server");
    let server = Signer::command(&hsm, &hsm.module());
    std::fs::copy(server.get_program(), &program).unwrap();
    succeed(
        Command::new("chown")
            .args(["-R", "54321:54321"])
            .arg(hsm.dir.path()),
    );
    let as_user = || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=54321", "--regid=54321", "--clear-groups"]);
        command
    };
    let mut command = as_user();
    command
        .arg(&program)
        .args(server.get_args())
        .args(["--pin", support::hsm::PIN]);
    for (name, value) in server.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let mut signer = Signer::spawn(&hsm, &mut command);
    let key = signer.key(&uri);
    let limit = |threads: &str| {
        let pid = signer.pid().to_string();
        succeed(as_user().args(["prlimit", "--pid", &pid, threads]));
    };
    limit("--nproc=1:100");
    let ping = Request::Ping.encode();
    let list = Request::ListTokens.encode();
    std::thread::scope(|scope| {
        for _ in 0..40 {
            // Those that send slowly are answered on other threads than those that accept.
            scope.spawn(|| {
                let mut slow = support::wire::connect(signer.socket());
                slow.write_all(&list[..1]).unwrap();
                support::wire::exchange(signer.socket(), &ping);
                slow.write_all(&list[1..]).unwrap();
                support::wire::answer(&support::wire::read_to_end(&mut slow));
            });
        }
    });
    sign(&key).unwrap();
    limit("--nproc=100");
    heals(&key);
    assert!(signer.is_running());
}

/// The key is deleted and made again, with the same label and id, by another program.
#[test]
fn a_key_that_is_made_again_elsewhere_is_found() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let make = [
        "--keypairgen",
        "--key-type",
        "EC:prime256v1",
        "--id",
        "01",
        "--label",
        "device",
    ];
    hsm.pkcs11_tool(&make);
    let signer = Signer::start(&hsm);
    let uri = "pkcs11:token=device;object=device;id=%01";
    let before = signer.key(uri);
    openssl::verify_all_schemes(&before);
    for kind in ["privkey", "pubkey"] {
        hsm.pkcs11_tool(&["--delete-object", "--type", kind, "--id", "01"]);
    }
    let error = sign(&before).unwrap_err().to_string();
    assert!(error.contains("no private key matches"), "{error}");
    hsm.pkcs11_tool(&make);
    let after = signer.key(uri);
    assert_ne!(before.public_key(), after.public_key());
    openssl::verify_all_schemes(&after);
}

/// A token made by another program while the signer is running is seen.
#[test]
fn a_new_token_is_seen() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let signer = Signer::start(&hsm);
    let absent = signer.client().keys(&parse_uri("pkcs11:token=late"), None);
    assert!(absent.unwrap_err().to_string().contains("no token matches"));
    hsm.add_token("late");
    let uri = hsm.create_key_on("late", "device", "p256");
    // Not at once: initialising the module again, which it takes with SoftHSM2, has a back-off.
    let deadline = Instant::now() + Duration::from_secs(60);
    let key = loop {
        match SocketKey::open(signer.client(), &parse_uri(&uri), None) {
            Ok(key) => break key,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    };
    openssl::verify_all_schemes(&key);
}

/// The token's folder is moved away and back.
#[test]
fn a_softhsm_folder_that_is_moved_away_and_back() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let uri = hsm.create_key("device", "p256");
    let signer = Signer::start(&hsm);
    let key = signer.key(&uri);
    let (here, away) = (hsm.file("softhsm/tokens"), hsm.file("away"));
    for requests_in_between in [false, true] {
        std::fs::rename(&here, &away).unwrap();
        if requests_in_between {
            // SoftHSM2 signs on with what it has in memory, or fails: both will do.
            let _ = sign(&key);
        }
        std::fs::rename(&away, &here).unwrap();
        heals(&key);
    }
}

/// libtpm2_pkcs11 reads its store once.
#[test]
fn a_key_that_another_program_makes_in_a_tpm_is_found() {
    let hsm = Hsm::start(Kind::Tpm2);
    let signer = Signer::start(&hsm);
    let find = |uri: &str| SocketKey::open(signer.client(), &parse_uri(uri), None);
    find("pkcs11:object=device").unwrap_err();
    let uri = hsm.create_key("device", "p256");
    heals(&find(&uri).unwrap());
}

/// A TPM that goes away with whatever it was doing, and comes back with its keys. Without a resource
/// manager in between, as far as that is possible: the module itself loses its TPM.
#[test]
fn a_tpm_that_is_killed_and_comes_back() {
    let mut tpm = Swtpm::start();
    let signer = tpm.signer();
    let uri = signer
        .client()
        .create_key(
            &parse_uri("pkcs11:token=device"),
            None,
            tedge_p11_client::KeySpec::EcP256,
            "key",
            None,
        )
        .unwrap();
    let key = signer.key(&uri);
    openssl::verify_all_schemes(&key);
    for requests_in_between in [true, false] {
        tpm.kill();
        if requests_in_between {
            let started = Instant::now();
            while started.elapsed() < Duration::from_secs(2) {
                sign(&key).unwrap_err();
            }
        }
        tpm.run();
        heals(&key);
    }
    // Had it logged in again and again with what the TPM counts, it would be locked.
    drop(signer);
    let signer = tpm.signer();
    openssl::verify_all_schemes(&signer.key(&uri));
}

/// A software TPM that the module talks to directly.
struct Swtpm {
    hsm: Hsm,
    dir: tempfile::TempDir,
    child: Option<std::process::Child>,
}

impl Swtpm {
    fn start() -> Self {
        // Short: the path of a socket has 108 bytes at most.
        let dir = tempfile::tempdir_in("/tmp").unwrap();
        let tcti = format!("swtpm:path={}", dir.path().join("tpm").display());
        let mut tpm = Self {
            hsm: Hsm::with_environment(&[
                ("TPM2_PKCS11_TCTI", &tcti),
                ("TPM2_PKCS11_STORE", dir.path().to_str().unwrap()),
                ("TPM2_PKCS11_BACKEND", "esysdb"),
                ("TPM2_PKCS11_LOG_LEVEL", "0"),
                ("TSS2_LOG", "all+none"),
                (
                    "PKCS11_MODULE",
                    support::hsm::tpm2_module().to_str().unwrap(),
                ),
            ]),
            dir,
            child: None,
        };
        tpm.run();
        tpm.hsm.add_token("device");
        tpm
    }

    fn run(&mut self) {
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        for name in ["tpm", "tpm.ctrl"] {
            let _ = std::fs::remove_file(path(name));
        }
        let child = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "startup-clear", "--tpmstate"])
            .arg(format!("dir={}", self.dir.path().display()))
            .args(["--server", &format!("type=unixio,path={}", path("tpm"))])
            .args(["--ctrl", &format!("type=unixio,path={}", path("tpm.ctrl"))])
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        self.child = Some(child);
        while !self.dir.path().join("tpm").exists() {
            std::thread::yield_now();
        }
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    fn signer(&self) -> Signer {
        Signer::start(&self.hsm)
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A certificate is replaced by another: whatever fails, one of them is there, and doing it again ends it.
#[test]
fn a_certificate_is_never_lost() {
    let faulty = Faulty::start();
    let client = faulty.signer.client();
    let (ca, key) = (Ca::new(), key_uri("device"));
    let mut csr = faulty.signer.tedge_hsm();
    let csr = succeed(csr.args(["csr", "--common-name=x", "--uri", &key]));
    let [old, new] = ["old", "new"].map(|name| {
        let pem = ca.issue(name, &csr);
        std::fs::read(openssl::der(&pem)).unwrap()
    });
    let key = parse_uri(key);
    let import = |der: &[u8]| client.import_certificate(&key, None, der);
    let all = || client.certificates(&key).unwrap().len();
    let the_one = || client.certificate(&key).unwrap().der.0;
    import(&old).unwrap();

    faulty.rules("C_CreateObject return CKR_FUNCTION_NOT_SUPPORTED");
    let error = import(&new).unwrap_err().to_string();
    assert!(error.contains("C_CreateObject"), "{error}");
    assert!(error.ends_with("the token cannot do this"), "{error}");
    assert_eq!(the_one(), old);

    faulty.rules("C_DestroyObject return CKR_ACTION_PROHIBITED");
    let error = import(&new).unwrap_err().to_string();
    assert!(error.contains("C_DestroyObject"), "{error}");
    assert_eq!(all(), 2);
    faulty.rules("");
    import(&new).unwrap();
    assert_eq!((all(), the_one()), (1, new.clone()));

    let each = CODES
        .iter()
        .flat_map(|code| ["C_CreateObject", "C_DestroyObject"].map(|function| (function, code)));
    for ((function, code), next) in each.zip([&old, &new].into_iter().cycle()) {
        faulty.rules(&format!("{function} slot=device return {code} 1"));
        import(next).unwrap_or_else(|error| panic!("{function} {code}: {error}"));
        assert_eq!((all(), &the_one()), (1, next), "{function} {code}");
    }
}
