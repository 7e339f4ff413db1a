//! The objects of a token, each with what the token says of it: frames of the extension.

use crate::bytes::Bytes;
use crate::codec::{DecodeError, Reader, Wire, Writer, wire_struct};
use crate::pin::Pin;
use crate::scheme::SignatureScheme;
use crate::uri::{ObjectType, Uri};

wire_struct! {
    /// Fields of [`ExtensionRequest::Objects`](crate::ExtensionRequest::Objects).
    ListObjects {
        /// RFC 7512 URI that narrows the list. With `type=cert` it is one of certificates, otherwise of keys.
        uri: Option<String>,
        /// User PIN of the token.
        pin: Option<Pin>,
        /// Whether public keys and certificates are wanted, too.
        contents: bool,
    }

    /// Objects of one token.
    Objects {
        /// RFC 7512 URI of the token.
        token: String,
        /// In no order.
        objects: Vec<ObjectEntry>,
    }

    /// An object, as its token describes it.
    ObjectEntry {
        /// `private`, `public` or `cert`.
        class: String,
        /// `RSA`, `EC` or `EC_EDWARDS`, `X_509` of a certificate.
        key_type: String,
        /// `CKA_LABEL`.
        label: String,
        /// `CKA_ID`.
        id: Bytes,
        /// `CKA_SUBJECT` of a key; empty if it has none.
        subject: Bytes,
        /// What it can be used for, and how it is kept.
        flags: ObjectFlags,
        /// `CKA_KEY_GEN_MECHANISM`, if the token tells.
        made_by: Option<u64>,
        /// What was asked for besides; none if it was not, if this client may not have it described, if the token
        /// does not tell, or if the list would become too long. Such an object can be asked for by itself.
        content: Option<ObjectContent>,
    }

    /// The public part of an object.
    ObjectContent {
        /// DER: `SubjectPublicKeyInfo` of a key (RFC 5280, section 4.1), or the certificate.
        der: Bytes,
        /// What a private key can sign with, in the order that a TLS 1.3 client prefers.
        schemes: Vec<SignatureScheme>,
        /// Whether the client may have digests signed that it made itself.
        digests: bool,
    }
}

impl ObjectEntry {
    /// URI of the object on the token of that URI; none if it is of no class that is known here.
    #[must_use]
    pub fn uri(&self, token: &Uri) -> Option<Uri> {
        let classes = [
            ObjectType::Private,
            ObjectType::Public,
            ObjectType::Certificate,
        ];
        let mut classes = classes.into_iter();
        let class = classes.find(|class| class.name() == self.class)?;
        Some(Uri {
            id: (!self.id.0.is_empty()).then(|| self.id.0.clone()),
            object: (!self.label.is_empty()).then(|| self.label.clone()),
            object_type: Some(class),
            ..token.token_part()
        })
    }
}

/// Attributes of PKCS#11 that are true or false. Each has its bit in [`ObjectFlags`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ObjectFlag {
    /// `CKA_PRIVATE`.
    Private,
    /// `CKA_DESTROYABLE`.
    Destroyable,
    /// `CKA_LOCAL`.
    Local,
    /// `CKA_DERIVE`.
    Derive,
    /// `CKA_SENSITIVE`.
    Sensitive,
    /// `CKA_ALWAYS_SENSITIVE`.
    AlwaysSensitive,
    /// `CKA_EXTRACTABLE`.
    Extractable,
    /// `CKA_NEVER_EXTRACTABLE`.
    NeverExtractable,
    /// `CKA_WRAP_WITH_TRUSTED`.
    WrapWithTrusted,
    /// `CKA_SIGN`.
    Sign,
    /// `CKA_SIGN_RECOVER`.
    SignRecover,
    /// `CKA_DECRYPT`.
    Decrypt,
    /// `CKA_UNWRAP`.
    Unwrap,
    /// `CKA_VERIFY`.
    Verify,
    /// `CKA_VERIFY_RECOVER`.
    VerifyRecover,
    /// `CKA_ENCRYPT`.
    Encrypt,
    /// `CKA_WRAP`.
    Wrap,
    /// `CKA_TRUSTED`.
    Trusted,
}

/// What a token says of an object, for some of the attributes that are true or false.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjectFlags {
    known: u64,
    on: u64,
}

impl ObjectFlags {
    /// What the token says; none if it does not.
    #[must_use]
    pub fn get(self, flag: ObjectFlag) -> Option<bool> {
        let bit = 1 << flag as u8;
        (self.known & bit != 0).then_some(self.on & bit != 0)
    }

    /// The token says so.
    pub fn set(&mut self, flag: ObjectFlag, is_on: bool) {
        let bit = 1 << flag as u8;
        self.known |= bit;
        self.on = if is_on { self.on | bit } else { self.on & !bit };
    }
}

/// Two numbers: which flags are known, and which of these are true. Bits that a later version added mean nothing here.
impl Wire for ObjectFlags {
    const MIN_LEN: usize = 2;

    fn encode(&self, out: &mut Writer) {
        out.put_varint(self.known);
        out.put_varint(self.on);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            known: u64::decode(input)?,
            on: u64::decode(input)?,
        })
    }
}
