//! What a person with a browser does to a server: pages, forms, cookies. Over plain HTTP to this machine, one connection a request.
//!
//! Not `http`'s client: that one repeats, follows redirects and obeys `--offline`, and here each answer counts as it comes.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use html5gum::{Token, Tokenizer};

use crate::error::{Context, Error, Result};

/// No page of a check is larger.
const LARGEST: u64 = 4 << 20;

/// A page that came back.
#[derive(Clone, Debug)]
pub(super) struct Page {
    /// Path that it was asked for by.
    path: String,
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Page {
    fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self
            .headers
            .iter()
            .filter(move |(key, _)| key.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str())
    }
}

/// One visitor: a port of this machine, and the cookies that were set.
#[derive(Debug)]
pub(super) struct Browser {
    port: u16,
    timeout: Duration,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(super) fn new(port: u16, timeout: Duration) -> Browser {
        Browser {
            port,
            timeout,
            cookies: BTreeMap::new(),
        }
    }

    /// GET.
    pub(super) fn get(&mut self, path: &str) -> Result<Page> {
        self.request("GET", path, None)
    }

    /// The page, whose status must be a success.
    pub(super) fn open(&mut self, path: &str) -> Result<Page> {
        let page = self.get(path)?;
        match page.status {
            200..=299 => Ok(page),
            status => Err(Error::new(format!("GET {path} was answered with {status}"))),
        }
    }

    /// Sends the form of a page that has a field of that kind, with `value` in it; everything else stays as the page has
    /// it. Returns as soon as the answer is there. A success is 2xx or a redirect.
    pub(super) fn submit(&mut self, page: &Page, kind: FieldKind, value: &str) -> Result<Page> {
        let form = forms(&page.body).into_iter().find(|form| form.has(kind)).context(|| {
            format!(
                "{} has no form with {} (`[boot.check]` in xtask.toml names the page)",
                page.path,
                kind.describe()
            )
        })?;
        let body = form.filled(kind, value);
        let action = absolute(&page.path, &form.action);
        let answer = self.request("POST", &action, Some(&body))?;
        match answer.status {
            200..=399 => Ok(answer),
            status => Err(Error::new(format!("POST {action} was answered with {status}"))),
        }
    }

    fn request(&mut self, method: &str, path: &str, form: Option<&str>) -> Result<Page> {
        let failed = || format!("{method} http://127.0.0.1:{}{path}", self.port);
        let mut text = format!("{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{}\r\n", self.port);
        if !self.cookies.is_empty() {
            let cookies = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
            text.push_str(&format!("Cookie: {}\r\n", cookies.collect::<Vec<_>>().join("; ")));
        }
        if let Some(form) = form {
            text.push_str(&format!(
                "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\nOrigin: http://127.0.0.1:{}\r\n",
                form.len(),
                self.port
            ));
        }
        text.push_str("\r\n");
        text.push_str(form.unwrap_or_default());
        let page = send(self.port, path, &text, self.timeout).context(failed)?;
        for cookie in page.header("set-cookie") {
            self.take(cookie);
        }
        Ok(page)
    }

    /// RFC 6265, as far as a page over plain HTTP goes: `Secure` cookies are not for us.
    fn take(&mut self, cookie: &str) {
        let mut parts = cookie.split(';').map(str::trim);
        let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else {
            return;
        };
        let attributes: Vec<String> = parts.map(str::to_ascii_lowercase).collect();
        let gone = attributes.iter().any(|attribute| {
            attribute
                .strip_prefix("max-age=")
                .is_some_and(|age| age.parse::<i64>().is_ok_and(|age| age <= 0))
        });
        if gone {
            self.cookies.remove(name);
        } else if !attributes.iter().any(|attribute| attribute == "secure") {
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
    }
}

fn send(port: u16, path: &str, text: &str, timeout: Duration) -> Result<Page> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    stream.write_all(text.as_bytes())?;
    let mut bytes = Vec::new();
    (&mut stream).take(LARGEST).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let (head, body) = text
        .split_once("\r\n\r\n")
        .context(|| "the answer is not HTTP, or was cut short")?;
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(':'));
    let page = Page {
        path: path.to_owned(),
        status: status.context(|| "the answer is not HTTP")?,
        headers: headers
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect(),
        body: body.to_owned(),
    };
    let announced = page
        .header("content-length")
        .next()
        .and_then(|length| length.parse::<usize>().ok());
    match announced {
        Some(length) if bytes.len() < head.len() + 4 + length => Err(Error::new("the answer was cut short")),
        _ => Ok(page),
    }
}

/// Where a form's action leads, seen from the page's path.
fn absolute(page: &str, action: &str) -> String {
    let page = page.split(['?', '#']).next().unwrap_or_default();
    let action = action.split('#').next().unwrap_or_default();
    match action {
        "" => page.to_owned(),
        _ if action.starts_with('/') => action.to_owned(),
        _ => format!(
            "{}/{action}",
            page.rsplit_once('/').map_or("", |(directory, _)| directory)
        ),
    }
}

