# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034 # of `run`
# An image, for `run`: made by BitBake's own do_rootfs and do_image from our packages on Debian's root file system, booted,
# and tested on the device.

# image_prepare: what an image needs beside the layers. Without a mirror or PyPI there is none.
image_prepare() {
    local program key
    local qemu=qemu-system-x86_64
    [ "$machine" = qemux86-64 ] || qemu='qemu-system-aarch64'
    for program in "$qemu" swtpm mmdebstrap ssh ping mkfs.ext4 depmod apt-ftparchive; do
        command -v "$program" >/dev/null || { echo "$program is not installed"; return 77; }
    done
    [ "$(id -u)" = 0 ] || { echo 'Debian'\''s root file system takes root to make'; return 77; }
    mkdir -p "$base"
    key=$(cat "$here/image-base" "$tree/qemu/kernel-hook" | sha256sum)
    if [ "$(cat "$base/.made" 2>/dev/null)" != "$key" ]; then
        rm -rf --one-file-system "$base"
        mkdir -p "$base"
        "$here/image-base" "$base" "$machine" || return
        echo "$key" >"$base/.made"
    fi
    # QEMU's own Python module, which testimage takes from qemu-native.
    if [ ! -e "$work/../qmp/qemu/qmp/legacy.py" ]; then
        rm -rf "$work/../qmp"
        python3 -m pip install --quiet --no-deps --target "$work/../qmp" qemu.qmp==0.0.6 || return 77
    fi
    # At its end testimage asks git for the layers' revisions.
    printf '[safe]\n\tdirectory = *\n' >"$work/.gitconfig"
}

# image_configuration HSM PROVISION [read-only|enroll]: the build folder `image-HSM`, or `image-HSM-read-only`, of other machines
# than qemux86-64 with their names. With --recipes SoftHSM2 and tpm2-pkcs11 are built, in place of Debian's.
image_configuration() {
    local others=("$meta_oe") folder=image-$1${3:+-$3}
    [ "$machine" = qemux86-64 ] || folder+=-$machine
    [ -z "$recipes_too" ] || others=("${layers[@]}")
    configuration "$folder" "${others[@]}" "$here/image-layer" < <(
        [ -z "$recipes_too" ] || cat "$here/recipes.conf"
        sed -e "s,@BASE@,$base," -e "s,@QMP@,$(realpath "$work/../qmp")/qemu/qmp," "$here/image.conf"
        printf 'TEDGE_HSM = "%s"\nTEDGE_HSM_PROVISION = "%s"\n' "$1" "$2"
        [ -z "$recipes_too" ] || cat <<'RECIPES'
DEBIAN_REPLACED = "softhsm tpm2-pkcs11"
OTHERS_MASK = "/recipes-tedge-hsm/(linux|systemd)/"
RECIPES
        [ -z "$ptest" ] || with_ptest
        # What they try does not depend on where the state is.
        [ -z "$ptest" ] || [ -n "${3-}" ] || cat <<'PTEST'
CORE_IMAGE_EXTRA_INSTALL += "tedge-p11-server-ptest tedge-hsm-ptest tedge-hsm-bridge-ptest"
TEST_SUITES += "tedge_ptest"
PTEST
        [ "${3-}" != read-only ] || cat <<READ_ONLY
EXTRA_IMAGE_FEATURES = "read-only-rootfs"
TEDGE_HSM_STATE_DIR = "/data/tedge"
IMAGE_CLASSES += "data-partition"
CORE_IMAGE_EXTRA_INSTALL += "volatile-binds"
QB_ROOTFS_OPT:append = " -drive id=data,file=$work/$folder/data,if=none,format=raw -device virtio-blk-pci,drive=data"
TEST_SUITES += "tedge_read_only"
READ_ONLY
        # The case on the device brings the server to this port.
        [ "${3-}" != enroll ] || cat <<ENROLL
TEDGE_HSM_ENROLL = "est --est https://localhost:18443 --ca /etc/tedge-hsm/est-ca.pem --user installer \
    --password-file /etc/tedge-hsm/est-password --broker localhost:28883 --broker-ca /etc/tedge-hsm/est-ca.pem --preset cumulocity"
TEDGE_TEST_EST = "$work/$folder/est"
IMAGE_CLASSES += "est-client"
TEST_SUITES += "tedge_enroll"
ENROLL
    )
    images=$build/tmp/deploy/images/$machine
    [ "${3-}" != enroll ] || make_est_ca "$build/est" >"$log" 2>&1
}

# make_est_ca DIR: what tests/est-server wants there: a CA, and localhost's certificate by it.
make_est_ca() {
    local new=(openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30)
    rm -rf "$1"
    mkdir "$1"
    "${new[@]}" -subj /CN=est-ca -keyout "$1/ca.key" -out "$1/ca.pem"
    "${new[@]}" -subj /CN=localhost -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE \
        -CA "$1/ca.pem" -CAkey "$1/ca.key" -keyout "$1/localhost.key" -out "$1/localhost.pem"
    if [ "$(id -u)" = 0 ]; then chown -R nobody:nogroup "$1"; fi
}

# The machine's own types, which runqemu can't keep, stay away.
image_types() {
    ls -l "$images"
    compgen -G "$images/*.ext4" >/dev/null && ! compgen -G "$images/*.zst" >/dev/null &&
        ! compgen -G "$images/*.tar.*" >/dev/null
}

# What BitBake built of others is in it.
image_recipes() {
    local name=softhsm
    [ "$1" != tpm2 ] || name=tpm2-pkcs11
    # What stands in for a package of Debian's has the base's version.
    grep "^$name " "$images"/*.manifest && ! grep -x "$name .* 13-r0" "$images"/*.manifest
}

# image_boots: qemu/run's tests on it. Its own lines of TAP become comments.
image_boots() {
    local status=0
    # The cloud kernel has NVMe built in, where linux-yocto has virtio.
    TEDGE_DISK=nvme0n1 "$tree/qemu/run" tpm2 --image "$images" --fast >"$log" 2>&1 || status=$?
    sed 's/^/#   /' "$log"
    report "$status" "qemu/run tpm2 --image: $(grep -c '^ok' "$log") of $(grep -cE '^(not )?ok' "$log")" 0
}

# image_cases NAME [read-only|enroll]: testimage, and a line for each of our cases. It says that all have passed when all were
# skipped, so they are counted: a case that is skipped is a failure here.
image_cases() {
    local status=0 name result passed=0 cases
    rm -rf "$build/tmp/tedge-hsm-swtpm" "$build/data"
    [ "${2-}" != read-only ] || "${user[@]}" mke2fs -q -t ext4 -L data "$build/data" 64M >"$log" 2>&1
    nice=0 in_build "$tree/meta-tedge-hsm/scripts/with-swtpm" bitbake -c testimage -f tedge-hsm-image-qemu >"$log" 2>&1 || status=$?
    ! grep Terminated "$log" || status=1
    report "$status" "$1: testimage"
    while read -r name result; do
        case $result in PASSED) status=0 && passed=$((passed + 1)) ;; *) status=1 ;; esac
        report "$status" "$1: $name $result" 0
    done < <(sed -n 's/^.*RESULTS - \(tedge_[^ ]*\): \([A-Z]*\).*/\1 \2/p' "$log")
    cases=("$tree"/meta-tedge-hsm/lib/oeqa/runtime/cases/*.py)
    [ -z "$ptest" ] || [ -n "${2-}" ] || cases+=("$here/image-layer/lib/oeqa/runtime/cases/tedge_ptest.py")
    [ -z "${2-}" ] || cases+=("$here/image-layer/lib/oeqa/runtime/cases/tedge_${2/-/_}.py")
    status=0
    [ "$passed" = "$(cat "${cases[@]}" | grep -c '    def test_')" ] || status=1
    report "$status" "$1: testimage ran every case of ours, and all passed" 0
}

image() {
    local status=0 why hsm provision variant name
    machine=${only_for:-qemux86-64}
    if [ "$machine" = qemuarm ]; then
        echo '# skipped: the image: there is none of qemuarm'
        return
    fi
    name=image-base
    [ "$machine" = qemux86-64 ] || name+=-$machine
    base=$(realpath -m "$work/../$name")
    why=$(image_prepare 2>&1) || status=$?
    if [ "$status" = 77 ]; then
        echo "# skipped: the image: $why"
        return
    fi
    echo "$why" >"$log"
    report "$status" 'the root file system under the image'
    [ "$status" = 0 ] || return 0
    # By another descriptor than that of standard input, which what runs in QEMU reads.
    while read -r hsm provision variant <&3; do
        name=$hsm${variant:+, $variant}
        [ -z "$which" ] || [ "$which" = "$hsm${variant:+-$variant}" ] || continue
        image_configuration "$hsm" "$provision" "$variant"
        # BitBake's database of fake owners does not outlive a run that was cut off.
        rm -rf "$build/tmp"
        status=$failures
        try "$name: the image, with TEDGE_HSM_PROVISION = \"$provision\"" in_build bitbake tedge-hsm-image-qemu
        [ "$failures" = "$status" ] || continue
        try "$name: the image is a plain ext4" image_types
        [ -z "$recipes_too" ] || try "$name: the PKCS#11 module is that of the recipe" image_recipes "$hsm"
        # qemu/run has no machine for an image of Arm.
        [ "$name $machine" != 'tpm2 qemux86-64' ] || image_boots
        image_cases "$name" "$variant"
    done 3<<'IMAGES'
tpm2 csr
softhsm self-signed
tpm2 csr read-only
tpm2 csr enroll
IMAGES
}
