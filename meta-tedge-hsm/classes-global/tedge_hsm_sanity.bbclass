# Refuses what TEDGE_HSM and TEDGE_HSM_PROVISION can't be, before anything is built with it.

TEDGE_HSM_KINDS = "tpm2 optee usb softhsm"

addhandler tedge_hsm_check
tedge_hsm_check[eventmask] = "bb.event.ConfigParsed"
python tedge_hsm_check () {
    kinds = d.getVar('TEDGE_HSM_KINDS').split()
    wrong = [kind for kind in d.getVar('TEDGE_HSM').split() if kind not in kinds]
    if wrong:
        bb.fatal("TEDGE_HSM = \"%s\": there is no %s. It is a list of any of: %s."
                 % (d.getVar('TEDGE_HSM'), ', '.join(wrong), ', '.join(kinds)))
    provision = d.getVar('TEDGE_HSM_PROVISION')
    if provision not in ('', 'csr', 'self-signed'):
        bb.fatal("TEDGE_HSM_PROVISION = \"%s\": it is one of: csr, self-signed, or empty for no provisioning at "
                 "the first boot." % provision)
    if provision and not d.getVar('TEDGE_HSM').split():
        bb.fatal("TEDGE_HSM_PROVISION = \"%s\" without a TEDGE_HSM to provision." % provision)
}

addhandler tedge_hsm_warn
tedge_hsm_warn[eventmask] = "bb.event.BuildStarted"
python tedge_hsm_warn () {
    if bb.utils.contains('TEDGE_HSM', 'softhsm', True, False, d):
        bb.warn("TEDGE_HSM has softhsm, whose keys are files that can be copied: for development images only.")
}
