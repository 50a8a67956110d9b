//! Which crates a program came from, by what its own build left behind: the program before it was stripped, and the linker's
//! map.

use std::fs;

use serde_json::Value;

use crate::compile::link_line_path;
use crate::culprit::map::{LinkMap, Piece};
use crate::culprit::name::crate_of;
use crate::cx::Cx;
use crate::elf::sections::{Symbol, symbols};
use crate::elf::strip::same_code;
use crate::policy::Policy;
use crate::report::{Attribution, Owned};
use crate::target::Target;

/// The label that says what the program was compiled for.
const TRIPLE: &str = "xtask.binary.triple";
/// Strings, tables and the like: their sections carry hashes instead of names.
const UNNAMED: &str = "(Rust, constants without a name)";
/// What only symbols tell, when they are no names of Rust's.
const FOREIGN: &str = "(C and assembly)";

/// Who owns which bytes of `program`, or why that is not known. The evidence of another build would be wrong without a sign of
/// it, so it counts only when everything that is loaded is equal.
pub fn attribute(cx: &Cx, policy: &Policy, config: &Value, path: &str, program: &[u8]) -> Attribution {
    let name = path.rsplit('/').next().unwrap_or(path);
    let triple = config["config"]["Labels"][TRIPLE].as_str();
    let target = triple
        .and_then(Target::from_triple)
        .filter(|_| name == policy.image.binary);
    let build = match target {
        Some(target) => of_build(cx, target, name, program),
        None => Err("it is stripped, and no build of this workspace".to_owned()),
    };
    // A program that nobody stripped tells itself, if less.
    let own = || symbols(program).ok().filter(|own| !own.is_empty());
    build.or_else(|why| own().map(|own| own.iter().map(by_symbol).collect()).ok_or(why))
}

fn of_build(cx: &Cx, target: &Target, name: &str, program: &[u8]) -> Attribution {
    let file = cx.root.join("target").join(target.triple).join("release").join(name);
    let shown = cx.show(&file);
    let built = fs::read(&file).map_err(|_| format!("the build that it came from is not in {shown}"))?;
    if !same_code(program, &built).map_err(|error| format!("{shown}: {error}"))? {
        return Err(format!("{shown} is another build"));
    }
    let mut map = link_line_path(cx, target).into_os_string();
    map.push(".map");
    if let Ok(text) = fs::read_to_string(&map) {
        let map = LinkMap::parse(&text);
        if map.is_of(&built) {
            return Ok(map.pieces().iter().map(by_piece).collect());
        }
    }
    let found = symbols(&built).map_err(|error| format!("{shown}: {error}"))?;
    match found[..] {
        [] => Err(format!("{shown} is stripped, and there is no map of its link")),
        _ => Ok(found.iter().map(by_symbol).collect()),
    }
}

fn by_symbol(symbol: &Symbol) -> Owned {
    Owned {
        address: symbol.address,
        size: symbol.size,
        owner: crate_of(&symbol.name).unwrap_or_else(|| FOREIGN.to_owned()),
    }
}

fn by_piece(piece: &Piece) -> Owned {
    Owned {
        address: piece.start,
        size: piece.end - piece.start,
        owner: owner(piece),
    }
}

/// The crate of an archive that rustc made, or of the function for which the section was made: link-time optimisation leaves
/// one object for all Rust code, with a section for every function. Archives and objects of the tool chain keep their names.
fn owner(piece: &Piece) -> String {
    let file = piece.file.rsplit('/').next().unwrap_or(&piece.file);
    if file == "<internal>" {
        return "(made by the linker)".to_owned();
    }
    if let Some(name) = file.strip_suffix(".rlib").and_then(|stem| stem.strip_prefix("lib")) {
        return name.rsplit_once('-').map_or(name, |(name, _)| name).to_owned();
    }
    if file.ends_with(".rcgu.o") {
        let symbol = ["_R", "_ZN"].iter().find_map(|mark| piece.section.find(mark));
        return symbol
            .and_then(|at| crate_of(&piece.section[at..]))
            .unwrap_or_else(|| UNNAMED.to_owned());
    }
    file.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_of_the_archive_or_of_the_function_that_it_names() {
        let of = |file: &str, section: &str| {
            owner(&Piece {
                start: 1,
                end: 2,
                file: file.to_owned(),
                member: None,
                section: section.to_owned(),
            })
        };
        assert_eq!(
            of("/t/deps/liblibsqlite3_sys-12aca714b0d0a8b0.rlib", ".text.sqlite3_open"),
            "libsqlite3_sys"
        );
        let lto = "/t/deps/blog-07250bf5f054f9e1.blog.cace867b97a8b8cf-cgu.0.rcgu.o";
        assert_eq!(
            of(
                lto,
                ".text._RNvMs0_CsehPmfJ8gZmU_6argon2NtB5_6Argon220update_address_block"
            ),
            "argon2"
        );
        assert_eq!(
            of(lto, ".text._ZN4core3fmt5Write9write_fmt17h0123456789abcdefE"),
            "core"
        );
        assert_eq!(of(lto, ".rodata..Lanon.0123.4"), UNNAMED);
        assert_eq!(of("/zig/o/0123/libc.a", ".text.memcpy"), "libc.a");
        assert_eq!(of("/zig/o/0123/crt1.o", ".text._start"), "crt1.o");
        assert_eq!(of("<internal>", ".ARM.exidx"), "(made by the linker)");
    }
}
