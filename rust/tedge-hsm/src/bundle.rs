//! What goes along with a bug report: a tar file with findings, versions, settings and log lines, without secrets and
//! without what names the device, its owner or its cloud.

mod log;
mod names;
mod redactor;
mod settings;
mod versions;

use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use tedge_file::{MAX_SETTINGS, printable_lines};
use tedge_p11_client::{Client, PinSource, TimeLimits};
use x509_cert::name::Name;

use crate::certificate;
use crate::doctor::Context;
use crate::machine_id;
use crate::output::say;
use crate::pin_store::{PIN_STORES, SIGNER_PIN, SO_PIN};
use crate::rotation::record::unix_time;
use names::{FIRST_PERSON, Source};
use redactor::Redactor;

/// The files of the tar file, before anything is taken out of them.
pub(crate) struct Bundle {
    redactor: Redactor,
    /// Their names and texts.
    files: Vec<(String, String)>,
}

impl Bundle {
    /// Collects what is on the machine. `findings` are doctor's.
    pub(crate) fn collect(context: &Context<'_>, findings: String) -> anyhow::Result<Self> {
        let mut redactor = Redactor::new()?;
        add_secrets(context, &mut redactor);
        add_names(context, &mut redactor);
        let mut files = vec![
            (
                "versions.txt".to_owned(),
                versions::of_machine(&context.root, context.limit),
            ),
            ("findings.txt".to_owned(), findings),
            ("tokens.txt".to_owned(), tokens(context)),
        ];
        files.extend(settings::entries(context, &mut redactor));
        for unit in ["tedge-p11-server", "tedge-hsm-bridge"] {
            files.push((
                format!("log/{unit}.txt"),
                log::of_unit(&context.root, unit, context.limit),
            ));
        }
        Ok(Self { redactor, files })
    }

    /// Says what is in it, and writes it to `path`, where nothing may be yet, for its owner only (0600).
    pub(crate) fn write(mut self, path: &Path) -> anyhow::Result<()> {
        // A name that is found in one file is replaced in all.
        for (name, text) in &self.files {
            self.redactor.clean(source(name), text);
        }
        let taken_before = self.redactor.secrets();
        let mut files: Vec<_> = self
            .files
            .iter()
            .map(|(name, text)| {
                let text = printable_lines(&self.redactor.clean(source(name), text));
                (name.as_str(), text)
            })
            .collect();
        let totals = format!(
            "{} secrets were taken out, and {} names have stand-ins, such as host-1",
            self.redactor.secrets() - taken_before,
            self.redactor.names()
        );
        files.insert(0, ("README.txt", format!("{README}\n{totals}.\n")));
        say(format_args!("\n{}:", path.display()))?;
        for (name, text) in &files {
            say(format_args!("  {name:<56} {:>8} bytes", text.len()))?;
        }
        let failed = || format!("cannot write {}", path.display());
        let tar = tar(&files).with_context(failed)?;
        // Not over another file, nor over what another user has put there.
        tedge_file::create(path, &tar, 0o600)
            .context("no file is overwritten: name another if that one is there")
            .with_context(failed)?;
        say(format_args!(
            "{totals}. Only its owner can read it: look through it before you send it"
        ))?;
        Ok(())
    }
}

/// What a file of the bundle is made of.
fn source(name: &str) -> Source {
    if name.starts_with("log/") {
        Source::Log
    } else {
        Source::Machine
    }
}

fn tar(files: &[(&str, String)]) -> std::io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(unix_time());
        tar.append_data(&mut header, Path::new(FOLDER).join(name), text.as_bytes())?;
    }
    tar.into_inner()
}

/// Those that a module or library may have written somewhere.
fn add_secrets(context: &Context<'_>, redactor: &mut Redactor) {
    for store in PIN_STORES {
        for name in [SIGNER_PIN, SO_PIN] {
            redactor.add_secret_file(&context.root.path(store.plain).join(name));
        }
    }
    if let Some(file) = &context.place.pin_file {
        redactor.add_secret_file(file);
    }
    for variable in ["TEDGE_DEVICE_CRYPTOKI_PIN", "TEDGE_HSM_SO_PIN"] {
        redactor.add_secret(&std::env::var(variable).unwrap_or_default());
    }
    if let Some(PinSource::Value(pin)) = context.args.uri.as_ref().and_then(|uri| uri.pin.as_ref())
    {
        redactor.add_secret(pin.expose());
    }
}

