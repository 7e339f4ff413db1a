//! Tokens that go and come.

use std::time::{Duration, Instant};

use tedge_p11_client::{Error, PrivateKey as _, SocketKey};

use crate::openssl;

/// Far more than it takes: the longest pause of the signer is 5 s for a token, 60 s for a module.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// One signature.
pub fn sign(key: &SocketKey) -> Result<Vec<u8>, Error> {
    key.sign(key.schemes()[0], b"message")
}

/// Signs until it works, then with everything that the key can.
pub fn heals(key: &SocketKey) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = sign(key) {
        assert!(Instant::now() < deadline, "not healed: {error}");
    }
    openssl::verify_all_schemes(key);
}

/// That the token is away is said by the signer, not waited for: its time limits have other words.
pub fn fails_at_once(key: &SocketKey) {
    let error = sign(key).unwrap_err().to_string();
    assert!(error.contains("plugged in?"), "{error}");
}
