# shellcheck shell=bash
# For tests that boot a root file system of Debian in systemd-nspawn and source this file: a report in TAP, the root,
# the boot. Such a test ends with 77 where it can't run.

# shellcheck source=tests/lib/root.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/root.sh"
# shellcheck source=tests/lib/emulation.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/emulation.sh"

me=${0##*/}
number=0 failures=0
tmp=
new_root=

fail() { echo "$me: $*" >&2; exit 1; }
skip() {
    # What did run and fail is no skip.
    ((failures == 0)) || exit 1
    echo "1..$number"
    echo "skipped: $*"
    exit 77
}

# report STATUS DESCRIPTION
report() {
    number=$((number + 1))
    if [ "$1" = 0 ]; then
        echo "ok $number - $2"
    else
        failures=$((failures + 1))
        echo "not ok $number - $2"
    fi
}
diagnostics() { sed 's/^/# /'; }

finish() {
    end_contained
    if [ -n "$new_root" ]; then rm -rf --one-file-system "$new_root"; fi
    if [ -n "$tmp" ]; then rm -rf --one-file-system "$tmp"; fi
    end_emulation
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# Packages of the roots that several tests boot: `make_root commissioning` in this machine's release, `make_root programs`
# in Debian 13.
commissioning_packages=systemd,dbus,polkitd,openssl,iproute2,mosquitto,softhsm2,opensc,opensc-pkcs11,pcscd,libccid
commissioning_packages+=,vsmartcard-vpcd,libtpm2-pkcs11-1,libtss2-tcti-device0,libtss2-tcti-tabrmd0,libtss2-tcti-swtpm0
commissioning_packages+=,tpm-udev,tpm2-abrmd,swtpm,tpm2-tools,libtpm2-pkcs11-tools,python3,tinyproxy-bin
programs_packages=systemd,dbus,polkitd,openssl,ca-certificates,make,pkcs11-provider,softhsm2,opensc,p11-kit,iproute2
programs_packages+=,curl,mosquitto,mosquitto-clients,nginx-light,python3,python3-requests,eapoltest,freeradius,gnutls-bin
programs_packages+=,openssh-client,openssh-server,libnss3-tools,openjdk-21-jre-headless

# need_boot: skips where no root file system can be made and booted; sets $suite, this machine's release
need_boot() {
    [ "$(id -u)" = 0 ] || skip "needs root, to boot a root file system"
    command -v systemd-nspawn >/dev/null || skip "systemd-nspawn is not installed"
    command -v mmdebstrap >/dev/null || skip "mmdebstrap is not installed"
    unshare --mount --pid --fork true 2>/dev/null || skip "mounts are not permitted here"
    suite=$(release)
    case $suite in
    bookworm | trixie) ;;
    *) skip "the programs need this machine's libc, and there is no root file system for '$suite'" ;;
    esac
}

# make_root NAME PACKAGES [ARCH]: sets $root, a minimal Debian $suite with the packages (comma between them), made if the
# cache doesn't have it. Nobody may write to it. Until this script ends no other one makes one of that name.
make_root() {
    local name=$1 packages=$2 arch=${3:-$(dpkg --print-architecture)} cache status=0
    mkdir -p "${TEDGE_CACHE:-target/cache}"
    cache=$(realpath "${TEDGE_CACHE:-target/cache}")
    root=$cache/$name-root-$suite-$arch-$(sha256sum <<<"$packages" | cut -c1-12)
    exec 9>"$cache/$name-root.lock"
    flock 9
    if [ -d "$root" ]; then return; fi
    new_root=$cache/$name-root.tmp
    echo "# making a root file system with $packages in $root" >&2
    # shellcheck disable=SC2016 # mmdebstrap's shell knows the folder
    debian_root "$new_root" "$cache/$name-root.log" "$suite" "$packages" --variant=minbase "--architectures=$arch" \
        '--dpkgopt=path-exclude=/usr/share/doc/*' '--dpkgopt=path-exclude=/usr/share/man/*' \
        '--dpkgopt=path-exclude=/usr/share/locale/*' \
        '--essential-hook=mkdir -p "$1/usr/share/man/man1"' || status=$?
    case $status in
    0) ;;
    77) skip "no mirror of Debian can be reached" ;;
    *) fail "mmdebstrap failed" ;;
    esac
    # One for each list of packages would pile up.
    rm -rf --one-file-system "$cache/$name-root"-*
    mv -T "$new_root" "$root"
    new_root=
}

# furnish ROOT: what a test puts there besides, before it is booted; inside contained()
furnish() { :; }

