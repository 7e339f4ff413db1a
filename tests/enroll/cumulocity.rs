//! With Cumulocity's own CA, as thin-edge.io's `tedge cert download c8y` and `tedge cert renew` see it.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::process::Stdio;

use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Packet, Publish, Subscribe};
use support::mqtt::Mqtt;
use support::{succeed, write_secret};

use crate::rig::{Device, fail};

#[test]
fn an_operator_registers_the_device_by_the_url_that_it_shows() {
    let device = Device::new();
    let mut enroll = device.cumulocity();
    let mut child = enroll
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.next().unwrap().unwrap();
    let port = device.server.port();
    let page =
        format!("https://localhost:{port}/apps/devicemanagement/index.html#/deviceregistration");
    let password = line.strip_prefix(&format!(
        "register device device-1: {page}?externalId=device-1&one-time-password="
    ));
    let password = password.unwrap_or_else(|| panic!("{line}"));
    assert!(
        password.len() == 32 && password.bytes().all(|c| c.is_ascii_alphanumeric()),
        "{line}"
    );
    std::fs::write(device.ca.file("registered"), format!("device-1:{password}")).unwrap();
    let rest: Vec<_> = lines.map(Result::unwrap).collect();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(
        rest[0].starts_with(&format!(
            "CN=device-1 is enrolled with https://localhost:{port}"
        )),
        "{rest:?}"
    );
    // Once, in the first line.
    assert!(
        !said.contains(password) && !rest.join("").contains(password),
        "{said}"
    );
    assert!(!device.beside(".one-time-password").exists());
    device.is_enrolled("tenant.pem");
    let text = device.bridge();
    assert!(
        text.contains("[cloud.c8y]\npreset = \"cumulocity\"\nhost = \"localhost\""),
        "{text}"
    );
}

