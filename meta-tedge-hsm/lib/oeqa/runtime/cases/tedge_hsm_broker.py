#
# SPDX-License-Identifier: Apache-2.0
#

from oeqa.core.decorator.depends import OETestDepends
from oeqa.runtime.decorator.package import OEHasPackage
from oeqa.runtime.tedge_hsm import CERTIFICATES, KEY, TedgeHsmCase, WORK

# One listener wants a certificate of the CA, the other asks nobody who he is: the cloud's, and the device's own. Not the
# ports of a broker that the image has running.
BROKER = f"""
cat >{WORK}/mosquitto.conf <<'CONF'
per_listener_settings true
user root
pid_file {WORK}/mosquitto.pid
log_dest file {WORK}/mosquitto.log
connection_messages true
listener 28883 127.0.0.1
tls_version tlsv1.3
cafile {WORK}/ca.pem
certfile {WORK}/server.pem
keyfile {WORK}/server.key
require_certificate true
use_identity_as_username true
listener 21883 127.0.0.1
allow_anonymous true
CONF
/usr/sbin/mosquitto -c {WORK}/mosquitto.conf -d </dev/null >{WORK}/mosquitto.said 2>&1
"""

AT_BROKER = f'--host localhost --port 28883 --cert {WORK}/device.pem --ca {WORK}/ca.pem'

BRIDGE = f"""
set -e
cat >{WORK}/bridge.toml <<'CONF'
[local]
port = 21883

[cloud.test]
host = "localhost"
port = 28883
client_id = "bridge"
cert = "{WORK}/device.pem"
ca = "{WORK}/ca.pem"
key = "{KEY}"

[[cloud.test.out]]
topic = "out/#"
strip = "out/"
add = "from/device/"
CONF
mkdir -p /run/systemd/system/tedge-hsm-bridge.service.d
printf '%s\\n' '[Service]' ExecStart= 'ExecStart=/usr/bin/tedge-hsm-bridge --config {WORK}/bridge.toml' \\
    >/run/systemd/system/tedge-hsm-bridge.service.d/test.conf
systemctl daemon-reload
systemctl restart tedge-hsm-bridge
"""

# Once somebody listens.
OBSERVE = f"""
timeout 150 tedge-hsm connect --uri '{KEY}' {AT_BROKER} --client-id observer --timeout 120 --subscribe from/device/hello \\
    </dev/null >{WORK}/observed 2>&1 &
"""


class TedgeHsmBroker(TedgeHsmCase):
    """A broker on the device lets in who has the key in the HSM, and the bridge carries messages to it."""

    @OETestDepends(['tedge_hsm_reboot.TedgeHsmReboot.test_key_is_still_there',
                    'tedge_hsm_signer.TedgeHsmSigner.test_handshake'])
    @OEHasPackage(['mosquitto'])
    def test_broker(self):
        self.addCleanup(self.end_broker)
        self.start_broker()
        output = self.do(self.as_tedge(
            f"tedge-hsm connect --uri '{KEY}' {AT_BROKER} --subscribe test --publish test 'signed in the HSM'"))
        self.assertRegex(output, r'(?m)^TLS version +1\.3$')
        self.assertRegex(output, r'(?m)^received +test signed in the HSM$')
        # By the name in the certificate.
        self.assertRegex(self.do(f'cat {WORK}/mosquitto.log'), r"New client connected .*u'handshake'")
        self.do(f'tedge-hsm doctor {AT_BROKER}')

    @OETestDepends(['tedge_hsm_broker.TedgeHsmBroker.test_broker'])
    @OEHasPackage(['tedge-hsm-bridge'])
    @OEHasPackage(['mosquitto-clients'])
    def test_bridge(self):
        self.addCleanup(self.end_broker)
        self.start_broker()
        self.addCleanup(self.end_bridge)
        self.do(BRIDGE)
        self.do(self.soon(f"grep -q \"New client connected .* as bridge .*u'handshake'\" {WORK}/mosquitto.log"))
        self.do(OBSERVE)
        self.do(self.soon(f"grep -q '^subscribed' {WORK}/observed"))
        self.do("mosquitto_pub -p 21883 -t out/hello -q 1 -m 'carried by the bridge'")
        self.do(self.soon(f"grep -q '^received  *from/device/hello carried by the bridge$' {WORK}/observed"))

    def start_broker(self):
        self.do(CERTIFICATES)
        self.do(BROKER)
        self.do(self.soon(f'test -s {WORK}/mosquitto.pid'))
        self.do(self.soon(f"grep -q ' running$' {WORK}/mosquitto.log"))

    def end_broker(self):
        self.target.run(f'kill "$(cat {WORK}/mosquitto.pid)"', timeout=60)

    def end_bridge(self):
        self.target.run('systemctl stop tedge-hsm-bridge; rm -r /run/systemd/system/tedge-hsm-bridge.service.d/test.conf; '
                        'systemctl daemon-reload', timeout=180)
