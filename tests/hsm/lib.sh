# shellcheck shell=bash
# Shared by the test tokens in this folder, which source it. A rig is called as `RIG DIR`, makes DIR/env,
# prints `ready`, and lives until its stdin ends or a signal comes. DIR/env is KEY=VALUE lines without
# quoting, and is there only while the token answers. Where it can't run on a machine it prints
# `skipped: why` in place of `ready`. A line on stdin is a command of the rig's own, answered by `done`.

me=${0##*/}
pids=() # what this rig started, in the order in which it was started
run=    # short-named folder for sockets: a socket's path holds 108 bytes, DIR may be longer

fail() {
    printf '%s: %s\n' "$me" "$*" >&2
    exit 1
}

skip() {
    printf 'skipped: %s\n' "$*"
    exit 77
}

# need PACKAGE PROGRAM...
need() {
    local package=$1 program
    shift
    for program; do
        command -v "$program" >/dev/null || fail "$program not found (Debian: apt-get install $package)"
    done
}

# find_module PACKAGE FOLDER/NAME: sets $module
find_module() {
    # /usr/lib/x86_64-linux-gnu or /usr/lib/aarch64-linux-gnu on Debian, the other two elsewhere.
    for module in "/usr/lib/$(uname -m)-linux-gnu/$2" "/usr/lib64/$2" "/usr/lib/$2"; do
        if [[ -e $module ]]; then return; fi
    done
    fail "${2##*/} not found (Debian: apt-get install $1)"
}

# begin DIR: sets $dir, and makes sure that nothing outlives this script
begin() {
    [[ $# = 1 && -n $1 ]] || fail "usage: $me DIR"
    mkdir -p -- "$1" || exit 1
    dir=$(cd -- "$1" && pwd)
    # DIR/env has no quoting, and a comma ends a value in swtpm's options and in a TCTI.
    [[ $dir != *[[:space:],]* ]] || fail "white space or a comma in the path $dir"
    rm -f -- "$dir/env"
    trap end EXIT
    trap 'exit 0' HUP INT PIPE TERM
}

# start NAME COMMAND...: in the background, with its output in DIR/NAME.log
start() {
    local name=$1
    shift
    # The parent death signal is for the one case in which `end` never runs: kill -9 of this script.
    setpriv --pdeathsig TERM -- "$@" >"$dir/$name.log" 2>&1 </dev/null &
    pids+=($!)
}

# stop: ends what was started last
stop() {
    kill "${pids[-1]}"
    wait "${pids[-1]}" || : # its exit code says that it was killed
    unset 'pids[-1]'
}

# await NAME CONDITION...: until CONDITION holds, as long as the process started last is alive
await() {
    local name=$1 deadline=$((SECONDS + 60))
    shift
    until "$@" >>"$dir/await.log" 2>&1; do
        kill -0 "${pids[-1]}" 2>/dev/null || fail "$name ended: $(tail -n 1 "$dir/$name.log")"
        ((SECONDS < deadline)) || fail "$name does not answer (see $dir/$name.log)"
        sleep 0.02
    done
}

# ready KEY=VALUE...: publishes DIR/env in one step, then waits for the end; a line LINE is obeyed by a
# function do_LINE of the rig
ready() {
    printf '%s\n' "$@" >"$dir/env.new"
    mv -- "$dir/env.new" "$dir/env"
    echo ready
    # Reading, not sleeping: if the caller dies, even of kill -9, its end of the pipe closes.
    local line
    while read -r line; do
        "do_$line" || fail "$line failed"
        echo 'done'
    done
}

end() {
    local status=$? i n
    # From here on no signal may cut the clean-up short.
    trap '' HUP INT PIPE TERM
    trap - EXIT
    set +e
    rm -f -- "$dir/env" "$dir/env.new"
    # Last started, first stopped.
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        for ((n = 0; n < 250; n++)); do
            # Again and again: bash loses a signal that comes between fork and exec.
            kill "${pids[i]}" 2>/dev/null || continue 2
            sleep 0.02
        done
        kill -KILL "${pids[i]}"
    done
    wait
    [[ -z $run ]] || rm -rf -- "$run"
    exit "$status"
}
