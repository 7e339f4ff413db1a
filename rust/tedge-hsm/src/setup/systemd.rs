//! systemd's programs.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, bail};
use zeroize::Zeroizing;

use crate::pin_store::TMPFILES;
use crate::root::Root;

/// Runs `systemctl` for the machine, or on the files of an image.
pub(super) fn systemctl(root: &Root, arguments: &[&str]) -> anyhow::Result<()> {
    run(&mut in_root(root, "systemctl", arguments))?;
    Ok(())
}

/// Makes the folders and links of our tmpfiles.d files, as each boot does: the signer's, and that for the certificate.
pub(super) fn make_tmpfiles(root: &Root) -> anyhow::Result<()> {
    run(&mut in_root(
        root,
        "systemd-tmpfiles",
        &["--create", TMPFILES, CERTIFICATES_TMPFILES],
    ))
}

/// Has the folder for the device's certificate, of user tedge.
const CERTIFICATES_TMPFILES: &str = "tedge-hsm-enroll.conf";

/// Whether `systemctl` says yes, as it does by its exit status.
pub(super) fn is(root: &Root, question: &str, unit: &str) -> bool {
    let mut command = in_root(root, "systemctl", &["--quiet", question, unit]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// `program` for the machine, or with `--root`.
pub(super) fn in_root(root: &Root, program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    if !root.is_machine() {
        command.arg(format!("--root={}", root.path("/").display()));
    }
    command.args(arguments);
    command
}

/// Runs a command that succeeds.
pub(super) fn run(command: &mut Command) -> anyhow::Result<()> {
    let output = command_output(command, None)?;
    finish(command, output)?;
    Ok(())
}

/// What a command makes of `input`. Neither is left in memory, as far as this process is concerned.
pub(super) fn filter(command: &mut Command, input: &[u8]) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let output = command_output(command, Some(input))?;
    finish(command, output)
}

fn command_output(command: &mut Command, input: Option<&[u8]>) -> anyhow::Result<Output> {
    let name = name(command);
    let failed = || format!("cannot run {name}");
    let mut child = command
        .env("LC_ALL", "C")
        .stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(failed)?;
    if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
        // Far less than a pipe holds. Who ends before he has read it says why on standard error.
        let _ = stdin.write_all(input);
    }
    child.wait_with_output().with_context(failed)
}

fn finish(command: &Command, output: Output) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let stdout = Zeroizing::new(output.stdout);
    if output.status.success() {
        return Ok(stdout);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let mut said = said
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with("See "));
    // The last line is the reason; those before it may be warnings.
    match said.next_back() {
        Some(reason) => bail!("{}: {reason}", name(command)),
        None => bail!("{}: {}", name(command), output.status),
    }
}

fn name(command: &Command) -> String {
    let parts = std::iter::once(command.get_program()).chain(command.get_args());
    let parts: Vec<_> = parts.map(|part| part.to_string_lossy()).collect();
    parts.join(" ")
}
