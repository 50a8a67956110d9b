//! Programs that post through Micropub: what they may do, what comes of it, and what they are told otherwise.

mod change;
mod create;
mod refused;

use serde_json::Value;

use crate::app::TestApp;
use crate::http::{Browser, MULTIPART, Response, encode, multipart, raw};

pub const PNG: &[u8] = include_bytes!("../../fixtures/images/rgba.png");
pub const JPEG: &[u8] = include_bytes!("../../fixtures/images/baseline.jpg");
pub const FORM: &str = "application/x-www-form-urlencoded";

/// Makes a token on its page.
pub fn token(owner: &mut Browser, scopes: &[&str]) -> String {
    let page = owner.get("/admin/tokens");
    let (csrf, key) = (page.field("csrf"), page.field("key"));
    let may: Vec<String> = scopes.iter().map(|scope| format!("may-{scope}")).collect();
    let mut fields = vec![
        ("csrf", csrf.as_str()),
        ("key", &key),
        ("name", "a program"),
        ("life", "30"),
    ];
    fields.extend(may.iter().map(|name| (name.as_str(), "1")));
    let made = owner.post("/admin/tokens", &fields);
    let rest = made.body.split("<code class=\"secret\">").nth(1);
    rest.unwrap_or_else(|| panic!("{}", made.body))
        .split('<')
        .next()
        .unwrap()
        .to_owned()
}

/// A program with its token.
pub struct Client {
    pub address: String,
    pub token: String,
}

impl Client {
    /// One that may do these things on `app`.
    pub fn new(app: &TestApp, scopes: &[&str]) -> Self {
        Self {
            address: app.address.clone(),
            token: token(&mut app.owner(), scopes),
        }
    }

    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
            self.address
        );
        if !self.token.is_empty() {
            head.push_str(&format!("Authorization: Bearer {}\r\n", self.token));
        }
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if method == "POST" {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        raw(&self.address, &[head.as_bytes(), body].concat())
    }

    pub fn get(&self, query: &str) -> Value {
        let answer = self.send("GET", &format!("/micropub?{query}"), &[], b"");
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.header("content-type"), Some("application/json"));
        serde_json::from_str(&answer.body).unwrap()
    }

    pub fn form(&self, fields: &[(&str, &str)]) -> Response {
        let pairs: Vec<String> = fields
            .iter()
            .map(|(name, value)| format!("{name}={}", encode(value)))
            .collect();
        self.send(
            "POST",
            "/micropub",
            &[("Content-Type", FORM)],
            pairs.join("&").as_bytes(),
        )
    }

    pub fn json(&self, value: &Value) -> Response {
        let kind = [("Content-Type", "application/json; charset=utf-8")];
        self.send("POST", "/micropub", &kind, value.to_string().as_bytes())
    }

    /// A form with images.
    pub fn files(&self, path: &str, fields: &[(&str, &str)], files: &[(&str, &str, &[u8])]) -> Response {
        self.send("POST", path, &[("Content-Type", MULTIPART)], &multipart(fields, files))
    }
}

/// The address of what was made, without the name of the server.
pub fn made(app: &TestApp, answer: &Response) -> String {
    assert_eq!(answer.status, 201, "{}", answer.body);
    let location = answer.header("location").unwrap();
    let path = location.strip_prefix(&format!("http://{}", app.address));
    path.unwrap_or_else(|| panic!("{location}")).to_owned()
}

/// The error of an answer.
pub fn error(answer: &Response) -> (u16, String, String) {
    assert_eq!(
        answer.header("content-type"),
        Some("application/json"),
        "{}",
        answer.body
    );
    let body: Value = serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{}", answer.body));
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    (answer.status, text("error"), text("error_description"))
}
