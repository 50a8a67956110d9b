//! Words of a Dockerfile: quotes, escapes and variables, as BuildKit's shell lexer reads them.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::str::Chars;

/// Deeper `${a:-${b:-...}}` than anyone writes; the lexer recurses once a level.
const DEPTH: usize = 32;
/// Longest text that an expansion may grow to.
const LENGTH: usize = 1 << 20;

/// What variables mean at one point of the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    /// Declared by `ARG`; `None` is declared without a value.
    pub(super) args: BTreeMap<String, Option<String>>,
    /// Set by `ENV`; stronger than any `ARG`.
    pub(super) env: Vec<(String, String)>,
}

impl Scope {
    /// `Some("")` for an `ARG` without a value, as Docker has it; `None` when nothing declares the name.
    fn get(&self, name: &str) -> Option<Option<&str>> {
        match self.env.iter().find(|(key, _)| key == name) {
            Some((_, value)) => Some(Some(value)),
            None => self.args.get(name).map(|value| value.as_deref()),
        }
    }

    /// Sets a variable of the environment in its place, or at the end.
    pub(super) fn set_env(&mut self, name: &str, value: String) {
        match self.env.iter_mut().find(|(key, _)| key == name) {
            Some(pair) => pair.1 = value,
            None => self.env.push((name.to_owned(), value)),
        }
    }
}

/// Removes quotes and escapes and replaces variables.
pub(super) fn expand(text: &str, scope: &Scope, escape: char) -> Result<String, String> {
    let mut lexer = Lexer {
        chars: text.chars().peekable(),
        scope,
        escape,
        depth: 0,
    };
    let word = lexer.word(None)?;
    if word.len() > LENGTH {
        return Err(format!("the expansion of a word is longer than {LENGTH} bytes"));
    }
    Ok(word)
}

struct Lexer<'a> {
    chars: Peekable<Chars<'a>>,
    scope: &'a Scope,
    escape: char,
    depth: usize,
}

impl Lexer<'_> {
    /// Until the end, or until `stop` (which is consumed).
    fn word(&mut self, stop: Option<char>) -> Result<String, String> {
        let mut out = String::new();
        loop {
            let Some(c) = self.chars.next() else {
                return match stop {
                    None => Ok(out),
                    Some(stop) => Err(format!("`${{` without its `{stop}`")),
                };
            };
            if Some(c) == stop {
                return Ok(out);
            }
            match c {
                '\'' => self.single_quoted(&mut out)?,
                '"' => self.double_quoted(&mut out)?,
                '$' => out.push_str(&self.variable()?),
                c if c == self.escape => out.extend(self.chars.next()),
                c => out.push(c),
            }
            if out.len() > LENGTH {
                return Err(format!("the expansion of a word is longer than {LENGTH} bytes"));
            }
        }
    }

    fn single_quoted(&mut self, out: &mut String) -> Result<(), String> {
        loop {
            match self.chars.next() {
                Some('\'') => return Ok(()),
                Some(c) => out.push(c),
                None => return Err("a single quote (') is not closed".to_owned()),
            }
        }
    }

    fn double_quoted(&mut self, out: &mut String) -> Result<(), String> {
        loop {
            match self.chars.next() {
                Some('"') => return Ok(()),
                Some('$') => out.push_str(&self.variable()?),
                Some(c) if c == self.escape => match self.chars.next() {
                    Some(next) if next == '"' || next == '$' || next == self.escape => out.push(next),
                    Some(next) => out.extend([c, next]),
                    None => return Err("a double quote (\") is not closed".to_owned()),
                },
                Some(c) => out.push(c),
                None => return Err("a double quote (\") is not closed".to_owned()),
            }
        }
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(&c) = self.chars.peek() {
            if c == '_' || c.is_ascii_alphabetic() || (!name.is_empty() && c.is_ascii_digit()) {
                name.push(c);
                self.chars.next();
            } else {
                break;
            }
        }
        name
    }

    /// After the `$`.
    fn variable(&mut self) -> Result<String, String> {
        if self.chars.peek() != Some(&'{') {
            let name = self.name();
            if name.is_empty() {
                return match self.chars.peek() {
                    Some(c) if c.is_ascii_digit() || "@*#?-$!".contains(*c) => Err(format!(
                        "`${c}` means something to a shell only; write `\\$` for a dollar sign"
                    )),
                    _ => Ok("$".to_owned()),
                };
            }
            return self.value(&name);
        }
        self.chars.next();
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(format!("`${{...}}` is nested more than {DEPTH} deep"));
        }
        let value = self.braced();
        self.depth -= 1;
        value
    }

    fn braced(&mut self) -> Result<String, String> {
        let name = self.name();
        if name.is_empty() {
            return Err("`${` is not followed by the name of a variable".to_owned());
        }
        let mut operator = match self.chars.next() {
            Some('}') => return self.value(&name),
            Some(c) => c,
            None => return Err(format!("`${{{name}` without its `}}`")),
        };
        // With a colon, an empty value counts as unset.
        let colon = operator == ':';
        if colon {
            operator = self.chars.next().unwrap_or('}');
        }
        if !matches!(operator, '-' | '+' | '?') {
            let colon = if colon { ":" } else { "" };
            return Err(format!(
                "`${{{name}{colon}{operator}...}}` is not supported: there are `:-`, `-`, `:+`, `+`, `:?` and `?`"
            ));
        }
        let word = self.word(Some('}'))?;
        let value = self
            .scope
            .get(&name)
            .flatten()
            .filter(|value| !(colon && value.is_empty()));
        match (operator, value) {
            ('-' | '?', Some(value)) => Ok(value.to_owned()),
            ('-', None) => Ok(word),
            ('+', Some(_)) => Ok(word),
            ('+', None) => Ok(String::new()),
            (_, _) if word.is_empty() => Err(format!("the variable `{name}` has no value")),
            (_, _) => Err(format!("the variable `{name}` has no value: {word}")),
        }
    }

    fn value(&self, name: &str) -> Result<String, String> {
        match self.scope.get(name) {
            Some(value) => Ok(value.unwrap_or_default().to_owned()),
            None => Err(format!(
                "`${name}` is not set: no ARG of this stage and no ENV names it (ARGs before FROM must be repeated in \
                 the stage, and the variables of a base image are not known here); `${{{name}:-}}` is empty when unset"
            )),
        }
    }
}

