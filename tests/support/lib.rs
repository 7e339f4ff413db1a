//! What the tests are made of: real tokens, the signer, openssl and a broker. A helper that fails
//! panics with what the program said.

pub mod aws;
pub mod azure;
pub mod bridge;
pub mod broker;
pub mod cloud;
pub mod debian13;
pub mod device;
pub mod est;
pub mod faulty;
pub mod healing;
pub mod hsm;
pub mod http_proxy;
pub mod mosquitto;
pub mod mqtt;
pub mod network;
pub mod openssl;
pub mod proxy;
pub mod responder;
pub mod signer;
pub mod user;
pub mod wire;

pub use bridge::Bridge;
pub use broker::Broker;
pub use debian13::Debian13;
pub use device::Device;
pub use faulty::Faulty;
pub use hsm::{Hsm, Kind};
pub use http_proxy::HttpProxy;
pub use mosquitto::Mosquitto;
pub use openssl::Ca;
pub use proxy::Proxy;
pub use signer::Signer;

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tedge_p11_client::Uri;

/// A URI that the test knows to be one.
pub fn parse_uri(uri: impl Display) -> Uri {
    uri.to_string()
        .parse()
        .unwrap_or_else(|error| panic!("{uri}: {error}"))
}

/// The folder of the repository.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A program of this workspace, built with the same profile as the test.
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    // Tests lie in a folder `deps` beside the programs.
    test.ancestors()
        .skip(1)
        .take(2)
        .map(|dir| dir.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{name} is not built: cargo build --workspace"))
}

/// The proxy of whoever runs the tests is not for the brokers here.
pub fn without_proxy(command: &mut Command) {
    for name in ["https_proxy", "all_proxy", "no_proxy"] {
        command.env_remove(name).env_remove(name.to_uppercase());
    }
}

/// Writes a file that only its owner may read, as PINs and passwords must be.
pub fn write_secret(path: &Path, content: impl AsRef<[u8]>) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Copies a program of this workspace into `dir`, for users to whom the build's folder is closed.
///
/// By a process of its own: a file that is open for writing can't be run, and a child that another
/// thread has just forked would hold it open for a moment more.
pub fn install(name: &str, dir: &Path) -> PathBuf {
    let copy = dir.join(name);
    let mut install = Command::new("install");
    succeed(install.args(["-m", "0755"]).arg(program(name)).arg(&copy));
    copy
}

/// Runs to the end; panics unless it succeeds. Returns standard output.
pub fn succeed(command: &mut Command) -> String {
    let output = run(command);
    assert!(output.status.success(), "{command:?}: {}", text(&output));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs to the end; panics unless it fails with exit code 1 and one line on standard error, which is
/// returned.
pub fn fail(command: &mut Command) -> String {
    let output = run(command);
    assert_eq!(
        output.status.code(),
        Some(1),
        "{command:?}: {}",
        text(&output)
    );
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(error.lines().count(), 1, "not one line: {error}");
    error
}

fn run(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn text(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
