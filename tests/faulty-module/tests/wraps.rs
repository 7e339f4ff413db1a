//! Every kind of rule, on SoftHSM2 with two tokens, through the module as a host loads it.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use tempfile::TempDir;

const PIN: &str = "123456";
const LABELS: [&str; 2] = ["one", "the other"];

/// The module, which reads its environment once, so all tests of the process share it.
struct Rig {
    dir: TempDir,
    pkcs11: Pkcs11,
}

/// `None` if there is no SoftHSM2. The module starts without rules, with an empty log.
fn rig() -> Option<MutexGuard<'static, Rig>> {
    static RIG: OnceLock<Option<Mutex<Rig>>> = OnceLock::new();
    let rig = RIG.get_or_init(|| Rig::new().map(Mutex::new)).as_ref();
    if rig.is_none() {
        println!("skipped: softhsm2-util is not installed");
    }
    let rig = rig?.lock().unwrap_or_else(PoisonError::into_inner);
    rig.control("");
    rig.initialize();
    std::fs::write(rig.file("log"), "").unwrap();
    Some(rig)
}

fn module() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let mut dirs = test.ancestors().skip(1).take(2);
    let module = dirs.find_map(|dir| Some(dir.join("libfaulty_module.so")).filter(|p| p.is_file()));
    module.expect("cargo builds the library before its tests")
}

