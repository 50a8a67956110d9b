//! The properties of an h-entry: names, each with a list of values, as microformats2 has them.

use serde_json::{Map, Value};

use super::Invalid;

/// In the order in which they came.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Properties(Vec<(String, Vec<Value>)>);

impl Properties {
    /// Of the fields of a form. Several values are several fields, or fields whose names end in `[]`.
    pub fn of_fields<'a>(fields: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut properties = Self::default();
        for (name, value) in fields {
            let name = name.strip_suffix("[]").unwrap_or(name);
            let instruction = matches!(name, "access_token" | "h" | "action" | "url");
            // Forms send fields that were left empty. Of alternative texts each has its place.
            if !instruction && (!value.is_empty() || name == "mp-photo-alt") {
                properties.add(name, vec![Value::from(value)]);
            }
        }
        properties
    }

    /// Of a JSON object whose members are lists. A single value is taken for a list of one.
    pub fn of_object(object: Map<String, Value>) -> Self {
        let list = |value| match value {
            Value::Array(values) => values,
            value => vec![value],
        };
        Self(object.into_iter().map(|(name, value)| (name, list(value))).collect())
    }

    /// All values of a property; none when it is not there.
    pub fn all(&self, name: &str) -> &[Value] {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map_or(&[], |(_, values)| values)
    }

    /// The value of a property that has at most one.
    ///
    /// # Errors
    /// It has several.
    pub fn one(&self, name: &str) -> Result<Option<&Value>, Invalid> {
        match self.all(name) {
            [] => Ok(None),
            [value] => Ok(Some(value)),
            _ => Err(Invalid::new(format!("{name} takes one value"))),
        }
    }

    /// The same, where the value is a text.
    ///
    /// # Errors
    /// It has several, or one of another kind.
    pub fn text(&self, name: &str) -> Result<&str, Invalid> {
        match self.one(name)? {
            None => Ok(""),
            Some(value) => value
                .as_str()
                .ok_or_else(|| Invalid::new(format!("{name} takes a text"))),
        }
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    pub fn set(&mut self, name: &str, values: Vec<Value>) {
        self.0.retain(|(known, _)| known != name);
        self.0.push((name.to_owned(), values));
    }

    /// Adds values that are not there yet; of alternative texts, which may be equal, all.
    pub fn add(&mut self, name: &str, values: Vec<Value>) {
        let at = match self.0.iter().position(|(known, _)| known == name) {
            Some(at) => at,
            None => {
                self.0.push((name.to_owned(), Vec::new()));
                self.0.len() - 1
            }
        };
        let Some((_, had)) = self.0.get_mut(at) else { return };
        for value in values {
            if name == "mp-photo-alt" || !had.contains(&value) {
                had.push(value);
            }
        }
    }

    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| known != name);
    }

    /// Takes single values away. An image is named by its address, with or without its text.
    pub fn remove_values(&mut self, name: &str, gone: &[Value]) {
        let address = |value: &Value| value.get("value").cloned().unwrap_or_else(|| value.clone());
        for (_, values) in self.0.iter_mut().filter(|(known, _)| known == name) {
            values.retain(|value| gone.iter().all(|gone| address(gone) != address(value)));
        }
    }

    pub fn into_pairs(self) -> Vec<(String, Vec<Value>)> {
        self.0
    }
}
