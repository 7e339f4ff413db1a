# shellcheck shell=bash
# shellcheck disable=SC2154 # of lib.sh and run
# thin-edge.io's program `tedge`, in the file $TEDGE, on the device. Not ours to build.

thin_edge() {
    if [ -z "${TEDGE-}" ]; then
        tap "# skipped: thin-edge.io: TEDGE names no program"
        return
    fi
    guest 'cat >/usr/local/bin/tedge && chmod 755 /usr/local/bin/tedge' <"$TEDGE"
    phase thin_edge
}
