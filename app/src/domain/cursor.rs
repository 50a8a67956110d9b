//! Where a page of posts begins: after one post in the newest-first order.

use super::Stamp;

/// Time and id of the last post shown. Both are in it, so the link still works when that post is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    pub published_at: Stamp,
    pub id: i64,
}

impl Cursor {
    pub fn parse(text: &str) -> Option<Self> {
        let (time, id) = text.split_once('-')?;
        let number = |text: &str| {
            // `parse` alone would take "+1" too, and one place should have one address.
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<i64>().ok().filter(|_| digits)
        };
        Some(Self {
            published_at: Stamp(number(time)?),
            id: number(id)?,
        })
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.published_at.0, self.id)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn round_trip_and_refusals() {
        assert_eq!(Cursor::parse("12-3").unwrap().to_string(), "12-3");
        for bad in [
            "",
            "12",
            "-",
            "12-",
            "-3",
            "+1-2",
            "1--2",
            "a-b",
            "99999999999999999999-1",
        ] {
            assert_eq!(Cursor::parse(bad), None, "{bad}");
        }
    }
}
