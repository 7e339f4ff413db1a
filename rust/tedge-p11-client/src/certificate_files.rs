//! The files with a device's certificate and with those of CAs.

use std::fs::Metadata;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use tedge_file::MAX_CERTIFICATES;

use crate::certificates::{CertificatesError, Found, named, parse_certificates};
use crate::error::Error;

/// Reads the certificates in a file, as [`parse_certificates`] does.
pub fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    tedge_file::read(path, MAX_CERTIFICATES)
        .map_err(CertificatesError::from)
        .and_then(|content| parse_certificates(&content))
        .map_err(|error| Error::Certificates {
            path: path.to_owned(),
            error,
        })
}

/// Reads the certificates of CAs in a file, or in all files of a folder such as `/etc/ssl/certs`, where what
/// is damaged is left out with a warning.
pub fn read_ca_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    if !path.is_dir() {
        return read_certificates(path);
    }
    read_ca_folder(path, |_, _| true)
}

/// The same in those files of the folder `path` of which `is_wanted` says so, by their paths and by owner and mode of what
/// is open.
pub fn read_ca_folder(
    path: &Path,
    is_wanted: impl Fn(&Path, &Metadata) -> bool,
) -> Result<Vec<CertificateDer<'static>>, Error> {
    let failed = |error| Error::Certificates {
        path: path.to_owned(),
        error,
    };
    let mut certificates = Vec::new();
    let files = tedge_file::read_folder(path, MAX_CERTIFICATES, is_wanted);
    for (file, content) in files.map_err(|error| failed(error.into()))? {
        match parse_certificates(&content) {
            Ok(some) => certificates.extend(some),
            // A README, a list of revoked ones.
            Err(CertificatesError::None(_) | CertificatesError::Empty) => {}
            Err(error) => log::warn!("{} is left out: {error}", file.display()),
        }
    }
    if certificates.is_empty() {
        return Err(failed(CertificatesError::None(Found::default())));
    }
    Ok(certificates)
}

/// The CAs of these certificates, to verify servers with. One that rustls can't use is left out, with a
/// warning; fails if none is left. `path` is what they were read from.
pub fn trust_anchors(
    certificates: &[CertificateDer<'_>],
    path: &Path,
) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    for (certificate, number) in certificates.iter().zip(1..) {
        if roots.add(certificate.clone().into_owned()).is_err() {
            log::warn!(
                "certificate {number}{} in {} is left out: it can be no CA here",
                named(certificate),
                path.display()
            );
        }
    }
    if roots.is_empty() {
        return Err(Error::Certificates {
            path: path.to_owned(),
            error: CertificatesError::None(Found("none that can be a CA here".to_owned())),
        });
    }
    Ok(roots)
}
