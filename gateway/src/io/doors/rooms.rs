use super::address::{Address, Wishes};
use super::figures::DoorFigures;
use super::keys::{Hash, Keys, Visit, hash};
use super::room::{Command, Entered, Room};
use crate::config::doors::{self, Doors as Settings};
use crate::dataplane::Peer;
use crate::io::driver::{Clock, Shards};
use crate::io::pace::MessageRoom;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use webtun_stack::StackConfig;
use webtun_stack::bridge::{BridgeConfig, PortError, SegmentConfig};

/// Commands that wait for a room.
const COMMANDS: usize = 16;

/// Which room it is. Rooms of the same name are different ones where their owners are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    /// For all who may enter.
    Shared(String),
    /// For one peer's guests.
    OfPeer(Arc<str>, String),
    /// For who has this ticket.
    OfTicket(Hash),
    /// For one WebSocket.
    Alone(u64),
}

#[derive(Debug)]
struct Open {
    number: u64,
    commands: mpsc::Sender<Command>,
    opened_by: Arc<str>,
    wishes: Wishes,
    keys: Keys,
}

#[derive(Debug, Default)]
struct Table {
    rooms: BTreeMap<Key, Open>,
    count: u64,
}

/// Why a client does not get into a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoEntry {
    /// There is none of that name.
    Unknown,
    /// It is not for the peer's group.
    Forbidden,
    /// It is open, and not as the client wants it.
    OtherOptions,
    /// What is asked for contradicts itself.
    Options,
    /// As many rooms are open as may be, of all or of the peer.
    TooManyRooms,
    /// The room has as many ports as it may.
    Full,
    /// The place has gone to somebody with fewer of them.
    Displaced,
    /// The system has no randomness, or the gateway ends.
    Internal,
}

/// All rooms.
pub struct Doors {
    settings: Settings,
    drivers: Shards,
    clock: Clock,
    grace: Duration,
    figures: DoorFigures,
    table: Mutex<Table>,
}

/// A place in a room.
pub(super) struct InRoom {
    pub commands: mpsc::Sender<Command>,
    pub entered: Entered,
    pub stay: Stay,
}

/// Holds the place of a ticket; dropped, the ticket's grace time begins.
pub(super) struct Stay {
    doors: Arc<Doors>,
    key: Key,
    visit: Option<Visit>,
}

impl Stay {
    /// Waits until another WebSocket comes with the same ticket.
    pub(super) async fn replaced(&mut self) {
        if let Some(visit) = &mut self.visit
            && (&mut visit.replaced).await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        let Some(visit) = &self.visit else { return };
        let now = self.doors.clock.now();
        if let Some(open) = self.doors.lock().rooms.get_mut(&self.key) {
            open.keys.leave(&visit.hash, visit.number, now);
        }
    }
}

impl Doors {
    /// Sessions of guests wait for `grace` where their network card is gone.
    pub fn new(settings: Settings, drivers: Shards, clock: Clock, grace: Duration, figures: DoorFigures) -> Arc<Self> {
        Arc::new(Self { settings, drivers, clock, grace, figures, table: Mutex::default() })
    }

    /// Who has entered this room by this ticket, which is spent.
    pub(super) fn returning(&self, address: &Address) -> Option<Box<Peer>> {
        let (hash, now) = (hash(address)?, self.clock.now());
        let table = self.lock();
        let is_it = |key: &Key| match (key, &address.room) {
            (Key::Shared(name) | Key::OfPeer(_, name), Some(wanted)) => name == wanted,
            (Key::OfTicket(of), None) => *of == hash,
            _ => false,
        };
        table
            .rooms
            .iter()
            .filter(|(key, _)| is_it(key))
            .find_map(|(_, open)| open.keys.peer(&hash, now).cloned())
            .map(Box::new)
    }

    /// Has a WebSocket enter the room that its address names, which is opened where it is not open.
    pub(super) async fn enter(
        self: &Arc<Self>,
        address: &Address,
        peer: Box<Peer>,
        room: MessageRoom,
    ) -> Result<InRoom, NoEntry> {
        // A room that has just ended is seen once; its successor is a fresh one.
        for _ in 0..3 {
            let (commands, stay) = self.find(address, &peer)?;
            let (reply, answer) = oneshot::channel();
            let command = Command::Enter { peer: peer.clone(), room: room.clone(), reply };
            if commands.send(command).await.is_err() {
                continue;
            }
            match answer.await {
                Ok(Ok(entered)) => return Ok(InRoom { commands, entered, stay }),
                Ok(Err(PortError::TooManyPorts | PortError::TooManyGuests | PortError::NoAddress)) => {
                    return Err(NoEntry::Full);
                }
                Err(_) => {}
            }
        }
        Err(NoEntry::Internal)
    }

