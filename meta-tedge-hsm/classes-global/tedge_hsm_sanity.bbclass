# Refuses what the layer's variables can't be, before anything is built with them.

TEDGE_HSM_KINDS = "tpm2 optee usb softhsm"
TEDGE_HSM_CLOUDS = "aws azure cumulocity est"
TEDGE_HSM_KEY_TYPES = "p256 p384 p521 rsa2048 rsa3072 rsa4096 ed25519 ml-dsa-44 ml-dsa-65 ml-dsa-87"

# What no HSM of a kind makes, as docs/hsm/README.md has it; what some of them make is left to the first boot.
# tpm2-pkcs11 makes P-521 keys that do not work. SoftHSM2 of meta-oe is built without ML-DSA.
TEDGE_HSM_NO_KEY_TYPES_tpm2 = "p521 ed25519 ml-dsa-44 ml-dsa-65 ml-dsa-87"
TEDGE_HSM_NO_KEY_TYPES_optee = "ml-dsa-44 ml-dsa-65 ml-dsa-87"
TEDGE_HSM_NO_KEY_TYPES_usb = "ml-dsa-44 ml-dsa-65 ml-dsa-87"
TEDGE_HSM_NO_KEY_TYPES_softhsm = "ml-dsa-44 ml-dsa-65 ml-dsa-87"

# As Cargo.toml's rust-version.
TEDGE_HSM_RUST = "1.85"

# A sentence if this release's Rust is older than the programs need, else nothing.
def tedge_hsm_rust_too_old(d):
    import re

    needed = d.getVar('TEDGE_HSM_RUST')
    have = re.match(r'(\d+)\.(\d+)', d.getVar('RUSTVERSION') or '')
    if not have or tuple(map(int, have.groups())) >= tuple(map(int, needed.split('.'))):
        return None
    return ("Rust is %s here, and tedge-hsm needs %s. On scarthgap the layer meta-lts-mixins, the newest of its branch "
            "scarthgap/rust, brings a newer one." % (d.getVar('RUSTVERSION').rstrip('%'), needed))

addhandler tedge_hsm_check
tedge_hsm_check[eventmask] = "bb.event.ConfigParsed"
python tedge_hsm_check () {
    import re

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
    enroll = d.getVar('TEDGE_HSM_ENROLL') or ''
    clouds = d.getVar('TEDGE_HSM_CLOUDS').split()
    if enroll.split() and enroll.split()[0] not in clouds:
        bb.fatal("TEDGE_HSM_ENROLL = \"%s\": it begins with one of: %s." % (enroll, ', '.join(clouds)))
    if not re.fullmatch(r"[^'\"\\`$\n]*", enroll):
        bb.fatal("TEDGE_HSM_ENROLL = \"%s\": its options go to the program word by word, without quotes, backslashes "
                 "and dollars." % enroll)
    if enroll.split() and not provision:
        bb.fatal("TEDGE_HSM_ENROLL without TEDGE_HSM_PROVISION: what enrols belongs to the first boot, which makes the key.")
    complaint = tedge_hsm_rust_too_old(d)
    if complaint and d.getVar('TEDGE_HSM').split():
        bb.fatal(complaint)
    # Which a layer's priority does not outdo. thin-edge.io's versions begin at 1.5.1.
    for word in ('PREFERRED', 'REQUIRED'):
        version = d.getVar(word + '_VERSION_tedge-p11-server') or ''
        if re.match('[1-9]', version) and d.getVar('TEDGE_HSM').split():
            bb.fatal("%s_VERSION_tedge-p11-server = \"%s\" has the signer of meta-tedge built, not the one that TEDGE_HSM "
                     "stands for: leave it out." % (word, version))
    openssl = d.getVar('TEDGE_HSM_OPENSSL')
    if openssl not in ('', '0', '1'):
        bb.fatal("TEDGE_HSM_OPENSSL = \"%s\": it is 1, or empty." % openssl)
    key_type = d.getVar('TEDGE_HSM_KEY_TYPE')
    if key_type is not None and key_type not in d.getVar('TEDGE_HSM_KEY_TYPES').split():
        bb.fatal("TEDGE_HSM_KEY_TYPE = \"%s\": it is one of: %s."
                 % (key_type, ', '.join(d.getVar('TEDGE_HSM_KEY_TYPES').split())))
    # With a module that a product names, the HSM is none of these.
    first = (d.getVar('TEDGE_HSM').split() + [''])[0]
    lacks = (d.getVar('TEDGE_HSM_NO_KEY_TYPES_' + first) or '').split()
    if provision and key_type in lacks and d.getVar('TEDGE_HSM_MODULE') is None:
        bb.fatal("TEDGE_HSM_KEY_TYPE = \"%s\": %s, the first of TEDGE_HSM, has no such keys, and the first boot would make "
                 "none. If the key is to be in another HSM, name its PKCS#11 module in TEDGE_HSM_MODULE." % (key_type, first))
    seal = d.getVar('TEDGE_HSM_SEAL')
    if seal not in (None, '0', '1'):
        bb.fatal("TEDGE_HSM_SEAL = \"%s\": it is 1, or 0 for a PIN in a file that root alone may read." % seal)
    state = d.getVar('TEDGE_HSM_STATE_DIR')
    if state and not re.fullmatch('(/[-_A-Za-z0-9][-._A-Za-z0-9]*)+', state):
        bb.fatal("TEDGE_HSM_STATE_DIR = \"%s\": it is a folder on a partition that stays, such as /data/tedge." % state)
    # They stand in URIs and in a file of variables; the name in a certificate's subject.
    for name, characters in (('TEDGE_HSM_TOKEN', '-._~A-Za-z0-9'), ('TEDGE_HSM_KEY', '-._~A-Za-z0-9'),
                             ('TEDGE_HSM_COMMON_NAME', '-._~:%A-Za-z0-9')):
        value = d.getVar(name)
        if value is not None and not re.fullmatch('[%s]+' % characters, value):
            bb.fatal("%s = \"%s\": it is made of: %s." % (name, value, characters))
}

addhandler tedge_hsm_warn
tedge_hsm_warn[eventmask] = "bb.event.BuildStarted"
python tedge_hsm_warn () {
    if bb.utils.contains('TEDGE_HSM', 'softhsm', True, False, d):
        bb.warn("TEDGE_HSM has softhsm, whose keys are files that can be copied: for development images only.")
}
