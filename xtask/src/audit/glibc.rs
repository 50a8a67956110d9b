//! Versions of glibc: those of its symbols and that of the one in the base.

use std::fmt;

/// `2.36`, with numbers compared as numbers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(Vec<u32>);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(u32::to_string).collect();
        f.write_str(&numbers.join("."))
    }
}

impl Version {
    /// Exactly two or three numbers: `2.4`, `2.2.5`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let numbers: Vec<u32> = text
            .split('.')
            .map(|part| part.parse().ok().filter(|_| digits(part)))
            .collect::<Option<_>>()?;
        (2..=3).contains(&numbers.len()).then_some(Version(numbers))
    }

    /// The upstream version at the start of a package's version: `2.41-12+deb13u1`. An epoch is not expected.
    pub(super) fn of_package(text: &str) -> Option<Self> {
        let end = text.find(['-', '+', '~']).unwrap_or(text.len());
        Version::parse(&text[..end])
    }
}

/// What a version of glibc's symbols asks of the base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// This version or a later one.
    AtLeast(Version),
    /// `GLIBC_PRIVATE`: the very build it was linked against.
    Private,
    /// A name that begins with `GLIBC_` and that this program does not know.
    Unknown,
}

/// What a version name asks for; `None` when it is not one of glibc's.
pub(super) fn need(name: &str) -> Option<Need> {
    let rest = name.strip_prefix("GLIBC_")?;
    Some(match rest {
        "PRIVATE" => Need::Private,
        // Not a symbol: the loader's promise to handle DT_RELR, which it learnt in 2.36.
        "ABI_DT_RELR" => Need::AtLeast(Version(vec![2, 36])),
        _ => Version::parse(rest).map_or(Need::Unknown, Need::AtLeast),
    })
}

/// Whether `name` is matched by `pattern`, in which `*` stands for any characters except `/`.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(rest) = name.strip_prefix(head) else {
        return false;
    };
    // A match of the rest of the pattern at the first place where its literal stands is as good as a later one.
    let reach = rest.find('/').unwrap_or(rest.len());
    let (literal, more) = match tail.find('*') {
        Some(star) => tail.split_at(star),
        None => return rest.len() >= tail.len() && rest.ends_with(tail) && rest.len() - tail.len() <= reach,
    };
    match rest.find(literal) {
        Some(at) if at <= reach => matches(more, &rest[at + literal.len()..]),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).expect(text)
    }

    #[test]
    fn versions_compare_as_numbers() {
        assert!(version("2.4") < version("2.28"));
        assert!(version("2.2.5") < version("2.3"));
        assert_eq!(Version::of_package("2.41-12+deb13u1"), Some(version("2.41")));
        for bad in ["", "2", "2.", "2.x", "2.-1", "2.+1", "2.3.4.5", "2.99999999999"] {
            assert_eq!(Version::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn needs_are_told_apart() {
        assert_eq!(need("GLIBC_2.34"), Some(Need::AtLeast(version("2.34"))));
        assert_eq!(need("GLIBC_ABI_DT_RELR"), Some(Need::AtLeast(version("2.36"))));
        assert_eq!(need("GLIBC_PRIVATE"), Some(Need::Private));
        assert_eq!(need("GLIBC_ABI_NEWER"), Some(Need::Unknown));
        assert_eq!(need("GCC_3.5"), None);
    }

    #[test]
    fn stars_do_not_cross_directories() {
        for (pattern, name, wanted) in [
            ("libc.so.6", "libc.so.6", true),
            ("libc.so.6", "libc.so.60", false),
            ("ld-linux*.so.*", "ld-linux-armhf.so.3", true),
            ("ld-linux*.so.*", "ld-linux.so.3", true),
            ("ld-linux*.so.*", "ld-musl.so.1", false),
            ("lib*.so", "lib/evil.so", false),
            ("lib*.so", "libx.so/x", false),
            ("*", "anything", true),
            ("*", "/tmp/x", false),
            ("*a*b", "xaxb", true),
            ("*a*b", "xbxa", false),
            ("a*a", "a", false),
            ("**", "x", true),
        ] {
            assert_eq!(matches(pattern, name), wanted, "{pattern} {name}");
        }
    }
}
