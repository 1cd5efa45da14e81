//! `[doors]` and `[[doors.room]]`: ways in for clients that speak no protocol of ours.

use super::{Config, Invalid};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use webtun_stack::bridge::{MacAddress, SegmentConfig};

/// The shortest and the longest IP packet that a room's MTU may name.
pub const MTUS: std::ops::RangeInclusive<u16> = 1280..=65_000;

/// `[doors]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Doors {
    /// Whether clients of Wisp are served, at `/wisp/`.
    pub wisp: bool,
    /// What clients of Wisp may show to people; empty: nothing. At most 4,096 octets.
    pub motd: String,
    /// Whether a WebSocket at `/tcp/HOST/PORT` is a TCP connection.
    pub tcp: bool,
    /// Whether SOCKS5 is spoken in WebSockets of subprotocol `binary` at `/`.
    pub socks: bool,
    /// Whether clients may open rooms that are not configured.
    pub any_room: bool,
    /// Rooms at once. A room lasts as long as an emulator is there, or the session of a network card waits for it.
    pub rooms: u32,
    /// Rooms that one peer has opened.
    pub rooms_per_peer: u32,
    /// Emulators (WebSockets) in one room.
    pub ports: u32,
    /// Network cards in one room; each has a session.
    pub guests: u32,
    /// MTU of rooms for which no other is asked, 1280 to 65,000.
    pub mtu: u16,
    /// Rooms with a purpose.
    pub room: Vec<Room>,
}

impl Default for Doors {
    fn default() -> Self {
        Self {
            wisp: true,
            motd: String::new(),
            tcp: true,
            socks: true,
            any_room: true,
            rooms: 64,
            rooms_per_peer: 16,
            ports: 16,
            guests: 32,
            mtu: 1500,
            room: Vec::new(),
        }
    }
}

/// Which network a room's guests expect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Router at 192.168.127.1, guests from .2 on.
    #[default]
    Plain,
    /// What container2wasm's images expect: the guest at 192.168.127.3, its host at 192.168.127.254.
    Container2wasm,
}

/// `[[doors.room]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Room {
    /// What stands in the address.
    pub name: String,
    /// Whether all peers meet in it; otherwise each peer has a room of that name to itself.
    #[serde(default)]
    pub shared: bool,
    /// Groups whose peers may enter; all peers where it is empty.
    #[serde(default)]
    pub groups: BTreeSet<String>,
    /// Its MTU, 1280 to 65,000; that of `[doors]` where absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// Its network.
    #[serde(default)]
    pub profile: Profile,
    /// What 192.168.127.254 stands for in the profile `container2wasm`; the policy has to allow it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<Ipv4Addr>,
    /// IPv4 addresses of the room's network for network cards, by MAC address (`02:00:00:00:00:07`).
    #[serde(default)]
    pub fixed: BTreeMap<String, Ipv4Addr>,
}

impl Room {
    /// The segment of such a room.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn segment(&self, doors: &Doors) -> Result<SegmentConfig, String> {
        let fixed = self.fixed.iter().map(|(mac, address)| {
            let parsed = parse_mac(mac).ok_or_else(|| format!("`{mac}` is no MAC address"))?;
            Ok((parsed, *address))
        });
        let fixed = fixed.collect::<Result<BTreeMap<_, _>, String>>()?;
        segment(doors, self.mtu, self.profile, self.host, fixed)
    }
}

/// Octets that may wait in a room for one emulator, and for one session: twice what a message of the tunnel can bring.
const QUEUE_OCTETS: usize = 2 << 20;