#[test]
fn a_run_that_goes_on_has_the_same_password_and_request() {
    let device = Device::new();
    let output = device.cumulocity().args(["--wait", "0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let (out, said) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert!(
        said.contains(
            "nobody has registered the device (HTTP 401 (Invalid credentials! \u{fffd}[31m))"
        ),
        "{said}"
    );
    let file = device.beside(".one-time-password");
    let password = std::fs::read_to_string(&file).unwrap();
    assert!(out.contains(&password) && !said.contains(&password));
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(
        !std::fs::read_to_string(device.beside(".enrolment"))
            .unwrap()
            .contains(&password)
    );
    std::fs::write(device.ca.file("registered"), format!("device-1:{password}")).unwrap();
    let said = succeed(&mut device.cumulocity());
    assert!(said.contains(&password), "{said}");
    let asked = std::fs::read_to_string(device.ca.file("asked")).unwrap();
    let mut asked: Vec<_> = asked.lines().collect();
    assert_eq!(asked.len(), 2);
    asked.dedup();
    assert_eq!(asked.len(), 1, "another request or password");
    device.is_enrolled("tenant.pem");
}

#[test]
fn a_password_that_the_operator_gives_is_not_shown() {
    let device = Device::new();
    let file = device.hsm.file("one-time-password");
    write_secret(&file, "given-by-hand\n");
    std::fs::write(device.ca.file("registered"), "device-1:given-by-hand").unwrap();
    let output = device
        .cumulocity()
        .arg("--one-time-password-file")
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(
        output.status.success() && !said.contains("given-by-hand"),
        "{said}"
    );
    assert!(
        said.contains("externalId=device-1&one-time-password=\n"),
        "{said}"
    );
    device.is_enrolled("tenant.pem");
}

/// systemd tells by JOURNAL_STREAM which file is the journal.
#[test]
fn the_journal_does_not_get_the_password() {
    let device = Device::new();
    let journal = device.hsm.file("journal");
    let run = |more: &[&str], folder: bool| {
        let file = std::fs::File::create(&journal).unwrap();
        let id = file.metadata().unwrap();
        let mut enroll = device.cumulocity();
        enroll.args(["--wait", "0"]).args(more);
        enroll.env("JOURNAL_STREAM", format!("{}:{}", id.dev(), id.ino()));
        if folder {
            enroll.env("RUNTIME_DIRECTORY", device.hsm.dir.path());
        }
        enroll.stderr(file.try_clone().unwrap()).stdout(file);
        assert_eq!(enroll.status().unwrap().code(), Some(1));
        std::fs::read_to_string(&journal).unwrap()
    };
    let said = run(&[], false);
    assert!(said.contains("RuntimeDirectory="), "{said}");
    let said = run(&[], true);
    let password = std::fs::read_to_string(device.beside(".one-time-password")).unwrap();
    assert!(!said.contains(&password), "{said}");
    let file = device.hsm.file("registration-url");
    assert!(said.contains(&file.display().to_string()), "{said}");
    let url = std::fs::read_to_string(&file).unwrap();
    assert!(
        url.ends_with(&format!("one-time-password={password}\n")),
        "{url}"
    );
    assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let said = run(&["--url-to-journal"], true);
    assert!(said.contains(&password), "{said}");
}

#[test]
fn renewed_with_a_token_from_the_broker() {
    let device = Device::new();
    let file = device.hsm.file("one-time-password");
    write_secret(&file, "given");
    std::fs::write(device.ca.file("registered"), "device-1:given").unwrap();
    succeed(
        device
            .cumulocity()
            .arg("--one-time-password-file")
            .arg(&file),
    );
    let before = std::fs::read_to_string(device.cert()).unwrap();
    std::fs::write(device.ca.file("token"), "eyJhbGciOi.J9.sig-_").unwrap();
    let renew = || {
        let mut renew = device.signer.tedge_hsm();
        renew.env("TEDGE_CONFIG_DIR", device.hsm.dir.path());
        renew.args([
            "renew",
            "--cumulocity",
            &format!("localhost:{}", device.server.port()),
        ]);
        renew.args([
            "--mqtt",
            &format!("localhost:{}", device.broker.tls_port),
            "--timeout",
            "10",
        ]);
        renew
            .args(["--uri", "pkcs11:object=tls", "--cert"])
            .arg(device.cert());
        renew.arg("--ca").arg(device.ca.certificate());
        renew
    };
    // Who answers as the tenant does.
    let answer = |message: &str| {
        // With another session each time.
        let mut tenant = Mqtt::connect(device.broker.port, &format!("tenant-{message}")).unwrap();
        let mut subscribe = Subscribe::new("s/uat", QoS::AtLeastOnce);
        subscribe.pkid = 1;
        tenant.send(&[Packet::Subscribe(subscribe)]).unwrap();
        while !matches!(tenant.receive().unwrap(), Packet::SubAck(_)) {}
        let publish = Publish::new("s/dat", QoS::AtMostOnce, message);
        std::thread::spawn(move || {
            while let Ok(packet) = tenant.receive() {
                if matches!(packet, Packet::Publish(_)) {
                    tenant.send(&[Packet::Publish(publish)]).unwrap();
                    break;
                }
            }
        })
    };
    for (message, why) in [("70,no", "is not 71 and a token"), ("71,t0ken", "HTTP 401")] {
        let tenant = answer(message);
        let error = fail(&mut renew());
        assert!(error.contains(why) && !error.contains("t0ken"), "{error}");
        tenant.join().unwrap();
        assert_eq!(std::fs::read_to_string(device.cert()).unwrap(), before);
    }
    let tenant = answer("71,eyJhbGciOi.J9.sig-_");
    let said = succeed(&mut renew());
    assert!(!said.contains("eyJ"), "{said}");
    tenant.join().unwrap();
    assert_ne!(std::fs::read_to_string(device.cert()).unwrap(), before);
    device.is_enrolled("tenant.pem");
}
