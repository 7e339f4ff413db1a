# shellcheck shell=bash
# On this PC and in the guest.

# within SECONDS COMMAND...: until it succeeds, but no longer than that
within() {
    local deadline=$((SECONDS + $1))
    until "${@:2}"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.5
    done
}
