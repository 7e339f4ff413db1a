# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # of lib.sh and run
# The layer's cases for testimage, without BitBake: OpenEmbedded's own runner has them run on the device with a TPM.

# shellcheck source=qemu/tpm2.sh
. "$repo/qemu/tpm2.sh"

power_on() {
    start_tpm
    start_qemu -chardev "socket,id=tpm,path=$tmp/tpm.sock" -tpmdev emulator,id=tpm,chardev=tpm -device tpm-crb,tpmdev=tpm \
        -qmp "unix:$tmp/qmp,server=on,wait=off"
}

run_oeqa() {
    local metadata=${TEDGE_YOCTO_METADATA:-${TEDGE_CACHE:-$repo/target/cache}/yocto/metadata}
    [ -e "$metadata/openembedded-core" ] || skip "there is no openembedded-core in $metadata: docs/yocto.md says how to get it"
    begin_tpm2
    take_results "OpenEmbedded's runner" < <("$repo/tests/yocto/on-device" "$metadata/openembedded-core" "$metadata/bitbake" \
        "$port" "$tmp/login" "$tmp/qmp" 2>&1)
    [ "$shell" = no ] || shell
}
