//! What an image is to be started with, and how that changes on a host that has no container: the published port and,
//! without a chroot, the volume's path. Pure: text in, text out.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// The part of an image's `config` that running it needs, in the words of the OCI image specification.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunConfig {
    /// `Entrypoint`.
    pub entrypoint: Vec<String>,
    /// `Cmd`: arguments of the entrypoint unless others are given.
    pub cmd: Vec<String>,
    /// `Env`, in order, each `NAME=value`.
    pub env: Vec<String>,
    /// `User`; empty for root. Not kept: the caller runs the program.
    pub user: String,
    /// `WorkingDir`; empty for `/`.
    pub working_dir: String,
    /// `Volumes`: absolute paths.
    pub volumes: Vec<String>,
    /// `ExposedPorts`, as written: `8080/tcp`.
    pub exposed_ports: Vec<String>,
    /// `StopSignal`; empty for SIGTERM.
    pub stop_signal: String,
}

/// How the server in the image is reached and where it keeps its data: `[image]` of xtask.toml.
///
/// * `port` is the port that the image listens on. The address in every variable and argument of the image that has
///   it (`0.0.0.0:8080`, `[::]:8080`, `localhost:8080`, `:8080`) becomes `127.0.0.1:<published port>`; a variable
///   whose name ends in `PORT` and whose value is just that number becomes the published port.
/// * `admin_port` is a second port, to which the same happens.
/// * `volume` is the directory that outlives the container.
/// * `ready` is the path that answers GET with 2xx or 3xx as soon as the server serves.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Service {
    /// TCP port inside the image.
    pub port: u16,
    /// Another one, for the owner.
    pub admin_port: Option<u16>,
    /// Absolute path of the volume.
    pub volume: String,
    /// Path for the readiness check.
    pub ready: String,
}

impl Default for Service {
    fn default() -> Self {
        Service {
            port: 8080,
            admin_port: None,
            volume: "/data".to_owned(),
            ready: "/healthz".to_owned(),
        }
    }
}

/// A program as it is started: all that is decided, nothing that depends on how it is isolated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Program and arguments; the program as the image names it.
    pub argv: Vec<String>,
    /// Its whole environment.
    pub env: Vec<(String, String)>,
    /// Absolute working directory inside the image.
    pub working_dir: String,
    /// The port it is expected on: the published one, or the image's when nothing in the image names a port.
    pub port: u16,
    /// The owner's port, published, when the image names it.
    pub admin_port: Option<u16>,
}

impl RunConfig {
    /// Reads the JSON of an image configuration (`application/vnd.oci.image.config.v1+json` or Docker's). What is absent
    /// or `null` is empty.
    ///
    /// # Errors
    /// Anything that is not JSON of that shape.
    pub fn from_json(json: &[u8]) -> serde_json::Result<RunConfig> {
        #[derive(Deserialize)]
        struct Image {
            config: Option<Execution>,
        }
        #[derive(Default, Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Execution {
            entrypoint: Option<Vec<String>>,
            cmd: Option<Vec<String>>,
            env: Option<Vec<String>>,
            user: Option<String>,
            working_dir: Option<String>,
            volumes: Option<BTreeMap<String, IgnoredAny>>,
            exposed_ports: Option<BTreeMap<String, IgnoredAny>>,
            stop_signal: Option<String>,
        }
        let config = serde_json::from_slice::<Image>(json)?.config.unwrap_or_default();
        Ok(RunConfig {
            entrypoint: config.entrypoint.unwrap_or_default(),
            cmd: config.cmd.unwrap_or_default(),
            env: config.env.unwrap_or_default(),
            user: config.user.unwrap_or_default(),
            working_dir: config.working_dir.unwrap_or_default(),
            volumes: config.volumes.unwrap_or_default().into_keys().collect(),
            exposed_ports: config.exposed_ports.unwrap_or_default().into_keys().collect(),
            stop_signal: config.stop_signal.unwrap_or_default(),
        })
    }

    /// The program with `args` in the place of `Cmd` (when there are any), `env` added, and the published ports put in,
    /// `admin` for the owner's. Overrides are taken as they are. `None` when the image names no program.
    pub fn program(
        &self,
        service: &Service,
        published: u16,
        admin: u16,
        args: &[String],
        env: &[(String, String)],
    ) -> Option<Program> {
        let mut named = service.port == published;
        let mut admin_named = false;
        let mut publish = |name: &str, value: &str| {
            // One after the other, but never the first one's result again.
            if let Some(port) = service.admin_port {
                let (value, changed) = publish_port(name, value, port, admin);
                if changed {
                    admin_named = true;
                    return value;
                }
            }
            let (value, changed) = publish_port(name, value, service.port, published);
            named |= changed;
            value
        };
        let mut variables: Vec<(String, String)> = Vec::new();
        for variable in &self.env {
            let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
            set(&mut variables, name, publish(name, value));
        }
        let image_args = self.cmd.iter().map(|arg| publish("", arg));
        let image_args: Vec<String> = image_args.collect();
        let entrypoint: Vec<String> = self.entrypoint.iter().map(|arg| publish("", arg)).collect();
        for (name, value) in env {
            named |= value.contains(&published.to_string());
            set(&mut variables, name, value.clone());
        }
        let argv: Vec<String> = entrypoint
            .into_iter()
            .chain(if args.is_empty() { image_args } else { args.to_vec() })
            .collect();
        (!argv.is_empty()).then_some(Program {
            argv,
            env: variables,
            working_dir: self.directory(),
            port: if named { published } else { service.port },
            admin_port: admin_named.then_some(admin),
        })
    }

    /// The program as an engine starts it, in a network of its own: nothing is put in. `None` when the image names no program.
    pub fn contained(&self, port: u16, args: &[String], env: &[(String, String)]) -> Option<Program> {
        let mut variables: Vec<(String, String)> = Vec::new();
        for variable in &self.env {
            let (name, value) = variable.split_once('=').unwrap_or((variable, ""));
            set(&mut variables, name, value.to_owned());
        }
        for (name, value) in env {
            set(&mut variables, name, value.clone());
        }
        let args = if args.is_empty() { &self.cmd } else { args };
        let argv: Vec<String> = self.entrypoint.iter().chain(args).cloned().collect();
        (!argv.is_empty()).then_some(Program {
            argv,
            env: variables,
            working_dir: self.directory(),
            port,
            admin_port: None,
        })
    }

    fn directory(&self) -> String {
        match self.working_dir.as_str() {
            "" => "/".to_owned(),
            path if path.starts_with('/') => path.to_owned(),
            path => format!("/{path}"),
        }
    }
}

