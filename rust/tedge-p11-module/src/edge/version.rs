//! The versions of PKCS#11 that a program finds.

use cryptoki_sys::CK_VERSION;

/// Of the newer interface.
pub(super) const VERSION_3: CK_VERSION = CK_VERSION { major: 3, minor: 0 };
/// Of the older one.
pub(super) const VERSION_2: CK_VERSION = CK_VERSION {
    major: 2,
    minor: 40,
};
