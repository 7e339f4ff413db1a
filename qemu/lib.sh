# shellcheck shell=bash
# What all machines share, on this side: results, the root file system, QEMU with a TPM, orders to the guest. For
# `run`, which sets $machine, $keep, $bin and $repo.
# shellcheck disable=SC2034,SC2154,SC2317

number=0 failures=0
qemu='' swtpm=''
# The kernel of a cloud has NVMe built in, linux-yocto virtio.
disk=nvme0n1
declare -A disk_devices=([nvme0n1]='nvme,drive=disk,serial=disk' [vda]='virtio-blk-pci,drive=disk')
# The machine as QEMU has it, its serial console, and the file with its phases in guest/. A kind of machine may differ.
computer=(qemu-system-x86_64 -machine q35 -cpu max)
needs=(qemu-system-x86_64 swtpm)
console=ttyS0
phases=$machine
# How the kernel mounts the root, and what else it is told.
root_mode=rw
kernel_options=()
# How long certificates are valid.
days=30
# Of the device, there.
certificate=/etc/tedge/device.pem

fail() { echo "qemu/run: $*" >&2; exit 1; }

# tap LINE: to the terminal and the file
tap() { echo "$*" | tee -a "$out/result.tap"; }

skip() {
    tap "1..$number"
    tap "skipped: $*"
    # What did run and fail is no skip.
    ((failures == 0)) || exit 1
    exit 77
}

# report STATUS DESCRIPTION
report() {
    number=$((number + 1))
    if [ "$1" = 0 ]; then
        tap "ok $number - $2"
    else
        failures=$((failures + 1))
        tap "not ok $number - $2"
    fi
}

# check DESCRIPTION COMMAND...: on this side
check() {
    local log status=0
    log=$("${@:2}" 2>&1) || status=$?
    report "$status" "$1"
    [ "$status" = 0 ] || tap "# ${log//$'\n'/$'\n'# }"
}

begin() {
    out=$repo/target/qemu/${host:+board-}$machine
    mkdir -p "$out"
    # The console and results of another run would be overwritten.
    exec 7>"$out/lock"
    flock -n 7 || fail "another run of $machine is under way"
    rm -f "$out/console.log" "$out/result.tap"
    # Paths of sockets are short.
    tmp=$(mktemp -d "${TMPDIR:-/tmp}/qemu.XXXXXX")
    trap finish EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
}

finish() {
    end_contained
    power_off
    if [ -n "${new_root-}" ]; then rm -rf --one-file-system "$new_root"; fi
    if [ "$keep" = yes ]; then
        echo "the disk and the TPM's state are kept in $tmp"
    elif [ -n "${tmp-}" ]; then
        rm -rf --one-file-system "$tmp"
    fi
}

# kill_child PID: at once, with no chance to tidy up
kill_child() {
    [ -n "$1" ] || return 0
    kill -KILL "$1" 2>/dev/null || :
    wait "$1" 2>/dev/null || :
}

power_off() {
    kill_child "$qemu"
    # Without its machine the TPM ends (--terminate).
    [ -z "$swtpm" ] || wait "$swtpm" 2>/dev/null || :
    qemu='' swtpm=''
    close_ssh
    rm -f "${tmp-/nowhere}/tpm.sock"
}
# shut_down: in order, as people do. A TPM counts sudden ends as wrong PINs, and locks itself at some number of them.
shut_down() {
    guest 'systemctl poweroff' 2>/dev/null || :
    gone() { ! kill -0 "$qemu" 2>/dev/null; }
    check "the machine shuts down" within 600 gone
    power_off
}
# The connection that is kept open for the next order.
close_ssh() {
    [ ! -S "${tmp-/nowhere}/ssh" ] || ssh -F none -o "ControlPath=$tmp/ssh" -O exit device 2>/dev/null || :
    rm -f "${tmp-/nowhere}/ssh"
}

