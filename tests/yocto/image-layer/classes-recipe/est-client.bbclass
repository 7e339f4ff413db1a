# With TEDGE_HSM_ENROLL: what a product's factory puts on the device. TEDGE_TEST_EST is the folder of the CA, by `run`.
ROOTFS_POSTPROCESS_COMMAND += "est_client"
est_client() {
    install -m 0644 ${TEDGE_TEST_EST}/ca.pem ${IMAGE_ROOTFS}/etc/tedge-hsm/est-ca.pem
    echo s3cret >${IMAGE_ROOTFS}/etc/tedge-hsm/est-password
    chmod 0600 ${IMAGE_ROOTFS}/etc/tedge-hsm/est-password
    chown "$(sed -n 's/^tedge:[^:]*:\([0-9]*\):.*/\1/p' ${IMAGE_ROOTFS}/etc/passwd)" ${IMAGE_ROOTFS}/etc/tedge-hsm/est-password
}
