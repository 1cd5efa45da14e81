//! What comes in from JavaScript, in Rust's types.

use core::time::Duration;
use webtun_stack::{Instant, PortMapOptions, Protocol};

/// The instant that lies `milliseconds` after the origin of the caller's clock.
pub fn instant(milliseconds: f64) -> Instant {
    Instant::from_micros((milliseconds * 1000.0) as u64)
}

/// A seed from the caller's octets; a shorter one is filled with zeros.
pub fn seed(octets: &[u8]) -> [u8; 32] {
    let mut filled = [0; 32];
    for (octet, given) in filled.iter_mut().zip(octets) {
        *octet = *given;
    }
    filled
}

/// Where the caller puts `length` octets: `buffer` grows to hold them.
#[cfg(any(feature = "ethernet", not(feature = "streams")))]
pub fn room(buffer: &mut Vec<u8>, length: usize) -> *mut u8 {
    if buffer.len() < length {
        buffer.resize(length.next_power_of_two(), 0);
    }
    buffer.as_mut_ptr()
}

/// An external port that is asked for: `protocol` is 6 or 17, `lifetime` in seconds.
pub fn port_map(protocol: u8, ipv6: bool, internal_port: u16, external_port: u16, lifetime: u32) -> PortMapOptions {
    PortMapOptions {
        protocol: if protocol == 17 { Protocol::Udp } else { Protocol::Tcp },
        ipv6,
        internal_port,
        external_port,
        lifetime: Duration::from_secs(lifetime.into()),
    }
}
