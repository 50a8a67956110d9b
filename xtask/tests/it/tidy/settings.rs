//! `.cargo/config.toml` says again what the table of targets says, because cargo reads nothing else.

use xtask::target::{HOSTS, Libc, TARGETS};

use super::{Offence, none, read};

const FILE: &str = ".cargo/config.toml";
/// For the Pi Zero, size counts more than for others.
const SMALL: [&str; 2] = [
    "-Cforce-unwind-tables=no",
    "-Cllvm-args=-enable-machine-outliner=always",
];

/// What the file lacks or has too much. The host triples are missing on purpose: their settings would apply to everything that
/// is built to run on such a machine itself.
fn differences(text: &str) -> Vec<Offence> {
    let config: toml::Table = toml::from_str(text).unwrap_or_else(|error| panic!("{FILE}: {error}"));
    let table = |name: &str| {
        config
            .get(name)
            .and_then(toml::Value::as_table)
            .cloned()
            .unwrap_or_default()
    };
    let (targets, env) = (table("target"), table("env"));
    let line = |word: &str| {
        text.lines()
            .position(|line| line.contains(word))
            .map_or(1, |index| index + 1)
    };
    let mut offences = Vec::new();
    let mut add = |at: &str, message: String| offences.push(Offence::new(FILE, line(at), message));

    for target in TARGETS.iter().filter(|target| !HOSTS.contains(&target.triple)) {
        let triple = target.triple;
        let mut flags = vec![format!("-Ctarget-cpu={}", target.rustc_cpu)];
        if target.libc == Libc::Musl {
            // zig brings musl's start files and libc; rustc's own would come on top.
            flags.push("-Clink-self-contained=no".to_owned());
        }
        if target.triple.starts_with("arm-") {
            if target.libc == Libc::Musl {
                // A static program is linked to one address.
                flags.push("-Crelocation-model=static".to_owned());
            }
            flags.extend(SMALL.map(str::to_owned));
        }
        let lines = [
            ("linker", toml::Value::from(format!(".tools/{triple}-link"))),
            ("rustflags", toml::Value::from(flags)),
        ];
        let have = targets
            .get(triple)
            .and_then(toml::Value::as_table)
            .cloned()
            .unwrap_or_default();
        for (key, value) in lines {
            if have.get(key) != Some(&value) {
                add(
                    &format!("[target.{triple}]"),
                    format!("[target.{triple}] wants the line: {key} = {}", written(&value)),
                );
            }
        }
        for (variable, tool) in [("CC", format!("{triple}-cc")), ("AR", "ar".to_owned())] {
            let name = format!("{variable}_{}", triple.replace('-', "_"));
            let path = format!(".tools/{tool}");
            let have = env.get(&name).and_then(toml::Value::as_table);
            let same = have.is_some_and(|have| {
                have.get("value").and_then(toml::Value::as_str) == Some(&path)
                    && have.get("relative").and_then(toml::Value::as_bool) == Some(true)
            });
            if !same {
                add(
                    &name,
                    format!("[env] wants the line: {name} = {{ value = \"{path}\", relative = true }}"),
                );
            }
        }
    }
    for triple in targets
        .keys()
        .filter(|triple| HOSTS.contains(&triple.as_str()) || TARGETS.iter().all(|target| target.triple != *triple))
    {
        let why = if HOSTS.contains(&triple.as_str()) {
            "its settings would also apply to everything that is built to run here"
        } else {
            "xtask/src/target.rs does not know it"
        };
        add(
            &format!("[target.{triple}]"),
            format!("remove [target.{triple}]: {why}"),
        );
    }
    offences
}

fn written(value: &toml::Value) -> String {
    match value {
        toml::Value::Array(items) => format!("[{}]", items.iter().map(written).collect::<Vec<_>>().join(", ")),
        toml::Value::String(text) => format!("\"{text}\""),
        other => format!("{other:?}"),
    }
}

#[test]
fn cargo_config_agrees_with_the_table_of_targets() {
    none(&differences(&read(FILE)));
}

#[test]
fn bad_settings_are_found_with_the_line_to_write() {
    let empty = differences("");
    assert_eq!(empty.len(), (TARGETS.len() - HOSTS.len()) * 4);
    let text: String = empty.iter().map(|offence| format!("{offence}\n")).collect();
    for line in [
        r#"linker = ".tools/arm-unknown-linux-musleabihf-link""#,
        r#"rustflags = ["-Ctarget-cpu=arm1176jzf-s", "-Clink-self-contained=no", "-Crelocation-model=static", "-Cforce-unwind-tables=no", "-Cllvm-args=-enable-machine-outliner=always"]"#,
        r#"CC_arm_unknown_linux_gnueabi = { value = ".tools/arm-unknown-linux-gnueabi-cc", relative = true }"#,
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    let good = read(FILE);
    let bad = good.replacen("target-cpu=arm1176jzf-s", "target-cpu=cortex-a7", 1);
    assert_eq!(differences(&bad).len(), 1, "{:?}", differences(&bad));
    let host = HOSTS[0];
    let more = format!("{good}\n[target.{host}]\nlinker = \"x\"\n[target.mips-unknown-linux-gnu]\nlinker = \"x\"\n");
    assert_eq!(differences(&more).len(), 2);
}
