//! What a person at a terminal sees and types: PINs without echo, a question before a key is deleted, a
//! line while an RSA key is made. The terminal is that of script(1).

use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use support::hsm::{LABEL, PIN, SO_PIN};
use support::{Hsm, Kind, Signer, program, succeed, write_secret};

const NEW_PIN: &str = "135790";

#[test]
fn init_asks_for_both_pins() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let mut terminal = Terminal::open(&hsm, &["init", "--label", "typed"]);
    for prompt in ["new SO PIN: ", "new SO PIN, again: "] {
        terminal.answer(prompt, SO_PIN);
    }
    for prompt in ["new user PIN: ", "new user PIN, again: "] {
        terminal.answer(prompt, NEW_PIN);
    }
    let (status, seen) = terminal.end();
    assert!(status.success() && seen.contains("token=typed"), "{seen}");
    assert!(!seen.contains(SO_PIN) && !seen.contains(NEW_PIN), "{seen}");
    let list = |pin: &str| {
        write_secret(&hsm.file("pin"), pin);
        let mut list = hsm.tedge_hsm();
        list.args(["list-keys", "--uri", "pkcs11:token=typed"]);
        list
    };
    succeed(&mut list(NEW_PIN));
    support::fail(&mut list(SO_PIN));
}

/// Through a signer that has the user PIN, only the other one is asked for.
#[test]
fn init_asks_for_no_pin_that_the_signer_has() {
    for (configured, prompts) in [(true, 2), (false, 4)] {
        let hsm = Hsm::start(Kind::SoftHsm);
        let args = ["--uri", "pkcs11:token=typed", "--pin", NEW_PIN];
        let signer = Signer::start_with(&hsm, if configured { &args } else { &args[..2] });
        let command = format!(
            "{} --socket-path {} init --label typed",
            program("tedge-hsm").display(),
            signer.socket().display()
        );
        let mut terminal = Terminal::open_shell(&hsm, &command);
        for (prompt, pin) in [
            ("new SO PIN: ", SO_PIN),
            ("new SO PIN, again: ", SO_PIN),
            ("new user PIN: ", NEW_PIN),
            ("new user PIN, again: ", NEW_PIN),
        ]
        .into_iter()
        .take(prompts)
        {
            terminal.answer(prompt, pin);
        }
        let (status, seen) = terminal.end();
        assert!(status.success() && seen.contains("token=typed"), "{seen}");
        assert_eq!(seen.contains("new user PIN"), !configured, "{seen}");
        write_secret(&hsm.file("pin"), NEW_PIN);
        succeed(
            hsm.tedge_hsm()
                .args(["list-keys", "--uri", "pkcs11:token=typed"]),
        );
    }
}

#[test]
fn init_wants_each_pin_twice_the_same() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let mut terminal = Terminal::open(&hsm, &["init", "--label", "typed"]);
    terminal.answer("new SO PIN: ", SO_PIN);
    terminal.answer("new SO PIN, again: ", PIN);
    let (status, seen) = terminal.end();
    assert_eq!(status.code(), Some(1), "{seen}");
    assert!(seen.contains("tedge-hsm: the two PINs differ"), "{seen}");
    let tokens = succeed(hsm.tedge_hsm().arg("list-tokens"));
    assert!(!tokens.contains("typed"), "{tokens}");
}

/// The same PIN, typed with mistakes; and the terminal is as it was after an interrupt.
#[test]
fn keys_that_edit_and_interrupt() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let uri = format!("pkcs11:token={LABEL}");
    let mut terminal = Terminal::open(&hsm, &["change-pin", "--uri", &uri]);
    terminal.answer("user PIN: ", &format!("wrong\x15{PIN}é\x7f"));
    terminal.answer("new PIN: ", &format!("{NEW_PIN}x\x08"));
    terminal.answer("new PIN, again: ", NEW_PIN);
    let (status, seen) = terminal.end();
    assert!(status.success(), "{seen}");

    let mut terminal =
        Terminal::open_shell(&hsm, "trap : INT; $TEDGE_HSM unlock; stty -a; echo ended");
    terminal.answer("SO PIN: ", "\x03");
    let (_, seen) = terminal.end();
    assert!(seen.contains("ended"), "{seen}");
    assert!(
        seen.contains(" echo ") && seen.contains(" icanon "),
        "{seen}"
    );
    assert!(!seen.contains("cannot read"), "{seen}");
}

