#
# SPDX-License-Identifier: Apache-2.0
#

from oeqa.core.decorator.data import skipIfNotQemu
from oeqa.core.decorator.depends import OETestDepends
from oeqa.runtime.case import OERuntimeTestCase

PUBLIC_KEY = ("tedge-hsm csr --uri 'pkcs11:token=device;object=tls;type=private' --common-name reboot | "
              "openssl req -verify -noout -pubkey")


class TedgeHsmReboot(OERuntimeTestCase):
    """The key is there after a power cycle, and the PIN is unsealed."""

    @skipIfNotQemu()
    @OETestDepends(['tedge_hsm_signer.TedgeHsmSigner.test_key'])
    def test_key_is_still_there(self):
        before = self.public_key()
        self.target.run('sync')
        # QEMU is run with -no-reboot: it is stopped and started, beside the same TPM and disk.
        self.assertTrue(self.target.runner.restart(), msg='QEMU does not start again')
        self.assertEqual(self.public_key(), before)

    def public_key(self):
        status, output = self.target.run(PUBLIC_KEY, timeout=180)
        self.assertEqual(status, 0, msg='\n'.join([PUBLIC_KEY, output]))
        start = output.index('-----BEGIN PUBLIC KEY-----')
        return output[start:]
