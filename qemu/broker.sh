# shellcheck shell=bash
# shellcheck disable=SC2154 # of lib.sh and run
# For a device that has no broker and no users of the tests: a broker on this PC, which the device reaches by its own
# port 8883, and what else `fill` of lib.sh gives to a device.

broker=

# furnish: once the device answers
furnish() {
    start_broker
    guest 'cat >/etc/tedge/ca.pem' <"$tmp/ca.pem"
    phase furnished
}

start_broker() {
    command -v mosquitto >/dev/null || skip "mosquitto is not installed, and the device has none of ours"
    local to
    mkdir -p "$tmp/broker"
    cp "$tmp/ca.pem" "$tmp/server.pem" "$tmp/server.key" "$tmp/broker/"
    for ((to = 0; to < 20; to++)); do
        broker_port=$((20000 + SRANDOM % 12000))
        sed "s,8883,$broker_port,; s,/etc/mosquitto/certs,$tmp/broker," "$repo/qemu/mosquitto.conf" >"$tmp/broker/conf"
        printf '%s\n' "user $(id -un)" "log_dest file $tmp/broker/log" 'connection_messages true' >>"$tmp/broker/conf"
        setpriv --pdeathsig KILL mosquitto -c "$tmp/broker/conf" </dev/null >"$tmp/broker/said" 2>&1 7>&- &
        broker=$!
        # It ends if the port is taken.
        if within 30 broker_settled && kill -0 "$broker" 2>/dev/null; then
            open_way
            return
        fi
        kill_child "$broker"
    done
    fail "mosquitto does not start: $(tail -n 3 "$tmp/broker/said")"
}
broker_settled() {
    ! kill -0 "$broker" 2>/dev/null || (exec 3<>"/dev/tcp/127.0.0.1/$broker_port") 2>/dev/null
}

# open_way: after each power cut
open_way() {
    [ -n "$broker" ] || return 0
    guest -O forward -R "127.0.0.1:8883:127.0.0.1:$broker_port" || fail "the device's port 8883 is not free"
}

broker_log() {
    if [ -n "$broker" ]; then cat "$tmp/broker/log"; else guest 'cat /var/log/mosquitto/mosquitto.log'; fi
}
# By the name in the certificate that the CA has signed.
known_to_broker() {
    local name
    name=$(openssl x509 -in "$tmp/device.pem" -noout -subject -nameopt RFC2253)
    broker_log | grep "New client connected .*u'${name#subject=}'"
}
