//! How programs that are not Rust come to the keys: by our PKCS#11 module, which p11-kit and OpenSSL are told to load.

use std::path::{Path, PathBuf};

use tedge_p11_client::{DEFAULT_SOCKET_PATH, ObjectType};
use tedge_p11_token::{Access, Everything, Module};

use super::context::{Context, within};
use super::report::{Area, Report};
use crate::hsm::LIBRARY_FOLDERS;
use crate::shell::quoted;

pub(super) fn check(context: &Context<'_>, signer_answers: bool, report: &mut Report) {
    let Some(module) = check_files(context, report) else {
        return;
    };
    check_openssl(context, &module, report);
    check_keys(context, &module, signer_answers, report);
}

/// The module, by its own file and by that of p11-kit's.
fn check_files(context: &Context<'_>, report: &mut Report) -> Option<PathBuf> {
    let installed = library(context, &format!("pkcs11/{MODULE}"));
    let known = P11_KIT_FOLDERS.iter().find_map(|folder| {
        let path = Path::new(folder).join("tedge-p11.module");
        let named = setting(&context.root.path(&path), ':', "module")?;
        Some((path, PathBuf::from(named)))
    });
    match (installed, known) {
        (None, None) => {
            report.skipped(
                Area::Programs,
                format!(
                    "{MODULE} is not installed: curl, nginx and others can't use the keys (make install, or \
                     TEDGE_HSM_OPENSSL in Yocto)"
                ),
            );
            None
        }
        (Some(module), None) => {
            report.warning(
                Area::Programs,
                format!(
                    "{} is not known to p11-kit, so GnuTLS and p11tool do not find it",
                    module.display()
                ),
                format!(
                    "make install puts tedge-p11.module into {}",
                    P11_KIT_FOLDERS[1]
                ),
            );
            Some(module)
        }
        (_, Some((file, module))) if !context.root.path(&module).exists() => {
            report.failure(
                Area::Programs,
                format!(
                    "{} names {}, which is not there",
                    file.display(),
                    module.display()
                ),
                REINSTALL,
            );
            None
        }
        (_, Some((file, module))) => {
            report.ok(
                Area::Programs,
                format!(
                    "{} is known to p11-kit by {}",
                    module.display(),
                    file.display()
                ),
            );
            Some(module)
        }
    }
}

/// The configuration that programs of OpenSSL are started with, and the provider that it loads.
fn check_openssl(context: &Context<'_>, module: &Path, report: &mut Report) {
    let given = std::env::var_os("OPENSSL_CONF").map(PathBuf::from);
    let path = given
        .clone()
        .unwrap_or_else(|| context.root.path(OPENSSL_CONF));
    let file = given.unwrap_or_else(|| OPENSSL_CONF.into());
    let setting = |name| setting(&path, '=', name);
    let shown = file.display();
    let Some(named) = setting("pkcs11-module-path") else {
        return report.failure(
            Area::Programs,
            format!("{shown} names no module for OpenSSL's pkcs11-provider"),
            format!("start programs with OPENSSL_CONF={OPENSSL_CONF}; {REINSTALL}"),
        );
    };
    if Path::new(&named) != module {
        return report.failure(
            Area::Programs,
            format!(
                "{shown} has OpenSSL load {named}, and not {}",
                module.display()
            ),
            format!("correct pkcs11-module-path; {REINSTALL}"),
        );
    }
    if setting("pkcs11-module-load-behavior").as_deref() != Some("early") {
        return report.warning(
            Area::Programs,
            format!("{shown} has OpenSSL load the module late: a second TLS context in one program fails"),
            "set pkcs11-module-load-behavior = early",
        );
    }
    match library(context, "ossl-modules/pkcs11.so") {
        Some(provider) => report.ok(
            Area::Programs,
            format!("OPENSSL_CONF={shown} has OpenSSL load it by {}", provider.display()),
        ),
        None => report.skipped(
            Area::Programs,
            "OpenSSL's pkcs11-provider is not installed: programs of OpenSSL can't use the keys (pkcs11-provider, \
             from Debian 13 on and in meta-oe)",
        ),
    }
}

/// What a program of this user sees.
fn check_keys(context: &Context<'_>, module: &Path, signer_answers: bool, report: &mut Report) {
    if !signer_answers {
        return report.skipped(Area::Programs, "no program finds a key: no signer answers");
    }
    // Programs know of no flag and of no tedge.toml.
    let theirs = std::env::var_os(SOCKET).map(PathBuf::from);
    let signers = context.socket_path();
    let same = match &theirs {
        Some(path) => *path == signers,
        None => context.has_default_socket(),
    };
    if !same {
        let theirs = theirs.unwrap_or_else(|| DEFAULT_SOCKET_PATH.into());
        return report.warning(
            Area::Programs,
            format!(
                "programs look for the signer at {}, which is at {}",
                theirs.display(),
                signers.display()
            ),
            format!("start programs with {SOCKET}={}", quoted(signers.display())),
        );
    }
    let file = context.root.path(module);
    let shown = module.display();
    match within(context.limit, move || keys_seen(&file)) {
        None => report.failure(
            Area::Programs,
            format!("{shown} lists no key within {} s", context.limit.as_secs()),
            "see the log: journalctl -u tedge-p11-server",
        ),
        Some(Err(error)) => report.failure(Area::Programs, error, REINSTALL),
        Some(Ok(0)) => report.warning(
            Area::Programs,
            format!("{shown} shows this user no private key"),
            "make one (tedge-hsm create-key), or have a rule of the policy allow this user \"list\" and \"describe\"",
        ),
        Some(Ok(keys)) => report.ok(
            Area::Programs,
            format!("{shown} shows this user private keys: {keys}"),
        ),
    }
}

/// How many private keys there are without a login.
fn keys_seen(module: &Path) -> Result<usize, String> {
    let failed = |error: tedge_p11_token::Error| format!("{:#}", anyhow::Error::from(error));
    let module = Module::load_any(module).map_err(failed)?;
    let access = Access {
        pin: None,
        permit: &Everything,
    };
    let mut keys = 0;
    for token in module.tokens().map_err(failed)? {
        if token.initialized {
            let found = module.keys_on_token(&token.uri, access).map_err(failed)?;
            keys += found
                .iter()
                .filter(|key| key.object_type == ObjectType::Private)
                .count();
        }
    }
    module.finalize();
    Ok(keys)
}

/// The value of a setting in a file of lines with names and values.
fn setting(file: &Path, separator: char, name: &str) -> Option<String> {
    let text = tedge_file::read_text(file, tedge_file::MAX_SETTINGS).ok()?;
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(separator)?;
        (found.trim() == name).then(|| value.trim().to_owned())
    })
}

/// A file in the first folder of libraries that has it.
fn library(context: &Context<'_>, name: &str) -> Option<PathBuf> {
    let places = LIBRARY_FOLDERS
        .iter()
        .map(|folder| Path::new(folder).join(name));
    places
        .into_iter()
        .find(|path| context.root.path(path).exists())
}

const MODULE: &str = "libtedge_p11.so";
/// Where p11-kit looks, what an operator wrote first: pkcs11.conf(5).
const P11_KIT_FOLDERS: &[&str] = &["/etc/pkcs11/modules", "/usr/share/p11-kit/modules"];
const OPENSSL_CONF: &str = "/usr/share/tedge-p11/openssl.cnf";
/// The one variable that the module goes by.
const SOCKET: &str = "TEDGE_DEVICE_CRYPTOKI_SOCKET_PATH";
const REINSTALL: &str = "make install puts all files in place";
