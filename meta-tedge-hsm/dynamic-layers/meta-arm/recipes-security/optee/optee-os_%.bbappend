require ${@bb.utils.contains('TEDGE_HSM', 'optee', 'optee-os-pkcs11.inc', '', d)}