# emulate ARCH: has this machine's kernel run programs of that architecture by QEMU's user mode, until this script ends. What
# QEMU lacks there, a drop-in takes from our units: credentials of systemd's, and most of the sandbox.
emulate() {
    begin_emulation "$1" || skip "programs of $1 can't be run here: this kernel has no binfmt_misc, or a package is missing"
    # shellcheck disable=SC2317 # boot calls it
    furnish() {
        local dropins=$1/usr/lib/systemd/system/tedge-p11-server.service.d
        mkdir -p "$dropins"
        printf '%s\n' '[Service]' LoadCredential= LoadCredentialEncrypted= SystemCallFilter= SystemCallArchitectures= \
            MemoryDenyWriteExecute=no RestrictNamespaces=no RestrictAddressFamilies= RestrictRealtime=no RestrictSUIDSGID=no LockPersonality=no \
            ProtectHostname=no ProtectClock=no ProtectKernelLogs=no ProtectKernelModules=no ProtectKernelTunables=no PrivateDevices=no \
            ProtectSystem=no ProtectHome=no NoExecPaths= ExecPaths= PrivateTmp=no PrivateMounts=no PrivateIPC=no PrivateNetwork=no \
            IPAddressDeny= DevicePolicy=auto ProtectControlGroups=no ProtectProc=default ProcSubset=all KeyringMode=inherit \
            Environment=CREDENTIALS_DIRECTORY=/run/emulated \
            ExecStartPre=+/usr/lib/emulated-pin >"$dropins/zz-emulated.conf"
        cat >"$1/usr/lib/emulated-pin" <<'PIN'
#!/bin/sh
install -d -m 0755 /run/emulated
rm -f /run/emulated/pin
name=tedge-p11-server.pin
if [ -e /etc/credstore.encrypted/$name ]; then
    systemd-creds decrypt --name=pin /etc/credstore.encrypted/$name /run/emulated/pin
elif [ -e /etc/credstore/$name ]; then
    cp /etc/credstore/$name /run/emulated/pin
else
    exit 0
fi
chown tedge-p11 /run/emulated/pin && chmod 0400 /run/emulated/pin
PIN
        chmod 0755 "$1/usr/lib/emulated-pin"
    }
}

# boot SECONDS ROOT BIN NODE...: boots the root with the programs of BIN installed in it (empty: none), runs
# $tmp/share/guest there, and turns it off. What is written to it is in memory only, but for $tmp/share, its /mnt. NODE is an option of
# systemd-nspawn. What the console says is in $tmp/console.
boot() {
    local seconds=$1 status=0
    shift
    mkdir -p "$tmp/writable"
    # No other guest may run, wherever its cache is: the two would share a control group.
    exec 8</sys/fs/cgroup
    flock 8
    contained timeout --kill-after=5 "$seconds" bash -euo pipefail \
        -c "$(declare -f boot_contained furnish)"$'\n''boot_contained "$@"' boot "$seconds" "$tmp" "$@" >"$tmp/console" 2>&1 || status=$?
    exec 8<&-
    return "$status"
}

# Inside contained().
boot_contained() {
    local seconds=$1 tmp=$2 root=$3 bin=$4 share=$2/share
    shift 4
    mount -t tmpfs tmpfs "$tmp/writable"
    mkdir "$tmp/writable/upper" "$tmp/writable/work" "$tmp/writable/root"
    mount -t overlay overlay "$tmp/writable/root" \
        -o "lowerdir=$root,upperdir=$tmp/writable/upper,workdir=$tmp/writable/work"
    root=$tmp/writable/root
    if [ -n "$bin" ]; then make --silent install DESTDIR="$root" BUILD="$bin"; fi
    furnish "$root"
    cat >"$root/etc/systemd/system/guest.service" <<UNIT
[Unit]
After=basic.target
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
ExecStart=/bin/bash /mnt/guest
TimeoutStartSec=$((seconds - 10))
UNIT
    rm -f "$root/etc/systemd/system/default.target"
    cat >"$root/etc/systemd/system/default.target" <<'UNIT'
[Unit]
Requires=basic.target guest.service
UNIT
    systemd-nspawn --quiet --register=no --keep-unit --directory="$root" --machine=tedge-hsm-test --boot \
        --private-network --link-journal=no --bind="$share:/mnt" "$@" </dev/null
}

# report_guest NAME: what the guest wrote to $tmp/share/tap (TAP without numbers, `finished` at its end), with what led to
# each failure, from $tmp/share/log, where `== DESCRIPTION` begins each check
report_guest() {
    local line finished=1
    if [ ! -e "$tmp/share/log" ]; then
        diagnostics <"$tmp/console"
        skip "systemd-nspawn cannot boot a root file system here"
    fi
    while IFS= read -r line; do
        case $line in
        'ok - '*) report 0 "${line#ok - }" ;;
        'not ok - '*)
            report 1 "${line#not ok - }"
            # What was said to this check.
            awk -v want="== ${line#not ok - }" '/^== / { on = $0 == want } on' "$tmp/share/log" | diagnostics
            ;;
        '# '*) echo "$line" ;;
        finished) finished=0 ;;
        esac
    done <"$tmp/share/tap"
    report "$finished" "$1"
}

# plan: the end of the report, and of the script
plan() {
    echo "1..$number"
    if ((failures)); then
        tail -n 40 "$tmp/share/journal" "$tmp/console" 2>/dev/null | diagnostics
        exit 1
    fi
}
