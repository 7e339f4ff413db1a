# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # of lib.sh and run
# A device with OP-TEE: Debian's, behind TF-A in the secure world of QEMU's Arm machine, its PKCS#11 trusted application,
# tee-supplicant and the kernel's own driver.

# shellcheck source=qemu/arm64.sh
. "$repo/qemu/arm64.sh"

needs=(qemu-system-aarch64)

power_on() {
    # Debian's OP-TEE has CFG_ARM_GICV3, meta-arm's has not.
    local gic=3
    [ -z "$optee_os" ] || gic=2
    arm64_computer "virt,secure=on,gic-version=$gic" -bios "$firmware/flash" \
        -drive "if=pflash,unit=1,format=raw,readonly=on,file=$firmware/environment"
    start_qemu -initrd "$tmp/initrd"
}

# TF-A's package has no build for QEMU's machine, so it is built, around Debian's OP-TEE or that of --optee-os.
optee_firmware() {
    local key
    key="$arm64_tools $(cat "$repo/qemu/optee-firmware")"
    if [ -n "$optee_os" ]; then
        cached optee-firmware-own "$key $(cat "$optee_os"/tee-*_v2.bin | sha256sum)" make_firmware
    else
        cached optee-firmware "$key" make_firmware
    fi
    export firmware=$made
}

make_firmware() {
    local status=0
    mkdir "$new_root"
    if [ -n "$optee_os" ]; then
        mkdir "$new_root/os"
        cp "$optee_os"/tee-{header,pager,pageable}_v2.bin "$new_root/os/"
    fi
    in_build_root "$repo/qemu/optee-firmware" "$new_root" || status=$?
    [ "$status" != 77 ] || skip "the source of TF-A can't be had from the mirror of Debian"
    [ "$status" = 0 ] || fail "no firmware could be made"
}

# What docs/hsm/optee.md has an operator write, and the rules that tedge-hsm-udev brings.
fill_more() {
    local root=$1 repo=$2 name
    # None where it is built into OP-TEE.
    for name in "$firmware"/ta/*.ta; do
        [ ! -e "$name" ] || install -D -m 0444 -t "$root/usr/lib/optee_armtz" "$name"
    done
    for name in /etc/sysusers.d/tee.conf /etc/systemd/system/tee-supplicant.service.d/user.conf; do
        mkdir -p "$root${name%/*}"
        sed -n "\\,^# $name\$,,/^\`\`\`\$/p" "$repo/docs/hsm/optee.md" | sed '$d' >"$root$name"
        [ -s "$root$name" ]
    done
    sed 's/@TEE_GROUP_NAME@/tee/' "$repo/meta-tedge-hsm/recipes-tedge-hsm/tedge-hsm-udev/files/70-tedge-hsm.rules.in" \
        >"$root/etc/udev/rules.d/70-tedge-hsm.rules"
    systemctl --root="$root" enable tee-supplicant
    install -m 0644 "$repo/qemu/bridge.toml" "$root/etc/tedge-hsm/tedge-hsm-bridge.toml"
}

# The page has the same rules.
same_rules() {
    local rule
    while IFS= read -r rule; do
        grep -qxF -- "${rule/@TEE_GROUP_NAME@/tee}" "$repo/docs/hsm/optee.md" || { echo "not in the page: $rule"; return 1; }
    done < <(grep '^SUBSYSTEM=="tee"' "$repo/meta-tedge-hsm/recipes-tedge-hsm/tedge-hsm-udev/files/70-tedge-hsm.rules.in")
}

begin_optee() {
    check "docs/hsm/optee.md has the udev rules of tedge-hsm-udev" same_rules
    arm64_programs
    optee_firmware
    arm64_root arm64
    make_image optee
    make_initrd
    power_on
}

run_optee() {
    begin_optee
    phase provision
    check "a CA signs the request" sign
    phase run_device
    [ "$shell" = no ] || { shell; return; }
    [ "$fast" = no ] || return 0

    phase bridge
    phase other_keys
    guest sync
    power_off
    power_on
    phase rebooted
    phase supplicant_stopped
    phase supplicant_back
    phase supplicant_frozen
    phase killed
}
