# shellcheck shell=bash
# What this project puts on a device: for `fill` of lib.sh, in contained().

# install_ours ROOT DROPIN REPO BIN PACKAGES: by `make install`, or from the packages in the folder PACKAGES
install_ours() {
    local root=$1 dropin=$2 repo=$3 bin=$4 packages=$5 module
    if [ -n "$packages" ]; then
        install_packages "$root" "$packages"
        has_hsm "$root" "$dropin"
        return
    fi
    make --silent --directory "$repo" install DESTDIR="$root" BUILD="$bin"
    systemctl --root="$root" enable tedge-p11-server.socket
    if [ "$dropin" = tpm2 ]; then
        # shellcheck source=tests/lib/provisioning.sh
        . "$repo/tests/lib/provisioning.sh"
        module=$(cd "$root" && echo usr/lib/*-linux-gnu*/pkcs11/libtpm2_pkcs11.so)
        (cd "$repo" && install_provisioning "$root" tpm2 "/$module" device-1)
    else
        local dropins=$root/etc/systemd/system/tedge-p11-server.service.d
        mkdir -p "$dropins"
        ln -s "/usr/lib/tedge-p11-server/$dropin.conf" "$dropins/"
    fi
}

# install_packages ROOT FOLDER: ours among those that BitBake has made, with their scripts; of their dependencies
# Debian has others, by other names, and the tests show whether those will do
install_packages() {
    local root=$1 name file files=()
    for name in tedge-p11-server tedge-p11-server-conf tedge-hsm tedge-hsm-udev tedge-hsm-provision \
        tedge-hsm-bridge tedge-hsm-bridge-conf; do
        for file in "$2/${name}"_*.deb; do [ ! -e "$file" ] || files+=("$file"); done
    done
    # Where OpenEmbedded has the dynamic linker, and PKCS#11 modules.
    [ -e "$root/usr/lib/ld-linux-x86-64.so.2" ] || ln -s ../lib64/ld-linux-x86-64.so.2 "$root/usr/lib/"
    [ -e "$root/usr/lib/pkcs11" ] || ln -s x86_64-linux-gnu/pkcs11 "$root/usr/lib/pkcs11"
    ((${#files[@]} > 0)) || { echo "there are no packages of ours in $2"; return 1; }
    dpkg --root="$root" --force-depends --force-architecture --force-confnew --install "${files[@]}"
    # As the image would, at its end.
    systemctl --root="$root" preset tedge-p11-server.socket
}

# has_hsm ROOT DROPIN: where tedge-p11-server-conf was built for another HSM, its settings give way to those for this
# one, in /etc, as an operator has it
has_hsm() {
    local root=$1 own=$1/etc/systemd/system/tedge-p11-server.service.d file
    local theirs=$root/usr/lib/systemd/system/tedge-p11-server.service.d
    [ ! -L "$theirs/$2.conf" ] || return 0
    echo "tedge-p11-server-conf is for another HSM"
    mkdir -p "$own"
    for file in softhsm optee pcscd tpm2; do [ ! -L "$theirs/$file.conf" ] || ln -s /dev/null "$own/$file.conf"; done
    ln -s "/usr/lib/tedge-p11-server/$2.conf" "$own/$2.conf"
    sed 's,MODULE_PATH=.*,MODULE_PATH=/usr/lib/pkcs11/libtpm2_pkcs11.so,' "$theirs/module.conf" >"$own/module.conf"
}
