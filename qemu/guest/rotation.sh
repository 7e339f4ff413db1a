# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154,SC2317 # of lib.sh; checks are called by their names
# On the device that changes its key. README's tedge.toml names the token, and no key.

certificate=/etc/tedge/device-certs/tedge-certificate.pem
record=$certificate.rotation
at_broker=(--host localhost --cert "$certificate" --ca /etc/tedge/ca.pem)

first_pair() {
    install -d -m 0755 "${certificate%/*}" && install -m 0644 /etc/tedge/device.pem "$certificate" && sync
    check "the device connects with its first pair" connects
}

rotate() {
    "$@" tedge-hsm renew --new-key --keep-old 0 --est https://localhost:9443/.well-known/est/est --cert "$certificate" \
        --ca /etc/tedge/ca.pem --try-connect localhost --try-ca /etc/tedge/ca.pem
}

# rotate_until STEP: a rotation stops right after a file was renamed or removed, once the record has that step
rotate_until() {
    : >/run/calls
    # What it runs in ends with the power.
    rotate strace --follow-forks --quiet=attach,exit --output=/run/calls --trace=?rename,?renameat,?renameat2,?unlinkat \
        --inject=?rename,?renameat,?renameat2,?unlinkat:signal=STOP >/run/rotation 2>&1 </dev/null &
    check "a rotation stops at the step '$1'" stops_at "$1" $!
}
stops_at() {
    local stops=0 deadline=$((SECONDS + 300))
    while kill -0 "$2" 2>/dev/null && ((SECONDS < deadline)); do
        if (($(grep -c 'stopped by SIGSTOP' /run/calls) > stops)); then
            stops=$((stops + 1))
            if [ "$(step)" = "$1" ] && { [ "$1" != none ] || ((stops > 3)); }; then return; fi
            pkill -CONT -x tedge-hsm
        fi
        sleep 0.1
    done
    cat /run/rotation /run/calls
    return 1
}
step() {
    local said
    said=$(grep -oE '"step": *"[a-z-]+"' "$record" 2>/dev/null | cut -d'"' -f4)
    echo "${said:-none}"
}

# after_cut STEP: what the device has then, and the rest of the rotation
after_cut() {
    check "the system boots again, and no unit failed" booted
    # Each sudden loss of power after a login counts as a wrong PIN for the TPM.
    TPM2TOOLS_TCTI=device:/dev/tpmrm0 tpm2_dictionarylockout -c
    echo "# $1: recorded $(step), keys: $(keys), files: $(files)"
    check "power cut at '$1': the device connects with one pair" connects
    check "the next run finishes" finishes
    check "one key is left, and its pair connects" finished
}
finishes() { rotate; }
finished() {
    echo "keys: $(keys), step $(step)"
    files
    [ "$(keys)" = 1 ] && [ "$(step)" = none ] && [ "$(files)" = "${certificate##*/}" ] && connects
}
files() { find "${certificate%/*}" -mindepth 1 -printf '%f\n' | sort | paste -sd ' '; }
keys() { tedge-hsm list-keys | grep -c 'type=private'; }

# By no URI, and by the one that names the token.
connects() {
    local uri
    for uri in '' 'pkcs11:token=device'; do
        as member tedge-hsm connect ${uri:+--uri "$uri"} "${at_broker[@]}" || return
    done
}
