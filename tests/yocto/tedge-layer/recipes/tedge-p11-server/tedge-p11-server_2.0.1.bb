SUMMARY = "The recipe that meta-tedge has since thin-edge.io 1.5.1"
LICENSE = "CLOSED"
INHIBIT_DEFAULT_DEPS = "1"
