# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154,SC2317 # of and for lib.sh; checks are called by their names
# On the device with a TPM, a read-only root, and a partition for /var.

state=/var/lib/tedge-hsm
sealed=$state/credstore.encrypted/tedge-p11-server.pin

read_only() { ! touch /etc/x && ! touch /x && [ ! -e /etc/credstore.encrypted/tedge-p11-server.pin ]; }
public_key() { tedge-hsm csr --uri "$key" --common-name x | openssl req -verify -noout -pubkey; }
device_name() { echo "device-$(cat "$state/machine-id")"; }

booted_read_only() {
    check "the system has booted, and no unit failed" booted
    check "root is read-only, with /etc" read_only
    check "nothing was made yet" [ ! -e "$sealed" ]
}

finished() {
    check "after the power cut the system boots, and no unit failed" booted
    done_now() { [ -e "$state/provisioned" ]; }
    check "the first boot comes to its end" soon done_now
    # It found the PIN of before the power cut, and not what comes last.
    middle() {
        journalctl --sync
        journalctl --boot --unit "$provisioning" --output cat | tee /run/first-boot
        grep '^ok  *PIN ' /run/first-boot && grep '^done  *certificate ' /run/first-boot
    }
    check "the power had gone in its middle" middle
    check "nothing was written to the root" read_only
    # systemd 252 and newer: the first 16 bytes tell what has sealed it.
    by_tpm() { systemd-creds decrypt --name=pin "$sealed" - >/dev/null && [ ! -e /var/lib/systemd/credential.secret ]; }
    check "the PIN is sealed by the TPM alone: systemd has no key of this machine" by_tpm
    request_is_named() {
        [ "$(cat /etc/machine-id)" != "$(cat "$state/machine-id")" ] &&
            openssl req -verify -noout -subject -in "$state/device.csr" | grep -F "$(device_name)"
    }
    check "openssl verifies the request, in the name of the first boot's machine id" request_is_named
    check "the key signs, with the PIN that systemd unseals" public_key
}
