#
# SPDX-License-Identifier: Apache-2.0
#

import shlex

from oeqa.runtime.case import OERuntimeTestCase

KEY = "pkcs11:token=device;object=tls;type=private"
# Root alone writes there, and services with a /tmp of their own see it.
WORK = "/run/tedge-hsm-test"

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


class TedgeHsmCase(OERuntimeTestCase):
    """What the layer's cases share. The shell of the device may be BusyBox's."""

    def do(self, command, timeout=180):
        status, output = self.target.run(command, timeout=timeout)
        self.assertEqual(status, 0, msg='\n'.join([command, output]))
        return output

    def refused(self, command, words):
        """It fails, and says why."""
        status, output = self.target.run(command, timeout=180)
        self.assertNotEqual(status, 0, msg=output)
        self.assertIn(words, output)

    @staticmethod
    def as_tedge(command):
        """By thin-edge.io's user."""
        return f'su -s /bin/sh -c {shlex.quote(command)} tedge'

    @staticmethod
    def soon(command, seconds=120):
        """Until the command succeeds, but no longer than that."""
        return f'n=0; until {command}; do n=$((n + 1)); [ $n -lt {seconds} ] || exit 1; sleep 1; done'

    def property(self, name, unit='tedge-p11-server.service'):
        return self.do(f'systemctl show --property {name} {unit}').strip().partition('=')[2]
