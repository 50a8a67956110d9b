//! Where an address of a program comes from: object, and crate or part of the tool chain.
//!
//! The linker's map is the evidence for the object; for Rust code, which link-time optimisation makes one object of, the
//! mangled name is the evidence for the crate. What neither tells stays unknown, with what was tried.

use serde::{Deserialize, Serialize};

use super::map::{LinkMap, Piece};
use super::name::{crate_of, is_std};

/// A package as cargo said it was compiled for the program's triple.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compiled {
    /// Its name on the registry: `actix-web`.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its library's name in code: `actix_web`. `None` for a package that is a program.
    pub library: Option<String>,
    /// Features it was compiled with.
    pub features: Vec<String>,
    /// File names, without directories, of what was made: `libring-1f00d5.rlib`.
    pub files: Vec<String>,
    /// Directory that its build script wrote to.
    pub out_dir: Option<String>,
    /// Whether it is part of Rust's source, which is compiled along where std is.
    pub std: bool,
}

/// What is known of a link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The linker's map; `None` when there is none, or it is of another program.
    pub map: Option<LinkMap>,
    /// All packages.
    pub packages: Vec<Compiled>,
    /// `zig 0.17.1`, which brings libc, start files, compiler_rt and libunwind.
    pub linker: String,
    /// `rustc 1.95.0 (...)`.
    pub compiler: String,
    /// Whether the C library is musl; else it is glibc.
    pub musl: bool,
}

/// Whose code it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Origin {
    /// A crate.
    Crate {
        /// The package's name.
        name: String,
        /// Its version; empty when only the name is known.
        version: String,
    },
    /// Part of the tool chain.
    Toolchain {
        /// `musl`, `libunwind`, `compiler_rt`, `crt1.o`, `std`, `linker`.
        part: String,
        /// Of the tool chain: `zig 0.17.1`, `rustc 1.95.0`.
        version: String,
    },
    /// A package of a base.
    Package {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
    },
    /// Nobody knows.
    Unknown {
        /// What was tried.
        tried: String,
    },
}

impl Origin {
    /// `ring 0.17.14`, `musl (zig 0.17.1)`, `unknown origin: ...`.
    pub fn describe(&self) -> String {
        match self {
            Origin::Crate { name, version } | Origin::Package { name, version } if version.is_empty() => name.clone(),
            Origin::Crate { name, version } => format!("{name} {version}"),
            Origin::Package { name, version } => format!("package {name} {version}"),
            Origin::Toolchain { part, version } => format!("{part} ({version})"),
            Origin::Unknown { tried } => format!("unknown origin: {tried}"),
        }
    }
}

/// Start files, by name.
const START_FILES: [&str; 12] = [
    "Scrt1.o",
    "crt1.o",
    "crtbegin.o",
    "crtbeginS.o",
    "crtbeginT.o",
    "crtend.o",
    "crtendS.o",
    "crti.o",
    "crtn.o",
    "gcrt1.o",
    "rcrt1.o",
    "crt1_dynamic.o",
];

impl Evidence {
    /// The origin of the code at an address with this symbol, and the object it was linked from
    /// (`chacha-armv4-linux32.o`).
    pub fn origin(&self, address: u64, symbol: Option<&str>) -> (Origin, Option<String>) {
        let by_name = symbol.and_then(crate_of);
        let piece = self.map.as_ref().and_then(|map| map.at(address));
        match (piece, by_name) {
            (Some(piece), by_name) => (self.by_piece(piece, by_name), Some(object(piece))),
            (None, Some(name)) => (self.by_crate(&name), None),
            (None, None) => {
                let map = match self.map {
                    Some(_) => "the linker's map has nothing at this address",
                    None => "there is no linker's map of this very program",
                };
                (unknown(format!("{map}, and the name is not one of Rust's")), None)
            }
        }
    }

