# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # of lib.sh and run
# A device with a TPM that changes its key, with the power cut at each step of that. The EST server is on this PC; the
# device reaches it by its own port 9443.

# shellcheck source=qemu/tpm2.sh
. "$repo/qemu/tpm2.sh"
needs+=(python3)

est=

run_rotation() {
    local step
    begin_tpm2
    phases=tpm2
    phase provision
    phases=rotation
    check "a CA signs the request" sign
    start_est
    open_est
    set_clock
    phase first_pair
    # As they are recorded (docs/rotation.md), and the end, where the record has gone.
    for step in make-key request try switch hook keep-old delete-old none; do
        phase rotate_until "$step"
        power_off
        power_on
        open_est
        set_clock
        phase after_cut "$step"
    done
    [ "$shell" = no ] || shell
    kill_child "$est"
}

start_est() {
    mkdir "$tmp/est"
    cp "$tmp/ca.pem" "$tmp/ca.key" "$tmp/est/"
    cp "$tmp/server.pem" "$tmp/est/localhost.pem"
    cp "$tmp/server.key" "$tmp/est/localhost.key"
    # It serves until its standard input is closed.
    mkfifo "$tmp/est/input" "$tmp/est/output"
    setpriv --pdeathsig KILL "$repo/tests/est-server" "$tmp/est" <>"$tmp/est/input" >"$tmp/est/output" 2>"$tmp/est/log" 7>&- &
    est=$!
    read -r -t 60 est_port <"$tmp/est/output" || fail "tests/est-server does not start: $(tail -n 3 "$tmp/est/log")"
}

# open_est: after each power cut
open_est() {
    guest -O forward -R "127.0.0.1:9443:127.0.0.1:$est_port" || fail "the device's port 9443 is not free"
}

# A clock that falls behind this PC's, as that of a busy guest does, finds new certificates not valid yet.
set_clock() { guest "date --set=@$(($(date +%s) + 300))" >/dev/null; }
