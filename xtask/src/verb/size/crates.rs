//! Which crates a program came from, by the symbols of the same build before it was stripped.

use std::fs;

use serde_json::Value;

use crate::cx::Cx;
use crate::elf::sections::{Symbol, sections, symbols};
use crate::policy::Policy;
use crate::report::Owned;
use crate::target::Target;

/// The label that says what the program was compiled for.
const TRIPLE: &str = "xtask.binary.triple";

/// Who owns which bytes of `program`, or why that is not known. Symbols of another build would be wrong without a sign of it,
/// so they count only when everything that is loaded is equal.
pub fn attribute(cx: &Cx, policy: &Policy, config: &Value, path: &str, program: &[u8]) -> Result<Vec<Owned>, String> {
    let own = symbols(program).map_err(|error| error.to_string())?;
    if !own.is_empty() {
        return Ok(own.iter().map(owned).collect());
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    let triple = config["config"]["Labels"][TRIPLE].as_str();
    let target = triple
        .and_then(Target::from_triple)
        .filter(|_| name == policy.image.binary);
    let Some(target) = target else {
        return Err("it is stripped, and no build of this workspace".to_owned());
    };
    let file = cx.root.join("target").join(target.triple).join("release").join(name);
    let shown = cx.show(&file);
    let built =
        fs::read(&file).map_err(|_| format!("it is stripped, and the build that it came from is not in {shown}"))?;
    let found = symbols(&built).map_err(|error| format!("{shown}: {error}"))?;
    if found.is_empty() {
        return Err(format!("it is stripped, and so is {shown}"));
    }
    if !same_code(program, &built) {
        return Err(format!("it is stripped, and {shown} is another build"));
    }
    Ok(found.iter().map(owned).collect())
}

/// Whether every section that is loaded lies at the same address in both, with the same bytes.
fn same_code(stripped: &[u8], built: &[u8]) -> bool {
    let loaded = |bytes: &[u8]| {
        let found = sections(bytes).ok()?;
        let loaded = found.into_iter().filter(|section| section.address != 0);
        let content = loaded.map(|section| {
            let (start, end) = (section.offset as usize, (section.offset + section.size) as usize);
            (section.name, section.address, bytes[start..end].to_vec())
        });
        Some(content.collect::<Vec<_>>())
    };
    match (loaded(stripped), loaded(built)) {
        (Some(a), Some(b)) => !a.is_empty() && a == b,
        _ => false,
    }
}

fn owned(symbol: &Symbol) -> Owned {
    Owned {
        address: symbol.address,
        size: symbol.size,
        owner: owner(&symbol.name),
    }
}

/// The crate that a mangled name says; what is not Rust has none.
fn owner(name: &str) -> String {
    let demangled = rustc_demangle::try_demangle(name).map(|name| format!("{name:#}"));
    demangled
        .ok()
        .as_deref()
        .and_then(first_crate)
        .unwrap_or("(C and assembly)")
        .to_owned()
}

/// `<alloc::vec::Vec<T> as core::ops::Drop>::drop` -> `alloc`: the first path in the name, which is where the code is written.
fn first_crate(name: &str) -> Option<&str> {
    let start = name.find(|c: char| c.is_ascii_alphabetic() || c == '_')?;
    let rest = &name[start..];
    let rest = ["dyn ", "mut ", "const ", "impl "]
        .iter()
        .find_map(|word| rest.strip_prefix(word))
        .unwrap_or(rest);
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))?;
    rest[end..].starts_with("::").then_some(&rest[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crate_is_the_first_of_a_name() {
        for (name, crate_name) in [
            ("_ZN4core3ptr13drop_in_place17h0123456789abcdefE", "core"),
            (
                "_ZN62_$LT$actix_http..h1..Codec$u20$as$u20$core..fmt..Debug$GT$3fmt17h0123456789abcdefE",
                "actix_http",
            ),
            ("_RNvCs1234_7mycrate3foo", "mycrate"),
            ("sqlite3_open", "(C and assembly)"),
            ("memcpy", "(C and assembly)"),
        ] {
            assert_eq!(owner(name), crate_name, "{name}");
        }
    }
}
