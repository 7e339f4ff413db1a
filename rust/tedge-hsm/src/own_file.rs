//! Files that say what is done with a secret: they count only if root, or who runs this, wrote them.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use tedge_file::{FileError, MAX_CERTIFICATES};
use tedge_p11_client::parse_certificates;
use zeroize::Zeroizing;

use crate::certificate::Certificate;
use crate::output::note;
use crate::settings_file::{is_own, is_owner};
use crate::trust::Trust;

/// Reads a file that belongs to root or to the user of this process and that nobody else may write; none if it is not
/// there. User tedge can put any file into a folder of his.
pub(crate) fn read(path: &Path, limit: usize) -> anyhow::Result<Option<Zeroizing<Vec<u8>>>> {
    read_or(
        path,
        limit,
        "it is not relied on here. Run this as that user, or check its content as root and replace it: sudo install -m 0644 FILE COPY",
    )
}

/// The same with other words for what to do about somebody else's file.
pub(crate) fn read_or(
    path: &Path,
    limit: usize,
    cure: &str,
) -> anyhow::Result<Option<Zeroizing<Vec<u8>>>> {
    let failed = |error: FileError| {
        anyhow::Error::from(error).context(format!("cannot read {}", path.display()))
    };
    let file = match tedge_file::open(path) {
        Ok(file) => file,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if !is_own(file.metadata()) {
        bail!(
            "{} belongs to {}, or others may write it: {cure}",
            path.display(),
            tedge_file::user(file.metadata().uid())
        );
    }
    let mut content = Zeroizing::new(Vec::new());
    file.read_into(&mut content, limit).map_err(failed)?;
    Ok(Some(content))
}

/// The CA certificates in a file that [`read`] takes.
pub(crate) fn certificates(path: &Path) -> anyhow::Result<Option<Vec<Certificate>>> {
    let Some(content) = read(path, MAX_CERTIFICATES)? else {
        return Ok(None);
    };
    let parsed = parse_certificates(&content)
        .with_context(|| format!("cannot read certificates from {}", path.display()))?;
    let parsed = parsed.into_iter();
    let parsed = parsed.map(|der| Certificate::from_der(der.to_vec()));
    parsed.collect::<anyhow::Result<Vec<_>>>().map(Some)
}

/// Whom to trust with a connection: [`trust`] if a secret goes over it.
pub(crate) fn trust_for(path: &Path, has_secret: bool) -> anyhow::Result<Trust> {
    if has_secret {
        trust(path)
    } else {
        Trust::read(path)
    }
}

/// The CAs in a file that [`read`] takes, or in a folder that nobody else can put another in the place of, such as
/// /etc/ssl/certs.
pub(crate) fn trust(path: &Path) -> anyhow::Result<Trust> {
    let failed = || format!("cannot read {}", path.display());
    if path.is_dir() {
        check_way(&std::path::absolute(path).with_context(failed)?, MAX_LINKS)?;
        return trust_in_folder(path);
    }
    match certificates(path)? {
        Some(cas) => Trust::of(&cas, path),
        None => bail!(
            "there is no {}: put the CA's certificate there, as a file of root's with mode 644, or name another file",
            path.display()
        ),
    }
}

/// The CAs in the folder's files; those of others are left out.
fn trust_in_folder(path: &Path) -> anyhow::Result<Trust> {
    let is_wanted = |file: &Path, found: &Metadata| {
        if !is_own(found) {
            let owner = tedge_file::user(found.uid());
            note(format_args!(
                "{} is left out: it belongs to {owner}, or others may write it",
                file.display()
            ));
        }
        is_own(found)
    };
    Trust::read_folder(path, is_wanted)
}

/// Fails unless the folder, each that it is in, and each symbolic link on the way there can only be replaced by root or
/// who runs this. `links` is how many are followed at most.
fn check_way(path: &Path, links: usize) -> anyhow::Result<()> {
    let mut at = PathBuf::new();
    let mut components = path.components();
    while let Some(component) = components.next() {
        at.push(component);
        let found = at
            .symlink_metadata()
            .with_context(|| format!("cannot read {}", at.display()))?;
        // Anybody may write a link, by its mode; nobody can.
        let is_fixed = is_own(&found) || (found.is_symlink() && is_owner(&found));
        if !is_fixed {
            bail!(
                "{} is a folder that others can replace ({}): name a file of root's",
                path.display(),
                at.display()
            );
        }
        if found.is_symlink() {
            let target = at.read_link()?;
            at.pop();
            let rest = at.join(target).join(components.as_path());
            let links = links
                .checked_sub(1)
                .with_context(|| format!("{} has too many symbolic links", path.display()))?;
            return check_way(&rest, links);
        }
    }
    Ok(())
}

/// As many as the kernel follows.
const MAX_LINKS: usize = 40;
