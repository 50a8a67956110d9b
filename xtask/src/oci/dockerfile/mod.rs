//! Evaluates one stage of a Dockerfile without running anything: what Docker's builder would copy and configure.
//!
//! A final stage needs no `RUN`, because programs for another architecture cannot run on the machine that builds. So it can
//! be evaluated: `parse-dockerfile` reads the instructions, this module gives them Docker's meaning. What is not understood is
//! an error with the line it stands on, never skipped.

mod config;
mod expand;
mod stage;

use std::collections::BTreeMap;

use parse_dockerfile::{Command, Flag, HealthcheckArguments, Instruction, JsonOrStringArray, Source, Span};

pub use config::{ConfigEdits, Healthcheck};
use expand::{Scope, expand, pairs};
pub use stage::{BuiltStage, built_stage};

/// Longest Dockerfile that is read, in bytes.
const LENGTH: usize = 1 << 20;

/// Why a Dockerfile cannot be evaluated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct DockerfileError {
    /// Line of the instruction, from 1; 0 when it is about the file as a whole.
    pub line: usize,
    /// What is wrong, and what to do instead.
    pub message: String,
}

/// What the stage says, with every variable replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FinalStage {
    /// The image at the bottom of the chain of stages: `scratch`, `debian:trixie-slim`.
    pub base_image: String,
    /// The name of the lowest stage of the chain, if it has one: `base-scratch`.
    pub base_stage: Option<String>,
    /// `COPY`, in order.
    pub copies: Vec<Copy>,
    /// Changes to the configuration of the base.
    pub config: ConfigEdits,
    /// The other instructions, expanded, in order: the history of the image.
    pub history: Vec<String>,
}

/// One `COPY`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Copy {
    /// `--from`: a stage or a named build context, `None` for the build context.
    pub from: Option<String>,
    /// Relative paths, normalised; empty for the whole of it.
    pub sources: Vec<String>,
    /// Absolute, normalised; ends with `/` when it did.
    pub destination: String,
    /// `--chown`, as numbers.
    pub chown: Option<(u64, u64)>,
    /// `--chmod`.
    pub chmod: Option<u32>,
    /// Where it stands.
    pub line: usize,
    /// The instruction as expanded.
    pub text: String,
}

/// Evaluates the stage `stage` (the last one when empty) with the build arguments `args`.
///
/// `FROM` other stages is followed: their instructions come first. `--from` may name a stage of the file or anything else,
/// which is then a named build context that the caller must know.
pub fn evaluate(text: &str, args: &BTreeMap<String, String>, stage: &str) -> Result<FinalStage, DockerfileError> {
    let file = parse(text)?;
    let mut evaluator = evaluator(&file, text, args)?;
    let index = evaluator.index(stage)?;
    evaluator.stage(index)?;
    Ok(evaluator.result)
}

fn parse(text: &str) -> Result<parse_dockerfile::Dockerfile<'_>> {
    if text.len() > LENGTH {
        return Err(DockerfileError {
            line: 0,
            message: format!(
                "the file has {} bytes; a Dockerfile of more than {LENGTH} is none",
                text.len()
            ),
        });
    }
    parse_dockerfile::parse(text).map_err(|error| DockerfileError {
        line: error.line(),
        message: format!("{error:#}"),
    })
}

/// With the global arguments.
fn evaluator<'f, 'a>(
    file: &'f parse_dockerfile::Dockerfile<'a>,
    text: &'f str,
    args: &'f BTreeMap<String, String>,
) -> Result<Evaluator<'f, 'a>> {
    let mut evaluator = Evaluator {
        // Spans count from after a byte order mark.
        text: text.strip_prefix('\u{feff}').unwrap_or(text),
        args,
        escape: file
            .parser_directives
            .escape
            .as_ref()
            .map_or('\\', |escape| escape.value.value),
        global: Scope::default(),
        stages: file.stages().map(|stage| (stage.from, stage.instructions)).collect(),
        result: FinalStage::default(),
    };
    for arg in file.global_args() {
        let at = arg.arg.span.clone();
        let declared = evaluator.declare(&at, &arg.arguments.value, &evaluator.global)?;
        evaluator.global.args.extend(declared);
    }
    Ok(evaluator)
}

