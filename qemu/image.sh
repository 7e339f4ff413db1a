# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # of lib.sh and run
# A disk that is there already: the image and the kernel that BitBake has made.

# take_image FOLDER: its *.ext4 becomes the disk, its bzImage the kernel
take_image() {
    local disks kernels
    mapfile -t disks < <(find -L "$1" -maxdepth 1 -name '*.ext4' | sort)
    mapfile -t kernels < <(find -L "$1" -maxdepth 1 \( -name 'bzImage*' -o -name 'vmlinuz*' \) | sort)
    ((${#disks[@]} > 0)) || fail "there is no *.ext4 in $1"
    ((${#kernels[@]} > 0)) || fail "there is no bzImage or vmlinuz in $1"
    tap "# image ${disks[0]##*/}, kernel ${kernels[0]##*/}"
    cp --sparse=always "${disks[0]}" "$tmp/disk"
    kernel=${kernels[0]}
    make_login
    make_ca
    # Root's home is /root in Debian and in OpenEmbedded.
    debugfs -w -f - "$tmp/disk" >"$tmp/image.log" 2>&1 <<DEBUGFS
mkdir /root/.ssh
write $tmp/login.pub /root/.ssh/authorized_keys
sif /root/.ssh mode 040700
sif /root/.ssh/authorized_keys mode 0100600
DEBUGFS
    # It makes its own key for SSH at the first boot.
    : >"$tmp/known_hosts"
}
