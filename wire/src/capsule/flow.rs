use crate::error::Problem;
use crate::field::{Reader, Sink};
use alloc::vec::Vec;
use core::net::IpAddr;

/// A flow that the gateway does not forward, as the client sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowDenied {
    /// Why.
    pub reason: DenyReason,
    /// IP protocol number.
    pub protocol: u8,
    /// Source port (or ICMP identifier) at the client; 0 where there is none.
    pub source_port: u16,
    /// The destination address.
    pub destination: IpAddr,
    /// The destination port; 0 where there is none.
    pub destination_port: u16,
}

/// Why a flow is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum DenyReason {
    /// The operator's policy or the default class rule: EACCES.
    Policy = 1,
    /// No free mapping: EAGAIN.
    Exhausted = 2,
    /// A rate or count limit: EAGAIN.
    Limit = 3,
}

/// A contiguous range of external ports that is this session's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortBlock {
    /// The external address, as the outside sees it.
    pub address: IpAddr,
    /// First port.
    pub first: u16,
    /// How many, at least 1; `first + count - 1 <= 65535`.
    pub count: u16,
}

/// Asks for an external port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortMapRequest {
    /// Chosen by the client, echoed in the response.
    pub request_id: u64,
    /// 6 or 17.
    pub protocol: u8,
    /// True asks for an external IPv6 address, false for IPv4.
    pub ipv6: bool,
    /// The client's port.
    pub internal_port: u16,
    /// The wanted external port; 0 for any.
    pub external_port: u16,
    /// Seconds; 0 deletes the mapping.
    pub lifetime: u32,
}

/// Grants or refuses an external port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortMapResponse {
    /// From the request.
    pub request_id: u64,
    /// The outcome.
    pub result: PortMapResult,
    /// The external address; unspecified unless `result` is a success.
    pub external_address: IpAddr,
    /// The external port; 0 unless `result` is a success.
    pub external_port: u16,
    /// Seconds granted; on failure, seconds for which asking again is of no use.
    pub lifetime: u32,
}

/// Result codes of RFC 6887 section 7.4 that occur here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum PortMapResult {
    /// SUCCESS.
    Success = 0,
    /// NOT_AUTHORIZED.
    NotAuthorized = 2,
    /// MALFORMED_REQUEST.
    MalformedRequest = 3,
    /// NO_RESOURCES.
    NoResources = 8,
    /// UNSUPP_PROTOCOL.
    UnsupportedProtocol = 9,
    /// USER_EX_QUOTA.
    UserExceededQuota = 10,
    /// CANNOT_PROVIDE_EXTERNAL.
    CannotProvideExternal = 11,
}

impl FlowDenied {
    pub(super) fn encode(&self, out: &mut impl Sink) {
        out.u8(self.reason as u8);
        out.u8(self.protocol);
        out.u16(self.source_port);
        out.address(self.destination);
        out.u16(self.destination_port);
    }

    pub(super) fn decode(value: &mut Reader<'_>) -> Result<Self, Problem> {
        Ok(Self {
            reason: DenyReason::from_octet(value.u8()?),
            protocol: value.u8()?,
            source_port: value.u16()?,
            destination: value.address()?,
            destination_port: value.u16()?,
        })
    }
}

impl DenyReason {
    /// A reason of a later version becomes [`DenyReason::Policy`], the one that does not invite a retry.
    fn from_octet(reason: u8) -> Self {
        match reason {
            2 => Self::Exhausted,
            3 => Self::Limit,
            _ => Self::Policy,
        }
    }
}

impl PortBlock {
    fn encode(&self, out: &mut impl Sink) {
        out.address(self.address);
        out.u16(self.first);
        out.u16(self.count);
    }

    fn decode(value: &mut Reader<'_>) -> Result<Self, Problem> {
        let block = Self { address: value.address()?, first: value.u16()?, count: value.u16()? };
        match block.count.checked_sub(1) {
            Some(others) if block.first.checked_add(others).is_some() => Ok(block),
            _ => Err(Problem::Range),
        }
    }
}

pub(super) fn encode_blocks(blocks: &[PortBlock], out: &mut impl Sink) {
    blocks.iter().for_each(|block| block.encode(out));
}

pub(super) fn decode_blocks(value: &mut Reader<'_>) -> Result<Vec<PortBlock>, Problem> {
    value.list(PortBlock::decode)
}

impl PortMapRequest {
    pub(super) fn encode(&self, out: &mut impl Sink) {
        out.varint(self.request_id);
        out.u8(self.protocol);
        out.u8(if self.ipv6 { 6 } else { 4 });
        out.u16(self.internal_port);
        out.u16(self.external_port);
        out.u32(self.lifetime);
    }

    pub(super) fn decode(value: &mut Reader<'_>) -> Result<Self, Problem> {
        Ok(Self {
            request_id: value.varint()?,
            protocol: value.u8()?,
            ipv6: value.version_is_6()?,
            internal_port: value.u16()?,
            external_port: value.u16()?,
            lifetime: value.u32()?,
        })
    }
}

impl PortMapResponse {
    pub(super) fn encode(&self, out: &mut impl Sink) {
        out.varint(self.request_id);
        out.u8(self.result as u8);
        out.address(self.external_address);
        out.u16(self.external_port);
        out.u32(self.lifetime);
    }

    pub(super) fn decode(value: &mut Reader<'_>) -> Result<Self, Problem> {
        Ok(Self {
            request_id: value.varint()?,
            result: PortMapResult::from_octet(value.u8()?),
            external_address: value.address()?,
            external_port: value.u16()?,
            lifetime: value.u32()?,
        })
    }
}

impl PortMapResult {
    /// A result that is not listed becomes [`PortMapResult::NoResources`]: a refusal whose lifetime says for how long.
    fn from_octet(result: u8) -> Self {
        match result {
            0 => Self::Success,
            2 => Self::NotAuthorized,
            3 => Self::MalformedRequest,
            9 => Self::UnsupportedProtocol,
            10 => Self::UserExceededQuota,
            11 => Self::CannotProvideExternal,
            _ => Self::NoResources,
        }
    }
}
