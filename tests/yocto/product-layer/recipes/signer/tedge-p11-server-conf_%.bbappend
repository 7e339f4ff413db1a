FILESEXTRAPATHS:prepend := "${THISDIR}/files:"
SRC_URI += "file://tedge-p11-server.toml"
