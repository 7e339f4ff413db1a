# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154,SC2317 # of and for lib.sh; checks are called by their names
# On the device with a TPM, a read-only root, and a partition for /var.

state=/var/lib/tedge-hsm
sealed=$state/credstore.encrypted/tedge-p11-server.pin

at_broker=(--host localhost --cert "$state/device-certs/device.pem" --ca /etc/tedge/ca.pem)

read_only() { ! touch /etc/x && ! touch /x && [ ! -e /etc/credstore.encrypted/tedge-p11-server.pin ]; }
public_key() { tedge-hsm csr --uri "$key" --common-name x | openssl req -verify -noout -pubkey; }
device_name() { echo "device-$(cat "$state/machine-id")"; }

booted_read_only() {
    check "the system has booted, and no unit failed" booted
    check "root is read-only, with /etc" read_only
    check "nothing was made yet" [ ! -e "$sealed" ]
}

finished() {
    check "after the power cut the system boots, and no unit failed" booted
    done_now() { [ -e "$state/provisioned" ]; }
    check "the first boot comes to its end" soon done_now
    # It found the PIN of before the power cut, and not what comes last.
    middle() {
        journalctl --sync
        journalctl --boot --unit "$provisioning" --output cat | tee /run/first-boot
        grep '^ok  *PIN ' /run/first-boot && grep '^done  *certificate ' /run/first-boot
    }
    check "the power had gone in its middle" middle
    check "nothing was written to the root" read_only
    # systemd 252 and newer: the first 16 bytes tell what has sealed it.
    by_tpm() { systemd-creds decrypt --name=pin "$sealed" - >/dev/null && [ ! -e /var/lib/systemd/credential.secret ]; }
    check "the PIN is sealed by the TPM alone: systemd has no key of this machine" by_tpm
    request_is_named() {
        [ "$(cat /etc/machine-id)" != "$(cat "$state/machine-id")" ] &&
            openssl req -verify -noout -subject -in "$state/device.csr" | grep -F "$(device_name)"
    }
    check "openssl verifies the request, in the name of the first boot's machine id" request_is_named
    check "the key signs, with the PIN that systemd unseals" public_key
    # For a product to say, and here it is said so: the renewal's folder.
    check "there is a folder for the CA's certificate" install -d -o tedge -g tedge "$state/device-certs"
    cp "$state/device.csr" /run/device.csr
}

# connects: as often as it is asked
connects() {
    check "TLS 1.3 to mosquitto with the key, published and received" handshake
    bridge
    check "doctor finds nothing wrong, for root and for a member of the group" in_order --hsm tpm2
}

# remembers: what an update changes, and what it must not
remembers() {
    install -d -m 0700 /var/before
    cp /etc/machine-id /etc/os-release /var/before/
    id tedge-p11 >/var/before/ids
    sha256sum "$state"/device-certs/* "$state/device.csr" "$sealed" >/var/before/sums
    check "the key is noted" eval 'public_key >/var/before/key'
    sync
}

updated() {
    check "another root boots with the same /var, and no unit failed" booted
    another() {
        ! cmp /etc/machine-id /var/before/machine-id && ! cmp /etc/os-release /var/before/os-release &&
            [ "$(id tedge-p11)" != "$(cat /var/before/ids)" ]
    }
    check "it is another version, with another machine id and other numbers of its users" another
    check "root is read-only, with /etc" read_only
    check "request, certificate and sealed PIN are the ones of before" sha256sum --check /var/before/sums
    same_key() { [ "$(public_key)" = "$(cat /var/before/key)" ]; }
    check "the key is the one of before, and signs with the PIN that systemd unseals" same_key
    not_again() { [ "$(systemctl show --property ConditionResult --value "$provisioning")" = no ]; }
    check "the first boot does not run again" not_again
}

# reset: /var is as from the factory, and the TPM is not; /run/kept has what was kept elsewhere
reset() {
    check "after a factory reset that leaves the TPM the system boots, and no unit failed" booted
    done_now() { [ -e "$state/provisioned" ]; }
    check "the first boot makes a token and a key, and comes to its end" soon done_now
    another_key() { public_key >/run/key && ! cmp /run/key /run/kept/key; }
    check "the key is another one, and signs" another_key
    request_for_it() { openssl req -verify -noout -pubkey -in "$state/device.csr" | cmp /run/key -; }
    check "the request is for that one" request_for_it
    said() { refused "is for none of the keys .* since a factory reset.* have the CA sign $state/device.csr" tedge-hsm doctor --cert /run/kept/device.pem; }
    check "doctor says of the certificate of before what has become of its key, and what to do" said
}

is_back() {
    same_key() { [ "$(public_key)" = "$(cat /run/kept/key)" ]; }
    check "the key is the one of before the reset, and signs" same_key
}
