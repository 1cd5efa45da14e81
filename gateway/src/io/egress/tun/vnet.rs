//! `struct virtio_net_hdr`: the offload header of the wire, in this machine's order of octets.

use webtun_wire::{OFFLOAD_HEADER_LEN, OffloadError, OffloadHeader};

/// Where the fields of 16 bits begin.
const FIELDS: usize = 2;

/// The header for the kernel.
pub(super) fn encode(header: &OffloadHeader) -> [u8; OFFLOAD_HEADER_LEN] {
    let mut octets = header.encode();
    swap(&mut octets);
    octets
}

/// The header that the kernel has put before a packet; in `octets` it stays in network order.
pub(super) fn decode(octets: &mut [u8]) -> Result<OffloadHeader, OffloadError> {
    swap(octets.get_mut(..OFFLOAD_HEADER_LEN).ok_or(OffloadError::Short)?);
    OffloadHeader::decode(octets)
}

fn swap(header: &mut [u8]) {
    for field in header[FIELDS..].chunks_exact_mut(2) {
        let value = u16::from_be_bytes([field[0], field[1]]);
        field.copy_from_slice(&value.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use webtun_wire::{OffloadChecksum, Segmentation, SegmentationKind};

    #[test]
    fn the_kernels_order_is_the_machines() {
        let segmentation =
            Segmentation { kind: SegmentationKind::TcpV6, ecn: true, header_len: 0x48, segment_size: 1440 };
        let header = OffloadHeader {
            checksum: OffloadChecksum::Partial { start: 40, offset: 16 },
            segmentation: Some(segmentation),
        };
        let octets = encode(&header);
        assert_eq!(octets[..2], [1, 0x84]);
        assert_eq!(octets[4..6], 1440u16.to_ne_bytes());
        assert_eq!(decode(&mut [&octets[..], &[0; 20]].concat()), Ok(header));
        assert_eq!(decode(&mut octets[..9].to_vec()), Err(OffloadError::Short));
    }
}
