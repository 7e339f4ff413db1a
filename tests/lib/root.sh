# shellcheck shell=bash
# Debian root file systems, and commands that run in them: for scripts that source this file. They call
# end_contained when they end.

# Runs a command with mounts of its own. Whatever ends this script, SIGKILL included,
# ends the command with all its children, and the kernel takes the mounts away.
contained() {
    local status=0
    setpriv --pdeathsig KILL unshare --mount --pid --mount-proc --fork --kill-child \
        env --default-signal=INT,QUIT "$@" <&0 &
    contained=$!
    wait "$contained" || status=$?
    contained=
    return "$status"
}
contained=

end_contained() {
    [ -n "$contained" ] || return 0
    kill -KILL "$contained" 2>/dev/null || :
    wait "$contained" 2>/dev/null || :
}

# This machine's release of Debian.
release() {
    # shellcheck disable=SC1091
    (. /etc/os-release && echo "${VERSION_CODENAME-}")
}

# The machine's own mirror of one of Debian's archives, if it names one: $1 is the
# suite as this machine's release has it, $2 how the archive's address ends.
mirror() {
    local uris
    uris=$(apt-get --print-uris update 2>/dev/null || :)
    sed -n "s,^'\(.*/$2\)/*/dists/$(release)$1/main/binary-.*,\1,p" <<<"$uris" | head -n1
}

# debian_root DIR LOG SUITE PACKAGES OPTION...: makes it in DIR with mmdebstrap and its options. Fails with 77 if
# no mirror can be reached. `main_archive_only=yes` leaves out the updates: not every mirror has those of each architecture.
debian_root() {
    local dir=$1 log=$2 suite=$3 packages=$4 uri option hook=/usr/share/mmdebstrap/hooks/merged-usr mirrors=()
    local arguments=(--mode=root --dpkgopt=force-unsafe-io "${@:5}")
    # As Debian's installer lays out /usr; without it mmdebstrap adds packages that do it later.
    if [ -d "$hook" ]; then
        arguments+=("--hook-dir=$hook")
        packages+=,usr-is-merged
    fi
    arguments+=('--aptopt=Acquire::Retries "5"')
    # How this machine's apt reaches its mirrors: proxies, certificates, checks.
    while read -r option; do
        arguments+=("--aptopt=$option")
    done < <(apt-config dump --no-empty | grep -E '^Acquire::(https?|Check)' || :)
    uri=$(mirror '' debian)
    if [ -n "$uri" ]; then
        mirrors=("deb $uri $suite main")
        case ${main_archive_only-}$suite in
        yes* | sid | unstable) ;;
        *)
            mirrors+=("deb $uri $suite-updates main")
            uri=$(mirror -security debian-security)
            [ -z "$uri" ] || mirrors+=("deb $uri $suite-security main")
            ;;
        esac
    fi
    rm -rf --one-file-system "$dir" # what a killed run left
    # Without mirrors mmdebstrap takes Debian's public ones. The locks of scripts that source this are not for it: it has
    # dash write to the next free descriptor, which must have one digit.
    if contained mmdebstrap "${arguments[@]}" "--include=$packages" "$suite" "$dir" "${mirrors[@]}" >"$log" 2>&1 \
        7>&- 8>&- 9>&-; then
        return
    fi
    tail -n 20 "$log" >&2
    ! grep -qE 'Failed to fetch|Could not (resolve|connect)|Unable to connect' "$log" || return 77
    return 1
}
