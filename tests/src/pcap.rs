//! Packets for the usual tools.

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use webtun_wire::Instant;

/// How many packets a capture remembers; older ones are forgotten, since a failure lies at the end.
const MAX_PACKETS: usize = 20_000;
/// How many octets of each packet are kept.
const SNAP_LEN: usize = 256;
/// LINKTYPE_RAW: packets begin with their IP header.
const LINKTYPE_RAW: u32 = 101;

/// Remembers the last packets on a border, to be looked at with the usual tools after a failure.
#[derive(Debug, Default)]
pub struct Capture {
    packets: VecDeque<Captured>,
}

#[derive(Debug)]
struct Captured {
    at: Instant,
    len: usize,
    head: Vec<u8>,
}

impl Capture {
    /// Remembers a packet.
    pub fn record(&mut self, at: Instant, packet: &[u8]) {
        if self.packets.len() == MAX_PACKETS {
            self.packets.pop_front();
        }
        let head = packet[..packet.len().min(SNAP_LEN)].to_vec();
        self.packets.push_back(Captured { at, len: packet.len(), head });
    }

    /// Writes the classic pcap format with microseconds.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&0xa1b2_c3d4_u32.to_ne_bytes())?;
        out.write_all(&2_u16.to_ne_bytes())?;
        out.write_all(&4_u16.to_ne_bytes())?;
        for word in [0, 0, 65_535, LINKTYPE_RAW] {
            out.write_all(&word.to_ne_bytes())?;
        }
        for packet in &self.packets {
            let micros = packet.at.as_micros();
            let words = [micros / 1_000_000, micros % 1_000_000, packet.head.len() as u64, packet.len as u64];
            for word in words {
                out.write_all(&(word as u32).to_ne_bytes())?;
            }
            out.write_all(&packet.head)?;
        }
        Ok(())
    }

    /// Saves it as `target/sim-pcap/<name>.pcap` and says where that is.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn save(&self, name: &str) -> io::Result<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/sim-pcap");
        fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{}.pcap", name.replace(|c: char| !c.is_ascii_alphanumeric(), "-")));
        self.write(&mut io::BufWriter::new(fs::File::create(&path)?))?;
        Ok(path)
    }
}