impl Program {
    /// The program with the volume's path replaced by a directory of the host, in arguments and variables.
    #[must_use]
    pub fn with_volume_at(&self, volume: &str, host: &str) -> Program {
        let mut moved = self.clone();
        for arg in moved.argv.iter_mut().skip(1) {
            *arg = move_path(arg, volume, host);
        }
        for (_, value) in &mut moved.env {
            *value = move_path(value, volume, host);
        }
        moved
    }

    /// The value of a variable.
    pub fn variable(&self, name: &str) -> Option<&str> {
        let found = self.env.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    }
}

fn set(variables: &mut Vec<(String, String)>, name: &str, value: String) {
    match variables.iter_mut().find(|(key, _)| key == name) {
        Some(found) => found.1 = value,
        None => variables.push((name.to_owned(), value)),
    }
}

/// Puts the published port into one value. The second half says whether the image's port was named at all.
fn publish_port(name: &str, value: &str, port: u16, published: u16) -> (String, bool) {
    let number = port.to_string();
    let upper = name.to_ascii_uppercase();
    if value == number && (upper == "PORT" || upper.ends_with("_PORT")) {
        return (published.to_string(), true);
    }
    let to = format!("127.0.0.1:{published}");
    if value == format!(":{number}") {
        return (to, true);
    }
    let mut result = value.to_owned();
    for host in ["0.0.0.0", "[::]", "127.0.0.1", "[::1]", "localhost"] {
        result = replace_whole(&result, &format!("{host}:{number}"), &to, |c| {
            c.is_ascii_alphanumeric() || c == '.' || c == '-'
        });
    }
    let changed = result != value || value.contains(&to);
    (result, changed)
}

/// Replaces a path and what is below it: `/data` in `/data/blog.db` and `sqlite:///data/blog.db`, not in `/var/data`
/// or `/database`.
fn move_path(value: &str, from: &str, to: &str) -> String {
    let from = from.trim_end_matches('/');
    if from.is_empty() {
        return value.to_owned();
    }
    replace_whole(value, from, to, |c| c.is_alphanumeric() || "._-%~".contains(c))
}

