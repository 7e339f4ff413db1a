//! A user who is not root rotates the key, as tedge-hsm-renew.service does.

use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use support::user::{can_be_others, open_to_all};
use support::{Kind, fail, install, succeed};

use crate::rig::Device;

const USER: u32 = 4711;

#[test]
fn a_user_rotates_by_one_rule() {
    if !can_be_others() {
        return;
    }
    let first = "[[rule]]\noperations = [\"sign\", \"describe\", \"list\"]\n";
    let device = Device::with_policy(Kind::SoftHsm, Some(first));
    open_to_all(&device.hsm, &device.signer);
    chown(device.hsm.file("device-certs"), Some(USER), Some(USER)).unwrap();
    chown(device.cert(), Some(USER), Some(USER)).unwrap();
    let ca = device.hsm.file("ca.pem");
    std::fs::copy(device.ca.certificate(), &ca).unwrap();
    let program = install("tedge-hsm", device.hsm.dir.path());
    let rotate = |device: &Device| {
        let mut rotate = Command::new(&program);
        rotate.uid(USER).gid(USER).current_dir("/");
        rotate.env("TEDGE_CONFIG_DIR", device.hsm.dir.path());
        rotate.arg("--socket-path").arg(device.signer.socket());
        rotate.args(["renew", "--new-key", "--keep-old", "0", "--est"]);
        rotate.arg(device.server.url("est")).arg("--cert");
        rotate.arg(device.cert()).arg("--ca").arg(&ca);
        rotate.arg("--try-ca").arg(&ca);
        rotate
    };
    let error = fail(&mut rotate(&device));
    assert!(error.contains("[[rule]] uid = 4711"), "{error}");
    let rule = "[[rule]]\nuid = 4711\noperations = [\"create-key\", \"delete-key\"]\n\
                keys = [\"pkcs11:token=device;object=tls\"]\n";
    let policy = device.hsm.file(support::signer::POLICY);
    std::fs::write(policy, format!("{first}{rule}")).unwrap();
    let device = device.with_signer_restarted();
    open_to_all(&device.hsm, &device.signer);
    // An update has given the user another number: the file is not his any more, the folder is.
    chown(device.cert(), Some(USER + 1), Some(USER + 1)).unwrap();
    succeed(&mut rotate(&device));
    device.is_finished();
    assert_eq!(device.cert().metadata().unwrap().uid(), USER);
    // One that the user began is not gone on with by root, who would delete what he names.
    let mut half = rotate(&device);
    fail(half.args(["--try-connect", "localhost:1"]));
    assert_eq!(device.step().unwrap(), "try");
    let error = fail(&mut device.rotate());
    assert!(error.contains("run this as that user"), "{error}");
    succeed(&mut rotate(&device));
    device.is_finished();
}
