require ${@bb.utils.contains('TEDGE_HSM', 'softhsm', 'softhsm-tedge-hsm.inc', '', d)}
