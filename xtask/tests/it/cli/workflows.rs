//! The workflows of GitHub Actions: they are valid, they are safe, and each of their commands is one that runs here, too.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use xtask::cache::Cache;
use xtask::cli::Cli;
use xtask::oci::Digest;

use super::{Workspace, code, fine, refused};
use crate::require::require_program;

/// The commands of the workflows that are not the product's, and why they are not run by a test: what they do is GitHub's or the
/// container's. (`apt-get` is what `.ci/run` does on a machine that lacks something.)
const FOREIGN: [&str; 3] = ["apt-get update ", "gh release create ", "sha256sum --check "];

fn repository() -> PathBuf {
    fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("..")).unwrap()
}

fn cache() -> PathBuf {
    std::env::var_os("XTASK_CACHE_DIR").map_or_else(|| Cache::default_root().unwrap(), PathBuf::from)
}

/// Every workflow with its text.
fn workflows() -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = fs::read_dir(repository().join(".github/workflows"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            (
                path.file_name().unwrap().to_string_lossy().into_owned(),
                fs::read_to_string(&path).unwrap(),
            )
        })
        .collect();
    found.sort();
    assert!(found.len() >= 2, "ci.yml and release.yml");
    found
}

/// The values of a key, with their lines, wherever it stands.
fn values<'a>(text: &'a str, key: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    text.lines().enumerate().filter_map(move |(index, line)| {
        let line = line.trim_start().trim_start_matches("- ");
        let value = line.strip_prefix(key)?.strip_prefix(':')?;
        Some((index + 1, value.trim()))
    })
}

/// The command of a step, with variables as words: `$BASE` is what the shell puts there. `None`: it is not one of xtask's.
fn xtask_words(run: &str) -> Option<Vec<String>> {
    let run = match run.split_once("$(") {
        Some((_, inner)) => inner.split_once(')').unwrap().0,
        None => run,
    };
    let rest = run.strip_prefix("cargo xtask ")?;
    let value = |word: &str| match word.trim_matches('"') {
        "$BASE" => "alpine".to_owned(),
        "$TAG" => "v1.2.3".to_owned(),
        "$REPOSITORY" => "docker.io/somebody/blog".to_owned(),
        word => word.to_owned(),
    };
    Some(rest.split_whitespace().map(value).collect())
}

#[test]
fn every_step_is_one_command_of_this_repository() {
    let mut seen = Vec::new();
    for (file, text) in workflows() {
        for (line, run) in values(&text, "run").filter(|(_, run)| !run.is_empty()) {
            let place = format!("{file}:{line}: {run}");
            assert!(
                !run.starts_with(['|', '>']),
                "{place}: several lines are a script, and belong into xtask"
            );
            if run == ".ci/run" {
                assert!(repository().join(run).is_file());
                seen.push(run.to_owned());
            } else if let Some(words) = xtask_words(run) {
                if let Err(error) =
                    Cli::try_parse_from(std::iter::once("cargo xtask").chain(words.iter().map(String::as_str)))
                {
                    panic!("{place}: {error}");
                }
                assert!(
                    !words.iter().any(|word| word.contains('$')),
                    "{place}: a variable that this test does not know"
                );
                seen.push(words.join(" "));
            } else {
                assert!(
                    FOREIGN.iter().any(|known| run.starts_with(known)),
                    "{place}: no command of this repository"
                );
            }
        }
    }
    seen.sort();
    seen.dedup();
    // Each is run by a test: the second column says which. A new step needs one, too.
    let tested = [
        (".ci/run", "CI itself"),
        (
            "ci checksums target/dist",
            "checksums_are_compared_before_they_are_written",
        ),
        (
            "ci dist --base alpine",
            "a_release_has_archives_verdicts_sizes_and_checksums",
        ),
        ("ci lint", "the_workflows_have_no_findings"),
        ("plan --json", "a_release_is_planned_and_its_tag_compared"),
        ("plan --tag v1.2.3", "a_release_is_planned_and_its_tag_compared"),
        (
            "push --base scratch --base alpine --base raspbian --base debian --repository docker.io/somebody/blog",
            "cli::push",
        ),
    ];
    assert_eq!(seen, tested.map(|(command, _)| command));
}

/// What is released is what is pushed.
#[test]
fn the_release_pushes_its_bases() {
    let policy = xtask::policy::Policy::parse(&fs::read_to_string(repository().join("xtask.toml")).unwrap()).unwrap();
    let bases: String = policy
        .release
        .bases
        .iter()
        .map(|base| format!(" --base {base}"))
        .collect();
    let release = workflows()
        .into_iter()
        .find(|(file, _)| file == "release.yml")
        .unwrap()
        .1;
    assert!(
        release.contains(&format!("cargo xtask push{bases} --repository")),
        "{bases}"
    );
    assert_eq!(policy.release.platforms, policy.push.platforms);
}

