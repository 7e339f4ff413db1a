//! Who attacks whom, and what is attacked.

use std::os::unix::fs::{PermissionsExt as _, chown};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use support::faulty::key_uri;
use support::signer::POLICY;
use support::user::{become_member, can_be_others};
use support::wire::try_ask;
use support::{Faulty, Hsm};
use tedge_p11_protocol::{Pin, Request, Response, Sign};

use crate::Attack;

/// An ordinary member of the socket's group.
pub const ATTACKER: u32 = 2001;
/// Another one.
pub const VICTIM: u32 = 2002;
/// The first uid of the attacker's subordinate range, as Debian's useradd gives it.
pub const SUBORDINATE: u32 = 100_000;
/// Longer than anybody waits.
pub const FOREVER: Duration = Duration::from_secs(3600);

/// Stands for a user database that has them.
#[derive(Clone, Copy, Debug)]
pub struct Members {
    group: u32,
}

impl Members {
    /// Runs this program again, in a mount namespace whose user database has the members; or, if it runs there,
    /// returns. The error is the exit status.
    pub fn find() -> Result<Self, ExitCode> {
        let members = Self { group: GROUP };
        if std::env::var_os(INSIDE).is_some() {
            return Ok(members);
        }
        if !can_be_others() {
            return Err(ExitCode::from(77));
        }
        let dir = tempfile::tempdir().unwrap();
        for (name, lines) in [
            (
                "passwd",
                format!(
                    "attacker:x:{ATTACKER}:{ATTACKER}::/:/bin/sh\nvictim:x:{VICTIM}:{VICTIM}::/:/bin/sh\n"
                ),
            ),
            (
                "group",
                format!(
                    "attacker:x:{ATTACKER}:\nvictim:x:{VICTIM}:\ntedge:x:{GROUP}:attacker,victim\n"
                ),
            ),
        ] {
            let here = std::fs::read_to_string(format!("/etc/{name}")).unwrap();
            // Whoever has these names or numbers here is not there.
            let others = here.lines().filter(|line| {
                let mut fields = line.split(':');
                let name = fields.next().unwrap_or_default();
                let id = fields.nth(1).and_then(|id| id.parse().ok());
                !["attacker", "victim", "tedge"].contains(&name)
                    && ![Some(ATTACKER), Some(VICTIM), Some(GROUP)].contains(&id)
            });
            let text = others.flat_map(|line| [line, "\n"]).collect::<String>() + &lines;
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        let script = "mount --bind \"$1/passwd\" /etc/passwd && mount --bind \"$1/group\" /etc/group \
                      || exit 77; exec \"$2\"";
        let status = Command::new("unshare")
            .args(["--mount", "sh", "-c", script, "sh"])
            .arg(dir.path())
            .arg(std::env::current_exe().unwrap())
            .env(INSIDE, "1")
            .status();
        let code = status.ok().and_then(|status| status.code());
        if code.is_none_or(|code| code == 77) {
            println!("skipped: a user database of its own takes a mount namespace");
        }
        let code = code.and_then(|code| u8::try_from(code).ok());
        Err(ExitCode::from(code.unwrap_or(77)))
    }

    /// Runs `what` as that user, in the socket's group.
    pub fn run<T: Send>(self, uid: u32, what: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.become_one(uid);
                what()
            });
            thread.join().unwrap()
        })
    }

    /// This thread is that user from now on, in the socket's group.
    pub fn become_one(self, uid: u32) {
        // Root needs no group.
        if uid != 0 {
            become_member(uid, &[self.group]);
        }
    }

    /// A signer with the default policy on a token that all sign with, with the PIN configured if `pin` says so.
    pub fn signer(self, pin: bool) -> Faulty {
        let hsm: Hsm = Faulty::tokens();
        hsm.create_key_on("device", "key", "p256");
        std::fs::remove_file(hsm.file(POLICY)).unwrap();
        let mut command = Faulty::command(&hsm);
        if pin {
            command.args(["--pin", support::hsm::PIN]);
        }
        command.env("STATE_DIRECTORY", hsm.dir.path());
        let signer = support::Signer::spawn(&hsm, &mut command);
        let open = |path: &std::path::Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        open(hsm.dir.path(), 0o755);
        // As the socket unit has it.
        chown(signer.socket(), Some(0), Some(self.group)).unwrap();
        open(signer.socket(), 0o660);
        Faulty { signer, hsm }
    }

    /// How long a signature takes that user, if he gets one.
    pub fn time_to_sign(self, faulty: &Faulty, uid: u32, pin: Option<&str>) -> Option<Duration> {
        self.run(uid, || {
            let begun = Instant::now();
            let answer = try_ask(faulty.signer.socket(), &sign(pin));
            matches!(answer, Ok(Response::Signature(_))).then(|| begun.elapsed())
        })
    }
}

