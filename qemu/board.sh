# shellcheck shell=bash
# shellcheck disable=SC2154 # of lib.sh and run
# A real board with a TPM 2.0 in place of QEMU, over SSH as root or as somebody whom sudo asks for no password. It has
# our packages installed, and is one to be broken: a token, keys and users are made on it, and it is rebooted.

run_on_board() {
    local program
    for program in ssh openssl mosquitto; do
        command -v "$program" >/dev/null || skip "$program is not installed"
    done
    guest true || fail "ssh to $host does not work"
    [ "$(guest 'id -u')" = 0 ] || fail "$host is not root, and sudo asks for a password"
    # What the tests made before may be taken over by them, nothing else.
    guest '[ -e /root/pins/user ] || [ ! -e /etc/tedge/tedge.toml ] && [ ! -e /etc/credstore/tedge-p11-server.pin ]' ||
        fail "$host has been commissioned: its /etc/tedge/tedge.toml and PIN are not for tests"
    make_ca
    furnish
    phase provision
    check "a CA signs the request" sign
    phase run_device
    check "the broker knows the device by its certificate" known_to_broker
    [ "$shell" = no ] || { shell; return; }

    phase last_key
    check "the board boots anew" reboot_board
    phase power_cut
    phase killed
    phase sealed
    [ "$fast" = yes ] || phase many_keys
}

reboot_board() {
    local before
    before=$(guest 'cat /proc/sys/kernel/random/boot_id')
    guest 'systemctl --no-block reboot' || :
    close_ssh
    # shellcheck disable=SC2317 # called by its name
    other_boot() {
        local now
        now=$(guest 'cat /proc/sys/kernel/random/boot_id') && [ "$now" != "$before" ]
    }
    within 600 other_boot && open_way
}
