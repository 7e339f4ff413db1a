# What each word of TEDGE_HSM stands for.

# Label of the token that is made at the first boot.
TEDGE_HSM_TOKEN ?= "device"

# The signer's drop-in, of those in its package.
TEDGE_HSM_DROPIN_tpm2 = "tpm2.conf"
TEDGE_HSM_DROPIN_optee = "optee.conf"
TEDGE_HSM_DROPIN_usb = "pcscd.conf"
TEDGE_HSM_DROPIN_softhsm = "softhsm.conf"

# The PKCS#11 module.
TEDGE_HSM_MODULE_tpm2 = "${libdir}/pkcs11/libtpm2_pkcs11.so"
TEDGE_HSM_MODULE_optee = "${libdir}/libckteec.so.0"
TEDGE_HSM_MODULE_usb = "${libdir}/opensc-pkcs11.so"
TEDGE_HSM_MODULE_softhsm = "${libdir}/softhsm/libsofthsm2.so"

# The packages that the signer needs beside it.
TEDGE_HSM_PACKAGES_tpm2 = "tpm2-pkcs11"
TEDGE_HSM_PACKAGES_optee = "optee-client"
TEDGE_HSM_PACKAGES_usb = "opensc pcsc-lite ccid"
TEDGE_HSM_PACKAGES_softhsm = "softhsm"

# The value of TEDGE_HSM_<what>_<kind> for each kind of TEDGE_HSM, in its order.
def tedge_hsm_each(d, what):
    return [d.getVar('TEDGE_HSM_%s_%s' % (what, kind)) for kind in d.getVar('TEDGE_HSM').split()]
