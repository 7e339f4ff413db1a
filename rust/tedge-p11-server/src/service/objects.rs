//! Lists of objects, with what the token says of each.

use tedge_p11_protocol::{
    ExtensionResponse, MAX_RESPONSE_LEN, ObjectContent, ObjectEntry, ObjectFlags, Objects,
    Response, Uri,
};
use tedge_p11_token::{CertificateObject, DescribedKey, Module};

use super::failure::Failure;
use super::rights::Rights;
use crate::configuration::Target;

/// The objects of a token whose keys the peer may list, certificates or keys. Those whose keys it may have described
/// come with their public keys if `contents` are wanted.
pub(super) fn list(
    module: &Module,
    rights: &Rights<'_>,
    target: &Target,
    certificates: bool,
    contents: bool,
) -> Result<Response, Failure> {
    let uri = target.uri();
    let found: Vec<_> = if certificates {
        let found = module.certificates_on_token(&uri)?.into_iter();
        found.map(certificate).collect()
    } else {
        let may_use = rights.token_check(target);
        let access = target.access(rights.caller(), &may_use);
        let found = module.described_keys(&uri, access, contents)?.into_iter();
        found.map(|of| key(of, rights)).collect()
    };
    // Of what the user may see only: it would tell that a hidden object is there.
    let mut token = None;
    let mut objects = Vec::new();
    for (uri, mut entry) in found {
        if rights.check_private(uri.clone()).is_err() {
            continue;
        }
        token.get_or_insert_with(|| uri.token_part());
        if !contents || !rights.may_describe(&uri) {
            entry.content = None;
        }
        objects.push(entry);
    }
    shorten(&mut objects);
    Ok(Response::Extension(ExtensionResponse::Objects(Objects {
        token: token.unwrap_or_else(|| uri.token_part()).to_string(),
        objects,
    })))
}

fn key(key: DescribedKey, rights: &Rights<'_>) -> (Uri, ObjectEntry) {
    let object = key.object;
    let (uri, schemes) = (&object.uri, key.schemes);
    let content = key.public_key.map(|public_key| ObjectContent {
        der: public_key.spki().to_vec().into(),
        digests: !schemes.is_empty() && rights.check_digest(uri).is_ok(),
        schemes,
    });
    let entry = ObjectEntry {
        class: object.object_type.name().to_owned(),
        key_type: object.key_type,
        label: object.label,
        id: object.id.into(),
        subject: key.subject.into(),
        flags: key.flags,
        made_by: key.made_by,
        content,
    };
    (object.uri, entry)
}

fn certificate(certificate: CertificateObject) -> (Uri, ObjectEntry) {
    let entry = ObjectEntry {
        class: "cert".to_owned(),
        key_type: "X_509".to_owned(),
        label: certificate.label,
        id: certificate.id.into(),
        subject: Vec::new().into(),
        flags: ObjectFlags::default(),
        made_by: None,
        content: Some(ObjectContent {
            der: certificate.der.into(),
            schemes: Vec::new(),
            digests: false,
        }),
    };
    (certificate.uri, entry)
}

/// Drops the contents that would make the response longer than a client takes.
fn shorten(objects: &mut [ObjectEntry]) {
    let names = objects.iter().map(|object| {
        let texts = [&object.class, &object.key_type, &object.label];
        let texts: usize = texts.into_iter().map(String::len).sum();
        texts + object.id.0.len() + object.subject.0.len() + ENTRY_LEN
    });
    let mut room = MAX_CONTENTS.saturating_sub(names.sum());
    for object in objects {
        let len = object
            .content
            .as_ref()
            .map_or(0, |content| content.der.0.len() + 3 * content.schemes.len());
        match room.checked_sub(len) {
            Some(left) => room = left,
            None => object.content = None,
        }
    }
}

/// More than the lengths, flags and numbers of an entry take.
const ENTRY_LEN: usize = 64;
/// Of a response, without the token's URI.
const MAX_CONTENTS: usize = MAX_RESPONSE_LEN - 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_no_longer_than_a_client_takes() {
        let entry = ObjectEntry {
            class: "private".to_owned(),
            key_type: "RSA".to_owned(),
            label: "l".repeat(100),
            id: vec![7; 20].into(),
            subject: Vec::new().into(),
            flags: ObjectFlags::default(),
            made_by: Some(u64::MAX),
            content: Some(ObjectContent {
                der: vec![9; 550].into(),
                schemes: vec![tedge_p11_protocol::SignatureScheme(0x0806); 6],
                digests: true,
            }),
        };
        let mut objects = vec![entry; 3000];
        shorten(&mut objects);
        let told = objects.iter().filter(|o| o.content.is_some()).count();
        assert!((500..3000).contains(&told), "{told}");
        let frame = Response::Extension(ExtensionResponse::Objects(Objects {
            token: "pkcs11:token=t".to_owned(),
            objects,
        }))
        .encode();
        assert!(frame.len() <= MAX_RESPONSE_LEN, "{}", frame.len());
        assert!(frame.len() > MAX_RESPONSE_LEN / 2, "{}", frame.len());
    }
}
