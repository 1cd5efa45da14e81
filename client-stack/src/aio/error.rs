//! The stack's errors as `std::io` errors. The original stays inside and can be downcast.

use std::io::{Error, ErrorKind};

use crate::{BindError, CloseReason, ConnectError, PortMapError, RecvError, ResolveError, SendError, UdpError};

impl From<ConnectError> for Error {
    fn from(error: ConnectError) -> Self {
        Self::new(connect_kind(error), error)
    }
}

impl From<BindError> for Error {
    fn from(error: BindError) -> Self {
        let kind = match error {
            BindError::AddressInUse | BindError::NoPorts => ErrorKind::AddrInUse,
            BindError::AddressNotAvailable => ErrorKind::AddrNotAvailable,
            BindError::TooManySockets => ErrorKind::QuotaExceeded,
        };
        Self::new(kind, error)
    }
}

impl From<SendError> for Error {
    fn from(error: SendError) -> Self {
        let kind = match error {
            SendError::UnknownSocket | SendError::NotConnected => ErrorKind::NotConnected,
            SendError::ShutDown => ErrorKind::BrokenPipe,
            SendError::Closed(reason) => close_kind(reason),
            SendError::Failed(error) => connect_kind(error),
        };
        Self::new(kind, error)
    }
}

impl From<RecvError> for Error {
    fn from(error: RecvError) -> Self {
        let kind = match error {
            RecvError::UnknownSocket | RecvError::NotConnected => ErrorKind::NotConnected,
            RecvError::Closed(reason) => close_kind(reason),
            RecvError::Failed(error) => connect_kind(error),
        };
        Self::new(kind, error)
    }
}

impl From<UdpError> for Error {
    fn from(error: UdpError) -> Self {
        let kind = match error {
            UdpError::UnknownSocket | UdpError::NoDestination => ErrorKind::NotConnected,
            UdpError::Refused => ErrorKind::ConnectionRefused,
            UdpError::HostUnreachable => ErrorKind::HostUnreachable,
            UdpError::NetUnreachable => ErrorKind::NetworkUnreachable,
            UdpError::Denied => ErrorKind::PermissionDenied,
            UdpError::LimitReached => ErrorKind::QuotaExceeded,
            UdpError::TooLong | UdpError::Unaddressable | UdpError::NotAnEchoRequest => ErrorKind::InvalidInput,
            UdpError::AddressNotAvailable => ErrorKind::AddrNotAvailable,
            UdpError::AddressLost | UdpError::TunnelClosed => ErrorKind::ConnectionAborted,
        };
        Self::new(kind, error)
    }
}

impl From<ResolveError> for Error {
    fn from(error: ResolveError) -> Self {
        let kind = match error {
            ResolveError::NotFound | ResolveError::NoData => ErrorKind::NotFound,
            ResolveError::TimedOut => ErrorKind::TimedOut,
            ResolveError::InvalidName => ErrorKind::InvalidInput,
            ResolveError::TooManyQueries => ErrorKind::QuotaExceeded,
            ResolveError::TunnelClosed => ErrorKind::ConnectionAborted,
            ResolveError::ServerFailure | ResolveError::NoServers => ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

impl From<PortMapError> for Error {
    fn from(error: PortMapError) -> Self {
        let kind = match error {
            PortMapError::Refused(_) => ErrorKind::PermissionDenied,
            PortMapError::TooManyMaps => ErrorKind::QuotaExceeded,
            PortMapError::TunnelClosed => ErrorKind::ConnectionAborted,
        };
        Self::new(kind, error)
    }
}

fn connect_kind(error: ConnectError) -> ErrorKind {
    match error {
        ConnectError::Refused => ErrorKind::ConnectionRefused,
        ConnectError::HostUnreachable => ErrorKind::HostUnreachable,
        ConnectError::NameNotFound => ErrorKind::NotFound,
        ConnectError::NetUnreachable => ErrorKind::NetworkUnreachable,
        ConnectError::TimedOut => ErrorKind::TimedOut,
        ConnectError::Denied => ErrorKind::PermissionDenied,
        ConnectError::LimitReached | ConnectError::TooManySockets => ErrorKind::QuotaExceeded,
        ConnectError::NoBuffers => ErrorKind::OutOfMemory,
        ConnectError::Aborted | ConnectError::AddressLost | ConnectError::TunnelClosed => ErrorKind::ConnectionAborted,
        ConnectError::NoPorts | ConnectError::AddressInUse => ErrorKind::AddrInUse,
        ConnectError::AddressNotAvailable => ErrorKind::AddrNotAvailable,
        ConnectError::Unaddressable => ErrorKind::InvalidInput,
    }
}

fn close_kind(reason: CloseReason) -> ErrorKind {
    match reason {
        CloseReason::Graceful => ErrorKind::BrokenPipe,
        CloseReason::Reset => ErrorKind::ConnectionReset,
        CloseReason::TimedOut => ErrorKind::TimedOut,
        CloseReason::Aborted | CloseReason::AddressLost | CloseReason::TunnelClosed => ErrorKind::ConnectionAborted,
    }
}
