//! Which crate a function was written in, from its mangled name.
//!
//! Link-time optimisation makes one object of all Rust code, so the linker's map cannot tell crates apart; names can. v0
//! (RFC 2603) names the crate of the source, impls included. The older scheme leaves out where an impl stands; there, the
//! rule that either the type or the trait is of the impl's own crate has to do, and where it does not, nothing is said.

use rustc_demangle::try_demangle;

/// Crates of Rust itself. `__rustc` is the compiler's own shims (allocator, panic handler).
const STD: [&str; 8] = [
    "__rustc",
    "alloc",
    "compiler_builtins",
    "core",
    "panic_abort",
    "panic_unwind",
    "std",
    "test",
];

/// Whether a crate is part of Rust's standard library.
pub fn is_std(name: &str) -> bool {
    STD.contains(&name)
}

/// The crate that a function was written in, by its name in code (`actix_web`). `None` for what is not Rust, has no
/// mangled name, or has one that leaves it open.
pub fn crate_of(symbol: &str) -> Option<String> {
    match symbol.strip_prefix("_R") {
        Some(path) => v0(path).or_else(|| as_trait(&demangled(symbol)?)),
        None => legacy(symbol),
    }
}

/// A name for people; the symbol itself when it is not mangled. Without the hashes of Rust's names.
pub fn readable(symbol: &str) -> String {
    demangled(symbol).unwrap_or_else(|| symbol.to_owned())
}

fn demangled(symbol: &str) -> Option<String> {
    Some(format!("{:#}", try_demangle(symbol).ok()?))
}

/// Descends to the crate root of a path. `None` for `Y` (a trait's own method), which has a type before the path.
fn v0(mangled: &str) -> Option<String> {
    let bytes = mangled.as_bytes();
    let mut at = 0;
    // Every step consumes something or jumps back; names are not deeper than this.
    for _ in 0..256 {
        match bytes.get(at)? {
            b'N' => at += 2,
            b'I' => at += 1,
            b'M' | b'X' => at = disambiguator(bytes, at + 1)?.0,
            b'C' => {
                let (start, _) = disambiguator(bytes, at + 1)?;
                return identifier(mangled, start);
            }
            b'B' => {
                let (behind, value) = base62(bytes, at + 1)?;
                let to = usize::try_from(value).ok()?;
                if to >= at || behind > bytes.len() {
                    return None;
                }
                at = to;
            }
            _ => return None,
        }
    }
    None
}

/// `s` and a number, or nothing: where it ends.
fn disambiguator(bytes: &[u8], at: usize) -> Option<(usize, u64)> {
    match bytes.get(at) {
        Some(b's') => base62(bytes, at + 1),
        _ => Some((at, 0)),
    }
}

/// `_` is 0, `0_` is 1: the position behind, and the value.
fn base62(bytes: &[u8], mut at: usize) -> Option<(usize, u64)> {
    let mut value: Option<u64> = None;
    loop {
        let byte = *bytes.get(at)?;
        at += 1;
        let digit = match byte {
            b'_' => return Some((at, value.map_or(Some(0), |value| value.checked_add(1))?)),
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'z' => byte - b'a' + 10,
            b'A'..=b'Z' => byte - b'A' + 36,
            _ => return None,
        };
        // A crate's number has up to 64 bits, and only whether it ends matters.
        value = Some(value.unwrap_or(0).wrapping_mul(62).wrapping_add(u64::from(digit)));
    }
}

fn identifier(mangled: &str, at: usize) -> Option<String> {
    let rest = mangled.get(at..)?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let length: usize = rest[..digits].parse().ok()?;
    let rest = &rest[digits..];
    // An underscore stands between number and name when the name begins with a digit or an underscore.
    let rest = rest.strip_prefix('_').unwrap_or(rest);
    rest.get(..length).map(str::to_owned)
}

/// Older mangling: `_ZN`, path, `17h` and 16 digits, `E`. C++ has the first, but not the hash.
fn legacy(symbol: &str) -> Option<String> {
    let body = symbol.strip_prefix("_ZN")?;
    let body = &body[..body.rfind('E')?];
    let hash = body.get(body.len().checked_sub(19)?..)?;
    let digits = hash.strip_prefix("17h")?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let name = demangled(symbol)?;
    if name.starts_with('<') {
        return as_impl(&name);
    }
    first_segment(&name)
}

/// `<T as path::Trait>::method` -> the crate of the trait, whose own method it is.
fn as_trait(name: &str) -> Option<String> {
    let (_, path) = parts(name)?;
    first_segment(path?)
}

