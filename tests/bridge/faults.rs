//! Nothing is lost and nothing out of order, whatever is killed; memory is bounded.

use std::collections::{HashMap, HashSet};

use rustix::process::Signal;
use support::mqtt::{Message, Mqtt, Subscriber, await_some, publish_all, publish_over};
use support::{Bridge, Proxy};

use crate::rig::Rig;

/// Of the bridge, in all tests, in KiB: what docs/bridge.md says.
const MEMORY_BOUND: u64 = 24 * 1024;

/// 10,000 messages each way, while everything is killed or cut off in turns.
#[test]
fn nothing_is_lost_or_out_of_order_whatever_is_killed() {
    const MESSAGES: usize = 10_000;
    const ROUNDS: usize = 4;
    let mut rig = Rig::start_with_faulty_module();
    let config = rig.config("");
    let mut bridge = Bridge::spawn(rig.dir(), &config);
    bridge.await_ready();
    let at_cloud = Subscriber::start(rig.cloud.port, "check", "dev/#");
    let at_local = Subscriber::start(rig.local.port, "check", "in/#");
    let ways = [(rig.local.port, "out"), (rig.cloud.port, "cmd")]
        .map(|(port, topic)| (port, numbered(topic, MESSAGES)));
    let faults = [
        Fault::Cloud,
        Fault::Local,
        Fault::Bridge,
        Fault::Network,
        Fault::Signer,
        Fault::Token,
    ];
    let steps = ROUNDS * faults.len();
    let mut peak = 0;
    let counts = || [distinct(&at_cloud), distinct(&at_local)];
    for step in 0..steps {
        // What is published from here on is on its way when the fault comes.
        let share = MESSAGES * step / steps..MESSAGES * (step + 1) / steps;
        let before = counts();
        let publishers = ways.clone().map(|(port, messages)| {
            let share = share.clone();
            std::thread::spawn(move || publish_all(port, "publisher", &messages[share]))
        });
        await_some("both ways to work", || {
            let now = counts();
            (0..2).all(|way| now[way] > before[way]).then_some(())
        });
        match faults[step % faults.len()] {
            Fault::Cloud => {
                rig.cloud.end();
                rig.cloud.run();
            }
            Fault::Local => {
                rig.local.end();
                rig.local.run();
            }
            Fault::Bridge => {
                bridge.kill();
                peak = peak.max(bridge.peak_memory());
                bridge = Bridge::spawn(rig.dir(), &config);
            }
            Fault::Network => {
                let before = bridge.count("cloud: ");
                rig.proxy.close();
                bridge.await_log("cloud: ", before);
                rig.proxy.open();
            }
            Fault::Signer => {
                let before = bridge.count("is tedge-p11-server running?");
                rig.signer.as_ref().unwrap().signal(Signal::KILL);
                rig.signer = None;
                rig.proxy.cut();
                bridge.await_log("is tedge-p11-server running?", before);
                rig.signer = Some(rig.faulty_signer());
            }
            Fault::Token => {
                rig.faults("token device absent");
                let before = bridge.count("no token matches");
                rig.proxy.cut();
                bridge.await_log("no token matches", before);
                rig.faults("");
            }
        }
        for publisher in publishers {
            publisher.join().unwrap();
        }
    }
    for subscriber in [&at_cloud, &at_local] {
        await_some("the last message", || {
            (distinct(subscriber) == MESSAGES).then_some(())
        });
        in_order(subscriber);
        println!("{} received for {MESSAGES} published", subscriber.len());
    }
    peak = peak.max(bridge.peak_memory());
    println!("at most {peak} KiB of memory");
    assert!(peak < MEMORY_BOUND, "{peak} KiB of memory");
}

/// What is killed, and comes back.
#[derive(Clone, Copy)]
enum Fault {
    Cloud,
    Local,
    Bridge,
    Network,
    Signer,
    Token,
}

/// Each broker has 60 MB for the other, which takes nothing, then little, then all.
#[test]
fn memory_is_bounded_under_a_flood_both_ways() {
    const MESSAGES: usize = 15_000;
    let rig = Rig::start_with(
        // Without limits of their own, brokers send all that they have.
        "max_inflight_messages 0\n",
    );
    // The local broker is behind a network, too.
    let local = Proxy::start(rig.local.port);
    let config = rig.config("").replace(
        &format!("[local]\nport = {}\n", rig.local.port),
        &format!("[local]\nport = {}\n", local.port),
    );
    let mut bridge = Bridge::spawn(rig.dir(), &config);
    bridge.await_ready();
    let at_cloud = Subscriber::start(rig.cloud.port, "check", "dev/#");
    let at_local = Subscriber::start(rig.local.port, "check", "in/#");
    let proxies = [&rig.proxy, &local];
    for proxy in proxies {
        proxy.close();
    }
    let publishers = [(rig.local.port, "out"), (rig.cloud.port, "cmd")].map(|(port, topic)| {
        std::thread::spawn(move || {
            let messages: Vec<_> = (0..MESSAGES)
                .map(|n| {
                    (
                        format!("{topic}/{}", n % 3),
                        format!("{n:4000}").into_bytes(),
                    )
                })
                .collect();
            let mut publisher = Mqtt::connect(port, "flood").unwrap();
            publish_over(&mut publisher, &messages).unwrap();
        })
    });
    for publisher in publishers {
        publisher.join().unwrap();
    }
    for proxy in proxies {
        proxy.limit(200_000);
        proxy.open();
    }
    for subscriber in [&at_cloud, &at_local] {
        await_some("a trickle", || (subscriber.len() > 50).then_some(()));
    }
    for proxy in proxies {
        proxy.limit(0);
    }
    for subscriber in [&at_cloud, &at_local] {
        await_some("all of it", || {
            (distinct(subscriber) == MESSAGES).then_some(())
        });
        in_order(subscriber);
    }
    let peak = bridge.peak_memory();
    println!(
        "at most {peak} KiB of memory, {} out and {} in received for {MESSAGES} each",
        at_cloud.len(),
        at_local.len()
    );
    assert!(peak < MEMORY_BOUND, "{peak} KiB of memory");
    for side in ["test, local broker", "test, cloud"] {
        let anew = format!("{side}: reconnecting: there is room again");
        assert!(
            bridge.count(&anew) > 0,
            "no flow control was needed: {side}"
        );
    }
}

/// Messages with numbers, under three topics.
fn numbered(topic: &str, count: usize) -> Vec<Message> {
    (0..count)
        .map(|n| (format!("{topic}/{}", n % 3), n.to_string().into_bytes()))
        .collect()
}

fn number(payload: &[u8]) -> usize {
    std::str::from_utf8(payload)
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

/// How many of the numbers have come.
fn distinct(subscriber: &Subscriber) -> usize {
    let messages = subscriber.messages();
    let numbers: HashSet<_> = messages
        .iter()
        .map(|(_, payload)| number(payload))
        .collect();
    numbers.len()
}

/// Panics if a number came for the first time after a higher one of its topic.
fn in_order(subscriber: &Subscriber) {
    let mut seen = HashSet::new();
    let mut highest = HashMap::new();
    for (topic, payload) in subscriber.messages() {
        let number = number(&payload);
        if seen.insert(number) {
            let before = highest.insert(topic.clone(), number);
            assert!(
                before < Some(number),
                "{number} after {before:?} of {topic}"
            );
        }
    }
}
