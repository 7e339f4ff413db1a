# shellcheck shell=bash
# What the scripts of this folder share: the version of HEAD, its source. For scripts that source this file in the root of
# the repository.
# shellcheck disable=SC2034 # of those scripts

fail() { echo "${0##*/}: $*" >&2; exit 1; }

# of_head: sets $version, Debian's of HEAD, and SOURCE_DATE_EPOCH, the time of its commit, which all files have.
of_head() {
    SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
    export SOURCE_DATE_EPOCH
    version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
    # A version between two releases is older than the next one.
    if ! git describe --exact-match --match "v$version" >/dev/null 2>&1; then
        version=$version~git$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d%H%M%S).$(git rev-parse --short=12 HEAD)
    fi
}

# source_of_head DIR: the source of HEAD in the new DIR, with the folder that dpkg-buildpackage wants
source_of_head() {
    mkdir -p "$1"
    git archive HEAD | tar -x --touch --no-same-permissions -C "$1"
    cp -R "$1/packaging/debian" "$1/debian"
    # Debian's form of a changelog has one entry, for this version.
    printf 'tedge-hsm (%s) unstable; urgency=medium\n\n  * See CHANGELOG.md.\n\n -- %s  %s\n' "$version" \
        "$(sed -n 's/^Maintainer: //p' "$1/debian/control")" "$(date -u -R -d "@$SOURCE_DATE_EPOCH")" >"$1/debian/changelog"
}

# The crate that is the program of each package.
declare -A crates=([tedge-hsm-signer]=tedge-p11-server [tedge-hsm]=tedge-hsm [tedge-hsm-bridge]=tedge-hsm-bridge
    [libtedge-p11]=tedge-p11-module)

# crates_in CRATE TARGET: NAME VERSION of each crate that is in that program as the packages have it, itself included, by cargo,
# for the source in the current folder. The three programs are built at once and have the features that they want together.
crates_in() {
    local together=(--package tedge-p11-server --package tedge-hsm --package tedge-hsm-bridge)
    [ "$1" != tedge-p11-module ] || together=(--package tedge-p11-module)
    cargo tree --locked --offline --quiet "${together[@]}" --target "$2" --edges normal --no-dedupe --prefix depth --format ' {p}' |
        awk -v root="$1" '$1 == 0 { on = $2 == root } on && NF > 1 { print $2, substr($3, 2) }' | LC_ALL=C sort -u
}

# make_anew FOLDER FILE: an empty folder; in place of one that is there only if FILE says that it was made here
make_anew() {
    if [ -e "$1" ] && [ ! -e "$1/$2" ] && [ -n "$(ls -A "$1")" ]; then
        fail "$1 is there and has no $2: it was not made here; remove it, or name another"
    fi
    rm -rf "$1"
    mkdir -p "$1"
}
