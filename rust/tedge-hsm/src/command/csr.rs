//! `csr`: a certificate signing request that the key on the token signs.

use crate::args::{Csr, Place};
use crate::certificate;
use crate::names::Names;
use crate::store::Store;
use crate::{document, file, pins};

pub(crate) fn run(store: &Store, place: &Place, mut args: Csr) -> anyhow::Result<()> {
    let pin = pins::given(place.pin_file.as_deref(), args.uri.as_mut())?;
    let renewed = match &args.renew {
        Some(path) => certificate::read_chain(path)?.into_iter().next(),
        None => None,
    };
    let key = store.private_key(args.uri.as_ref(), pin)?;
    let names = match &renewed {
        Some(certificate) => {
            if !args.new_key {
                certificate.check_key(key.as_ref())?;
            }
            Names::of(certificate)?
        }
        None => {
            let common_name = args.common_name.unwrap_or_default();
            Names::new(&common_name, args.organization.as_deref(), args.san)?
        }
    };
    let request = document::request(key.as_ref(), names)?;
    file::write_or_print(args.output.as_deref(), &request)
}
