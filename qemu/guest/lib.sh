# shellcheck shell=bash
# What all machines share, on the device: what is in the file of the machine is started by `phase`.
# shellcheck disable=SC2016,SC2034,SC2317 # for that file; `check` calls functions by their names

unit=tedge-p11-server.service
socket=/run/tedge-p11-server/tedge-p11-server.sock
key='pkcs11:object=tls'
dropins=/etc/systemd/system/$unit.d

# check DESCRIPTION COMMAND...: TAP, without numbers
check() {
    local log
    if log=$("${@:2}" 2>&1); then
        echo "ok - $1"
    else
        echo "not ok - $1"
        echo "# ${log//$'\n'/$'\n'# }"
    fi
}
as() { setpriv --reuid "$1" --regid "$(id -g "$1")" --init-groups -- timeout 60 "${@:2}"; }
# refused PATTERN COMMAND...: it fails, says why, and in time
refused() {
    local said
    if said=$("${@:2}" 2>&1); then
        echo "not refused: $said"
        return 1
    fi
    echo "$said"
    grep -qE -- "$1" <<<"$said"
}
# soon COMMAND...: within five minutes: this machine is slow
soon() {
    local deadline=$((SECONDS + 300)) said
    until said=$("$@" 2>&1); do
        if ((SECONDS >= deadline)); then
            echo "$said"
            return 1
        fi
        sleep 0.5
    done
    echo "$said"
}
property() { systemctl show --property "$1" --value "$unit"; }
running() { [ "$(systemctl is-active "$unit")" = active ]; }
idle() { [ "$(systemctl is-active "$unit")" = inactive ]; }

booted() {
    systemctl is-system-running --wait
    systemctl --failed --no-legend
    [ "$(systemctl is-system-running)" = running ]
}

# device NODE PATTERN: its permissions, by the rule that is there for it
device() {
    ls -l "$1"
    [[ $(stat -c '%a %U:%G' "$1") =~ ^$2$ ]]
}

name_module() {
    printf '%s\n' '[device.cryptoki]' "module_path = \"$1\"" 'uri = "pkcs11:token=device"' >/etc/tedge/tedge.toml
}

# The layer's service, where it is installed.
provisioning=tedge-hsm-provision.service
has_provisioning() { systemctl cat "$provisioning" >/dev/null 2>&1; }
# provisioned: by that service, now or at the boot; what it sealed is unsealed for those who look for PINs
provisioned() {
    local store=/etc/credstore.encrypted
    sed -i 's/^COMMON_NAME=%m$/COMMON_NAME=device-1/' /etc/tedge-hsm/provision.conf
    systemctl start "$provisioning" || { journalctl --no-pager --unit "$provisioning" --unit "$unit"; return 1; }
    install -d -m 0700 /root/pins
    systemd-creds decrypt --name=pin "$store/tedge-p11-server.pin" /root/pins/user &&
        systemd-creds decrypt --name=so-pin "$store/tedge-hsm.so-pin" /root/pins/so &&
        [ "$(systemctl show --property Result --value "$provisioning")" = success ] &&
        cp /var/lib/tedge-hsm/device.csr /run/device.csr && sync
}

# configure MODULE: the signer, for a token `device`, with PINs that nobody knows
configure() {
    local pins=(/root/pins/user /root/pins/so)
    name_module "$1"
    install -d -m 0700 /root/pins /etc/credstore
    [ -e "${pins[0]}" ] || openssl rand -hex 8 | tr -d '\n' >"${pins[0]}"
    [ -e "${pins[1]}" ] || openssl rand -hex 8 | tr -d '\n' >"${pins[1]}"
    # tedge-hsm takes no PIN file that others may read.
    chmod 0600 "${pins[@]}"
    install -m 0400 "${pins[0]}" /etc/credstore/tedge-p11-server.pin
    sync
}

request() { as member tedge-hsm csr --uri "$key" --common-name device-1; }
verified() { request | openssl req -verify -noout; }

at_broker=(--host localhost --cert /etc/tedge/device.pem --ca /etc/tedge/ca.pem)
connect() {
    as member tedge-hsm connect --uri "$key" "${at_broker[@]}" --subscribe from/device \
        --publish from/device "signed in the HSM"
}
handshake() {
    local said
    said=$(connect) || { echo "$said"; return 1; }
    echo "$said"
    grep -q '^TLS version  *1.3$' <<<"$said" && grep -q '^received  *from/device signed in the HSM$' <<<"$said"
}
known_to_broker() { grep "New client connected .*u'CN=device-1'" /var/log/mosquitto/mosquitto.log; }

