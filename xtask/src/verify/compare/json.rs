//! JSON documents, member by member.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Difference, Kind, NOT_THERE, around, difference, first};

/// Every member that differs, by its JSON pointer (RFC 6901), keys in order; where all members are the same, the first byte.
pub(super) fn documents(kind: Kind, place: &str, a: &[u8], b: &[u8], found: &mut Vec<Difference>) {
    if a == b {
        return;
    }
    let before = found.len();
    let parse = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).ok();
    if let (Some(x), Some(y)) = (parse(a), parse(b)) {
        pointers(kind, place, "", Some(&x), Some(&y), found);
    }
    if found.len() == before {
        let at = first(a, b);
        let field = format!("offset {at:#x}: the same JSON, written otherwise");
        found.push(difference(kind, place, field, around(a, at), around(b, at)));
    }
}

fn pointers(kind: Kind, place: &str, path: &str, a: Option<&Value>, b: Option<&Value>, found: &mut Vec<Difference>) {
    match (a, b) {
        (Some(Value::Object(x)), Some(Value::Object(y))) => {
            let keys: BTreeSet<&String> = x.keys().chain(y.keys()).collect();
            for key in keys {
                let path = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
                pointers(kind, place, &path, x.get(key), y.get(key), found);
            }
        }
        (Some(Value::Array(x)), Some(Value::Array(y))) => {
            for index in 0..x.len().max(y.len()) {
                let path = format!("{path}/{index}");
                pointers(kind, place, &path, x.get(index), y.get(index), found);
            }
        }
        _ if a == b => {}
        _ => {
            let shown = |value: Option<&Value>| value.map_or_else(|| NOT_THERE.to_owned(), Value::to_string);
            found.push(difference(kind, place, path, shown(a), shown(b)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(a: &[u8], b: &[u8]) -> Vec<(String, String, String)> {
        let mut found = Vec::new();
        documents(Kind::Configuration, "configuration", a, b, &mut found);
        found.into_iter().map(|found| (found.field, found.a, found.b)).collect()
    }

    #[test]
    fn json_is_compared_by_its_members() {
        let found = json(br#"{"a":{"b/c":[1,2]},"z":1}"#, br#"{"a":{"b/c":[1,3,4]},"z":2}"#);
        let wanted = [("/a/b~1c/1", "2", "3"), ("/a/b~1c/2", NOT_THERE, "4"), ("/z", "1", "2")];
        assert_eq!(
            found,
            wanted.map(|(field, a, b)| (field.to_owned(), a.to_owned(), b.to_owned()))
        );
        assert_eq!(json(br#"{"a":1}"#, b"{}")[0].2, NOT_THERE);
        assert!(json(br#"{"a":1}"#, br#"{"a": 1}"#)[0].0.contains("written otherwise"));
        assert!(json(br#"{"a":1}"#, br#"{"a":1}"#).is_empty());
    }
}