/// What a TLS 1.3 client has signed (RFC 8446, section 4.4.3), which the default policy allows.
pub fn sign(pin: Option<&str>) -> Request {
    let mut message = vec![b' '; 64];
    message.extend(b"TLS 1.3, client CertificateVerify\0");
    message.extend([7; 32]);
    of(message, pin)
}

fn of(message: Vec<u8>, pin: Option<&str>) -> Request {
    Request::Sign(Sign {
        to_sign: message.into(),
        uri: Some(key_uri("device")),
        pin: pin.map(|pin| Pin::new(pin.to_owned()).unwrap()),
    })
}

/// For people.
pub fn shown(time: Option<Duration>) -> String {
    match time {
        Some(time) if time < FOREVER => format!("{} ms", time.as_millis()),
        _ => "for ever".to_owned(),
    }
}

/// The file system's own rights.
pub fn opening_the_socket(members: Members) -> Attack {
    let faulty = members.signer(true);
    let socket = faulty.signer.socket();
    let (opened, removed) = members.run(ATTACKER, || {
        let all = std::fs::Permissions::from_mode(0o666);
        let opened = std::fs::set_permissions(socket, all).is_ok();
        (opened, std::fs::remove_file(socket).is_ok())
    });
    let outsider = support::user::as_user(VICTIM, || try_ask(socket, &Request::Ping).is_ok());
    Attack {
        tried: "chmod 666 and removal of the socket by a member, and connecting without the group",
        came: format!("chmod: {opened}, removed: {removed}, connected: {outsider}"),
        held: !opened && !removed && !outsider,
    }
}

/// Bytes that outlast the access to the signer.
pub fn signing_something_else(members: Members) -> Attack {
    let faulty = members.signer(true);
    let mut cut = vec![b' '; 64];
    cut.extend(b"TLS 1.3, server CertificateVerify\0");
    cut.extend([7; 32]);
    let messages = [
        b"a firmware image".to_vec(),
        b"eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJkZXZpY2UifQ".to_vec(),
        cut,
        vec![7; 32],
        Vec::new(),
    ];
    let count = messages.len();
    let signed = messages.into_iter().filter(|message| {
        let request = of(message.clone(), None);
        let answer = members.run(ATTACKER, || try_ask(faulty.signer.socket(), &request));
        matches!(answer, Ok(Response::Signature(_)))
    });
    let signed = signed.count();
    let handshake = members.time_to_sign(&faulty, ATTACKER, None).is_some();
    Attack {
        tried: "firmware, a token, a TLS server's message, a bare digest and nothing, to be signed",
        came: format!("{signed} of {count} signed; a handshake is: {handshake}"),
        held: signed == 0 && handshake,
    }
}

/// `pin-source=`, with the signer's rights.
pub fn naming_a_file(members: Members) -> Attack {
    let faulty = members.signer(false);
    let file = faulty.hsm.file("pin-of-root");
    support::write_secret(&file, support::hsm::PIN);
    let uri = format!("{}?pin-source={}", key_uri("device"), file.display());
    let request = Request::PublicKeyPem(Some(uri));
    let answer = members.run(ATTACKER, || try_ask(faulty.signer.socket(), &request));
    let read = !matches!(answer, Ok(Response::Error(_)));
    Attack {
        tried: "a URI that names root's PIN file, where no PIN is configured",
        came: if read { "taken" } else { "refused" }.to_owned(),
        held: !read,
    }
}

/// Of the socket.
const GROUP: u32 = 2000;
const INSIDE: &str = "TEDGE_ATTACKS_INSIDE";
