//! Where a result ends: the headers of its packets are walked, the rest is only counted.

/// Length and number of a packet, and the first byte of its payload.
const HEAD_BYTES: usize = 5;
/// A payload of this length goes on in the next packet.
const PAYLOAD_BYTES_MAX: usize = 0xFF_FFFF;
/// First byte of the packet that ends a list.
pub(super) const END: u8 = 0xFE;
/// Its length at most.
pub(super) const END_BYTES_MAX: usize = 9;
const ERROR: u8 = 0xFF;
/// What is kept of an error: its number, its SQLSTATE and a message of at most 512 bytes.
const ERROR_BYTES: usize = 1024;

/// What stands at the end of some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seen {
    /// More is to come.
    More,
    /// The result ended after so many of them.
    End(usize),
    /// The server gave up, with this error.
    Error(Vec<u8>),
}

/// What is being passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packet {
    Row,
    End,
    Error,
}

/// Walks a result that is cut anywhere.
#[derive(Debug)]
pub(super) struct Frames {
    /// The head that is not whole yet.
    head: Vec<u8>,
    packet: Packet,
    /// Bytes of the packet that are still to come.
    left: usize,
    /// Whether the packet goes on in the next one.
    goes_on: bool,
    /// An error, or its first bytes.
    error: Vec<u8>,
}

impl Frames {
    pub(super) fn new() -> Self {
        let (head, error) = (Vec::with_capacity(HEAD_BYTES), Vec::new());
        Self { head, packet: Packet::Row, left: 0, goes_on: false, error }
    }

    /// Takes the next bytes.
    pub(super) fn see(&mut self, bytes: &[u8]) -> Seen {
        let mut at = 0;
        loop {
            let passed = self.left.min(bytes.len() - at);
            if self.packet == Packet::Error {
                let wanted = ERROR_BYTES.saturating_sub(self.error.len()).min(passed);
                self.error.extend_from_slice(&bytes[at..at + wanted]);
            }
            at += passed;
            self.left -= passed;
            if self.left > 0 {
                return Seen::More;
            }
            match self.packet {
                Packet::Row => {}
                Packet::End => return Seen::End(at),
                Packet::Error => return Seen::Error(std::mem::take(&mut self.error)),
            }
            if !self.next(bytes, &mut at) {
                return Seen::More;
            }
        }
    }

    /// Starts a packet. `first` is its first byte, if it was read already.
    fn begin(&mut self, length: usize, first: Option<u8>) {
        self.packet = match first.filter(|_| !self.goes_on) {
            Some(END) if length < END_BYTES_MAX => Packet::End,
            Some(ERROR) => Packet::Error,
            _ => Packet::Row,
        };
        self.left = length - usize::from(first.is_some());
        self.goes_on = length == PAYLOAD_BYTES_MAX;
        self.error.clear();
        self.error.extend(first);
    }

    /// Takes the head of the next packet; false where it is not whole yet.
    fn next(&mut self, bytes: &[u8], at: &mut usize) -> bool {
        // fast path: the head is complete
        if self.head.is_empty()
            && let Some(&[low, middle, high, _, first]) = bytes[*at..].first_chunk()
        {
            let length = length([low, middle, high]);
            if length > 0 {
                self.begin(length, Some(first));
                *at += HEAD_BYTES;
                return true;
            }
        }
        loop {
            if let [low, middle, high, _, rest @ ..] = self.head.as_slice() {
                let (length, first) = (length([*low, *middle, *high]), rest.first().copied());
                if length == 0 || first.is_some() {
                    self.begin(length, first);
                    self.head.clear();
                    return true;
                }
            }
            let Some(byte) = bytes.get(*at) else { return false };
            self.head.push(*byte);
            *at += 1;
        }
    }
}

fn length([low, middle, high]: [u8; 3]) -> usize {
    usize::from(low) | usize::from(middle) << 8 | usize::from(high) << 16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("short").to_le_bytes();
        let mut bytes = length[..3].to_vec();
        bytes.push(0);
        bytes.extend_from_slice(payload);
        bytes
    }

    /// What is seen of a stream cut into pieces of `size` bytes, and how many bytes that was.
    fn walk(bytes: &[u8], size: usize) -> (Seen, usize) {
        let mut frames = Frames::new();
        let mut before = 0;
        for piece in bytes.chunks(size) {
            match frames.see(piece) {
                Seen::More => before += piece.len(),
                Seen::End(at) => return (Seen::End(0), before + at),
                error @ Seen::Error(_) => return (error, before),
            }
        }
        (Seen::More, before)
    }

    #[test]
    fn the_end_is_found_for_each_split_of_the_bytes() {
        let mut rows = packet(&[0, 0, 0xFE, 0xFF, 3]);
        // a row's second part may begin like an end or an error
        rows.extend(packet(&vec![0; PAYLOAD_BYTES_MAX]));
        rows.extend(packet(&[0xFE, 1]));
        rows.extend(packet(&vec![0; PAYLOAD_BYTES_MAX]));
        rows.extend(packet(&[]));
        let body = rows.len();
        let mut whole = rows.clone();
        whole.extend(packet(&[0xFE, 0, 0, 2, 0]));
        for size in [5, 7, 4096, 1 << 18, whole.len()] {
            assert_eq!(walk(&whole, size), (Seen::End(0), whole.len()), "{size}");
            assert_eq!(walk(&rows, size), (Seen::More, body), "{size}");
        }
    }

    #[test]
    fn an_error_in_the_middle_of_the_rows_is_returned() {
        let mut bytes = packet(&[0, 0, 1]);
        bytes.extend(packet(b"\xFF\x25\x05#70100stopped"));
        for size in 1..bytes.len() {
            let error = Seen::Error(b"\xFF\x25\x05#70100stopped".to_vec());
            assert_eq!(walk(&bytes, size).0, error, "{size}");
        }
    }
}
