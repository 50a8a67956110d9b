//! The configuration JSON: the base's, with the edits of the Dockerfile on top.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::assemble::AssembleError;
use super::{APP_LAYER, BaseImage, platform_json};
use crate::oci::dockerfile::{ConfigEdits, Healthcheck};
use crate::oci::layer::Layer;
use crate::oci::time::rfc3339;
use crate::target::Platform;

/// What is taken from the `config` of a base. The rest is Docker's own record of how the base was built.
const KEPT: [&str; 11] = [
    "ArgsEscaped",
    "Cmd",
    "Entrypoint",
    "Env",
    "ExposedPorts",
    "Healthcheck",
    "Labels",
    "StopSignal",
    "User",
    "Volumes",
    "WorkingDir",
];

/// The base must be able to run on the platform: the same architecture, and for ARM no newer variant.
pub(super) fn check_platform(base: &BaseImage, platform: Platform) -> Result<(), AssembleError> {
    let wrong = |found: String| AssembleError::BasePlatform {
        base: base.origin.clone(),
        found,
        platform,
    };
    let text = |key: &str| base.config.get(key).and_then(Value::as_str);
    if let Some(os) = text("os").filter(|os| *os != platform.os()) {
        return Err(wrong(os.to_owned()));
    }
    let Some(architecture) = text("architecture") else {
        return Ok(());
    };
    if architecture != platform.architecture() {
        return Err(wrong(format!("linux/{architecture}")));
    }
    let number = |variant: &str| variant.strip_prefix('v').and_then(|number| number.parse::<u8>().ok());
    if architecture == "arm" {
        // An arm without a variant means v7 (containerd/platforms).
        let variant = text("variant").filter(|variant| !variant.is_empty()).unwrap_or("v7");
        let fits = number(variant).zip(platform.variant().and_then(number));
        if fits.is_none_or(|(base, ours)| base > ours) {
            return Err(wrong(format!("linux/arm/{variant}")));
        }
    }
    Ok(())
}

/// The whole configuration.
pub(super) fn configuration(
    base: &BaseImage,
    edits: &ConfigEdits,
    labels: &BTreeMap<String, String>,
    platform: Platform,
    created: u64,
    app: Option<&Layer>,
    steps: &[String],
) -> Result<Value, AssembleError> {
    let created = rfc3339(created);
    let diff_ids = base.layers.iter().chain(app).map(|layer| layer.diff_id().to_string());
    let mut value = platform_json(platform);
    value["created"] = json!(created);
    value["config"] = Value::Object(run_config(base, edits, labels)?);
    value["rootfs"] = json!({"type": "layers", "diff_ids": diff_ids.collect::<Vec<_>>()});
    let mut history = base_history(base, &created);
    if let Some(app) = app {
        history.push(json!({"created": created, "created_by": app.created_by(), "comment": APP_LAYER}));
    }
    for step in steps {
        history.push(json!({"created": created, "created_by": step, "empty_layer": true}));
    }
    value["history"] = Value::Array(history);
    Ok(value)
}

/// The base's history when it accounts for all of its layers, else one line a layer.
fn base_history(base: &BaseImage, created: &str) -> Vec<Value> {
    let empty = |entry: &&Value| entry.get("empty_layer").and_then(Value::as_bool) == Some(true);
    if let Some(history) = base.config.get("history").and_then(Value::as_array)
        && history.iter().filter(|entry| !empty(entry)).count() == base.layers.len()
    {
        let mut history = history.clone();
        for entry in &mut history {
            // A base may itself be an image of ours.
            if entry.get("comment").and_then(Value::as_str) == Some(APP_LAYER)
                && let Some(entry) = entry.as_object_mut()
            {
                entry.remove("comment");
            }
        }
        return history;
    }
    let line = |layer: &Layer| json!({"created": created, "created_by": layer.created_by()});
    base.layers.iter().map(line).collect()
}

fn run_config(
    base: &BaseImage,
    edits: &ConfigEdits,
    labels: &BTreeMap<String, String>,
) -> Result<Map<String, Value>, AssembleError> {
    let wrong = |key: &str| AssembleError::BaseConfig {
        base: base.origin.clone(),
        key: key.to_owned(),
    };
    let mut config = match base.config.get("config") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(config)) => config.clone(),
        Some(_) => return Err(wrong("config")),
    };
    config.retain(|key, value| KEPT.contains(&key.as_str()) && !value.is_null());
    for (key, value) in &config {
        let strings = |values: &Vec<Value>| values.iter().all(Value::is_string);
        let fine = match key.as_str() {
            "Cmd" | "Entrypoint" | "Env" => value.as_array().is_some_and(strings),
            "Labels" => value
                .as_object()
                .is_some_and(|labels| labels.values().all(Value::is_string)),
            "ExposedPorts" | "Volumes" | "Healthcheck" => value.is_object(),
            "ArgsEscaped" => value.is_boolean(),
            _ => value.is_string(),
        };
        if !fine {
            return Err(wrong(&format!("config.{key}")));
        }
    }
    let mut environment: Vec<String> = match config.remove("Env") {
        Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    for (name, value) in &edits.env {
        let prefix = format!("{name}=");
        let line = format!("{prefix}{value}");
        match environment.iter_mut().find(|line| line.starts_with(&prefix)) {
            Some(old) => *old = line,
            None => environment.push(line),
        }
    }
    if !environment.is_empty() {
        config.insert("Env".to_owned(), json!(environment));
    }
    for (name, value) in edits.labels.iter().chain(labels) {
        merged(&mut config, "Labels").insert(name.clone(), json!(value));
    }
    for port in &edits.exposed_ports {
        merged(&mut config, "ExposedPorts").insert(port.clone(), json!({}));
    }
    for volume in &edits.volumes {
        merged(&mut config, "Volumes").insert(volume.clone(), json!({}));
    }
    let texts = [
        ("User", &edits.user),
        ("WorkingDir", &edits.working_dir),
        ("StopSignal", &edits.stop_signal),
    ];
    for (key, value) in texts {
        if let Some(value) = value {
            config.insert(key.to_owned(), json!(value));
        }
    }
    for (key, value) in [("Entrypoint", &edits.entrypoint), ("Cmd", &edits.cmd)] {
        match value {
            Some(words) if words.is_empty() => drop(config.remove(key)),
            Some(words) => drop(config.insert(key.to_owned(), json!(words))),
            None => {}
        }
    }
    if let Some(check) = &edits.healthcheck {
        config.insert("Healthcheck".to_owned(), healthcheck(check));
    }
    Ok(config)
}

fn merged<'a>(config: &'a mut Map<String, Value>, key: &str) -> &'a mut Map<String, Value> {
    let entry = config.entry(key).or_insert_with(|| json!({}));
    if !entry.is_object() {
        *entry = json!({});
    }
    match entry {
        Value::Object(map) => map,
        _ => unreachable!("made an object above"),
    }
}

/// Docker's extension: oci-spec has no type for it.
fn healthcheck(check: &Healthcheck) -> Value {
    let mut value = json!({"Test": check.test});
    let times = [
        ("Interval", check.interval),
        ("Timeout", check.timeout),
        ("StartPeriod", check.start_period),
        ("StartInterval", check.start_interval),
        ("Retries", check.retries.map(u64::from)),
    ];
    for (key, number) in times {
        if let Some(number) = number {
            value[key] = json!(number);
        }
    }
    value
}
