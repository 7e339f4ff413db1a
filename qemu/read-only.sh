# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # of lib.sh and run
# A device with a TPM and a root that is read-only, as most products have it; /var is a partition of its own. Its first
# boot, with the power cut in the middle; then an update, which is another root with that /var; then a factory reset.

# shellcheck source=qemu/tpm2.sh
. "$repo/qemu/tpm2.sh"

root_mode=ro
certificate=/var/lib/tedge-hsm/device-certs/device.pem
# Of the image.
version=1
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
    echo "IMAGE_VERSION=$version" >>"$root/etc/os-release"
    # What else is in an image decides which numbers its users get.
    if [ "$version" != 1 ]; then printf '%s\n' 'u newcomer-1 -' 'u newcomer-2 -' >"$root/usr/lib/sysusers.d/00-newer.conf"; fi
    sed "s,/etc/tedge/device.pem,$certificate," "$repo/qemu/bridge.toml" |
        install -m 0644 /dev/stdin "$root/etc/tedge-hsm/tedge-hsm-bridge.toml"
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
    systemctl --root="$root" mask systemd-remount-fs.service
}

run_read_only() {
    export version certificate
    root_with linux-image-cloud-amd64 "$tpm2_packages"
    make_keys
    make_disk tpm2
    cp --sparse=always "$tmp/factory-var" "$tmp/var"
    new_tpm

    # The power goes once there are PINs, in the middle of what the first boot does: here it does not begin by itself.
    power_on
    phase booted_read_only
    guest 'systemctl start --no-block tedge-hsm-provision
        until [ -e /var/lib/tedge-hsm/credstore.encrypted/tedge-hsm.so-pin ]; do sleep 0.2; done'
    power_off

    # As enabled.
    kernel_options=(systemd.wants=tedge-hsm-provision.service)
    power_on
    phase finished
    check "a CA signs the request" sign
    phase connects
    check "the broker knows the device by its certificate" known_to_broker
    [ "$shell" = no ] || { shell; return; }
    phase remembers
    shut_down

    version=2
    make_disk tpm2
    power_on
    phase updated
    phase connects
    check "the broker knows it by the same certificate" known_to_broker
    check "what docs/yocto.md says is copied" copied
    guest 'cat /var/before/key' >"$tmp/key"
    shut_down

    # The TPM stays.
    cp --sparse=always "$tmp/factory-var" "$tmp/var"
    power_on
    # A product that keeps the certificate elsewhere has it still.
    guest 'mkdir -p /run/kept && tar -C /run/kept -x' < <(tar -C "$tmp" -c key device.pem kept.tar)
    phase reset
    check "the copy is put back as docs/yocto.md says" way_back
    phase is_back
    phase connects
    check "the broker knows it by the certificate of before" known_to_broker
}

# block WORDS: the commands in docs/yocto.md below the line that ends with these words
block() { sed -n "/$1\$/,/^\`\`\`\$/{/^\`\`\`sh\$/,/^\`\`\`\$/{/^\`\`\`/d; p}}" "$repo/docs/yocto.md"; }
copied() {
    local command
    command=$(block 'as secret as the PIN\.')
    [[ $command = tar*' /data/tedge-hsm.tar '* ]] || return
    guest "${command/\/data\/tedge-hsm.tar/-}" >"$tmp/kept.tar"
}
way_back() {
    local commands
    commands=$(block '^After the reset:')
    [[ $commands = *' /data/tedge-hsm.tar'* ]] || return
    guest "set -e; ${commands/\/data\/tedge-hsm.tar//run/kept/kept.tar}"
}
