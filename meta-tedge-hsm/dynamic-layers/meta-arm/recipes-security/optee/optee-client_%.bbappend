require ${@bb.utils.contains('TEDGE_HSM', 'optee', 'optee-client-tedge-hsm.inc', '', d)}
