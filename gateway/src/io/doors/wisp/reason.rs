//! What a CLOSE says of why (Wisp v2, "Close Reasons").

use webtun_stack::{CloseReason, ConnectError, ResolveError, UdpError};

pub(super) const UNKNOWN: u8 = 0x01;
pub(super) const VOLUNTARY: u8 = 0x02;
pub(super) const NETWORK: u8 = 0x03;
pub(super) const INCOMPATIBLE: u8 = 0x04;
pub(super) const INVALID: u8 = 0x41;
pub(super) const UNREACHABLE: u8 = 0x42;
pub(super) const NO_ANSWER: u8 = 0x43;
pub(super) const REFUSED: u8 = 0x44;
pub(super) const TIMED_OUT: u8 = 0x47;
pub(super) const BLOCKED: u8 = 0x48;
pub(super) const THROTTLED: u8 = 0x49;
pub(super) const WRONG_PASSWORD: u8 = 0xc0;
pub(super) const WRONG_SIGNATURE: u8 = 0xc1;
pub(super) const CREDENTIALS_NEEDED: u8 = 0xc2;

/// For a connection that has not come about.
pub(super) fn of_connect(error: ConnectError) -> u8 {
    use ConnectError as Error;
    match error {
        Error::Refused => REFUSED,
        Error::HostUnreachable | Error::NetUnreachable | Error::AddressNotAvailable | Error::NameNotFound => {
            UNREACHABLE
        }
        Error::TimedOut => NO_ANSWER,
        // What is no destination at all is refused as one that is forbidden.
        Error::Denied | Error::Unaddressable => BLOCKED,
        Error::LimitReached | Error::NoPorts | Error::NoBuffers | Error::TooManySockets => THROTTLED,
        Error::Aborted | Error::AddressLost | Error::TunnelClosed | Error::AddressInUse => NETWORK,
    }
}

/// For a connection that has ended.
pub(super) fn of_close(reason: CloseReason) -> u8 {
    match reason {
        CloseReason::Graceful => VOLUNTARY,
        CloseReason::TimedOut => TIMED_OUT,
        CloseReason::Reset | CloseReason::Aborted | CloseReason::AddressLost | CloseReason::TunnelClosed => NETWORK,
    }
}

/// For a name without an address.
pub(super) fn of_name(error: ResolveError) -> u8 {
    match error {
        ResolveError::InvalidName => INVALID,
        _ => UNREACHABLE,
    }
}

/// For datagrams that get nowhere; `None` where the next one may, as on a network.
pub(super) fn of_datagram(error: UdpError) -> Option<u8> {
    match error {
        UdpError::Denied | UdpError::Unaddressable => Some(BLOCKED),
        UdpError::LimitReached => Some(THROTTLED),
        UdpError::AddressNotAvailable | UdpError::AddressLost => Some(UNREACHABLE),
        UdpError::TunnelClosed | UdpError::UnknownSocket => Some(NETWORK),
        _ => None,
    }
}
