# shellcheck shell=bash
# shellcheck disable=SC2154 # $dir and $module are set in lib.sh, $card by the rig
# Shared by the rigs whose token is a smart card in software: a pcscd with vpcd, its virtual reader. Sourced
# after lib.sh, first of all: it starts the rig anew in namespaces. The rig sets the array `card`, the command
# of the card, which runs as long as it is plugged in. Orders: unplug, plug, restart (pcscd; then plugged in).

# The reader listens on a port, and pcscd on a socket, that could be changed at compile time only: a network
# and a /run of our own. Sockets in the file system are seen by others all the same.
if [[ -z ${IN_NAMESPACE:-} ]]; then
    as_root=()
    [[ $EUID = 0 ]] || as_root=(--map-root-user)
    unshare "${as_root[@]}" --mount --net true 2>/dev/null || skip 'unshare --mount --net is not allowed here'
    IN_NAMESPACE=yes exec unshare "${as_root[@]}" --mount --net -- "$0" "$@"
fi

drivers=/usr/lib/pcsc/drivers
[[ -e $drivers/serial/libifdvpcd.so ]] || skip 'no vpcd (Debian: apt-get install vsmartcard-vpcd)'
need pcscd pcscd
need opensc opensc-tool
need iproute2 ip
find_module opensc-pkcs11 opensc-pkcs11.so

# begin_reader: sets $run and the environment of PC/SC programs, and starts pcscd with an empty reader
begin_reader() {
    ip link set lo up
    run=$(mktemp -d /tmp/hsm.XXXXXX)
    mkdir -p "$run/readers" "$run/pcscd" "$dir/card"
    mount -t tmpfs tmpfs /run
    mkdir /run/pcscd
    mount --bind "$run/pcscd" /run/pcscd
    export PCSCLITE_CSOCK_NAME=$run/pcscd/pcscd.comm
    # OpenSC's own defaults, whatever this machine has configured.
    export OPENSC_CONF=$run/opensc.conf
    : >"$OPENSC_CONF"
    cp "$drivers/serial/libifdvpcd.so" "$run"
    # Without drivers pcscd leaves this machine's USB tokens alone.
    mount -t tmpfs tmpfs "$drivers"
    cat >"$run/readers/vpcd" <<END
FRIENDLYNAME "Virtual PCD"
DEVICENAME /dev/null:0x8C7B
LIBPATH $run/libifdvpcd.so
CHANNELID 0x8C7B
END
    pcscd=(pcscd --foreground --config "$run/readers")
    # Debian 13's asks polkit, which is not here, whether a client may use it.
    if pcscd --help | grep -e --disable-polkit >/dev/null; then pcscd+=(--disable-polkit); fi
    start_pcscd
}

start_pcscd() {
    start pcscd "${pcscd[@]}"
    # Once the reader is listed, it listens.
    await pcscd has_reader
}

has_reader() { opensc-tool --list-readers | grep 'Virtual PCD'; }
has_card() { opensc-tool --list-readers | grep ' Yes '; }
has_no_card() { ! has_card; }

do_plug() {
    start card "${card[@]}"
    await card has_card
}

do_unplug() {
    stop
    await pcscd has_no_card
}

do_restart() {
    stop
    stop
    start_pcscd
    do_plug
}

# publish_reader: `ready` with what a program needs to find the card
publish_reader() {
    ready "PCSCLITE_CSOCK_NAME=$PCSCLITE_CSOCK_NAME" "OPENSC_CONF=$OPENSC_CONF" "PKCS11_MODULE=$module"
}
