#
# SPDX-License-Identifier: Apache-2.0
#

import pathlib
import subprocess
import sys

from oeqa.core.decorator.depends import OETestDepends
from oeqa.runtime.tedge_hsm import TedgeHsmCase, WORK

# On the machine that builds; the first seven are below `tests`.
EST_SERVER = pathlib.Path(__file__).resolve().parents[6] / 'est-server'
PASSWORD = '/etc/tedge-hsm/est-password'
CERT = '/etc/tedge/device-certs/tedge-certificate.pem'
CONFIG = '/var/lib/tedge-hsm-enroll/tedge-hsm-bridge.toml'

# The cloud's broker, by the CA that issues to the device, and the device's own. Where TEDGE_HSM_ENROLL and the bridge look for them.
BROKER = f"""
systemctl stop mosquitto
cat >{WORK}/mosquitto.conf <<'CONF'
per_listener_settings true
user root
pid_file {WORK}/mosquitto.pid
log_dest file {WORK}/mosquitto.log
connection_messages true
listener 28883 127.0.0.1
cafile {WORK}/ca.pem
certfile {WORK}/localhost.pem
keyfile {WORK}/localhost.key
require_certificate true
use_identity_as_username true
listener 1883 127.0.0.1
allow_anonymous true
CONF
/usr/sbin/mosquitto -c {WORK}/mosquitto.conf -d </dev/null >{WORK}/mosquitto.said 2>&1
"""


class TedgeEnroll(TedgeHsmCase):
    """TEDGE_HSM_ENROLL: from the first boot to a certificate and a bridge that is connected, once the CA can be reached."""

    @OETestDepends(['tedge_hsm_reboot.TedgeHsmReboot.test_key_is_still_there'])
    def test_waits_for_the_server(self):
        self.do('systemctl is-enabled tedge-hsm-enroll')
        self.do('systemctl is-enabled tedge-hsm-bridge')
        # Since the boot, without a server: tried again and again, and not given up.
        self.do(self.soon('journalctl --unit tedge-hsm-enroll | grep -q "Scheduled restart job"'))
        self.assertNotEqual(self.property('ActiveState', 'tedge-hsm-enroll'), 'failed')
        self.do(f'test ! -e {CERT}')

    @OETestDepends(['tedge_enroll.TedgeEnroll.test_waits_for_the_server'])
    def test_enrols(self):
        self.addCleanup(self.end_broker)
        self.start_broker()

        # A password that the CA refuses is no reason to ask for ever. Before the server is there, as the unit asks by itself.
        self.do(f'systemctl stop tedge-hsm-enroll; cp -p {PASSWORD} {WORK}/right; echo wrong >{PASSWORD}')
        self.start_est_server()
        self.do('systemctl start tedge-hsm-enroll')
        self.do(self.soon('systemctl is-failed tedge-hsm-enroll'))
        self.do('journalctl --unit tedge-hsm-enroll | grep "given up: correct what is wrong"')
        self.assertEqual(self.property('ExecMainStatus', 'tedge-hsm-enroll'), '78')

        self.do(f'cat {WORK}/right >{PASSWORD}; systemctl start tedge-hsm-enroll')
        self.do(self.soon(f'test -e {CONFIG}'))
        self.do(self.soon('[ "$(systemctl is-active tedge-hsm-enroll)" = inactive ]'))
        self.assertEqual(self.property('Result', 'tedge-hsm-enroll'), 'success')
        self.do(f'openssl verify -CAfile {WORK}/ca.pem {CERT}')
        subject = self.do(f'openssl x509 -noout -subject -nameopt multiline -in {CERT}')
        machine = self.do('cat /var/lib/tedge-hsm/machine-id /etc/machine-id | head -n 1').strip()
        self.assertIn(machine, subject)
        self.assertEqual(self.do(f'stat -c "%U %a" {CERT}').strip(), 'tedge 644')

        # The bridge is started again until there is something to connect with.
        self.do(self.soon(f"grep -q \"New client connected .* as {machine} .*u'{machine}'\" {WORK}/mosquitto.log", 180))
        self.do(self.soon('systemctl is-active tedge-hsm-bridge'))

    def start_est_server(self):
        server = subprocess.Popen([sys.executable, EST_SERVER, self.td['TEDGE_TEST_EST']], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)
        self.addCleanup(server.wait, 60)
        self.addCleanup(server.stdin.close)
        port = server.stdout.readline().strip()
        # The device's localhost, for whom the server has its certificate.
        way = subprocess.Popen([*self.target.ssh, '-N', '-R', f'18443:127.0.0.1:{port}', self.target.ip], stdin=subprocess.DEVNULL)
        self.addCleanup(way.wait, 60)
        self.addCleanup(way.terminate)

    def start_broker(self):
        self.do(f'rm -rf {WORK}; mkdir -m 0700 {WORK}')
        for name in ('ca.pem', 'localhost.pem', 'localhost.key'):
            text = pathlib.Path(self.td['TEDGE_TEST_EST'], name).read_text()
            self.do(f"cat >{WORK}/{name} <<'END'\n{text}END")
        self.do(BROKER)
        self.do(self.soon(f'test -s {WORK}/mosquitto.pid'))
        self.do(self.soon(f"grep -q ' running$' {WORK}/mosquitto.log"))

    def end_broker(self):
        self.target.run(f'kill "$(cat {WORK}/mosquitto.pid)"', timeout=60)
