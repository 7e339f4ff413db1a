#
# SPDX-License-Identifier: Apache-2.0
#

import re

from oeqa.core.decorator.depends import OETestDepends
from oeqa.runtime.case import OERuntimeTestCase
from oeqa.runtime.decorator.package import OEHasPackage


class TedgePtest(OERuntimeTestCase):
    """The programs' own tests, in packages of ptest, pass on the device. There is no ptest-runner in this image."""

    def ptest(self, name):
        # /tmp is what the tests write to. Older releases' script has the status of its last program only.
        status, output = self.target.run(f'cd /tmp && /usr/lib/{name}/ptest/run-ptest', timeout=1200)
        results = re.findall(r'^test result: (\w+)\. (\d+) passed', output, re.MULTILINE)
        self.assertEqual((status, {result for result, _ in results}), (0, {'ok'}), msg=output)
        self.assertGreater(sum(int(passed) for _, passed in results), 0, msg=output)

    @OETestDepends(['ssh.SSHTest.test_ssh'])
    @OEHasPackage(['tedge-p11-server-ptest'])
    def test_signer(self):
        self.ptest('tedge-p11-server')

    @OETestDepends(['ssh.SSHTest.test_ssh'])
    @OEHasPackage(['tedge-hsm-ptest'])
    def test_command_line(self):
        self.ptest('tedge-hsm')

    @OETestDepends(['ssh.SSHTest.test_ssh'])
    @OEHasPackage(['tedge-hsm-bridge-ptest'])
    def test_bridge(self):
        self.ptest('tedge-hsm-bridge')
