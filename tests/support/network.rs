//! A network of its own, in which hosts have the names and ports that they have in the world.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use tempfile::TempDir;

/// Network and mount namespaces with nothing but a loopback interface, on which all `hosts` are. They end with it.
pub struct Network {
    child: Child,
    /// What holds them open ends when this is closed.
    stdin: Option<ChildStdin>,
    _dir: TempDir,
}

impl Network {
    /// None, with a line that says why, where this machine lets nobody make one.
    pub fn start(hosts: &[&str]) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("hosts");
        std::fs::write(&file, format!("127.0.0.1 localhost {}\n", hosts.join(" "))).unwrap();
        let mut child = Command::new("unshare")
            .args(user_options(&["--user", "--map-root-user"]))
            .args(["--net", "--mount", "sh", "-c"])
            .arg("ip link set lo up && mount --bind \"$0\" /etc/hosts && echo ready && exec cat")
            .arg(&file)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let mut line = String::new();
        let output = child.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        if line != "ready\n" {
            println!("skipped: no network namespace can be made here");
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        Some(Self {
            stdin: child.stdin.take(),
            child,
            _dir: dir,
        })
    }

    /// A command in it, in the folder `dir`.
    pub fn command(&self, dir: &Path, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={}", self.child.id()))
            .args(user_options(&["--user", "--preserve-credentials"]))
            .args(["--net", "--mount"])
            .arg(format!("--wd={}", dir.display()))
            .arg(program);
        command
    }
}

/// Others than root need a user namespace, too.
fn user_options<'a>(options: &'a [&'a str]) -> &'a [&'a str] {
    if rustix::process::geteuid().is_root() {
        &[]
    } else {
        options
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.stdin = None;
        let _ = self.child.wait();
    }
}
