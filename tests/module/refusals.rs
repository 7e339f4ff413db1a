//! What the policy refuses is told on the program's standard error, where that takes text.

use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use support::hsm::PIN;
use support::succeed;

use crate::rig::{Rig, module, text};

/// Nothing but handshakes is signed, and no key made.
pub(crate) const POLICY: &str = r#"
[[rule]]
operations = ["sign", "describe", "list"]
purposes = ["tls13-client"]
"#;

const TOLD: &str = "libtedge_p11: the signer refused to sign: uid ";

#[test]
fn a_refusal_is_one_line() {
    let rig = rig();
    let pipe = refused(&rig).output().unwrap();
    assert!(pipe.status.success());
    let said = String::from_utf8(pipe.stderr).unwrap();
    assert!(said.starts_with(TOLD), "{said}");
    for part in [
        ") may not sign this with pkcs11:",
        "object=p256;type=private: it is no TLS handshake, certificate request or certificate",
        ", and no rule that covers the key allows that\n",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    assert_eq!(said.lines().count(), 1, "{said}");

    let made = [
        "--keypairgen",
        "--key-type",
        "EC:prime256v1",
        "--label",
        "new",
    ];
    let made = text(&rig.pkcs11_tool(&made).output().unwrap());
    let told = "libtedge_p11: the signer refused to create a key: uid ";
    assert!(made.contains(told), "{made}");
    // A search that is refused, or a signature that is not, says nothing.
    let policy = "[[rule]]\noperations = [\"sign\"]\n";
    let rig = Rig::start_with_policy(&["p256"], policy, &["--pin", PIN]);
    let listed = text(&rig.pkcs11_tool(&["-O"]).output().unwrap());
    assert!(
        !listed.contains("libtedge_p11: the signer refused"),
        "{listed}"
    );
}

#[test]
fn a_process_is_told_once_a_second() {
    let rig = rig();
    let mut child = refused(&rig)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let stdin = child.stdin.take();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    for line in lines.by_ref().take(3) {
        assert!(line.unwrap().starts_with(TOLD));
    }
    drop(stdin);
    let rest = lines.count();
    let mut said = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .unwrap();
    assert!(child.wait().unwrap().success());
    let numbers: Vec<usize> = said
        .split_whitespace()
        .map(|n| n.parse().unwrap())
        .collect();
    let &[refusals, milliseconds] = &numbers[..] else {
        panic!("{said}");
    };
    let told = 3 + rest;
    assert!(
        told <= 1 + milliseconds / 1000,
        "{told} lines in {milliseconds} ms"
    );
    assert!(refusals > told, "{refusals} {told}");
}

/// A program that closed its standard error has something else by this number.
#[test]
fn only_what_people_read_gets_text() {
    let rig = rig();
    let file = |name: &str, options: &mut OpenOptions| {
        let path = rig.hsm.file(name);
        let file = options.create(true).truncate(false).open(&path).unwrap();
        ends_well(refused(&rig).stderr(file));
        std::fs::read_to_string(path).unwrap()
    };
    let written = file("log", OpenOptions::new().write(true));
    assert!(written.starts_with(TOLD), "{written}");
    let database = file("database", OpenOptions::new().read(true).write(true));
    assert_eq!(database, "");

    let connection = |name: fn(u64, u64) -> Option<String>| {
        let (mut own, other) = UnixStream::pair().unwrap();
        let other = OwnedFd::from(other);
        let stat = rustix::fs::fstat(&other).unwrap();
        let mut command = refused(&rig);
        if let Some(name) = name(stat.st_dev, stat.st_ino) {
            command.env("JOURNAL_STREAM", name);
        }
        ends_well(command.stderr(other));
        drop(command);
        let mut got = String::new();
        own.read_to_string(&mut got).unwrap();
        got
    };
    assert_eq!(connection(|_, _| None), "");
    assert_eq!(
        connection(|dev, ino| Some(format!("{dev}:{}", ino + 1))),
        ""
    );
    assert_eq!(
        connection(|dev, ino| Some(format!("{}:{ino}", dev + 1))),
        ""
    );
    let journal = connection(|dev, ino| Some(format!("{dev}:{ino}")));
    assert!(journal.starts_with(TOLD), "{journal}");

    let terminal = succeed(
        rig.uses("script")
            .args(["--quiet", "--return", "--command"])
            .arg(format!(
                "{} {} refused",
                rig.program_in_c().display(),
                module().display()
            ))
            .arg("/dev/null")
            .env("SHELL", "/bin/sh")
            .stdin(Stdio::null()),
    );
    assert!(terminal.contains(TOLD), "{terminal}");

    for (quiet, told) in [("1", false), ("yes", false), ("0", true), ("", true)] {
        let output = refused(&rig)
            .env("TEDGE_P11_QUIET", quiet)
            .output()
            .unwrap();
        assert_eq!(!output.stderr.is_empty(), told, "{quiet}");
    }
}

/// The default action for SIGPIPE ends a process, and a pipe that nobody empties keeps one waiting.
#[test]
fn a_pipe_that_nobody_reads_does_no_harm() {
    let rig = rig();
    let (reader, writer) = pipe();
    drop(reader);
    ends_well(refused(&rig).stderr(writer));

    let (mut reader, writer) = pipe();
    let mut filler = File::from(writer.try_clone().unwrap());
    rustix::fs::fcntl_setfl(&filler, rustix::fs::OFlags::NONBLOCK).unwrap();
    while filler.write(&[b'.'; 4096]).is_ok() {}
    rustix::fs::fcntl_setfl(&filler, rustix::fs::OFlags::empty()).unwrap();
    drop(filler);
    ends_well(refused(&rig).stderr(writer));
    let mut got = String::new();
    reader.read_to_string(&mut got).unwrap();
    assert!(got.bytes().all(|byte| byte == b'.'), "{}", got.len());
}

fn rig() -> Rig {
    Rig::start_with_policy(&["p256"], POLICY, &["--pin", PIN])
}

/// A program that has something signed that the policy refuses, and finds that right.
fn refused(rig: &Rig) -> Command {
    let mut command = rig.uses(rig.program_in_c());
    command.arg(module()).arg("refused").stdin(Stdio::null());
    command
}

fn ends_well(command: &mut Command) {
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    for _ in 0..6000 {
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    panic!("it waits");
}

/// Programs that other tests start meanwhile do not get it.
fn pipe() -> (File, OwnedFd) {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    (File::from(reader), writer)
}
