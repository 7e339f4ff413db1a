SUMMARY = "A device with its identity key in an HSM, to try under QEMU"
DESCRIPTION = "qemux86-64, qemuarm64 and qemuarm with a software TPM (scripts/with-swtpm starts it), qemuarm64-secureboot \
with OP-TEE. Choose with TEDGE_HSM."
LICENSE = "Apache-2.0"

# runqemu takes the machines' ext4.zst with `snapshot` only, and that loses the disk while the TPM is kept.
# OP-TEE's machine boots from a disk with partitions.
IMAGE_FSTYPES = "${@'wic.qcow2' if d.getVar('MACHINE') == 'qemuarm64-secureboot' else 'ext4'}"
QB_DEFAULT_FSTYPE = "${IMAGE_FSTYPES}"

inherit core-image

COMPATIBLE_HOST = "(x86_64|aarch64|arm).*-linux"

IMAGE_INSTALL = "\
    packagegroup-core-boot \
    packagegroup-tedge-hsm \
    openssl-bin \
    ${@bb.utils.contains('BBFILE_COLLECTIONS', 'networking-layer', 'mosquitto mosquitto-clients', '', d)} \
    ${CORE_IMAGE_EXTRA_INSTALL} \
"
# For people and for testimage. Products leave them out.
IMAGE_FEATURES += "ssh-server-dropbear allow-empty-password allow-root-login empty-root-password"

# Where swtpm listens, by scripts/with-swtpm. Not TMPDIR, which is tmp-glibc on scarthgap without a distro.
TEDGE_HSM_SWTPM_SOCKET ?= "${TOPDIR}/tmp/tedge-hsm-swtpm/socket"
TEDGE_HSM_TPM_DEVICE ?= "tpm-crb"
TEDGE_HSM_TPM_DEVICE:qemuarm ?= "tpm-tis-device"
TEDGE_HSM_TPM_DEVICE:qemuarm64 ?= "tpm-tis-device"
QB_OPT_APPEND:append = " ${@bb.utils.contains('TEDGE_HSM', 'tpm2', '-chardev socket,id=chrtpm,\
path=${TEDGE_HSM_SWTPM_SOCKET} -tpmdev emulator,id=tpm0,chardev=chrtpm \
-device ${TEDGE_HSM_TPM_DEVICE},tpmdev=tpm0', '', d)}"

# The last one is skipped where the image has no broker: mosquitto is in meta-networking.
TEST_SUITES:append = " tedge_hsm_signer tedge_hsm_reboot tedge_hsm_broker"
