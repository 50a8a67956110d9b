//! Tools that are fetched: a stand-in for pip hands out wheels that the test made, so that everything which can go wrong does.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use xtask::cache::hash_file;
use xtask::shell::{Command, Shell};

use crate::require::{require, require_program};

use super::{Workspace, fine, refused, script};

/// A workspace whose two tools for `setup` are wheels of a few bytes.
struct Bench {
    workspace: Workspace,
    /// Has the stand-in for python3, and nothing else.
    bin: PathBuf,
    cache: PathBuf,
}

const TOOLS: [&str; 2] = ["ziglang", "cargo-zigbuild"];

fn wheel(path: &Path, files: &[(&str, &str)]) {
    let mut archive = zip::ZipWriter::new(File::create(path).unwrap());
    for (name, text) in files {
        let options = zip::write::SimpleFileOptions::default().unix_permissions(0o755);
        archive.start_file(*name, options).unwrap();
        archive.write_all(text.as_bytes()).unwrap();
    }
    archive.finish().unwrap();
}

impl Bench {
    fn new() -> Self {
        let workspace = Workspace::new();
        let bin = workspace.path("../bin");
        let cache = workspace.path("../cache");
        fs::create_dir_all(workspace.path("../wheels")).unwrap();
        let bench = Bench { workspace, bin, cache };
        for name in TOOLS {
            wheel(
                &bench.wheel(name),
                &[("tool/program", "#!/bin/sh\n"), ("tool/name", name)],
            );
        }
        bench.pin(&TOOLS.map(|name| (name, hash_file(&bench.wheel(name)).unwrap())));
        // Runs with a PATH of its own, so it says where its own tools are. Every call leaves a line.
        bench.python(
            "[ \"$*\" = '-m pip --version' ] && exit 0\n\
             echo \"$*\" >> \"$HERE/../calls\"\n\
             while [ $# -gt 0 ]; do\n  case $1 in --dest) dest=$2 ;; --requirement) wanted=$2 ;; esac\n  shift\ndone\n\
             name=$(sed 's/==.*//' \"$wanted\")\n\
             cp \"$HERE/../wheels/$name.whl\" \"$dest/$name-1-py3-none-any.whl\"\n",
        );
        bench
    }

    fn wheel(&self, name: &str) -> PathBuf {
        self.workspace.path(&format!("../wheels/{name}.whl"))
    }

    fn python(&self, text: &str) {
        let text = format!("#!/bin/sh\nHERE=${{0%/*}}\nPATH=/usr/bin:/bin\n{text}");
        script(&self.bin.join("python3"), &text);
    }

    /// Writes `[tools]` with these hashes.
    fn pin(&self, hashes: &[(&str, String)]) {
        let text = self.workspace.read("xtask.toml");
        let mut text = text[..text.find("[tools.").unwrap()].to_owned();
        for (name, hash) in hashes {
            text += &format!("[tools.{name}]\nversion = \"1\"\nsha256 = [\"{hash}\"]\nprogram = \"tool/program\"\n\n");
        }
        self.workspace.write("xtask.toml", &text);
    }

    fn setup(&self) -> Command {
        super::xtask(&self.workspace.root, &["setup"])
            .env("XTASK_CACHE_DIR", &self.cache)
            .env("PATH", &self.bin)
    }

    fn calls(&self) -> usize {
        fs::read_to_string(self.workspace.path("../calls"))
            .unwrap_or_default()
            .lines()
            .count()
    }

    fn program(&self, name: &str) -> PathBuf {
        let tree = fs::read_dir(self.cache.join("tree").join(name))
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .path();
        tree.join("tool/program")
    }

    #[track_caller]
    fn refused(&self, command: &Command) -> String {
        self.workspace.plain(&refused(command))
    }

    /// Names of what the cache keeps of value.
    fn kept(&self) -> Vec<String> {
        let entries = xtask::cache::Cache::at(&self.cache).entries().unwrap();
        let mut names: Vec<String> = entries
            .into_iter()
            .map(|entry| format!("{} {}", entry.kind, entry.name))
            .collect();
        names.extend(
            fs::read_dir(self.cache.join("tmp"))
                .into_iter()
                .flatten()
                .map(|file| format!("{:?}", file.unwrap().path())),
        );
        names
    }
}

