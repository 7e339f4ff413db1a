//! A device with a token of its own, and a certificate that was issued some days ago.

use std::path::PathBuf;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use support::openssl::der;
use support::{Ca, Hsm, Kind, succeed};
use tedge_hsm::renewal_plan::{Failures, Plan, Term, plan};

pub struct Device {
    hsm: Hsm,
    uri: String,
    ca: PathBuf,
    from: u64,
}

/// Of the certificates here.
const LIFE: u64 = 90 * 86_400;

impl Device {
    /// The `number`th of `count`: that share of the time in which its certificate is to be renewed has passed.
    pub fn make(ca: &Ca, number: u64, count: u64) -> Self {
        let hsm = Hsm::start(Kind::SoftHsm);
        let uri = hsm.create_key("device", "p256");
        let name = format!("device-{number}");
        let mut csr = hsm.tedge_hsm();
        csr.args(["csr", "--common-name", &name, "--uri", &uri]);
        let csr = succeed(&mut csr);
        let age = LIFE * 2 / 9 + LIFE * 4 / 9 * number / count;
        let from = now() - age;
        let issued = ca.issue_at(&name, &csr, from, from + LIFE);
        std::fs::copy(issued, hsm.file("device.pem")).unwrap();
        Self {
            hsm,
            uri,
            ca: ca.certificate(),
            from,
        }
    }

    pub fn renew(&self, url: &str) -> Command {
        let mut command = self.hsm.tedge_hsm();
        command.args(["renew", "--spread", "--est", url, "--uri", &self.uri]);
        command.arg("--cert").arg(self.hsm.file("device.pem"));
        command.arg("--ca").arg(&self.ca);
        command
    }

    /// Of the installed certificate.
    pub fn term(&self) -> Term {
        let path = self.hsm.file("device.pem");
        let certificate = std::fs::read(der(&path)).unwrap();
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest(&SHA256, &certificate).as_ref());
        let date = |option: &str| {
            let mut openssl = Command::new("openssl");
            openssl.args(["x509", "-noout", option, "-in"]).arg(&path);
            let said = succeed(&mut openssl);
            let (_, date) = said.trim().split_once('=').unwrap();
            let seconds = succeed(Command::new("date").args(["-d", date, "+%s"]));
            seconds.trim().parse().unwrap()
        };
        Term {
            from: date("-startdate"),
            until: date("-enddate"),
            fingerprint,
        }
    }

    pub fn plan(&self) -> Plan {
        plan(&self.term(), None, &Failures::default(), now())
    }

    /// What the program has written down; null if nothing.
    pub fn record(&self) -> Value {
        let text = std::fs::read_to_string(self.hsm.file("device.pem.renewal"));
        text.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
    }

    pub fn failures(&self) -> Failures {
        let record = self.record();
        Failures {
            count: u32::try_from(record["failures"].as_u64().unwrap()).unwrap(),
            last: record["tried"].as_u64().unwrap(),
        }
    }

    /// As if the last failure had been so many seconds earlier.
    pub fn let_pass(&mut self, seconds: u64) {
        let mut record = self.record();
        let tried = record["tried"].as_u64().unwrap() - seconds;
        // A failure of an older certificate would not count.
        record["tried"] = json!(tried.max(self.from));
        std::fs::write(self.hsm.file("device.pem.renewal"), record.to_string()).unwrap();
    }
}

pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}
