//! What a program wants: the fields of a form or a JSON object, read into one of four actions.

use serde_json::{Map, Value};

use super::{Invalid, Properties};

#[derive(Debug, PartialEq)]
pub enum Request {
    Create(Properties),
    Update { url: String, changes: Changes },
    Delete { url: String },
    Undelete { url: String },
}

/// In the order in which they are made.
#[derive(Debug, Default, PartialEq)]
pub struct Changes {
    pub replace: Properties,
    pub add: Properties,
    /// Properties that go as a whole.
    pub delete: Vec<String>,
    /// Values that go.
    pub remove: Properties,
}

impl Request {
    /// # Errors
    /// Another type than `entry`, an action that is not known or not possible in a form, no `url`.
    pub fn of_fields(fields: &[(&str, &str)]) -> Result<Self, Invalid> {
        let get = |name: &str| fields.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        match get("action") {
            None => {
                entry(get("h"))?;
                Ok(Self::Create(Properties::of_fields(fields.iter().copied())))
            }
            Some("update") => Err(Invalid::new("an update is sent as JSON")),
            Some(action) => Self::whole(action, get("url")),
        }
    }

    /// # Errors
    /// The same, and JSON that is none.
    pub fn of_json(text: &[u8]) -> Result<Self, Invalid> {
        let Ok(Value::Object(mut object)) = serde_json::from_slice(text) else {
            return Err(Invalid::new("the body is not a JSON object"));
        };
        let Some(action) = object.remove("action") else {
            let kind = match object.get("type") {
                Some(Value::Array(kinds)) => kinds.first().cloned(),
                kind => kind.cloned(),
            };
            let kind = kind.as_ref().map(|kind| kind.as_str().unwrap_or_default());
            entry(kind.map(|kind| kind.strip_prefix("h-").unwrap_or(kind)))?;
            return match object.remove("properties") {
                Some(Value::Object(properties)) => Ok(Self::Create(Properties::of_object(properties))),
                _ => Err(Invalid::new("properties is missing: an object of lists")),
            };
        };
        let url = object.remove("url");
        let url = url.as_ref().and_then(Value::as_str);
        if action.as_str() != Some("update") {
            return Self::whole(action.as_str().unwrap_or_default(), url);
        }
        let url = url.ok_or_else(no_url)?.to_owned();
        let mut changes = Changes {
            replace: lists(&mut object, "replace")?,
            add: lists(&mut object, "add")?,
            ..Changes::default()
        };
        match object.remove("delete") {
            Some(Value::Object(values)) => changes.remove = Properties::of_object(values),
            Some(Value::Array(names)) => {
                let name = |name: Value| name.as_str().map(ToOwned::to_owned);
                let names: Option<Vec<String>> = names.into_iter().map(name).collect();
                changes.delete =
                    names.ok_or_else(|| Invalid::new("delete is a list of names, or an object of lists"))?;
            }
            None => {}
            Some(_) => return Err(Invalid::new("delete is a list of names, or an object of lists")),
        }
        if changes == Changes::default() {
            return Err(Invalid::new("an update has replace, add or delete"));
        }
        Ok(Self::Update { url, changes })
    }

    fn whole(action: &str, url: Option<&str>) -> Result<Self, Invalid> {
        let url = url.filter(|url| !url.is_empty()).ok_or_else(no_url)?.to_owned();
        match action {
            "delete" => Ok(Self::Delete { url }),
            "undelete" => Ok(Self::Undelete { url }),
            _ => Err(Invalid::new(
                "action is create (without a word), update, delete or undelete",
            )),
        }
    }
}

impl Changes {
    /// Whether it says anything about a property.
    pub fn touches(&self, name: &str) -> bool {
        let lists = [&self.replace, &self.add, &self.remove];
        lists.iter().any(|list| list.has(name)) || self.delete.iter().any(|gone| gone == name)
    }

    pub fn apply(self, properties: &mut Properties) {
        for (name, values) in self.replace.into_pairs() {
            properties.set(&name, values);
        }
        for (name, values) in self.add.into_pairs() {
            properties.add(&name, values);
        }
        for name in self.delete {
            properties.remove(&name);
        }
        for (name, values) in self.remove.into_pairs() {
            properties.remove_values(&name, &values);
        }
    }
}

