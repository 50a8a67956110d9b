//! A form that was not taken is not lost: it is sent again after signing in.

use crate::app::{PASSWORD, TestApp, login};
use crate::http::Response;

/// The fields that a browser would send from the form on the page.
fn again(page: &Response) -> Vec<(String, String)> {
    let form = page
        .body
        .split("<form method=\"post\" action=\"/admin/posts\">")
        .nth(1)
        .unwrap_or_else(|| panic!("{}", page.body));
    let form = form.split("</form>").next().unwrap();
    let mut fields = Vec::new();
    for tag in form.split("<input type=\"hidden\" name=\"").skip(1) {
        let (name, rest) = tag.split_once("\" value=\"").unwrap();
        fields.push((name.to_owned(), rest.split('"').next().unwrap().to_owned()));
    }
    let text = form.split("name=\"body\"").nth(1).unwrap().split_once(">\n").unwrap().1;
    fields.push(("body".to_owned(), text.split("</textarea>").next().unwrap().to_owned()));
    fields
}

#[test]
fn a_session_that_ended_while_writing_costs_nothing() {
    let app = TestApp::start();
    let mut owner = app.owner();
    let form = owner.get("/admin/new");
    let (csrf, key) = (form.field("csrf"), form.field("key"));
    owner.post("/logout", &[("csrf", &csrf)]).location();

    let fields = [
        ("csrf", csrf.as_str()),
        ("key", key.as_str()),
        ("title", "A title"),
        ("tags", "kept"),
        ("date", "2010-01-02 03:04"),
        ("body", "written for an hour"),
    ];
    let refused = owner.post("/admin/posts", &fields);
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("You are signed out") && refused.body.contains("href=\"/login\""));
    assert!(refused.body.contains("written for an hour"));

    // Signed in again in another tab, that page is sent: its token is an old one, but nothing typed is lost.
    assert_eq!(login(&mut owner, PASSWORD).location(), "/");
    let send = |owner: &mut crate::http::Browser, page: &Response| {
        let fields = again(page);
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        owner.post("/admin/posts", &fields)
    };
    let look = send(&mut owner, &refused);
    assert_eq!(look.status, 403);
    assert!(look.body.contains("Send it again"));
    let done = send(&mut owner, &look);
    assert_eq!(done.location(), "/posts/1");
    assert_eq!(send(&mut owner, &look).location(), "/posts/1", "twice is once");
    let post = owner.get("/admin/posts/1/edit");
    assert_eq!(super::input(&post, "title"), "A title");
    assert_eq!(super::input(&post, "tags"), "kept");
    assert_eq!(super::input(&post, "date"), "2010-01-02 03:04");
}

#[test]
fn what_another_site_sent_gets_no_token() {
    let app = TestApp::start();
    let mut owner = app.owner();
    let csrf = owner.get("/admin/new").field("csrf");
    let fields = [("csrf", "x"), ("key", "y"), ("body", "forged")];
    let refused = owner.post_with("/admin/posts", &[("Origin", "http://evil.example")], &fields);
    assert_eq!(refused.status, 403);
    assert!(!refused.body.contains(&csrf) && !refused.body.contains("Send it again"));
    assert!(refused.body.contains("forged"), "shown, to copy");
}
