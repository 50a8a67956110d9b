//! Percent-encoding (RFC 3986, 2.1), there and back.

/// For a value in a query.
pub fn encode(text: &str) -> String {
    encode_but(text, b"-._~")
}

/// Letters, digits and `kept` stay as they are.
pub fn encode_but(text: &str, kept: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || kept.contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// The bytes that a text stands for; a sign without two digits behind it stays.
pub fn decode(text: &[u8]) -> Vec<u8> {
    let digit = |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        at += 1;
        match (byte, digit(at), digit(at + 1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
                at += 2;
            }
            _ => bytes.push(*byte),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unreserved_characters_stay() {
        assert_eq!(encode("a b&c=あ~"), "a%20b%26c%3D%E3%81%82~");
        assert_eq!(encode_but("a/b~", b"/"), "a/b%7E");
    }

    #[test]
    fn broken_ones_stay() {
        assert_eq!(decode(b"%E3%81%82%2b"), "あ+".as_bytes());
        assert_eq!(decode(b"100%&%zz%f%+1"), b"100%&%zz%f%+1");
    }
}