/// The device's, and those of people who have a login on it.
fn add_names(context: &Context<'_>, redactor: &mut Redactor) {
    let read = |path: &str| {
        tedge_file::read_text(&context.root.path(path), MAX_SETTINGS).unwrap_or_default()
    };
    let host = rustix::system::uname();
    for name in [
        host.nodename().to_string_lossy().trim(),
        read("/etc/hostname").trim(),
    ] {
        redactor.add_name("host", name);
        redactor.add_name("host", name.split('.').next().unwrap_or_default());
    }
    redactor.add_name("machine", read("/etc/machine-id").trim());
    if let Ok(id) = machine_id::read(&context.root) {
        redactor.add_name("machine", id.trim());
    }
    for line in read("/etc/passwd").lines() {
        let fields: Vec<_> = line.split(':').collect();
        if let [name, _, uid, _, person, ..] = fields[..] {
            if uid
                .parse::<u32>()
                .is_ok_and(|uid| (FIRST_PERSON..NOBODY).contains(&uid))
            {
                redactor.add_name("user", name);
                redactor.add_name("user", person.split(',').next().unwrap_or_default());
            }
        }
    }
    // Its common name is mostly the device's id.
    let chain = certificate::read_chain(&context.certificate()).unwrap_or_default();
    for certificate in chain {
        for name in [certificate.subject(), certificate.issuer()] {
            for value in values(name) {
                redactor.add_name("subject", &value);
            }
        }
    }
    if let Some(host) = &context.args.host {
        redactor.add_name("host", host);
    }
}

/// Of a distinguished name.
fn values(name: &Name) -> Vec<String> {
    let all = name.0.iter().flat_map(|part| part.0.iter());
    all.filter_map(|pair| {
        let shown = pair.to_string();
        shown.split_once('=').map(|(_, value)| value.to_owned())
    })
    .collect()
}

/// What the signer says of itself and of its tokens, and which keys it has.
fn tokens(context: &Context<'_>) -> String {
    let client = Client::new(context.socket_path()).with_limits(TimeLimits {
        connect: context.limit,
        read: context.limit,
        write: context.limit,
    });
    let mut lines = match client.status() {
        Ok(status) => {
            let mut lines = format!(
                "signer {}, up {} s, module {}\n{} requests, {} signatures, {} failed, {} refused\nlast error {}: {}\nreload error: {}\n",
                status.version,
                status.uptime,
                status.module,
                status.requests,
                status.signatures,
                status.failed,
                status.refused,
                status.last_error_age,
                status.last_error,
                status.reload_error
            );
            for token in &status.tokens {
                let _ = writeln!(lines, "in use: {}: {}", token.uri, token.trouble);
            }
            lines
        }
        Err(error) => format!("signer: {error}\n"),
    };
    let tokens = match client.tokens() {
        Ok(tokens) => tokens,
        Err(error) => return lines + &format!("tokens: {error}\n"),
    };
    let deadline = Instant::now() + context.limit;
    for token in tokens {
        if Instant::now() > deadline {
            lines.push_str("the others were not asked: it takes too long\n");
            break;
        }
        let _ = writeln!(lines, "token: {}", token.uri);
        let keys = token
            .uri
            .parse()
            .ok()
            .filter(|_| token.initialized)
            .map(|uri| client.keys(&uri, None));
        match keys {
            None => {}
            Some(Err(error)) => {
                let _ = writeln!(lines, "  keys: {error}");
            }
            Some(Ok(keys)) => {
                for key in keys {
                    let _ = writeln!(lines, "  {} {} {}", key.uri, key.class, key.key_type);
                }
            }
        }
    }
    lines
}

const README: &str = "\
By tedge-hsm doctor --bundle, for a bug report. All files are text.

Not in here: PINs, passwords, one-time passwords, keys, certificates, comments of settings files, and values of settings that
are not known to be harmless. These have stand-ins, the same in each file: names of the host, of users and of brokers,
addresses, serial numbers, labels of tokens and keys (but \"device\" and \"tls\"), CKA_IDs, names in certificates, topics.

What has none of the forms that the program knows is still in the log. So look through it before you send it.
";
/// In the tar file.
const FOLDER: &str = "tedge-hsm-bundle";
const NOBODY: u32 = 65534;
