# shellcheck shell=bash
# Steps, one after the other whatever becomes of them, and a summary: for scripts that source this file. A step that
# ends with 77 could not run on this machine.

outcomes=$(mktemp)
lane=
trap 'rm -f "$outcomes"' EXIT

# step NAME COMMAND...
step() {
    local name=$1 started=$SECONDS status=0 outcome said
    shift
    if [ -n "$lane" ]; then
        # Two lanes would mix their lines: what a step says comes in one piece, when it ends.
        said=$(mktemp)
        printf '\n-- begins: %s\n' "$name"
        "$@" >"$said" 2>&1 || status=$?
        exec 7>>"$outcomes"
        flock 7
        printf '\n== %s\n' "$name"
        cat "$said"
        rm -f "$said"
    else
        printf '\n== %s\n' "$name"
        "$@" || status=$?
    fi
    case $status in
    0) outcome=passed ;;
    77) outcome=skipped ;;
    *) outcome=failed ;;
    esac
    echo "$outcome: $name" >>"$outcomes"
    printf '   %s s\n' $((SECONDS - started))
    if [ -n "$lane" ]; then exec 7>&-; fi
}

# skipped_within NUMBER: of the step that runs
skipped_within() {
    local one
    for ((one = 0; one < $1; one++)); do echo "skipped" >>"$outcomes"; done
}

# lanes COMMAND OTHER: two functions that call step, at the same time; one that is interrupted ends the other
lanes() {
    local other status=0
    set -m
    (
        set +m
        trap - EXIT
        lane=2
        "$2"
    ) </dev/null &
    other=$!
    set +m
    # shellcheck disable=SC2064 # that process
    trap "kill -TERM -- -$other 2>/dev/null; rm -f '$outcomes'" EXIT
    lane=1
    "$1"
    lane=
    wait "$other" || status=$?
    trap 'rm -f "$outcomes"' EXIT
    ((status == 0)) || echo "failed: ${2//_/ } ended with $status" >>"$outcomes"
}

# steps_summary: succeeds if none failed
steps_summary() {
    echo
    sed -n '/^failed: /p; /^skipped: /p' "$outcomes"
    echo "steps: $(grep -c '^passed' "$outcomes") passed, $(grep -c '^failed' "$outcomes") failed, $(grep -c '^skipped' "$outcomes") skipped"
    ! grep -q '^failed' "$outcomes"
}
