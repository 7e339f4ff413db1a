//! Device nodes, USB devices, groups, udev rules, services and the clock.

use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Command;

use crate::{Bench, Findings, as_nobody, chmod};

/// A machine with a TPM, whose node is a file here; the module is SoftHSM2 all the same.
struct Tpm {
    bench: Bench,
    node: PathBuf,
}

impl Tpm {
    fn new() -> Self {
        let bench = Bench::new();
        let node = bench.write("dev/tpmrm0", "");
        chmod(&node, 0o660);
        let gid = std::fs::metadata(&node).unwrap().gid();
        bench.write("etc/group", &format!("root:x:4294967294:\ntss:x:{gid}:\n"));
        bench.write(
            "usr/lib/udev/rules.d/60-tpm-udev.rules",
            "# KERNEL==\"tpm[0-9]*\"\nKERNEL==\"tpmrm[0-9]*\", MODE=\"0660\", GROUP=\"tss\"\n",
        );
        bench.write("usr/lib/systemd/system/tedge-p11-server.service", "");
        bench.write(
            "etc/systemd/system/tedge-p11-server.service.d/tpm2.conf",
            "",
        );
        Self { bench, node }
    }

    fn doctor(&self) -> Command {
        doctor(&self.bench, "tpm2")
    }
}

fn doctor(bench: &Bench, hsm: &str) -> Command {
    let mut command = bench.straight();
    command.args(["--hsm", hsm]);
    command
}

#[test]
fn a_tpm_that_is_there() {
    let tpm = Tpm::new();
    let findings = Findings::of(&mut tpm.doctor());
    findings.ok("device", "/dev/tpmrm0: 0660 ");
    findings.ok(
        "device",
        "udev rule /usr/lib/udev/rules.d/60-tpm-udev.rules",
    );
    findings.ok(
        "device",
        "drop-in /etc/systemd/system/tedge-p11-server.service.d/tpm2.conf",
    );
}

#[test]
fn a_device_node_that_is_missing() {
    let tpm = Tpm::new();
    std::fs::remove_file(&tpm.node).unwrap();
    let findings = Findings::of(&mut tpm.doctor());
    findings.failure("device", "/dev/tpmrm0: No such file", "turn the TPM on");
}

#[test]
fn a_device_node_of_root_only() {
    let tpm = Tpm::new();
    chmod(&tpm.node, 0o600);
    Findings::of(&mut tpm.doctor()).failure("device", "/dev/tpmrm0: 0600 ", "install tpm-udev");
}

#[test]
fn a_device_node_that_this_user_may_not_open() {
    let tpm = Tpm::new();
    let open = tempfile::tempdir().unwrap();
    chmod(open.path(), 0o755);
    let Some(mut command) = as_nobody(&tpm.doctor(), open.path()) else {
        return;
    };
    chmod(tpm.bench.hsm.dir.path(), 0o755);
    Findings::of(&mut command).failure(
        "device",
        "this user may not open it: Permission denied",
        "usermod -aG tss",
    );
}

#[test]
fn a_group_that_is_missing() {
    let tpm = Tpm::new();
    tpm.bench.write("etc/group", "root:x:0:\n");
    let findings = Findings::of(&mut tpm.doctor());
    findings.failure("device", "there is no group tss", "groupadd --system tss");
}

#[test]
fn a_udev_rule_that_is_missing() {
    let tpm = Tpm::new();
    // What is commented out is no rule.
    tpm.bench.write(
        "usr/lib/udev/rules.d/60-tpm-udev.rules",
        "#KERNEL==\"tpmrm[0-9]*\"\n",
    );
    Findings::of(&mut tpm.doctor()).warning("device", "no udev rule", "install tpm-udev");
}

#[test]
fn a_drop_in_that_is_missing() {
    let tpm = Tpm::new();
    let folder = "etc/systemd/system/tedge-p11-server.service.d";
    std::fs::remove_dir_all(tpm.bench.root.join(folder)).unwrap();
    let findings = Findings::of(&mut tpm.doctor());
    findings.failure("device", "no drop-in tpm2.conf", "ln -s");
}

