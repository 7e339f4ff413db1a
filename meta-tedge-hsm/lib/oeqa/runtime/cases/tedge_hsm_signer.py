#
# SPDX-License-Identifier: Apache-2.0
#

from oeqa.core.decorator.depends import OETestDepends
from oeqa.runtime.decorator.package import OEHasPackage
from oeqa.runtime.tedge_hsm import CERTIFICATES, KEY, TedgeHsmCase, WORK

# What the first boot has left: a request or a certificate.
MADE = """
cd /var/lib/tedge-hsm
if [ -e device.csr ]; then
    openssl req -verify -noout -in device.csr
else
    openssl x509 -checkend 0 -in device.pem
fi
"""

# No MQTT broker is needed to see the handshake: the server prints who the client proved to be. What it accepts on its
# standard input is of no use, but its end would end it.
HANDSHAKE = f"""
cd {WORK}
(sleep 60 | timeout 60 openssl s_server -accept 28883 -naccept 1 -tls1_3 -cert server.pem -key server.key \
    -CAfile ca.pem -Verify 1 -verify_return_error >server.log 2>&1) &
until grep -qs ACCEPT server.log; do sleep 1; done
timeout 30 tedge-hsm connect --uri '{KEY}' --host localhost --port 28883 --cert device.pem --ca ca.pem
tr -cd '\\11\\12\\40-\\176' <server.log
"""


# Four clients that want a signature all the time, until there is a file `end`.
LOAD = f"""
rm -rf {WORK}/load && mkdir -p {WORK}/load && cd {WORK}/load
for i in 1 2 3 4; do
    (
        until [ -e end ]; do
            timeout 60 tedge-hsm csr --uri '{KEY}' --common-name x >/dev/null 2>>errors && echo >>served-$i
        done
        echo >>ended
    ) </dev/null >/dev/null 2>&1 &
done
"""
SERVED = f'cat {WORK}/load/served-* 2>/dev/null | wc -l'


class TedgeHsmSigner(TedgeHsmCase):
    """The first boot has made a token and a key; the key signs a request and a handshake."""

    @OETestDepends(['ssh.SSHTest.test_ssh'])
    @OEHasPackage(['tedge-hsm-provision'])
    def test_provisioned(self):
        self.do('systemctl start tedge-hsm-provision.service')
        self.do(MADE)

    # What follows is tried after the device started anew: a key or a PIN that is gone is one failure, not several.
    @OETestDepends(['tedge_hsm_reboot.TedgeHsmReboot.test_key_is_still_there'])
    def test_pin_is_sealed(self):
        # The second is where a read-only /etc has it.
        self.do('test -s /etc/credstore.encrypted/tedge-p11-server.pin || '
                'test -s /var/lib/tedge-hsm/credstore.encrypted/tedge-p11-server.pin')
        self.do('test ! -e /etc/credstore/tedge-p11-server.pin')
        self.do('test ! -e /var/lib/tedge-hsm/credstore/tedge-p11-server.pin')

    @OETestDepends(['tedge_hsm_reboot.TedgeHsmReboot.test_key_is_still_there'])
    def test_doctor(self):
        # Ends with 1 if it found a failure, which is in its output.
        self.do('tedge-hsm doctor')

    @OETestDepends(['tedge_hsm_reboot.TedgeHsmReboot.test_key_is_still_there'])
    def test_pin_is_not_in_journal(self):
        self.do("""
for folder in /etc/credstore.encrypted /var/lib/tedge-hsm/credstore.encrypted; do
    [ -e $folder/tedge-p11-server.pin ] || continue
    pin=$(systemd-creds decrypt --name=pin $folder/tedge-p11-server.pin -) && [ ${#pin} -gt 8 ] || exit 1
    journalctl --sync
    ! journalctl --quiet --all --output export | grep -qF -e "$pin" || exit 1
done
""")

    @OETestDepends(['tedge_hsm_signer.TedgeHsmSigner.test_provisioned'])
    def test_key(self):
        keys = self.do(f"tedge-hsm list-keys --uri '{KEY}'").splitlines()
        self.assertEqual(len(keys), 1, msg=f'one private key is expected, not {keys}')

    @OETestDepends(['tedge_hsm_reboot.TedgeHsmReboot.test_key_is_still_there'])
    def test_signer_comes_back(self):
        self.addCleanup(self.target.run, f'touch {WORK}/load/end', timeout=60)
        self.do(LOAD)
        self.do(self.soon(f'[ "$(ls {WORK}/load/served-* 2>/dev/null | wc -l)" = 4 ]'))
        before = self.property('MainPID')
        served = int(self.do(SERVED))
        self.do('systemctl kill --signal=KILL tedge-p11-server.service')
        self.do(self.soon(f'[ "$({SERVED})" -gt {served + 8} ]'))
        self.assertNotEqual(self.property('MainPID'), before)
        self.do(f'touch {WORK}/load/end')
        self.do(self.soon(f'[ "$(cat {WORK}/load/ended 2>/dev/null | wc -l)" = 4 ]'))

    @OETestDepends(['tedge_hsm_reboot.TedgeHsmReboot.test_key_is_still_there'])
    def test_policy_refuses(self):
        # User tedge may use keys, and may neither make nor delete any, nor change PINs.
        self.do(self.as_tedge(f"tedge-hsm list-keys --uri '{KEY}'"))
        for command in ("create-key --uri 'pkcs11:token=device' --label other", f"delete-key --yes --uri '{KEY}'"):
            self.refused(self.as_tedge(f'tedge-hsm {command}'), 'may not')
        self.test_key()

    @OETestDepends(['tedge_hsm_reboot.TedgeHsmReboot.test_key_is_still_there'])
    def test_outsider_has_no_socket(self):
        # Who is not in group tedge. nobody is on each system.
        self.refused("su -s /bin/sh -c 'tedge-hsm list-keys' nobody", 'ermission denied')

    @OETestDepends(['tedge_hsm_reboot.TedgeHsmReboot.test_key_is_still_there'])
    @OEHasPackage(['openssl-bin'])
    def test_handshake(self):
        self.do(CERTIFICATES)
        # What the client says of the missing broker after the handshake does not matter.
        _, output = self.target.run(HANDSHAKE, timeout=120)
        # OpenSSL 3.5 has the second name.
        self.assertRegex(output, r'(?m)^Peer signature type: (ECDSA|ecdsa_secp256r1_sha256)$')
        self.assertRegex(output, r'(?m)^ *1 server accepts that finished$')
