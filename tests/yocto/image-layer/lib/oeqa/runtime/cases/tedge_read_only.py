#
# SPDX-License-Identifier: Apache-2.0
#

from oeqa.core.decorator.depends import OETestDepends
from oeqa.runtime.case import OERuntimeTestCase

STATE = ("tedge-hsm", "tedge-p11-server")


class TedgeReadOnly(OERuntimeTestCase):
    """The root is read-only, /var/lib is in memory, and what must stay is where TEDGE_HSM_STATE_DIR says."""

    @OETestDepends(['tedge_hsm_reboot.TedgeHsmReboot.test_key_is_still_there'])
    def test_root_is_read_only(self):
        status, output = self.target.run('touch /etc/x')
        self.assertNotEqual(status, 0, msg=output)
        self.assertIn('Read-only file system', output)

    @OETestDepends(['tedge_hsm_reboot.TedgeHsmReboot.test_key_is_still_there'])
    def test_var_lib_is_in_memory(self):
        # By OpenEmbedded's volatile-binds: what is next to our folders is gone with the power.
        status, output = self.target.run('findmnt --noheadings --output FSTYPE,SOURCE /var/lib')
        self.assertEqual(status, 0, msg=output)
        self.assertRegex(output, r'^(overlay|tmpfs) ')

    @OETestDepends(['tedge_hsm_reboot.TedgeHsmReboot.test_key_is_still_there'])
    def test_state_is_on_the_partition(self):
        for name in STATE:
            status, output = self.target.run(f'findmnt --noheadings --output SOURCE /var/lib/{name}')
            self.assertEqual(status, 0, msg=output)
            self.assertRegex(output.strip(), rf'^/dev/vd\w+\[/tedge/{name}\]$')

    @OETestDepends(['tedge_hsm_reboot.TedgeHsmReboot.test_key_is_still_there'])
    def test_pin_is_on_the_partition(self):
        status, output = self.target.run('ls /data/tedge/tedge-hsm/credstore.encrypted')
        self.assertEqual((status, output.split()), (0, ['tedge-hsm.so-pin', 'tedge-p11-server.pin']))
