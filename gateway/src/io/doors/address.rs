//! What a door's address says: `/ethernet/ROOM?ticket=...&token=...&mtu=...&profile=...&fixed=MAC@ADDRESS`.

use super::framing::Framing;
use crate::config::doors::{MAX_ROOM_NAME, MTUS, Profile, is_room_name, parse_mac};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use webtun_stack::bridge::MacAddress;

/// Fixed addresses that one address can ask for.
const MAX_FIXED: usize = 16;

/// Where a client wants to get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::io) struct Address {
    /// How frames are told apart.
    pub framing: Framing,
    /// The room, by its name; none where it wants to be alone.
    pub room: Option<String>,
    /// For a room that is made by that.
    pub wishes: Wishes,
    /// A credential for once.
    pub ticket: Option<String>,
}

/// How a client wants its room to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::io) struct Wishes {
    pub mtu: Option<u16>,
    pub profile: Option<Profile>,
    pub fixed: BTreeMap<MacAddress, Ipv4Addr>,
}

/// What is wrong with an address, and the room that is asked for, shortened to as many characters as a name may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::io) enum AddressError {
    /// No room has such a name.
    Name(String),
    /// An option cannot be understood.
    Option(String),
}

impl AddressError {
    /// The room, as it is asked for: any text.
    pub(super) fn room(&self) -> &str {
        let (Self::Name(room) | Self::Option(room)) = self;
        room
    }
}

/// True for the paths of doors, whatever stands behind.
pub(in crate::io) fn is_door(path: &str) -> bool {
    split(path).is_some()
}

fn split(path: &str) -> Option<(Framing, &str)> {
    let (door, room) = path.strip_prefix('/')?.split_once('/').unwrap_or((&path[1..], ""));
    match door {
        "ethernet" => Some((Framing::Frame, room)),
        "qemu" => Some((Framing::Length, room)),
        _ => None,
    }
}

impl Address {
    /// Reads path and query of a door.
    pub(in crate::io) fn parse(path: &str, query: &str) -> Result<Self, AddressError> {
        let (framing, room) = split(path).ok_or_else(|| AddressError::Name(asked(path)))?;
        // Some clients take the address for that of a folder.
        let room = room.strip_suffix('/').unwrap_or(room);
        let room = match room {
            "" => None,
            room if is_room_name(room) => Some(room.to_owned()),
            _ => return Err(AddressError::Name(asked(room))),
        };
        let malformed = || AddressError::Option(room.clone().unwrap_or_default());
        let (mut wishes, mut ticket) = (Wishes::default(), None);
        for (key, value) in query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))) {
            match key {
                "ticket" => ticket = Some(value.to_owned()),
                "mtu" => wishes.mtu = Some(value.parse().ok().filter(|it| MTUS.contains(it)).ok_or_else(malformed)?),
                "profile" => wishes.profile = Some(profile(value).ok_or_else(malformed)?),
                "fixed" => {
                    let (mac, address) = fixed(value).ok_or_else(malformed)?;
                    wishes.fixed.insert(mac, address);
                }
                // Emulators add what they like.
                _ => {}
            }
        }
        if wishes.fixed.len() > MAX_FIXED {
            return Err(malformed());
        }
        Ok(Self { framing, room, wishes, ticket })
    }
}

fn asked(text: &str) -> String {
    text.chars().take(MAX_ROOM_NAME).collect()
}

fn profile(text: &str) -> Option<Profile> {
    match text {
        "plain" => Some(Profile::Plain),
        "container2wasm" => Some(Profile::Container2wasm),
        _ => None,
    }
}

fn fixed(text: &str) -> Option<(MacAddress, Ipv4Addr)> {
    let text = text.replace("%3A", ":").replace("%3a", ":").replace("%40", "@");
    let (mac, address) = text.split_once('@')?;
    Some((parse_mac(mac)?, address.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_and_options_are_read() {
        let query = "ticket=0a&mtu=9000&profile=container2wasm&fixed=02%3A00:00:00:00:07%40192.168.127.9&x=y";
        let address = Address::parse("/qemu/lab-1", query).expect("an address");
        assert_eq!((address.framing, address.room.as_deref()), (Framing::Length, Some("lab-1")));
        assert_eq!((address.ticket.as_deref(), address.wishes.mtu), (Some("0a"), Some(9000)));
        assert_eq!(address.wishes.profile, Some(Profile::Container2wasm));
        let fixed = BTreeMap::from([(MacAddress([2, 0, 0, 0, 0, 7]), Ipv4Addr::new(192, 168, 127, 9))]);
        assert_eq!(address.wishes.fixed, fixed);
    }

    #[test]
    fn nobody_shares_a_room_without_a_name() {
        for path in ["/ethernet", "/ethernet/"] {
            assert_eq!(Address::parse(path, "").expect("an address").room, None);
        }
    }

    #[test]
    fn what_is_malformed_is_refused() {
        for room in ["a b", "a/b", "%41"] {
            let path = format!("/ethernet/{room}");
            assert_eq!(Address::parse(&path, ""), Err(AddressError::Name(room.to_owned())));
        }
        let long = Address::parse(&format!("/qemu/{}", "ab".repeat(1000)), "");
        assert_eq!(long, Err(AddressError::Name("ab".repeat(32))));
        for query in
            ["mtu=", "mtu=1279", "mtu=65001", "profile=x", "fixed=1@2", "fixed=01:00:00:00:00:00@192.168.127.9"]
        {
            assert_eq!(Address::parse("/ethernet/a", query), Err(AddressError::Option("a".to_owned())), "{query}");
        }
        for path in ["", "/", "/ethernets", "/Ethernet/a", "ethernet/a", "/wisp/"] {
            assert!(!is_door(path), "{path}");
        }
    }
}
