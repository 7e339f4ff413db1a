//! The bridge in a container, the signer outside of it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::mqtt::{Subscriber, publish_all};
use support::{Bridge, program};

use crate::rig::{Rig, message};

/// In containers that have the folder of the signer's socket, not the socket, and other users: the signer
/// is restarted, with a new socket, and the bridge connects again.
#[test]
fn in_bubblewrap_it_survives_a_restart_of_the_signer() {
    let files = ContainerFiles::new();
    let mut bubblewrap = outsider("bwrap");
    bubblewrap
        .args(["--unshare-user", "--uid", "1234", "--gid", "1234"])
        .args([
            "--unshare-pid",
            "--unshare-ipc",
            "--die-with-parent",
            "--proc",
            "/proc",
        ])
        .args(["--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib"])
        .args([
            "--symlink",
            "usr/lib64",
            "/lib64",
            "--ro-bind",
            "/etc/hosts",
            "/etc/hosts",
        ]);
    for (outside, inside) in files.mounts() {
        bubblewrap.arg("--ro-bind").arg(outside).arg(inside);
    }
    let mut trial = outsider("bwrap");
    trial.args(["--ro-bind", "/", "/", "--unshare-user", "true"]);
    survives_a_restart_of_the_signer(&files, &mut bubblewrap, &mut trial, OUTSIDER);
}

#[test]
fn in_podman_it_survives_a_restart_of_the_signer() {
    let files = ContainerFiles::new();
    in_podman(&files, &Podman::new(files.dir.path(), None), MAPPED + 1234);
}

/// Of a user without subordinate ids: its root inside is himself outside.
#[test]
fn in_rootless_podman_it_survives_a_restart_of_the_signer() {
    let files = ContainerFiles::new();
    let podman = Podman::new(files.dir.path(), Some(OUTSIDER));
    in_podman(&files, &podman, OUTSIDER);
}

fn in_podman(files: &ContainerFiles, podman: &Podman, outside: u32) {
    let mut mounts = vec!["--volume=/usr:/usr:ro".to_owned()];
    for (outside, inside) in files.mounts() {
        mounts.push(format!("--volume={}:{inside}:ro", outside.display()));
    }
    let mut command = podman.run(&mounts);
    let mut trial = podman.run(&mounts[..1]);
    survives_a_restart_of_the_signer(files, &mut command, trial.arg("/usr/bin/true"), outside);
}

/// `outside` is the user and group outside of the container.
fn survives_a_restart_of_the_signer(
    files: &ContainerFiles,
    container: &mut Command,
    trial: &mut Command,
    outside: u32,
) {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: needs root, to be another user outside of the container");
        return;
    }
    match trial.output() {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            let why = String::from_utf8_lossy(&output.stderr);
            println!("skipped: no container can be made here: {}", why.trim());
            return;
        }
        Err(error) => {
            println!("skipped: {:?}: {error}", trial.get_program());
            return;
        }
    }
    let mut rig = Rig::start();
    let (config, socket_dir) = (files.path("config"), files.path("signer"));
    std::fs::copy(&rig.cert, config.join("device.pem")).unwrap();
    std::fs::copy(rig.ca.certificate(), config.join("ca.pem")).unwrap();
    let quoted = |path: PathBuf| format!("\"{}\"", path.display());
    let text = rig
        .config("")
        .replace(&quoted(rig.cert.clone()), "\"/config/device.pem\"")
        .replace(&quoted(rig.ca.certificate()), "\"/config/ca.pem\"")
        .replace(&quoted(rig.socket()), "\"/signer/signer.sock\"");
    std::fs::write(config.join("bridge.toml"), text).unwrap();

    rig.signer = Some(rig.signer_for(&socket_dir, outside));
    container.args(["/bridge", "--config", "/config/bridge.toml"]);
    let bridge = Bridge::spawn_command(files.dir.path(), container);
    bridge.await_log("all brokers are connected", 0);
    let cloud = Subscriber::start(rig.cloud.port, "check", "dev/#");
    publish_all(rig.local.port, "p", &[message("out/x", "1")]);
    cloud.await_message("a message from the container", |_, text| text == "1");
    // The signer sees the user outside, not the one that the container has.
    let log = rig.signer.as_ref().unwrap().log();
    assert!(log.contains(&format!("sign for uid {outside} ")), "{log}");

    rig.signer = None;
    rig.proxy.cut();
    bridge.await_log("is tedge-p11-server running?", 0);
    publish_all(rig.local.port, "p", &[message("out/x", "2")]);
    rig.signer = Some(rig.signer_for(&socket_dir, outside));
    cloud.await_message("a message after the restart", |_, text| text == "2");
}