# bridge: from a broker of the device's own, that asks nobody who he is, to the one that wants a certificate
bridge() {
    local_broker() { systemd-run --quiet --unit=local-broker --uid=mosquitto mosquitto -p 1883; }
    check "a local broker runs" local_broker
    bridge_up() { timeout 200 systemctl start tedge-hsm-bridge; }
    check "the bridge connects to both brokers, with the key in the HSM" bridge_up
    carried() {
        as member tedge-hsm connect --uri "$key" "${at_broker[@]}" --client-id observer --subscribe from/device/hello \
            >/run/carried 2>&1 &
        soon grep '^subscribed' /run/carried
        mosquitto_pub -p 1883 -t out/hello -q 1 -m 'carried by the bridge'
        wait $!
        cat /run/carried
        grep -q 'carried by the bridge' /run/carried
    }
    check "it carries a message" carried
    systemctl stop tedge-hsm-bridge local-broker
}

# in_order DOCTOR_OPTION...: doctor finds nothing wrong, to the broker
in_order() { tedge-hsm doctor "$@" "${at_broker[@]}" && as member tedge-hsm doctor "${at_broker[@]}"; }

confined() {
    local pid id exposure
    pid=$(property MainPID) id=$(id -u tedge-p11)
    exposure=$(systemd-analyze security --no-pager "$unit" | sed -n 's/.*exposure level for .*: \([0-9.]*\) .*/\1/p')
    echo "pid $pid, exposure ${exposure:-?} of 10"
    ls -A "/proc/$pid/root/dev"
    grep -E "^Uid:.$id.$id.$id.$id$" "/proc/$pid/status" && grep -E '^CapBnd:.0+$' "/proc/$pid/status" &&
        grep -E '^Seccomp:.2$' "/proc/$pid/status" && ! find "/proc/$pid/root/dev/" -type b | grep . &&
        awk -v is="${exposure:-10}" 'BEGIN { exit !(is <= 1.5) }'
}

silent() {
    journalctl --sync
    ! journalctl --quiet --all --output export | grep -aF -f /root/pins/user -f /root/pins/so
}

# load: eight clients that want a signature all the time, until `unload`; what they get is in /run/load
load() {
    rm -rf /run/load
    mkdir /run/load
    # Not a function in the background: that would keep bash's own copies of this one's output open, and the order
    # from the other side would never end.
    local i
    for i in {1..8}; do
        setsid bash -c '. /run/guest; ask_on "$1"' load "$i" </dev/null >/run/load/log 2>&1 &
    done
}
ask_on() {
    until [ -e /run/load/end ]; do
        if request >/dev/null 2>>"/run/load/errors-$1"; then echo >>"/run/load/served-$1"; fi
    done
}
served() { cat /run/load/served-* 2>/dev/null | wc -l; }
# under_load: once each client had an answer
under_load() {
    load
    all_served() { [ "$(find /run/load -name 'served-*' | wc -l)" = 8 ]; }
    soon all_served
}
unload() {
    touch /run/load/end
    clients_ended() { ! pgrep -u member tedge-hsm; }
    soon clients_ended
}

# killed: SIGKILL for the signer under load
killed() {
    local before restarts count
    restarts=$(property NRestarts)
    check "eight clients are served at a time" under_load
    before=$(property MainPID)
    count=$(served)
    kill -KILL "$before"
    more_served() { [ "$(served)" -gt "$((count + 16))" ]; }
    check "clients are served again after SIGKILL for the signer under load" soon more_served
    restarted() { [ "$(property NRestarts)" = "$((restarts + 1))" ] && [ "$(property MainPID)" != "$before" ] && running; }
    check "systemd has started it again, once" restarted
    check "each of the clients comes to its end" unload
}

# furnished: what a device of Debian gets before it is booted: users for the tests
furnished() {
    add_user() { id "$1" || useradd --no-create-home --shell /bin/sh "${@:2}" "$1"; }
    check "there are users for the tests" eval 'add_user member --groups tedge && add_user outsider'
}
