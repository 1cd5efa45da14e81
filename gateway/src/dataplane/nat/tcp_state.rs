//! A TCP connection as a translator between its ends sees it.
//!
//! The states of RFC 6146 section 3.5.2, with "inside" for the session and "outside" for the remote host:
//!
//! | state | means | timer |
//! |---|---|---|
//! | `Opening(side)` | only `side` has spoken so far | opening |
//! | `Established` | both have | established |
//! | `HalfClosed(side)` | `side` has sent FIN | established |
//! | `Closed` | both have sent FIN | closing |
//! | `Reset` | a RST went by; any other segment brings the connection back (RFC 7857 section 2.2) | closing |
//!
//! A connection that is met in its middle (the gateway was restarted) begins in `Opening` too, and is established by
//! the other side's next segment.

use core::time::Duration;

use super::NatTimeouts;
use crate::dataplane::packet::tcp_flag::{FIN, RST, SYN};

/// Where a segment comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Inside,
    Outside,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TcpState {
    Opening(Origin),
    Established,
    HalfClosed(Origin),
    Closed,
    Reset,
}

impl TcpState {
    /// The state after the first segment that is seen.
    pub(super) fn first(from: Origin) -> Self {
        Self::Opening(from)
    }

    /// The state after a segment with these control bits.
    pub(super) fn after(self, from: Origin, flags: u8) -> Self {
        if flags & RST != 0 {
            return Self::Reset;
        }
        match self {
            // The ports are used again for a new connection.
            Self::Closed | Self::Reset if flags & SYN != 0 => Self::Opening(from),
            Self::Closed => Self::Closed,
            Self::Opening(first) if first == from => self,
            Self::Opening(_) | Self::Established | Self::Reset if flags & FIN != 0 => Self::HalfClosed(from),
            Self::Opening(_) | Self::Established | Self::Reset => Self::Established,
            Self::HalfClosed(closed) if closed != from && flags & FIN != 0 => Self::Closed,
            Self::HalfClosed(_) => self,
        }
    }

    /// Whether only a SYN, or, after a RST, proof of the opposite, leads on.
    pub(super) fn is_over(self) -> bool {
        matches!(self, Self::Closed | Self::Reset)
    }

    /// How long the state lasts without another segment.
    pub(super) fn timeout(self, timeouts: &NatTimeouts) -> Duration {
        match self {
            Self::Established | Self::HalfClosed(_) => timeouts.tcp_established,
            Self::Opening(_) => timeouts.tcp_opening,
            Self::Closed | Self::Reset => timeouts.tcp_closing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Origin::{Inside, Outside};
    use super::*;

    const ACK: u8 = 0x10;

    fn run(segments: &[(Origin, u8)]) -> TcpState {
        let (first, rest) = segments.split_first().expect("a segment");
        rest.iter().fold(TcpState::first(first.0), |state, (from, flags)| state.after(*from, *flags))
    }

    #[test]
    fn both_directions_establish() {
        assert_eq!(run(&[(Inside, SYN)]), TcpState::Opening(Inside));
        assert_eq!(run(&[(Inside, SYN), (Inside, SYN)]), TcpState::Opening(Inside));
        assert_eq!(run(&[(Inside, SYN), (Outside, SYN | ACK)]), TcpState::Established);
        assert_eq!(run(&[(Outside, SYN), (Inside, SYN | ACK), (Outside, ACK)]), TcpState::Established);
    }

    #[test]
    fn simultaneous_open_establishes() {
        assert_eq!(run(&[(Inside, SYN), (Outside, SYN)]), TcpState::Established);
    }

    #[test]
    fn one_fin_keeps_the_connection_two_close_it() {
        let half = [(Inside, SYN), (Outside, SYN | ACK), (Inside, FIN | ACK), (Inside, FIN | ACK)];
        assert_eq!(run(&half), TcpState::HalfClosed(Inside));
        let mut both = half.to_vec();
        both.push((Outside, FIN | ACK));
        assert_eq!(run(&both), TcpState::Closed);
        both.push((Inside, ACK));
        assert_eq!(run(&both), TcpState::Closed);
        both.push((Inside, SYN));
        assert_eq!(run(&both), TcpState::Opening(Inside));
    }

    #[test]
    fn each_state_has_its_timer() {
        let seconds = Duration::from_secs;
        let timeouts = NatTimeouts {
            tcp_opening: seconds(1),
            tcp_established: seconds(2),
            tcp_closing: seconds(3),
            ..NatTimeouts::default()
        };
        for (state, expected) in [
            (TcpState::Opening(Inside), 1),
            (TcpState::Established, 2),
            (TcpState::HalfClosed(Outside), 2),
            (TcpState::Closed, 3),
            (TcpState::Reset, 3),
        ] {
            assert_eq!(state.timeout(&timeouts), seconds(expected), "{state:?}");
        }
    }

    #[test]
    fn a_reset_is_survived_by_data() {
        let reset = [(Inside, SYN), (Outside, SYN | ACK), (Outside, RST)];
        assert_eq!(run(&reset), TcpState::Reset);
        let mut alive = reset.to_vec();
        alive.push((Outside, ACK));
        assert_eq!(run(&alive), TcpState::Established);
    }
}