# root_with KERNEL PACKAGES: sets $root, a Debian with that kernel (a package) and packages, from the cache if there
# are the same ones
root_with() {
    local cache key status=0
    # BitBake's libc is newer than what is old in Debian.
    suite=${packages:+trixie}
    suite=${suite:-$(release)}
    case $suite in
    bookworm | trixie) ;;
    *) skip "the programs need this machine's libc, and there is no root file system for '$suite'" ;;
    esac
    mkdir -p "${TEDGE_CACHE:-$repo/target/cache}"
    cache=$(realpath "${TEDGE_CACHE:-$repo/target/cache}")
    key=$(cat - "$repo/qemu/kernel-hook" "$repo/tests/lib/root.sh" <<<"$*" | sha256sum | cut -c1-12)
    root=$cache/qemu-root-$1-$suite-$key
    exec 9>"$cache/qemu-root.lock"
    flock 9
    if [ ! -d "$root" ]; then
        echo "# making a root file system in $root" >&2
        new_root=$cache/qemu-root.tmp
        debian_root "$new_root" "$cache/qemu-root.log" "$suite" "$2" --variant=minbase \
            '--dpkgopt=path-exclude=/usr/share/doc/*' '--dpkgopt=path-exclude=/usr/share/man/*' \
            '--dpkgopt=path-exclude=/usr/share/locale/*' \
            "--customize-hook='$repo/qemu/kernel-hook' \"\$1\" $1" || status=$?
        case $status in
        0) ;;
        77) skip "no mirror of Debian can be reached" ;;
        *) fail "mmdebstrap failed" ;;
        esac
        # One for each list of packages would pile up.
        rm -rf --one-file-system "$cache/qemu-root-$1-$suite"-*
        mv -T "$new_root" "$root"
        new_root=
    fi
    flock -u 9
    kernel=$(echo "$root"/boot/vmlinuz-*)
}

make_image() {
    make_keys
    make_disk "$1"
}

# make_keys: those of both sides for SSH, and of a CA and its server
make_keys() {
    make_login
    echo "device $(cut -d' ' -f1,2 "$tmp/host.pub")" >"$tmp/known_hosts"
    make_ca
}

# make_disk DROPIN: $tmp/disk, the root with our files, as they are installed, and with what a device has of its own:
# keys for SSH, a network, a broker, the drop-in for its HSM
make_disk() {
    mkdir -p "$tmp/writable"
    contained bash -euo pipefail -c "$(declare -f fill fill_more)"$'\n''fill "$@"' fill \
        "$root" "$tmp" "$bin" "$repo" "$1" "$packages" >"$tmp/image.log" 2>&1 || {
        tail -n 20 "$tmp/image.log" >&2
        fail "no image could be made"
    }
}

# make_login: keys for SSH, of both sides
make_login() {
    local name
    for name in login host; do ssh-keygen -q -t ed25519 -N '' -C "$name" -f "$tmp/$name"; done
}

make_ca() {
    local new=(openssl req -config "$repo/qemu/ca.conf" -days "$days" -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -x509)
    {
        "${new[@]}" -extensions ca -keyout "$tmp/ca.key" -out "$tmp/ca.pem"
        "${new[@]}" -extensions server -subj /CN=localhost -CA "$tmp/ca.pem" -CAkey "$tmp/ca.key" \
            -keyout "$tmp/server.key" -out "$tmp/server.pem"
    } 2>"$tmp/ca.log"
}

# fill_more ROOT REPO TMP: what a kind of machine has beside that; in contained(), too
fill_more() { :; }

