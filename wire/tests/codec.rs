//! Properties of the codec and of [`BatchWriter`].

mod support;

use proptest::prelude::*;
use webtun_wire::{BatchWriter, Capsule, DecodeError, MAX_MESSAGE_LEN, capsules, next_capsule, split_capsules};

/// Type and length in two octets each, so that arbitrary values reach the decoder of every type.
fn framed(kind: u64, value: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    Capsule::Unknown { kind, value }.encode(&mut message);
    message
}

/// All types that have a decoder of their own.
fn known_kind() -> impl Strategy<Value = u64> {
    support::capsule().prop_map(|capsule| capsule.kind())
}

proptest! {
    #[test]
    fn capsules_survive_the_round_trip(sent in prop::collection::vec(support::capsule(), 0..8)) {
        let mut message = Vec::new();
        for capsule in &sent {
            let before = message.len();
            capsule.encode(&mut message);
            prop_assert_eq!(message.len() - before, capsule.encoded_len());
        }
        let received: Result<Vec<_>, _> = capsules(&message).collect();
        prop_assert_eq!(received, Ok(sent));
    }

    #[test]
    fn arbitrary_messages_are_decoded_or_refused(message in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = capsules(&message).count();
    }

    #[test]
    fn arbitrary_values_are_decoded_or_refused(kind in known_kind(), value in prop::collection::vec(any::<u8>(), 0..80)) {
        let message = framed(kind, &value);
        for capsule in capsules(&message).flatten() {
            // What was understood can be said again and is understood in the same way.
            let mut again = Vec::new();
            capsule.encode(&mut again);
            prop_assert_eq!(capsules(&again).next(), Some(Ok(capsule)));
        }
    }

    #[test]
    fn damaged_capsules_are_decoded_or_refused(
        capsule in support::capsule(),
        cut in any::<prop::sample::Index>(),
        damage in any::<(prop::sample::Index, u8)>(),
    ) {
        let mut message = Vec::new();
        capsule.encode(&mut message);
        let shorter = &message[..cut.index(message.len())];
        prop_assert!(shorter.is_empty() || capsules(shorter).any(|item| item == Err(DecodeError::Truncated)));
        let at = damage.0.index(message.len());
        message[at] ^= damage.1;
        let _ = capsules(&message).count();
    }

    #[test]
    fn raw_ranges_agree_with_the_decoder(sent in prop::collection::vec(support::capsule(), 0..8)) {
        let mut message = Vec::new();
        sent.iter().for_each(|capsule| capsule.encode(&mut message));
        let mut offset = 0;
        let mut iterator = split_capsules(&message);
        for capsule in &sent {
            let raw = next_capsule(&message, offset).unwrap().unwrap();
            prop_assert_eq!(raw.decode(&message), Ok(capsule.clone()));
            let datagram = raw.datagram(&message).unwrap().map(|(context, range)| (context, &message[range]));
            match capsule {
                Capsule::Datagram { context, payload } => prop_assert_eq!(datagram, Some((*context, *payload))),
                _ => prop_assert_eq!(datagram, None),
            }
            offset = raw.value.end;
            prop_assert_eq!(iterator.next(), Some(Ok(raw)));
        }
        prop_assert_eq!(next_capsule(&message, offset), Ok(None));
        prop_assert_eq!(iterator.next(), None);
    }

    #[test]
    fn batches_hold_what_fitted_and_keep_the_limit(
        limit in 0..2_000usize,
        sequence in prop::option::of(0..100_000u64),
        pushed in prop::collection::vec(support::capsule(), 0..12),
    ) {
        let mut writer = match sequence {
            Some(number) => BatchWriter::with_sequence(limit, number),
            None => BatchWriter::new(limit),
        };
        let mut kept: Vec<_> = sequence.map(|number| Capsule::Sequence { number }).into_iter().collect();
        let bare = writer.len();
        for capsule in pushed {
            let (len, room) = (writer.len(), writer.packet_room());
            let fits = match &capsule {
                Capsule::Datagram { context, payload } => {
                    prop_assert_eq!(payload.len() <= room, BatchWriter::new(limit - len.min(limit)).push_packet(0, payload)
                        || (payload.is_empty() && room == 0));
                    writer.push_packet(*context, payload)
                }
                other => writer.push(other),
            };
            prop_assert_eq!(fits, len + capsule.encoded_len() <= limit);
            prop_assert_eq!(writer.len(), if fits { len + capsule.encoded_len() } else { len });
            if fits {
                kept.push(capsule);
            }
        }
        let content = kept.iter().any(|capsule| !matches!(capsule, Capsule::Sequence { .. } | Capsule::Ack { .. }));
        prop_assert_eq!(writer.is_empty(), !content);
        let message = writer.finish();
        prop_assert!(message.len() <= limit.max(bare));
        prop_assert_eq!(capsules(&message).collect::<Result<Vec<_>, _>>(), Ok(kept));
    }
}

#[test]
fn packet_room_is_exact_around_the_edges_of_the_length() {
    for limit in (0..200).chain(16_370..16_420) {
        let room = BatchWriter::new(limit).packet_room();
        assert!(room == 0 || BatchWriter::new(limit).push_packet(0, &vec![0; room]), "{limit}");
        assert!(!BatchWriter::new(limit).push_packet(0, &vec![0; room + 1]), "{limit}");
    }
}

#[test]
fn messages_are_bounded() {
    let mut writer = BatchWriter::new(usize::MAX);
    let room = writer.packet_room();
    assert!(writer.push_packet(0, &vec![0; room]));
    assert!(!writer.push_packet(0, &[]));
    let mut message = writer.finish();
    assert_eq!(message.len(), MAX_MESSAGE_LEN);
    assert!(capsules(&message).all(|item| item.is_ok()));
    message.push(0);
    assert_eq!(capsules(&message).collect::<Vec<_>>(), [Err(DecodeError::MessageTooLong)]);
}
