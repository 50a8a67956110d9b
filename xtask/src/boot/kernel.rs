//! What the emulated board boots: Debian's kernel for it, its device tree, a few modules and a static busybox. From packages of
//! the policy's releases, signatures checked by apt; only these files are unpacked, and kept in the cache.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use lzma_rust2::XzReader;
use object::read::elf::ElfFile32;
use object::{Object, ObjectSection};
use serde::{Deserialize, Serialize};

use crate::base::apt::{self, Request, Resolution};
use crate::cache::{key_of, write_atomically};
use crate::cx::Cx;
use crate::deb::Deb;
use crate::error::{Context, Error, Result};
use crate::oci::layer::{Entry, EntryKind};
use crate::policy::{BootPolicy, BootSource};

/// Changes whenever the same packages would give other files.
const RULES_VERSION: &str = "1";
/// Debian's name for the architecture of the kernel: the only one with a kernel for this chip.
const ARCHITECTURE: &str = "armel";
/// No module is larger.
const LARGEST_MODULE: u64 = 64 << 20;

/// Flags that concern where it comes from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// `URL[,SECURITY_URL]` instead of the host's mirror.
    pub mirror: Option<&'a str>,
    /// Ask the archive again although the packages are known.
    pub refresh: bool,
}

/// The files, in one directory of the cache.
#[derive(Clone, Debug)]
pub(super) struct Kernel {
    dir: PathBuf,
    sheet: Sheet,
}

/// What the cache keeps beside the files.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Sheet {
    /// As `uname -r` says it.
    release: String,
    /// File names of the modules in the order in which they are loaded.
    modules: Vec<String>,
}

impl Kernel {
    pub(super) fn image(&self) -> PathBuf {
        self.dir.join("vmlinuz")
    }

    pub(super) fn device_tree(&self) -> PathBuf {
        self.dir.join("board.dtb")
    }

    /// The name of its directory in the cache, which stands for the packages that it is of, busybox among them.
    pub(super) fn key(&self) -> &str {
        self.dir.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }

    pub(super) fn release(&self) -> &str {
        &self.sheet.release
    }

    pub(super) fn busybox(&self) -> Result<Vec<u8>> {
        self.read("busybox")
    }

    /// The modules, first to be loaded first.
    pub(super) fn modules(&self) -> Result<Vec<(&str, Vec<u8>)>> {
        let modules = self.sheet.modules.iter();
        modules.map(|name| Ok((name.as_str(), self.read(name)?))).collect()
    }

    fn read(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.dir.join(name);
        fs::read(&path).context(|| format!("cannot read {}", path.display()))
    }
}

/// The kernel of the first release of the policy that works.
///
/// # Errors
/// Every release that was tried, with what was wrong.
pub(super) fn provide(cx: &Cx, policy: &BootPolicy, options: Options<'_>) -> Result<Kernel> {
    let mut tried: Vec<String> = Vec::new();
    let mut hint = None;
    for source in &policy.sources {
        match from_release(cx, policy, source, options) {
            Ok(kernel) => {
                if let Some(failure) = tried.first() {
                    cx.ui.warn(&format!("{failure}; using the kernel of {}", source.suite));
                }
                return Ok(kernel);
            }
            Err(error) => {
                hint = hint.or(error.next_step().map(str::to_owned));
                tried.push(format!("{}: {error}", source.suite));
            }
        }
    }
    let error = Error::new(format!(
        "no kernel for the emulated Pi Zero; tried:\n  {}",
        tried.join("\n  ")
    ));
    Err(match hint {
        Some(hint) => error.hint(hint),
        None => error,
    })
}

/// The release of the kernel that the cache has, if it has one; nothing is fetched.
pub fn cached(cx: &Cx, policy: &BootPolicy) -> Option<String> {
    known(cx, policy).map(|kernel| kernel.sheet.release)
}

/// The kernel that the cache has, if it has one; nothing is fetched.
pub(super) fn known(cx: &Cx, policy: &BootPolicy) -> Option<Kernel> {
    let offline = Cx {
        shell: cx.shell.clone(),
        ui: crate::ui::Ui::new(crate::ui::Verbosity::Quiet),
        cache: cx.cache.clone(),
        root: cx.root.clone(),
        offline: true,
    };
    policy.sources.iter().find_map(|source| {
        let request = request(policy, source, None);
        let resolution = apt::resolve(&offline, &request, false).ok()?;
        let dir = cx.cache.has_tree("boot", &tree_key(policy, &resolution))?;
        open(dir).ok()
    })
}

