//! What a deploy costs on a Pi: seconds on the network, bytes on the SD card, instructions to unpack. A model, and its limits.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::stream::{Extent, ExtentKind};

/// Bits per second.
///
/// The default is an assumption and not a measurement: the radio of the Zero W is 802.11n at 2.4 GHz with one stream in a
/// channel of 20 MHz, 72.2 Mbit/s on the air at best (IEEE 802.11-2020, table 19-27, MCS 7), of which a little more than a quarter
/// is left for a download in a house with neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bandwidth(u64);

impl Default for Bandwidth {
    fn default() -> Self {
        Bandwidth(20_000_000)
    }
}

impl Bandwidth {
    /// Bits per second.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// How long so many bytes take, to the millisecond.
    fn seconds(self, bytes: u64) -> f64 {
        let milliseconds = u128::from(bytes) * 8_000 / u128::from(self.0.max(1));
        milliseconds as f64 / 1e3
    }
}

impl fmt::Display for Bandwidth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, divisor) = match self.0 {
            0..1_000_000 => ("kbit/s", 1_000),
            1_000_000..1_000_000_000 => ("Mbit/s", 1_000_000),
            _ => ("Gbit/s", 1_000_000_000),
        };
        write!(f, "{} {unit}", self.0 as f64 / f64::from(divisor))
    }
}

impl FromStr for Bandwidth {
    type Err = String;

    /// `20Mbit/s`, `2.5 Mbit/s`, `800kbit/s`, `1Gbit/s`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || format!("`{text}` is no bandwidth: expected for example 20Mbit/s, 2.5Mbit/s or 800kbit/s");
        let units = [("kbit/s", 1e3), ("Mbit/s", 1e6), ("Gbit/s", 1e9)];
        let (number, factor) = units
            .iter()
            .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?.trim_end(), factor)))
            .ok_or_else(wrong)?;
        let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let bits = number.parse::<f64>().map_err(|_| wrong())? * factor;
        if !plain || !(1e3..=1e12).contains(&bits) {
            return Err(wrong());
        }
        Ok(Bandwidth(bits.round() as u64))
    }
}

/// What a deploy costs on a Pi.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deploy {
    /// When the Pi has nothing of it.
    pub first: Pull,
    /// When it has the base.
    pub update: Pull,
    /// Instructions to decompress and unpack all layers, if they were measured.
    pub unpack: Option<Unpack>,
}

/// One pull.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pull {
    /// Bytes to pull. HTTP and TLS come on top.
    pub bytes: u64,
    /// At the report's bandwidth.
    pub seconds: f64,
    /// What it means for the SD card.
    pub card: Card,
}

/// Bytes on the SD card, by a model: ext4 with blocks of 4096 bytes, each file and directory in blocks of its own. Inodes, the
/// journal and the engine's own records come on top.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// Written: each layer first as it is pulled, into a temporary file or containerd's content store, and then unpacked.
    pub written: u64,
    /// Kept by the overlay2 store: what is unpacked.
    pub overlay2: u64,
    /// Kept by containerd's store, the default of fresh installations since Engine 29: the blobs as well.
    pub containerd: u64,
}

/// Unpacking, measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpack {
    /// Instructions of the emulated processor.
    pub instructions: u64,
    /// How they were counted.
    pub method: String,
}

/// Blocks of ext4 on a card of a few GB and more.
const BLOCK: u64 = 4096;
/// Shorter targets of symbolic links lie in the inode (ext4 documentation, "Symbolic Links").
const INLINE_LINK: u64 = 60;

/// What the entries of a layer take in blocks.
pub fn blocks(entries: &[Extent]) -> u64 {
    let size = |entry: &Extent| match entry.kind {
        ExtentKind::File => (entry.data.end - entry.data.start).div_ceil(BLOCK) * BLOCK,
        ExtentKind::Directory => BLOCK,
        ExtentKind::Symlink(target) if target >= INLINE_LINK => BLOCK,
        ExtentKind::Symlink(_) | ExtentKind::Other => 0,
    };
    entries.iter().map(size).sum()
}

/// The pull of `documents` and of layers with so many bytes as pulled and in blocks.
pub fn pull(bandwidth: Bandwidth, documents: u64, layers: &[(u64, u64)]) -> Pull {
    let compressed: u64 = layers.iter().map(|layer| layer.0).sum();
    let unpacked: u64 = layers.iter().map(|layer| layer.1).sum();
    let bytes = documents + compressed;
    Pull {
        bytes,
        seconds: bandwidth.seconds(bytes),
        card: Card {
            written: bytes + unpacked,
            overlay2: documents + unpacked,
            containerd: bytes + unpacked,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bandwidths_are_read_and_written() {
        for (text, bits) in [
            ("20Mbit/s", 20_000_000),
            ("2.5 Mbit/s", 2_500_000),
            ("800kbit/s", 800_000),
            ("1Gbit/s", 1_000_000_000),
        ] {
            let bandwidth: Bandwidth = text.parse().unwrap();
            assert_eq!(bandwidth.bits(), bits);
            assert_eq!(bandwidth.to_string().parse(), Ok(bandwidth));
        }
        for wrong in [
            "",
            "20",
            "20MB/s",
            "0Mbit/s",
            "-1Mbit/s",
            "1e9kbit/s",
            "infMbit/s",
            "NaNMbit/s",
            "20 mbit/s",
            "9999999Gbit/s",
        ] {
            assert!(wrong.parse::<Bandwidth>().is_err(), "{wrong}");
        }
        assert_eq!(Bandwidth::default().seconds(2_500_000), 1.0);
    }

    #[test]
    fn files_take_whole_blocks_and_short_links_none() {
        let entry = |kind, size| Extent {
            path: String::new(),
            kind,
            data: 512..512_u64 + size,
            end: 4096,
        };
        let entries = [
            entry(ExtentKind::File, 0),
            entry(ExtentKind::File, 1),
            entry(ExtentKind::File, 4097),
            entry(ExtentKind::Directory, 0),
            entry(ExtentKind::Symlink(59), 0),
            entry(ExtentKind::Symlink(60), 0),
            entry(ExtentKind::Other, 0),
        ];
        assert_eq!(blocks(&entries), 5 * 4096);
        let pull = pull(Bandwidth::default(), 100, &[(1_000, 8_192), (24_000, 4_096)]);
        assert_eq!((pull.bytes, pull.seconds), (25_100, 0.01));
        assert_eq!(
            pull.card,
            Card {
                written: 37_388,
                overlay2: 12_388,
                containerd: 37_388
            }
        );
    }
}
