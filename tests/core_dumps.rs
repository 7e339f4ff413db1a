//! No program of ours leaves secrets in a core dump, or shows them to a debugger of the same user.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use support::program;

/// Each waits at its standard input for a secret, as a user whom core dumps are allowed.
#[test]
fn a_program_that_holds_secrets_leaves_no_core_dump() {
    for (name, arguments) in [
        (
            "tedge-hsm",
            &["--pin-file", "/dev/stdin", "csr", "--common-name", "x"][..],
        ),
        (
            "tedge-p11-server",
            &[
                "--module-path",
                "none.so",
                "--uri",
                "pkcs11:?pin-source=/dev/stdin",
            ],
        ),
        ("tedge-hsm-bridge", &["--config", "/dev/stdin"]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let mut shell = Command::new("sh");
        shell
            .args(["-c", "ulimit -S -c unlimited; exec \"$@\"", "-"])
            .arg(program(name))
            .args(arguments)
            .current_dir(dir.path())
            .stdin(Stdio::piped());
        if geteuid().is_root() {
            use std::os::unix::process::CommandExt as _;
            std::os::unix::fs::chown(dir.path(), Some(65534), None).unwrap();
            shell.uid(65534);
        }
        let mut process = shell.spawn().unwrap();
        let proc = format!("/proc/{}", process.id());
        let deadline = Instant::now() + Duration::from_secs(60);
        let is_protected = || {
            let limits = std::fs::read_to_string(format!("{proc}/limits")).unwrap();
            let none = limits
                .lines()
                .filter_map(|line| line.strip_prefix("Max core file size"))
                .any(|limits| limits.split_whitespace().take(2).eq(["0", "0"]));
            // The files in there are root's then, and nobody else may read the memory.
            none && std::fs::metadata(format!("{proc}/mem")).unwrap().uid() == 0
        };
        while !is_protected() {
            assert!(Instant::now() < deadline, "{name} may be dumped");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(process.try_wait().unwrap().is_none(), "{name} has ended");
        let pid = Pid::from_child(&process);
        kill_process(pid, Signal::ABORT).unwrap();
        let status = process.wait().unwrap();
        assert_eq!(status.signal(), Some(6), "{name}");
        assert!(!status.core_dumped(), "{name}");
    }
}
