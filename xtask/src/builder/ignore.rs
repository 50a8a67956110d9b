//! `.dockerignore`, as Docker reads it: patterns over paths, the last one that matches decides, `!` brings back. Pure.

use std::collections::HashMap;

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

    /// For many paths: what decides about a directory is looked up once.
    pub fn sieve(&self) -> Sieve<'_> {
        Sieve {
            rules: &self.rules,
            known: HashMap::new(),
        }
    }

    fn last(&self, path: &str) -> Option<(usize, &Rule)> {
        let index = self.sieve().last(path)?;
        Some((index, &self.rules[index]))
    }
}

/// The patterns, and which of them was the last to match each directory that was asked about.
#[derive(Clone, Debug)]
pub struct Sieve<'a> {
    rules: &'a [Rule],
    known: HashMap<String, Option<usize>>,
}

impl Sieve<'_> {
    /// Like [`Ignore::excludes`].
    pub fn excludes(&mut self, path: &str) -> bool {
        self.last(path).is_some_and(|index| !self.rules[index].back)
    }

    /// The last rule that matches the path or a directory above it.
    fn last(&mut self, path: &str) -> Option<usize> {
        let above = path.rsplit_once('/').map(|(directory, _)| directory);
        let inherited = above.and_then(|directory| match self.known.get(directory) {
            Some(last) => *last,
            None => {
                let last = self.last(directory);
                self.known.insert(directory.to_owned(), last);
                last
            }
        });
        let names: Vec<&str> = path.split('/').collect();
        let later = inherited.map_or(0, |index| index + 1);
        let own = self.rules[later..]
            .iter()
            .rposition(|rule| matches(&rule.parts, &names));
        own.map(|index| later + index).or(inherited)
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

    /// What a sieve remembers of directories changes nothing: every prefix against every pattern, as Docker says it.
    #[test]
    fn a_sieve_decides_as_pattern_after_pattern_does() {
        let ignore = Ignore::parse("**\n!app\n!xtask/src\n**/target\n!app/target/keep\n**/*.db\napp/a*/b\n!app/a?/b/c");
        let names = ["app", "a1", "b", "c", "target", "keep", "x.db", "xtask", "src"];
        let mut sieve = ignore.sieve();
        let (mut out, mut paths) = (0, 0);
        for one in names {
            for two in names {
                for three in names {
                    for four in names {
                        let path = format!("{one}/{two}/{three}/{four}");
                        let parts: Vec<&str> = path.split('/').collect();
                        let hits = |rule: &&Rule| (1..=4).any(|length| matches(&rule.parts, &parts[..length]));
                        let expected = ignore.rules.iter().rfind(hits).is_some_and(|rule| !rule.back);
                        assert_eq!(sieve.excludes(&path), expected, "{path}");
                        paths += 1;
                        out += usize::from(expected);
                    }
                }
            }
        }
        assert!(out > paths / 10 && out < paths, "{out} of {paths}");
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
