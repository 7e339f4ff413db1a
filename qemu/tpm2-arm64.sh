# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # of lib.sh and run
# An Arm device with a TPM 2.0, to a handshake.

# shellcheck source=qemu/arm64.sh
. "$repo/qemu/arm64.sh"

needs=(qemu-system-aarch64 swtpm)
phases=tpm2

power_on() {
    start_tpm
    arm64_computer virt
    start_qemu -initrd "$tmp/initrd" -chardev "socket,id=tpm,path=$tmp/tpm.sock" -tpmdev emulator,id=tpm,chardev=tpm \
        -device tpm-tis-device,tpmdev=tpm
}

# The user that tpm-udev's script would have made.
fill_more() { echo 'u tss -' >"$1/usr/lib/sysusers.d/tss.conf"; }

run_tpm2_arm64() {
    arm64_root cloud-arm64
    arm64_programs
    make_image tpm2
    make_initrd
    new_tpm
    power_on
    phase provision
    check "a CA signs the request" sign
    phase run_device
    [ "$shell" = no ] || shell
}
