//! A fleet and its CA: nobody's certificate expires, and the CA's busiest hour stays under three times the mean. Ten
//! thousand devices in virtual time, and real ones, which do as the virtual ones do. `docs/fleet.md` has the figures;
//! `cargo test -p tedge-hsm-tests --test fleet -- --nocapture` prints them. FLEET_DEVICES is how many real ones there are.

mod device;
mod simulation;

use std::process::Stdio;

use support::Ca as CertificateAuthority;
use support::est::EstServer;
use support::fail;
use tedge_hsm::renewal_plan::{Failures, Plan, plan};

use crate::device::Device;
use crate::simulation::{Ca, DAY, Fleet, HOUR, simulate};

const FLEET: Fleet = Fleet {
    devices: 10_000,
    life: 90 * DAY,
    made_within: 8 * HOUR,
    watched: 365 * DAY,
    spread: true,
};

#[test]
fn ten_thousand_devices_and_what_happens_to_their_ca() {
    let from_to = |now: u64, from: u64, to: u64| (from * DAY..to * DAY).contains(&now);
    let calamities: [(&str, &dyn Fn(u64) -> Ca); 6] = [
        ("well", &|_| Ca::Well),
        ("away for a day", &|now| {
            if from_to(now, 200, 201) {
                Ca::Away
            } else {
                Ca::Well
            }
        }),
        ("slow for a week", &|now| {
            if from_to(now, 200, 207) {
                Ca::Slow
            } else {
                Ca::Well
            }
        }),
        ("refuses one in ten", &|_| Ca::Refuses),
        ("restarts for ten minutes every day", &|now| {
            if now % DAY < 600 { Ca::Away } else { Ca::Well }
        }),
        ("all of it", &|now| match now {
            now if from_to(now, 40, 41) || from_to(now, 300, 301) || now % DAY < 600 => Ca::Away,
            now if from_to(now, 120, 127) => Ca::Slow,
            _ => Ca::Refuses,
        }),
    ];
    for (name, ca) in calamities {
        let figures = simulate(&FLEET, ca);
        println!("{name}: {figures}");
        assert_eq!(figures.expired, 0, "{name}: {figures}");
        assert!(figures.times() < 3.0, "{name}: {figures}");
        assert!(figures.least_left > 20 * DAY, "{name}: {figures}");
    }
}

#[test]
fn other_lives_and_sizes() {
    let mut fleets = vec![
        ("a week's certificates", 10_000, 7 * DAY, 30 * DAY),
        ("a day's certificates", 2_000, DAY, 10 * DAY),
    ];
    if is_long() {
        fleets.push(("100,000 devices", 100_000, 90 * DAY, 730 * DAY));
        fleets.push(("a year's certificates", 100_000, 365 * DAY, 1095 * DAY));
    }
    for (name, devices, life, watched) in fleets {
        let fleet = Fleet {
            devices,
            life,
            watched,
            ..FLEET
        };
        let figures = simulate(&fleet, |now| {
            if now % DAY < 600 {
                Ca::Away
            } else {
                Ca::Refuses
            }
        });
        println!("{name}: {figures}");
        assert_eq!(figures.expired, 0, "{name}: {figures}");
        assert!(figures.times() < 3.0, "{name}: {figures}");
    }
    // What the function is for: without it, they come on one day.
    let before = simulate(
        &Fleet {
            spread: false,
            ..FLEET
        },
        |_| Ca::Well,
    );
    println!("as it was before: {before}");
    assert!(before.times() > 3.0, "{before}");
}

/// `make soak` has it.
fn is_long() -> bool {
    std::env::var_os("FLEET_DEVICES").is_some()
}

/// A CA that is away for longer than the pauses last: nobody waits so long that the certificate ends.
#[test]
fn a_ca_that_is_away_for_three_weeks_finds_all_alive() {
    let figures = simulate(&FLEET, |now| {
        if (200 * DAY..221 * DAY).contains(&now) {
            Ca::Away
        } else {
            Ca::Well
        }
    });
    println!("away for three weeks: {figures}");
    assert_eq!(figures.expired, 0, "{figures}");
}

/// Real processes, each with a token of its own, at all ages of a certificate: the program does what the function says, also
/// after failures, which it remembers.
#[test]
fn real_devices_do_as_the_virtual_ones() {
    let count = std::env::var("FLEET_DEVICES").map_or(12, |count| count.parse().unwrap());
    let ca = CertificateAuthority::new();
    let est = EstServer::start(&ca);
    let mut devices: Vec<_> = (0..count)
        .map(|number| Device::make(&ca, number, count))
        .collect();
    let due: Vec<_> = devices
        .iter()
        .map(|device| device.plan() == Plan::Now)
        .collect();
    let are_due = due.iter().filter(|due| **due).count() as u64;
    println!("{are_due} of {count} real devices are due");
    // Those in the last third of their certificate's life are due, and in its first two ninths none is; the others by chance.
    assert!((count / 4..=count * 5 / 6).contains(&are_due), "{are_due}");

    // The CA is away, and then breaks down.
    for (device, due) in devices.iter_mut().zip(&due) {
        let mut renew = device.renew("https://localhost:1/.well-known/est/est");
        if *due {
            let said = fail(&mut renew);
            assert!(said.contains("cannot connect"), "{said}");
            assert_eq!(device.record()["failures"], 1);
        } else {
            assert!(support::succeed(&mut renew).ends_with("nothing to do\n"));
            assert!(device.record().is_null());
        }
    }
    for (device, _) in devices.iter_mut().zip(&due).filter(|(_, due)| **due) {
        // Each waits, whatever the server would say.
        let said = support::succeed(&mut device.renew(&est.url("est")));
        assert!(said.contains("the next try is not before 20"), "{said}");
        // Its time comes, to the second.
        let failures = device.failures();
        let pause = match plan(&device.term(), None, &failures, failures.last) {
            Plan::At(next) => next - failures.last,
            Plan::Now => 0,
        };
        assert!(pause > HOUR, "{pause}");
        device.let_pass(pause - 600);
        assert!(support::succeed(&mut device.renew(&est.url("est"))).contains("not before"));
        device.let_pass(601);
        let said = fail(&mut device.renew(&est.url("broken")));
        assert!(said.contains("HTTP 500"), "{said}");
        assert_eq!(device.record()["failures"], 2);
        assert!(
            device.record()["error"]
                .as_str()
                .unwrap()
                .contains("HTTP 500")
        );
    }
    // It is back, and all come at once, as they don't in the field.
    let running: Vec<_> = devices
        .iter_mut()
        .zip(&due)
        .filter(|(_, due)| **due)
        .map(|(device, _)| {
            device.let_pass(6 * DAY);
            let mut renew = device.renew(&est.url("est"));
            let child = renew.stdout(Stdio::null()).spawn().unwrap();
            (device, child)
        })
        .collect();
    for (device, mut child) in running {
        assert!(child.wait().unwrap().success());
        let record = device.record();
        assert!(
            record.get("failures").is_none_or(|count| *count == 0),
            "{record}"
        );
        assert!(record["renewed"].as_u64().unwrap() > 0 && record.get("error").is_none());
        assert_eq!(
            plan(&device.term(), None, &Failures::default(), device::now()),
            device.plan()
        );
        assert_ne!(device.plan(), Plan::Now);
    }
}