    fn by_piece(&self, piece: &Piece, by_name: Option<String>) -> Origin {
        let base = base_name(&piece.file);
        if piece.file == "<internal>" {
            return self.toolchain("linker");
        }
        if let Some(stem) = base.strip_suffix(".rlib") {
            // What is generic is compiled where it is used; the name knows where it was written.
            if let Some(name) = by_name {
                return self.by_crate(&name);
            }
            let of = |package: &&Compiled| {
                package
                    .files
                    .iter()
                    .any(|file| file.strip_suffix(".rlib") == Some(stem))
            };
            return match self.packages.iter().find(of) {
                Some(package) => self.package(package),
                None => match rust_library(stem) {
                    Some(name) if is_std(name) => self.std(),
                    _ => unknown(format!("cargo named no package whose library is {base}")),
                },
            };
        }
        if let Some(name) = by_name {
            return self.by_crate(&name);
        }
        if let Some(package) = self.packages.iter().find(|package| wrote(package, &piece.file)) {
            return self.package(package);
        }
        if base.ends_with(".rcgu.o") {
            return unknown("the object holds all Rust code of the program, and this name is not mangled".to_owned());
        }
        match base {
            _ if START_FILES.contains(&base) => self.toolchain(base),
            "libc.a" if self.musl => self.toolchain("musl"),
            "libc.a" | "libc_nonshared.a" => self.toolchain("glibc"),
            "libcompiler_rt.a" | "compiler_rt.o" | "compiler_rt.a" => self.toolchain("compiler_rt"),
            "libunwind.a" => self.toolchain("libunwind"),
            "libgcc.a" | "libgcc_eh.a" => self.toolchain("libgcc"),
            _ => unknown(format!(
                "{base} was linked, and no package or part of the tool chain is known to have it"
            )),
        }
    }

    fn by_crate(&self, name: &str) -> Origin {
        if is_std(name) {
            return self.std();
        }
        let own: Vec<&Compiled> = self
            .packages
            .iter()
            .filter(|package| package.library.as_deref() == Some(name))
            .collect();
        match own.as_slice() {
            [package] => self.package(package),
            [] => {
                // The program itself has no library of that name, or nothing is known of packages.
                let program = |package: &&Compiled| package.library.is_none() && package.name.replace('-', "_") == name;
                match self.packages.iter().find(program) {
                    Some(package) => self.package(package),
                    None => Origin::Crate {
                        name: name.to_owned(),
                        version: String::new(),
                    },
                }
            }
            several => {
                let versions: Vec<&str> = several.iter().map(|package| package.version.as_str()).collect();
                unknown(format!(
                    "the crate {name} is in the program in the versions {}, and the name does not tell which",
                    versions.join(" and ")
                ))
            }
        }
    }

    fn package(&self, package: &Compiled) -> Origin {
        if package.std {
            return self.std();
        }
        Origin::Crate {
            name: package.name.clone(),
            version: package.version.clone(),
        }
    }

    fn std(&self) -> Origin {
        // `rustc 1.95.0 (59807616e 2026-04-14)`: what is in brackets does not help to find it.
        let version = self.compiler.split(" (").next().unwrap_or_default();
        Origin::Toolchain {
            part: "std".to_owned(),
            version: version.to_owned(),
        }
    }

    fn toolchain(&self, part: &str) -> Origin {
        Origin::Toolchain {
            part: part.to_owned(),
            version: self.linker.clone(),
        }
    }
}

fn unknown(tried: String) -> Origin {
    Origin::Unknown { tried }
}

/// Whether a file is what the package's build script made.
fn wrote(package: &Compiled, file: &str) -> bool {
    let out = package.out_dir.as_deref().unwrap_or_default();
    !out.is_empty() && file.strip_prefix(out).is_some_and(|rest| rest.starts_with('/'))
}

