# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154,SC2317 # of lib.sh; checks are called by their names
# On the device with a PIV card in a USB reader.

key='pkcs11:id=%01'

reader_there() { grep -lx 08e6 /sys/bus/usb/devices/*/idVendor; }
card_there() { as tedge-p11 opensc-tool --list-readers | grep ' Yes '; }

provision() {
    check "the system has booted, and no unit failed" booted
    check "the kernel sees the USB reader" soon reader_there
    install -d -m 0700 /root/pins
    (umask 077 && printf 123456 >/root/pins/user)
    # QEMU's reader says that it has keys to type a PIN on; OpenSC would wait for those.
    echo 'app default { reader_driver pcsc { enable_pinpad = false; } }' >/etc/opensc/opensc.conf
    configure "$(echo /usr/lib/*-linux-gnu*/opensc-pkcs11.so)"
    check "pcscd has the card, also for the signer's user" soon card_there
    check "the key in slot 9A signs a request for a certificate, and openssl verifies it" verified
    request >/run/device.csr
}

run_device() {
    check "TLS 1.3 to mosquitto with the key in the card, published and received" handshake
    check "the broker knows the device by its certificate" known_to_broker
    check "the signer runs as tedge-p11, confined, and systemd-analyze security agrees" confined
    no_device() { ! find "/proc/$(property MainPID)/root/dev/" -path '*usb*' | grep .; }
    check "it sees no USB device: pcscd has it" no_device
    check "doctor finds nothing wrong" in_order
}

unplugged() {
    gone() { ! reader_there; }
    check "the reader is gone" soon gone
    property MainPID >/run/pid
    check "a client gets an error in time, with what failed" refused '^tedge-hsm: ' request
    check "the signer is running" running
    check "doctor names it" refused '^failure ' tedge-hsm doctor
}

plugged() {
    check "the reader is back" soon reader_there
    check "clients are served again" soon verified
    check "by the same process" [ "$(cat /run/pid)" = "$(property MainPID)" ]
    check "each of the clients comes to its end" unload
    check "TLS 1.3 to mosquitto" handshake
}