# In contained(): the image, from an overlay on the root, so that nothing is copied but into the image.
fill() {
    local lower=$1 tmp=$2 bin=$3 repo=$4 dropin=$5 packages=$6 root=$2/writable/root
    mount -t tmpfs tmpfs "$tmp/writable"
    mkdir "$tmp/writable/upper" "$tmp/writable/work" "$root"
    mount -t overlay overlay "$root" -o "lowerdir=$lower,upperdir=$tmp/writable/upper,workdir=$tmp/writable/work"
    # shellcheck source=qemu/ours.sh
    . "$repo/qemu/ours.sh"
    install_ours "$root" "$dropin" "$repo" "$bin" "$packages"
    # Packages that were not installed but unpacked have made no users; nor can any program of another CPU.
    printf '%s\n' 'u mosquitto -' 'u member -' 'm member tedge' 'u outsider -' >"$root/usr/lib/sysusers.d/device.conf"
    printf '%s\n' 'z /etc/tedge 0755 tedge tedge' 'd /var/lib/mosquitto 0755 mosquitto mosquitto' \
        >"$root/usr/lib/tmpfiles.d/device.conf"
    fill_more "$root" "$repo" "$tmp"
    systemd-sysusers --root="$root"
    systemctl --root="$root" enable systemd-networkd
    # What a device like this has no use for, and would wait for.
    systemctl --root="$root" mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer \
        fstrim.timer systemd-timesyncd.service getty@tty1.service systemd-networkd-wait-online.service
    echo device >"$root/etc/hostname"
    echo '127.0.0.1 localhost device' >"$root/etc/hosts"
    echo '/dev/nvme0n1 / ext4 defaults 0 1' >"$root/etc/fstab"
    rm -f "$root/etc/machine-id"
    : >"$root/etc/machine-id"
    mkdir -p "$root/var/log/journal" # kept over a power cut
    printf '%s\n' '[Match]' 'Name=e*' '[Network]' 'Address=10.0.2.15/24' >"$root/etc/systemd/network/wired.network"
    install -d -m 0700 "$root/root/.ssh"
    install -m 0600 "$tmp/login.pub" "$root/root/.ssh/authorized_keys"
    rm -f "$root"/etc/ssh/ssh_host_*
    install -m 0600 "$tmp/host" "$root/etc/ssh/ssh_host_ed25519_key"
    # On a machine as slow as this each look-up of a name is a wait.
    echo 'UseDNS no' >>"$root/etc/ssh/sshd_config"

    install -m 0644 "$repo/qemu/mosquitto.conf" "$root/etc/mosquitto/conf.d/device.conf"
    install -m 0644 "$tmp/ca.pem" "$root/etc/mosquitto/certs/ca.pem"
    install -m 0644 "$tmp/ca.pem" "$root/etc/tedge/ca.pem"
    install -m 0644 "$tmp/server.pem" "$root/etc/mosquitto/certs/server.pem"
    # By their numbers there. A root that is read-only has no other time for it.
    install -m 0600 -o "$(awk -F: '$1 == "mosquitto" { print $3 }' "$root/etc/passwd")" "$tmp/server.key" \
        "$root/etc/mosquitto/certs/server.key"
    mke2fs -q -t ext4 -d "$root" "$tmp/disk" "$(($(du -sm "$root" | cut -f1) * 5 / 4 + 300))M"
}

# new_tpm: a TPM as from the factory
new_tpm() {
    rm -rf "$tmp/tpm"
    mkdir "$tmp/tpm"
}

start_tpm() {
    swtpm socket --tpm2 --tpmstate "dir=$tmp/tpm" --ctrl "type=unixio,path=$tmp/tpm.sock" --flags startup-clear \
        --terminate --log "file=$out/swtpm.log" </dev/null 7>&- &
    swtpm=$!
    within 30 test -S "$tmp/tpm.sock" || fail "swtpm does not start, see $out/swtpm.log"
}

