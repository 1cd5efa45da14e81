//! Every failure as one number, so that it crosses into JavaScript as a plain integer.

use webtun_stack::{
    BindError, CloseReason, ConnectError, PingError, PortMapError, RecvError, ResolveError, SendError, UdpError,
};
use webtun_wire::{CloseCode, PortMapResult};

/// A failure, named after the errno (or EAI code) that a POSIX program would see.
///
/// The TypeScript side has the same table in `src/engine/codes.ts`; a test compares the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Code {
    /// No failure: the end was graceful.
    Ok = 0,
    Eacces = 16,
    Eaddrinuse = 17,
    Eaddrnotavail = 18,
    Eagain = 19,
    EaiAgain = 20,
    Econnaborted = 21,
    Econnrefused = 22,
    Econnreset = 23,
    Ehostunreach = 24,
    Einval = 25,
    Eio = 26,
    Emfile = 27,
    Emsgsize = 28,
    Enetdown = 29,
    Enetreset = 30,
    Enetunreach = 31,
    Enobufs = 32,
    Enotconn = 33,
    Enotfound = 34,
    Enotsup = 35,
    Epipe = 36,
    Eproto = 37,
    Etimedout = 38,
}

impl Code {
    /// As a result that shares its range with identifiers and lengths.
    #[cfg(feature = "stack")]
    pub fn negative(self) -> f64 {
        -f64::from(self as u8)
    }

    /// As a word of an event.
    pub fn word(self) -> u32 {
        self as u32
    }
}

impl From<ConnectError> for Code {
    fn from(error: ConnectError) -> Self {
        match error {
            ConnectError::Refused => Self::Econnrefused,
            ConnectError::HostUnreachable => Self::Ehostunreach,
            ConnectError::NameNotFound => Self::Enotfound,
            ConnectError::NetUnreachable => Self::Enetunreach,
            ConnectError::TimedOut => Self::Etimedout,
            ConnectError::Denied => Self::Eacces,
            ConnectError::LimitReached => Self::Eagain,
            ConnectError::Aborted => Self::Econnaborted,
            ConnectError::AddressLost => Self::Enetreset,
            ConnectError::TunnelClosed => Self::Enetdown,
            ConnectError::NoPorts | ConnectError::NoBuffers => Self::Enobufs,
            ConnectError::AddressInUse => Self::Eaddrinuse,
            ConnectError::AddressNotAvailable => Self::Eaddrnotavail,
            ConnectError::Unaddressable => Self::Einval,
            ConnectError::TooManySockets => Self::Emfile,
        }
    }
}

impl From<CloseReason> for Code {
    fn from(reason: CloseReason) -> Self {
        match reason {
            CloseReason::Graceful => Self::Ok,
            CloseReason::Reset => Self::Econnreset,
            CloseReason::TimedOut => Self::Etimedout,
            CloseReason::Aborted => Self::Econnaborted,
            CloseReason::AddressLost => Self::Enetreset,
            CloseReason::TunnelClosed => Self::Enetdown,
        }
    }
}

impl From<BindError> for Code {
    fn from(error: BindError) -> Self {
        match error {
            BindError::AddressInUse => Self::Eaddrinuse,
            BindError::AddressNotAvailable => Self::Eaddrnotavail,
            BindError::NoPorts => Self::Enobufs,
            BindError::TooManySockets => Self::Emfile,
        }
    }
}

impl From<SendError> for Code {
    fn from(error: SendError) -> Self {
        match error {
            SendError::UnknownSocket | SendError::NotConnected => Self::Enotconn,
            SendError::ShutDown | SendError::Closed(CloseReason::Graceful) => Self::Epipe,
            SendError::Closed(reason) => reason.into(),
            SendError::Failed(error) => error.into(),
        }
    }
}

impl From<RecvError> for Code {
    fn from(error: RecvError) -> Self {
        match error {
            RecvError::UnknownSocket | RecvError::NotConnected => Self::Enotconn,
            RecvError::Closed(reason) => reason.into(),
            RecvError::Failed(error) => error.into(),
        }
    }
}

impl From<UdpError> for Code {
    fn from(error: UdpError) -> Self {
        match error {
            UdpError::UnknownSocket | UdpError::NoDestination => Self::Enotconn,
            UdpError::Refused => Self::Econnrefused,
            UdpError::HostUnreachable => Self::Ehostunreach,
            UdpError::NetUnreachable => Self::Enetunreach,
            UdpError::Denied => Self::Eacces,
            UdpError::LimitReached => Self::Eagain,
            UdpError::TooLong => Self::Emsgsize,
            UdpError::AddressNotAvailable => Self::Eaddrnotavail,
            UdpError::Unaddressable | UdpError::NotAnEchoRequest => Self::Einval,
            UdpError::AddressLost => Self::Enetreset,
            UdpError::TunnelClosed => Self::Enetdown,
        }
    }
}

impl From<PingError> for Code {
    fn from(error: PingError) -> Self {
        match error {
            PingError::TimedOut => Self::Etimedout,
            PingError::HostUnreachable | PingError::HopLimitExceeded => Self::Ehostunreach,
            PingError::NetUnreachable => Self::Enetunreach,
            PingError::Denied => Self::Eacces,
            PingError::LimitReached => Self::Eagain,
            PingError::TooLong => Self::Emsgsize,
            PingError::AddressNotAvailable => Self::Eaddrnotavail,
            PingError::Unaddressable => Self::Einval,
            PingError::TooManyPings => Self::Enobufs,
            PingError::AddressLost => Self::Enetreset,
            PingError::TunnelClosed => Self::Enetdown,
        }
    }
}

impl From<ResolveError> for Code {
    fn from(error: ResolveError) -> Self {
        match error {
            ResolveError::NotFound | ResolveError::NoData => Self::Enotfound,
            ResolveError::InvalidName => Self::Einval,
            ResolveError::TooManyQueries => Self::Enobufs,
            ResolveError::TunnelClosed => Self::Enetdown,
            ResolveError::TimedOut | ResolveError::ServerFailure | ResolveError::NoServers => Self::EaiAgain,
        }
    }
}

impl From<PortMapError> for Code {
    fn from(error: PortMapError) -> Self {
        match error {
            PortMapError::Refused(PortMapResult::NotAuthorized) => Self::Eacces,
            PortMapError::Refused(PortMapResult::CannotProvideExternal) => Self::Eaddrinuse,
            PortMapError::Refused(PortMapResult::UserExceededQuota | PortMapResult::NoResources) => Self::Eagain,
            PortMapError::Refused(PortMapResult::UnsupportedProtocol) => Self::Enotsup,
            PortMapError::Refused(_) => Self::Eproto,
            PortMapError::TooManyMaps => Self::Enobufs,
            PortMapError::TunnelClosed => Self::Enetdown,
        }
    }
}

impl From<CloseCode> for Code {
    fn from(code: CloseCode) -> Self {
        match code {
            CloseCode::Normal => Self::Ok,
            CloseCode::Unauthorized => Self::Eacces,
            CloseCode::Version => Self::Enotsup,
            CloseCode::Protocol => Self::Eproto,
            CloseCode::Exhausted | CloseCode::Limit => Self::Eagain,
            CloseCode::UnknownSession | CloseCode::Replaced => Self::Enetreset,
            CloseCode::Shutdown => Self::Enetdown,
            CloseCode::Internal => Self::Eio,
        }
    }
}
