//! Writing: every kind of post, what can go wrong with the form, and everything that is done to a post afterwards.

mod conflict;
mod fields;
mod history;
mod posts;
mod resend;
mod schedule;
mod shelves;
mod tokens;

use crate::http::{Browser, Response};

/// What stands in the text field `name` of a page.
pub fn input(page: &Response, name: &str) -> String {
    let start = format!("<input id=\"{name}\"");
    let tag = page
        .body
        .split(&start)
        .nth(1)
        .unwrap_or_else(|| panic!("no {name}: {}", page.body));
    let value = tag.split("value=\"").nth(1).unwrap();
    value.split('"').next().unwrap().to_owned()
}

/// What stands in the text box.
pub fn text(page: &Response) -> String {
    let inside = page
        .body
        .split("name=\"body\"")
        .nth(1)
        .unwrap_or_else(|| panic!("no text: {}", page.body));
    let inside = inside.split_once(">\n").unwrap().1;
    inside.split("</textarea>").next().unwrap().to_owned()
}

/// Sends the form for new posts with these fields.
pub fn compose(owner: &mut Browser, fields: &[(&str, &str)]) -> Response {
    let form = owner.get("/admin/new");
    let (csrf, key) = (form.field("csrf"), form.field("key"));
    let own = [("csrf", csrf.as_str()), ("key", key.as_str())];
    owner.post("/admin/posts", &[&own, fields].concat())
}

/// Saves an edit: what is not given stays as it was.
pub fn edit(owner: &mut Browser, id: i64, fields: &[(&str, &str)]) -> Response {
    let path = format!("/admin/posts/{id}/edit");
    let form = owner.get(&path);
    assert_eq!(form.status, 200, "{}", form.body);
    let mut all = vec![
        ("csrf", form.field("csrf")),
        ("version", form.field("version")),
        ("body", text(&form)),
    ];
    for name in ["title", "link", "slug", "tags", "lang", "date"] {
        all.push((name, input(&form, name)));
    }
    let chosen = form
        .body
        .split("\" selected")
        .next()
        .unwrap()
        .rsplit('"')
        .next()
        .unwrap()
        .to_owned();
    all.push(("visibility", chosen));
    for (name, value) in fields {
        all.retain(|(known, _)| known != name);
        all.push((name, (*value).to_owned()));
    }
    let all: Vec<_> = all.iter().map(|(name, value)| (*name, value.as_str())).collect();
    owner.post(&path, &all)
}
