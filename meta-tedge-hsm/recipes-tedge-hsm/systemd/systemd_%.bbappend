# systemd-creds seals the PIN at the first boot: with OpenSSL, and by the TPM where there is one.
require ${@'systemd-creds.inc' if d.getVar('TEDGE_HSM_PROVISION') else ''}
