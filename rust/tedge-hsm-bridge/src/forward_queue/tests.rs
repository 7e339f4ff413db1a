//! The queue alone: what is held, sent, acknowledged and given up.

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

fn take(queue: &mut ForwardQueue, publish: &Publish) -> Taken {
    queue.take(publish, "t".to_owned(), false)
}

/// What is sent now: identifier, payload, DUP.
fn sent(queue: &mut ForwardQueue) -> Vec<(u16, u8, bool)> {
    let mut sent = Vec::new();
    while let Some(publish) = queue.next_to_send() {
        sent.push((publish.pkid, publish.payload[0], publish.dup));
    }
    sent
}

fn acknowledged_to_source(queue: &mut ForwardQueue) -> Vec<u16> {
    let acknowledged = std::iter::from_fn(|| queue.next_to_acknowledge());
    acknowledged.map(|(id, _)| id).collect()
}

#[test]
fn the_source_is_acknowledged_after_the_sink_and_in_order() {
    let mut queue = ForwardQueue::new(10, 10_000);
    for id in [7, 8, 9] {
        assert_eq!(take(&mut queue, &message(id, 0)), Taken::Held);
    }
    assert!(acknowledged_to_source(&mut queue).is_empty());
    assert_eq!(sent(&mut queue).len(), 3);
    assert!(acknowledged_to_source(&mut queue).is_empty());
    assert!(queue.acknowledged(2));
    assert!(!queue.acknowledged(2));
    assert!(acknowledged_to_source(&mut queue).is_empty());
    assert!(queue.acknowledged(1));
    assert_eq!(acknowledged_to_source(&mut queue), [7, 8]);
    assert!(queue.acknowledged(3));
    assert_eq!(acknowledged_to_source(&mut queue), [9]);
    assert_eq!((queue.len(), queue.bytes, queue.in_flight), (0, 0, 0));
}

#[test]
fn the_window_is_kept() {
    let mut queue = ForwardQueue::new(2, 10_000);
    for id in 1..=5 {
        take(&mut queue, &message(id, 0));
    }
    assert_eq!(sent(&mut queue).len(), 2);
    assert!(queue.acknowledged(1));
    assert_eq!(sent(&mut queue).len(), 1);
}

#[test]
fn a_lost_sink_gets_the_same_again_in_order() {
    // As if something else had been acknowledged: it is not looked for a message that is not taken.
    let lose = |queue: &mut ForwardQueue| {
        queue.sink_lost(false);
        queue.probing = false;
    };
    let mut queue = ForwardQueue::new(3, 10_000);
    for id in 1..=4 {
        take(&mut queue, &message(id, u8::try_from(id).unwrap()));
    }
    assert_eq!(
        sent(&mut queue),
        [(1, 1, false), (2, 2, false), (3, 3, false)]
    );
    queue.acknowledged(2);
    for _ in 0..3 {
        lose(&mut queue);
        // What was sent before comes first, what was not comes last.
        assert_eq!(
            sent(&mut queue),
            [(1, 1, true), (3, 3, true), (4, 4, false)]
        );
        assert!(!queue.acknowledged(2));
        lose(&mut queue);
        queue.held[3].publish.dup = false;
        queue.held[3].publish.pkid = 0;
        queue.ids.remove(&4);
        queue.last_id = 3;
    }
    // Lost again in the middle of it: the rest must not come before.
    queue.window = 1;
    assert_eq!(sent(&mut queue), [(1, 1, true)]);
    lose(&mut queue);
    queue.window = 3;
    assert_eq!(
        sent(&mut queue),
        [(1, 1, true), (3, 3, true), (4, 4, false)]
    );
}

