//! `.dockerignore`, as Docker reads it: patterns over paths, the last one that matches decides, `!` brings back. Pure.

/// The patterns of a file, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ignore {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    parts: Vec<String>,
    back: bool,
}

impl Ignore {
    /// Reads the text of the file.
    pub fn parse(text: &str) -> Ignore {
        let rule = |line: &str| {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                return None;
            }
            let (back, pattern) = match line.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, line),
            };
            let parts: Vec<String> = pattern
                .split('/')
                .filter(|part| !part.is_empty() && *part != ".")
                .map(str::to_owned)
                .collect();
            (!parts.is_empty()).then_some(Rule { parts, back })
        };
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        Ignore {
            rules: text.lines().filter_map(rule).collect(),
        }
    }

    /// Whether a path (relative, with `/`) stays out. A pattern that matches a directory matches all below it.
    pub fn excludes(&self, path: &str) -> bool {
        self.last(path).is_some_and(|(_, rule)| !rule.back)
    }

    /// Whether nothing below a directory can come in, so that it need not be read.
    pub fn prunes(&self, directory: &str) -> bool {
        match self.last(directory) {
            Some((index, rule)) if !rule.back => !self.rules[index + 1..].iter().any(|rule| rule.back),
            _ => false,
        }
    }

    fn last(&self, path: &str) -> Option<(usize, &Rule)> {
        let names: Vec<&str> = path.split('/').collect();
        let matches = |rule: &Rule| (1..=names.len()).any(|length| matches(&rule.parts, &names[..length]));
        self.rules.iter().enumerate().rfind(|(_, rule)| matches(rule))
    }
}

fn matches(pattern: &[String], names: &[&str]) -> bool {
    match pattern.split_first() {
        None => names.is_empty(),
        Some((first, rest)) if first == "**" => (0..=names.len()).any(|skip| matches(rest, &names[skip..])),
        Some((first, rest)) => names
            .split_first()
            .is_some_and(|(name, below)| name_matches(first.as_bytes(), name.as_bytes()) && matches(rest, below)),
    }
}

/// `*`, `?`, `[a-z]`, `[^a]` and `\x`, as Go's filepath.Match has them.
fn name_matches(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => (0..=name.len()).any(|skip| name_matches(rest, &name[skip..])),
        Some((b'?', rest)) => name.split_first().is_some_and(|(_, name)| name_matches(rest, name)),
        Some((b'[', rest)) => {
            let Some((&byte, name)) = name.split_first() else {
                return false;
            };
            let Some(end) = rest.iter().skip(1).position(|&byte| byte == b']').map(|at| at + 1) else {
                return false;
            };
            let (class, rest) = (&rest[..end], &rest[end + 1..]);
            let (negated, class) = match class.split_first() {
                Some((b'^', class)) => (true, class),
                _ => (false, class),
            };
            in_class(class, byte) != negated && name_matches(rest, name)
        }
        Some((b'\\', rest)) => match (rest.split_first(), name.split_first()) {
            (Some((escaped, rest)), Some((first, name))) => escaped == first && name_matches(rest, name),
            _ => false,
        },
        Some((byte, rest)) => name
            .split_first()
            .is_some_and(|(first, name)| first == byte && name_matches(rest, name)),
    }
}

fn in_class(class: &[u8], byte: u8) -> bool {
    match class {
        [from, b'-', to, rest @ ..] => (*from..=*to).contains(&byte) || in_class(rest, byte),
        [one, rest @ ..] => *one == byte || in_class(rest, byte),
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_pattern_decides() {
        let ignore = Ignore::parse("# all\n**\n!app\n!/Cargo.toml\n\n**/target\n**/*.db\n");
        for out in [
            "README.md",
            "app/target/release/blog",
            "target/x",
            "app/blog.db",
            "a/app",
        ] {
            assert!(ignore.excludes(out), "{out}");
        }
        for comes in ["app", "app/src/main.rs", "Cargo.toml"] {
            assert!(!ignore.excludes(comes), "{comes}");
        }
        assert!(ignore.prunes("app/target"));
        assert!(!ignore.prunes("docs"), "a later pattern brings something back");
        assert!(!Ignore::default().excludes("anything"));
    }

    #[test]
    fn names_match_as_in_go() {
        for (pattern, name) in [
            ("*.db", "a.db"),
            ("?", "x"),
            ("[a-c]x", "bx"),
            ("[^a]", "b"),
            ("\\*", "*"),
            ("a[]", "a]"),
        ] {
            let expected = pattern != "a[]";
            assert_eq!(name_matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern}");
        }
        assert!(
            !Ignore::parse("*.db").excludes("a/b.db"),
            "one star stays in its directory"
        );
        assert!(Ignore::parse("a/*/c").excludes("a/b/c/d"));
    }
}