/// What a person fills in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldKind {
    /// `<input type="password">`.
    Password,
    /// `<textarea>`.
    Text,
    /// Has its value already.
    Given,
}

impl FieldKind {
    fn describe(self) -> &'static str {
        match self {
            FieldKind::Password => "a field for a password",
            FieldKind::Text => "a field for a text",
            FieldKind::Given => "a field",
        }
    }
}

#[derive(Debug)]
struct Form {
    action: String,
    fields: Vec<(FieldKind, String, String)>,
}

impl Form {
    fn has(&self, kind: FieldKind) -> bool {
        self.fields.iter().any(|(found, _, _)| *found == kind)
    }

    /// application/x-www-form-urlencoded, with `value` in the first field of that kind.
    fn filled(&self, kind: FieldKind, value: &str) -> String {
        let mut value = Some(value);
        let pairs = self.fields.iter().map(|(found, name, given)| {
            let given = if *found == kind {
                value.take().unwrap_or(given)
            } else {
                given
            };
            format!("{}={}", encoded(name), encoded(given))
        });
        pairs.collect::<Vec<_>>().join("&")
    }
}

fn encoded(text: &str) -> String {
    let mut result = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => result.push(char::from(byte)),
            b' ' => result.push('+'),
            _ => result.push_str(&format!("%{byte:02X}")),
        }
    }
    result
}

/// The forms that are sent by POST, with the fields that a browser would send if nothing were touched.
fn forms(html: &str) -> Vec<Form> {
    let mut forms: Vec<Form> = Vec::new();
    let mut inside = false;
    let mut submitted = false;
    for token in Tokenizer::new(html).flatten() {
        let tag = match token {
            Token::StartTag(tag) => tag,
            Token::EndTag(tag) => {
                inside &= tag.name.as_slice() != b"form";
                continue;
            }
            _ => continue,
        };
        let attribute = |name: &str| {
            let value = tag.attributes.get(name.as_bytes())?;
            Some(String::from_utf8_lossy(value).into_owned())
        };
        let lower = |name: &str| attribute(name).unwrap_or_default().to_ascii_lowercase();
        if tag.name.as_slice() == b"form" {
            inside = lower("method") == "post";
            submitted = false;
            if inside {
                forms.push(Form {
                    action: attribute("action").unwrap_or_default(),
                    fields: Vec::new(),
                });
            }
            continue;
        }
        let (Some(form), Some(name), true) = (forms.last_mut(), attribute("name"), inside) else {
            continue;
        };
        let value = attribute("value").unwrap_or_default();
        let disabled = attribute("disabled").is_some();
        let kind = lower("type");
        let field = match (tag.name.as_slice(), kind.as_str()) {
            _ if disabled => None,
            (b"textarea", _) => Some(FieldKind::Text),
            (b"input", "password") => Some(FieldKind::Password),
            (b"input", "checkbox" | "radio") => attribute("checked").map(|_| FieldKind::Given),
            (b"input", "button" | "reset" | "file" | "image") => None,
            // The one that is pressed is sent as well: the first.
            (b"input", "submit") | (b"button", "" | "submit") => {
                (!std::mem::replace(&mut submitted, true)).then_some(FieldKind::Given)
            }
            (b"input", _) => Some(FieldKind::Given),
            _ => None,
        };
        if let Some(field) = field {
            form.fields.push((field, name, value));
        }
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_sent_as_a_browser_would() {
        let html = r#"<form action="/search"><input name=q></form>
            <form method="POST" action="/posts"><input type="hidden" name="csrf" value="a&amp;b">
            <input type=checkbox name=draft value=1><textarea name="body">old</textarea>
            <button name="do" value="post">Post</button><button name="do" value="preview">Preview</button></form>
            <textarea name="elsewhere"></textarea>"#;
        let forms = forms(html);
        assert_eq!(forms.len(), 1);
        assert!(forms[0].has(FieldKind::Text) && !forms[0].has(FieldKind::Password));
        assert_eq!(forms[0].action, "/posts");
        assert_eq!(
            forms[0].filled(FieldKind::Text, "ä +"),
            "csrf=a%26b&body=%C3%A4+%2B&do=post"
        );
    }

    #[test]
    fn an_action_is_seen_from_its_page() {
        for (page, action, wanted) in [
            ("/a/b?x=1", "", "/a/b"),
            ("/a/b", "/c?d", "/c?d"),
            ("/a/b", "c", "/a/c"),
        ] {
            assert_eq!(absolute(page, action), wanted);
        }
    }

    #[test]
    fn cookies_are_kept_dropped_and_refused() {
        let mut browser = Browser::new(1, Duration::ZERO);
        browser.take("a=1; Path=/; HttpOnly");
        browser.take("b=2; Secure");
        browser.take("c=3");
        browser.take("c=; Max-Age=0");
        assert_eq!(browser.cookies.keys().collect::<Vec<_>>(), ["a"]);
    }
}