# start_qemu OPTION...: with devices of the machine's own
start_qemu() {
    local attempt
    for ((attempt = 0; attempt < 20; attempt++)); do
        # Below the ports that the system hands out by itself; whether it is free shows when it is taken.
        port=$((20000 + SRANDOM % 12000))
        printf '\n=== %(%F %T)T: power on\n' -1 >>"$out/console.log"
        setpriv --pdeathsig KILL "${computer[@]}" -accel tcg,thread=multi,tb-size=512 \
            -smp 2 -m 1024 -nodefaults -no-reboot -display none -kernel "$kernel" \
            -append "console=$console root=/dev/$disk $root_mode quiet mitigations=off random.trust_cpu=on no_timer_check panic=-1 ${kernel_options[*]}" \
            -drive "if=none,id=disk,file=$tmp/disk,format=raw,cache=unsafe" ${disk_devices[$disk]:+-device "${disk_devices[$disk]}"} \
            -netdev "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:$port-:22" -device virtio-net-pci,netdev=net \
            -device virtio-rng-pci -chardev "file,id=console,path=$out/console.log,append=on" -serial chardev:console \
            "$@" </dev/null >"$tmp/qemu.log" 2>&1 7>&- &
        qemu=$!
        if booted; then return; fi
        grep -q 'host forwarding rule' "$tmp/qemu.log" || break
    done
    cat "$tmp/qemu.log" >&2
    tail -n 20 "$out/console.log" >&2
    report 1 "the machine boots"
    fail "the machine does not answer, see $out/console.log"
}

booted() {
    local deadline=$((SECONDS + 900)) # an Arm machine on a busy PC
    until guest true 2>"$tmp/ssh.log"; do
        kill -0 "$qemu" 2>/dev/null && ((SECONDS < deadline)) || return 1
        sleep 0.5
    done
}

# guest [OPTION...] COMMAND: as root, in the guest or on the board $host
guest() {
    local to=()
    if [ -z "$host" ]; then
        [ -z "$image" ] || to=(-o StrictHostKeyChecking=accept-new)
        to+=(-F none -p "$port" -i "$tmp/login" -o "UserKnownHostsFile=$tmp/known_hosts" -o HostKeyAlias=device
            -o IdentitiesOnly=yes root@127.0.0.1)
    else
        to=("$host")
        [[ $host = root@* || $1 = -* ]] || set -- "sudo -n sh -c ${1@Q}"
    fi
    ssh -o ControlMaster=auto -o ControlPersist=yes -o "ControlPath=$tmp/ssh" -o LogLevel=ERROR \
        -o ConnectTimeout=20 -o ServerAliveInterval=30 "${to[@]}" "$@" 7>&-
}

# phase NAME ARGUMENT...: a function of guest/, in the guest; what it says in TAP becomes part of the result
phase() {
    cat "$repo/qemu/within.sh" "$repo/qemu/guest/lib.sh" "$repo/qemu/guest/$phases.sh" | guest 'cat >/run/guest'
    take_results "$1" < <(guest "exec </dev/null 2>&1; set -uo pipefail; . /run/guest; ${*@Q}; echo finished" 2>&1)
}

# take_results NAME: what comes in TAP without numbers, and `finished` at its end, becomes part of the result
take_results() {
    local line finished=1
    while IFS= read -r line; do
        case $line in
        'ok - '*) report 0 "${line#ok - }" ;;
        'not ok - '*) report 1 "${line#not ok - }" ;;
        finished) finished=0 ;;
        *) tap "# ${line#\# }" ;;
        esac
    done
    [ "$finished" = 0 ] || report 1 "$1 ran to its end"
}

# sign: the certificate of the request in the guest, by a CA that the device has no key of
sign() {
    guest 'cat /run/device.csr' >"$tmp/device.csr" &&
        openssl x509 -req -in "$tmp/device.csr" -CA "$tmp/ca.pem" -CAkey "$tmp/ca.key" -days "$days" \
            -extfile "$repo/qemu/ca.conf" -extensions device -out "$tmp/device.pem" &&
        guest "cat >$certificate && sync $certificate" <"$tmp/device.pem" || return
    # The clock of a guest that gets little of this PC falls behind, and it is not valid yet then.
    [ -n "$host" ] || guest "date --set=@$(date +%s)"
}

shell() {
    echo "A root shell on the device; its console is in $out/console.log. Try: tedge-hsm doctor"
    guest -t || :
}

summary() {
    tap "1..$number"
    echo "$machine: $((number - failures)) of $number passed, $SECONDS s; console in $out/console.log, result in $out/result.tap"
    ((failures == 0))
}
