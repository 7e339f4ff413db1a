# shellcheck shell=bash
# shellcheck disable=SC2154 # of lib.sh and run
# Clients in containers, on the device with a TPM.

# shellcheck source=qemu/tpm2.sh
. "$repo/qemu/tpm2.sh"

run_container() {
    begin_tpm2
    phase provision
    check "a CA signs the request" sign
    [ "$shell" = no ] || { shell; return; }
    phase containers
}
