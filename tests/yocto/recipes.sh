# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034,SC2317 # of `run`
# Recipes of others, with what we append, for `run`: from the sources that they name, with this machine's compilers and
# libraries, to packages in which the append's effect is looked for.

# contents NAME: the files of a package.
contents() { dpkg-deb --contents "$build"/tmp/deploy/deb/*/"$1"_*.deb; }

softhsm_is_not_for_p11_kit() {
    local files
    files=$(contents softhsm)
    grep -q '/usr/lib/softhsm/libsofthsm2.so$' <<<"$files" && ! grep p11-kit <<<"$files"
}

tpm2_store_is_the_signers() {
    local field dropin=./usr/lib/systemd/system/tedge-p11-server.service.d/tpm2-lock.conf
    field=$(dpkg-deb --field "$build"/tmp/deploy/deb/*/tpm2-pkcs11_*.deb Depends Version)
    echo "$field"
    in_package tpm2-pkcs11 /usr/lib/pkcs11/libtpm2_pkcs11.so.0.0.0 >"$work/module.so"
    grep -q libtss2-tcti-device <<<"$field" || return
    grep -qa '/var/lib/tedge-p11-server/tpm2_pkcs11' "$work/module.so" || return
    # The Feature API's own library.
    ! readelf -d "$work/module.so" | grep 'NEEDED.*tss2-fapi' || return
    # 1.9.0 fails with it.
    if grep -q '^Version: 1\.9\.0' <<<"$field"; then
        ! contents tpm2-pkcs11 | grep "$dropin"
    else
        contents tpm2-pkcs11 | grep "$dropin"
    fi
}

optee_client_has_pkcs11() {
    local files
    files=$(dpkg-deb --contents "$build"/tmp/deploy/deb/*/optee-client_*.deb)
    echo "$files"
    grep -q '/libckteec\.so\.0' <<<"$files" && grep -q '/tee-supplicant@.service.d/before-signer.conf' <<<"$files"
}

optee_os_holds_the_application() {
    local made
    made=$(echo "$build"/tmp/work/*/optee-os/*/)
    grep -x 'CFG_PKCS11_TA=y' "$made/build/conf.mk" &&
        grep '^CFG_IN_TREE_EARLY_TAS=.*pkcs11/fd02c9da-306c-48c7-a49c-bbd827ae86ee' "$made/build/conf.mk" &&
        readelf --symbols --wide "$build/tmp/deploy/images/$machine/optee/tee.elf" |
        grep 'OBJECT.*fd02c9da_*306c_*48c7_*a49c_*bbd827ae86ee'
}

# qemu/run's tests on it. Its own lines of TAP become comments.
optee_os_boots() {
    local status=0 made=$build/tmp/deploy/images/qemuarm64/optee
    [ -e "$made/tee-header_v2.bin" ] || return 0
    "$tree/qemu/run" optee --optee-os "$made" --fast >"$log" 2>&1 || status=$?
    sed 's/^/#   /' "$log"
    [ "$status" != 77 ] || { echo "# skipped: qemu/run optee --optee-os"; return 0; }
    report "$status" "qemu/run optee --optee-os: $(grep -c '^ok' "$log") of $(grep -cE '^(not )?ok' "$log")" 0
}

# recipe MACHINE NAME DESCRIPTION CHECK
recipe() {
    [ -z "$which" ] || [ "$which" = "$2" ] || return 0
    machine=$1
    configuration "recipes-$1" "${layers[@]}" <"$here/recipes.conf"
    # BitBake's database of fake owners does not outlive a run that was cut off.
    rm -rf "$build/tmp"
    local before=$failures
    try "$2 is built for $1" in_build bitbake "$2"
    [ "$failures" != "$before" ] || try "$3" "$4"
}

recipes() {
    local program
    for program in autoreconf bc cmake dtc flex bison ninja; do
        command -v "$program" >/dev/null || { echo "# skipped: recipes of others: $program is not installed"; return; }
    done
    # OpenEmbedded's knows an option more, and its aclocal, too.
    cat >"$work/bin/autoreconf" <<'END'
#!/bin/bash
for option; do
    shift
    case $option in --exclude=*) ;; *) set -- "$@" "$option" ;; esac
done
ACLOCAL=aclocal exec /usr/bin/autoreconf "$@"
END
    chmod +x "$work/bin/autoreconf"
    recipe qemux86-64 softhsm 'SoftHSM2 is not offered to p11-kit' softhsm_is_not_for_p11_kit
    recipe qemux86-64 tpm2-pkcs11 \
        "tpm2-pkcs11 has its store in the signer's /var/lib, and no Feature API" tpm2_store_is_the_signers
    recipe qemux86-64 optee-client \
        'optee-client has libckteec, and its supplicant is before the signer' optee_client_has_pkcs11
    recipe qemuarm64 optee-os 'the PKCS#11 trusted application is built into OP-TEE' optee_os_holds_the_application
    if [ -z "$which" ] || [ "$which" = optee-os ]; then optee_os_boots; fi
}
