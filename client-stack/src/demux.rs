use std::net::{IpAddr, SocketAddr};

use foldhash::fast::FixedState;
use hashbrown::{HashMap, HashSet};

use crate::SocketId;

/// A hash map whose order depends on the seed alone, so that a run can be repeated. Where others choose the keys it needs
/// a seed of its own; for numbers that we give out ourselves the default one does.
///
/// Ordered maps would do for many of them, but each kind of a B-tree adds 9 KB to the WebAssembly module.
pub(crate) type SeededMap<K, V> = HashMap<K, V, FixedState>;

/// The set that goes with it.
pub(crate) type SeededSet<K> = HashSet<K, FixedState>;

/// The two ends of a TCP connection, ours first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Flow {
    pub local: SocketAddr,
    pub remote: SocketAddr,
}

/// What a listener or a socket for datagrams is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Binding {
    /// Unspecified for every address of ours.
    pub address: IpAddr,
    pub port: u16,
    /// The unspecified IPv6 address then stands for IPv4 too.
    pub dual: bool,
    /// Only from there (a connected UDP socket).
    pub remote: Option<SocketAddr>,
}

impl Binding {
    fn covers(&self, local: IpAddr) -> bool {
        if self.address.is_unspecified() {
            self.dual || self.address.is_ipv4() == local.is_ipv4()
        } else {
            self.address == local
        }
    }

    fn overlaps(&self, other: &Self) -> bool {
        let any = |binding: &Self| binding.address.is_unspecified();
        match (any(self), any(other)) {
            (true, true) => self.dual || other.dual || self.address.is_ipv4() == other.address.is_ipv4(),
            (true, false) => self.covers(other.address),
            (false, true) => other.covers(self.address),
            (false, false) => self.address == other.address,
        }
    }
}

/// Bound sockets by local port.
#[derive(Default)]
pub(crate) struct Bindings {
    ports: SeededMap<u16, Vec<(Binding, SocketId)>>,
}

impl Bindings {
    /// True where `binding` would share addresses and port with one that is here.
    pub fn conflicts(&self, binding: &Binding) -> bool {
        self.ports.get(&binding.port).is_some_and(|list| list.iter().any(|(other, _)| other.overlaps(binding)))
    }

    /// True where any socket has this port.
    pub fn has(&self, port: u16) -> bool {
        self.ports.contains_key(&port)
    }

    pub fn insert(&mut self, binding: Binding, id: SocketId) {
        self.ports.entry(binding.port).or_default().push((binding, id));
    }

    /// Restricts a bound socket to one peer.
    pub fn set_remote(&mut self, port: u16, id: SocketId, remote: SocketAddr) {
        let entry = self.ports.get_mut(&port).and_then(|list| list.iter_mut().find(|(_, other)| *other == id));
        if let Some((binding, _)) = entry {
            binding.remote = Some(remote);
        }
    }

    pub fn remove(&mut self, port: u16, id: SocketId) {
        if let Some(list) = self.ports.get_mut(&port) {
            list.retain(|(_, other)| *other != id);
            if list.is_empty() {
                self.ports.remove(&port);
            }
        }
    }

    /// The socket for a packet from `remote` to `local`: a connected one before a bound one, an exact address before
    /// the unspecified one.
    pub fn find(&self, local: SocketAddr, remote: SocketAddr) -> Option<SocketId> {
        let list = self.ports.get(&local.port())?;
        let fits = |binding: &Binding| binding.covers(local.ip()) && binding.remote.is_none_or(|only| only == remote);
        let rank = |binding: &Binding| (binding.remote.is_some(), !binding.address.is_unspecified());
        list.iter().filter(|(binding, _)| fits(binding)).max_by_key(|(binding, _)| rank(binding)).map(|(_, id)| *id)
    }
}
