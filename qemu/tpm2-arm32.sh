# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # of lib.sh and run
# A 32-bit Arm device (ARMv7) with a TPM 2.0, to a handshake, and to another one after 2038.

# shellcheck source=qemu/arm32.sh
. "$repo/qemu/arm32.sh"

needs=(qemu-system-arm swtpm)
phases=tpm2
# For a certificate that ends after 2038, and is used then.
days=9000

power_on() {
    start_tpm
    # Its PCI where a kernel without LPAE can reach it.
    computer=(qemu-system-arm -machine "virt,highmem=off" -cpu cortex-a15)
    console=ttyAMA0
    start_qemu -initrd "$tmp/initrd" -chardev "socket,id=tpm,path=$tmp/tpm.sock" -tpmdev emulator,id=tpm,chardev=tpm \
        -device tpm-tis-device,tpmdev=tpm
}

# The user that tpm-udev's script would have made.
fill_more() { echo 'u tss -' >"$1/usr/lib/sysusers.d/tss.conf"; }

run_tpm2_arm32() {
    arm32_root
    arm32_programs
    make_image tpm2
    make_initrd
    new_tpm
    power_on
    phase provision
    check "a CA signs the request" sign
    phase run_device
    phase after_2038
    [ "$shell" = no ] || shell
}