#[test]
fn actions_are_pinned_by_commit_and_named_by_version() {
    for (file, text) in workflows() {
        for (line, action) in values(&text, "uses").filter(|(_, action)| !action.starts_with("./")) {
            let (pinned, version) = action.split_once(" # v").unwrap_or((action, ""));
            let commit = pinned.split_once('@').map_or("", |(_, commit)| commit);
            assert!(
                commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit()) && !version.is_empty(),
                "{file}:{line}: `uses: OWNER/NAME@COMMIT # vVERSION`, not {action}"
            );
        }
        assert!(
            text.contains("\npermissions: {}\n"),
            "{file}: each job asks for what it needs"
        );
    }
    let ci = workflows().into_iter().find(|(file, _)| file == "ci.yml").unwrap().1;
    assert!(!ci.contains("secrets."), "pull requests see no secret");
}

#[test]
fn the_workflows_have_no_findings() {
    if !require_program("python3") {
        return;
    }
    fine(&super::xtask(&repository(), &["ci", "lint"]).env("XTASK_CACHE_DIR", cache()));
}

#[test]
fn a_workflow_with_a_mistake_or_a_hole_is_a_finding() {
    if !require_program("python3") {
        return;
    }
    let workspace = Workspace::new();
    let lint = || {
        super::xtask(&workspace.root, &["ci", "lint"])
            .env("XTASK_CACHE_DIR", cache())
            .output()
            .unwrap()
    };
    assert_eq!(code(&lint()), 2, "no workflows are no clean workflows");
    let good = "name: x\non:\n  push:\n    branches: [main]\npermissions: {}\nconcurrency:\n  group: x\n  \
                cancel-in-progress: true\njobs:\n  x:\n    name: x\n    runs-on: ubuntu-24.04\n    steps:\n      - run: echo\n";
    workspace.write(".github/workflows/x.yml", good);
    let output = lint();
    assert_eq!(code(&output), 0, "{}", output.error_text());
    for (what, from, to, program) in [
        ("an unknown key", "runs-on", "run-on", "actionlint"),
        (
            "an expression of a type that is none",
            "echo",
            "echo ${{ github.nothing }}",
            "actionlint",
        ),
        (
            "a title that becomes code",
            "echo",
            "echo ${{ github.event.head_commit.message }}",
            "zizmor",
        ),
        ("a tag that moves", "run: echo", "uses: actions/checkout@v4", "zizmor"),
    ] {
        workspace.write(".github/workflows/x.yml", &good.replacen(from, to, 1));
        let output = lint();
        assert_eq!(code(&output), 1, "{what}: {}", output.error_text());
        assert!(
            output.error_text().contains(&format!("{program} has findings")),
            "{what}: {}",
            output.error_text()
        );
    }
}

#[test]
fn a_release_is_planned_and_its_tag_compared() {
    let workspace = Workspace::new();
    let text = fine(&workspace.xtask(&["plan"]));
    assert_eq!(
        text,
        "version  1.2.3 (tag v1.2.3)\n\
         scratch  linux/arm/v6, linux/arm/v7, linux/arm64, linux/amd64\n\
         alpine   linux/arm/v6, linux/arm/v7, linux/arm64, linux/amd64\n\
         raspbian linux/arm/v6\n\
         debian   linux/arm/v6, linux/arm/v7, linux/arm64, linux/amd64\n"
    );
    let json = fine(&workspace.xtask(&["plan", "--json"]));
    assert_eq!(json.lines().count(), 1, "an output of a step is one line: {json}");
    let plan: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(plan["matrix"]["include"][2]["base"], "raspbian");
    assert_eq!(plan["prerelease"], false);

    fine(&workspace.xtask(&["plan", "--tag", "v1.2.3"]));
    let output = workspace.xtask(&["plan", "--tag", "v1.2.4"]).output().unwrap();
    assert_eq!(code(&output), 1);
    assert_eq!(output.text(), "");
    assert!(
        output.error_text().contains("v1.2.4 is not that of version 1.2.3"),
        "{}",
        output.error_text()
    );

    workspace.edit(
        "xtask.toml",
        "bases = [\"scratch\", \"alpine\"",
        "bases = [\"scratch\", \"scratch\"",
    );
    let error = workspace.refused(&["plan"]);
    assert!(error.contains("scratch twice"), "{error}");
}

#[test]
fn only_bases_of_the_release_are_made() {
    let workspace = Workspace::new();
    workspace.edit("xtask.toml", "\"alpine\", \"raspbian\"", "\"raspbian\"");
    let error = workspace.refused(&["ci", "dist", "--base", "alpine"]);
    assert!(error.contains("alpine is not a base of the release"), "{error}");
}

