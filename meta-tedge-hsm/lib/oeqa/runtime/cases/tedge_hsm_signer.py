#
# SPDX-License-Identifier: Apache-2.0
#

from oeqa.core.decorator.depends import OETestDepends
from oeqa.runtime.case import OERuntimeTestCase
from oeqa.runtime.decorator.package import OEHasPackage

KEY = "pkcs11:token=device;object=tls;type=private"
WORK = "/tmp/tedge-hsm-test"

# What the first boot has left: a request or a certificate.
MADE = """
cd /var/lib/tedge-hsm
if [ -e device.csr ]; then
    openssl req -verify -noout -in device.csr
else
    openssl x509 -checkend 0 -in device.pem
fi
"""

# A CA, a server's certificate by it, and one for the key in the HSM.
CERTIFICATES = f"""
set -e
rm -rf {WORK} && mkdir {WORK} && cd {WORK} && echo basicConstraints=CA:FALSE >leaf.ext
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test-ca -keyout ca.key -out ca.pem
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost -keyout server.key -out server.csr
echo subjectAltName=DNS:localhost | cat leaf.ext - >server.ext
sign="openssl x509 -req -days 2 -CA ca.pem -CAkey ca.key -CAcreateserial"
$sign -in server.csr -extfile server.ext -out server.pem
tedge-hsm csr --uri '{KEY}' --common-name handshake --output device.csr
$sign -in device.csr -extfile leaf.ext -out device.pem
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


class TedgeHsmSigner(OERuntimeTestCase):
    """The first boot has made a token and a key; the key signs a request and a handshake."""

    def do(self, command, timeout=180):
        status, output = self.target.run(command, timeout=timeout)
        self.assertEqual(status, 0, msg='\n'.join([command, output]))
        return output

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

    @OETestDepends(['tedge_hsm_signer.TedgeHsmSigner.test_provisioned'])
    def test_key(self):
        keys = self.do(f"tedge-hsm list-keys --uri '{KEY}'").splitlines()
        self.assertEqual(len(keys), 1, msg=f'one private key is expected, not {keys}')

    @OETestDepends(['tedge_hsm_reboot.TedgeHsmReboot.test_key_is_still_there'])
    def test_signer_comes_back(self):
        self.do('systemctl kill --signal=KILL tedge-p11-server.service')
        self.do(f"tedge-hsm list-keys --uri '{KEY}'")

    @OETestDepends(['tedge_hsm_reboot.TedgeHsmReboot.test_key_is_still_there'])
    def test_policy_refuses(self):
        # User tedge may use keys, and may neither make nor delete any.
        command = "su -s /bin/sh -c \"tedge-hsm create-key --uri 'pkcs11:token=device' --label other\" tedge"
        status, output = self.target.run(command, timeout=180)
        self.assertNotEqual(status, 0, msg=output)
        self.assertIn('may not', output)
        self.test_key()

    @OETestDepends(['tedge_hsm_reboot.TedgeHsmReboot.test_key_is_still_there'])
    @OEHasPackage(['openssl-bin'])
    def test_handshake(self):
        self.do(CERTIFICATES)
        # What the client says of the missing broker after the handshake does not matter.
        _, output = self.target.run(HANDSHAKE, timeout=120)
        # OpenSSL 3.5 has the second name.
        self.assertRegex(output, r'(?m)^Peer signature type: (ECDSA|ecdsa_secp256r1_sha256)$')
        self.assertRegex(output, r'(?m)^ *1 server accepts that finished$')