/// What is posted without a type is an entry (section 3.3).
fn entry(kind: Option<&str>) -> Result<(), Invalid> {
    match kind {
        None | Some("entry") => Ok(()),
        Some(_) => Err(Invalid::new("the blog takes entries alone (h=entry)")),
    }
}

fn no_url() -> Invalid {
    Invalid::new("url is missing: the address of the post")
}

fn lists(object: &mut Map<String, Value>, name: &str) -> Result<Properties, Invalid> {
    match object.remove(name) {
        None => Ok(Properties::default()),
        // Section 3.4: the values are lists, always.
        Some(Value::Object(values)) if values.values().all(Value::is_array) => Ok(Properties::of_object(values)),
        Some(_) => Err(Invalid(format!("{name} is an object of lists"))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn json(text: &str) -> Result<Request, Invalid> {
        Request::of_json(text.as_bytes())
    }

    #[test]
    fn forms_and_json_say_the_same() {
        // A JSON object has no order; a form that is in order says the same.
        let form = [
            ("h", "entry"),
            ("category[]", "x"),
            ("category[]", "y"),
            ("content", "a"),
            ("name", ""),
        ];
        let form = Request::of_fields(&form).unwrap();
        let same = json(r#"{"type":["h-entry"],"properties":{"content":["a"],"category":["x","y"]}}"#).unwrap();
        assert_eq!(form, same);
        let bare = json(r#"{"properties":{"content":"a","category":["x","y"]}}"#).unwrap();
        assert_eq!(bare, same);
    }

    #[test]
    fn changes_are_made_in_order() {
        let text = r#"{"action":"update","url":"/posts/1","replace":{"content":["b"]},"add":{"category":["x","z"]},
            "delete":{"category":["y"],"photo":["/media/1"]}}"#;
        let Request::Update { url, changes } = json(text).unwrap() else {
            panic!("no update");
        };
        assert_eq!(url, "/posts/1");
        assert!(changes.touches("photo") && !changes.touches("in-reply-to"));
        let mut properties = Properties::default();
        properties.set("content", vec!["a".into()]);
        properties.set("category", vec!["x".into(), "y".into()]);
        properties.set(
            "photo",
            vec![
                serde_json::json!({"value": "/media/1", "alt": "one"}),
                "/media/2".into(),
            ],
        );
        changes.apply(&mut properties);
        assert_eq!(properties.text("content").unwrap(), "b");
        assert_eq!(properties.all("category"), ["x", "z"]);
        assert_eq!(properties.all("photo"), ["/media/2"]);
    }

    #[test]
    fn what_it_does_not_understand() {
        for bad in [
            "",
            "[]",
            "{}",
            "\"x\"",
            r#"{"type":["h-event"],"properties":{}}"#,
            r#"{"type":[1],"properties":{}}"#,
            r#"{"properties":[]}"#,
            r#"{"action":"update"}"#,
            r#"{"action":"update","url":"/posts/1"}"#,
            r#"{"action":"update","url":"/posts/1","replace":{"content":"not a list"}}"#,
            r#"{"action":"update","url":"/posts/1","delete":"all"}"#,
            r#"{"action":"update","url":"/posts/1","delete":[1]}"#,
            r#"{"action":"update","url":7,"delete":["category"]}"#,
            r#"{"action":"delete"}"#,
            r#"{"action":"eat","url":"/posts/1"}"#,
            r#"{"action":1,"url":"/posts/1"}"#,
        ] {
            assert!(json(bad).is_err(), "{bad}");
        }
        assert!(
            json(&"[".repeat(100_000)).is_err(),
            "deep nesting ends, and not the stack"
        );
        assert!(Request::of_fields(&[("action", "update"), ("url", "/posts/1")]).is_err());
        assert!(Request::of_fields(&[("h", "event"), ("content", "x")]).is_err());
        assert!(Request::of_fields(&[("action", "delete"), ("url", "")]).is_err());
    }
}
