# shellcheck shell=bash
# For tests that run the commands of pages and source this file, with the repository as their folder.

# blocks DIR PAGE...: DIR/PAGE~HEADING~NUMBER for each block of code of these pages, as it is there but for the indentation of
# a list's. PAGE and HEADING have `-` where others have no letter or digit; blocks are counted from 1 below each heading.
blocks() {
    local dir=$1
    shift
    awk -v dir="$dir" '
        function name(text) { gsub(/[^A-Za-z0-9.]+/, "-", text); sub(/^-/, "", text); sub(/-$/, "", text); return text }
        FNR == 1 { heading = ""; n = 0; block = 0 }
        !block && /^#+ / { heading = $0; sub(/^#+ /, "", heading); n = 0 }
        !block && /^ *```/ {
            block = 1
            file = ""
            if (!/```[a-z]/) next
            n++
            match($0, /^ */)
            indentation = RLENGTH
            file = dir "/" name(FILENAME) "~" name(heading) "~" n
            printf "" >file
            next
        }
        block && /^ *```$/ { block = 0; if (file) close(file); next }
        block && file { print substr($0, indentation + 1) >file }
    ' "$@"
}