type Result<T, E = DockerfileError> = std::result::Result<T, E>;

type StageRef<'f, 'a> = (&'f parse_dockerfile::FromInstruction<'a>, &'f [Instruction<'a>]);

struct Evaluator<'f, 'a> {
    text: &'f str,
    args: &'f BTreeMap<String, String>,
    escape: char,
    global: Scope,
    stages: Vec<StageRef<'f, 'a>>,
    result: FinalStage,
}

impl Evaluator<'_, '_> {
    fn line(&self, span: &Span) -> usize {
        let before = self.text.as_bytes().get(..span.start).unwrap_or_default();
        before.iter().filter(|&&byte| byte == b'\n').count() + 1
    }

    fn error(&self, span: &Span, message: impl Into<String>) -> DockerfileError {
        DockerfileError {
            line: self.line(span),
            message: message.into(),
        }
    }

    fn expand(&self, span: &Span, text: &str, scope: &Scope) -> Result<String> {
        expand(text, scope, self.escape).map_err(|message| self.error(span, message))
    }

    /// Which stage is meant; the last one when `stage` is empty.
    fn index(&self, stage: &str) -> Result<usize> {
        if stage.is_empty() {
            return Ok(self.stages.len() - 1);
        }
        self.find(stage).ok_or_else(|| {
            let names: Vec<&str> = self
                .stages
                .iter()
                .filter_map(|(from, _)| Some(&*from.as_.as_ref()?.1.value))
                .collect();
            DockerfileError {
                line: 0,
                message: format!("there is no stage `{stage}`; the stages are: {}", names.join(", ")),
            }
        })
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.stages.iter().position(|(from, _)| {
            from.as_
                .as_ref()
                .is_some_and(|(_, stage)| stage.value.eq_ignore_ascii_case(name))
        })
    }

    /// `ARG NAME`, `ARG NAME=DEFAULT`: the build argument, else the default, else what a global `ARG` says.
    fn declare(&self, span: &Span, text: &str, scope: &Scope) -> Result<Vec<(String, Option<String>)>> {
        let fail = |message| self.error(span, message);
        let mut scope = scope.clone();
        let mut declared = Vec::new();
        // `ARG A B=1` has names without values, which pairs() takes for an error.
        let mut words = Vec::new();
        for word in split_words(text, self.escape).map_err(fail)? {
            match word.contains('=') {
                true => words.extend(
                    pairs(&word, self.escape)
                        .map_err(fail)?
                        .into_iter()
                        .map(|(k, v)| (k, Some(v))),
                ),
                false => words.push((word, None)),
            }
        }
        for (name, default) in words {
            let valid = name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
            if !valid || name.starts_with(|c: char| c.is_ascii_digit()) {
                return Err(self.error(span, format!("`{name}` is not a name for an ARG")));
            }
            let value = match (self.args.get(&name), default) {
                (Some(given), _) => Some(given.clone()),
                (None, Some(default)) => Some(self.expand(span, &default, &scope)?),
                (None, None) => self.global.args.get(&name).cloned().flatten(),
            };
            scope.args.insert(name.clone(), value.clone());
            declared.push((name, value));
        }
        Ok(declared)
    }

