#
# SPDX-License-Identifier: Apache-2.0
#

import time

from oeqa.core.decorator.depends import OETestDepends
from oeqa.runtime.tedge_hsm import TedgeHsmCase

PUBLIC_KEY = ("tedge-hsm csr --uri 'pkcs11:token=device;object=tls;type=private' --common-name reboot | "
              "openssl req -verify -noout -pubkey")
BOOT_ID = 'cat /proc/sys/kernel/random/boot_id'


class TedgeHsmReboot(TedgeHsmCase):
    """The key is there after the device started anew, and the PIN is unsealed."""

    @OETestDepends(['tedge_hsm_signer.TedgeHsmSigner.test_key'])
    def test_key_is_still_there(self):
        key = self.public_key()
        before = self.do(BOOT_ID).strip()
        self.do('sync')
        self.start_anew()
        deadline = time.monotonic() + 600
        while self.boot_id() in (None, before):
            self.assertLess(time.monotonic(), deadline, msg='the device does not come back')
            time.sleep(2)
        self.assertEqual(self.public_key(), key)

    def start_anew(self):
        runner = getattr(self.target, 'runner', None)
        if runner is None:
            # A board. The connection ends before the command does.
            self.attempt('systemctl reboot')
        else:
            # A reset as by a button. QEMU is run with -no-reboot, and its runner's restart() would give it a blank disk
            # beside the old TPM.
            runner.run_monitor('set-action', {'reboot': 'reset'})
            runner.run_monitor('system_reset')

    def boot_id(self):
        """That of the boot which answers; None while none does."""
        status, output = self.attempt(BOOT_ID)
        return output.strip() if status == 0 else None

    def attempt(self, command):
        """Newer releases raise an error where ssh can't connect, older ones return its status."""
        try:
            return self.target.run(command, timeout=30)
        except AssertionError:
            return 255, ''

    def public_key(self):
        output = self.do(PUBLIC_KEY)
        return output[output.index('-----BEGIN PUBLIC KEY-----'):]
