# shellcheck shell=bash
# shellcheck disable=SC2154 # of lib.sh and run
# A device with a TPM 2.0: swtpm, behind the kernel's own driver.

tpm2_packages=systemd,systemd-sysv,udev,dbus,kmod,openssh-server,openssl,mosquitto,procps,libtpm2-pkcs11-1
tpm2_packages+=,libtss2-tcti-device0,tpm-udev,tpm2-tools,opensc,podman,crun

power_on() {
    start_tpm
    start_qemu -chardev "socket,id=tpm,path=$tmp/tpm.sock" -tpmdev emulator,id=tpm,chardev=tpm -device tpm-crb,tpmdev=tpm
}

begin_tpm2() {
    root_with linux-image-cloud-amd64 "$tpm2_packages"
    make_image tpm2
    new_tpm
    power_on
}

run_tpm2() {
    begin_tpm2
    phase provision
    check "a CA signs the request" sign
    phase run_device
    [ "$shell" = no ] || { shell; return; }

    phase last_key
    power_off
    power_on
    phase power_cut
    phase killed
    phase seal
    [ "$fast" = no ] || return 0

    phase check "eight clients are served at a time" under_load
    kill_child "$swtpm"
    phase tpm_gone
    power_off
    power_on
    phase tpm_back
    phase unseal

    power_off
    mv "$tmp/tpm" "$tmp/first-tpm"
    new_tpm
    power_on
    phase tpm_fresh
    power_off
    rm -rf "$tmp/tpm"
    mv "$tmp/first-tpm" "$tmp/tpm"
    power_on
    phase tpm_back
}
