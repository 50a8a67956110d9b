//! The CRC-32 of gzip, zip and PNG (RFC 1952, section 8: polynomial 0xEDB88320, reflected).
//!
//! A table of 1 kB; the one that the compressor would bring is 16 kB.

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let mut value = n as u32;
        let mut bit = 0;
        while bit < 8 {
            value = if value & 1 == 1 {
                0xedb8_8320 ^ (value >> 1)
            } else {
                value >> 1
            };
            bit += 1;
        }
        table[n] = value;
        n += 1;
    }
    table
};

/// The check sum of the bytes so far.
#[derive(Debug, Clone, Copy)]
pub struct Crc(u32);

impl Default for Crc {
    fn default() -> Self {
        Self(u32::MAX)
    }
}

impl Crc {
    /// Of no bytes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Of these bytes alone.
    pub fn of(bytes: &[u8]) -> u32 {
        let mut crc = Self::new();
        crc.add(bytes);
        crc.value()
    }

    /// Goes on with these bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = TABLE[usize::from(self.0.to_le_bytes()[0] ^ byte)] ^ (self.0 >> 8);
        }
    }

    /// What is written down.
    pub fn value(self) -> u32 {
        !self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_this_crc() {
        let mut crc = Crc::new();
        crc.add(b"12345");
        crc.add(b"6789");
        assert_eq!(crc.value(), 0xcbf4_3926);
        assert_eq!(Crc::of(b""), 0);
    }
}
