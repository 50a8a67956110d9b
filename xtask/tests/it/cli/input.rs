//! Bad input: refused with what is wrong and what to do, before anything is done.

use std::fs;

use super::{Workspace, fine, refused, xtask};

/// What clap says ends with a line about --help; the rest is ours.
#[track_caller]
fn usage(workspace: &Workspace, args: &[&str]) -> String {
    let text = workspace.refused(args);
    assert!(text.contains("For more information, try '--help'."), "{text}");
    text.lines().next().unwrap().to_owned()
}

#[test]
fn values_that_do_not_exist_are_named_with_those_that_do() {
    let workspace = Workspace::new();
    let usage = |args: &[&str]| usage(&workspace, args);
    insta::assert_snapshot!(usage(&["image", "--base", "gentoo"]), @"error: invalid value 'gentoo' for '--base <BASE>': unknown base `gentoo`: expected one of scratch, alpine, raspbian, debian");
    insta::assert_snapshot!(usage(&["image", "--platform", "linux/riscv64"]), @"error: invalid value 'linux/riscv64' for '--platform <PLATFORM>': unknown platform `linux/riscv64`: expected one of linux/arm/v6, linux/arm/v7, linux/arm64, linux/amd64");
    insta::assert_snapshot!(usage(&["image", "--platform", "linux/arm"]), @"error: invalid value 'linux/arm' for '--platform <PLATFORM>': unknown platform `linux/arm`: expected one of linux/arm/v6, linux/arm/v7, linux/arm64, linux/amd64; an arm without variant means v7 to Docker, so say which");
    insta::assert_snapshot!(usage(&["image", "--platform", "armhf"]), @"error: invalid value 'armhf' for '--platform <PLATFORM>': unknown platform `armhf`: expected one of linux/arm/v6, linux/arm/v7, linux/arm64, linux/amd64; armhf is ARMv7 to Debian and ARMv6 to Raspbian and Alpine, so say which");
    insta::assert_snapshot!(usage(&["image", "--to", "floppy:/dev/fd0"]), @"error: invalid value 'floppy:/dev/fd0' for '--to <DEST>': unknown destination `floppy:/dev/fd0`: expected oci:PATH, docker-archive:PATH, docker-daemon:NAME[:TAG] or docker://REFERENCE");
    insta::assert_snapshot!(usage(&["image", "--to", "somewhere"]), @"error: invalid value 'somewhere' for '--to <DEST>': unknown destination `somewhere`: expected oci:PATH, docker-archive:PATH, docker-daemon:NAME[:TAG] or docker://REFERENCE");
    insta::assert_snapshot!(usage(&["image", "--to", "oci:"]), @"error: invalid value 'oci:' for '--to <DEST>': `oci:` needs a path after the colon");
    insta::assert_snapshot!(usage(&["image", "--to", "docker-archive:"]), @"error: invalid value 'docker-archive:' for '--to <DEST>': `docker-archive:` needs a path after the colon");
    insta::assert_snapshot!(usage(&["image", "--to", "docker-daemon:Blog"]), @"error: invalid value 'docker-daemon:Blog' for '--to <DEST>': `Blog` is not an image name: expected lower-case letters, digits and single `.`, `_`, `-` inside, parts separated by `/`");
    insta::assert_snapshot!(usage(&["image", "--to", "docker-daemon:blog:-1"]), @"error: invalid value 'docker-daemon:blog:-1' for '--to <DEST>': `-1` is not a tag: expected at most 128 letters, digits, `_`, `.` and `-`, not starting with `.` or `-`");
    insta::assert_snapshot!(usage(&["test", "--only", "nonsense"]), @"error: invalid value 'nonsense' for '--only <STEP>'");
    insta::assert_snapshot!(usage(&["cache", "prune", "--older-than", "soon"]), @"error: invalid value 'soon' for '--older-than <DAYS>': invalid digit found in string");
    insta::assert_snapshot!(usage(&["image", "--quiet", "--verbose"]), @"error: the argument '--quiet' cannot be used with '--verbose'");
    insta::assert_snapshot!(usage(&["imgae"]), @"error: unrecognized subcommand 'imgae'");
    insta::assert_snapshot!(usage(&["image", "--frobnicate"]), @"error: unexpected argument '--frobnicate' found");
}