/// Replaces `from` where neither neighbour is part of the same word.
fn replace_whole(text: &str, from: &str, to: &str, in_word: impl Fn(char) -> bool) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(from) {
        let (before, after) = (&rest[..at], &rest[at + from.len()..]);
        let left = before.chars().next_back().or_else(|| result.chars().next_back());
        let right = after.chars().next();
        result.push_str(before);
        let whole = !left.is_some_and(&in_word) && !right.is_some_and(&in_word);
        result.push_str(if whole { to } else { from });
        rest = after;
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(words: &[&str]) -> Vec<String> {
        words.iter().map(|&word| word.to_owned()).collect()
    }

    #[test]
    fn the_published_port_goes_wherever_the_image_names_its_own() {
        for (name, value, wanted) in [
            ("BLOG_LISTEN", "0.0.0.0:8080", "127.0.0.1:9"),
            ("ADDR", "[::]:8080", "127.0.0.1:9"),
            ("ADDR", ":8080", "127.0.0.1:9"),
            ("PUBLIC", "http://localhost:8080/x", "http://127.0.0.1:9/x"),
            ("PORT", "8080", "9"),
            ("HTTP_PORT", "8080", "9"),
            // Not ours: another number, another machine, a number that happens to be the same.
            ("ADDR", "0.0.0.0:80801", "0.0.0.0:80801"),
            ("PROXY", "10.0.0.0.0:8080", "10.0.0.0.0:8080"),
            ("PROXY", "proxy.lan:8080", "proxy.lan:8080"),
            ("MEMORY", "8080", "8080"),
        ] {
            assert_eq!(publish_port(name, value, 8080, 9).0, wanted, "{name}={value}");
        }
    }

    #[test]
    fn the_volume_moves_and_its_namesakes_stay() {
        for (value, wanted) in [
            ("/data", "/h"),
            ("/data/blog.db", "/h/blog.db"),
            ("sqlite:///data/blog.db?mode=rwc", "sqlite:///h/blog.db?mode=rwc"),
            ("/data:/data/x", "/h:/h/x"),
            ("/var/data/x", "/var/data/x"),
            ("/database", "/database"),
            ("/data.old", "/data.old"),
        ] {
            assert_eq!(move_path(value, "/data/", "/h"), wanted, "{value}");
        }
    }

    #[test]
    fn arguments_replace_cmd_and_overrides_are_taken_as_they_are() {
        let config = RunConfig {
            entrypoint: text(&["/blog"]),
            cmd: text(&["serve", "--bind=0.0.0.0:8080"]),
            env: text(&["A=1", "LISTEN=0.0.0.0:8080"]),
            ..RunConfig::default()
        };
        let service = Service::default();
        let program = config.program(&service, 9000, 9001, &[], &[]).unwrap();
        assert_eq!(program.argv, ["/blog", "serve", "--bind=127.0.0.1:9000"]);
        assert_eq!(program.variable("LISTEN"), Some("127.0.0.1:9000"));
        assert_eq!((program.working_dir.as_str(), program.port), ("/", 9000));
        assert_eq!(program.admin_port, None);
        let both = Service {
            admin_port: Some(8081),
            ..Service::default()
        };
        let two = RunConfig {
            env: text(&["LISTEN=0.0.0.0:8080", "ADMIN=0.0.0.0:8081"]),
            ..config.clone()
        };
        // The port that the first gets is the image's second: it is put in once all the same.
        let program = two.program(&both, 8081, 9001, &[], &[]).unwrap();
        assert_eq!(program.variable("LISTEN"), Some("127.0.0.1:8081"));
        assert_eq!(program.variable("ADMIN"), Some("127.0.0.1:9001"));
        assert_eq!((program.port, program.admin_port), (8081, Some(9001)));
        let own = [("LISTEN".to_owned(), "0.0.0.0:8080".to_owned())];
        let program = config.program(&service, 9000, 9001, &text(&["--help"]), &own).unwrap();
        assert_eq!(program.argv, ["/blog", "--help"]);
        assert_eq!(program.variable("LISTEN"), Some("0.0.0.0:8080"));
        let own = [("A".to_owned(), "2".to_owned())];
        let program = config.contained(8080, &[], &own).unwrap();
        assert_eq!(program.argv, ["/blog", "serve", "--bind=0.0.0.0:8080"]);
        assert_eq!(
            (program.variable("LISTEN"), program.variable("A")),
            (Some("0.0.0.0:8080"), Some("2"))
        );
    }

    #[test]
    fn the_configuration_is_read_as_engines_write_it() {
        let json = br#"{"architecture":"arm","config":{"Env":["A=1"],"Entrypoint":["/blog"],"Cmd":null,"User":"65532:65532",
            "ExposedPorts":{"8080/tcp":{}},"Volumes":{"/data":{}},"WorkingDir":"/","StopSignal":"SIGINT","Labels":{}}}"#;
        let wanted = RunConfig {
            entrypoint: text(&["/blog"]),
            cmd: Vec::new(),
            env: text(&["A=1"]),
            user: "65532:65532".to_owned(),
            working_dir: "/".to_owned(),
            volumes: text(&["/data"]),
            exposed_ports: text(&["8080/tcp"]),
            stop_signal: "SIGINT".to_owned(),
        };
        assert_eq!(RunConfig::from_json(json).unwrap(), wanted);
        assert_eq!(RunConfig::from_json(br#"{"rootfs":{}}"#).unwrap(), RunConfig::default());
        assert!(RunConfig::from_json(br#"{"config":{"Env":"A=1"}}"#).is_err());
    }

    #[test]
    fn an_image_that_names_no_port_is_expected_on_its_own() {
        let config = RunConfig {
            entrypoint: text(&["/httpd"]),
            ..RunConfig::default()
        };
        let program = config.program(&Service::default(), 9000, 9001, &[], &[]).unwrap();
        assert_eq!(program.port, 8080);
        assert_eq!(
            RunConfig::default().program(&Service::default(), 9000, 9001, &[], &[]),
            None
        );
    }
}
