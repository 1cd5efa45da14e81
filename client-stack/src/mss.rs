//! The MSS option of a SYN (RFC 9293 section 3.7.1).
//!
//! smoltcp 0.14 knows one MTU for what it announces, for what it takes as a segment and for what it hands to the device,
//! and loses IPv6 packets above it. It is told of the largest MTU there is, and the MSS, in both directions, says the
//! true one.

const SYN: u8 = 0x02;
const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;
const MSS: u8 = 2;

/// True for a TCP segment with SYN.
pub(crate) fn is_syn(segment: &[u8]) -> bool {
    segment.get(13).is_some_and(|flags| flags & SYN > 0)
}

/// Lowers the MSS in the TCP header of a SYN to `limit` and says what then stands there; `None` where it has none. The
/// checksum is left as it is.
pub(crate) fn clamp(segment: &mut [u8], limit: u16) -> Option<u16> {
    let header_len = usize::from(segment.get(12)? >> 4) * 4;
    let mut options = segment.get_mut(20..header_len)?;
    loop {
        match *options.first()? {
            END_OF_OPTIONS => return None,
            NO_OPERATION => options = &mut options[1..],
            kind => {
                let len = usize::from(*options.get(1)?);
                let (option, rest) = options.split_at_mut_checked(len.max(2))?;
                if let (MSS, [_, 4, value @ ..]) = (kind, option) {
                    let value = value.first_chunk_mut()?;
                    let mss = u16::from_be_bytes(*value).min(limit);
                    *value = mss.to_be_bytes();
                    return Some(mss);
                }
                options = rest;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(options: &[u8]) -> Vec<u8> {
        let mut segment = vec![0; 20];
        segment[12] = ((20 + options.len()) / 4 * 16) as u8;
        segment.extend_from_slice(options);
        segment
    }

    #[test]
    fn the_option_is_found_behind_others_and_lowered() {
        for (before, at) in [(&[][..], 22), (&[1, 1, 3, 3, 7, 1, 4, 2], 30)] {
            let mut syn = segment(&[before, &[2, 4, 0x23, 0x28]].concat());
            assert_eq!(clamp(&mut syn, 9000), Some(9000));
            assert_eq!(clamp(&mut syn, 1460), Some(1460));
            assert_eq!(clamp(&mut syn, 9000), Some(1460));
            assert_eq!(syn[at..at + 2], 1460_u16.to_be_bytes());
        }
    }

    #[test]
    fn malformed_options_have_none() {
        for options in [
            &[][..],
            &[0, 2, 4, 9],
            &[2, 3, 9, 9],
            &[2, 4],
            &[3, 0, 3, 0],
            &[3, 200, 2, 4],
            &[1, 1, 1, 1],
            &[1, 1, 1, 2],
        ] {
            let mut syn = segment(options);
            let before = syn.clone();
            assert_eq!(clamp(&mut syn, 1), None, "{options:?}");
            assert_eq!(syn, before);
        }
        for len in 0..20 {
            assert_eq!(clamp(&mut vec![0xff; len], 1), None);
        }
        assert_eq!(clamp(&mut [0xff; 30], 1), None, "a header that is not there");
    }
}