/// The segment of a room.
///
/// # Errors
/// What is wrong with it.
pub fn segment(
    doors: &Doors,
    mtu: Option<u16>,
    profile: Profile,
    host: Option<Ipv4Addr>,
    fixed: BTreeMap<MacAddress, Ipv4Addr>,
) -> Result<SegmentConfig, String> {
    let mut segment = match profile {
        Profile::Plain => SegmentConfig::default(),
        Profile::Container2wasm => SegmentConfig::container2wasm(host.unwrap_or(Ipv4Addr::UNSPECIFIED)),
    };
    if host.is_none() {
        segment.aliases.clear();
    }
    for (mac, address) in fixed {
        // What is asked for explicitly goes before what the profile has.
        segment.fixed.retain(|_, it| *it != address);
        segment.fixed.insert(mac, address);
    }
    segment.mtu = mtu.unwrap_or(doors.mtu);
    segment.path_mtu = segment.path_mtu.min(segment.mtu);
    segment.max_ports = doors.ports as usize;
    segment.max_guests = doors.guests as usize;
    segment.queue_octets = QUEUE_OCTETS;
    segment.validate().map_err(|error| error.to_string())?;
    Ok(segment)
}

/// Six octets in hexadecimal with colons or hyphens between; not that of a group.
pub fn parse_mac(text: &str) -> Option<MacAddress> {
    let mut octets = [0; 6];
    let mut parts = text.split([':', '-']);
    for octet in &mut octets {
        let part = parts.next().filter(|part| part.len() == 2 && part.bytes().all(|it| it.is_ascii_hexdigit()))?;
        *octet = u8::from_str_radix(part, 16).ok()?;
    }
    let mac = MacAddress(octets);
    (parts.next().is_none() && !mac.is_multicast()).then_some(mac)
}

/// Characters of a room's name.
pub const MAX_ROOM_NAME: usize = 64;

/// 1 to 64 of the characters that need no escape in an address (RFC 3986 section 2.3).
pub fn is_room_name(text: &str) -> bool {
    let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~".contains(&octet);
    (1..=MAX_ROOM_NAME).contains(&text.len()) && text.bytes().all(is_plain)
}

impl Config {
    /// Checks `[doors]`.
    pub(super) fn validate_doors(&self) -> Result<(), Invalid> {
        let doors = &self.doors;
        if !MTUS.contains(&doors.mtu) {
            let problem = format!("{} is out of range; {} to {}", doors.mtu, MTUS.start(), MTUS.end());
            return Err(Invalid { key: "doors.mtu", problem });
        }
        if doors.motd.len() > 4096 {
            let problem = format!("{} octets; at most 4,096", doors.motd.len());
            return Err(Invalid { key: "doors.motd", problem });
        }
        let fail = |problem: String| Err(Invalid { key: "doors.room", problem });
        for (index, room) in doors.room.iter().enumerate() {
            let name = &room.name;
            if !is_room_name(name) {
                return fail(format!("`{name}`: a name has 1 to 64 letters, digits and characters of -._~"));
            }
            if doors.room[..index].iter().any(|other| other.name == *name) {
                return fail(format!("`{name}` stands twice"));
            }
            if let Some(group) = room.groups.iter().find(|it| !self.group.iter().any(|group| group.name == **it)) {
                return fail(format!("`{name}`: there is no group `{group}`"));
            }
            if room.host.is_some() && room.profile != Profile::Container2wasm {
                return fail(format!("`{name}`: only the profile \"container2wasm\" has a `host`"));
            }
            if let Err(problem) = room.segment(doors) {
                return fail(format!("`{name}`: {problem}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mac_addresses_have_six_octets_and_are_of_one_card() {
        assert_eq!(parse_mac("02:00:00:00:00:1f"), Some(MacAddress([2, 0, 0, 0, 0, 0x1f])));
        assert_eq!(parse_mac("02-00-00-00-00-1F"), Some(MacAddress([2, 0, 0, 0, 0, 0x1f])));
        for wrong in
            ["", "02:00:00:00:00", "02:00:00:00:00:01:02", "2:0:0:0:0:1", "01:00:5e:00:00:01", "02:00:00:00:00:+1"]
        {
            assert_eq!(parse_mac(wrong), None, "{wrong}");
        }
    }
}
