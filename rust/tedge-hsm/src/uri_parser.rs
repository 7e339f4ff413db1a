//! A PKCS#11 URI on the command line.

use std::ffi::OsStr;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use tedge_p11_client::{PinSource, Uri, UriError};

/// Parses `--uri`. Unlike clap's own error, this one does not repeat the value, which may hold a PIN.
#[derive(Clone)]
pub(crate) struct UriParser;

impl TypedValueParser for UriParser {
    type Value = Uri;

    fn parse_ref(
        &self,
        command: &clap::Command,
        _: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<Uri, clap::Error> {
        let failed = |what: String| {
            clap::Error::raw(ErrorKind::ValueValidation, format!("{what}\n")).with_cmd(command)
        };
        let uri: Uri = value
            .to_string_lossy()
            .parse()
            .map_err(|error: UriError| failed(error.to_string()))?;
        if let Some(PinSource::Value(_)) = uri.pin {
            return Err(failed(
                "a PIN in an argument can be seen by others: use pin-source= or --pin-file".into(),
            ));
        }
        Ok(uri)
    }
}
