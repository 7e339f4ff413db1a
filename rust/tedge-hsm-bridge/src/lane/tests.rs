//! The lane alone: what is held, sent, acknowledged and given up.

use super::*;

const ONE: usize = OVERHEAD + 2;

fn message(id: u16, payload: u8) -> Publish {
    let mut publish = Publish::new("t", QoS::AtLeastOnce, [payload]);
    publish.pkid = id;
    publish
}

fn again(id: u16, payload: u8) -> Publish {
    Publish {
        dup: true,
        ..message(id, payload)
    }
}

fn take(lane: &mut Lane, publish: &Publish) -> Taken {
    lane.take(publish, "t".to_owned(), false)
}

/// What is sent now: identifier, payload, DUP.
fn sent(lane: &mut Lane) -> Vec<(u16, u8, bool)> {
    let mut sent = Vec::new();
    while let Some(publish) = lane.next_to_send() {
        sent.push((publish.pkid, publish.payload[0], publish.dup));
    }
    sent
}

fn acknowledged_to_source(lane: &mut Lane) -> Vec<u16> {
    std::iter::from_fn(|| lane.next_to_acknowledge()).collect()
}

#[test]
fn the_source_is_acknowledged_after_the_sink_and_in_order() {
    let mut lane = Lane::new(10, 10_000);
    for id in [7, 8, 9] {
        assert_eq!(take(&mut lane, &message(id, 0)), Taken::Held);
    }
    assert!(acknowledged_to_source(&mut lane).is_empty());
    assert_eq!(sent(&mut lane).len(), 3);
    assert!(acknowledged_to_source(&mut lane).is_empty());
    assert!(lane.acknowledged(2));
    assert!(!lane.acknowledged(2));
    assert!(acknowledged_to_source(&mut lane).is_empty());
    assert!(lane.acknowledged(1));
    assert_eq!(acknowledged_to_source(&mut lane), [7, 8]);
    assert!(lane.acknowledged(3));
    assert_eq!(acknowledged_to_source(&mut lane), [9]);
    assert_eq!((lane.len(), lane.bytes, lane.in_flight), (0, 0, 0));
}

#[test]
fn the_window_is_kept() {
    let mut lane = Lane::new(2, 10_000);
    for id in 1..=5 {
        take(&mut lane, &message(id, 0));
    }
    assert_eq!(sent(&mut lane).len(), 2);
    assert!(lane.acknowledged(1));
    assert_eq!(sent(&mut lane).len(), 1);
}

#[test]
fn a_lost_sink_gets_the_same_again_in_order() {
    // As if something else had been acknowledged: it is not looked for a message that is not taken.
    let lose = |lane: &mut Lane| {
        lane.sink_lost(false);
        lane.probing = false;
    };
    let mut lane = Lane::new(3, 10_000);
    for id in 1..=4 {
        take(&mut lane, &message(id, u8::try_from(id).unwrap()));
    }
    assert_eq!(
        sent(&mut lane),
        [(1, 1, false), (2, 2, false), (3, 3, false)]
    );
    lane.acknowledged(2);
    for _ in 0..3 {
        lose(&mut lane);
        // What was sent before comes first, what was not comes last.
        assert_eq!(sent(&mut lane), [(1, 1, true), (3, 3, true), (4, 4, false)]);
        assert!(!lane.acknowledged(2));
        lose(&mut lane);
        lane.held[3].publish.dup = false;
        lane.held[3].publish.pkid = 0;
        lane.ids.remove(&4);
        lane.last_id = 3;
    }
    // Lost again in the middle of it: the rest must not come before.
    lane.window = 1;
    assert_eq!(sent(&mut lane), [(1, 1, true)]);
    lose(&mut lane);
    lane.window = 3;
    assert_eq!(sent(&mut lane), [(1, 1, true), (3, 3, true), (4, 4, false)]);
}

/// A sink that refuses a message, which it can only by closing the connection.
#[test]
fn a_message_that_the_sink_does_not_take_is_found() {
    let mut lane = Lane::new(3, 10_000);
    for id in 1..=4 {
        take(&mut lane, &message(id, u8::try_from(id).unwrap()));
    }
    assert_eq!(sent(&mut lane).len(), 3);
    assert!(lane.acknowledged(1));
    lane.sink_lost(true);
    // It may have been any of those in flight.
    assert!(lane.refused().is_none());
    assert_eq!(sent(&mut lane).len(), 3);
    lane.sink_lost(true);
    for strikes in 1..=2 {
        assert_eq!(sent(&mut lane), [(2, 2, true)]);
        lane.sink_lost(true);
        let (publish, refusals) = lane.refused().unwrap();
        assert_eq!((publish.pkid, refusals), (2, strikes));
    }
    // The network is not the broker.
    assert_eq!(sent(&mut lane), [(2, 2, true)]);
    lane.sink_lost(false);
    assert_eq!(lane.refused().unwrap().1, 2);
    lane.drop_refused();
    assert!(lane.refused().is_none());
    assert_eq!(acknowledged_to_source(&mut lane), [1, 2]);
    // The next one may be as bad.
    assert_eq!(sent(&mut lane), [(3, 3, true)]);
    assert!(lane.acknowledged(3));
    assert_eq!(sent(&mut lane), [(4, 4, true)]);
    assert!(lane.acknowledged(4));
    assert_eq!((lane.len(), lane.in_flight, lane.delivered), (2, 0, 3));
}