    fn stage(&mut self, index: usize) -> Result<()> {
        // Stages only ever build on earlier ones, so this ends.
        let (from, instructions) = self.stages[index];
        let at = from.from.span.clone();
        for flag in &from.options {
            let value = flag.value.as_ref().map(|value| &*value.value);
            let same = matches!(value, Some("$TARGETPLATFORM" | "${TARGETPLATFORM}"));
            if flag.name.value != "platform" || !same {
                return Err(self.error(
                    &at,
                    format!(
                        "FROM --{} is not supported here: the platform of the image is chosen on the command line",
                        flag.name.value
                    ),
                ));
            }
        }
        let image = self.expand(&at, &from.image.value, &self.global)?;
        if image.is_empty() || image.contains(char::is_whitespace) {
            return Err(self.error(
                &at,
                format!("FROM `{}` expands to `{image}`, which names nothing", from.image.value),
            ));
        }
        let name = from.as_.as_ref().map(|(_, name)| name.value.to_string());
        match self.find(&image) {
            Some(parent) if parent < index => self.stage(parent)?,
            Some(parent) if parent == index => {
                return Err(self.error(
                    &at,
                    format!("stage `{image}` is built FROM itself; if an image is meant, write its tag: `{image}:TAG`"),
                ));
            }
            Some(parent) => {
                let line = self.line(&self.stages[parent].0.from.span);
                return Err(self.error(
                    &at,
                    format!("FROM `{image}` names a stage that comes later (line {line}); stages can only build on earlier ones"),
                ));
            }
            None => {
                // `FROM base-${BASE}` with a BASE that has no stage would otherwise become a pull of some image.
                if from.image.value.contains('$') && !image.contains([':', '/', '@']) && image != "scratch" {
                    let names: Vec<&str> = self.stages[..index]
                        .iter()
                        .filter_map(|(from, _)| Some(&*from.as_.as_ref()?.1.value))
                        .collect();
                    return Err(self.error(
                        &at,
                        format!(
                            "FROM `{}` expands to `{image}`, and there is no such stage before it; the stages are: {}",
                            from.image.value,
                            names.join(", ")
                        ),
                    ));
                }
                self.result.base_image = image;
                self.result.base_stage = name;
            }
        }
        let mut scope = Scope {
            args: BTreeMap::new(),
            env: self.result.config.env.clone(),
        };
        let mut cmd_set = false;
        for instruction in instructions {
            self.instruction(instruction, &mut scope, index, &mut cmd_set)?;
        }
        Ok(())
    }

