//! What systemd says of the signer's unit, when nobody answers at the socket.

use std::process::{Command, Stdio};

use super::context::{Context, within};

/// Why systemd has no signer running, and what to do about it; `None` if that is not the trouble, or if
/// there is no systemd to ask.
pub(super) fn trouble(context: &Context<'_>) -> Option<(String, &'static str)> {
    if !context.root.is_machine() || !context.has_default_socket() {
        return None;
    }
    within(context.limit, show)
        .flatten()
        .and_then(|properties| explain(&properties))
}

fn show() -> Option<String> {
    let output = Command::new("systemctl")
        .args([
            "show",
            "--property=ActiveState,SubState,Result,ExecMainStatus,NRestarts",
            UNIT,
        ])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    String::from_utf8(output.stdout).ok()
}

/// Lines of `PROPERTY=VALUE`.
fn explain(properties: &str) -> Option<(String, &'static str)> {
    let property = |name: &str| {
        let mut lines = properties.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    };
    let (active, restarts) = (property("ActiveState")?, property("NRestarts")?);
    let fails = active == "failed" || property("SubState")? == "auto-restart";
    if !fails {
        // Being started, while nobody knows yet how that ends; that it was before, and nobody answers, tells.
        return (active == "activating" && restarts != "0").then(|| {
            (
                format!("{UNIT} is being restarted, {restarts} times so far"),
                "journalctl -u tedge-p11-server says why it ended",
            )
        });
    }
    let (result, status) = (property("Result")?, property("ExecMainStatus")?);
    Some(if result == "exit-code" && status == EXIT_CREDENTIALS {
        (
            format!("{UNIT} cannot be started: systemd cannot load the signer's PIN"),
            "journalctl -u tedge-p11-server names the file; if the TPM is in lockout, it opens by itself after a while, \
             or at once with tpm2_dictionarylockout -c; if another TPM sealed the PIN, seal it again: \
             systemd-creds encrypt --with-key=tpm2 --tpm2-pcrs=23 --name=pin FILE \
             /etc/credstore.encrypted/tedge-p11-server.pin; then systemctl reset-failed \
             tedge-p11-server, systemctl restart tedge-p11-server",
        )
    } else {
        (
            format!("{UNIT} cannot be started: {result}, exit status {status}"),
            "journalctl -u tedge-p11-server says why; systemd tries again every minute",
        )
    })
}

const UNIT: &str = "tedge-p11-server.service";
/// systemd.exec(5), "Process exit codes".
const EXIT_CREDENTIALS: &str = "243";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_that_fails_at_each_start_is_explained() {
        let show = |active: &str, sub: &str, result: &str, status: &str| {
            let restarts = u32::from(active == "activating");
            explain(&format!(
                "Result={result}\nExecMainStatus={status}\nNRestarts={restarts}\nActiveState={active}\n\
                 SubState={sub}\n"
            ))
            .map(|(what, _)| what)
        };
        assert_eq!(show("active", "running", "success", "0"), None);
        assert_eq!(show("inactive", "dead", "success", "0"), None);
        assert_eq!(
            show("activating", "start", "success", "0").as_deref(),
            Some("tedge-p11-server.service is being restarted, 1 times so far")
        );
        for (active, sub) in [("failed", "failed"), ("activating", "auto-restart")] {
            assert_eq!(
                show(active, sub, "exit-code", "243").as_deref(),
                Some(
                    "tedge-p11-server.service cannot be started: systemd cannot load the signer's PIN"
                )
            );
            assert_eq!(
                show(active, sub, "exit-code", "1").as_deref(),
                Some("tedge-p11-server.service cannot be started: exit-code, exit status 1")
            );
        }
        assert_eq!(explain(""), None);
    }
}
