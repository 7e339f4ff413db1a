//! `enroll aws`: fleet provisioning.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use support::aws::{self, Aws, Fault};
use support::cloud::Cloud;
use support::{fail, succeed};

use crate::rig::{BRIDGE, CALLS, CERT, Device, is_killed, killing};

/// A cloud with fleet provisioning, and a device with a claim certificate.
struct Fleet {
    aws: Aws,
    device: Device,
    cloud: Cloud,
}

impl Fleet {
    fn start() -> Option<Self> {
        let cloud = Cloud::start(&[aws::ENDPOINT])?;
        let device = Device::new(&cloud);
        let ca = &cloud.client_ca;
        ca.make_key("claim", &["-out", "claim.csr"]);
        let csr = std::fs::read_to_string(ca.file("claim.csr")).unwrap();
        ca.issue("claim", &csr);
        for name in ["claim.pem", "claim.key"] {
            std::fs::copy(ca.file(name), device.file(name)).unwrap();
        }
        Some(Self {
            aws: Aws::start(&cloud),
            device,
            cloud,
        })
    }

    fn enroll_under(&self, prefix: &[String]) -> Command {
        let mut enroll = self.device.enroll_under(&self.cloud, prefix, "aws");
        enroll.args(["--endpoint", aws::ENDPOINT, "--template", aws::TEMPLATE]);
        enroll.args([
            "--device-id",
            "device-1",
            "--parameter",
            "SerialNumber=1234",
        ]);
        enroll.args([
            "--bootstrap-cert",
            "claim.pem",
            "--bootstrap-key",
            "claim.key",
        ]);
        enroll
    }

    fn enroll(&self) -> Command {
        self.enroll_under(&[])
    }

    /// Once: its exit code is 1, and this is the last line that it prints.
    fn refused(&self) -> String {
        let error = last_line(&mut self.enroll());
        assert!(!self.device.cert().exists(), "a certificate: {error}");
        assert!(
            !self.device.file(BRIDGE).exists(),
            "a configuration: {error}"
        );
        error
    }

    fn is_enrolled(&self) {
        self.device.has_finished();
        self.device.has_certificate_of_its_key();
        let bridge = self.device.read(BRIDGE);
        for wanted in [
            "[cloud.aws]",
            "preset = \"aws-iot\"",
            &format!("host = \"{}\"", aws::ENDPOINT),
            "client_id = \"thing-1234\"",
            CERT,
        ] {
            assert!(bridge.contains(wanted), "{wanted}: {bridge}");
        }
        let things = self.aws.things();
        assert_eq!(things.len(), 1, "{things:?}");
        assert_eq!(things[0].0, "thing-1234");
    }
}

