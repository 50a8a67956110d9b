//! Which user an image's `User` is, by the image's own /etc/passwd and /etc/group. Pure.
//!
//! The rules are those of engines (moby/sys, `user.GetExecUser`): numbers need no entry, a name does; without a group it is the
//! one of the passwd entry, else 0, and the groups that list the user come with it.

use super::launcher::Identity;
use crate::oci::layer::EntryKind;
use crate::oci::tree::Tree;

/// The identity and `HOME`.
///
/// # Errors
/// A name that the image does not know.
pub(super) fn resolve(user: &str, tree: &Tree) -> Result<(Identity, String), String> {
    let passwd = lines(tree, "etc/passwd");
    let group = lines(tree, "etc/group");
    let (name, group_name) = match user.split_once(':') {
        Some((name, group)) => (name, Some(group).filter(|group| !group.is_empty())),
        None => (user, None),
    };
    let name = if name.is_empty() { "0" } else { name };
    let known = passwd.iter().find(|line| {
        let number = name
            .parse::<u32>()
            .is_ok_and(|number| field::<u32>(line, 2) == Some(number));
        line.first() == Some(&name.to_owned()) || number
    });
    let uid = known
        .and_then(|line| field(line, 2))
        .or_else(|| name.parse().ok())
        .ok_or_else(|| format!("the image's user `{user}` is not in its /etc/passwd"))?;
    let home = known.and_then(|line| line.get(5)).filter(|home| !home.is_empty());
    let home = home.map_or("/", String::as_str).to_owned();
    let Some(wanted) = group_name else {
        let login = known.and_then(|line| line.first());
        let lists = |line: &&Vec<String>| {
            let members = line.get(3).map_or("", String::as_str);
            login.is_some_and(|login| members.split(',').any(|member| member == login))
        };
        return Ok((
            Identity {
                uid,
                gid: known.and_then(|line| field(line, 3)).unwrap_or(0),
                groups: group.iter().filter(lists).filter_map(|line| field(line, 2)).collect(),
            },
            home,
        ));
    };
    let gid = group
        .iter()
        .find(|line| line.first().is_some_and(|name| name == wanted))
        .and_then(|line| field(line, 2))
        .or_else(|| wanted.parse().ok())
        .ok_or_else(|| format!("the group of the image's user `{user}` is not in its /etc/group"))?;
    Ok((
        Identity {
            uid,
            gid,
            groups: Vec::new(),
        },
        home,
    ))
}

fn lines(tree: &Tree, path: &str) -> Vec<Vec<String>> {
    let found = tree.resolve(path, true).and_then(|path| tree.get(&path).cloned());
    let Some(EntryKind::File(bytes)) = found.map(|entry| entry.kind) else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&bytes);
    let lines = text.lines().map(|line| line.split(':').map(str::to_owned).collect());
    lines.collect()
}

fn field<T: std::str::FromStr>(line: &[String], index: usize) -> Option<T> {
    line.get(index)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::layer::Entry;

    #[test]
    fn names_and_numbers_are_looked_up_as_engines_do() {
        let mut tree = Tree::default();
        tree.apply(vec![
            Entry::file(
                "etc/passwd",
                "root:x:0:0:root:/root:/bin/sh\nblog:x:65532:65531:Blog:/data:/x\n",
                0o644,
            ),
            Entry::file("etc/group", "root:x:0:\nblog:x:65531:\nmail:x:8:post,blog\n", 0o644),
        ])
        .unwrap();
        let resolved = |user: &str| {
            let (identity, home) = resolve(user, &tree).unwrap();
            (identity.uid, identity.gid, identity.groups, home)
        };
        assert_eq!(resolved(""), (0, 0, vec![], "/root".to_owned()));
        assert_eq!(resolved("blog"), (65532, 65531, vec![8], "/data".to_owned()));
        assert_eq!(resolved("65532"), (65532, 65531, vec![8], "/data".to_owned()));
        assert_eq!(resolved("blog:mail"), (65532, 8, vec![], "/data".to_owned()));
        assert_eq!(resolved("65532:65532"), (65532, 65532, vec![], "/data".to_owned()));
        assert_eq!(resolved("7"), (7, 0, vec![], "/".to_owned()));
        assert!(resolve("nobody", &tree).unwrap_err().contains("/etc/passwd"));
        assert!(resolve("blog:nobody", &tree).unwrap_err().contains("/etc/group"));
        assert_eq!(resolve("5:6", &Tree::default()).unwrap().0.gid, 6);
    }
}
