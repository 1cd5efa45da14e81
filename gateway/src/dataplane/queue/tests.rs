use super::*;

const NOW: Instant = Instant::ZERO;

/// UDP from a port, of so many octets.
fn packet(port: u8, len: usize) -> BytesMut {
    let mut octets = BytesMut::zeroed(len);
    octets[0] = 0x45;
    octets[9] = 17;
    octets[21] = port;
    octets
}

#[test]
fn the_newest_is_dropped_at_the_bound() {
    let mut queue = Queue::new(300, 1);
    assert_eq!(queue.push(packet(1, 100), OffloadHeader::default(), NOW), Ok(0));
    assert_eq!(queue.push(packet(1, 101), OffloadHeader::default(), NOW), Err(DropReason::QueueFull));
    assert_eq!(queue.push(packet(1, 50), OffloadHeader::default(), NOW), Ok(0));
    assert_eq!(queue.pop().map(|it| it.packet.len()), Some(100));
    assert_eq!(queue.front().map(|(_, it)| it.packet.len()), Some(50));
    assert_eq!(queue.pop().map(|it| it.packet.len()), Some(50));
    assert_eq!((queue.pop(), queue.octets()), (None, 0));
}

#[test]
fn flows_take_turns_and_stay_in_order() {
    let mut queue = Queue::new(1 << 20, 1);
    for number in 0..100 {
        queue.push(packet(1, 1000 + number), OffloadHeader::default(), NOW).expect("room");
    }
    queue.push(packet(2, 60), OffloadHeader::default(), NOW).expect("room");
    let order: Vec<usize> = core::iter::from_fn(|| queue.pop()).map(|it| it.packet.len()).collect();
    let small = order.iter().position(|len| *len == 60).expect("it left");
    assert!(small <= 3, "the small flow waited for {small} packets of the large one");
    let large: Vec<usize> = order.into_iter().filter(|len| *len != 60).collect();
    assert_eq!(large, (1000..1100).collect::<Vec<_>>());
}

#[test]
fn what_begins_goes_before_what_goes_on_and_long_turns_keep_flows_together() {
    let mut queue = Queue::new(1 << 20, 1);
    queue.set_message_room(256 * 1024);
    for _ in 0..40 {
        queue.push(packet(1, 1000), OffloadHeader::default(), NOW).expect("room");
        queue.push(packet(2, 1000), OffloadHeader::default(), NOW).expect("room");
    }
    let flow = |queue: &mut Queue| queue.pop().expect("a packet").packet[21];
    let begun: Vec<u8> = (0..6).map(|_| flow(&mut queue)).collect();
    assert_eq!(begun, [1, 1, 1, 2, 2, 2], "their first turns are short");
    let turns: Vec<u8> = (0..20).map(|_| flow(&mut queue)).collect();
    assert_eq!(turns, [1; 20]);
    queue.push(packet(3, 60), OffloadHeader::default(), NOW).expect("room");
    assert_eq!(flow(&mut queue), 3);
    queue.push(packet(3, 60), OffloadHeader::default(), NOW).expect("room");
    assert_ne!(flow(&mut queue), 3, "it has begun just now");
    assert_eq!(core::iter::from_fn(|| queue.pop()).filter(|it| it.packet[21] == 3).count(), 1);
}

#[test]
fn the_flow_with_the_most_loses() {
    let mut queue = Queue::new(20_000, 1);
    while queue.push(packet(1, 1000), OffloadHeader::default(), NOW).is_ok() {}
    for _ in 0..5 {
        assert_eq!(queue.push(packet(2, 1000), OffloadHeader::default(), NOW), Ok(1));
    }
    assert!(queue.octets() <= 20_000);
    let small = core::iter::from_fn(|| queue.pop()).filter(|it| it.packet[21] == 2).count();
    assert_eq!((small, queue.octets()), (5, 0));
}

#[test]
fn flows_of_one_hash_share_no_losses() {
    let mut queue = Queue::new(20_000, 1);
    let lane = |port: u8| queue.hasher.hash_one(FlowKey(&packet(port, 100))) % PACKET_LANES as u64;
    let others: Vec<u8> = (2..=255).filter(|port| lane(*port) == lane(1)).collect();
    assert!(others.len() >= 2, "{others:?}");
    while queue.push(packet(1, 1000), OffloadHeader::default(), NOW).is_ok() {}
    for port in &others {
        assert!(queue.push(packet(*port, 1000), OffloadHeader::default(), NOW).is_ok());
    }
    let left = core::iter::from_fn(|| queue.pop()).filter(|it| it.packet[21] != 1).count();
    assert_eq!(left, others.len());
}

#[test]
fn no_packet_of_a_flow_overtakes_another_however_many_flows_there_are() {
    for flows in [3, 20, 60, 250] {
        let mut queue = Queue::new(200_000, flows);
        let (mut seed, mut last) = (flows, [0; 256]);
        for number in 1..20_000_u32 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let mut octets = packet((seed >> 33) as u8 % flows as u8, 100 + (seed >> 50) as usize % 1000);
            octets[28..32].copy_from_slice(&number.to_be_bytes());
            let _ = queue.push(octets, OffloadHeader::default(), NOW);
            // In spells, so that lanes become empty, and full.
            for _ in 0..(seed >> 41) % if number / 500 % 2 == 0 { 2 } else { 4 } {
                let Some(it) = queue.pop() else { break };
                let number = it.packet[28..32].try_into().map(u32::from_be_bytes).expect("four octets");
                let before = core::mem::replace(&mut last[usize::from(it.packet[21])], number);
                assert!(before < number, "of {flows} flows");
            }
        }
    }
}

#[test]
fn packets_larger_than_a_turn_leave_too() {
    let mut queue = Queue::new(1 << 20, 1);
    queue.push(packet(1, 65_535), OffloadHeader::default(), NOW).expect("room");
    queue.push(packet(2, 65_535), OffloadHeader::default(), NOW).expect("room");
    assert_eq!(core::iter::from_fn(|| queue.pop()).count(), 2);
}

#[test]
fn nothing_leaves_while_it_is_held() {
    let mut queue = Queue::new(1 << 20, 1);
    queue.push(packet(1, 100), OffloadHeader::default(), NOW).expect("room");
    queue.hold(Some(Instant::from_millis(5)));
    assert!(!queue.is_ready(Instant::from_millis(4)) && queue.is_ready(Instant::from_millis(5)));
    queue.hold(None);
    assert!(queue.is_ready(Instant::ZERO));
}
