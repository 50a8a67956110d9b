//! `WWW-Authenticate` (RFC 9110, 11.6.1): what a registry wants to see before it answers.

/// One way to prove oneself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// User and password, in every request.
    Basic,
    /// A token, to be had at `realm` (distribution-spec, token authentication).
    Bearer {
        /// URL of the token server.
        realm: String,
        /// What the token is for; goes into the request for it.
        service: Option<String>,
        /// What the registry thinks is needed.
        scope: Option<String>,
        /// Why the token that was sent will not do: `invalid_token`, `insufficient_scope`.
        error: Option<String>,
    },
}

/// The challenges of all `WWW-Authenticate` headers that are understood, in their order. Each header may hold several, and
/// commas separate parameters as well as challenges.
pub fn parse<'a>(headers: impl IntoIterator<Item = &'a str>) -> Vec<Challenge> {
    let mut found: Vec<(String, Vec<(String, String)>)> = Vec::new();
    for header in headers {
        let mut scanner = Scanner { rest: header };
        loop {
            scanner.skip_separators();
            let Some(word) = scanner.token() else { break };
            let spaced = scanner.skip_spaces();
            if scanner.rest.starts_with('=') {
                // A parameter of the last scheme. `token68` (`Negotiate abc==`) ends up here too and is of no use.
                scanner.rest = &scanner.rest[1..];
                scanner.skip_spaces();
                let Some(value) = scanner.value() else { break };
                if let Some((_, parameters)) = found.last_mut() {
                    parameters.push((word.to_ascii_lowercase(), value));
                }
            } else {
                found.push((word.to_ascii_lowercase(), Vec::new()));
                if !spaced && !scanner.rest.is_empty() && !scanner.rest.starts_with(',') {
                    break;
                }
            }
        }
    }
    let challenge = |(scheme, parameters): (String, Vec<(String, String)>)| {
        let get = |name: &str| {
            let found = parameters.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
        };
        match scheme.as_str() {
            "basic" => Some(Challenge::Basic),
            "bearer" => Some(Challenge::Bearer {
                realm: get("realm")?,
                service: get("service"),
                scope: get("scope"),
                error: get("error"),
            }),
            _ => None,
        }
    };
    found.into_iter().filter_map(challenge).collect()
}

struct Scanner<'a> {
    rest: &'a str,
}

impl<'a> Scanner<'a> {
    fn skip_separators(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', ',']);
    }

    fn skip_spaces(&mut self) -> bool {
        let before = self.rest.len();
        self.rest = self.rest.trim_start_matches([' ', '\t']);
        self.rest.len() < before
    }

    fn token(&mut self) -> Option<&'a str> {
        let end = self
            .rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~/".contains(c)))
            .unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!token.is_empty()).then_some(token)
    }

    /// A token or a quoted string with its backslashes taken out.
    fn value(&mut self) -> Option<String> {
        let Some(quoted) = self.rest.strip_prefix('"') else {
            let end = self.rest.find([',', ' ', '\t']).unwrap_or(self.rest.len());
            let (value, rest) = self.rest.split_at(end);
            self.rest = rest;
            return Some(value.to_owned());
        };
        let mut value = String::new();
        let mut chars = quoted.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = &quoted[at + 1..];
                    return Some(value);
                }
                '\\' => value.push(chars.next()?.1),
                c => value.push(c),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Challenge {
        Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
            error: None,
        }
    }

    #[test]
    fn the_challenges_that_registries_send() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/alpine:pull""#;
        assert_eq!(
            parse([hub]),
            [bearer(
                "https://auth.docker.io/token",
                Some("registry.docker.io"),
                Some("repository:library/alpine:pull")
            )]
        );
        assert_eq!(parse([r#"Basic realm="Registry Realm""#]), [Challenge::Basic]);
        assert_eq!(parse(["basic"]), [Challenge::Basic]);
        // A comma inside a value, spaces around `=`, schemes in any case, an unquoted value.
        assert_eq!(
            parse([r#"BEARER Realm = "https://a/t" , scope="repository:a:pull,push",service=x"#]),
            [bearer("https://a/t", Some("x"), Some("repository:a:pull,push"))]
        );
    }

    #[test]
    fn several_challenges_in_one_header_or_in_many() {
        let expected = [Challenge::Basic, bearer("https://a/t", None, None)];
        assert_eq!(parse([r#"Basic realm="x", Bearer realm="https://a/t""#]), expected);
        assert_eq!(parse([r#"Basic realm="x""#, r#"Bearer realm="https://a/t""#]), expected);
        assert_eq!(
            parse([r#"Negotiate, NTLM abc==, Digest realm="x", nonce="y", Basic, Bearer realm="https://a/t""#]),
            expected
        );
    }

    #[test]
    fn nonsense_is_no_challenge() {
        for text in [
            "",
            ",,,",
            "Bearer",
            r#"Bearer realm="#,
            r#"Bearer realm="never ends"#,
            r#"Bearer service="x""#,
            "=",
            "\"",
            "é",
        ] {
            assert_eq!(parse([text]), [], "{text}");
        }
        assert_eq!(parse([r#"Bearer realm="a\"b\\c""#]), [bearer(r#"a"b\c"#, None, None)]);
        let expired = parse([r#"Bearer realm="r",error="invalid_token""#]);
        assert!(matches!(&expired[..], [Challenge::Bearer { error: Some(error), .. }] if error == "invalid_token"));
    }
}