#[test]
fn pins_are_changed() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let uri = format!("pkcs11:token={LABEL}");
    let mut terminal = Terminal::open(&hsm, &["change-pin", "--uri", &uri]);
    terminal.answer("user PIN: ", PIN);
    terminal.answer("new PIN: ", NEW_PIN);
    terminal.answer("new PIN, again: ", NEW_PIN);
    let (status, seen) = terminal.end();
    assert!(status.success(), "{seen}");
    assert!(!seen.contains(PIN) && !seen.contains(NEW_PIN), "{seen}");

    let mut list = hsm.tedge_hsm();
    list.args(["list-keys", "--uri", &uri]);
    support::fail(&mut list);
    let mut terminal = Terminal::open(&hsm, &["unlock", "--uri", &uri]);
    terminal.answer("SO PIN: ", SO_PIN);
    terminal.answer("new PIN: ", PIN);
    terminal.answer("new PIN, again: ", PIN);
    let (status, seen) = terminal.end();
    assert!(status.success() && !seen.contains(SO_PIN), "{seen}");
    succeed(&mut list);
}

#[test]
fn a_key_is_deleted_after_a_yes() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let uri = hsm.create_key("tls", "p256");
    let pin_file = hsm.file("pin");
    let args = ["--pin-file", pin_file.to_str().unwrap(), "delete-key"];
    let args = [&args[..], &["--uri", &uri]].concat();
    let list = || succeed(hsm.tedge_hsm().args(["list-keys", "--uri", &uri]));
    for no in ["n", "", "yesterday"] {
        let mut terminal = Terminal::open(&hsm, &args);
        terminal.answer("[y/N]", no);
        let (status, seen) = terminal.end();
        assert_eq!(status.code(), Some(1), "{seen}");
        assert!(seen.contains("nothing is deleted"), "{seen}");
        assert!(list().contains("object=tls"));
    }
    let mut terminal = Terminal::open(&hsm, &args);
    terminal.answer("[y/N]", "y");
    let (status, seen) = terminal.end();
    assert!(status.success(), "{seen}");
    // As what is to be deleted, and as what is gone.
    assert_eq!(seen.matches(uri.as_str()).count(), 2, "{seen}");
    assert_eq!(list(), "");
}

#[test]
fn making_an_rsa_key_shows_that_it_goes_on() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let pin_file = hsm.file("pin");
    let create = |label, key_type| {
        let pin_file = pin_file.to_str().unwrap();
        let args = ["--pin-file", pin_file, "create-key", "--label", label];
        let terminal = Terminal::open(&hsm, &[&args[..], &["--type", key_type]].concat());
        let (status, seen) = terminal.end();
        assert!(status.success(), "{seen}");
        seen
    };
    let seen = create("rsa", "rsa2048");
    let line = seen
        .find("making an RSA key, this can take minutes")
        .unwrap();
    let cleared = seen.find("\r\x1b[K").unwrap();
    assert!(line < cleared && cleared < seen.find("pkcs11:").unwrap());
    assert!(create("ec", "p256").starts_with("pkcs11:"));
    // Nobody watches a pipe.
    let mut quiet = hsm.tedge_hsm();
    quiet.args(["create-key", "--label=quiet", "--type=rsa2048"]);
    assert!(quiet.output().unwrap().stderr.is_empty());
}

