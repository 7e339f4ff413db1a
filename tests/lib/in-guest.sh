# shellcheck shell=bash
# For what guest.sh boots: sourced there. $about begins the description of each check.

# check DESCRIPTION COMMAND...
check() {
    echo "== ${about-}$1" >&2
    if "${@:2}" >&2; then echo "ok - ${about-}$1"; else echo "not ok - ${about-}$1"; return 1; fi
}

# soon COMMAND...: within thirty seconds
soon() {
    local n
    for ((n = 0; n < 300; n++)); do
        if "$@" &>/dev/null; then return; fi
        sleep 0.1
    done
    return 1
}

# service NAME COMMAND SETTING...: runs on its own
service() {
    printf '%s\n' '[Service]' "ExecStart=$2" "${@:3}" >"/run/systemd/system/$1.service"
    systemctl daemon-reload
    systemctl start "$1"
}

# software_tpm: swtpm behind tpm2-abrmd, on the system's D-Bus
software_tpm() {
    mkdir -p /run/swtpm /var/lib/swtpm
    service swtpm "/usr/bin/swtpm socket --tpm2 --tpmstate dir=/var/lib/swtpm --flags startup-clear \
--server type=unixio,path=/run/swtpm/tpm --ctrl type=unixio,path=/run/swtpm/tpm.ctrl"
    soon test -S /run/swtpm/tpm.ctrl || return
    systemctl start dbus
    # In place of the package's own unit, which wants /dev/tpm0.
    service tpm2-abrmd '/usr/sbin/tpm2-abrmd --allow-root --tcti=swtpm:path=/run/swtpm/tpm' \
        Type=dbus BusName=com.intel.tss2.Tabrmd
}