    fn find(self: &Arc<Self>, address: &Address, peer: &Peer) -> Result<(mpsc::Sender<Command>, Stay), NoEntry> {
        let now = self.clock.now();
        let mut table = self.lock();
        table.count += 1;
        let number = table.count;
        let (key, segment) = self.plan(address, peer, number)?;
        let stay = |key, visit| Stay { doors: Arc::clone(self), key, visit };
        if let Some(open) = table.rooms.get_mut(&key).filter(|open| !open.commands.is_closed()) {
            if address.wishes != Wishes::default() && address.wishes != open.wishes {
                return Err(NoEntry::OtherOptions);
            }
            let visit = hash(address).and_then(|hash| open.keys.enter(hash, peer, now));
            let commands = open.commands.clone();
            return Ok((commands, stay(key, visit)));
        }
        let of_peer = table.rooms.values().filter(|open| open.opened_by == peer.name).count();
        if table.rooms.len() >= self.settings.rooms as usize || of_peer >= self.settings.rooms_per_peer as usize {
            return Err(NoEntry::TooManyRooms);
        }
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|_| NoEntry::Internal)?;
        let config = BridgeConfig { segment, tunnel: StackConfig::new(seed), absence: self.grace };
        let name = address.room.clone().unwrap_or_default();
        let room = Room::new(name, config, self.drivers.clone(), self.clock, self.figures.clone());
        let room = room.map_err(|_| NoEntry::Options)?;
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let wishes = address.wishes.clone();
        let opened_by = Arc::clone(&peer.name);
        let mut open = Open { number, commands: commands.clone(), opened_by, wishes, keys: Keys::new(self.grace) };
        let visit = hash(address).and_then(|hash| open.keys.enter(hash, peer, now));
        table.rooms.insert(key.clone(), open);
        self.figures.rooms.inc();
        let (doors, its_key) = (Arc::clone(self), key.clone());
        tokio::spawn(async move {
            room.run(receiver).await;
            doors.figures.rooms.dec();
            let mut table = doors.lock();
            // Another one may be open in its place.
            if table.rooms.get(&its_key).is_some_and(|open| open.number == number) {
                table.rooms.remove(&its_key);
            }
        });
        Ok((commands, stay(key, visit)))
    }

    /// Which room is meant, and how it would be.
    fn plan(&self, address: &Address, peer: &Peer, number: u64) -> Result<(Key, SegmentConfig), NoEntry> {
        let settings = &self.settings;
        if let Some(room) = settings.room.iter().find(|room| Some(&room.name) == address.room.as_ref()) {
            let is_in = |group: &Arc<str>| room.groups.contains(&**group);
            if !room.groups.is_empty() && !peer.group.as_ref().is_some_and(is_in) {
                return Err(NoEntry::Forbidden);
            }
            if address.wishes != Wishes::default() {
                return Err(NoEntry::OtherOptions);
            }
            let segment = room.segment(settings).map_err(|_| NoEntry::Options)?;
            let name = room.name.clone();
            let key = if room.shared { Key::Shared(name) } else { Key::OfPeer(Arc::clone(&peer.name), name) };
            return Ok((key, segment));
        }
        if !settings.any_room {
            return Err(NoEntry::Unknown);
        }
        let wishes = &address.wishes;
        let profile = wishes.profile.unwrap_or_default();
        let segment = doors::segment(settings, wishes.mtu, profile, None, wishes.fixed.clone());
        let segment = segment.map_err(|_| NoEntry::Options)?;
        let key = match (&address.room, hash(address)) {
            (Some(name), _) => Key::OfPeer(Arc::clone(&peer.name), name.clone()),
            (None, Some(hash)) => Key::OfTicket(hash),
            (None, None) => Key::Alone(number),
        };
        Ok((key, segment))
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        // Nothing panics while it is held.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
