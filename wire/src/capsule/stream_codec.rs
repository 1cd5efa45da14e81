use super::{Capsule, Host, ResetReason, StreamLimits, StreamOpen, StreamOpened};
use crate::capsule_type as kind;
use crate::error::Problem;
use crate::field::{Counter, Reader, Sink};
use core::net::SocketAddr;

/// Writes the value of a capsule about streams.
pub(super) fn encode_value(capsule: &Capsule<'_>, out: &mut impl Sink) {
    match capsule {
        Capsule::StreamLimits(limits) => limits.encode(out),
        Capsule::StreamOpen(open) => open.encode(out),
        Capsule::StreamOpened(opened) => opened.encode(out),
        Capsule::StreamData { stream, data } => {
            out.varint(*stream);
            out.octets(data);
        }
        Capsule::StreamCredit { stream, limit } => {
            out.varint(*stream);
            out.varint(*limit);
        }
        Capsule::StreamFinish { stream } => out.varint(*stream),
        Capsule::StreamReset { stream, reason } => {
            out.varint(*stream);
            out.u8(*reason as u8);
        }
        _ => {}
    }
}

/// Reads the value of a capsule of one of the types about streams.
pub(super) fn decode_value<'a>(kind: u64, value: &mut Reader<'a>) -> Result<Capsule<'a>, Problem> {
    Ok(match kind {
        kind::STREAM_LIMITS => Capsule::StreamLimits(StreamLimits::decode(value)?),
        kind::STREAM_OPEN => Capsule::StreamOpen(StreamOpen::decode(value)?),
        kind::STREAM_OPENED => Capsule::StreamOpened(StreamOpened::decode(value)?),
        kind::STREAM_DATA => Capsule::StreamData { stream: value.varint()?, data: value.take_rest() },
        kind::STREAM_CREDIT => Capsule::StreamCredit { stream: value.varint()?, limit: value.varint()? },
        kind::STREAM_FINISH => Capsule::StreamFinish { stream: value.varint()? },
        kind::STREAM_RESET => {
            Capsule::StreamReset { stream: value.varint()?, reason: ResetReason::from_octet(value.u8()?) }
        }
        kind => Capsule::Unknown { kind, value: value.take_rest() },
    })
}

impl<'a> Host<'a> {
    fn encode(&self, out: &mut impl Sink) {
        match self {
            Self::Address(address) => out.address(*address),
            Self::Name(name) => {
                out.u8(0);
                out.prefixed(name.as_bytes());
            }
        }
    }

    fn decode(value: &mut Reader<'a>) -> Result<Self, Problem> {
        match value.u8()? {
            0 => match value.text()? {
                "" => Err(Problem::Empty),
                name => Ok(Self::Name(name)),
            },
            4 => value.ipv4().map(Self::Address),
            6 => value.ipv6().map(Self::Address),
            _ => Err(Problem::IpVersion),
        }
    }
}

impl<'a> StreamOpen<'a> {
    /// How many octets its value takes.
    pub fn encoded_len(&self) -> usize {
        let mut counter = Counter::default();
        self.encode(&mut counter);
        counter.0
    }

    fn encode(&self, out: &mut impl Sink) {
        out.varint(self.stream);
        self.host.encode(out);
        out.u16(self.port);
        out.octets(self.data);
    }

    fn decode(value: &mut Reader<'a>) -> Result<Self, Problem> {
        Ok(Self { stream: value.varint()?, host: Host::decode(value)?, port: value.u16()?, data: value.take_rest() })
    }
}

impl StreamOpened {
    fn encode(&self, out: &mut impl Sink) {
        out.varint(self.stream);
        for endpoint in [self.local, self.remote] {
            out.address(endpoint.ip());
            out.u16(endpoint.port());
        }
    }

    fn decode(value: &mut Reader<'_>) -> Result<Self, Problem> {
        let stream = value.varint()?;
        let mut endpoint = || Ok(SocketAddr::new(value.address()?, value.u16()?));
        Ok(Self { stream, local: endpoint()?, remote: endpoint()? })
    }
}

impl StreamLimits {
    fn encode(&self, out: &mut impl Sink) {
        out.varint(self.streams);
        out.varint(self.credit);
        out.u8(self.required.into());
    }

    fn decode(value: &mut Reader<'_>) -> Result<Self, Problem> {
        Ok(Self { streams: value.varint()?, credit: value.varint()?, required: value.flag()? })
    }
}

impl ResetReason {
    /// A reason of a later version becomes [`ResetReason::Aborted`].
    fn from_octet(reason: u8) -> Self {
        match reason {
            2 => Self::Refused,
            3 => Self::Unreachable,
            4 => Self::TimedOut,
            5 => Self::NameNotFound,
            6 => Self::Policy,
            7 => Self::Limit,
            _ => Self::Aborted,
        }
    }
}