#[test]
fn tools_are_fetched_once_and_then_need_nothing() {
    let bench = Bench::new();
    assert_eq!(fine(&bench.setup()), "");
    assert_eq!(bench.calls(), 2);
    let mode = fs::metadata(bench.program("ziglang")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
    let link = bench.workspace.read(".tools/arm-unknown-linux-musleabihf-link");
    assert!(
        link.contains(&format!(
            "CARGO_ZIGBUILD_ZIG_PATH='{}'",
            bench.program("ziglang").display()
        )),
        "{link}"
    );
    // Neither python nor the network.
    fs::remove_file(bench.bin.join("python3")).unwrap();
    fine(&bench.setup());
    fine(&bench.setup().arg("--offline"));
}

#[test]
fn a_wrong_checksum_names_both_and_nothing_is_kept() {
    let bench = Bench::new();
    bench.pin(&TOOLS.map(|name| (name, "0".repeat(64))));
    let found = hash_file(&bench.wheel("ziglang")).unwrap();
    insta::assert_snapshot!(bench.refused(&bench.setup()).replace(&found, "[found]"), @r"
        Fetching ziglang 1 through pip
    error: ziglang-1-py3-none-any.whl: sha256 is [found], expected 0000000000000000000000000000000000000000000000000000000000000000
    hint: the download was damaged or replaced; try again, and distrust the package index if it happens twice
    ");
    assert_eq!(bench.kept(), [""; 0]);
    assert!(!bench.workspace.path(".tools").exists());
    // The next run is right without cleaning.
    bench.pin(&TOOLS.map(|name| (name, hash_file(&bench.wheel(name)).unwrap())));
    fine(&bench.setup());
}

#[test]
fn what_pip_says_last_is_shown_with_a_next_step() {
    let bench = Bench::new();
    bench.python(
        "[ \"$*\" = '-m pip --version' ] && exit 0\nfor i in 1 2 3 4 5 6 7 8; do echo \"line $i\" >&2; done\nexit 1\n",
    );
    insta::assert_snapshot!(bench.refused(&bench.setup()), @r"
        Fetching ziglang 1 through pip
    error: pip cannot fetch ziglang 1
      line 3
      line 4
      line 5
      line 6
      line 7
      line 8
    hint: is the package index reachable from here (proxy, `pip config list`)? A wheel placed in a directory that PIP_FIND_LINKS names serves as well
    ");
    bench.python(
        "[ \"$*\" = '-m pip --version' ] && exit 0\necho 'ERROR: THESE PACKAGES DO NOT MATCH THE HASHES' >&2\nexit 1\n",
    );
    insta::assert_snapshot!(bench.refused(&bench.setup()), @r"
        Fetching ziglang 1 through pip
    error: pip cannot fetch ziglang 1
      ERROR: THESE PACKAGES DO NOT MATCH THE HASHES
    hint: the download was damaged or replaced; try again, and distrust the package index if it happens twice
    ");
    // Ubuntu 22.04 keeps distutils in a package of its own.
    bench.python(
        "[ \"$*\" = '-m pip --version' ] && exit 0\n\
         echo \"ModuleNotFoundError: No module named 'distutils.cmd'\" >&2\nexit 1\n",
    );
    insta::assert_snapshot!(bench.refused(&bench.setup()), @r"
        Fetching ziglang 1 through pip
    error: pip cannot fetch ziglang 1
      ModuleNotFoundError: No module named 'distutils.cmd'
    hint: install python3-pip (the wheel of pip needs a module that this python3 lacks)
    ");
    bench.python("exit 0\n");
    insta::assert_snapshot!(bench.refused(&bench.setup()), @r"
        Fetching ziglang 1 through pip
    error: pip said that it fetched ziglang 1, but there is no wheel
    ");
    assert_eq!(bench.kept(), [""; 0]);
}

#[test]
fn offline_with_an_empty_cache_is_said_and_asks_nobody() {
    let bench = Bench::new();
    insta::assert_snapshot!(bench.refused(&bench.setup().arg("--offline")), @r"
    error: ziglang 1 is not in the cache, and --offline forbids to fetch it
    hint: run once without --offline
    ");
    assert_eq!(bench.calls(), 0);
    assert_eq!(bench.kept(), [""; 0]);
}

#[test]
fn without_python_or_pip_it_says_what_to_install() {
    let bench = Bench::new();
    bench.python("exit 1\n");
    insta::assert_snapshot!(bench.refused(&bench.setup()), @r"
        Fetching ziglang 1 through pip
        Fetching the package python3-pip-whl
    error: python3 has no pip module, and Debian's wheel of it cannot be had: the package python3-pip-whl is needed, only apt can fetch it, and `apt-get` is not in PATH
    hint: install pip (Debian and Ubuntu: the package python3-pip)
    ");
    fs::remove_file(bench.bin.join("python3")).unwrap();
    insta::assert_snapshot!(bench.refused(&bench.setup()), @r"
        Fetching ziglang 1 through pip
    error: python3 is not in PATH; pip, which fetches the tools, needs it
    hint: install python3 (Debian and Ubuntu: the package python3)
    ");
}

#[test]
fn a_wheel_that_is_not_what_it_should_be_leaves_no_tree() {
    let bench = Bench::new();
    wheel(&bench.wheel("ziglang"), &[("other/program", "x")]);
    bench.pin(&TOOLS.map(|name| (name, hash_file(&bench.wheel(name)).unwrap())));
    let message = bench.refused(&bench.setup());
    assert!(
        message.contains("the wheel of ziglang 1 has no `tool/program`"),
        "{message}"
    );
    wheel(&bench.wheel("ziglang"), &[("../../escaped", "x")]);
    bench.pin(&TOOLS.map(|name| (name, hash_file(&bench.wheel(name)).unwrap())));
    let message = bench.refused(&bench.setup());
    assert!(message.contains("would leave the directory"), "{message}");
    fs::write(bench.wheel("ziglang"), "no zip").unwrap();
    bench.pin(&TOOLS.map(|name| (name, hash_file(&bench.wheel(name)).unwrap())));
    let message = bench.refused(&bench.setup());
    assert!(message.contains("cannot unpack"), "{message}");
    assert!(
        bench.kept().iter().all(|name| name.starts_with("blob ")),
        "{:?}",
        bench.kept()
    );
    assert!(!bench.cache.join("escaped").exists() && !bench.cache.join("tmp/escaped").exists());
}

#[test]
fn a_damaged_blob_is_noticed_and_a_tree_with_a_hole_is_made_again() {
    let bench = Bench::new();
    fine(&bench.setup());
    let hash = hash_file(&bench.wheel("cargo-zigbuild")).unwrap();
    let blob = bench.cache.join("sha256").join(&hash);
    let mut bytes = fs::read(&blob).unwrap();
    bytes[40] ^= 1;
    fs::write(&blob, &bytes).unwrap();
    // The tree is whole, so nobody needs the blob.
    fine(&bench.setup().arg("--offline"));
    fs::remove_file(bench.program("cargo-zigbuild")).unwrap();
    let message = bench.refused(&bench.setup().arg("--offline"));
    assert!(message.contains("cargo-zigbuild 1 is not in the cache"), "{message}");
    assert!(!blob.exists(), "a damaged blob loses its name");
    fine(&bench.setup());
    assert_eq!(bench.calls(), 3);
    assert_eq!(hash_file(&blob).unwrap(), hash);
    // With a whole blob a hole in the tree needs no network.
    fs::remove_file(bench.program("ziglang")).unwrap();
    fine(&bench.setup().arg("--offline"));
    assert!(bench.program("ziglang").is_file());
}

#[test]
fn two_runs_at_once_fetch_once() {
    let bench = Bench::new();
    let run = || bench.setup().output().unwrap();
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..4).map(|_| scope.spawn(run)).collect();
        for output in runs.into_iter().map(|run| run.join().unwrap()) {
            assert!(output.status.success(), "{}", output.error_text());
        }
    });
    assert_eq!(bench.calls(), 2);
}

/// A python3 without pip, as Debian's is: Debian's own wheel of pip runs where it lies, and fetches a real wheel.
#[test]
fn without_the_pip_module_debians_wheel_of_it_serves() {
    let real = Shell::default().which("python3");
    if !require_program("apt-get") || !require("python3", real.is_some()) {
        return;
    }
    let bench = Bench::new();
    let shell = Shell::default();
    // As the caller's PATH has it, not as a PATH of two directories would.
    let python = shell
        .command("python3")
        .args(["-c", "import sys; print(sys.executable)"])
        .read()
        .unwrap();
    bench.python(&format!("[ \"$1\" = -m ] && exit 1\nexec '{python}' \"$@\"\n"));
    // One small wheel as both tools: the real one of cargo-zigbuild, as the repository pins it.
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../xtask.toml")).unwrap();
    let policy = xtask::policy::Policy::parse(&text).unwrap();
    let tool = &policy.tools["cargo-zigbuild"];
    let own = bench.workspace.read("xtask.toml");
    let mut own = own[..own.find("[tools.").unwrap()].to_owned();
    for name in TOOLS {
        own += &format!(
            "[tools.{name}]\ndistribution = \"cargo-zigbuild\"\nversion = {:?}\nsha256 = {:?}\nprogram = {:?}\n",
            tool.version, tool.sha256, tool.program
        );
    }
    bench.workspace.write("xtask.toml", &own);
    let path = std::env::join_paths([bench.bin.clone(), "/usr/bin".into(), "/bin".into(), "/usr/sbin".into()]).unwrap();
    let output = bench.setup().env("PATH", path).output().unwrap();
    let text = output.error_text();
    let failed_for = |words: &[&str]| output.status.code() == Some(2) && words.iter().any(|word| text.contains(word));
    // Of apt, of pip's retries, and of pip when it saw no index at all.
    let lacking = failed_for(&[
        "Could not resolve",
        "Could not connect",
        "Unable to connect",
        "Connection failed",
        "Temporary failure",
        "Unable to locate",
        "connection broken by",
        "(from versions: none)",
    ]);
    let bare = failed_for(&["ModuleNotFoundError"]);
    if !require(&format!("the package index and the archive of apt\n{text}"), !lacking)
        || !require("a python3 with the modules that the wheel of pip needs", !bare)
    {
        return;
    }
    assert!(output.status.success(), "{text}");
    assert!(text.contains("Fetching the package python3-pip-whl"), "{text}");
    assert_eq!(
        text.matches("through pip").count(),
        1,
        "the second tool is the same blob: {text}"
    );
}
