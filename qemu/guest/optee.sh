# shellcheck shell=bash
# shellcheck disable=SC2154,SC2317 # of lib.sh; checks are called by their names
# On the device with OP-TEE.

module=$(echo /usr/lib/*-linux-gnu*/libckteec.so.0)

supplicant() { systemctl show --property MainPID --value tee-supplicant; }

provision() {
    check "the system has booted, and no unit failed" booted
    check "/dev/tee0 is 0660 root:tee by udev's rule" device /dev/tee0 '660 root:tee'
    check "/dev/teepriv0 is 0660 root:teepriv" device /dev/teepriv0 '660 root:teepriv'
    own_user() {
        ps -o user=,args= -p "$(supplicant)"
        [ "$(ps -o user= -p "$(supplicant)")" = teesuppl ]
    }
    check "tee-supplicant runs, as its own user" own_user
    waiting() { [ "$(stat -c '%a %U:%G' "$socket")" = '660 root:tedge' ] && idle; }
    check "the socket is there, 0660 root:tedge, and no signer yet" waiting
    configure "$module"
    check "the first request starts the signer, and a token is made in the trusted application" \
        tedge-hsm --pin-file /root/pins/user init --label device --so-pin-file /root/pins/so
    check "a P-256 key is made in it" tedge-hsm create-key --label tls
    check "the key signs a request for a certificate, and openssl verifies it" verified
    request >/run/device.csr
}

run_device() {
    check "TLS 1.3 to mosquitto with the key, published and received" handshake
    check "the broker knows the device by its certificate" known_to_broker
    check "doctor finds nothing wrong, for root and for a member of the group" in_order --hsm optee
    check "the signer runs as tedge-p11, confined, and systemd-analyze security agrees" confined
    one_device() { [ "$(find "/proc/$(property MainPID)/root/dev/" -name 'tee*')" = "/proc/$(property MainPID)/root/dev/tee0" ]; }
    check "it sees /dev/tee0 and not the supplicant's device" one_device
    check "PKCS#11 itself: the key is local, sensitive and not extractable" local_keys
    check "no PIN is in the journal" silent
}

# By a judge from outside, as a member of the group.
local_keys() {
    local said
    said=$(setpriv --reuid tedge-p11 --regid tedge-p11 --groups "$(getent group tee | cut -d: -f3)" timeout 120 \
        pkcs11-tool --module "$module" --token-label device --login --pin "$(cat /root/pins/user)" --list-objects --type privkey)
    echo "$said"
    grep -q 'Private Key Object' <<<"$said" &&
        grep -q 'Access: *sensitive, always sensitive, never extractable, local' <<<"$said"
}

other_keys() {
    local type
    for type in p384 p521 rsa2048; do
        signs() {
            tedge-hsm create-key --label "$type" --type "$type" &&
                tedge-hsm csr --uri "pkcs11:object=$type" --common-name x | openssl req -verify -noout
        }
        check "a key of type $type is made, and signs" signs
    done
}

rebooted() {
    check "after a power cut the system boots, and no unit failed" booted
    check "the key is there" eval 'tedge-hsm list-keys | grep -F object=tls'
    check "TLS 1.3 to mosquitto with the same key and certificate" handshake
    check "doctor finds nothing wrong" in_order --hsm optee
}

# hang: a call that needs the trusted application's storage, which tee-supplicant has; it does not return, and no other
# one behind it
hang() { setsid tedge-hsm create-key --label late </dev/null >/run/hanging 2>&1 & }

# supplicant_stopped: calls hang in the kernel until somebody kills who made them
supplicant_stopped() {
    property MainPID >/run/pid
    property NRestarts >/run/restarts
    systemctl stop tee-supplicant
    check "tee-supplicant stopped: the key that is in use still signs" verified
    hang
    check "what needs its storage hangs, and a client behind it gets an error in time" soon refused '^tedge-hsm: ' request
    check "doctor names it" refused '^failure .*tee-supplicant' tedge-hsm doctor --hsm optee
    restarted() { [ "$(property NRestarts)" -gt "$(cat /run/restarts)" ] && [ "$(property MainPID)" != "$(cat /run/pid)" ]; }
    check "systemd's watchdog ends the signer, and it is started again" within 400 restarted
    watchdog() { journalctl --unit "$unit" --output cat | grep -i 'watchdog timeout'; }
    check "the journal has it" watchdog
}

supplicant_back() {
    check "clients are served again" within 200 verified
    check "tee-supplicant was started with the signer" [ "$(supplicant)" != 0 ]
    check "TLS 1.3 to mosquitto" handshake
    check "doctor finds nothing wrong" in_order --hsm optee
}

# supplicant_frozen: under load, and back before the watchdog has its say
supplicant_frozen() {
    check "eight clients are served at a time" under_load
    property MainPID >/run/pid
    kill -STOP "$(supplicant)"
    hang
    check "tee-supplicant frozen under load: a client gets an error in time" soon refused '^tedge-hsm: ' request
    check "the signer is running" running
    kill -CONT "$(supplicant)"
    check "thawed: clients are served again" within 200 verified
    check "by the same process" [ "$(cat /run/pid)" = "$(property MainPID)" ]
    check "each of the clients comes to its end" unload
    check "TLS 1.3 to mosquitto" handshake
    check "no PIN is in the journal" silent
}