/// Fails, and returns the last line of standard error: lines before it may tell of attempts.
fn last_line(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{command:?}: {error}");
    assert!(!error.contains('\x1b'), "{error:?}");
    error.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn a_blank_device_gets_its_thing_and_the_bridge_carries_messages() {
    let Some(fleet) = Fleet::start() else { return };
    let said = succeed(&mut fleet.enroll());
    assert!(said.contains("is enrolled with"), "{said}");
    fleet.is_enrolled();
    let configuration = fleet.device.read("aws-device-configuration.json");
    let configuration: Value = serde_json::from_str(&configuration).unwrap();
    assert_eq!(
        configuration["FallbackUrl"],
        "https://www.example.com/test-site"
    );

    // Once more there is nothing to do, and nobody is asked.
    let asked = fleet.aws.requests();
    let said = succeed(&mut fleet.enroll());
    assert!(said.contains("nothing to do"), "{said}");
    assert_eq!(fleet.aws.requests(), asked);

    // The bridge works with what was written; the broker is the local one and the cloud's.
    let topic = "thinedge/thing-1234/td/temperature";
    fleet
        .device
        .bridge_carries(&fleet.cloud, "aws/td/temperature", topic);
}

#[test]
fn the_claim_certificate_and_its_key_may_be_in_the_token() {
    let Some(fleet) = Fleet::start() else { return };
    let device = &fleet.device;
    let uri = device.hsm.create_key("claim", "p256");
    let mut csr = device.signer.tedge_hsm();
    let csr = succeed(csr.args(["csr", "--common-name", "claim-2", "--uri", &uri]));
    let cert = fleet.cloud.client_ca.issue("claim-2", &csr);
    let mut import = device.signer.tedge_hsm();
    succeed(
        import
            .args(["import-certificate", "--uri", &uri, "--cert"])
            .arg(cert),
    );
    for name in ["claim.pem", "claim.key"] {
        std::fs::remove_file(device.file(name)).unwrap();
    }
    let mut enroll = device.enroll_under(&fleet.cloud, &[], "aws");
    // On the port that firewalls let through.
    let endpoint = format!("{}:443", aws::ENDPOINT);
    enroll.args(["--endpoint", &endpoint, "--template", aws::TEMPLATE]);
    enroll.args([
        "--device-id",
        "device-1",
        "--parameter",
        "SerialNumber=1234",
    ]);
    succeed(enroll.args(["--bootstrap-uri", "pkcs11:object=claim"]));
    fleet.is_enrolled();
    let bridge = device.read(BRIDGE);
    assert!(bridge.contains("port = 443"), "{bridge}");
    assert!(bridge.contains("alpn = [\"x-amzn-mqtt-ca\"]"), "{bridge}");
    let log = fleet.cloud.log();
    let mut connections = log.lines().filter(|line| line.contains("New connection"));
    assert!(
        !connections.any(|line| line.ends_with("on port 8883.")),
        "{log}"
    );
    assert!(
        fleet.cloud.log().contains("as device-1 "),
        "the claim's client id"
    );
}

/// Nothing is left of an enrolment that AWS rejects, but the key; the same command finishes it later.
#[test]
fn what_aws_rejects_is_one_line() {
    let Some(fleet) = Fleet::start() else { return };
    for (fault, said) in [
        (
            Fault::Rejected(400, "InvalidCSR", "CSR is not valid."),
            "AWS rejects the request for a certificate: 400 InvalidCSR: CSR is not valid",
        ),
        (
            Fault::Rejected(403, "AccessDenied", "\x1b[2Jno\nroot: all is well"),
            "403 AccessDenied: ",
        ),
        (
            Fault::Accepted(b"{}".to_vec()),
            "the answer has an unexpected form",
        ),
        (
            Fault::Accepted(b"\xff\x00".to_vec()),
            "the answer has an unexpected form",
        ),
        (
            Fault::Accepted(vec![b' '; 70_000]),
            "the answer has 70000 bytes",
        ),
        (
            Fault::Accepted("[".repeat(60_000).into_bytes()),
            "the answer has an unexpected form",
        ),
    ] {
        fleet.aws.faults([fault]);
        let error = fleet.refused();
        assert!(error.contains(said), "{error}");
    }
    // A certificate for somebody else's key.
    let foreign = std::fs::read_to_string(fleet.cloud.client_ca.file("claim.pem")).unwrap();
    let answer = serde_json::json!({
        "certificateOwnershipToken": "t",
        "certificateId": "0".repeat(64),
        "certificatePem": foreign,
    });
    fleet
        .aws
        .faults([Fault::Accepted(answer.to_string().into_bytes())]);
    let error = fleet.refused();
    assert!(
        error.contains("AWS sent a certificate that is refused"),
        "{error}"
    );
    // The certificate is there, and the thing is not: the next run asks for no other one.
    fleet.aws.faults([]);
    let before = fleet.aws.certificates();
    let mut enroll = fleet.device.enroll_under(&fleet.cloud, &[], "aws");
    enroll.args(["--endpoint", aws::ENDPOINT, "--template", aws::TEMPLATE]);
    enroll.args(["--device-id", "device-1"]);
    enroll.args([
        "--bootstrap-cert",
        "claim.pem",
        "--bootstrap-key",
        "claim.key",
    ]);
    let error = last_line(&mut enroll);
    assert!(
        error.contains("AWS rejects the registration of the thing: 400 InvalidParameters"),
        "{error}"
    );
    succeed(&mut fleet.enroll());
    fleet.is_enrolled();
    assert_eq!(fleet.aws.certificates(), before + 1);
}

#[test]
fn what_passes_is_waited_for() {
    let Some(fleet) = Fleet::start() else { return };
    let throttled = || Fault::Rejected(429, "Throttled", "Rate exceeded");
    fleet.aws.faults([throttled()]);
    let mut impatient = fleet.enroll();
    let error = last_line(impatient.args(["--wait", "0"]));
    assert!(
        error.contains("429 Throttled: Rate exceeded: not within"),
        "{error}"
    );
    // An answer that is lost, too many at a time, an answer that is late.
    fleet.aws.faults([
        Fault::Lost,
        throttled(),
        Fault::Late(Duration::from_millis(300)),
    ]);
    let mut enroll = fleet.enroll();
    let output = enroll.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("AWS deletes the one that got lost"), "{said}");
    fleet.is_enrolled();
    assert_eq!(fleet.aws.certificates(), 2, "one got lost");
    let topics = fleet.aws.requests();
    let registrations = topics.iter().filter(|topic| topic.contains("/provision/"));
    assert_eq!(registrations.count(), 1, "{topics:?}");
}

#[test]
fn an_ownership_token_that_expired_makes_another_certificate() {
    let Some(fleet) = Fleet::start() else { return };
    let provision = Fault::Rejected(400, "InvalidParameters", "x");
    let issue = Fault::Late(Duration::ZERO);
    fleet.aws.faults([issue, provision]);
    let error = fleet.refused();
    assert!(error.contains("InvalidParameters"), "{error}");
    let record = fleet.device.read(&format!("{CERT}.enrolment"));
    assert!(record.contains("certificateOwnershipToken"), "{record}");
    fleet.aws.expire_tokens();
    let output = fleet.enroll().output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("was not used within an hour"), "{said}");
    fleet.is_enrolled();
    assert_eq!(fleet.aws.certificates(), 2);
    // Where AWS always says so, it is not asked for ever.
    assert!(!said.contains("certificateOwnershipToken"), "{said}");
}