/// Splits what follows ENV or LABEL into raw `name=value` pairs; quotes keep blanks together. The old form `NAME VALUE...`
/// is one pair.
pub(super) fn pairs(text: &str, escape: char) -> Result<Vec<(String, String)>, String> {
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    let mut started = false;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == escape && quote != Some('\'') {
            started = true;
            word.push(c);
            word.extend(chars.next());
        } else if let Some(open) = quote {
            word.push(c);
            if c == open {
                quote = None;
            }
        } else if c == '"' || c == '\'' {
            started = true;
            word.push(c);
            quote = Some(c);
        } else if c.is_ascii_whitespace() {
            if started {
                words.push(std::mem::take(&mut word));
                if words.len() == 1 && !words[0].contains('=') {
                    return Ok(vec![(words.remove(0), chars.as_str().trim().to_owned())]);
                }
            }
            started = false;
        } else {
            started = true;
            word.push(c);
        }
    }
    if let Some(quote) = quote {
        return Err(format!("a quote ({quote}) is not closed"));
    }
    if started {
        words.push(word);
    }
    words
        .into_iter()
        .map(|word| match word.split_once('=') {
            Some(("", _)) => Err(format!("`{word}` has no name before the `=`")),
            Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
            None => Err(format!("`{word}` is not NAME=VALUE")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> Scope {
        let mut scope = Scope::default();
        scope.args.insert("A".to_owned(), Some("arg".to_owned()));
        scope.args.insert("NONE".to_owned(), None);
        scope.args.insert("E".to_owned(), Some("hidden".to_owned()));
        scope.set_env("E", "env".to_owned());
        scope.set_env("EMPTY", String::new());
        scope
    }

    #[test]
    fn words_expand_as_in_buildkit() {
        for (text, wanted) in [
            ("plain", "plain"),
            ("$A-$E", "arg-env"),
            ("${A}b$", "argb$"),
            ("'$A' \"$A\"", "$A arg"),
            (r#"\$A "\$A" '\$A' "\x""#, r"$A $A \$A \x"),
            ("${X:-d} ${X-d} ${EMPTY:-d} ${EMPTY-d}", "d d d "),
            ("${A:+y}${X:+n}${EMPTY:+n}${EMPTY+y}", "yy"),
            ("${X:-${Y:-${A}}}", "arg"),
            ("${X:-\"a }\"}", "a }"),
            ("${NONE}|$NONE|${NONE:-d}|${NONE-d}", "||d|d"),
            ("a\\", "a"),
            ("ü$A", "üarg"),
        ] {
            assert_eq!(expand(text, &scope(), '\\').as_deref(), Ok(wanted), "{text}");
        }
        assert_eq!(expand("`$A C:\\d", &scope(), '`').as_deref(), Ok("$A C:\\d"));
        for (text, wanted) in [
            ("$X", "`$X` is not set"),
            ("${X", "without its `}`"),
            ("${X:-a", "without its `}`"),
            ("${}", "name of a variable"),
            ("${A#x}", "not supported"),
            ("${X:?say why}", "`X` has no value: say why"),
            ("'a", "single quote"),
            ("\"a", "double quote"),
            ("$$", "shell only"),
            ("$1", "shell only"),
        ] {
            let error = expand(text, &scope(), '\\').unwrap_err();
            assert!(error.contains(wanted), "{text}: {error}");
        }
        let deep = "${X:-".repeat(100_000);
        assert!(expand(&deep, &scope(), '\\').unwrap_err().contains("nested"));
    }

    #[test]
    fn pairs_are_split_outside_of_quotes() {
        let split = |text: &str| pairs(text, '\\').map(|pairs| format!("{pairs:?}"));
        assert_eq!(
            split(r#"a=1 b="x y" c='p q'r d=e\ f"#).as_deref(),
            Ok(r#"[("a", "1"), ("b", "\"x y\""), ("c", "'p q'r"), ("d", "e\\ f")]"#)
        );
        assert_eq!(
            split("OLD  some value=1 ").as_deref(),
            Ok(r#"[("OLD", "some value=1")]"#)
        );
        for wrong in ["a=\"1", "=1", "a=1 b", "alone"] {
            assert!(split(wrong).is_err(), "{wrong}");
        }
    }
}
