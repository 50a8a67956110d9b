//! EXIF: the one thing that is taken from it is how the picture is turned (CIPA DC-008, tag 0x0112).

/// From 1 (as it is) to 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Orientation(u8);

impl Orientation {
    pub const UPRIGHT: Self = Self(1);

    /// Whether width and height change places.
    pub fn swaps_sides(self) -> bool {
        self.0 >= 5
    }

    /// Reads it from a TIFF structure. What cannot be read counts as upright: that is what browsers make of it, too.
    pub fn read(tiff: &[u8]) -> Self {
        read(tiff).map_or(Self::UPRIGHT, Self)
    }

    /// A TIFF structure that holds nothing else: 26 bytes. `None` when the picture stands upright already.
    pub fn write(self) -> Option<[u8; 26]> {
        if self == Self::UPRIGHT {
            return None;
        }
        let mut tiff = *b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0";
        tiff[19] = self.0;
        Some(tiff)
    }
}

fn read(tiff: &[u8]) -> Option<u8> {
    let big = match tiff.get(..4)? {
        b"MM\0\x2a" => true,
        b"II\x2a\0" => false,
        _ => return None,
    };
    let u16_at = |at: usize| -> Option<u16> {
        let bytes = tiff.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if big {
            u16::from_be_bytes(bytes)
        } else {
            u16::from_le_bytes(bytes)
        })
    };
    let u32_at = |at: usize| -> Option<u32> {
        let bytes = tiff.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if big {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        })
    };
    let directory = usize::try_from(u32_at(4)?).ok()?;
    let entries = usize::from(u16_at(directory)?);
    (0..entries)
        .map_while(|n| directory.checked_add(2 + 12 * n))
        .take_while(|at| u16_at(*at).is_some())
        .find(|at| u16_at(*at) == Some(0x0112))
        // One SHORT.
        .filter(|at| u16_at(at + 2) == Some(3) && u32_at(at + 4) == Some(1))
        .and_then(|at| u16_at(at + 8))
        .and_then(|value| u8::try_from(value).ok())
        .filter(|value| (1..=8).contains(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for value in 2..=8 {
            let tiff = Orientation(value).write().map(|tiff| tiff.to_vec()).unwrap_or_default();
            assert_eq!(Orientation::read(&tiff), Orientation(value));
            for length in 0..20 {
                assert_eq!(Orientation::read(&tiff[..length]), Orientation::UPRIGHT, "{length}");
            }
        }
        assert_eq!(Orientation::UPRIGHT.write(), None);
    }

    #[test]
    fn both_byte_orders_and_nonsense() {
        let small = b"II\x2a\0\x08\0\0\0\x02\0\x0f\x01\x02\0\x04\0\0\0abc\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
        assert_eq!(Orientation::read(small), Orientation(6));
        let mut wrong = *small;
        wrong[30] = 9;
        assert_eq!(Orientation::read(&wrong), Orientation::UPRIGHT);
        // A directory at the end of the address space.
        assert_eq!(Orientation::read(b"II\x2a\0\xff\xff\xff\xff"), Orientation::UPRIGHT);
        assert_eq!(Orientation::read(b""), Orientation::UPRIGHT);
    }
}
