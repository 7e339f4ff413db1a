# shellcheck shell=bash
# shellcheck disable=SC2154,SC2317 # of lib.sh; checks are called by their names
# On the device: podman's containers, which have of the signer the directory of its socket and nothing else.

provision() {
    check "the system has booted, and no unit failed" booted
    name_module "$(echo /usr/lib/*-linux-gnu*/pkcs11/libtpm2_pkcs11.so)"
    check "a token and a key are made in the TPM" provisioned
    container_root
}

# The program, the libraries that it wants, the certificates. No PKCS#11 module, no device, no PIN.
container_root() {
    local file
    mkdir -p /srv/container/{etc,run,tmp,dev,proc,sys}
    for file in usr/bin lib lib64; do mkdir -p "/srv/container/$file"; done
    for file in /usr/bin/tedge-hsm $(ldd /usr/bin/tedge-hsm | grep -o '/[^ ]*'); do
        cp --dereference --parents "$file" /srv/container
    done
    cp /etc/hosts /srv/container/etc/
}

# contain OPTION... -- ARGUMENT...: tedge-hsm with these arguments in a container with these options
contain() {
    local options=()
    while [ "$1" != -- ]; do
        options+=("$1")
        shift
    done
    timeout 120 podman run --rm --network=host --cgroup-manager=cgroupfs --cap-drop=all --read-only --pull=never \
        --volume "${socket%/*}:${socket%/*}:ro" --volume /etc/tedge/device.pem:/etc/device.pem:ro \
        --volume /etc/tedge/ca.pem:/etc/ca.pem:ro "${options[@]}" --rootfs /srv/container /usr/bin/tedge-hsm "${@:2}"
}
connect_contained() {
    local said
    said=$(contain "$@" -- connect --uri pkcs11:object=tls --host localhost --cert /etc/device.pem --ca /etc/ca.pem \
        --subscribe from/container --publish from/container hello) || { echo "$said"; return 1; }
    echo "$said"
    grep -q '^received  *from/container hello$' <<<"$said"
}
# logged UID OUTCOME: the signer knew who asked
logged() {
    journalctl --sync
    journalctl --quiet --unit "$unit" --output cat OPERATION=sign PEER_UID="$1" OUTCOME="$2" | grep .
}

containers() {
    local tedge group member
    tedge=$(id -u tedge) group=$(id -g tedge) member=$(id -u member)

    same() { connect_contained --user "$tedge:$group" && logged "$tedge" 'done'; }
    check "same uid: TLS 1.3 to mosquitto, and the journal has the user" same

    # Root in there is the user tedge out here; the rest are nobody's.
    mapped=(--uidmap "0:$tedge:1" --uidmap 1:200000:65535 --gidmap "0:$group:1" --gidmap 1:200000:65535)
    stranger=(--uidmap 0:200000:65536 --gidmap 0:200000:65536)
    allowed() { connect_contained "${mapped[@]}"; }
    check "root of a user namespace that is tedge outside: TLS 1.3 to mosquitto" allowed
    check "root of a user namespace that is nobody outside: refused" \
        refused 'ermission denied' contain "${stranger[@]}" -- list-tokens

    printf '[[rule]]\nuser = "tedge"\noperations = ["sign", "describe"]\npurposes = ["tls13-client"]\n' \
        >/etc/tedge-hsm/tedge-p11-server.toml
    systemctl reload "$unit"
    soon refused 'no rule' as member tedge-hsm list-tokens >/dev/null
    check "a policy that names tedge lets it in" allowed
    check "and not another member of the group, who is refused by his uid" refused "uid $member .*no rule" \
        connect_contained --user "$member:$group"
    rm /etc/tedge-hsm/tedge-p11-server.toml
    systemctl reload "$unit"

    asked() { [ "$(wc -l </run/asks/served)" -gt "$1" ]; }
    long_run() {
        local before count
        rm -rf /run/asks
        install -d -o tedge /run/asks
        # It needs a shell for that, and gets the device's.
        podman run --detach --name client --network=none --cgroup-manager=cgroupfs --cap-drop=all --pull=never \
            --user "$tedge:$group" --volume "${socket%/*}:${socket%/*}:ro" --volume /usr:/usr:ro --volume /run/asks:/run/asks \
            --rootfs /srv/container /usr/bin/bash -c 'until [ -e /run/asks/end ]; do
                if tedge-hsm csr --uri pkcs11:object=tls --common-name x >/dev/null; then echo >>/run/asks/served; fi; done' || return
        soon asked 2 || return
        before=$(property MainPID)
        systemctl restart "$unit" || return
        count=$(wc -l </run/asks/served)
        soon asked "$((count + 3))" || return
        [ "$(property MainPID)" != "$before" ]
    }
    check "a container that runs on is served after the signer was restarted" long_run
    new_socket() {
        local count
        systemctl stop "$unit"
        systemctl restart tedge-p11-server.socket || return
        count=$(wc -l </run/asks/served)
        soon asked "$((count + 3))"
    }
    check "and after its socket was made anew" new_socket
    touch /run/asks/end
    ended() { podman wait client && podman rm client; }
    check "the container comes to its end" ended
    check "no PIN is in the journal" silent
}
