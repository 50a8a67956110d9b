//! Figures for people: bytes, seconds, instructions. Pure, so that a report is written in the same words as a message.

/// Bytes in powers of ten, as registries count them: `1.04 MB`.
pub fn bytes(count: u64) -> String {
    match count {
        0..1_000 => format!("{count} B"),
        1_000..1_000_000 => format!("{:.1} kB", count as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} MB", count as f64 / 1e6),
        _ => format!("{:.2} GB", count as f64 / 1e9),
    }
}

/// `0.4 s`, and never `0.0 s`.
pub fn seconds(count: f64) -> String {
    match count {
        count if count < 0.05 => "< 0.1 s".to_owned(),
        count if count < 100.0 => format!("{count:.1} s"),
        count => format!("{:.0} min", count / 60.0),
    }
}

/// Instructions of a processor: `312 M`.
pub fn instructions(count: u64) -> String {
    match count {
        0..1_000_000 => format!("{:.0} k", count as f64 / 1e3),
        1_000_000..10_000_000_000 => format!("{:.0} M", count as f64 / 1e6),
        _ => format!("{:.1} G", count as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_registries_write_them() {
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1_000), "1.0 kB");
        assert_eq!(bytes(1_043_000), "1.04 MB");
        assert_eq!(bytes(2_000_000_000), "2.00 GB");
    }

    #[test]
    fn times_and_work_are_never_shown_as_nothing() {
        assert_eq!(
            [0.001, 0.06, 1.0, 120.0].map(seconds),
            ["< 0.1 s", "0.1 s", "1.0 s", "2 min"]
        );
        assert_eq!(
            [900_000, 312_400_000, 12_300_000_000].map(instructions),
            ["900 k", "312 M", "12.3 G"]
        );
    }
}
