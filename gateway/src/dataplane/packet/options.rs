//! Options of IPv4 (RFC 791 section 3.1) and of IPv6's extension headers (RFC 8200 section 4.2).

use crate::dataplane::DropReason;

const LOOSE_SOURCE_ROUTE: u8 = 131;
const STRICT_SOURCE_ROUTE: u8 = 137;
/// RFC 2675: packets beyond 65,535 octets, which no path here carries.
const JUMBO_PAYLOAD: u8 = 0xC2;
/// RFC 6275 section 6.3: a source other than the one that antispoofing has looked at.
const HOME_ADDRESS: u8 = 0xC9;

/// Options end with the header or with a zero. What is well-formed and no source route passes (RFC 7126 leaves that to
/// the operator's network).
pub(super) fn check_ipv4(mut options: &[u8]) -> Result<(), DropReason> {
    while let Some((&kind, rest)) = options.split_first() {
        options = match (kind, rest.first()) {
            (0, _) => return Ok(()),
            (1, _) => rest,
            (LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE, _) => return Err(DropReason::SourceRoute),
            (_, Some(&len)) if len >= 2 => options.get(usize::from(len)..).ok_or(DropReason::Options)?,
            _ => return Err(DropReason::Options),
        };
    }
    Ok(())
}

/// The options of one hop-by-hop or destination options header, behind its length field.
pub(super) fn check_ipv6(mut options: &[u8]) -> Result<(), DropReason> {
    while let Some((&kind, rest)) = options.split_first() {
        options = match (kind, rest.first()) {
            (0, _) => rest,
            (JUMBO_PAYLOAD | HOME_ADDRESS, _) | (_, None) => return Err(DropReason::Options),
            (_, Some(&len)) => rest.get(1 + usize::from(len)..).ok_or(DropReason::Options)?,
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_options_must_fit() {
        for (options, verdict) in [
            (&[][..], Ok(())),
            (&[1, 1, 0, 99], Ok(())),
            (&[148, 4, 0, 0], Ok(())),
            (&[7, 3, 4, 137], Err(DropReason::SourceRoute)),
            (&[131, 3, 4, 0], Err(DropReason::SourceRoute)),
            (&[7], Err(DropReason::Options)),
            (&[7, 0, 0, 0], Err(DropReason::Options)),
            (&[7, 5, 4, 0], Err(DropReason::Options)),
        ] {
            assert_eq!(check_ipv4(options), verdict, "{options:?}");
        }
    }

    #[test]
    fn ipv6_options_must_fit() {
        for (options, verdict) in [
            (&[1, 4, 0, 0, 0, 0][..], Ok(())),
            (&[0, 0, 5, 2, 0, 0], Ok(())),
            (&[1, 5, 0, 0, 0, 0], Err(DropReason::Options)),
            (&[0, 0, 0, 0, 0, 1], Err(DropReason::Options)),
            (&[0xC2, 4, 0, 1, 0, 0], Err(DropReason::Options)),
            (&[0xC9, 16, 0, 0, 0, 0], Err(DropReason::Options)),
        ] {
            assert_eq!(check_ipv6(options), verdict, "{options:?}");
        }
    }
}
