# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # of lib.sh and run
# A device with a TPM and a root that is read-only, as most products have it; /var is a partition of its own. Its first
# boot, with the power cut in the middle.

# shellcheck source=qemu/tpm2.sh
. "$repo/qemu/tpm2.sh"

root_mode=ro
# Of one controller, so that their names are fixed.
disk_devices[nvme0n1]=''

power_on() {
    start_tpm
    start_qemu -chardev "socket,id=tpm,path=$tmp/tpm.sock" -tpmdev emulator,id=tpm,chardev=tpm -device tpm-crb,tpmdev=tpm \
        -drive "if=none,id=var,file=$tmp/var,format=raw,cache=unsafe" -device nvme,id=nvme,serial=disks \
        -device nvme-ns,bus=nvme,nsid=1,drive=disk -device nvme-ns,bus=nvme,nsid=2,drive=var
}

# In contained(): what an image has in /var is the new partition's.
fill_more() {
    local root=$1 repo=$2 tmp=$3
    sed -i 's/^COMMON_NAME=.*/COMMON_NAME=device-%m/' "$root/etc/tedge-hsm/provision.conf"
    mkdir -p "$root/var/log/journal"
    mke2fs -q -t ext4 -L var -d "$root/var" "$tmp/factory-var" 200M
    rm -rf "${root:?}"/var/*
    # `fill` writes its own, and systemd takes this one.
    printf '%s\n' '[Unit]' 'Before=local-fs.target' '[Mount]' 'What=/dev/nvme0n2' 'Where=/var' 'Type=ext4' \
        >"$root/etc/systemd/system/var.mount"
    mkdir -p "$root/etc/systemd/system/local-fs.target.requires"
    ln -s ../var.mount "$root/etc/systemd/system/local-fs.target.requires/"
    # systemd 252 makes the /dev of a service with PrivateDevices= in /tmp.
    printf '%s\n' '[Unit]' 'Before=local-fs.target' '[Mount]' 'What=tmpfs' 'Where=/tmp' 'Type=tmpfs' 'Options=mode=1777,nosuid,nodev' \
        >"$root/etc/systemd/system/tmp.mount"
    ln -s ../tmp.mount "$root/etc/systemd/system/local-fs.target.requires/"
    systemctl --root="$root" mask systemd-remount-fs.service mosquitto.service
}

run_read_only() {
    root_with linux-image-cloud-amd64 "$tpm2_packages"
    make_image tpm2
    cp --sparse=always "$tmp/factory-var" "$tmp/var"
    new_tpm

    # The power goes once there are PINs, in the middle of what the first boot does: here it does not begin by itself.
    power_on
    phase booted_read_only
    guest 'systemctl start --no-block tedge-hsm-provision
        until [ -e /var/lib/tedge-hsm/credstore.encrypted/tedge-hsm.so-pin ]; do sleep 0.05; done'
    power_off

    # As enabled.
    kernel_options=(systemd.wants=tedge-hsm-provision.service)
    power_on
    phase finished
    [ "$shell" = no ] || shell
}
