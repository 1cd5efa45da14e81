//! Cutting a packet into the segments that it stands for, as kernels do.

use bytes::BytesMut;

use crate::dataplane::checksum;
use crate::dataplane::packet::{Packet, Transport, tcp_flag};

impl Packet {
    /// Cuts the packet into pieces of at most `most` payload octets, a multiple of the segment size. Those that still
    /// hold several segments say so; checksums are left unmade.
    pub(super) fn split(&self, most: usize) -> impl Iterator<Item = Self> {
        let (header, payload) = self.octets.split_at(self.header_len());
        let count = payload.len().div_ceil(most);
        let size = self.offload.segments.map_or(most, |it| usize::from(it.size));
        payload.chunks(most).enumerate().map(move |(index, data)| {
            let mut octets = BytesMut::with_capacity(header.len() + data.len());
            octets.extend_from_slice(header);
            octets.extend_from_slice(data);
            let mut piece = Self { octets, ..self.like() };
            piece.offload.segments = self.offload.segments.filter(|_| data.len() > size);
            piece.finish_ip(index * most.div_ceil(size));
            match piece.headers.transport {
                Transport::Tcp { .. } => piece.finish_tcp(index * most, index == 0, index + 1 == count),
                _ => piece.finish_udp(),
            }
            piece
        })
    }

    /// The lengths, and for IPv4 the identification: each segment has the next one.
    fn finish_ip(&mut self, segments_before: usize) {
        let len = self.octets.len();
        if self.headers.source.is_ipv6() {
            self.octets[4..6].copy_from_slice(&((len - 40) as u16).to_be_bytes());
            return;
        }
        let id = u16::from_be_bytes([self.octets[4], self.octets[5]]).wrapping_add(segments_before as u16);
        self.octets[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        self.octets[4..6].copy_from_slice(&id.to_be_bytes());
        self.octets[10..12].fill(0);
        let sum = checksum::checksum(&self.octets[..self.headers.payload]);
        self.octets[10..12].copy_from_slice(&sum.to_be_bytes());
    }

    /// FIN and PSH belong to the last segment, CWR (RFC 3168 section 6.1.2) to the first.
    fn finish_tcp(&mut self, offset: usize, is_first: bool, is_last: bool) {
        let header = &mut self.octets[self.headers.payload..];
        let number = u32::from_be_bytes([header[4], header[5], header[6], header[7]]).wrapping_add(offset as u32);
        header[4..8].copy_from_slice(&number.to_be_bytes());
        if !is_last {
            header[13] &= !(tcp_flag::FIN | tcp_flag::PSH);
        }
        if !is_first {
            header[13] &= !tcp_flag::CWR;
        }
        let now = header[13];
        if let Transport::Tcp { flags, .. } = &mut self.headers.transport {
            *flags = now;
        }
    }

    fn finish_udp(&mut self) {
        let len = (self.octets.len() - self.headers.payload) as u16;
        let at = self.headers.payload + 4;
        self.octets[at..at + 2].copy_from_slice(&len.to_be_bytes());
    }
}
