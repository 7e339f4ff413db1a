# shellcheck shell=bash
# shellcheck disable=SC2154,SC2317 # of lib.sh; checks are called by their names
# On the device with a TPM.

# In Debian's place, or OpenEmbedded's.
module=$(find /usr/lib/*-linux-gnu*/pkcs11 /usr/lib/pkcs11 -name libtpm2_pkcs11.so 2>/dev/null | head -n1)

provision() {
    check "the system has booted, and no unit failed" booted
    # Debian's rule has the owner tss, the layer's root.
    check "/dev/tpmrm0 is 0660 and of the group tss by udev's rule" device /dev/tpmrm0 '660 (tss|root):tss'
    begun() { [ -e /var/lib/tedge-hsm/provisioned ]; } # at the boot
    waiting() { [ "$(stat -c '%a %U:%G' "$socket")" = '660 root:tedge' ] && { idle || begun; }; }
    check "the socket is there, 0660 root:tedge, and no signer yet" waiting
    check "a user outside the group cannot connect" refused 'ermission denied' as outsider tedge-hsm list-tokens
    if has_provisioning; then
        name_module "$module"
        check "the provisioning service has it make a token and a P-256 key, which signs a request" provisioned
    else
        configure "$module"
        check "the first request starts the signer, and a token is made in the TPM" \
            tedge-hsm --pin-file /root/pins/user init --label device --so-pin-file /root/pins/so
        check "a P-256 key is made in it" tedge-hsm create-key --label tls
        request >/run/device.csr
    fi
    check "openssl verifies the request" openssl req -verify -noout -in /run/device.csr
}

run_device() {
    check "TLS 1.3 to mosquitto with the key, published and received" handshake
    check "doctor finds nothing wrong, for root and for a member of the group" in_order --hsm tpm2
    check "the signer runs as tedge-p11, confined, and systemd-analyze security agrees" confined
    one_device() { [ "$(find "/proc/$(property MainPID)/root/dev/" -name 'tpm*')" = "/proc/$(property MainPID)/root/dev/tpmrm0" ]; }
    check "it sees the TPM's resource manager and not the TPM itself" one_device
    check "PKCS#11 itself: the keys are local, sensitive and not extractable" local_keys
    check "no PIN is in the journal" silent
}

# after_2038: where time_t has 32 bits in some library, this is where it would tell. The certificate is valid for longer. There is
# no handshake: Debian 13's mosquitto for this CPU dies of SIGSEGV then, at the first connection.
after_2038() {
    later() { date --set=@2208988800 && systemctl restart "$unit" && [ "$(date +%Y)" = 2040 ]; }
    check "the year is 2040" later
    pair() { tedge-hsm verify /etc/tedge/device.pem --uri 'pkcs11:token=device;object=tls' --ca /etc/tedge/ca.pem; }
    check "the key signs, and its certificate is valid by its CA" pair
    ends() { tedge-hsm show /etc/tedge/device.pem | grep -F 2051-; }
    check "show tells when the certificate ends, in 2051" ends
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
    check "the system boots again, and no unit failed" booted
    for label in tls last; do
        check "the key '$label' is there" eval "tedge-hsm list-keys | grep -F object=$label"
    done
    check "TLS 1.3 to mosquitto with the same key and certificate" handshake
    check "each key on the token signs" all_sign
    check "nothing half-written lies about" half_written
    check "doctor finds nothing wrong" in_order --hsm tpm2
}
all_sign() {
    local uri
    for uri in $(tedge-hsm list-keys | grep -oE '^pkcs11:[^[:space:]]+type=private'); do
        tedge-hsm csr --uri "$uri" --common-name x | openssl req -verify -noout || return
    done
}
half_written() { ! find /var/lib/tedge-p11-server /etc/tedge \( -name '*tmp*' -o -name '*.new' -o -empty -type f \) | grep .; }

# sealed: the PIN is in a file that this TPM alone opens, and in no other
sealed() {
    has_provisioning || return
    sealed_pin() {
        ! grep -rlaF -f /root/pins/user /etc /var/lib/tedge-p11-server /var/lib/tedge-hsm &&
            [ "$(stat -c '%a %U' /etc/credstore.encrypted/tedge-p11-server.pin)" = '600 root' ]
    }
    check "the PIN is in no file but sealed" sealed_pin
    unsealed() { systemctl restart "$unit" && handshake; }
    check "TLS 1.3 with the PIN unsealed by systemd" unsealed
    # Where UEFI measures its lists of keys and of revoked signatures.
    updated() {
        TPM2TOOLS_TCTI=device:/dev/tpmrm0 tpm2_pcrextend "7:sha256=$(sha256sum </dev/null | cut -c 1-64)" && unsealed
    }
    check "also after an update of the firmware's keys: with another PCR 7" updated
}

# unseal: the PIN in a plain file, as commissioning by hand has it
unseal() {
    plain() {
        install -d -m 0700 /etc/credstore
        install -m 0400 /root/pins/user /etc/credstore/tedge-p11-server.pin
        # systemd 257 takes that first, and does not unseal it.
        rm -f /etc/credstore.encrypted/tedge-p11-server.pin
        mkdir -p "$dropins"
        printf '%s\n' '[Service]' LoadCredentialEncrypted= LoadCredential=pin:tedge-p11-server.pin >"$dropins/zz-plain.conf"
        systemctl daemon-reload
        # As doctor says.
        systemctl reset-failed "$unit" tedge-p11-server.socket
        systemctl restart tedge-p11-server.socket && sync
    }
    check "with the PIN in a plain file the socket is open again" plain
}