fn request<'a>(policy: &'a BootPolicy, source: &'a BootSource, mirror: Option<&'a str>) -> Request<'a> {
    Request {
        suite: &source.suite,
        aliases: &source.aliases,
        architecture: ARCHITECTURE,
        packages: &policy.packages,
        omit: &policy.omit,
        mirror,
    }
}

fn tree_key(policy: &BootPolicy, resolution: &Resolution) -> String {
    let mut key = vec![RULES_VERSION, policy.device_tree.as_str()];
    key.extend(policy.modules.iter().map(String::as_str));
    key.extend(resolution.packages.iter().map(|package| package.sha256.as_str()));
    key_of(key)
}

fn from_release(cx: &Cx, policy: &BootPolicy, source: &BootSource, options: Options<'_>) -> Result<Kernel> {
    let request = request(policy, source, options.mirror);
    let resolution = apt::resolve(cx, &request, options.refresh)?;
    let key = tree_key(policy, &resolution);
    if let Some(dir) = cx.cache.has_tree("boot", &key) {
        match open(dir.clone()) {
            Ok(kernel) => {
                cx.cache.used(&dir);
                return Ok(kernel);
            }
            // Somebody deleted a part of it.
            Err(_) => cx.cache.remove(&dir)?,
        }
    }
    let dir = cx.cache.tree("boot", &key, |dir| {
        let paths = apt::fetch(cx, &request, &resolution)?;
        cx.ui.step(
            "Unpacking",
            &format!("the kernel of Debian {} {ARCHITECTURE}", source.suite),
        );
        let mut files = BTreeMap::new();
        for (package, path) in resolution.packages.iter().zip(paths) {
            let bytes = fs::read(&path).context(|| format!("cannot read {}", path.display()))?;
            let deb = Deb::read(&format!("{} {}", package.name, package.version), &bytes)?;
            files.extend(deb.entries.into_iter().filter_map(file));
        }
        unpack(policy, &files, dir)
    })?;
    open(dir)
}

fn file(entry: Entry) -> Option<(String, Vec<u8>)> {
    match entry.kind {
        EntryKind::File(bytes) => Some((entry.path, bytes)),
        _ => None,
    }
}

fn open(dir: PathBuf) -> Result<Kernel> {
    let bytes = fs::read(dir.join("kernel.json")).context(|| format!("cannot read {}", dir.display()))?;
    let sheet: Sheet = serde_json::from_slice(&bytes).context(|| format!("damaged: {}", dir.display()))?;
    for name in ["vmlinuz", "board.dtb", "busybox"]
        .into_iter()
        .chain(sheet.modules.iter().map(String::as_str))
    {
        if !dir.join(name).is_file() {
            return Err(Error::new(format!("{} is not in {}", name, dir.display())));
        }
    }
    Ok(Kernel { dir, sheet })
}

/// Picks the files and writes them under names of our own.
fn unpack(policy: &BootPolicy, files: &BTreeMap<String, Vec<u8>>, dir: &Path) -> Result<()> {
    let only = |what: &str, wanted: &dyn Fn(&str) -> bool| -> Result<(&String, &Vec<u8>)> {
        let mut found = files.iter().filter(|(path, _)| wanted(path));
        match (found.next(), found.next()) {
            (Some(file), None) => Ok(file),
            (None, _) => Err(Error::new(format!("the packages have no {what}"))),
            (Some((first, _)), Some((second, _))) => Err(Error::new(format!(
                "the packages have two of {what}: {first} and {second}"
            ))),
        }
    };
    let (path, image) = only("kernel boot/vmlinuz-*", &|path| path.starts_with("boot/vmlinuz-"))?;
    let release = path.trim_start_matches("boot/vmlinuz-").to_owned();
    let device_tree = format!("/{}", policy.device_tree);
    let (_, tree) = only(&policy.device_tree, &|path| path.ends_with(&device_tree))?;
    let (_, busybox) = only("busybox", &|path| path.ends_with("bin/busybox"))?;
    let mut modules = Vec::new();
    for (name, bytes) in module_closure(files, &release, &policy.modules)? {
        let name = format!("{name}.ko");
        write_atomically(&dir.join(&name), &bytes)?;
        modules.push(name);
    }
    write_atomically(&dir.join("vmlinuz"), image)?;
    write_atomically(&dir.join("board.dtb"), tree)?;
    write_atomically(&dir.join("busybox"), busybox)?;
    write_atomically(
        &dir.join("kernel.json"),
        &serde_json::to_vec_pretty(&Sheet { release, modules })?,
    )
}