/// A sink that refuses a message, which it can only by closing the connection.
#[test]
fn a_message_that_the_sink_does_not_take_is_found() {
    let mut queue = ForwardQueue::new(3, 10_000);
    for id in 1..=4 {
        take(&mut queue, &message(id, u8::try_from(id).unwrap()));
    }
    assert_eq!(sent(&mut queue).len(), 3);
    assert!(queue.acknowledged(1));
    queue.sink_lost(true);
    // It may have been any of those in flight.
    assert!(queue.refused().is_none());
    assert_eq!(sent(&mut queue).len(), 3);
    queue.sink_lost(true);
    for strikes in 1..=2 {
        assert_eq!(sent(&mut queue), [(2, 2, true)]);
        queue.sink_lost(true);
        let (publish, refusals, reason) = queue.refused().unwrap();
        assert_eq!(reason, Refusal::Closed);
        assert_eq!((publish.pkid, refusals), (2, strikes));
    }
    // The network is not the broker.
    assert_eq!(sent(&mut queue), [(2, 2, true)]);
    queue.sink_lost(false);
    assert_eq!(queue.refused().unwrap().1, 2);
    queue.drop_refused();
    assert!(queue.refused().is_none());
    assert_eq!(acknowledged_to_source(&mut queue), [1, 2]);
    // The next one may be as bad.
    assert_eq!(sent(&mut queue), [(3, 3, true)]);
    assert!(queue.acknowledged(3));
    assert_eq!(sent(&mut queue), [(4, 4, true)]);
    assert!(queue.acknowledged(4));
    assert_eq!((queue.len(), queue.in_flight, queue.delivered), (2, 0, 3));
}

#[test]
fn what_a_lost_source_sends_again_is_held_once() {
    let mut queue = ForwardQueue::new(10, 10_000);
    take(&mut queue, &message(1, 1));
    take(&mut queue, &message(2, 2));
    assert_eq!(sent(&mut queue).len(), 2);
    take(&mut queue, &message(3, 3));
    queue.source_lost();
    queue.acknowledged(1);
    queue.acknowledged(2);
    // Not over the new connection, where it may mean something else.
    assert!(acknowledged_to_source(&mut queue).is_empty());
    // The first acknowledgement had arrived: 1 does not come again.
    assert_eq!(take(&mut queue, &again(2, 2)), Taken::Again);
    assert_eq!(acknowledged_to_source(&mut queue), [2]);
    assert_eq!(take(&mut queue, &again(3, 3)), Taken::Again);
    // The same words from somebody else.
    assert_eq!(take(&mut queue, &message(2, 2)), Taken::Held);
    assert_eq!(sent(&mut queue), [(3, 3, false), (4, 2, false)]);
    assert!(queue.acknowledged(3) && queue.acknowledged(4));
    assert_eq!(acknowledged_to_source(&mut queue), [3, 2]);
    assert_eq!(queue.len(), 0);
}

#[test]
fn what_a_source_has_forgotten_is_delivered_all_the_same() {
    let mut queue = ForwardQueue::new(10, 10_000);
    take(&mut queue, &message(1, 1));
    queue.source_lost();
    // Another message has the identifier now.
    assert_eq!(take(&mut queue, &message(1, 5)), Taken::Held);
    assert_eq!(sent(&mut queue), [(1, 1, false), (2, 5, false)]);
    assert!(queue.acknowledged(1) && queue.acknowledged(2));
    assert_eq!(acknowledged_to_source(&mut queue), [1]);
    assert_eq!(queue.len(), 0);
}

#[test]
fn no_room_means_nothing_more_until_the_source_is_connected_to_anew() {
    let mut queue = ForwardQueue::new(10, 2 * ONE);
    let takes = |queue: &mut ForwardQueue, id| take(queue, &message(id, 0));
    assert_eq!(takes(&mut queue, 1), Taken::Held);
    assert_eq!(takes(&mut queue, 2), Taken::Held);
    assert_eq!(takes(&mut queue, 3), Taken::Refused);
    assert!(!queue.wants_refused());
    sent(&mut queue);
    queue.acknowledged(1);
    assert_eq!(acknowledged_to_source(&mut queue), [1]);
    // Its turn would be after 3.
    assert_eq!(takes(&mut queue, 4), Taken::Refused);
    assert!(queue.wants_refused());
    queue.source_lost();
    assert_eq!(take(&mut queue, &again(2, 0)), Taken::Again);
    assert_eq!(take(&mut queue, &again(3, 0)), Taken::Held);
}

#[test]
fn one_message_is_taken_however_long() {
    let mut queue = ForwardQueue::new(10, 0);
    assert_eq!(take(&mut queue, &message(1, 0)), Taken::Held);
    assert_eq!(take(&mut queue, &message(2, 0)), Taken::Refused);
}

