use super::{Capsule, Close, DnsAssign, FlowDenied, Hello, Limits, PortMapRequest, PortMapResponse, Session};
use super::{address, context, dns, flow, stream_codec};
use crate::capsule_type as kind;
use crate::error::{DecodeError, Problem};
use crate::field::{Counter, Reader, Sink};
use crate::varint::varint_len;
use alloc::vec::Vec;

impl<'a> Capsule<'a> {
    /// The capsule type, see [`capsule_type`](crate::capsule_type).
    pub fn kind(&self) -> u64 {
        match self {
            Self::Datagram { .. } => kind::DATAGRAM,
            Self::AddressAssign(_) => kind::ADDRESS_ASSIGN,
            Self::AddressRequest(_) => kind::ADDRESS_REQUEST,
            Self::RouteAdvertisement(_) => kind::ROUTE_ADVERTISEMENT,
            Self::DnsAssign(_) => kind::DNS_ASSIGN,
            Self::Pref64(_) => kind::PREF64,
            Self::Hello(_) => kind::HELLO,
            Self::Session(_) => kind::SESSION,
            Self::Close(_) => kind::CLOSE,
            Self::Limits(_) => kind::LIMITS,
            Self::Sequence { .. } => kind::SEQUENCE,
            Self::Ack { .. } => kind::ACK,
            Self::Ping { .. } => kind::PING,
            Self::Pong { .. } => kind::PONG,
            Self::Drain { .. } => kind::DRAIN,
            Self::ContextAssign { .. } => kind::CONTEXT_ASSIGN,
            Self::ContextAck { .. } => kind::CONTEXT_ACK,
            Self::ContextClose { .. } => kind::CONTEXT_CLOSE,
            Self::FlowDenied(_) => kind::FLOW_DENIED,
            Self::ExternalPorts(_) => kind::EXTERNAL_PORTS,
            Self::PortMapRequest(_) => kind::PORT_MAP_REQUEST,
            Self::PortMapResponse(_) => kind::PORT_MAP_RESPONSE,
            Self::StreamLimits(_) => kind::STREAM_LIMITS,
            Self::StreamOpen(_) => kind::STREAM_OPEN,
            Self::StreamOpened(_) => kind::STREAM_OPENED,
            Self::StreamData { .. } => kind::STREAM_DATA,
            Self::StreamCredit { .. } => kind::STREAM_CREDIT,
            Self::StreamFinish { .. } => kind::STREAM_FINISH,
            Self::StreamReset { .. } => kind::STREAM_RESET,
            Self::Unknown { kind, .. } => *kind,
        }
    }

    /// How many octets [`Capsule::encode`] appends.
    pub fn encoded_len(&self) -> usize {
        let value_len = self.value_len();
        varint_len(self.kind()) + varint_len(value_len as u64) + value_len
    }

