//! Which paths of a package stay out of the image: glob patterns of `xtask.toml`. Pure.

/// Patterns over relative paths: `*` and `?` stay within one component, `**` crosses them.
#[derive(Clone, Debug, Default)]
pub struct Excludes {
    exclude: Vec<String>,
    keep: Vec<String>,
}

impl Excludes {
    /// `keep` wins over `exclude`.
    pub fn new(exclude: &[String], keep: &[String]) -> Self {
        Excludes {
            exclude: exclude.to_vec(),
            keep: keep.to_vec(),
        }
    }

    /// Whether this path stays out.
    pub fn excludes(&self, path: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, path));
        any(&self.exclude) && !any(&self.keep)
    }
}

/// Whether `path` matches `pattern` as a whole.
pub fn matches(pattern: &str, path: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('/').collect();
    let path: Vec<&str> = path.split('/').collect();
    components(&pattern, &path)
}

fn components(pattern: &[&str], path: &[&str]) -> bool {
    match pattern.split_first() {
        None => path.is_empty(),
        Some((&"**", rest)) => (0..=path.len()).any(|skip| components(rest, &path[skip..])),
        Some((first, rest)) => path
            .split_first()
            .is_some_and(|(name, below)| component(first.as_bytes(), name.as_bytes()) && components(rest, below)),
    }
}

fn component(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_first() {
        None => name.is_empty(),
        Some((b'*', rest)) => (0..=name.len()).any(|skip| component(rest, &name[skip..])),
        Some((b'?', rest)) => name.split_first().is_some_and(|(_, name)| component(rest, name)),
        Some((byte, rest)) => name
            .split_first()
            .is_some_and(|(first, name)| first == byte && component(rest, name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_star_stays_in_its_component_and_two_cross_them() {
        assert!(matches("usr/share/man/**", "usr/share/man/man8/x.8.gz"));
        assert!(matches("usr/share/man/**", "usr/share/man"));
        assert!(!matches("usr/share/man/*", "usr/share/man/man8/x.8.gz"));
        assert!(matches("usr/lib/*/lib*.so.?", "usr/lib/arm-linux-gnueabi/libnsl.so.1"));
        assert!(!matches("usr/lib/*/lib*.so.?", "usr/lib/libnsl.so.1"));
        assert!(matches("**/x", "x"));
        assert!(!matches("usr", "usr/bin"));
        assert!(!matches("", "usr"));
    }

    #[test]
    fn copyright_files_stay_although_documentation_goes() {
        let excludes = Excludes::new(
            &["usr/share/doc/*/**".to_owned()],
            &["usr/share/doc/*".to_owned(), "usr/share/doc/*/copyright".to_owned()],
        );
        assert!(excludes.excludes("usr/share/doc/libc6/NEWS.gz"));
        assert!(!excludes.excludes("usr/share/doc/libc6/copyright"));
        // A link to another package's directory is how some packages ship their copyright.
        assert!(!excludes.excludes("usr/share/doc/libgcc-s1"));
    }
}
