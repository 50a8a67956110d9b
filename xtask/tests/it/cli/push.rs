//! `cargo xtask push` and `cargo xtask image resolve` as their user sees them, with Debian's docker-registry.

use serde_json::Value;
use xtask::attest::manifest::referrers_tag;
use xtask::shell::{Command, Shell};

use super::whole::{built, run};
use super::{Workspace, code, fine, refused};
use crate::registry::{Real, USERS};
use crate::require::require_program;

const PUSH: [&str; 4] = ["push", "--platform", "linux/amd64", "--allow-dirty"];

fn push(workspace: &Workspace, repository: &str, more: &[&str]) -> Command {
    run(workspace, &[&PUSH[..], &["--repository", repository], more].concat())
}

/// The tags of a repository, by another tool.
fn tags(repository: &str) -> Vec<String> {
    let name = format!("docker://{repository}");
    let list = Shell::new(false)
        .command("skopeo")
        .args(["list-tags", "--tls-verify=false", &name])
        .read()
        .unwrap();
    let list: Value = serde_json::from_str(&list).unwrap();
    let mut tags: Vec<String> = serde_json::from_value(list["Tags"].clone()).unwrap();
    tags.sort();
    tags
}

#[test]
fn what_cannot_be_pushed_is_said_before_the_work() {
    let workspace = Workspace::new();
    let refused = |arguments: &[&str]| workspace.refused(arguments);
    insta::assert_snapshot!(refused(&["push"]), @r"
    error: nothing says where the images go
    hint: name it: --repository docker.io/USER/blog, or `repositories` in [push] of xtask.toml
    ");
    let to = |repository: &str| refused(&["push", "--allow-dirty", "--repository", repository]);
    assert!(
        to("me/blog:1.0").contains("`me/blog:1.0` has a tag"),
        "{}",
        to("me/blog:1.0")
    );
    let wrong = to("Me/blog!");
    assert!(
        wrong.contains("--repository") && wrong.contains("is not an image name"),
        "{wrong}"
    );
    let long = "a".repeat(256);
    assert!(to(&long).contains("is not an image name"), "{}", to(&long));
    let error = refused(&["push", "--repository", "me/blog", "--tag", "a b", "--allow-dirty"]);
    assert!(error.contains("`a b-scratch` cannot be a tag"), "{error}");
    // Nothing is sent of what nobody could make again.
    insta::assert_snapshot!(refused(&["push", "--repository", "me/blog"]), @r"
    error: git names no commit that the images are made of: nobody could make them again
    hint: commit first, or say --allow-dirty
    ");
    // xtask.toml is as good as the option.
    workspace.edit("xtask.toml", "repositories = []", "repositories = [\"me/blog:x\"]");
    assert!(refused(&["push"]).contains("xtask.toml, [push] repositories: `me/blog:x` has a tag"));
    let error = refused(&["image", "resolve", "no such image!"]);
    assert!(
        error.contains("is not an image name") && error.contains("oci:PATH"),
        "{error}"
    );
    assert!(refused(&["image", "resolve", "oci:nowhere"]).contains("nowhere"));
}

#[test]
fn a_push_from_source_to_registry_and_again() {
    if !(require_program("docker-registry") && require_program("skopeo")) {
        return;
    }
    let Some(workspace) = built() else { return };
    let temp = tempfile::tempdir().unwrap();
    let real = Real::start(temp.path(), None, None);
    let repository = format!("{}/me/blog", real.host);

    let dry = fine(&push(&workspace, &repository, &["--dry-run"]));
    assert!(
        dry.starts_with(&format!("{repository}\nupload  app layer of linux/amd64 sha256:")),
        "{dry}"
    );
    assert!(
        dry.contains("\ntag     latest is new\n") && dry.contains("\ntotal   "),
        "{dry}"
    );
    let planned: Value = serde_json::from_str(&fine(&push(&workspace, &repository, &["--dry-run", "--json"]))).unwrap();

    let output = push(&workspace, &repository, &["--json"]).output().unwrap();
    assert_eq!(code(&output), 0, "{}", output.error_text());
    let told: Value = serde_json::from_str(&output.text()).unwrap();
    // What was announced is what it cost.
    assert_eq!(told["cost"]["bytes"], planned[0]["bytes"]);
    assert_eq!(told["cost"]["requests"], planned[0]["requests"]);
    assert_eq!(
        tags(&repository),
        [
            "1",
            "1-scratch",
            "1.2",
            "1.2-scratch",
            "1.2.3",
            "1.2.3-scratch",
            "1.2.3-scratch-amd64",
            "latest",
            "scratch",
            // docker-registry 2.8 does not list referrers, so a tag does.
            referrers_tag(
                told["indexes"][0]["images"][0]["digest"]
                    .as_str()
                    .unwrap()
                    .parse()
                    .unwrap()
            )
            .as_str(),
        ]
    );
    let reference = told["indexes"][0]["reference"].as_str().unwrap();
    assert!(
        reference.starts_with(&format!("{repository}:1.2.3@sha256:")),
        "{reference}"
    );

    // Again: the same line, and not one byte.
    let again = push(&workspace, &repository, &[]).output().unwrap();
    assert_eq!(again.text(), format!("{reference}\n"));
    assert!(again.error_text().contains(": 0 B in "), "{}", again.error_text());

    // Another repository of the same registry gets its blobs by mount.
    let second = format!("{}/you/blog", real.host);
    let both = fine(&push(&workspace, &repository, &["--repository", &second]));
    assert_eq!(both.lines().count(), 2, "{both}");
    let mounted = push(
        &workspace,
        &repository,
        &["--repository", &format!("{}/they/blog", real.host)],
    )
    .output()
    .unwrap();
    let said = mounted.error_text();
    assert!(
        said.contains("Mounted app layer") && !said.contains("Uploaded app layer"),
        "{said}"
    );

    // A change of one line: one layer, the configuration and the documents.
    workspace.edit("app/src/main.rs", "ok", "fine");
    let told: Value = serde_json::from_str(&fine(&push(&workspace, &repository, &["--json"]))).unwrap();
    let digest = told["indexes"][0]["images"][0]["digest"].as_str().unwrap();
    let manifest = Shell::new(false)
        .command("skopeo")
        .args([
            "inspect",
            "--raw",
            "--tls-verify=false",
            &format!("docker://{repository}@{digest}"),
        ])
        .read()
        .unwrap();
    let size = serde_json::from_str::<Value>(&manifest).unwrap()["layers"][0]["size"]
        .as_u64()
        .unwrap();
    let sent = told["cost"]["bytes"].as_u64().unwrap();
    // The index goes out under each of its tags, and the SBOM is as long as it is, however small the program. It goes out as a
    // statement and as a referrer.
    assert!(
        sent > size && sent < size + 100_000,
        "{sent} bytes for a layer of {size}"
    );

    // A newer release is there: what it stands for, too, does not move back.
    let third = format!("{}/old/blog", real.host);
    for tag in ["1.3.0", "1.2.2", "2.0.0-scratch", "latest"] {
        let copy = [
            "copy",
            "--quiet",
            "--insecure-policy",
            "--all",
            "--src-tls-verify=false",
            "--dest-tls-verify=false",
        ];
        let (from, to) = (format!("docker://{repository}"), format!("docker://{third}:{tag}"));
        Shell::new(false)
            .command("skopeo")
            .args(copy)
            .args([&from, &to])
            .read()
            .unwrap();
    }
    let kept = ["1", "scratch", "latest"];
    let dry: Value = serde_json::from_str(&fine(&push(&workspace, &third, &["--dry-run", "--json"]))).unwrap();
    let output = push(&workspace, &third, &["--json"]).output().unwrap();
    let told: Value = serde_json::from_str(&output.text()).unwrap();
    assert_eq!(told["cost"]["requests"], dry[0]["requests"]);
    let names = |list: &Value| {
        let names = list
            .as_array()
            .unwrap()
            .iter()
            .map(|kept| kept["tag"].as_str().unwrap().to_owned());
        names.collect::<std::collections::BTreeSet<String>>()
    };
    assert_eq!(names(&dry[0]["kept"]), kept.map(str::to_owned).into());
    assert_eq!(names(&told["indexes"][0]["kept"]), kept.map(str::to_owned).into());
    let said = output.error_text();
    assert!(
        said.contains("latest stays where it is: 1.3.0 is newer (--move-back moves it)"),
        "{said}"
    );
    let moved = |tag: &str| tags(&third).contains(&tag.to_owned());
    assert!(
        moved("1.2") && moved("1.2.3") && !moved("1") && !moved("scratch"),
        "{:?}",
        tags(&third)
    );
    fine(&push(&workspace, &third, &["--move-back"]));
    assert!(moved("1") && moved("scratch"), "{:?}", tags(&third));

    // Which machine would take it.
    let resolve = |more: &[&str]| {
        run(&workspace, &[&["image", "resolve", &repository], more].concat())
            .output()
            .unwrap()
    };
    let output = resolve(&["--host", "pc", "--engine", "20.10"]);
    assert_eq!(
        (code(&output), output.text().contains("linux/amd64")),
        (0, true),
        "{}",
        output.error_text()
    );
    let output = resolve(&["--host", "pi-zero"]);
    assert_eq!(
        (code(&output), output.text().matches("none").count()),
        (1, 4),
        "{}",
        output.text()
    );
    assert_eq!(code(&resolve(&[])), 0, "it is for PCs, and nobody asked for a Zero");
    let output = run(
        &workspace,
        &["image", "resolve", "oci:target/images/scratch-amd64", "--json"],
    )
    .output()
    .unwrap();
    let answers: Value = serde_json::from_str(&output.text()).unwrap();
    // One image without an index is taken by everybody, and runs on PCs alone.
    assert_eq!((code(&output), answers.as_array().unwrap().len()), (1, 16));
    let zero = &answers.as_array().unwrap()[0];
    assert_eq!(
        (&zero["host"], &zero["engine"], &zero["runs"]),
        (&"pi-zero".into(), &"19.03".into(), &false.into())
    );

    // The same by way of --to, under one tag.
    let to = format!("docker://{}/one/blog:x", real.host);
    let line = fine(&run(&workspace, &["image", "--platform", "linux/amd64", "--to", &to]));
    assert!(line.starts_with(&format!("{to}@sha256:")), "{line}");
    let mut all = tags(&format!("{}/one/blog", real.host));
    all.retain(|tag| !tag.starts_with("sha256-"));
    assert_eq!(all, ["x"]);
}

#[test]
fn a_wrong_password_is_found_before_the_work_and_never_shown() {
    if !require_program("docker-registry") {
        return;
    }
    let Some(workspace) = built() else { return };
    let temp = tempfile::tempdir().unwrap();
    let real = Real::start(temp.path(), None, Some(USERS));
    let repository = format!("{}/me/blog", real.host);
    let with = |password: &str, more: &[&str]| {
        push(&workspace, &repository, more)
            .env("XTASK_REGISTRY", &real.host)
            .env("XTASK_REGISTRY_USER", "me")
            .env("XTASK_REGISTRY_PASSWORD", password)
    };
    let error = refused(&with("wr0ng-s3cret", &["--verbose"]));
    assert!(
        error.contains("does not let you push") && error.contains("docker login"),
        "{error}"
    );
    assert!(!error.contains("wr0ng") && !error.contains("Assembling"), "{error}");
    let output = with("hunter2", &["--verbose"]).output().unwrap();
    assert_eq!(code(&output), 0, "{}", output.error_text());
    let all = output.error_text() + &output.text();
    // bWU6aHVudGVyMg== is what goes over the wire.
    assert!(!all.contains("hunter2") && !all.contains("bWU6"), "{all}");
    let nobody = refused(&push(&workspace, &repository, &[]).env("DOCKER_CONFIG", temp.path()));
    assert!(nobody.contains("does not let you push"), "{nobody}");
}