/// `libring-1f00d5` -> `ring`.
fn rust_library(stem: &str) -> Option<&str> {
    stem.strip_prefix("lib")?.rsplit_once('-').map(|(name, _)| name)
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The object's name without what only this machine or this build calls it: directories, the number that cc puts in front
/// (`5b0a4c2f0f5b1a3e-chacha.o`), cargo's hash behind.
fn object(piece: &Piece) -> String {
    let name = base_name(piece.member.as_deref().unwrap_or(&piece.file));
    match name.split_once('-') {
        Some((number, rest)) if number.len() == 16 && number.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            rest.to_owned()
        }
        _ if name.ends_with(".rcgu.o") => match name.split_once('-') {
            Some((program, _)) => format!("{program}.o"),
            None => name.to_owned(),
        },
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "\
    1000     1000      900     8 .text
    1000     1000      100     4         /t/deps/blog-07.blog.ca-cgu.0.rcgu.o:(.text.main)
    1100     1100      100     4         /t/deps/rustcX/libring-1f.rlib(5b0a4c2f0f5b1a3e-chacha-armv4-linux32.o):(.text)
    1200     1200      100     4         /z/o/0a/libc.a(/z/o/ff/atomics.o):(.text)
    1300     1300      100     4         /z/o/0a/crt1.o:(.text)
    1400     1400      100     4         <internal>:(.text.thunk)
    1500     1500      100     4         /t/build/sys-1/out/libnative.a(native.o):(.text)
    1600     1600      100     4         /opt/lib/libforeign.a(foreign.o):(.text)
    1700     1700      100     4         /t/deps/libcompiler_builtins-2a.rlib(compiler_builtins-2a.rcgu.o):(.text)
    1800     1800      100     4         /t/deps/libgone-33.rlib(gone.o):(.text)
";

    fn compiled(name: &str, version: &str, files: &[&str]) -> Compiled {
        Compiled {
            name: name.to_owned(),
            version: version.to_owned(),
            library: (name != "blog").then(|| name.replace('-', "_")),
            features: Vec::new(),
            files: files.iter().map(|file| (*file).to_owned()).collect(),
            out_dir: (name == "sys").then(|| "/t/build/sys-1/out".to_owned()),
            std: false,
        }
    }

    fn evidence() -> Evidence {
        Evidence {
            map: Some(LinkMap::parse(MAP)),
            packages: vec![
                compiled("blog", "1.2.3", &["blog-07"]),
                compiled("ring", "0.17.14", &["libring-1f.rlib"]),
                compiled("actix-web", "4.18.0", &["libactix_web-9d.rlib"]),
                compiled("sys", "0.1.0", &["libsys-1.rlib"]),
                compiled("twice", "1.0.0", &["libtwice-1.rlib"]),
                compiled("twice", "2.0.0", &["libtwice-2.rlib"]),
            ],
            linker: "zig 0.17.1".to_owned(),
            compiler: "rustc 1.95.0 (59807616e 2026-04-14)".to_owned(),
            musl: true,
        }
    }

    #[test]
    fn each_kind_of_object_has_its_origin() {
        let evidence = evidence();
        let at = |address, symbol| {
            let (origin, object) = evidence.origin(address, symbol);
            (origin.describe(), object.unwrap_or_default())
        };
        let is = |address, symbol, origin: &str, object: &str| {
            assert_eq!(
                at(address, symbol),
                (origin.to_owned(), object.to_owned()),
                "{address:#x}"
            );
        };
        is(
            0x1104,
            Some("ChaCha20_ctr32_neon"),
            "ring 0.17.14",
            "chacha-armv4-linux32.o",
        );
        is(0x1204, Some("__a_cas_v7"), "musl (zig 0.17.1)", "atomics.o");
        is(0x1304, None, "crt1.o (zig 0.17.1)", "crt1.o");
        is(
            0x1404,
            Some("__ARMv7ABSLongThunk_x"),
            "linker (zig 0.17.1)",
            "<internal>",
        );
        is(0x1504, Some("native"), "sys 0.1.0", "native.o");
        is(0x1004, Some("_RNvCs48gQ5aT77i9_4blog4main"), "blog 1.2.3", "blog.o");
        is(
            0x1004,
            Some("_RNvMNtCsaUbLfEEc8SZ_9actix_web4rmapNtB2_11ResourceMap3add"),
            "actix-web 4.18.0",
            "blog.o",
        );
        is(
            0x1704,
            Some("__aeabi_memcpy"),
            "std (rustc 1.95.0)",
            "compiler_builtins.o",
        );
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        let evidence = evidence();
        let at = |address, symbol| evidence.origin(address, symbol).0;
        for (address, symbol, tried) in [
            (0x1004, Some("memcpy"), "not mangled"),
            (0x1604, Some("foreign"), "libforeign.a"),
            (0x1804, Some("gone"), "libgone-33.rlib"),
            (0x9999, Some("main"), "nothing at this address"),
            (0x1004, Some("_RNvCs48gQ5aT77i9_5twice4main"), "1.0.0 and 2.0.0"),
        ] {
            let origin = at(address, symbol);
            assert!(
                matches!(&origin, Origin::Unknown { tried: text } if text.contains(tried)),
                "{address:#x}: {origin:?}"
            );
        }
        let without = Evidence { map: None, ..evidence };
        let (origin, object) = without.origin(0x1104, Some("ChaCha20_ctr32_neon"));
        assert!(origin.describe().contains("no linker's map"), "{origin:?}");
        assert_eq!(object, None);
        let (origin, _) = Evidence::default().origin(0x1104, Some("_RNvCs48gQ5aT77i9_4blog4main"));
        assert_eq!(origin.describe(), "blog");
    }
}
