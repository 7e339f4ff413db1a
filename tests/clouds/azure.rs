//! `enroll azure`: the Device Provisioning Service.

use std::process::Command;
use std::time::Duration;

use serde_json::json;
use support::azure::{self, Dps, Fault};
use support::cloud::Cloud;
use support::{fail, succeed};

use crate::rig::{BRIDGE, CALLS, CERT, Device, is_killed, killing};

/// The service, an IoT hub, and a device with a certificate.
struct Service {
    dps: Dps,
    device: Device,
    cloud: Cloud,
}

impl Service {
    /// Neither speaks TLS 1.3.
    fn start() -> Option<Self> {
        let cloud = Cloud::start_with(&[azure::ENDPOINT, azure::HUB], "TLSv1.2")?;
        let device = Device::new(&cloud);
        let uri = device.hsm.create_key("tls", "p256");
        let mut csr = device.signer.tedge_hsm();
        let csr = succeed(csr.args(["csr", "--common-name", "device-1", "--uri", &uri]));
        std::fs::create_dir(device.file("device-certs")).unwrap();
        let cert = cloud.client_ca.issue("device-1", &csr);
        std::fs::copy(cert, device.cert()).unwrap();
        Some(Self {
            dps: Dps::start(&cloud),
            device,
            cloud,
        })
    }

    fn enroll(&self) -> Command {
        let mut enroll = self.device.enroll_under(&self.cloud, &[], "azure");
        enroll.args(["--id-scope", azure::ID_SCOPE]);
        enroll
    }

    /// What it says on the way.
    fn enrolls(&self) -> String {
        let output = self.enroll().output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        self.is_enrolled();
        said
    }

    /// Exit code 1 and one last line; nothing is configured.
    fn refused(&self) -> String {
        let output = self.enroll().output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(!error.contains('\x1b'), "{error:?}");
        assert!(!self.device.file(BRIDGE).exists(), "{error}");
        error.lines().last().unwrap_or_default().to_owned()
    }

    fn is_enrolled(&self) {
        self.device.has_finished();
        let bridge = self.device.read(BRIDGE);
        for wanted in [
            "[cloud.azure]",
            "preset = \"azure-iot-hub\"",
            &format!("host = \"{}\"", azure::HUB),
            "client_id = \"device-1\"",
            CERT,
        ] {
            assert!(bridge.contains(wanted), "{wanted}: {bridge}");
        }
    }
}

#[test]
fn a_device_is_told_its_hub_and_the_bridge_connects_there() {
    let Some(service) = Service::start() else {
        return;
    };
    succeed(&mut service.enroll());
    service.is_enrolled();
    let log = service.cloud.log();
    let registration = format!(
        "as device-1 (p2, c1, k3600, u'{}/registrations/device-1/api-version=2019-03-31&ClientVersion=tedge-hsm%2F",
        azure::ID_SCOPE
    );
    assert!(log.contains(&registration), "{log}");
    // The trial connection, with the user name that the hub wants.
    let hub = format!("u'{}/device-1/?api-version=2021-04-12'", azure::HUB);
    assert!(log.contains(&hub), "{log}");
    let asked = service.dps.requests();
    assert!(
        asked[0].starts_with("$dps/registrations/PUT/iotdps-register/?$rid="),
        "{asked:?}"
    );
    assert_eq!(asked.len(), 3, "registered, and asked twice: {asked:?}");
    let said = succeed(&mut service.enroll());
    assert!(said.contains("nothing to do"), "{said}");
    assert_eq!(service.dps.requests(), asked);
    service.device.bridge_carries(
        &service.cloud,
        "az/messages/events/",
        "devices/device-1/messages/events/",
    );
}

/// An enrollment group goes by an intermediate CA: the service is sent what is between it and the device.
#[test]
fn the_chain_is_sent() {
    let Some(service) = Service::start() else {
        return;
    };
    let (ca, device) = (&service.cloud.client_ca, &service.device);
    ca.make_key("group", &["-out", "group.csr"]);
    std::fs::write(
        ca.file("group.ext"),
        "basicConstraints=critical,CA:TRUE,pathlen:0\nkeyUsage=critical,keyCertSign\n",
    )
    .unwrap();
    std::fs::write(ca.file("leaf.ext"), "extendedKeyUsage=clientAuth\n").unwrap();
    let sign = |csr: &str, by: &str, extensions: &str, out: &str| {
        let mut openssl = ca.openssl();
        openssl.args([
            "x509",
            "-req",
            "-days",
            "2",
            "-CAcreateserial",
            "-in",
            csr,
            "-out",
            out,
        ]);
        openssl.args(["-CA", &format!("{by}.pem"), "-CAkey", &format!("{by}.key")]);
        succeed(openssl.args(["-extfile", extensions]));
        std::fs::read_to_string(ca.file(out)).unwrap()
    };
    let group = sign("group.csr", "ca", "group.ext", "group.pem");
    let leaf = sign("device-1.csr", "group", "leaf.ext", "leaf.pem");
    std::fs::write(device.cert(), &leaf).unwrap();
    let error = service.refused();
    assert!(error.contains("the TLS handshake with"), "{error}");
    std::fs::write(device.cert(), leaf + &group).unwrap();
    succeed(&mut service.enroll());
    service.is_enrolled();
}