#[test]
fn checksums_are_compared_before_they_are_written() {
    let workspace = Workspace::new();
    let write = |name: &str, text: &str| workspace.write(&format!("target/dist/{name}"), text);
    let line = |text: &str, name: &str| format!("{}  {name}\n", Digest::of(text.as_bytes()).hex());
    let all = workspace.path("target/dist/SHA256SUMS");
    let run = || workspace.xtask(&["ci", "checksums", "target/dist"]);
    let findings = || {
        let output = run().output().unwrap();
        assert_eq!(code(&output), 1, "{}", output.error_text());
        assert!(!all.exists());
        output.error_text()
    };

    write("a.tar", "a");
    let error = refused(&run());
    assert!(error.contains("no list of checksums"), "{error}");
    write("b.tar", "b");
    write("x-a.sha256", &line("a", "a.tar"));
    assert!(findings().contains("b.tar is in no list"));
    write("x-b.sha256", &line("b", "b.tar"));
    fine(&run());
    assert_eq!(
        fs::read_to_string(&all).unwrap(),
        line("a", "a.tar") + &line("b", "b.tar")
    );
    // A second run says the same: its own list is not one of the files.
    fine(&run());

    fs::remove_file(&all).unwrap();
    write("b.tar", "c");
    assert!(findings().contains("b.tar differs from its checksum"));
    fs::remove_file(workspace.path("target/dist/b.tar")).unwrap();
    assert!(findings().contains("b.tar is listed, and is not there"));
    write("b.tar", "b");
    write("x-a.sha256", &(line("a", "a.tar") + &line("c", "b.tar")));
    assert!(findings().contains("b.tar has two checksums"));
    write("x-a.sha256", "nonsense\n");
    assert!(refused(&run()).contains("no line of sha256sum"));
    write("x-a.sha256", &line("a", "a.tar"));
    write("inner/file", "");
    assert!(refused(&run()).contains("is not a file"));
}

/// Two platforms whose std is quickly had; the emulated Pi Zero has tests of its own (boot.rs).
#[test]
fn a_release_has_archives_verdicts_sizes_and_checksums() {
    if !require_program("python3") {
        return;
    }
    let workspace = Workspace::at(Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli/dist"), None);
    workspace.edit(
        "xtask.toml",
        "platforms = [\"linux/arm/v6\", \"linux/arm/v7\", \"linux/arm64\", \"linux/amd64\"]",
        "platforms = [\"linux/arm64\", \"linux/amd64\"]",
    );
    workspace.edit(
        "xtask.toml",
        "bases = [\"scratch\", \"alpine\", \"raspbian\", \"debian\"]",
        "bases = [\"scratch\"]",
    );
    let (out, summary) = (workspace.path("target/dist"), workspace.path("target/summary.md"));
    let _ = fs::remove_dir_all(&out);
    let _ = fs::remove_file(&summary);
    let dist = super::xtask(&workspace.root, &["ci", "dist", "--base", "scratch"])
        .env("XTASK_CACHE_DIR", cache())
        .env("GITHUB_STEP_SUMMARY", &summary);
    fine(&dist);
    let mut names: Vec<String> = fs::read_dir(&out)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "blog-1.2.3-scratch-amd64.tar",
            "blog-1.2.3-scratch-amd64.tar.audit.json",
            "blog-1.2.3-scratch-amd64.tar.provenance.json",
            "blog-1.2.3-scratch-amd64.tar.spdx.json",
            "blog-1.2.3-scratch-arm64.tar",
            "blog-1.2.3-scratch-arm64.tar.audit.json",
            "blog-1.2.3-scratch-arm64.tar.provenance.json",
            "blog-1.2.3-scratch-arm64.tar.spdx.json",
            "blog-1.2.3-scratch-size.html",
            "blog-1.2.3-scratch-size.json",
            "blog-1.2.3-scratch.sha256",
        ]
    );
    let text = fs::read_to_string(&summary).unwrap();
    assert!(
        text.starts_with("### scratch\n") && text.contains("scratch-arm64"),
        "{text}"
    );
    fine(&super::xtask(&workspace.root, &["ci", "checksums", "target/dist"]));

    // Over its budget, a base is not vouched for: the list of an earlier run goes, too.
    workspace.edit("xtask.toml", "[budget]\nscratch = ", "[budget]\nscratch = 1 # ");
    let output = dist.output().unwrap();
    assert_eq!(code(&output), 1, "{}", output.error_text());
    assert!(!out.join("blog-1.2.3-scratch.sha256").exists());
}
