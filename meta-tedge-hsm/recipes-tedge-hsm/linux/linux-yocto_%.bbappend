require ${@'linux-tedge-hsm.inc' if d.getVar('TEDGE_HSM').split() else ''}
