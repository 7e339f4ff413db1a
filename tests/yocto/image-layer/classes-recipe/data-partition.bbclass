# With read-only-rootfs: a product's data partition, here a disk of its own (the names of NVMe's namespaces are not
# fixed), and what base-files and systemd of OpenEmbedded have below /var.
ROOTFS_POSTPROCESS_COMMAND += "data_partition"
data_partition() {
    mkdir -p ${IMAGE_ROOTFS}/data ${IMAGE_ROOTFS}/var/volatile
    printf '%s\n' 'LABEL=data /data ext4 defaults 0 2' 'tmpfs /var/volatile tmpfs defaults 0 0' >>${IMAGE_ROOTFS}/etc/fstab
    for name in log tmp; do
        rm -rf ${IMAGE_ROOTFS}/var/$name
        ln -s volatile/$name ${IMAGE_ROOTFS}/var/$name
    done
    printf '%s\n' 'd /var/volatile/log' 'd /var/volatile/tmp 1777' >${IMAGE_ROOTFS}/usr/lib/tmpfiles.d/00-create-volatile.conf
}
