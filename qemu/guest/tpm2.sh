# shellcheck shell=bash
# shellcheck disable=SC2154,SC2317 # of lib.sh; checks are called by their names
# On the device with a TPM.

module=$(echo /usr/lib/*-linux-gnu/pkcs11/libtpm2_pkcs11.so)

provision() {
    check "the system has booted, and no unit failed" booted
    check "/dev/tpmrm0 is 0660 tss:tss by udev's rule" device /dev/tpmrm0 '660 tss:tss'
    waiting() { [ "$(stat -c '%a %U:%G' "$socket")" = '660 tedge:tedge' ] && idle; }
    check "the socket is there, 0660 tedge:tedge, and no signer yet" waiting
    configure "$module"
    check "a user outside the group cannot connect" refused 'ermission denied' as outsider tedge-hsm list-tokens
    check "the first request starts the signer, and a token is made in the TPM" \
        tedge-hsm --pin-file /root/pins/user init --label device --so-pin-file /root/pins/so
    check "a P-256 key is made in it" tedge-hsm create-key --label tls
    check "the key signs a request for a certificate, and openssl verifies it" verified
    request >/run/device.csr
}

run_device() {
    check "TLS 1.3 to mosquitto with the key, published and received" handshake
    check "the broker knows the device by its certificate" known_to_broker
    check "doctor finds nothing wrong, for root and for a member of the group" in_order --hsm tpm2
    check "the signer runs as tedge-p11, confined, and systemd-analyze security agrees" confined
    one_device() { [ "$(find "/proc/$(property MainPID)/root/dev/" -name 'tpm*')" = "/proc/$(property MainPID)/root/dev/tpmrm0" ]; }
    check "it sees the TPM's resource manager and not the TPM itself" one_device
    check "PKCS#11 itself: the keys are local, sensitive and not extractable" local_keys
    check "no PIN is in the journal" silent
}

# By a judge from outside, as the signer's user.
local_keys() {
    local said
    systemctl stop "$unit"
    said=$(TPM2_PKCS11_STORE=/var/lib/tedge-p11-server/tpm2_pkcs11 TPM2_PKCS11_TCTI=device:/dev/tpmrm0 \
        TPM2_PKCS11_BACKEND=esysdb setpriv --reuid tedge-p11 --regid tedge-p11 --groups "$(getent group tss | cut -d: -f3)" \
        pkcs11-tool --module "$module" --token-label device --login --pin "$(cat /root/pins/user)" --list-objects --type privkey)
    echo "$said"
    grep -q 'Private Key Object' <<<"$said" &&
        [ "$(grep -c 'Private Key Object' <<<"$said")" = \
            "$(grep -c 'Access: *sensitive, always sensitive, never extractable, local' <<<"$said")" ]
}

# last_key: what was answered before the power went is to be there after it
last_key() {
    check "eight clients are served at a time" under_load
    check "a key is made under load" tedge-hsm create-key --label last
}

power_cut() {
    check "after a power cut the system boots, and no unit failed" booted
    for label in tls last; do
        check "the key '$label' is there" eval "tedge-hsm list-keys | grep -F object=$label"
    done
    check "TLS 1.3 to mosquitto with the same key and certificate" handshake
    all_sign() {
        local uri
        for uri in $(tedge-hsm list-keys | grep -oE '^pkcs11:[^[:space:]]+type=private'); do
            tedge-hsm csr --uri "$uri" --common-name x | openssl req -verify -noout || return
        done
    }
    check "each key on the token signs" all_sign
    check "nothing half-written lies about" half_written
    check "doctor finds nothing wrong" in_order --hsm tpm2
}
half_written() { ! find /var/lib/tedge-p11-server /etc/tedge \( -name '*tmp*' -o -name '*.new' -o -empty -type f \) | grep .; }

# seal: the PIN is kept in a file that this TPM alone opens, in place of the plain one
seal() {
    sealed_pin() {
        install -d -m 0700 /etc/credstore.encrypted
        systemd-creds encrypt --with-key=tpm2 --name=pin /etc/credstore/tedge-p11-server.pin \
            /etc/credstore.encrypted/tedge-p11-server.pin && rm /etc/credstore/tedge-p11-server.pin &&
            ! grep -aqF -f /root/pins/user /etc/credstore.encrypted/tedge-p11-server.pin
    }
    check "systemd-creds seals the PIN with the TPM" sealed_pin
    printf '%s\n' '[Service]' LoadCredential= \
        LoadCredentialEncrypted=pin:/etc/credstore.encrypted/tedge-p11-server.pin >"$dropins/sealed.conf"
    systemctl daemon-reload
    restarted_sealed() { systemctl restart "$unit" && handshake; }
    check "TLS 1.3 with the PIN unsealed by systemd" restarted_sealed
    sync
}

# unseal: back to the plain file
unseal() {
    install -m 0400 /root/pins/user /etc/credstore/tedge-p11-server.pin
    rm "$dropins/sealed.conf"
    systemctl daemon-reload
    systemctl restart "$unit"
    check "TLS 1.3 with the PIN in a plain file again" handshake
    sync
}

# The TPM has gone away under load.
tpm_gone() {
    check "a client gets an error in time, with what failed" refused '^tedge-hsm: .*(CKR_|token)' request
    check "each of the clients comes to its end" unload
    check "the signer is running" running
    check "it tells that the token fails" refused '^token .*failing' tedge-hsm status
    check "doctor says that the TPM does not answer" refused '^failure ' tedge-hsm doctor --hsm tpm2
}

tpm_back() {
    check "the system boots again, and no unit failed" booted
    check "the TPM is back: TLS 1.3 to mosquitto with the same key" handshake
    check "doctor finds nothing wrong" in_order --hsm tpm2
    check "no PIN is in the journal" silent
}

# The board was changed, and the disk kept.
tpm_fresh() {
    check "with another TPM the system boots, and no unit failed" booted
    check "a client gets an error, with what failed" refused '^tedge-hsm: .*(CKR_|token)' connect
    no_loop() {
        local lines
        sleep 10
        lines=$(journalctl --unit "$unit" --since -8s --output cat | wc -l)
        echo "$(property NRestarts) restarts, $lines lines in the journal in eight seconds"
        [ "$(property NRestarts)" -le 1 ] && [ "$lines" -le 5 ]
    }
    check "the signer neither starts again and again nor fills the journal" no_loop
    check "doctor names it" refused '^failure .*(TPM|token)' tedge-hsm doctor --hsm tpm2
}
