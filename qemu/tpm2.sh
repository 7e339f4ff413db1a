# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # of lib.sh and run
# A device with a TPM 2.0: swtpm, behind the kernel's own driver.

tpm2_packages=systemd,systemd-sysv,udev,dbus,kmod,openssh-server,openssl,mosquitto,mosquitto-clients,procps,libtpm2-pkcs11-1
tpm2_packages+=,libtss2-tcti-device0,tpm-udev,tpm2-tools,opensc,podman,crun,strace

power_on() {
    local ports=()
    # As many as runqemu gives it: OpenEmbedded's machines have a console on each.
    [ -z "$image" ] || ports=(-serial null)
    start_tpm
    start_qemu "${ports[@]}" -chardev "socket,id=tpm,path=$tmp/tpm.sock" -tpmdev emulator,id=tpm,chardev=tpm -device tpm-crb,tpmdev=tpm
    open_way
}

begin_tpm2() {
    if [ -n "$image" ]; then
        disk=${TEDGE_DISK:-vda}
        take_image "$image"
    else
        root_with linux-image-cloud-amd64 "$tpm2_packages"
        make_image tpm2
        # The versions of the packages.
        [ -z "$packages" ] || tap "$(sed -n 's/^Setting up \(.*\) \.\.\.$/# \1/p' "$tmp/image.log")"
    fi
    new_tpm
    power_on
    [ -z "$image" ] || furnish
}

run_tpm2() {
    begin_tpm2
    phase provision
    check "a CA signs the request" sign
    phase run_device
    check "the broker knows the device by its certificate" known_to_broker
    [ "$shell" = no ] || { shell; return; }

    phase last_key
    power_off
    power_on
    phase power_cut
    phase killed
    phase sealed
    [ "$fast" = no ] || return 0

    phase many_keys
    thin_edge
    phase check "eight clients are served at a time" under_load
    kill_child "$swtpm"
    phase tpm_gone
    power_off
    power_on
    phase tpm_back

    power_off
    mv "$tmp/tpm" "$tmp/first-tpm"
    new_tpm
    power_on
    phase sealed_by_another
    phase unseal
    phase tpm_fresh
    power_off
    rm -rf "$tmp/tpm"
    mv "$tmp/first-tpm" "$tmp/tpm"
    power_on
    phase locked
    phase tpm_back
}