/// What a container is given.
struct ContainerFiles {
    dir: tempfile::TempDir,
}

impl ContainerFiles {
    fn new() -> Self {
        // Readable for whoever the container runs as, which the folder of the build may not be.
        let files = Self {
            dir: tempfile::tempdir_in("/tmp").unwrap(),
        };
        for dir in [files.path(""), files.path("config"), files.path("signer")] {
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        std::fs::copy(program("tedge-hsm-bridge"), files.path("bridge")).unwrap();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn mounts(&self) -> [(PathBuf, &'static str); 3] {
        [
            (self.path("bridge"), "/bridge"),
            (self.path("config"), "/config"),
            (self.path("signer"), "/signer"),
        ]
    }
}

/// A podman with its own storage, and one container.
struct Podman {
    dir: PathBuf,
    /// Who runs it, if it is not root.
    rootless: Option<u32>,
}

impl Podman {
    fn new(dir: &Path, rootless: Option<u32>) -> Self {
        let dir = dir.join("podman");
        let root = dir.join("root");
        for name in ["usr", "proc", "sys", "dev", "tmp", "run", "etc"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        for name in ["lib", "lib64"] {
            std::os::unix::fs::symlink(format!("usr/{name}"), root.join(name)).unwrap();
        }
        // The container's root makes files in it; who has no root of his own, beside it, too.
        let (user, tree) = match rootless {
            Some(user) => (user, &dir),
            None => (MAPPED, &root),
        };
        let _ = Command::new("chown")
            .args(["-hR", &format!("{user}:{user}")])
            .arg(tree)
            .output();
        Self { dir, rootless }
    }

    fn command(&self) -> Command {
        let mut command = if self.rootless.is_some() {
            let mut command = outsider("podman");
            command.env("HOME", &self.dir);
            command.env("XDG_RUNTIME_DIR", self.dir.join("run"));
            command
        } else {
            Command::new("podman")
        };
        command.arg("--root").arg(self.dir.join("store"));
        command.arg("--runroot").arg(self.dir.join("run"));
        // Nothing is stored; overlay would leave a mount behind.
        command.args(["--cgroup-manager=cgroupfs", "--storage-driver=vfs"]);
        command
    }

    /// User 1234, with other numbers outside; or the container's root, who is nobody much outside.
    fn run(&self, options: &[String]) -> Command {
        let mut command = self.command();
        let map = format!("0:{MAPPED}:2000");
        command
            .args(["run", "--rm", "--network=host", "--sdnotify=ignore"])
            // Not more than this machine has: some let nobody raise them.
            .args(["--ulimit=nofile=1024:1024", "--ulimit=nproc=500:500"])
            .args(match self.rootless {
                None => vec!["--user=1234:1234", "--uidmap", &map, "--gidmap", &map],
                Some(_) => Vec::new(),
            })
            .args(options)
            .arg("--rootfs")
            .arg(self.dir.join("root"));
        command
    }
}

impl Drop for Podman {
    fn drop(&mut self) {
        // Killing podman does not end what it runs.
        let _ = self
            .command()
            .args(["rm", "--all", "--force", "--time=0"])
            .output();
    }
}

/// A user outside of the container, who need not exist.
const OUTSIDER: u32 = 54321;
/// Who root of the container is outside.
const MAPPED: u32 = 100_000;

/// A program that runs as [`OUTSIDER`].
fn outsider(program: &str) -> Command {
    let id = OUTSIDER.to_string();
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid",
        &id,
        "--regid",
        &id,
        "--clear-groups",
        "--",
        program,
    ]);
    command
}
