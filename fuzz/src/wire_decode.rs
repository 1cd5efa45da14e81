use webtun_wire::{
    Capsule, DecodeError, MAX_MESSAGE_LEN, OFFLOAD_HEADER_LEN, OffloadHeader, RawCapsule, capsules, next_capsule,
};

/// Any octets are a message or an error; what is understood survives being said again.
pub fn wire_decode(data: &[u8]) {
    let mut offset = 0;
    let mut items = capsules(data);
    while let Some(raw) = next_capsule(data, offset).transpose() {
        let item = items.next().expect("the iterator sees what the walk sees");
        match raw.and_then(|raw| check(data, offset, &raw).map(|capsule| (raw, capsule))) {
            Ok((raw, capsule)) => {
                assert_eq!(item, Ok(capsule));
                offset = raw.value.end;
            }
            Err(error) => {
                assert_eq!(item, Err(error));
                break;
            }
        }
    }
    assert_eq!(items.next(), None);
}

fn check<'a>(data: &'a [u8], offset: usize, raw: &RawCapsule) -> Result<Capsule<'a>, DecodeError> {
    assert!(offset < raw.value.start && raw.value.end <= data.len());
    let datagram = raw.datagram(data);
    let capsule = raw.decode(data);
    match (&capsule, datagram) {
        (Ok(Capsule::Datagram { context, payload }), Ok(Some((found, range)))) => {
            assert_eq!((*context, *payload), (found, &data[range]));
            if let Ok(header) = OffloadHeader::decode(payload) {
                assert_eq!(header.encode()[..], payload[..OFFLOAD_HEADER_LEN]);
            }
        }
        (Ok(Capsule::Datagram { .. }), other) => panic!("a datagram is {other:?}"),
        (Err(error), Err(other)) => assert_eq!(*error, other),
        (_, other) => assert_eq!(other, Ok(None)),
    }
    let capsule = capsule?;
    let mut again = Vec::new();
    capsule.encode(&mut again);
    assert_eq!(again.len(), capsule.encoded_len());
    // DNS_ASSIGN comes back longer where one nameserver had many addresses.
    if again.len() <= MAX_MESSAGE_LEN {
        let mut items = capsules(&again);
        assert_eq!(items.next(), Some(Ok(capsule.clone())));
        assert_eq!(items.next(), None);
    }
    Ok(capsule)
}

#[cfg(test)]
mod tests {
    #[test]
    fn corpus() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/wire_decode");
        for entry in std::fs::read_dir(folder).expect("the corpus") {
            super::wire_decode(&std::fs::read(entry.expect("an entry").path()).expect("readable"));
        }
    }
}
