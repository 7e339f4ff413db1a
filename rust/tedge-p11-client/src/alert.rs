//! What a TLS server means by an alert (RFC 8446, section 6), and what it most likely comes from.

use rustls::AlertDescription;

/// Whether an alert of a TLS server is its verdict on the client's certificate.
#[must_use]
pub fn refuses_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
    )
}

/// What it means, and what helps.
pub(crate) fn explain(alert: AlertDescription) -> (String, &'static str) {
    use AlertDescription as A;
    let name = name(alert);
    if refuses_certificate(alert) {
        let (why, cure) = refusal(alert);
        let what = format!("the server refused the client certificate: {why} (TLS alert {name})");
        return (what, cure);
    }
    let (why, cure) = match alert {
        A::HandshakeFailure | A::InsufficientSecurity => (
            "it accepts none of the offered algorithms, or wants a client certificate",
            "does the server take keys of this type, and TLS 1.3? See its log",
        ),
        A::ProtocolVersion | A::InappropriateFallback => (
            "it takes none of the versions of TLS that were offered",
            "have the server speak TLS 1.3: update it",
        ),
        A::UnrecognisedName => (
            "it does not serve this host name",
            "name the server as its certificate does",
        ),
        A::NoApplicationProtocol => (
            "it takes none of the application protocols (ALPN) that were offered",
            "offer the one that it wants",
        ),
        A::InternalError => ("it failed itself", "see the server's log; try again later"),
        A::UserCanceled | A::CloseNotify => ("it wants no more", "see the server's log"),
        A::UnknownPSKIdentity => (
            "it wants a pre-shared key, which is not offered",
            "have the server take certificates",
        ),
        A::MissingExtension | A::UnsupportedExtension => (
            "it wants an extension that was not offered",
            "see the server's log, and update it",
        ),
        _ => (
            "a message arrived there with an error",
            "something between here and the server may change the data; see the server's log",
        ),
    };
    (
        format!("the server broke off: {why} (TLS alert {name})"),
        cure,
    )
}

fn refusal(alert: AlertDescription) -> (&'static str, &'static str) {
    use AlertDescription as A;
    match alert {
        A::UnknownCA => (
            "it does not know the CA that issued it, or the way there",
            TRUST,
        ),
        A::CertificateRequired => (
            "it wants one, and got none that it can use",
            "give a certificate of a CA that the server names, for a key of a type that it takes",
        ),
        A::CertificateExpired => (
            "it has expired, or is not valid yet, by the server's clock",
            "have a new certificate issued; or set the clock of this device or of the server",
        ),
        A::CertificateRevoked => ("it is revoked", "have a new certificate issued"),
        A::UnsupportedCertificate => (
            "it is of a kind that is not taken, perhaps not for TLS clients",
            "have one issued of X.509 version 3, with the extended key usage clientAuth; tedge-hsm csr asks for it",
        ),
        A::AccessDenied => (
            "it may not connect",
            "have the server let it, or register the device there",
        ),
        A::DecryptError => (
            "a signature does not fit, that of the handshake or one in its chain",
            "tedge-hsm verify checks whether the certificate is for the key and from the CA",
        ),
        // Some libraries have one alert for all: Go's the first, Java's the other.
        A::BadCertificate => (
            "it is damaged, or not trusted; some servers say this about everything that they refuse",
            TRUST,
        ),
        _ => (
            "for a reason that it does not give; some servers say this about everything that they refuse",
            TRUST,
        ),
    }
}

/// As RFC 8446 and its predecessors have it.
fn name(alert: AlertDescription) -> String {
    use AlertDescription as A;
    let name = match alert {
        A::CloseNotify => "close_notify",
        A::UnexpectedMessage => "unexpected_message",
        A::BadRecordMac => "bad_record_mac",
        A::DecryptionFailed => "decryption_failed",
        A::RecordOverflow => "record_overflow",
        A::DecompressionFailure => "decompression_failure",
        A::HandshakeFailure => "handshake_failure",
        A::NoCertificate => "no_certificate",
        A::BadCertificate => "bad_certificate",
        A::UnsupportedCertificate => "unsupported_certificate",
        A::CertificateRevoked => "certificate_revoked",
        A::CertificateExpired => "certificate_expired",
        A::CertificateUnknown => "certificate_unknown",
        A::IllegalParameter => "illegal_parameter",
        A::UnknownCA => "unknown_ca",
        A::AccessDenied => "access_denied",
        A::DecodeError => "decode_error",
        A::DecryptError => "decrypt_error",
        A::ExportRestriction => "export_restriction",
        A::ProtocolVersion => "protocol_version",
        A::InsufficientSecurity => "insufficient_security",
        A::InternalError => "internal_error",
        A::InappropriateFallback => "inappropriate_fallback",
        A::UserCanceled => "user_canceled",
        A::NoRenegotiation => "no_renegotiation",
        A::MissingExtension => "missing_extension",
        A::UnsupportedExtension => "unsupported_extension",
        A::CertificateUnobtainable => "certificate_unobtainable",
        A::UnrecognisedName => "unrecognized_name",
        A::BadCertificateStatusResponse => "bad_certificate_status_response",
        A::BadCertificateHashValue => "bad_certificate_hash_value",
        A::UnknownPSKIdentity => "unknown_psk_identity",
        A::CertificateRequired => "certificate_required",
        A::NoApplicationProtocol => "no_application_protocol",
        A::EncryptedClientHelloRequired => "ech_required",
        other => return u8::from(other).to_string(),
    };
    name.to_owned()
}

const TRUST: &str = "have the server trust the CA of the certificate, or upload the certificate to the cloud; send the \
                     whole chain in the file";
