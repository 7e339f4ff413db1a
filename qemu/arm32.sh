# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # of lib.sh and run
# What machines with a 32-bit Arm CPU (armhf: ARMv7) have: our programs as the Debian packages have them; Debian stable's root
# file system and kernel, unpacked, since nothing of them can run here.

# shellcheck source=qemu/arm64.sh
. "$repo/qemu/arm64.sh"

arm32_packages=$arm_packages,linux-image-armmp,mosquitto-clients,libtpm2-pkcs11-1,libtss2-tcti-device0t64,tpm-udev

# What builds one module for Debian's kernel for armhf; headers-hook adds that kernel's headers.
arm32_kernel_tools=gcc-arm-linux-gnueabihf,make,xz-utils,linux-source-6.12

# arm32_programs: sets $bin. The packages are linked against Debian 12's libc, and run on the newer one here.
arm32_programs() {
    local debs=${TEDGE_DEBS:-$repo/target/deb} name
    if ! compgen -G "$debs/tedge-hsm-signer_*_armhf.deb" >/dev/null; then
        [ -z "${TEDGE_DEBS-}" ] || fail "there are no packages for armhf in $debs"
        echo "# building the packages for armhf" >&2
        TEDGE_SBOM=no "$repo/packaging/build-deb" armhf >&2 || fail "the packages can't be built for armhf"
    fi
    bin=$tmp/programs
    mkdir "$bin"
    for name in tedge-hsm-signer tedge-hsm tedge-hsm-bridge libtedge-p11; do
        dpkg-deb -x "$debs/${name}"_*_armhf.deb "$tmp/package"
    done
    mv "$tmp/package/usr/bin"/* "$tmp/package/usr/lib/arm-linux-gnueabihf/pkcs11/libtedge_p11.so" "$bin/"
}

# arm32_root: sets $root and $kernel. Debian's kernel for armhf has the core of the TPM's driver and not the driver
# (CONFIG_TCG_TIS), which is built from Debian's source of that kernel.
arm32_root() {
    cached arm32-root "$arm32_packages $arm32_kernel_tools $(declare -f unpack_arm32_root complete_root build_tpm_tis)" unpack_arm32_root
    root=$made
    kernel=$(compgen -G "$root/boot/vmlinuz-*-armmp")
}

unpack_arm32_root() {
    local status=0 main_archive_only=yes making=$new_root release
    debian_root "$making" "${making%.tmp}.log" trixie "$arm32_packages" --variant=extract --architectures=armhf || status=$?
    case $status in
    0) ;;
    77) skip "no mirror of Debian can be reached" ;;
    *) fail "mmdebstrap failed" ;;
    esac
    release=$(compgen -G "$making/boot/vmlinuz-*-armmp")
    build_tpm_tis "${release#*/vmlinuz-}" "$making"
    complete_root "$making"
}

# build_tpm_tis KERNEL ROOT: its module, put into the root
build_tpm_tis() {
    local tools=$2.kernel log=${2%.tmp}-kernel.log status=0 main_archive_only=yes
    debian_root "$tools" "$log" trixie "$arm32_kernel_tools" --variant=apt --architectures=amd64,armhf \
        "--customize-hook='$repo/qemu/headers-hook' \"\$1\" armhf armmp" || status=$?
    [ "$status" = 0 ] || { rm -rf --one-file-system "$tools"; fail "mmdebstrap failed for the kernel's tools"; }
    mkdir "$tools/tpm"
    tar -xJf "$tools/usr/src/linux-source-6.12.tar.xz" -C "$tools/tpm" --strip-components=4 --wildcards '*/drivers/char/tpm/*.[ch]'
    # The part of Debian's modpost that reads this table counts in longs of this PC, and refuses it. Without the table the
    # module is not loaded by itself.
    sed -i '/^MODULE_DEVICE_TABLE(of,/d' "$tools/tpm/tpm_tis.c"
    echo 'obj-m := tpm_tis.o' >"$tools/tpm/Makefile"
    # shellcheck disable=SC2016 # of that shell
    contained bash -euc 'mount -t proc proc "$1/proc"; chroot "$1" make -s -C "/usr/src/linux-headers-$2" M=/tpm ARCH=arm \
        CROSS_COMPILE=arm-linux-gnueabihf- modules' build "$tools" "$1" >"$log" 2>&1 || { tail -n 20 "$log" >&2; status=1; }
    [ "$status" != 0 ] || install -D -m 0644 -t "$2/usr/lib/modules/$1/extra" "$tools/tpm/tpm_tis.ko"
    [ "$status" != 0 ] || echo tpm_tis | install -D -m 0644 /dev/stdin "$2/usr/lib/modules-load.d/tpm_tis.conf"
    rm -rf --one-file-system "$tools"
    [ "$status" = 0 ] || fail "tpm_tis.ko can't be built"
}
