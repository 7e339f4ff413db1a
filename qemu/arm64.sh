# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # of lib.sh and run
# What machines with an Arm CPU share: our programs, by a cross build with Debian stable's own Rust; Debian stable's root
# file system and kernel, unpacked, since nothing of them can run here.

# shellcheck source=tests/lib/rust-root.sh
. "$repo/tests/lib/rust-root.sh"

# For the programs and, from make on, for firmware.
arm64_tools=ca-certificates,rustc,cargo,gcc,libc6-dev,gcc-aarch64-linux-gnu,libc6-dev-arm64-cross
arm64_tools+=,libstd-rust-dev:arm64,make,dpkg-dev,device-tree-compiler,u-boot-tools,u-boot-qemu,libssl-dev

# What of Debian a device has with an Arm CPU, of 32 bits, too.
arm_packages=base-files,base-passwd,bash,coreutils,dash,findutils,grep,gzip,libc-bin,login,mawk,mount,passwd,sed,tar,util-linux
arm_packages+=,systemd,systemd-sysv,udev,dbus,kmod,openssh-server,openssl,mosquitto,procps,opensc,busybox-static
# One root file system for both HSMs: of their parts each has those of the other, and does not start them. The one kernel has
# no driver for QEMU's TPM (CONFIG_TCG_TIS), the other none for OP-TEE.
arm64_packages=$arm_packages,linux-image-arm64,linux-image-cloud-arm64
arm64_packages+=,mosquitto-clients,libckteec0t64,tee-supplicant,libtpm2-pkcs11-1,libtss2-tcti-device0t64,tpm-udev

# cached NAME KEY MAKER...: sets $made, a directory of the cache that MAKER filled, as $new_root, for that key
cached() {
    local name=$1 cache
    mkdir -p "${TEDGE_CACHE:-$repo/target/cache}"
    cache=$(realpath "${TEDGE_CACHE:-$repo/target/cache}")
    made=$cache/$name-$(sha256sum <<<"$2" | cut -c1-12)
    exec 8>"$cache/$name.lock"
    flock 8
    if [ ! -d "$made" ]; then
        echo "# making $made" >&2
        new_root=$cache/$name.tmp
        rm -rf --one-file-system "$new_root"
        "${@:3}"
        # One for each key would pile up.
        find "$cache" -maxdepth 1 -regex ".*/$name-[0-9a-f]*" -exec rm -rf --one-file-system {} +
        mv -T "$new_root" "$made"
        new_root=
    fi
    flock -u 8
}

# in_build_root COMMAND...: where there is a compiler for arm64
in_build_root() {
    local making=$new_root # rust_root makes something of its own
    rust_root arm64-build "$arm64_tools" --architectures=amd64,arm64
    new_root=$making
    in_rust_root "$repo" "$@"
}

# arm64_programs: sets $bin. An arm64 machine has them already, as others have theirs.
arm64_programs() {
    local sources
    sources=$(cd "$repo" && find Cargo.toml Cargo.lock rust -type f -exec sha256sum {} + | LC_ALL=C sort -k 2)
    cached arm64-programs "$arm64_tools $(declare -f build_arm64_programs) $sources" build_arm64_programs
    bin=$made
}

# Optimised, since everything is slow enough there, but not across crates: that takes longer than all of the tests.
build_arm64_programs() {
    local program target=$repo/target/arm64/aarch64-unknown-linux-gnu/release
    local names=(tedge-p11-server tedge-hsm tedge-hsm-bridge)
    in_build_root CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc \
        CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
        CARGO_PROFILE_RELEASE_LTO=false CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        cargo build --release --locked --quiet --target aarch64-unknown-linux-gnu --target-dir target/arm64 \
        "${names[@]/#/--package=}" --package=tedge-p11-module || fail "the programs can't be built for arm64"
    mkdir "$new_root"
    for program in "${names[@]}" libtedge_p11.so; do cp "$target/$program" "$new_root/"; done
}

# shellcheck source=qemu/initrd.sh
. "$repo/qemu/initrd.sh"

# arm64_root FLAVOUR: sets $root and $kernel, that of Debian's flavours
arm64_root() {
    cached arm64-root "$arm64_packages $(declare -f unpack_arm64_root complete_root)" unpack_arm64_root
    root=$made
    kernel=$(compgen -G "$root/boot/vmlinuz-*" | grep -E "[0-9]-$1$")
}

unpack_arm64_root() {
    local status=0
    debian_root "$new_root" "${new_root%.tmp}.log" trixie "$arm64_packages" --variant=extract --architectures=arm64 || status=$?
    case $status in
    0) ;;
    77) skip "no mirror of Debian can be reached" ;;
    *) fail "mmdebstrap failed" ;;
    esac
    complete_root "$new_root"
}

# complete_root ROOT: what the scripts of the packages do that were not run
complete_root() {
    local root=$1 name
    rm -rf "$root"/usr/share/{doc,man,locale} "$root"/usr/lib/modules/*/kernel/{sound,drivers/{gpu,media,infiniband}} \
        "$root"/usr/lib/modules/*/kernel/{drivers/net/{ethernet,wireless},net/{wireless,vmw_vsock}}
    for name in "$root"/boot/vmlinuz-*; do depmod --basedir "$root" "${name#*/vmlinuz-}"; done
    # A PC whose systemd is older than 257 does not know accounts that are locked.
    sed -i 's/^u!/u/' "$root"/usr/lib/sysusers.d/*.conf
    # For enable, they would be run.
    rm -r "$root/etc/init.d"
    for name in passwd group; do cp "$root/usr/share/base-passwd/$name.master" "$root/etc/$name"; done
    cp "$root/usr/share/openssh/sshd_config" "$root/etc/ssh/"
    # It has no common-auth and the like, which PAM would want.
    sed -i 's/^UsePAM .*/UsePAM no/' "$root/etc/ssh/sshd_config"
    printf '%s\n' 'passwd: files' 'group: files' 'shadow: files' 'hosts: files dns' >"$root/etc/nsswitch.conf"
    ln -s mawk "$root/usr/bin/awk"
    [ -e "$root/usr/bin/sh" ] || ln -s dash "$root/usr/bin/sh"
    systemctl --root="$root" enable ssh mosquitto
    # Catalogues and the like are for the first boot to make, which takes it minutes.
    touch "$root/etc/.updated" "$root/var/.updated"
    # Without KVM, and beside others, it may be very slow.
    mkdir -p "$root/etc/systemd/system.conf.d"
    printf '%s\n' '[Manager]' DefaultTimeoutStartSec=300 DefaultDeviceTimeoutSec=300 >"$root/etc/systemd/system.conf.d/slow.conf"
}

# arm64_computer MACHINE OPTION...: QEMU's machine of that name, for start_qemu
arm64_computer() {
    computer=(qemu-system-aarch64 -machine "$1" -cpu cortex-a57 "${@:2}")
    console=ttyAMA0
}