/// OP-TEE's client library of some distributions has another group than the drop-in.
#[test]
fn tee_supplicant_that_does_not_run_and_another_group() {
    let bench = Bench::new();
    for name in ["tee0", "teepriv0"] {
        chmod(&bench.write(&format!("dev/{name}"), ""), 0o660);
    }
    let gid = std::fs::metadata(bench.root.join("dev/tee0"))
        .unwrap()
        .gid();
    bench.write("etc/group", &format!("teeclnt:x:{gid}:\n"));
    bench.write("proc/1/comm", "systemd\n");
    bench.install_units();
    let findings = Findings::of(&mut doctor(&bench, "optee"));
    findings.warning("device", "/dev/tee0", "SupplementaryGroups=teeclnt");
    findings.failure(
        "service",
        "tee-supplicant does not run",
        "systemctl start tee-supplicant",
    );
    findings.has("skipped", "module", "would wait for ever", "");
    bench.write("proc/42/comm", "tee-supplicant\n");
    let findings = Findings::of(&mut doctor(&bench, "optee"));
    findings.ok("service", "tee-supplicant runs");
    findings.ok("module", "is loaded");
}

#[test]
fn pcscd_that_does_not_run() {
    let bench = Bench::new();
    let findings = Findings::of(&mut doctor(&bench, "nitrokey-hsm2"));
    findings.failure("service", "pcscd.comm: No such file", "install pcscd");
    bench.install_units();
    let findings = Findings::of(&mut doctor(&bench, "nitrokey-hsm2"));
    findings.failure(
        "service",
        "pcscd.comm: No such file",
        "systemctl enable --now pcscd.socket",
    );
    let socket = bench.write("run/pcscd/pcscd.comm", "");
    let findings = Findings::of(&mut doctor(&bench, "nitrokey-hsm2"));
    findings.failure("service", "is no socket", "pcscd.socket");
    std::fs::remove_file(&socket).unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    let findings = Findings::of(&mut doctor(&bench, "nitrokey-hsm2"));
    findings.ok("service", "pcscd listens");
    drop(listener);
    let findings = Findings::of(&mut doctor(&bench, "nitrokey-hsm2"));
    findings.failure("service", "does not listen", "pcscd.socket");
}

#[test]
fn usb_devices() {
    let bench = Bench::new();
    let findings = Findings::of(&mut doctor(&bench, "yubikey-piv"));
    findings.failure("device", "no USB device of yubikey-piv", "plug it in");
    findings.failure("device", "ifd-ccid.bundle", "libccid");
    bench.write("sys/bus/usb/devices/1-2/idVendor", "1050\n");
    bench.write("sys/bus/usb/devices/1-2/idProduct", "0402\n");
    bench.write("sys/bus/usb/devices/1-2:1.0/bInterfaceClass", "03\n");
    let findings = Findings::of(&mut doctor(&bench, "yubikey-piv"));
    findings.failure(
        "device",
        "1050:0402 has no smart card interface",
        "ykman config usb",
    );
    bench.write("sys/bus/usb/devices/1-2:1.1/bInterfaceClass", "0b\n");
    bench.write(
        "usr/lib/pcsc/drivers/ifd-ccid.bundle/Contents/Info.plist",
        "",
    );
    let findings = Findings::of(&mut doctor(&bench, "yubikey-piv"));
    findings.ok("device", "USB device 1050:0402");
    findings.ok("device", "/usr/lib/pcsc/drivers/ifd-ccid.bundle");
}

#[test]
fn a_clock_that_is_wrong() {
    let bench = Bench::new();
    let command = bench.straight();
    let mut at = Command::new("faketime");
    at.arg("1970-01-02 00:00:00")
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            at.env(name, value);
        }
    }
    Findings::of(&mut at).failure("clock", "before this program was made", "timedatectl");
}

#[test]
fn a_clock_that_is_not_synchronised() {
    let bench = Bench::new();
    std::fs::create_dir_all(bench.root.join("run/systemd/timesync")).unwrap();
    let findings = Findings::of(&mut bench.straight());
    findings.warning("clock", "has not synchronised", "timedatectl");
    bench.write("run/systemd/timesync/synchronized", "");
    Findings::of(&mut bench.straight()).ok("clock", "synchronised");
}