#[test]
fn each_outcome_is_one_line() {
    let Some(service) = Service::start() else {
        return;
    };
    let outcome = |status: &str, state: serde_json::Value| {
        let body = json!({"operationId": "5.a", "status": status, "registrationState": state});
        Fault::Status(200, None, body)
    };
    let unauthorized = azure::error(401_002, "CA certificate not found.");
    let hostile = json!({
        "operationId": "5.a", "status": "assigned",
        "registrationState": {"assignedHub": "hub\"\nca = \"x", "deviceId": "device-1"},
    });
    for (fault, said) in [
        (
            Fault::Status(401, None, unauthorized),
            "the service refuses the device: 401 (401002): CA certificate not found; tracking id d8f1a7c0-",
        ),
        (
            outcome(
                "failed",
                json!({"errorCode": 400_209, "errorMessage": "Custom allocation failed\x1b[2J"}),
            ),
            "the registration failed (400209): Custom allocation failed",
        ),
        (
            outcome("disabled", json!({})),
            "the device's enrollment is disabled",
        ),
        (
            outcome("unassigned", json!({})),
            "the device was assigned to no IoT hub",
        ),
        (
            outcome("dreaming", json!({})),
            "a status that is not known: \"dreaming\"",
        ),
        (
            Fault::Status(200, None, hostile),
            "is no host name of an IoT hub",
        ),
        (Fault::Body(b"\x1b[2J".to_vec()), "unexpected form"),
        (
            Fault::Body(vec![b' '; 70_000]),
            "the answer has 70000 bytes",
        ),
        (
            Fault::Status(404, None, json!({})),
            "the service refuses the device: 404",
        ),
    ] {
        service.dps.faults([fault]);
        let error = service.refused();
        assert!(error.contains(said), "{error}");
    }
    service.dps.faults([]);
    succeed(&mut service.enroll());
    service.is_enrolled();
}

#[test]
fn what_passes_is_waited_for() {
    let Some(service) = Service::start() else {
        return;
    };
    // Busy, an answer that is lost, one that is late, an operation that is forgotten.
    let busy = azure::error(429_001, "Operations are being throttled for this tenant.");
    let gone = azure::error(404_206, "Operation not found.");
    service.dps.faults([
        Fault::Status(429, Some(1), busy),
        Fault::Lost,
        Fault::Late(Duration::from_millis(300)),
        Fault::Status(404, Some(0), gone),
    ]);
    let said = service.enrolls();
    assert!(said.contains("being throttled"), "{said}");
    assert!(said.contains("the service does not answer"), "{said}");
    assert!(said.contains("knows nothing of the operation"), "{said}");

    // A service that is in no hurry, and says that there is none.
    std::fs::remove_file(service.device.file(BRIDGE)).unwrap();
    let later = json!({"operationId": "5.a", "status": "assigning"});
    let at_once = Fault::Status(202, Some(0), later);
    service.dps.faults(std::iter::repeat_n(at_once, 100));
    let before = service.dps.requests().len();
    let mut impatient = service.enroll();
    let output = impatient.args(["--wait", "2"]).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("not within the 2 s"), "{error}");
    assert!(service.dps.requests().len() - before <= 3);

    // It waits as long as the operator says, whatever the service says.
    let later = json!({"operationId": "5.a", "status": "assigning"});
    service
        .dps
        .faults([Fault::Status(202, Some(u32::MAX), later)]);
    let error = service.refused();
    assert!(
        error.contains("yet to assign the device: not within the 600 s"),
        "{error}"
    );
}

#[test]
fn answers_to_others_are_none() {
    let Some(service) = Service::start() else {
        return;
    };
    service.dps.faults([
        Fault::Flood(100),
        Fault::Topic("$dps/registrations/res/x/?$rid=RID"),
    ]);
    let said = service.enrolls();
    assert!(said.contains("64 messages"), "{said}");
    assert!(said.contains("the service does not answer"), "{said}");
}

#[test]
fn a_device_without_a_certificate_is_told_where_to_get_one() {
    let Some(service) = Service::start() else {
        return;
    };
    std::fs::remove_file(service.device.cert()).unwrap();
    let error = fail(&mut service.enroll());
    assert!(error.contains("tedge-hsm enroll est"), "{error}");
}

/// Before each change of a file, which is between all steps: the next run finishes.
#[test]
fn killed_at_every_step() {
    let Some(service) = Service::start() else {
        return;
    };
    let mut steps = Vec::new();
    println!("| killed before | recorded step | bridge | next run |\n|---|---|---|---|");
    for call in CALLS {
        for number in 1.. {
            let prefix = killing(&service.device, call, number);
            let mut enroll = service
                .device
                .enroll_under(&service.cloud, &prefix, "azure");
            if !is_killed(
                &service.device,
                enroll.args(["--id-scope", azure::ID_SCOPE]),
            ) {
                service.reset();
                break;
            }
            let step = service.device.recorded_step();
            let has_bridge = !service.device.read(BRIDGE).is_empty();
            succeed(&mut service.enroll());
            service.is_enrolled();
            let has_bridge = if has_bridge { "yes" } else { "no" };
            println!("| {call} {number} | {step} | {has_bridge} | finished |");
            steps.push(step);
            service.reset();
        }
    }
    for step in ["none", "register", "configure", "try"] {
        assert!(
            steps.iter().any(|s| s == step),
            "never killed at {step}: {steps:?}"
        );
    }
}

impl Service {
    /// As before the enrolment.
    fn reset(&self) {
        for name in [BRIDGE, "tedge.toml", &format!("{CERT}.enrolment")] {
            let _ = std::fs::remove_file(self.device.file(name));
        }
    }
}