/// tedge-hsm at a terminal, straight on the module.
/// Colours and broken lines are for a person at a terminal who has not said NO_COLOR.
#[test]
fn doctor_has_colours_and_breaks_lines_at_a_terminal() {
    let hsm = Hsm::start(Kind::SoftHsm);
    let doctor = |settings: &str, to: &str| {
        // Whoever runs the tests may have said something else.
        let command = format!(
            "unset CI NO_COLOR CLICOLOR CLICOLOR_FORCE; stty cols 80; {settings} $TEDGE_HSM doctor --config-dir / --root /nowhere {to}"
        );
        let (status, seen) = Terminal::open_shell(&hsm, &command).end();
        assert!(status.success(), "{seen}");
        seen.replace("\r\n", "\n")
    };
    let long = |seen: &str| {
        // A URI is one word.
        let mut lines = seen.lines().filter(|line| !line.contains("pkcs11:"));
        lines.any(|line| line.chars().count() > 80)
    };
    let plain = doctor("NO_COLOR=1 TERM=xterm", "");
    assert!(
        plain.contains("skipped  device  ") && !plain.contains('\x1b'),
        "{plain}"
    );
    assert!(
        !long(&plain) && plain.contains(&format!("\n{:22}", "")),
        "{plain}"
    );
    assert!(plain.trim_end().ends_with(" 0 failures"), "{plain}");
    assert!(!doctor("TERM=dumb", "").contains('\x1b'));
    let coloured = doctor("TERM=xterm", "");
    assert!(
        coloured.contains("\x1b[2mskipped \x1b[0m device"),
        "{coloured}"
    );
    let piped = doctor("TERM=xterm", "| cat");
    assert!(long(&piped) && !piped.contains('\x1b'), "{piped}");
}

struct Terminal {
    script: Child,
    keyboard: ChildStdin,
    screen: Receiver<Vec<u8>>,
    seen: String,
    /// How much of what was seen has been answered.
    answered: usize,
}

impl Terminal {
    fn open(hsm: &Hsm, args: &[&str]) -> Self {
        let quoted: Vec<_> = args.iter().map(|arg| format!("'{arg}'")).collect();
        Self::open_shell(hsm, &format!("$TEDGE_HSM {}", quoted.join(" ")))
    }

    /// With $TEDGE_HSM as the program and its module.
    fn open_shell(hsm: &Hsm, command: &str) -> Self {
        let (program, module) = (program("tedge-hsm"), hsm.module());
        let tedge_hsm = format!("{} --module-path {}", program.display(), module.display());
        let mut script: Command = hsm.command("script");
        script.env("TEDGE_HSM", tedge_hsm);
        script.args(["--quiet", "--return", "--flush", "--command"]);
        script.arg(command).arg("/dev/null").env("SHELL", "/bin/sh");
        // For stty, which breaks its lines by it.
        script.env_remove("COLUMNS");
        script.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut script = script.spawn().unwrap();
        let keyboard = script.stdin.take().unwrap();
        let mut output = script.stdout.take().unwrap();
        let (show, screen) = channel();
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(len @ 1..) = output.read(&mut chunk) {
                if show.send(chunk[..len].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self {
            script,
            keyboard,
            screen,
            seen: String::new(),
            answered: 0,
        }
    }

    /// Types `answer` when the program has asked; before that, the terminal would echo it.
    fn answer(&mut self, prompt: &str, answer: &str) {
        while !self.seen[self.answered..].contains(prompt) {
            assert!(self.see(), "it ended without {prompt:?}: {}", self.seen);
        }
        self.answered = self.seen.len();
        writeln!(self.keyboard, "{answer}").unwrap();
    }

    /// Waits for the end; returns all that was seen.
    fn end(mut self) -> (ExitStatus, String) {
        while self.see() {}
        (self.script.wait().unwrap(), self.seen)
    }

    /// Waits for more; false if there is none.
    fn see(&mut self) -> bool {
        match self.screen.recv_timeout(Duration::from_secs(60)) {
            Ok(chunk) => {
                self.seen.push_str(std::str::from_utf8(&chunk).unwrap());
                true
            }
            Err(RecvTimeoutError::Disconnected) => false,
            Err(RecvTimeoutError::Timeout) => panic!("nothing happens after {}", self.seen),
        }
    }
}
