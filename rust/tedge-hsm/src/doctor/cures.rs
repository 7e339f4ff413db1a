//! What to do about an error, by what it says. The signer's errors come as text only, so the codes in
//! the text are what both ways have in common.

/// What to do next.
pub(super) fn of(error: &str) -> String {
    CURES
        .iter()
        .find(|(part, _)| error.contains(part))
        .map_or(
            "see the log: journalctl -u tedge-p11-server",
            |(_, cure)| cure,
        )
        .to_owned()
}

/// Part of an error, and what helps.
const CURES: &[(&str, &str)] = &[
    (
        "no rule",
        "have a rule in /etc/tedge-hsm/tedge-p11-server.toml allow it, which begins as a copy of \
         /usr/share/tedge-hsm/tedge-p11-server.toml, then systemctl reload tedge-p11-server",
    ),
    (
        "needs its user PIN",
        "put the PIN into /etc/credstore/tedge-p11-server.pin (chmod 600), or its file back from a copy if /var was \
         wiped, and restart tedge-p11-server, or give --pin-file",
    ),
    (
        "CKR_PIN_INCORRECT",
        "find the right PIN before more tries are spent; the signer reads it from \
         /etc/credstore/tedge-p11-server.pin or tedge.toml",
    ),
    (
        "CKR_PIN_LOCKED",
        "reset the user PIN with the SO PIN (tedge-hsm unlock), or with the vendor's tool: ykman piv access unblock-pin, \
         sc-hsm-tool, tpm2_dictionarylockout -c",
    ),
    (
        "one try left",
        "log in with the right PIN by the vendor's tool, which resets the counter",
    ),
    ("CKR_TOKEN_NOT_PRESENT", "plug the token in"),
    ("CKR_DEVICE_REMOVED", "plug the token in"),
    (
        "CKR_DEVICE_ERROR",
        "see the device's permissions above; is it there, and does the service for it run?",
    ),
    (
        "CKR_GENERAL_ERROR",
        "see what the module itself says: tedge-hsm --hsm NAME list-tokens; for a TPM: is TPM2_PKCS11_STORE readable, and is it this TPM's?",
    ),
    (
        "no token matches pkcs11:;",
        "initialise a token: tedge-hsm setup does, or tedge-hsm init",
    ),
    (
        "no token matches",
        "correct the URI, or initialise a token: tedge-hsm init",
    ),
    (
        "matches several",
        "give the URI of one of them, by --uri or as device.cryptoki.uri in tedge.toml",
    ),
    (
        "no private key",
        "make a key: tedge-hsm create-key; or correct the URI",
    ),
    (
        "no mechanism",
        "use a key of another type, or a token that can sign with this one",
    ),
    (
        "CKR_MECHANISM_INVALID",
        "use a key of another type, or a token that can sign with this one",
    ),
    (
        "unknown curve",
        "use a key on P-256, P-384 or P-521: tedge-hsm create-key",
    ),
    (
        "did not answer within",
        "see the log: journalctl -u tedge-p11-server; the token hangs, or is slow: give a longer --timeout",
    ),
    (
        "cannot connect to the signer",
        "start it: systemctl start tedge-p11-server.socket",
    ),
];
