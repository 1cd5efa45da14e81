//! Octets that wait for a message, in pieces that are filled in place.

use std::collections::VecDeque;

const SMALLEST: usize = 2 * 1024;
const LARGEST: usize = 64 * 1024;

struct Piece {
    octets: Box<[u8]>,
    filled: usize,
    sent: usize,
}

/// Room is where it was until it is filled: whoever was shown it may fill it later.
pub(super) struct SendBuffer {
    pieces: VecDeque<Piece>,
    len: usize,
    capacity: usize,
}

impl SendBuffer {
    /// So many octets may wait.
    pub fn new(capacity: usize) -> Self {
        Self { pieces: VecDeque::new(), len: 0, capacity }
    }

    pub fn capacity(&self) -> usize {
        self.capacity
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn room(&self) -> usize {
        self.capacity - self.len
    }

    /// Shows at most `wanted` octets of room, and takes as many as `write` says that it has filled. With it comes how many
    /// it has shown.
    pub fn write(&mut self, wanted: usize, write: impl FnOnce(&mut [u8]) -> usize) -> (usize, usize) {
        let wanted = wanted.min(self.room());
        if wanted == 0 {
            return (0, 0);
        }
        if self.pieces.back().is_none_or(|piece| piece.filled == piece.octets.len()) {
            let octets = vec![0; wanted.clamp(SMALLEST, LARGEST)].into_boxed_slice();
            self.pieces.push_back(Piece { octets, filled: 0, sent: 0 });
        }
        let Some(piece) = self.pieces.back_mut() else { return (0, 0) };
        let shown = wanted.min(piece.octets.len() - piece.filled);
        let taken = write(&mut piece.octets[piece.filled..piece.filled + shown]).min(shown);
        piece.filled += taken;
        self.len += taken;
        (taken, shown)
    }

    /// Takes a copy of as much as fits.
    pub fn extend(&mut self, mut data: &[u8]) -> usize {
        let offered = data.len();
        while !data.is_empty() {
            let copy = |room: &mut [u8]| {
                room.copy_from_slice(&data[..room.len()]);
                room.len()
            };
            match self.write(data.len(), copy) {
                (0, _) => break,
                (taken, _) => data = &data[taken..],
            }
        }
        offered - data.len()
    }

    /// The octets that go first, as many as lie together.
    pub fn front(&self) -> &[u8] {
        self.pieces.front().map_or(&[], |piece| &piece.octets[piece.sent..piece.filled])
    }

    /// So many of [`SendBuffer::front`] have gone.
    pub fn consume(&mut self, octets: usize) {
        let Some(piece) = self.pieces.front_mut() else { return };
        let octets = octets.min(piece.filled - piece.sent);
        piece.sent += octets;
        self.len -= octets;
        if piece.sent == piece.filled {
            self.pieces.pop_front();
        }
    }

    pub fn clear(&mut self) {
        *self = Self::new(self.capacity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CAPACITY: usize = 512 * 1024;

    #[test]
    fn octets_come_out_as_they_went_in() {
        let mut buffer = SendBuffer::new(CAPACITY);
        let data: Vec<u8> = (0..200_000u32).map(|at| ((at * 7) >> 3) as u8).collect();
        let (mut given, mut seen) = (0, Vec::new());
        for step in 1.. {
            let next = &data[given..data.len().min(given + step * 37 % 5000)];
            given += buffer.extend(next);
            let front = buffer.front();
            let taken = front.len().min(step * 53 % 4000);
            seen.extend_from_slice(&front[..taken]);
            buffer.consume(taken);
            if given == data.len() && buffer.len() == 0 {
                break;
            }
        }
        assert_eq!(seen, data);
    }

    #[test]
    fn room_that_was_shown_can_be_filled_later() {
        let mut buffer = SendBuffer::new(CAPACITY);
        let mut at = std::ptr::null();
        let shown = buffer.write(100, |room| {
            room.fill(7);
            at = room.as_ptr();
            0
        });
        assert_eq!(shown, (0, 100));
        let taken = buffer.write(40, |room| {
            assert_eq!(room.as_ptr(), at);
            room.len()
        });
        assert_eq!((taken, buffer.front()), ((40, 40), &[7; 40][..]));
    }

    #[test]
    fn no_more_is_taken_than_may_wait() {
        let mut buffer = SendBuffer::new(CAPACITY);
        assert_eq!(buffer.extend(&vec![1; CAPACITY + 1]), CAPACITY);
        assert_eq!((buffer.room(), buffer.write(1, |_| 1)), (0, (0, 0)));
    }
}