#[test]
fn qos_0_is_sent_once_and_not_acknowledged() {
    let mut queue = ForwardQueue::new(1, 2 * ONE);
    let mut publish = message(0, 5);
    publish.qos = QoS::AtMostOnce;
    take(&mut queue, &publish);
    take(&mut queue, &message(1, 6));
    assert_eq!(take(&mut queue, &publish), Taken::Refused);
    assert_eq!(queue.intake, Intake::Open);
    assert_eq!(sent(&mut queue), [(0, 5, false), (1, 6, false)]);
    queue.sink_lost(false);
    assert_eq!(sent(&mut queue), [(1, 6, true)]);
    assert!(queue.acknowledged(1));
    assert_eq!(acknowledged_to_source(&mut queue), [1]);
}

#[test]
fn identifiers_in_flight_are_not_given_again() {
    let mut queue = ForwardQueue::new(10, 10_000);
    take(&mut queue, &message(1, 0));
    sent(&mut queue);
    queue.last_id = MAX_ID;
    take(&mut queue, &message(2, 0));
    assert_eq!(sent(&mut queue), [(2, 0, false)]);
}

/// A sink that acknowledges all but the first: that one keeps all that follow in memory.
#[test]
fn identifiers_do_not_run_out_while_the_first_is_not_acknowledged() {
    let mut queue = ForwardQueue::new(2, usize::MAX);
    take(&mut queue, &message(1, 0));
    assert_eq!(sent(&mut queue), [(1, 0, false)]);
    for _ in 0..70_000 {
        take(&mut queue, &message(2, 0));
        let [(id, ..)] = sent(&mut queue)[..] else {
            panic!("one at a time");
        };
        assert_ne!(id, 1);
        assert!(queue.acknowledged(id));
    }
    assert_eq!((queue.len(), queue.in_flight), (70_001, 1));
}

/// A sink that never acknowledges one message, but those behind it.
#[test]
fn a_message_that_is_never_acknowledged_is_found() {
    let mut queue = ForwardQueue::new(8, 10_000);
    for id in 1..=3 {
        take(&mut queue, &message(id, u8::try_from(id).unwrap()));
    }
    assert!(queue.oldest().is_none());
    for times in 1..=2 {
        assert!(!sent(&mut queue).is_empty());
        queue.acknowledged(2);
        queue.acknowledged(3);
        assert_eq!(queue.oldest().unwrap().0, 0);
        queue.overdue();
        queue.sink_lost(false);
        let (publish, seen, reason) = queue.refused().unwrap();
        assert_eq!((publish.pkid, seen, reason), (1, times, Refusal::Silent));
    }
    // It could have been lost: the message is sent again, and taken.
    assert_eq!(sent(&mut queue), [(1, 1, true)]);
    assert!(queue.acknowledged(1));
    assert!(queue.refused().is_none());
    assert_eq!(acknowledged_to_source(&mut queue), [1, 2, 3]);
}

#[test]
fn a_sink_that_takes_fewer_at_a_time_is_sent_fewer() {
    let mut queue = ForwardQueue::new(8, usize::MAX);
    for _ in 0..8 {
        take(&mut queue, &message(1, 0));
    }
    assert_eq!(sent(&mut queue).len(), 8);
    assert!((1..=3).all(|id| queue.acknowledged(id)));
    queue.overdue();
    queue.sink_lost(false);
    assert_eq!(sent(&mut queue).len(), 4);
    // All goes well for a long time.
    while queue.window < 8 {
        take(&mut queue, &message(1, 0));
        let id = queue.oldest().unwrap().1.pkid;
        assert!(queue.acknowledged(id));
        sent(&mut queue);
    }
    assert!(queue.delivered >= u64::from(UNTIL_LARGER));
}

/// The session was begun by a program that asked for QoS 2.
#[test]
fn qos_2_is_forwarded_at_least_once() {
    let mut queue = ForwardQueue::new(8, 10_000);
    let mut publish = message(7, 1);
    publish.qos = QoS::ExactlyOnce;
    take(&mut queue, &publish);
    assert_eq!(sent(&mut queue), [(1, 1, false)]);
    assert!(queue.acknowledged(1));
    assert_eq!(queue.next_to_acknowledge(), Some((7, QoS::ExactlyOnce)));
}

#[test]
fn a_closed_queue_does_not_ask_for_a_new_connection() {
    let mut queue = ForwardQueue::new(8, 10_000);
    queue.refuse();
    assert_eq!(take(&mut queue, &message(1, 0)), Taken::Refused);
    assert!(!queue.wants_refused());
    queue.source_lost();
    assert_eq!(take(&mut queue, &message(1, 0)), Taken::Held);
}
