SUMMARY = "thin-edge.io, with a signer of its own"
LICENSE = "CLOSED"
INHIBIT_DEFAULT_DEPS = "1"

inherit systemd

# Where meta-tedge's has its programs and all units of thin-edge.io's.
do_install() {
    install -d ${D}${bindir} ${D}${systemd_system_unitdir}
    for program in tedge tedge-p11-server; do
        echo '#!/bin/sh' > ${D}${bindir}/$program
        chmod 0755 ${D}${bindir}/$program
    done
    for unit in tedge-agent.service tedge-p11-server.service tedge-p11-server.socket; do
        echo '[Unit]' > ${D}${systemd_system_unitdir}/$unit
    done
}
FILES:${PN} += "${systemd_system_unitdir}"