/// The crate of an impl: that of the trait or that of the type, and whichever is not Rust's own.
fn as_impl(name: &str) -> Option<String> {
    let (kind, path) = parts(name)?;
    let kind = kind.trim_start_matches(['&', '*', '[', '(']).trim_start_matches("mut ");
    let of_type = first_segment(kind);
    let Some(path) = path else { return of_type };
    let of_trait = first_segment(path)?;
    match of_type {
        None => Some(of_trait),
        Some(of_type) if of_type == of_trait => Some(of_type),
        Some(of_type) => match (is_std(&of_type), is_std(&of_trait)) {
            (true, true) => Some("core".to_owned()),
            (true, false) => Some(of_trait),
            (false, true) => Some(of_type),
            (false, false) => None,
        },
    }
}

/// `<T as Trait>::...` -> `T`, `Trait`.
fn parts(name: &str) -> Option<(&str, Option<&str>)> {
    let inside = name.strip_prefix('<')?;
    let mut depth = 1usize;
    let mut split = None;
    let bytes = inside.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'<' => depth += 1,
            // The arrow of a function's type is no bracket.
            b'>' if at > 0 && bytes[at - 1] == b'-' => {}
            b'>' => depth -= 1,
            b' ' if depth == 1 && inside[at..].starts_with(" as ") => split = split.or(Some(at)),
            _ => {}
        }
        if depth == 0 {
            return Some(match split {
                Some(split) => (&inside[..split], Some(&inside[split + 4..at])),
                None => (&inside[..at], None),
            });
        }
    }
    None
}

/// `actix_web::server::run` -> `actix_web`; `None` for `u8` and the like, which belong to no path.
fn first_segment(path: &str) -> Option<String> {
    let (first, _) = path.split_once("::")?;
    let plain = !first.is_empty() && first.chars().all(|char| char.is_alphanumeric() || char == '_');
    plain.then(|| first.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_tells_the_crate_of_the_source() {
        let cases = [
            ("_RNvCs48gQ5aT77i9_4blog4main", Some("blog")),
            (
                "_RNvMNtCsaUbLfEEc8SZ_9actix_web4rmapNtB2_11ResourceMap3add",
                Some("actix_web"),
            ),
            // The impl is in actix_web although the type is a generic of another crate.
            (
                "_RNvXs0_NtCsaUbLfEEc8SZ_9actix_web7serviceINtB5_21ServiceFactoryWrapperNtNtB7_8resource8ResourceENtB5_17AppServiceFactory8registerB7_",
                Some("actix_web"),
            ),
            // A method that the trait itself has.
            (
                "_RNvYINtNtNtCsaUbLfEEc8SZ_9actix_web5error8internal13InternalErrorReENtNtB7_14response_error13ResponseError23___private_get_type_id__B9_",
                Some("actix_web"),
            ),
            ("_RNvCsfLfy6EI15iL_7___rustc12___rust_abort", Some("__rustc")),
            // Instantiated by rustc_demangle, written in core.
            (
                "_RINvMNtCshvSp4SO3UyB_4core3stre11starts_withcECscO4yyzAII84_14rustc_demangle",
                Some("core"),
            ),
            ("_ZN4ring3cpu3arm4init17h0123456789abcdefE", Some("ring")),
            (
                "_ZN61_$LT$alloc..vec..Vec$LT$T$GT$$u20$as$u20$core..fmt..Debug$GT$3fmt17h0123456789abcdefE",
                Some("core"),
            ),
            (
                "_ZN52_$LT$cookie..Key$u20$as$u20$core..cmp..PartialEq$GT$2eq17h0123456789abcdefE",
                Some("cookie"),
            ),
            (
                "_ZN48_$LT$cookie..Key$u20$as$u20$serde..Serialize$GT$9serialize17h0123456789abcdefE",
                None,
            ),
            // C++, assembler, nonsense.
            ("_ZN9libunwind13Registers_arm9saveVFPv3EPv", None),
            ("ChaCha20_ctr32_neon", None),
            ("_R", None),
            ("_RC", None),
            ("_RBB_", None),
            ("_RNvB99999_", None),
            ("_ZN17h0123456789abcdeE", None),
        ];
        for (symbol, expected) in cases {
            assert_eq!(crate_of(symbol).as_deref(), expected, "{symbol}");
        }
    }

    #[test]
    fn names_are_readable() {
        assert_eq!(readable("_RNvCs48gQ5aT77i9_4blog4main"), "blog::main");
        assert_eq!(readable("__a_cas_v7"), "__a_cas_v7");
    }
}
