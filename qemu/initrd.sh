# shellcheck shell=bash
# shellcheck disable=SC2154 # of lib.sh and run
# For kernels that need modules for the disk.

# $tmp/initrd, which loads them and goes on to the root file system. The root has busybox-static; nothing of it is run, it
# may be another CPU's.
make_initrd() {
    local version=${kernel#*vmlinuz-} initrd=$tmp/initrd.d module name
    mkdir -p "$initrd"/{bin,modules,root,dev}
    cp "$root/bin/busybox" "$initrd/bin/"
    {
        printf '#!/bin/busybox sh\n/bin/busybox mount -t devtmpfs none /dev\n'
        modprobe --dirname="$root" --set-version="$version" --show-depends --all nvme ext4 crc32c_generic |
            sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' | while read -r module; do
            name=${module##*/}
            case $name in
            *.xz) xz --decompress --stdout "$module" >"$initrd/modules/${name%.xz}" ;;
            *) cp "$module" "$initrd/modules/" ;;
            esac
            echo "/bin/busybox insmod /modules/${name%.xz}"
        done
        # shellcheck disable=SC2016 # for that shell
        echo 'until [ -b /dev/nvme0n1 ]; do /bin/busybox sleep 0.1; done
/bin/busybox mount -t ext4 /dev/nvme0n1 /root && exec /bin/busybox switch_root /root /sbin/init'
    } >"$initrd/init"
    chmod +x "$initrd/init"
    (cd "$initrd" && find . | cpio --quiet --create --format=newc) >"$tmp/initrd"
}