    /// Appends type, length and value.
    ///
    /// It cannot fail: what breaks a rule that a field documents (a range that ends before it begins, an odd context)
    /// is written as it is, and the receiver rejects it. Numbers above 2^62 - 1 in variable-length fields saturate.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let value_len = self.value_len();
        out.reserve(value_len + 16);
        out.varint(self.kind());
        out.count(value_len);
        self.encode_value(out);
    }

    fn value_len(&self) -> usize {
        let mut counter = Counter::default();
        self.encode_value(&mut counter);
        counter.0
    }

    fn encode_value(&self, out: &mut impl Sink) {
        match self {
            Self::Datagram { context, payload } => {
                out.varint(*context);
                out.octets(payload);
            }
            Self::AddressAssign(entries) | Self::AddressRequest(entries) => address::encode_assigned(entries, out),
            Self::RouteAdvertisement(entries) => address::encode_routes(entries, out),
            Self::DnsAssign(assign) => assign.encode(out),
            Self::Pref64(prefixes) => dns::encode_pref64(prefixes, out),
            Self::Hello(hello) => hello.encode(out),
            Self::Session(session) => session.encode(out),
            Self::Close(close) => close.encode(out),
            Self::Limits(limits) => limits.encode(out),
            Self::Sequence { number } => out.varint(*number),
            Self::Ack { next } => out.varint(*next),
            Self::Ping { opaque } => out.u64(*opaque),
            Self::Pong { opaque, received } => {
                out.u64(*opaque);
                out.u64(*received);
            }
            Self::Drain { retry_after_ms } => out.u32(*retry_after_ms),
            Self::ContextAssign { context, kind } => {
                out.varint(*context);
                out.varint(*kind);
            }
            Self::ContextAck { context } | Self::ContextClose { context } => out.varint(*context),
            Self::FlowDenied(denied) => denied.encode(out),
            Self::ExternalPorts(blocks) => flow::encode_blocks(blocks, out),
            Self::PortMapRequest(request) => request.encode(out),
            Self::PortMapResponse(response) => response.encode(out),
            Self::StreamLimits(_)
            | Self::StreamOpen(_)
            | Self::StreamOpened(_)
            | Self::StreamData { .. }
            | Self::StreamCredit { .. }
            | Self::StreamFinish { .. }
            | Self::StreamReset { .. } => stream_codec::encode_value(self, out),
            Self::Unknown { value, .. } => out.octets(value),
        }
    }

    /// Decodes the value of a capsule of type `kind`.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Malformed`] where the value breaks a rule of its type. Types that are not known are no error.
    pub fn decode_value(kind: u64, value: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(value);
        Self::read(kind, &mut reader)
            .and_then(|capsule| reader.finish().map(|()| capsule))
            .map_err(|problem| DecodeError::Malformed { kind, problem })
    }

    fn read(kind: u64, value: &mut Reader<'a>) -> Result<Self, Problem> {
        Ok(match kind {
            kind::DATAGRAM => Self::Datagram { context: value.varint()?, payload: value.take_rest() },
            kind::ADDRESS_ASSIGN => Self::AddressAssign(address::decode_assigned(value)?),
            kind::ADDRESS_REQUEST => Self::AddressRequest(address::decode_requested(value)?),
            kind::ROUTE_ADVERTISEMENT => Self::RouteAdvertisement(address::decode_routes(value)?),
            kind::DNS_ASSIGN => Self::DnsAssign(DnsAssign::decode(value)?),
            kind::PREF64 => Self::Pref64(dns::decode_pref64(value)?),
            kind::HELLO => Self::Hello(Hello::decode(value)?),
            kind::SESSION => Self::Session(Session::decode(value)?),
            kind::CLOSE => Self::Close(Close::decode(value)?),
            kind::LIMITS => Self::Limits(Limits::decode(value)?),
            kind::SEQUENCE => Self::Sequence { number: value.varint()? },
            kind::ACK => Self::Ack { next: value.varint()? },
            kind::PING => Self::Ping { opaque: value.u64()? },
            kind::PONG => Self::Pong { opaque: value.u64()?, received: value.u64()? },
            kind::DRAIN => Self::Drain { retry_after_ms: value.u32()? },
            kind::CONTEXT_ASSIGN => {
                Self::ContextAssign { context: context::decode_offered(value)?, kind: value.varint()? }
            }
            kind::CONTEXT_ACK => Self::ContextAck { context: context::decode_negotiated(value)? },
            kind::CONTEXT_CLOSE => Self::ContextClose { context: context::decode_negotiated(value)? },
            kind::FLOW_DENIED => Self::FlowDenied(FlowDenied::decode(value)?),
            kind::EXTERNAL_PORTS => Self::ExternalPorts(flow::decode_blocks(value)?),
            kind::PORT_MAP_REQUEST => Self::PortMapRequest(PortMapRequest::decode(value)?),
            kind::PORT_MAP_RESPONSE => Self::PortMapResponse(PortMapResponse::decode(value)?),
            kind::STREAM_OPEN..=kind::STREAM_LIMITS => stream_codec::decode_value(kind, value)?,
            kind => Self::Unknown { kind, value: value.take_rest() },
        })
    }
}
