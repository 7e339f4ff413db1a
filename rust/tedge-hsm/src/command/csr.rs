//! `csr`: a certificate signing request that the key on the token signs.

use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyUsagePurpose,
};
use tedge_p11_client::{CsrKey, Uri};

use crate::args::{Place, UriParser};
use crate::pins;
use crate::store::Store;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// URI of the key; the one configured at the signer without
    #[arg(long, value_parser = UriParser)]
    uri: Option<Uri>,

    /// Common name of the subject: the device's id
    #[arg(long, value_name = "NAME")]
    common_name: String,

    /// Organisation of the subject
    #[arg(long, value_name = "NAME")]
    organization: Option<String>,

    /// File to write the request to; standard output without
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(store: &Store, place: &Place, mut args: Args) -> anyhow::Result<()> {
    let pin = pins::given(place.pin_file.as_deref(), args.uri.as_mut())?;
    let key = CsrKey::new(store.private_key(args.uri.as_ref(), pin)?)?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, args.common_name);
    if let Some(organization) = args.organization {
        subject.push(DnType::OrganizationName, organization);
    }
    let mut params = CertificateParams::default();
    params.distinguished_name = subject;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let csr = params
        .serialize_request(&key)
        .and_then(|csr| csr.pem())
        .context("cannot make the certificate signing request")?;
    match &args.output {
        Some(path) => write_atomically(path, csr.as_bytes())
            .with_context(|| format!("cannot write {}", path.display())),
        None => Ok(std::io::stdout().write_all(csr.as_bytes())?),
    }
}

/// Writes a file for all to read; who looks meanwhile sees the old one or the new one, whole.
fn write_atomically(path: &Path, content: &[u8]) -> std::io::Result<()> {
    // A device or a pipe is written to, not replaced.
    if std::fs::metadata(path).is_ok_and(|file| !file.is_file()) {
        return std::fs::File::options()
            .write(true)
            .open(path)?
            .write_all(content);
    }
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(content)?;
    file.as_file()
        .set_permissions(std::fs::Permissions::from_mode(0o644))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