impl Rig {
    fn new() -> Option<Self> {
        Command::new("softhsm2-util")
            .arg("--version")
            .output()
            .ok()?;
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str| dir.path().join(name);
        std::fs::create_dir(file("tokens")).unwrap();
        let tokens = file("tokens");
        let conf = format!(
            "directories.tokendir = {}\nlog.level = ERROR\n",
            tokens.display()
        );
        std::fs::write(file("conf"), conf).unwrap();
        std::fs::write(file("control"), "").unwrap();
        for label in LABELS {
            let made = Command::new("softhsm2-util")
                .env("SOFTHSM2_CONF", file("conf"))
                .args(["--init-token", "--free", "--label", label])
                .args(["--so-pin", "98765432", "--pin", PIN])
                .output()
                .unwrap();
            assert!(made.status.success(), "{made:?}");
        }
        // SAFETY: no other thread of this process reads the environment now: the tests wait here.
        unsafe {
            std::env::set_var("SOFTHSM2_CONF", file("conf"));
            std::env::set_var("FAULTY_CONTROL", file("control"));
            std::env::set_var("FAULTY_LOG", file("log"));
            std::env::set_var("FAULTY_OVERLAP", "1");
        }
        let pkcs11 = Pkcs11::new(module()).unwrap();
        let rig = Self { dir, pkcs11 };
        rig.initialize();
        for label in LABELS {
            let session = rig.session(label);
            let point = vec![0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
            let public = [Attribute::EcParams(point), Attribute::Token(true)];
            let private = [Attribute::Token(true), Attribute::Sign(true)];
            session
                .generate_key_pair(&Mechanism::EccKeyPairGen, &public, &private)
                .unwrap();
        }
        Some(rig)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn control(&self, rules: &str) {
        std::fs::write(self.file("control.new"), rules).unwrap();
        std::fs::rename(self.file("control.new"), self.file("control")).unwrap();
    }

    fn initialize(&self) {
        let _ = self.pkcs11.clone().finalize();
        let args = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
        self.pkcs11.initialize(args).unwrap();
    }

    fn labels(&self) -> Vec<String> {
        let slots = self.pkcs11.get_slots_with_initialized_token().unwrap();
        let label = |slot| {
            self.pkcs11
                .get_token_info(slot)
                .unwrap()
                .label()
                .trim_end()
                .to_owned()
        };
        let mut labels: Vec<_> = slots.into_iter().map(label).collect();
        labels.sort();
        labels
    }

    fn slot(&self, label: &str) -> Slot {
        let slots = self.pkcs11.get_slots_with_initialized_token().unwrap();
        let is_it = |slot: &Slot| {
            self.pkcs11
                .get_token_info(*slot)
                .unwrap()
                .label()
                .trim_end()
                == label
        };
        slots.into_iter().find(is_it).unwrap()
    }

    /// A new session, logged in.
    fn session(&self, label: &str) -> Session {
        let session = self.pkcs11.open_rw_session(self.slot(label)).unwrap();
        match session.login(UserType::User, Some(&PIN.into())) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => session,
            Err(error) => panic!("{error}"),
        }
    }

    /// How many lines of the log begin with `start`, and how many of them contain `what`.
    fn logged(&self, start: &str, what: &str) -> (usize, usize) {
        let log = std::fs::read_to_string(self.file("log")).unwrap();
        let lines: Vec<_> = log.lines().filter(|line| line.starts_with(start)).collect();
        let with = lines.iter().filter(|line| line.contains(what)).count();
        (lines.len(), with)
    }
}

fn key(session: &Session) -> ObjectHandle {
    session.find_objects(&[Attribute::Sign(true)]).unwrap()[0]
}

fn sign(session: &Session, key: ObjectHandle) -> Result<(), RvError> {
    match session.sign(&Mechanism::Ecdsa, key, &[7; 32]) {
        Ok(signature) => {
            assert_eq!(signature.len(), 64);
            Ok(())
        }
        Err(Error::Pkcs11(rv, _)) => Err(rv),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn calls_are_passed_on_and_logged() {
    let Some(rig) = rig() else { return };
    let session = rig.session("the other");
    let key = key(&session);
    assert_eq!(sign(&session, key), Ok(()));
    assert!(
        session
            .login(UserType::User, Some(&"wrong".into()))
            .is_err()
    );
    // cryptoki asks for the length first.
    assert_eq!(rig.logged("C_Sign ", " token=the%20other CKR_OK "), (2, 2));
    assert_eq!(
        rig.logged("C_Login ", " CKR_USER_ALREADY_LOGGED_IN "),
        (2, 1)
    );
    assert_eq!(rig.logged("C_OpenSession ", " CKR_OK "), (1, 1));
    assert_eq!(rig.logged("OVERLAP ", ""), (0, 0));
}

#[test]
fn returns_a_number_of_times_and_leaves_the_session_usable() {
    let Some(rig) = rig() else { return };
    let session = rig.session("one");
    let key = key(&session);
    rig.control("C_Sign return CKR_DEVICE_ERROR 2\n");
    let results: Vec<_> = (0..3).map(|_| sign(&session, key)).collect();
    let error = Err(RvError::DeviceError);
    assert_eq!(results, [error, error, Ok(())]);
    rig.control("C_Sign return CKR_DEVICE_MEMORY\n");
    assert_eq!(sign(&session, key), Err(RvError::DeviceMemory));
    rig.control("");
    assert_eq!(sign(&session, key), Ok(()));
    assert_eq!(rig.logged("C_Sign ", " injected"), (7, 3));
}

#[test]
fn every_third_call_and_only_one_token() {
    let Some(rig) = rig() else { return };
    let (one, other) = (rig.session("one"), rig.session("the other"));
    rig.control("C_SignInit slot=the%20other every 3 return CKR_HOST_MEMORY\n");
    let failures = |session: &Session| {
        let key = key(session);
        (0..9)
            .filter(|_| sign(session, key) == Err(RvError::HostMemory))
            .count()
    };
    assert_eq!((failures(&one), failures(&other)), (0, 3));
}

#[test]
fn delays_and_hangs_until_told_otherwise() {
    let Some(rig) = rig() else { return };
    let (one, other) = (rig.session("one"), rig.session("the other"));
    let (ones_key, others_key) = (key(&one), key(&other));
    rig.control("C_SignInit delay 80\n");
    let begun = Instant::now();
    assert_eq!(sign(&one, ones_key), Ok(()));
    assert!(begun.elapsed() >= Duration::from_millis(80));

    rig.control("C_SignInit slot=one hang\n");
    let begun = Instant::now();
    let waited = thread::scope(|scope| {
        let waiting = scope.spawn(move || {
            assert_eq!(sign(&one, ones_key), Ok(()));
            begun.elapsed()
        });
        assert_eq!(sign(&other, others_key), Ok(()));
        thread::sleep(Duration::from_millis(100));
        rig.control("C_SignInit slot=one hang # still\n");
        thread::sleep(Duration::from_millis(100));
        rig.control("");
        waiting.join().unwrap()
    });
    assert!(waited >= Duration::from_millis(200), "{waited:?}");
}

#[test]
fn the_module_is_uninitialised_until_it_is_initialised() {
    let Some(rig) = rig() else { return };
    let session = rig.session("one");
    let ones_key = key(&session);
    rig.control(
        "C_Finalize return CKR_CRYPTOKI_NOT_INITIALIZED until C_Initialize\n\
                 * return CKR_CRYPTOKI_NOT_INITIALIZED until C_Initialize\n",
    );
    for _ in 0..2 {
        assert_eq!(
            sign(&session, ones_key),
            Err(RvError::CryptokiNotInitialized)
        );
        assert!(rig.pkcs11.get_all_slots().is_err());
    }
    assert!(rig.pkcs11.clone().finalize().is_err());
    let args = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
    rig.pkcs11.initialize(args).unwrap();
    assert_eq!(sign(&session, ones_key), Err(RvError::SessionHandleInvalid));
    let session = rig.session("one");
    assert_eq!(sign(&session, key(&session)), Ok(()));
}

#[test]
fn sessions_get_lost() {
    let Some(rig) = rig() else { return };
    let (one, other) = (rig.session("one"), rig.session("the other"));
    let (ones_key, others_key) = (key(&one), key(&other));
    rig.control("* slot=one return CKR_SESSION_HANDLE_INVALID until C_OpenSession\n");
    assert_eq!(sign(&one, ones_key), Err(RvError::SessionHandleInvalid));
    assert_eq!(sign(&other, others_key), Ok(()));
    drop(rig.session("the other"));
    assert_eq!(sign(&one, ones_key), Err(RvError::SessionHandleInvalid));
    drop(rig.session("one"));
    assert_eq!(sign(&one, ones_key), Ok(()));

    rig.control("sessions slot=one lost\n");
    assert_eq!(sign(&one, ones_key), Err(RvError::SessionHandleInvalid));
    assert_eq!(sign(&other, others_key), Ok(()));
    let again = rig.pkcs11.open_rw_session(rig.slot("one")).unwrap();
    // The login went with the sessions.
    again.login(UserType::User, Some(&PIN.into())).unwrap();
    assert_eq!(sign(&again, key(&again)), Ok(()));
    assert_eq!(sign(&one, ones_key), Err(RvError::SessionHandleInvalid));
}

#[test]
fn a_token_is_absent_and_comes_back() {
    let Some(rig) = rig() else { return };
    let (one, other) = (rig.session("one"), rig.session("the other"));
    let (ones_key, others_key) = (key(&one), key(&other));
    let unused = rig.session("one");
    let slot = rig.slot("one");
    rig.control("token one absent\n");
    assert_eq!(rig.labels(), ["the other"]);
    assert!(!rig.pkcs11.get_slot_info(slot).unwrap().token_present());
    for result in [
        rig.pkcs11.get_token_info(slot).err(),
        rig.pkcs11.open_ro_session(slot).err(),
    ] {
        assert!(
            matches!(result, Some(Error::Pkcs11(RvError::TokenNotPresent, _))),
            "{result:?}"
        );
    }
    assert_eq!(sign(&one, ones_key), Err(RvError::DeviceRemoved));
    assert_eq!(sign(&other, others_key), Ok(()));
    rig.control("");
    assert_eq!(rig.labels(), LABELS);
    assert_eq!(sign(&one, ones_key), Err(RvError::SessionHandleInvalid));
    assert_eq!(sign(&unused, ones_key), Err(RvError::SessionHandleInvalid));
    let again = rig.pkcs11.open_rw_session(slot).unwrap();
    again.login(UserType::User, Some(&PIN.into())).unwrap();
    assert_eq!(sign(&again, key(&again)), Ok(()));
}

#[test]
fn overlaps_are_logged() {
    let Some(rig) = rig() else { return };
    let (one, other) = (rig.session("one"), rig.session("the other"));
    let (ones_key, others_key) = (key(&one), key(&other));
    let slot = rig.slot("one");
    rig.control("C_SignInit delay 300\n");
    thread::scope(|scope| {
        scope.spawn(move || sign(&one, ones_key).unwrap());
        scope.spawn(move || sign(&other, others_key).unwrap());
        thread::sleep(Duration::from_millis(100));
        drop(rig.pkcs11.open_ro_session(slot).unwrap());
    });
    let line = format!(" C_SignInit slot={} token=one", slot.id());
    assert_eq!(rig.logged("OVERLAP C_OpenSession", &line), (1, 1));
    assert_eq!(rig.logged("OVERLAP C_CloseSession", &line), (1, 1));
}

/// In a process of their own: what makes the module abort.
#[test]
fn crashes_and_malformed_rules_end_the_process() {
    let Some(rig) = rig() else { return };
    for (rules, said) in [
        (
            "C_GetSlotList crash\n",
            "faulty-module: C_GetSlotList crash\n",
        ),
        (
            "\nC_Sign explode\n",
            "line 2: Some(\"explode\") is no action: \"C_Sign explode\"\n",
        ),
    ] {
        std::fs::write(rig.file("bad"), rules).unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--ignored", "--nocapture"])
            .env("FAULTY_CONTROL", rig.file("bad"))
            .output()
            .unwrap();
        let status = std::os::unix::process::ExitStatusExt::signal(&output.status);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(status, Some(6), "{stderr}");
        assert!(
            stderr.ends_with(said) && stderr.lines().count() == 1,
            "{stderr}"
        );
    }
}

#[test]
#[ignore = "run by crashes_and_malformed_rules_end_the_process"]
fn child() {
    let pkcs11 = Pkcs11::new(module()).unwrap();
    let args = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
    pkcs11.initialize(args).unwrap();
    pkcs11.get_all_slots().unwrap();
    panic!("still there");
}

/// With the log off; `cargo test -p faulty-module --release -- --ignored --nocapture adds`.
#[test]
#[ignore = "a measurement"]
fn adds_little_time() {
    let module = std::env::var_os("MEASURED").map_or_else(module, PathBuf::from);
    let pkcs11 = Pkcs11::new(module).unwrap();
    let args = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
    pkcs11.initialize(args).unwrap();
    let slot = pkcs11.get_all_slots().unwrap()[0];
    let session = pkcs11.open_ro_session(slot).unwrap();
    let begun = Instant::now();
    for _ in 0..200_000 {
        session.get_session_info().unwrap();
    }
    println!("{} ns a call", begun.elapsed().as_nanos() / 200_000);
}

#[test]
fn pkcs11_tool_lists_objects() {
    let Some(rig) = rig() else { return };
    let mut tool = Command::new("pkcs11-tool");
    tool.arg("--module").arg(module()).args([
        "--login",
        "--pin",
        PIN,
        "--token-label",
        "one",
        "-O",
    ]);
    let Ok(output) = tool.env("FAULTY_CONTROL", rig.file("control")).output() else {
        println!("skipped: pkcs11-tool is not installed");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("Private Key Object; EC"),
        "{output:?}"
    );
}