    fn instruction(
        &mut self,
        instruction: &Instruction<'_>,
        scope: &mut Scope,
        index: usize,
        cmd_set: &mut bool,
    ) -> Result<()> {
        match instruction {
            Instruction::Arg(arg) => {
                let declared = self.declare(&arg.arg.span, &arg.arguments.value, scope)?;
                scope.args.extend(declared);
            }
            Instruction::Copy(copy) => self.copy(copy, scope, index)?,
            Instruction::Env(env) => {
                let at = &env.env.span;
                for (name, value) in self.pairs(at, &env.arguments.value, scope)? {
                    self.note(format!("ENV {name}={value}"));
                    scope.set_env(&name, value);
                }
                self.result.config.env.clone_from(&scope.env);
            }
            Instruction::Label(label) => {
                for (name, value) in self.pairs(&label.label.span, &label.arguments.value, scope)? {
                    self.note(format!("LABEL {name}={value}"));
                    self.result.config.labels.insert(name, value);
                }
            }
            Instruction::Expose(expose) => {
                let at = &expose.expose.span;
                for word in &expose.arguments {
                    let word = self.expand(at, &word.value, scope)?;
                    for text in word.split_whitespace() {
                        let ports =
                            config::ports(text).map_err(|message| self.error(at, format!("EXPOSE: {message}")))?;
                        self.result.config.exposed_ports.extend(ports);
                        self.note(format!("EXPOSE {text}"));
                    }
                }
            }
            Instruction::Volume(volume) => {
                let at = &volume.volume.span;
                let words = match &volume.arguments {
                    JsonOrStringArray::Json(words) => &words.value[..],
                    JsonOrStringArray::String(words) => &words[..],
                };
                for word in words {
                    if word.value.starts_with('[') {
                        return Err(self.error(at, "VOLUME: `[` starts a JSON array, but what follows is none"));
                    }
                    let word = self.expand(at, &word.value, scope)?;
                    if !word.starts_with('/') {
                        return Err(self.error(at, format!("VOLUME: `{word}` is not an absolute path")));
                    }
                    self.note(format!("VOLUME {word}"));
                    self.result.config.volumes.insert(word);
                }
            }
            Instruction::User(user) => {
                let word = self.one_word(&user.user.span, "USER", &user.arguments.value, scope)?;
                self.result.config.user = Some(word);
            }
            Instruction::Workdir(workdir) => {
                let word = self.one_word(&workdir.workdir.span, "WORKDIR", &workdir.arguments.value, scope)?;
                let dir = config::join(self.result.config.working_dir.as_deref().unwrap_or("/"), &word);
                self.result.config.working_dir = Some(dir);
            }
            Instruction::Stopsignal(stop) => {
                let at = &stop.stopsignal.span;
                let word = self.one_word(at, "STOPSIGNAL", &stop.arguments.value, scope)?;
                let signal =
                    config::signal(&word).map_err(|message| self.error(at, format!("STOPSIGNAL: {message}")))?;
                self.result.config.stop_signal = Some(signal);
            }
            Instruction::Entrypoint(entrypoint) => {
                let command = self.command(&entrypoint.entrypoint.span, "ENTRYPOINT", &entrypoint.arguments)?;
                self.note(format!("ENTRYPOINT {}", shown(&command)));
                self.result.config.entrypoint = Some(command);
                if !*cmd_set {
                    self.result.config.cmd = Some(Vec::new());
                }
            }
            Instruction::Cmd(cmd) => {
                let command = self.command(&cmd.cmd.span, "CMD", &cmd.arguments)?;
                self.note(format!("CMD {}", shown(&command)));
                self.result.config.cmd = Some(command);
                *cmd_set = true;
            }
            Instruction::Healthcheck(check) => self.healthcheck(check)?,
            Instruction::Run(run) => {
                return Err(self.error(
                    &run.run.span,
                    "RUN in a stage that makes the image: foreign code cannot run here; do it in the `compile` stage and \
                     COPY the result",
                ));
            }
            Instruction::Add(add) => {
                return Err(self.error(
                    &add.add.span,
                    "ADD unpacks and fetches, which depends on what it finds; use COPY",
                ));
            }
            Instruction::Onbuild(onbuild) => {
                return Err(self.error(
                    &onbuild.onbuild.span,
                    "ONBUILD has no meaning in an OCI image; leave it out",
                ));
            }
            Instruction::Shell(shell) => {
                return Err(self.error(
                    &shell.shell.span,
                    "SHELL changes how commands are run, and none is run here; use the JSON form of ENTRYPOINT and CMD",
                ));
            }
            Instruction::Maintainer(maintainer) => {
                return Err(self.error(
                    &maintainer.maintainer.span,
                    "MAINTAINER is deprecated; use LABEL org.opencontainers.image.authors=...",
                ));
            }
            other => {
                return Err(DockerfileError {
                    line: 0,
                    message: format!("an instruction that is not understood: {other:?}"),
                });
            }
        }
        Ok(())
    }

    fn note(&mut self, text: String) {
        self.result.history.push(text);
    }

    fn pairs(&self, span: &Span, text: &str, scope: &Scope) -> Result<Vec<(String, String)>> {
        let raw = pairs(text, self.escape).map_err(|message| self.error(span, message))?;
        raw.into_iter()
            .map(|(name, value)| {
                let name = self.expand(span, &name, scope)?;
                if name.is_empty() || name.contains('\0') || value.contains('\0') {
                    return Err(self.error(span, "a name must not be empty, and nothing may contain NUL"));
                }
                Ok((name, self.expand(span, &value, scope)?))
            })
            .collect()
    }