#[test]
fn what_a_lost_source_sends_again_is_held_once() {
    let mut lane = Lane::new(10, 10_000);
    take(&mut lane, &message(1, 1));
    take(&mut lane, &message(2, 2));
    assert_eq!(sent(&mut lane).len(), 2);
    take(&mut lane, &message(3, 3));
    lane.source_lost();
    lane.acknowledged(1);
    lane.acknowledged(2);
    // Not over the new connection, where it may mean something else.
    assert!(acknowledged_to_source(&mut lane).is_empty());
    // The first acknowledgement had arrived: 1 does not come again.
    assert_eq!(take(&mut lane, &again(2, 2)), Taken::Again);
    assert_eq!(acknowledged_to_source(&mut lane), [2]);
    assert_eq!(take(&mut lane, &again(3, 3)), Taken::Again);
    // The same words from somebody else.
    assert_eq!(take(&mut lane, &message(2, 2)), Taken::Held);
    assert_eq!(sent(&mut lane), [(3, 3, false), (4, 2, false)]);
    assert!(lane.acknowledged(3) && lane.acknowledged(4));
    assert_eq!(acknowledged_to_source(&mut lane), [3, 2]);
    assert_eq!(lane.len(), 0);
}

#[test]
fn what_a_source_has_forgotten_is_delivered_all_the_same() {
    let mut lane = Lane::new(10, 10_000);
    take(&mut lane, &message(1, 1));
    lane.source_lost();
    // Another message has the identifier now.
    assert_eq!(take(&mut lane, &message(1, 5)), Taken::Held);
    assert_eq!(sent(&mut lane), [(1, 1, false), (2, 5, false)]);
    assert!(lane.acknowledged(1) && lane.acknowledged(2));
    assert_eq!(acknowledged_to_source(&mut lane), [1]);
    assert_eq!(lane.len(), 0);
}

#[test]
fn no_room_means_nothing_more_until_the_source_is_connected_to_anew() {
    let mut lane = Lane::new(10, 2 * ONE);
    let takes = |lane: &mut Lane, id| take(lane, &message(id, 0));
    assert_eq!(takes(&mut lane, 1), Taken::Held);
    assert_eq!(takes(&mut lane, 2), Taken::Held);
    assert_eq!(takes(&mut lane, 3), Taken::Refused);
    assert!(!lane.wants_refused());
    sent(&mut lane);
    lane.acknowledged(1);
    assert_eq!(acknowledged_to_source(&mut lane), [1]);
    // Its turn would be after 3.
    assert_eq!(takes(&mut lane, 4), Taken::Refused);
    assert!(lane.wants_refused());
    lane.source_lost();
    assert_eq!(take(&mut lane, &again(2, 0)), Taken::Again);
    assert_eq!(take(&mut lane, &again(3, 0)), Taken::Held);
}

#[test]
fn one_message_is_taken_however_long() {
    let mut lane = Lane::new(10, 0);
    assert_eq!(take(&mut lane, &message(1, 0)), Taken::Held);
    assert_eq!(take(&mut lane, &message(2, 0)), Taken::Refused);
}

#[test]
fn qos_0_is_sent_once_and_not_acknowledged() {
    let mut lane = Lane::new(1, 2 * ONE);
    let mut publish = message(0, 5);
    publish.qos = QoS::AtMostOnce;
    take(&mut lane, &publish);
    take(&mut lane, &message(1, 6));
    assert_eq!(take(&mut lane, &publish), Taken::Refused);
    assert!(!lane.refusing);
    assert_eq!(sent(&mut lane), [(0, 5, false), (1, 6, false)]);
    lane.sink_lost(false);
    assert_eq!(sent(&mut lane), [(1, 6, true)]);
    assert!(lane.acknowledged(1));
    assert_eq!(acknowledged_to_source(&mut lane), [1]);
}

#[test]
fn identifiers_in_flight_are_not_given_again() {
    let mut lane = Lane::new(10, 10_000);
    take(&mut lane, &message(1, 0));
    sent(&mut lane);
    lane.last_id = MAX_ID;
    take(&mut lane, &message(2, 0));
    assert_eq!(sent(&mut lane), [(2, 0, false)]);
}

/// A sink that acknowledges all but the first: that one keeps all that follow in memory.
#[test]
fn identifiers_do_not_run_out_while_the_first_is_not_acknowledged() {
    let mut lane = Lane::new(2, usize::MAX);
    take(&mut lane, &message(1, 0));
    assert_eq!(sent(&mut lane), [(1, 0, false)]);
    for _ in 0..70_000 {
        take(&mut lane, &message(2, 0));
        let [(id, ..)] = sent(&mut lane)[..] else {
            panic!("one at a time");
        };
        assert_ne!(id, 1);
        assert!(lane.acknowledged(id));
    }
    assert_eq!((lane.len(), lane.in_flight), (70_001, 1));
}