/// The modules and what they depend on, what others need first. depmod's files are made when a kernel is installed, so the
/// modules are asked themselves (`depends=` in `.modinfo`). What is built in need not be loaded.
fn module_closure(
    files: &BTreeMap<String, Vec<u8>>,
    release: &str,
    wanted: &[String],
) -> Result<Vec<(String, Vec<u8>)>> {
    let root = format!("lib/modules/{release}/");
    let name_of = |path: &str| -> Option<String> {
        let file = path.rsplit('/').next()?;
        Some(file.split_once(".ko")?.0.replace('-', "_"))
    };
    let below: Vec<(&str, &Vec<u8>)> = files
        .iter()
        .filter_map(|(path, bytes)| Some((path.split_once(&root)?.1, bytes)))
        .collect();
    let available: BTreeMap<String, (&str, &Vec<u8>)> = below
        .iter()
        .filter_map(|(path, bytes)| Some((name_of(path)?, (*path, *bytes))))
        .collect();
    let builtin: BTreeSet<String> = below
        .iter()
        .filter(|(path, _)| *path == "modules.builtin")
        .flat_map(|(_, bytes)| {
            String::from_utf8_lossy(bytes)
                .lines()
                .filter_map(name_of)
                .collect::<Vec<_>>()
        })
        .collect();
    let mut loaded: Vec<(String, Vec<u8>)> = Vec::new();
    let mut begun = BTreeSet::new();
    // A stack of modules, each with whether what it depends on has been put on top of it already.
    let mut todo: Vec<(String, bool)> = wanted
        .iter()
        .rev()
        .map(|name| (name.replace('-', "_"), false))
        .collect();
    let mut waiting: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    while let Some((name, ready)) = todo.pop() {
        if ready {
            if let Some(bytes) = waiting.remove(&name) {
                loaded.push((name, bytes));
            }
            continue;
        }
        if builtin.contains(&name) || !begun.insert(name.clone()) {
            continue;
        }
        let (path, packed) = available
            .get(&name)
            .context(|| format!("the kernel {release} has no module {name}"))
            .hint("`[boot] modules` in xtask.toml names the modules")?;
        let bytes = decompress(path, packed)?;
        let needs = depends(&bytes).context(|| format!("cannot read the module {path}"))?;
        waiting.insert(name.clone(), bytes);
        todo.push((name, true));
        todo.extend(needs.into_iter().map(|name| (name, false)));
    }
    Ok(loaded)
}

fn decompress(path: &str, packed: &[u8]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = match path.rsplit_once(".ko").map_or("?", |(_, suffix)| suffix) {
        "" => packed.take(LARGEST_MODULE).read_to_end(&mut bytes),
        ".xz" => XzReader::new(packed, true).take(LARGEST_MODULE).read_to_end(&mut bytes),
        ".zst" => ruzstd::decoding::StreamingDecoder::new(packed)
            .map_err(std::io::Error::other)
            .and_then(|decoder| decoder.take(LARGEST_MODULE).read_to_end(&mut bytes)),
        _ => {
            return Err(Error::new(format!(
                "the module {path} is compressed in a way that is not known"
            )));
        }
    };
    read.context(|| format!("the module {path} cannot be decompressed"))?;
    Ok(bytes)
}

/// `depends=a,b` of `.modinfo`: strings that end with NUL.
fn depends(module: &[u8]) -> Result<Vec<String>> {
    let file = ElfFile32::<object::Endianness>::parse(module)?;
    let section = file.section_by_name(".modinfo").context(|| "it has no .modinfo")?;
    let text = String::from_utf8_lossy(section.data()?).into_owned();
    let fields = text.split('\0').filter_map(|field| field.strip_prefix("depends="));
    let names = fields
        .flat_map(|names| names.split(','))
        .filter(|name| !name.is_empty());
    Ok(names.map(|name| name.replace('-', "_")).collect())
}
