require ${@'tedge-without-signer.inc' if d.getVar('TEDGE_HSM').split() else ''}