#[test]
fn without_a_verb_the_help_is_shown_and_help_is_no_error() {
    let workspace = Workspace::new();
    for args in [&[][..], &["cache"]] {
        // No `--offline` here: it would be an argument.
        let text = refused(&xtask(&workspace.root, args));
        assert!(text.contains("Usage: cargo xtask"), "{text}");
    }
    for args in [&["--help"][..], &["help", "image"], &["image", "--help"]] {
        assert!(fine(&xtask(&workspace.root, args)).contains("Usage: cargo xtask"));
    }
    assert_eq!(
        fine(&xtask(&workspace.root, &["--version"])),
        format!("cargo xtask {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn requests_that_contradict_themselves_are_refused() {
    let workspace = Workspace::new();
    insta::assert_snapshot!(workspace.refused(&["image", "--with", "busybox"]), @"error: --with adds packages of Debian's archive, and scratch takes none: add `--base debian`");
    let several = [
        "image",
        "--to",
        "docker-daemon:blog",
        "--platform",
        "linux/arm64",
        "--platform",
        "linux/amd64",
    ];
    insta::assert_snapshot!(workspace.refused(&several), @"error: --to docker-daemon:NAME names one image, and this makes several: use --load, which gives each its own tag");
    insta::assert_snapshot!(workspace.refused(&["size", "target/images"]), @r"
    error: `target/images`: expected oci:PATH, docker-archive:PATH or docker-daemon:NAME
    hint: for example: cargo xtask size oci:target/images/scratch-armv6
    ");
    insta::assert_snapshot!(workspace.refused(&["size"]), @r"
    error: there is no image in target/images
    hint: make one: `cargo xtask image`
    ");
    insta::assert_snapshot!(workspace.refused(&["audit"]), @r"
    error: there is no image in target/images to audit
    hint: make one: `cargo xtask image`, or name a FILE
    ");
    insta::assert_snapshot!(workspace.refused(&["size", "oci:app"]), @r"
    error: app is not an OCI image layout
    hint: a layout has the files oci-layout and index.json; `cargo xtask image` makes one
    ");
    insta::assert_snapshot!(workspace.refused(&["run", "--env", "TITLE"]), @r"
    error: --env TITLE: expected NAME=VALUE
    hint: quote the whole: --env 'NAME=a value'
    ");
    insta::assert_snapshot!(workspace.refused(&["test", "--only", "fmt", "--", "x"]), @r"
    error: arguments after `--` go to test programs, and none is selected
    hint: add --only xtask
    ");
}

#[test]
fn times_that_are_none_are_refused() {
    let workspace = Workspace::new();
    let with = |value: &str| {
        let command = workspace.xtask(&["image", "--dry-run"]).env("SOURCE_DATE_EPOCH", value);
        workspace.plain(&refused(&command))
    };
    insta::assert_snapshot!(with("yesterday"), @r"
    error: SOURCE_DATE_EPOCH is `yesterday`, not a number of seconds since 1970 and before the year 10000
    hint: unset it to use the time of the commit
    ");
    for value in ["", "-1", "1.5", "253402300800", "99999999999999999999"] {
        assert!(with(value).contains(&format!("SOURCE_DATE_EPOCH is `{value}`")));
    }
    use std::os::unix::ffi::OsStrExt;
    let garbage = std::ffi::OsStr::from_bytes(b"\xff7");
    refused(
        &workspace
            .xtask(&["image", "--dry-run"])
            .env("SOURCE_DATE_EPOCH", garbage),
    );
    let plan = fine(
        &workspace
            .xtask(&["image", "--dry-run"])
            .env("SOURCE_DATE_EPOCH", "86400"),
    );
    assert!(plan.contains("SOURCE_DATE_EPOCH=86400"), "{plan}");
}

#[test]
fn outside_the_workspace_it_says_so() {
    let workspace = Workspace::new();
    let outside = workspace.path("../elsewhere");
    fs::create_dir(&outside).unwrap();
    let outside = fs::canonicalize(outside).unwrap();
    insta::assert_snapshot!(workspace.plain(&refused(&xtask(&outside, &["image", "--dry-run"]))), @r"
    error: [outside]/elsewhere is not inside the workspace: no xtask.toml beside a Cargo.toml upwards from there
    hint: run `cargo xtask` inside a clone of the repository
    ");
    // Any directory inside will do.
    let inside = workspace.path("app/src");
    let plan = fine(&xtask(&inside, &["image", "--dry-run"]));
    assert!(
        plan.starts_with("source   blog 1.2.3 (no revision), SOURCE_DATE_EPOCH=0\n"),
        "{plan}"
    );
}

#[test]
fn xtask_toml_is_read_strictly() {
    let check = |from: &str, to: &str| {
        let workspace = Workspace::new();
        workspace.edit("xtask.toml", from, to);
        workspace.refused(&["image", "--dry-run"])
    };
    let malformed = check("[defaults]", "[defaults");
    assert!(
        malformed.starts_with("error: xtask.toml: TOML parse error at line "),
        "{malformed}"
    );
    assert!(
        malformed.contains("[defaults\n"),
        "the line itself is shown: {malformed}"
    );
    let unknown = check("[defaults]", "[defaults]\ncolour = \"red\"");
    assert!(
        unknown.contains("unknown field `colour`, expected one of `bases`, `platforms`, `sqlite`"),
        "{unknown}"
    );
    let hash = check(
        "version = \"0.17.1\"\nsha256 = [",
        "version = \"0.17.1\"\nsha256 = [\n    \"EA6CC5D8\",",
    );
    insta::assert_snapshot!(hash, @r"
    error: xtask.toml: tools.ziglang: `EA6CC5D8` is not a SHA-256 in lower-case hex
    hint: its comments say what each key means; `git diff xtask.toml` shows what changed here
    ");
    let base = check("bases = [\"scratch\"]", "bases = [\"gentoo\"]");
    assert!(
        base.contains("unknown variant `gentoo`, expected one of `scratch`, `alpine`, `raspbian`, `debian`"),
        "{base}"
    );
    let none = check("bases = [\"scratch\"]", "bases = []");
    assert!(
        none.contains("defaults: at least one base and one platform are needed"),
        "{none}"
    );
    let waiver = "[[audit.waivers]]\ntriple = \"x86_64-unknown-linux-musl\"\nrule = \"elf.colour\"\nfound = \"red\"\nreason = \"r\"\n\n[budget]";
    let waiver = check("[budget]", waiver);
    assert!(
        waiver.contains("audit.waivers: there is no rule `elf.colour`"),
        "{waiver}"
    );
    let workspace = Workspace::new();
    fs::remove_file(workspace.path("xtask.toml")).unwrap();
    assert!(workspace.refused(&["image"]).contains("is not inside the workspace"));
    workspace.write("xtask.toml", "");
    assert!(workspace.refused(&["image"]).contains("missing field `image`"));
}

/// Offline, with an empty cache: the first thing that compiling needs would be zig, so a message that is not about zig came first.
#[test]
fn the_dockerfile_is_checked_before_anything_is_fetched_or_compiled() {
    let check = |from: &str, to: &str| {
        let workspace = Workspace::new();
        workspace.edit("docker/Dockerfile", from, to);
        let message = workspace.refused(&["image"]);
        assert!(!workspace.path("target").exists(), "nothing may be compiled");
        assert!(!workspace.path("../cache").exists(), "nothing may be fetched");
        let line = workspace
            .read("docker/Dockerfile")
            .lines()
            .position(|line| line == to.trim());
        message.replace(&format!("line {}:", line.unwrap() + 1), "line [right]:")
    };
    insta::assert_snapshot!(check("WORKDIR /data", "RUN adduser blog"), @"error: docker/Dockerfile: line [right]: RUN in a stage that makes the image: foreign code cannot run here; do it in the `compile` stage and COPY the result");
    insta::assert_snapshot!(check("COPY docker/rootfs/ /\n", "COPY docker/roots/ /\n"), @r"
    error: docker/Dockerfile: line [right]: COPY docker/roots: there is no such file in the build context
    hint: the build context is the root of the workspace
    ");
    insta::assert_snapshot!(check("COPY docker/rootfs/ /\n", "COPY --from=compile /out/blgo /\n"), @r"
    error: docker/Dockerfile: line [right]: COPY --from=compile out/blgo: `compile` has no such file
    hint: `compile` is the only other place: it has /out/blog and /out/data
    ");
    insta::assert_snapshot!(check("COPY docker/rootfs/ /\n", "COPY --from=stage /out/blog /\n"), @r"
    error: docker/Dockerfile: line [right]: COPY --from=stage out/blog: there is no stage or build context `stage`
    hint: `compile` is the only other place: it has /out/blog and /out/data
    ");
    insta::assert_snapshot!(check("COPY docker/rootfs/ /\n", "COPY ../secret /\n"), @"error: docker/Dockerfile: line [right]: COPY: `../secret` leads out of what is copied from");
    insta::assert_snapshot!(check("WORKDIR /data", "WORKDRI /data"), @"error: docker/Dockerfile: line [right]: unknown instruction 'WORKDRI'");
    let workspace = Workspace::new();
    fs::remove_file(workspace.path("docker/Dockerfile")).unwrap();
    insta::assert_snapshot!(workspace.refused(&["image"]), @"error: cannot read docker/Dockerfile: No such file or directory (os error 2)");
}
