# shellcheck shell=bash
# For scripts that source this file, with the repository as their folder.

# install_provisioning ROOT DROPIN MODULE COMMON_NAME: the service that commissions an HSM at the first boot, beside what
# `make install` has put in ROOT, as the layer's recipes do it: token `device`, key `tls`, a certificate request
install_provisioning() {
    local root=$1 dropin=$2 module=$3 name=$4 units=$1/usr/lib/systemd/system
    local files=recipes/tedge-hsm-provision/files dropins=$1/usr/lib/systemd/system/tedge-p11-server.service.d
    install -m 0644 "$files/tedge-hsm-provision.service" "$units"
    install -d "$dropins"
    ln -s "../../../tedge-p11-server/$dropin.conf" ../../../tedge-p11-server/sealed-pin.conf "$dropins/"
    sed "s,@MODULE@,$module,; s,@URI@,pkcs11:token=device," \
        recipes/tedge-p11-server/tedge-p11-server-conf/module.conf.in >"$dropins/module.conf"
    sed "s/@TOKEN@/device/; s/@KEY@/tls/; s/@KEY_TYPE@/p256/; s/@COMMON_NAME@/$name/; s/@CERTIFICATE@/csr/; s/@SEAL@/yes/" \
        "$files/tedge-hsm-provision.conf.in" | install -D -m 0644 /dev/stdin "$root/etc/tedge-hsm/provision.conf"
}
