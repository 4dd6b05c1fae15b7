//! Rows as the servers send them, and values at the borders of their types.

/// A stream of COPY BINARY with one column. The header is in the message of the first row. Each row has its
/// own message.
pub(crate) fn copy(values: &[Vec<u8>]) -> Vec<u8> {
    let mut content = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0".to_vec();
    let mut bytes = Vec::new();
    for value in values {
        content.extend(1_i16.to_be_bytes());
        content.extend(u32::try_from(value.len()).unwrap_or_default().to_be_bytes());
        content.extend(value);
        message(&mut bytes, &std::mem::take(&mut content));
    }
    content.extend((-1_i16).to_be_bytes());
    message(&mut bytes, &content);
    bytes
}

fn message(bytes: &mut Vec<u8>, content: &[u8]) {
    bytes.push(b'd');
    bytes.extend(u32::try_from(content.len() + 4).unwrap_or_default().to_be_bytes());
    bytes.extend(content);
}

/// The packets of a result with one column.
pub(crate) fn packets(values: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, value) in values.iter().enumerate() {
        // a row without NULLs
        packet(&mut bytes, number, &[&[0, 0], value.as_slice()].concat());
    }
    packet(&mut bytes, values.len(), &[0xFE, 0, 0, 0, 0, 0, 0]);
    bytes
}

fn packet(bytes: &mut Vec<u8>, number: usize, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or_default().to_le_bytes();
    bytes.extend(&length[..3]);
    bytes.push(number.to_le_bytes()[0]);
    bytes.extend(payload);
}

/// A text of MySQL's, with its length before it.
pub(crate) fn text(value: &[u8]) -> Vec<u8> {
    let length = u32::try_from(value.len()).unwrap_or_default().to_le_bytes();
    match value.len() {
        0..=250 => [&length[..1], value].concat(),
        251..=0xFFFF => [&[0xFC], &length[..2], value].concat(),
        _ => [&[0xFD], &length[..3], value].concat(),
    }
}

/// Pseudo-random numbers, the same for the same seed.
#[derive(Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self) -> u64 {
        // xorshift64*
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap_or_default()
    }

    pub(crate) fn bytes(&mut self, most: usize) -> Vec<u8> {
        let length = self.below(most + 1);
        (0..length).map(|_| self.next().to_le_bytes()[3]).collect()
    }

    pub(crate) fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// Some of the words, one after the other.
    pub(crate) fn words(&mut self, of: &[&str], most: usize) -> Vec<u8> {
        let count = self.below(most + 1);
        (0..count).flat_map(|_| self.one(of).bytes()).collect()
    }
}
