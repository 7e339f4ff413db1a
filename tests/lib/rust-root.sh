# shellcheck shell=bash
# Debian stable's own Rust, in a private root: not every machine can fetch toolchains. For scripts that source root.sh
# and this file, and that have skip, fail and new_root, which they remove when they end.
# shellcheck disable=SC2034 # of those scripts

# rust_root NAME PACKAGES OPTION...: sets $rust_root, a Debian with these packages, made with options of mmdebstrap if
# the cache doesn't have it. Nobody else uses it until this script ends, or has descriptor 9 unlocked.
rust_root() {
    local name=$1 packages=$2 suite=trixie cache key status=0
    mkdir -p "${TEDGE_CACHE:-target/cache}"
    cache=$(realpath "${TEDGE_CACHE:-target/cache}")
    rust_root=$cache/$name-root
    key="$suite $(dpkg --print-architecture) ${*:2}"
    exec 9>"$rust_root.lock"
    flock 9
    if [ "$(cat "$rust_root/.key" 2>/dev/null)" = "$key" ]; then return; fi
    new_root=$rust_root.tmp
    echo "# making a root file system with Debian's Rust in $rust_root" >&2
    debian_root "$new_root" "$rust_root.log" "$suite" "$packages" --variant=apt "${@:3}" || status=$?
    case $status in
    0) ;;
    77) skip "no mirror of Debian can be reached" ;;
    *) fail "mmdebstrap failed" ;;
    esac
    echo "$key" >"$new_root/.key"
    rm -rf --one-file-system "$rust_root"
    mv -T "$new_root" "$rust_root"
    new_root=
}

# in_rust_root REPO [VARIABLE=VALUE...] COMMAND...: in the root, with the repository, its cache and cargo's downloads at
# their own paths.
in_rust_root() {
    local repo=$1 home=${CARGO_HOME:-$HOME/.cargo} certs=/etc/ssl/certs/ca-certificates.crt own variable environment
    # Names and certificates as this machine knows them.
    cp --remove-destination -L /etc/resolv.conf /etc/hosts "$rust_root/etc/"
    own=${CARGO_HTTP_CAINFO:-${SSL_CERT_FILE:-$certs}}
    if [ -r "$own" ]; then cp "$own" "$rust_root$certs"; fi
    mkdir -p "$home"
    environment=(HOME="$HOME" CARGO_HOME="$home" PATH=/usr/bin:/bin LANG=C.UTF-8 TERM="${TERM-dumb}")
    while IFS= read -r -d '' variable; do
        case ${variable%%=*} in
        http_proxy | https_proxy | all_proxy | no_proxy | HTTP_PROXY | HTTPS_PROXY | ALL_PROXY | NO_PROXY | \
            CARGO_HTTP_* | CARGO_NET_* | CARGO_BUILD_JOBS | CARGO_TERM_*)
            environment+=("$variable")
            ;;
        esac
    done < <(env -0)
    environment+=(SSL_CERT_FILE="$certs" CARGO_HTTP_CAINFO="$certs")
    contained bash -euo pipefail -c "$(declare -f enter_rust_root)"$'\n''enter_rust_root "$@"' enter \
        "$rust_root" "$repo" "$home" "${environment[@]}" "${@:2}"
}

# Inside contained().
enter_rust_root() {
    local root=$1 repo=$2 home=$3 dir
    shift 3
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs tmpfs "$root/tmp"
    for dir in "$repo" "$home" ${TEDGE_CACHE:+"$(realpath "$TEDGE_CACHE")"}; do
        mkdir -p "$root$dir"
        mount --rbind "$dir" "$root$dir"
    done
    chroot "$root" env -i --chdir="$repo" "$@"
}