    fn one_word(&mut self, span: &Span, keyword: &str, text: &str, scope: &Scope) -> Result<String> {
        let word = self.expand(span, text, scope)?;
        if word.is_empty() {
            return Err(self.error(span, format!("{keyword}: `{text}` expands to nothing")));
        }
        self.note(format!("{keyword} {word}"));
        Ok(word)
    }

    /// The JSON form as it is, the shell form as an argument of /bin/sh. Variables are left for the container.
    fn command(&self, span: &Span, keyword: &str, command: &Command<'_>) -> Result<Vec<String>> {
        match command {
            Command::Exec(words) => Ok(words.value.iter().map(|word| word.value.to_string()).collect()),
            Command::Shell(text) => {
                if text.value.starts_with('[') {
                    return Err(self.error(
                        span,
                        format!("{keyword}: `[` starts the JSON form, but what follows is not an array of strings in double quotes"),
                    ));
                }
                let text = self.joined(text.value);
                if text.is_empty() {
                    return Err(self.error(span, format!("{keyword} needs a command")));
                }
                Ok(vec!["/bin/sh".to_owned(), "-c".to_owned(), text])
            }
            other => Err(self.error(span, format!("{keyword}: a form that is not understood: {other:?}"))),
        }
    }

    /// Lines that end in the escape character are joined; comments and empty lines between them are dropped.
    fn joined(&self, text: &str) -> String {
        let mut out = String::new();
        for (index, line) in text.lines().enumerate() {
            let bare = line.trim();
            if index > 0 && (bare.is_empty() || bare.starts_with('#')) {
                continue;
            }
            match line.trim_end().strip_suffix(self.escape) {
                Some(line) => out.push_str(line),
                None => out.push_str(line),
            }
        }
        out.trim().to_owned()
    }

    fn healthcheck(&mut self, check: &parse_dockerfile::HealthcheckInstruction<'_>) -> Result<()> {
        let at = check.healthcheck.span.clone();
        let mut result = Healthcheck::default();
        for flag in &check.options {
            let name = &*flag.name.value;
            let value = flag.value.as_ref().map_or("", |value| &*value.value);
            let wrong = |message| self.error(&at, format!("HEALTHCHECK --{name}: {message}"));
            let target = match name {
                "interval" => &mut result.interval,
                "timeout" => &mut result.timeout,
                "start-period" => &mut result.start_period,
                "start-interval" => &mut result.start_interval,
                "retries" => {
                    let retries = value.parse().ok().filter(|count| (1..=1000).contains(count));
                    result.retries =
                        Some(retries.ok_or_else(|| wrong(format!("`{value}` is not a count from 1 to 1000")))?);
                    continue;
                }
                _ => return Err(self.error(&at, format!("HEALTHCHECK --{name} is not a known flag"))),
            };
            *target = Some(config::duration(value).map_err(wrong)?);
        }
        result.test = match &check.arguments {
            HealthcheckArguments::None { .. } if !check.options.is_empty() => {
                return Err(self.error(&at, "HEALTHCHECK NONE takes no flags"));
            }
            HealthcheckArguments::None { .. } => vec!["NONE".to_owned()],
            HealthcheckArguments::Cmd { arguments, .. } => {
                let mut command = self.command(&at, "HEALTHCHECK CMD", arguments)?;
                match arguments {
                    Command::Shell(_) => vec!["CMD-SHELL".to_owned(), command.pop().unwrap_or_default()],
                    _ => {
                        command.insert(0, "CMD".to_owned());
                        command
                    }
                }
            }
            other => return Err(self.error(&at, format!("HEALTHCHECK: a form that is not understood: {other:?}"))),
        };
        self.note(format!("HEALTHCHECK {}", shown(&result.test)));
        self.result.config.healthcheck = Some(result);
        Ok(())
    }

