# shellcheck shell=bash
# Steps, one after the other whatever becomes of them, and a summary: for scripts that source this file. A step that
# ends with 77 could not run on this machine.

passed=0 failed=0 skipped=0 outcomes=()

# step NAME COMMAND...
step() {
    local name=$1 started=$SECONDS status=0
    shift
    printf '\n== %s\n' "$name"
    "$@" || status=$?
    case $status in
    0) passed=$((passed + 1)) ;;
    77)
        skipped=$((skipped + 1))
        outcomes+=("skipped: $name")
        ;;
    *)
        failed=$((failed + 1))
        outcomes+=("failed: $name")
        ;;
    esac
    printf '   %s s\n' $((SECONDS - started))
}

# steps_summary: succeeds if none failed
steps_summary() {
    echo
    ((${#outcomes[@]} == 0)) || printf '%s\n' "${outcomes[@]}"
    echo "steps: $passed passed, $failed failed, $skipped skipped"
    ((failed == 0))
}