/// The record of it can be read again.
#[test]
fn a_device_configuration_may_be_long_and_deep() {
    let Some(fleet) = Fleet::start() else { return };
    for configuration in [
        format!("{{\"a\":[{}1]}}", "1,".repeat(5000)),
        format!("{{\"a\":{}{}}}", "[".repeat(100), "]".repeat(100)),
        format!("{{\"a\":\"{}\"}}", "\\\\".repeat(5000)),
    ] {
        let registered =
            format!("{{\"thingName\":\"thing-1234\",\"deviceConfiguration\":{configuration}}}");
        let registered = Fault::Accepted(registered.into_bytes());
        let made = Fault::Late(Duration::ZERO);
        fleet.aws.faults([made, registered]);
        let mut enroll = fleet.enroll();
        let error = last_line(enroll.args(["--device-configuration", "none/such"]));
        assert!(error.contains("none/such"), "{error}");
        succeed(&mut fleet.enroll());
        let written = fleet.device.read("aws-device-configuration.json");
        assert_eq!(written.trim_end(), configuration);
        fleet.reset();
    }
}

#[test]
fn what_never_ends_is_given_up() {
    let Some(fleet) = Fleet::start() else { return };
    // Nothing but messages on the topic, each of which is no answer: the first one ends it.
    fleet.aws.faults([Fault::Flood(b"x".to_vec(), 200)]);
    let error = fleet.refused();
    assert!(error.contains("unexpected form"), "{error}");
    // A record that holds a secret is closed to others.
    let record = fleet.device.file(&format!("{CERT}.enrolment"));
    let mode = record.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// Before each change of a file, which is between all steps: the next run finishes, with one thing.
#[test]
fn killed_at_every_step() {
    let Some(fleet) = Fleet::start() else { return };
    println!(
        "| killed before | recorded step | certificate | bridge | next run | certificates made |"
    );
    println!("|---|---|---|---|---|---|");
    let mut steps = Vec::new();
    for call in CALLS {
        for number in 1.. {
            let issued = fleet.aws.certificates();
            let prefix = killing(&fleet.device, call, number);
            if !is_killed(&fleet.device, &mut fleet.enroll_under(&prefix)) {
                fleet.reset();
                break;
            }
            let step = fleet.device.recorded_step();
            let has_certificate = fleet.device.cert().exists();
            if has_certificate {
                fleet.device.has_certificate_of_its_key();
            }
            let has_bridge = fleet
                .device
                .read(BRIDGE)
                .contains("client_id = \"thing-1234\"");
            assert!(has_certificate || !has_bridge, "half a configuration");
            succeed(&mut fleet.enroll());
            fleet.is_enrolled();
            let made = fleet.aws.certificates() - issued;
            println!(
                "| {call} {number} | {step} | {} | {} | finished | {made} |",
                if has_certificate { "yes" } else { "no" },
                if has_bridge { "yes" } else { "no" },
            );
            assert!(made <= 2, "{call} {number}");
            steps.push(step);
            fleet.reset();
        }
    }
    for step in [
        "none",
        "make-key",
        "certificate",
        "register",
        "configure",
        "try",
    ] {
        assert!(
            steps.iter().any(|s| s == step),
            "never killed at {step}: {steps:?}"
        );
    }
}

impl Fleet {
    /// As if the device had been reset, except for AWS, which knows the thing.
    fn reset(&self) {
        let mut delete = self.device.signer.tedge_hsm();
        succeed(delete.args(["delete-key", "--uri", "pkcs11:object=tls", "--yes"]));
        for name in [
            CERT,
            BRIDGE,
            "aws-device-configuration.json",
            "tedge.toml",
            &format!("{CERT}.enrolment"),
        ] {
            let _ = std::fs::remove_file(self.device.file(name));
        }
    }
}

#[test]
fn what_is_missing_is_said_before_anything_is_done() {
    let Some(fleet) = Fleet::start() else { return };
    let mut bare = fleet.device.enroll_under(&fleet.cloud, &[], "aws");
    bare.args(["--endpoint", aws::ENDPOINT, "--template", aws::TEMPLATE]);
    let error = fail(&mut bare);
    assert!(error.contains("takes a claim certificate"), "{error}");
    // A claim key that others may read.
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(fleet.device.file("claim.key"), open).unwrap();
    let error = last_line(&mut fleet.enroll());
    assert!(error.contains("claim.key"), "{error}");
    assert_eq!(fleet.aws.requests().len(), 0);
}