    fn copy(&mut self, copy: &parse_dockerfile::CopyInstruction<'_>, scope: &Scope, index: usize) -> Result<()> {
        let at = copy.copy.span.clone();
        let mut result = Copy {
            line: self.line(&at),
            ..Copy::default()
        };
        for flag in &copy.options {
            self.copy_flag(&at, flag, scope, index, &mut result)?;
        }
        for source in &copy.src {
            let Source::Path(path) = source else {
                return Err(self.error(
                    &at,
                    "COPY: here-documents are not supported; put the file below docker/rootfs",
                ));
            };
            let path = self.expand(&at, &path.value, scope)?;
            if path.contains(['*', '?', '[']) {
                return Err(self.error(
                    &at,
                    format!("COPY: `{path}`: patterns are not supported; name the file or its directory"),
                ));
            }
            if path.contains('\0') || path.split('/').any(|part| part == "..") {
                return Err(self.error(&at, format!("COPY: `{path}` leads out of what is copied from")));
            }
            result.sources.push(config::join("/", &path)[1..].to_owned());
        }
        let destination = self.expand(&at, &copy.dest.value, scope)?;
        if destination.is_empty() || destination.contains('\0') {
            return Err(self.error(
                &at,
                format!("COPY: the destination `{}` names nothing", copy.dest.value),
            ));
        }
        let dir = self.result.config.working_dir.as_deref().unwrap_or("/");
        result.destination = config::join(dir, &destination);
        let directory = destination.ends_with('/') || matches!(destination.rsplit('/').next(), Some("." | ".."));
        if directory && result.destination != "/" {
            result.destination.push('/');
        }
        if result.sources.len() > 1 && !result.destination.ends_with('/') {
            return Err(self.error(
                &at,
                format!(
                    "COPY: several files go into a directory, so the destination `{destination}` must end with `/`"
                ),
            ));
        }
        result.text = format!("COPY {} {}", result.sources.join(" "), result.destination);
        if let Some(from) = &result.from {
            result.text.insert_str(5, &format!("--from={from} "));
        }
        self.result.copies.push(result);
        Ok(())
    }

    fn copy_flag(&self, at: &Span, flag: &Flag<'_>, scope: &Scope, index: usize, copy: &mut Copy) -> Result<()> {
        let name = &*flag.name.value;
        if !["from", "chown", "chmod"].contains(&name) {
            return Err(self.error(
                at,
                format!("COPY --{name} is not supported; there are --from, --chown and --chmod"),
            ));
        }
        let value = flag.value.as_ref().map_or("", |value| &*value.value);
        let value = self.expand(at, value, scope)?;
        let fail = |message| self.error(at, format!("COPY {message}"));
        match name {
            "chown" => copy.chown = Some(config::owner(&value).map_err(fail)?),
            "chmod" => copy.chmod = Some(config::mode(&value).map_err(fail)?),
            _ => {
                let number = value.parse::<usize>().ok();
                let stage = number.or_else(|| self.find(&value));
                if value.is_empty() || stage.is_some_and(|stage| stage >= index) {
                    return Err(self.error(
                        at,
                        format!("COPY --from={value}: must name a stage that comes before this one, or a named build context"),
                    ));
                }
                let named = number.and_then(|number| Some(self.stages[number].0.as_.as_ref()?.1.value.to_string()));
                if number.is_some() && named.is_none() {
                    return Err(self.error(
                        at,
                        format!("COPY --from={value}: that stage has no name; give it one with AS"),
                    ));
                }
                copy.from = Some(named.unwrap_or(value));
            }
        }
        Ok(())
    }
}

/// Blank-separated words; quotes and escapes are kept.
fn split_words(text: &str, escape: char) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match quote {
            None if c.is_ascii_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            None if c == '"' || c == '\'' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ => {}
        }
        word.push(c);
        if c == escape && quote != Some('\'') {
            word.extend(chars.next());
        }
    }
    if let Some(quote) = quote {
        return Err(format!("a quote ({quote}) is not closed"));
    }
    if !word.is_empty() {
        words.push(word);
    }
    Ok(words)
}

fn shown(words: &[String]) -> String {
    serde_json::Value::from(words.to_vec()).to_string()
}
