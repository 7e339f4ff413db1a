# shellcheck shell=bash
# Programs of another architecture on this machine, by QEMU's user mode: for scripts that source this file. They call
# end_emulation when they end.

emulated=

# begin_emulation ARCH: has this machine's kernel run them, arm64 or armhf. Fails with 77 if it can't.
begin_emulation() {
    local cpu=aarch64 at=/proc/sys/fs/binfmt_misc repo
    repo=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../..")
    [ "$1" = arm64 ] || cpu=arm
    "$repo/tests/install-packages" emulation || return 77
    # Another one may do the same, and takes it away when it ends.
    mkdir -p "${TEDGE_CACHE:-$repo/target/cache}"
    exec 6>"${TEDGE_CACHE:-$repo/target/cache}/binfmt-$cpu.lock"
    flock 6
    [ -e "$at/register" ] || mount -t binfmt_misc binfmt_misc "$at" || return 77
    if [ ! -e "$at/qemu-$cpu" ]; then
        cat "/usr/lib/binfmt.d/qemu-$cpu.conf" >"$at/register"
        emulated=$at/qemu-$cpu
    fi
}

end_emulation() { [ -z "$emulated" ] || echo -1 >"$emulated"; }