# many_keys: a TPM has room for three objects, and libtpm2_pkcs11 leaves each key loaded that it has used
many_keys() {
    local i types=(rsa2048 rsa2048 p256 p256) before
    before=$(property MainPID)
    for i in "${!types[@]}"; do
        check "key $((i + 3)) on the token, ${types[i]}, is made" tedge-hsm create-key --label "many-$i" --type "${types[i]}"
    done
    check "each key on the token signs" all_sign
    check "and once more" all_sign
    check "all of that in one process" [ "$before" = "$(property MainPID)" ]
    deleted() {
        for i in "${!types[@]}"; do tedge-hsm delete-key --yes --uri "pkcs11:object=many-$i" || return; done
    }
    check "the four keys are deleted" deleted
}

# The TPM has gone away under load.
tpm_gone() {
    check "a client gets an error in time, with what failed" refused '^tedge-hsm: .*(CKR_|token)' request
    check "each of the clients comes to its end" unload
    check "the signer is running" running
    # A module that is not initialised is a consequence.
    told() { refused '^token .*failing' tedge-hsm status && ! tedge-hsm status 2>&1 | grep -F CKR_CRYPTOKI_NOT_INITIALIZED; }
    check "it tells that the token fails, and why" told
    check "doctor says that the TPM does not answer" refused '^failure ' tedge-hsm doctor --hsm tpm2
}

tpm_back() {
    check "the system boots again, and no unit failed" booted
    check "the TPM is back: TLS 1.3 to mosquitto with the same key" handshake
    check "doctor finds nothing wrong" in_order --hsm tpm2
    check "no PIN is in the journal" silent
}

# locked: each sudden loss of power after a login counts as a wrong PIN for the TPM, which locks at some number of them
locked() {
    local counted
    export TPM2TOOLS_TCTI=device:/dev/tpmrm0
    counted=$(tpm2_getcap properties-variable | grep -E 'inLockout|LOCKOUT_COUNTER|MAX_AUTH_FAIL')
    echo "the TPM: ${counted//[$'\n' ]/ }"
    grep -qE 'inLockout: *1' <<<"$counted" || return 0
    check "a client is told that the TPM has locked itself" refused 'CKR_PIN_LOCKED' request
    check "doctor names it, and what to do" refused 'CKR_PIN_LOCKED.*tpm2_dictionarylockout -c' tedge-hsm doctor --hsm tpm2
    check "which opens the TPM" tpm2_dictionarylockout -c
}

# The board was changed, and the disk kept: systemd cannot unseal the PIN.
sealed_by_another() {
    check "with another TPM the system boots, and no unit failed" booted
    has_provisioning || return
    check "a client gets an error in time" refused '^tedge-hsm: .*signer' request
    closed() { [ "$(systemctl is-active tedge-p11-server.socket)" = failed ]; }
    check "after some tries the signer's socket is closed" soon closed
    check "and a client is told at once" refused 'Connection refused' request
    check "doctor names it, and what to do" refused "cannot load the signer's PIN -> .*another TPM" tedge-hsm doctor
    quiet() {
        local lines
        sleep 20
        lines=$(journalctl --unit "$unit" --since -15s --output cat | wc -l)
        echo "$(property NRestarts) restarts, $lines lines in the journal in 15 seconds"
        [ "$(property NRestarts)" -le 10 ] && [ "$lines" = 0 ]
    }
    check "nothing is tried in the next seconds" quiet
    again() { journalctl --unit tedge-p11-server-retry.service --output cat | grep -F Finished; }
    check "after a while it may be tried again" soon again
}

# The same with a PIN that can be read: the token is another TPM's.
tpm_fresh() {
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

# thin_edge: thin-edge.io's own program, as the signer's client
thin_edge() {
    local certificate=/etc/tedge/device-certs/tedge-certificate.pem
    # It keeps the file for itself.
    configured() {
        tedge init && tedge config set device.cryptoki.mode socket && tedge config set c8y.url localhost &&
            tedge config set c8y.root_cert_path /etc/tedge/ca.pem && tedge --version
    }
    check "tedge is told of the socket" configured
    # It has no list of keys, and ends with 1 after that of tokens.
    check "tedge cert create-key-hsm lists the token" refused '^pkcs11:.*token=device' tedge cert create-key-hsm
    check "and makes a key in it" tedge cert create-key-hsm --label thin-edge pkcs11:token=device
    in_tpm() { tedge-hsm list-keys | grep -F object=thin-edge; }
    check "tedge-hsm knows it" in_tpm
    certified() { tedge cert create --device-id thin-edge && openssl verify -CAfile "$certificate" "$certificate"; }
    check "tedge cert create signs a certificate with it, and openssl verifies it" certified
    # The broker takes this certificate, too. What Cumulocity would answer it does not know.
    cat "$certificate" >>/etc/mosquitto/certs/ca.pem
    systemctl restart mosquitto
    connected() {
        timeout 100 tedge connect c8y
        grep "New client connected .*u'.*CN=thin-edge" /var/log/mosquitto/mosquitto.log
    }
    check "tedge connect: TLS to mosquitto with it" connected
}
