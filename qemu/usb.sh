# shellcheck shell=bash
# shellcheck disable=SC2154 # of lib.sh and run
# A device with a PIV card in a USB reader, the way a YubiKey or a Nitrokey is one: Nitrokey's applet in QEMU's reader.

usb_packages=systemd,systemd-sysv,udev,dbus,kmod,openssh-server,openssl,mosquitto,procps,pcscd,libccid,opensc
usb_packages+=,opensc-pkcs11,busybox-static

# Debian's kernel for PCs has USB, and needs modules for the disk.
# shellcheck source=qemu/initrd.sh
. "$repo/qemu/initrd.sh"

card=
plug() {
    setpriv --pdeathsig KILL unshare --net bash -c 'ip link set lo up && exec "$@"' plug \
        "$repo/qemu/ccid-card" "$tmp/card.sock" "$piv_card" "$tmp/piv/card" </dev/null >>"$out/card.log" 2>&1 7>&- &
    card=$!
}
monitor() { echo "$*" >&5; }
reader=usb-ccid,id=ccid slot=ccid-card-passthru,bus=ccid.0,chardev=card,id=card

power_on() {
    rm -f "$tmp/card.sock" "$tmp"/monitor.*
    mkfifo "$tmp/monitor.in" "$tmp/monitor.out"
    # Both ends are open as long as this script is: QEMU and `monitor` wait for nobody.
    exec 5<>"$tmp/monitor.in" 6<>"$tmp/monitor.out"
    start_qemu -initrd "$tmp/initrd" -chardev "pipe,id=monitor,path=$tmp/monitor" -monitor chardev:monitor \
        -chardev "socket,id=card,path=$tmp/card.sock,server=on,wait=off" -device qemu-xhci \
        -device "$reader" -device "$slot"
}

# A card from the shop, and keys in it: the rig of the other tests makes them.
make_card() {
    local line rig_pid
    piv_card=$("$repo/tests/piv-card/build")
    coproc rig { exec "$repo/tests/hsm/piv" "$tmp/piv" 7>&-; }
    rig_pid=$!
    read -r -t 300 line <&"${rig[0]}" || fail "no card was made"
    [ "$line" = ready ] || skip "${line#skipped: }"
    eval "exec ${rig[1]}>&-"
    wait "$rig_pid" || :
}

run_usb() {
    root_with linux-image-amd64 "$usb_packages"
    make_image pcscd
    make_initrd
    make_card
    power_on
    plug
    phase provision
    check "a CA signs the request" sign
    phase run_device
    [ "$shell" = no ] || { shell; return; }

    phase check "eight clients are served at a time" under_load
    monitor device_del ccid
    kill_child "$card"
    phase unplugged
    monitor device_add "$reader"
    monitor device_add "$slot"
    plug
    phase plugged
}
