require ${@bb.utils.contains('TEDGE_HSM', 'tpm2', 'tpm2-pkcs11-tedge-hsm.inc', '', d)}
