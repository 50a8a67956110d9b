use std::collections::BTreeMap;

use xtask::oci::dockerfile::{ConfigEdits, DockerfileError, FinalStage, evaluate};

fn args(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn eval(text: &str) -> Result<FinalStage, DockerfileError> {
    evaluate(text, &BTreeMap::new(), "")
}

fn error(text: &str) -> String {
    eval(text).unwrap_err().to_string()
}

#[test]
fn the_real_dockerfile_says_what_the_image_is() {
    let text = include_str!("../../../../docker/Dockerfile");
    let stage = evaluate(text, &args(&[("BASE", "debian"), ("VERSION", "1.2.3")]), "final").unwrap();
    assert_eq!(stage.base_image, "debian:trixie-slim");
    assert_eq!(stage.base_stage.as_deref(), Some("base-debian"));
    assert_eq!(stage.config.labels["org.opencontainers.image.version"], "1.2.3");
    let stage = evaluate(text, &BTreeMap::new(), "final").unwrap();
    assert_eq!(stage.base_image, "scratch");
    let copies: Vec<&str> = stage.copies.iter().map(|copy| copy.text.as_str()).collect();
    assert_eq!(
        copies,
        [
            "COPY docker/rootfs /",
            "COPY --from=compile out/blog /usr/local/bin/blog",
            "COPY --from=compile out/data /data/"
        ]
    );
    assert_eq!(stage.copies[1].chmod, Some(0o755));
    assert_eq!(stage.copies[2].chown, Some((65532, 65532)));
    let ConfigEdits {
        env,
        user,
        working_dir,
        exposed_ports,
        volumes,
        healthcheck,
        stop_signal,
        entrypoint,
        cmd,
        ..
    } = stage.config;
    assert_eq!(env[0], ("BLOG_LISTEN".to_owned(), "0.0.0.0:8080".to_owned()));
    assert_eq!(env[1], ("BLOG_ADMIN_LISTEN".to_owned(), "0.0.0.0:8081".to_owned()));
    assert_eq!(env[2], ("BLOG_DATABASE".to_owned(), "/data/blog.db".to_owned()));
    assert_eq!(user.as_deref(), Some("65532:65532"));
    assert_eq!(working_dir.as_deref(), Some("/data"));
    assert!(exposed_ports.contains("8080/tcp") && exposed_ports.contains("8081/tcp") && volumes.contains("/data"));
    assert_eq!(healthcheck.unwrap().test, ["CMD", "/usr/local/bin/blog", "health"]);
    assert_eq!(stop_signal.as_deref(), Some("SIGTERM"));
    assert_eq!(entrypoint.unwrap(), ["/usr/local/bin/blog"]);
    assert_eq!(cmd.unwrap(), ["serve"]);
    let wrong = evaluate(text, &args(&[("BASE", "fedora")]), "final")
        .unwrap_err()
        .to_string();
    assert!(
        wrong.contains("`base-fedora`") && wrong.contains("base-scratch, base-alpine, base-raspbian, base-debian"),
        "{wrong}"
    );
}

#[test]
fn arguments_have_dockers_scopes() {
    let text = "ARG A=global\nARG B=b-$A\nFROM x:$A\nARG A\nARG C=c\nENV E=$A D=${C}\nARG E=weaker\nLABEL e=$E b=${B:-unset}\n";
    let stage = eval(text).unwrap();
    assert_eq!(stage.base_image, "x:global");
    assert_eq!(
        stage.config.env,
        [("E".to_owned(), "global".to_owned()), ("D".to_owned(), "c".to_owned())]
    );
    assert_eq!(stage.config.labels["e"], "global");
    assert_eq!(stage.config.labels["b"], "unset");
    let given = evaluate(text, &args(&[("A", "given"), ("C", "3")]), "").unwrap();
    assert_eq!(given.base_image, "x:given");
    assert_eq!(given.config.env[1].1, "3");
    // All values of one ENV see the environment from before it.
    let stage = eval("FROM scratch\nENV a=1\nENV a=2 b=$a\n").unwrap();
    assert_eq!(
        stage.config.env,
        [("a".to_owned(), "2".to_owned()), ("b".to_owned(), "1".to_owned())]
    );
    assert!(error("ARG A=1\nFROM scratch\nENV b=$A\n").starts_with("line 3: `$A` is not set"));
    let stage = eval("FROM scratch\nARG A B=\"x y\"\nLABEL a=\"$A\" b=$B\n").unwrap();
    assert_eq!(
        (stage.config.labels["a"].as_str(), stage.config.labels["b"].as_str()),
        ("", "x y")
    );
}

#[test]
fn stages_are_merged_down_to_the_image() {
    let text = "FROM scratch AS one\nENV a=1\nWORKDIR /one\nCMD [\"x\"]\nFROM one AS two\nWORKDIR two\nCOPY a b/\n\
                FROM other AS unused\nRUN make\nFROM Two\nENV b=$a\nENTRYPOINT [\"/e\"]\n";
    let stage = eval(text).unwrap();
    assert_eq!(
        (stage.base_image.as_str(), stage.base_stage.as_deref()),
        ("scratch", Some("one"))
    );
    assert_eq!(stage.copies[0].destination, "/one/two/b/");
    assert_eq!(stage.config.env.len(), 2);
    // ENTRYPOINT takes away the CMD of the stage below.
    assert_eq!(stage.config.cmd, Some(vec![]));
    assert_eq!(
        evaluate(text, &BTreeMap::new(), "one").unwrap().config.cmd,
        Some(vec!["x".to_owned()])
    );
    let both = eval("FROM scratch\nCMD [\"c\"]\nENTRYPOINT [\"/e\"]\n").unwrap();
    assert_eq!(both.config.cmd, Some(vec!["c".to_owned()]));
}

#[test]
fn forms_continuations_and_comments_are_dockers() {
    let text =
        "# escape=`\nFROM scratch\nENTRYPOINT exec `\n # a comment\n\n  /run \"$HOME\"\nLABEL a=`\"x b=\"C:\\dir\"\n";
    let stage = eval(text).unwrap();
    assert_eq!(
        stage.config.entrypoint.unwrap(),
        ["/bin/sh", "-c", "exec   /run \"$HOME\""]
    );
    assert_eq!(stage.config.labels["b"], "C:\\dir");
    assert_eq!(stage.config.labels["a"], "\"x");
    let stage = eval("\u{feff}FROM scratch\r\nHEALTHCHECK --interval=1m30s --retries=2 CMD curl -f x\r\nCMD [\"a b\", \"\\u00e9\"]\r\n").unwrap();
    let check = stage.config.healthcheck.unwrap();
    assert_eq!(check.test, ["CMD-SHELL", "curl -f x"]);
    assert_eq!(
        (check.interval, check.retries, check.timeout),
        (Some(90_000_000_000), Some(2), None)
    );
    assert_eq!(stage.config.cmd.unwrap(), ["a b", "é"]);
    let stage = eval("FROM scratch\nHEALTHCHECK NONE\nVOLUME /a /b\nVOLUME [\"/c d\"]\nEXPOSE 53/udp 80-81\nCOPY [\"a b\", \"/c d\"]\nCOPY ./x/./y ..\n").unwrap();
    assert_eq!(stage.config.healthcheck.unwrap().test, ["NONE"]);
    assert_eq!(Vec::from_iter(stage.config.volumes), ["/a", "/b", "/c d"]);
    assert_eq!(
        Vec::from_iter(stage.config.exposed_ports),
        ["53/udp", "80/tcp", "81/tcp"]
    );
    assert_eq!(
        (
            stage.copies[0].sources[0].as_str(),
            stage.copies[0].destination.as_str()
        ),
        ("a b", "/c d")
    );
    assert_eq!(
        (
            stage.copies[1].sources[0].as_str(),
            stage.copies[1].destination.as_str()
        ),
        ("x/y", "/")
    );
}

#[test]
fn what_is_not_understood_is_an_error_with_its_line() {
    for (text, wanted) in [
        ("", "line 0: "),
        ("FROM scratch\n\nFETCH x\n", "line 3: unknown instruction 'FETCH'"),
        ("COPY a b\n", "line 1: expected FROM"),
        (
            "FROM scratch\nCOPY a\n",
            "line 2: COPY instruction requires at least two",
        ),
        ("FROM scratch\n# c\nRUN make\n", "line 3: RUN in a stage"),
        ("FROM scratch AS a\nRUN x\nFROM a\n", "line 2: RUN"),
        ("FROM scratch\nADD a b\n", "line 2: ADD"),
        ("FROM scratch\nONBUILD COPY a b\n", "line 2: ONBUILD"),
        ("FROM scratch\nSHELL [\"a\"]\n", "line 2: SHELL"),
        ("FROM scratch\nMAINTAINER me\n", "line 2: MAINTAINER"),
        ("FROM scratch\nCOPY --link a b\n", "line 2: COPY --link"),
        ("FROM scratch\nCOPY --chmod=u+x a b\n", "line 2: COPY --chmod"),
        ("FROM scratch\nCOPY --chmod a b\n", "line 2: COPY --chmod"),
        ("FROM scratch\nCOPY --chown=blog a b\n", "line 2: COPY --chown: `blog`"),
        ("FROM scratch\nCOPY ../a b\n", "line 2: COPY: `../a`"),
        ("FROM scratch\nCOPY *.txt b\n", "patterns"),
        ("FROM scratch\nCOPY a b c\n", "must end with `/`"),
        ("FROM scratch\nCOPY a \"\"\n", "line 2: COPY: the destination"),
        ("FROM scratch\nCOPY <<EOF /x\nhi\nEOF\n", "here-documents"),
        ("FROM scratch\nCOPY <<EOF /x\nhi\n", "here-document"),
        ("FROM scratch AS a\nCOPY --from=a x y\n", "line 2: COPY --from=a"),
        ("FROM scratch\nCOPY --from=0 x y\n", "line 2: COPY --from=0"),
        ("FROM scratch\nCOPY --from=7 x y\n", "line 2: COPY --from=7"),
        ("FROM scratch\nFROM scratch\nCOPY --from=0 x y\n", "no name"),
        ("FROM a AS a\n", "line 1: stage `a` is built FROM itself"),
        (
            "FROM b AS a\nFROM a AS b\n",
            "line 1: FROM `b` names a stage that comes later (line 2)",
        ),
        ("FROM scratch AS a\nFROM scratch AS a\n", "duplicate"),
        ("FROM --platform=linux/amd64 scratch\n", "line 1: FROM --platform"),
        ("FROM $X\n", "line 1: `$X` is not set"),
        ("ARG X\nFROM $X\n", "line 2: FROM `$X`"),
        ("FROM scratch\nEXPOSE 70000\n", "line 2: EXPOSE: `70000`"),
        ("FROM scratch\nSTOPSIGNAL SIGNOPE\n", "line 2: STOPSIGNAL"),
        ("FROM scratch\nVOLUME data\n", "line 2: VOLUME"),
        ("FROM scratch\nVOLUME [\"/a\"\n", "line 2: VOLUME"),
        ("FROM scratch\nUSER \"\"\n", "line 2: USER"),
        ("FROM scratch\nENV a=\"b\n", "line 2: a quote"),
        ("FROM scratch\nENV =b\n", "line 2: `=b`"),
        ("FROM scratch\nUSER 'x\n", "line 2: a single quote"),
        ("FROM scratch\nENTRYPOINT ['a']\n", "line 2: ENTRYPOINT: `[`"),
        (
            "FROM scratch\nHEALTHCHECK --interval=5 CMD x\n",
            "line 2: HEALTHCHECK --interval: `5`",
        ),
        (
            "FROM scratch\nHEALTHCHECK --often=5s CMD x\n",
            "line 2: HEALTHCHECK --often",
        ),
        (
            "FROM scratch\nHEALTHCHECK --retries=0 CMD x\n",
            "line 2: HEALTHCHECK --retries",
        ),
        ("FROM scratch\nARG 1A=2\n", "line 2: `1A`"),
    ] {
        let error = error(text);
        assert!(error.contains(wanted), "{text:?}: {error}");
    }
    let missing = evaluate("FROM scratch AS a\n", &BTreeMap::new(), "final").unwrap_err();
    assert_eq!(missing.message, "there is no stage `final`; the stages are: a");
    assert!(error(&"x".repeat(10 << 20)).contains("10485760 bytes"));
    let deep = format!("FROM scratch\nENV a={}\n", "${x:-".repeat(100_000));
    assert!(error(&deep).contains("line 2: `${...}` is nested"));
}

/// A variable that doubles twenty times a line must not eat the memory.
#[test]
fn an_expansion_that_explodes_is_stopped() {
    let mut text = "FROM scratch\nENV a=xxxxxxxxxxxxxxxx\n".to_owned();
    for _ in 0..20 {
        text.push_str("ENV a=$a$a$a$a$a$a$a$a\n");
    }
    assert!(error(&text).contains("longer than"));
}

#[test]
fn garbage_never_panics() {
    let seeds = [
        include_str!("../../../../docker/Dockerfile"),
        "# escape=`\nARG A=${B:-\"c\"}\nFROM a:$A AS x\nRUN <<EOF\nfoo\nEOF\nCOPY <<-\"E\\F\" a b\n\tx\nEF\nFROM x\nHEALTHCHECK CMD [\"\\u12ab\"]\n",
        "FROM é\nENV ü=\"ß\\\n# c\n\n  d\" e='f'\nONBUILD RUN [ \"a\" ]\nSHELL [\"x\"]\r\nCMD [\"\\ud83c\\udf95\"]\n",
    ];
    let alphabet: Vec<char> = "\\`$\"'{}[]<>#-:=\n\r\t ,aéRUN\0/\u{feff}".chars().collect();
    let mut state = 7_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1442695040888963407);
        (state >> 33) as usize
    };
    for seed in seeds {
        let chars: Vec<char> = seed.chars().collect();
        for round in 0..3000 {
            let mut changed = chars.clone();
            for _ in 0..1 + round % 5 {
                let at = next() % changed.len();
                match next() % 3 {
                    0 => changed[at] = alphabet[next() % alphabet.len()],
                    1 => changed.insert(at, alphabet[next() % alphabet.len()]),
                    _ => {
                        changed.remove(at);
                    }
                }
            }
            if round % 7 == 0 {
                changed.truncate(next() % changed.len());
            }
            let _ = eval(&changed.into_iter().collect::<String>());
        }
    }
}
