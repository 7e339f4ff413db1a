//! The client crate in programs that have rustls as it comes: its examples and README's Rust, built and run. They are a
//! crate of their own outside of the workspace, with other dependencies and a lock file of their own.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use support::broker::SServer;
use support::{Device, repository, succeed};

#[test]
fn the_examples_connect() {
    let device = Device::start();
    let server = SServer::start_http(&device.ca);
    for (name, answer) in [
        ("blocking", "HTTP/1.0 200 ok"),
        ("tokio", "HTTP/1.0 200 ok"),
        ("reqwest", "HTTP/1.0 200 OK"),
    ] {
        let mut command = Command::new(example(name));
        command.arg(device.signer.socket()).arg(&device.uri);
        command.args([&device.cert, &device.ca.certificate()]);
        let said = succeed(command.args(["localhost", &server.port.to_string()]));
        assert_eq!(said.trim_end(), answer, "{name}");
    }
}

#[test]
fn a_request_by_rcgen_is_signed() {
    let device = Device::start();
    let mut command = Command::new(example("csr"));
    command.arg(device.signer.socket());
    let request = succeed(command.args([&device.uri, "device-2"]));
    // openssl verifies the request's own signature.
    device.ca.issue("device-2", &request);
}

/// As it stands there, with its paths: in a container that has the files at these places.
#[test]
fn the_rust_of_the_readme_connects() {
    let trial = ["--ro-bind", "/", "/", "true"];
    if !Command::new("bwrap")
        .args(trial)
        .status()
        .is_ok_and(|status| status.success())
    {
        println!("skipped: bubblewrap is not installed, or may not make containers here");
        return;
    }
    let device = Device::start();
    let server = SServer::start_http(&device.ca);
    let mut command = Command::new("bwrap");
    command.args(["--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib"]);
    command.args([
        "--symlink",
        "usr/lib64",
        "/lib64",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
    ]);
    command.args(["--ro-bind", "/etc/hosts", "/etc/hosts", "--die-with-parent"]);
    for (outside, inside) in [
        (
            device.signer.socket(),
            "/run/tedge-p11-server/tedge-p11-server.sock",
        ),
        (
            &device.cert,
            "/etc/tedge/device-certs/tedge-certificate.pem",
        ),
        (&device.ca.certificate(), "/etc/tedge-hsm/ca.pem"),
        (&example("readme"), "/readme"),
    ] {
        command.arg("--ro-bind").arg(outside).arg(inside);
    }
    let said = succeed(command.args(["/readme", "localhost", &server.port.to_string()]));
    assert_eq!(said.trim_end(), "connected, Some(TLSv1_3)");
}

/// Built once for all tests; what is built stays, since aws-lc takes minutes.
fn example(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let dir = BUILT.get_or_init(|| {
        let target = repository().join("target/default-rustls");
        let manifest = repository().join("rust/tedge-p11-client/examples/Cargo.toml");
        let mut build = Command::new(env!("CARGO"));
        build
            .args(["build", "--locked", "--quiet", "--manifest-path"])
            .arg(manifest);
        succeed(build.arg("--target-dir").arg(&target));
        target.join("debug")
    });
    dir.join(name)
}
