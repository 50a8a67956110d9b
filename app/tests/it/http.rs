//! A small HTTP client with a cookie jar, so that the tests need none of the large ones.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find_map(|(key, value)| (key == name).then_some(value.as_str()))
    }

    /// The value of the hidden field `name` in the first form that has it.
    pub fn field(&self, name: &str) -> String {
        let start = format!("name=\"{name}\" value=\"");
        let at = self
            .body
            .find(&start)
            .unwrap_or_else(|| panic!("no field {name}: {}", self.body));
        self.body[at + start.len()..].split('"').next().unwrap().to_owned()
    }

    pub fn location(&self) -> &str {
        assert_eq!(self.status, 303, "{}", self.body);
        self.header("location").unwrap()
    }
}

/// Sends bytes as they are and reads until the server closes.
pub fn raw(address: &str, request: &[u8]) -> Response {
    parse(&exchange(address, request))
}

/// The same for answers that are no text.
pub fn exchange(address: &str, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    // A server that refuses early may close while we still send; what it answered is there all the same.
    let _ = stream.write_all(request);
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    bytes
}

/// Head and body of an answer that is no text.
pub fn split(bytes: &[u8]) -> (Response, &[u8]) {
    let at = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    (parse(&bytes[..at]), &bytes[at..])
}

pub fn parse(bytes: &[u8]) -> Response {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let (head, body) = text
        .split_once("\r\n\r\n")
        .unwrap_or_else(|| panic!("no answer: {text:?}"));
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(key, value)| (key.to_ascii_lowercase(), value.to_owned()))
        .collect();
    Response {
        status,
        headers,
        body: body.to_owned(),
    }
}

pub fn encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// The `Content-Type` of `multipart`.
pub const MULTIPART: &str = "multipart/form-data; boundary=----blogtest7MA4YWxkTrZu0gW";

/// A form with files, as browsers write it.
pub fn multipart(fields: &[(&str, &str)], files: &[(&str, &str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    let start = "------blogtest7MA4YWxkTrZu0gW\r\nContent-Disposition: form-data; name=";
    for (name, value) in fields {
        body.extend(format!("{start}\"{name}\"\r\n\r\n{value}\r\n").bytes());
    }
    for (name, file, bytes) in files {
        let kind = "Content-Type: application/octet-stream";
        body.extend(format!("{start}\"{name}\"; filename=\"{file}\"\r\n{kind}\r\n\r\n").bytes());
        body.extend_from_slice(bytes);
        body.extend(b"\r\n");
    }
    body.extend(b"------blogtest7MA4YWxkTrZu0gW--\r\n");
    body
}

/// A browser: keeps cookies, follows nothing.
#[derive(Debug, Default, Clone)]
pub struct Browser {
    pub address: String,
    pub cookies: Vec<(String, String)>,
}

impl Browser {
    /// The value of `Cookie`.
    pub fn cookie_header(&self) -> String {
        let pairs = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("; ")
    }

    pub fn get(&mut self, path: &str) -> Response {
        self.send("GET", path, &[], "")
    }

    pub fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Response {
        self.post_with(path, &[], fields)
    }

    pub fn post_with(&mut self, path: &str, headers: &[(&str, &str)], fields: &[(&str, &str)]) -> Response {
        let fields: Vec<_> = fields
            .iter()
            .map(|(key, value)| format!("{key}={}", encode(value)))
            .collect();
        let kind = [("Content-Type", "application/x-www-form-urlencoded")];
        self.send("POST", path, &[&kind, headers].concat(), &fields.join("&"))
    }

    pub fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
        self.send_bytes(method, path, headers, body.as_bytes())
    }

    /// Sends a form with files: name of the field, name of the file, its bytes.
    pub fn upload(&mut self, path: &str, fields: &[(&str, &str)], files: &[(&str, &str, &[u8])]) -> Response {
        let body = multipart(fields, files);
        self.send_bytes("POST", path, &[("Content-Type", MULTIPART)], &body)
    }

    pub fn send_bytes(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
            self.address
        );
        if !self.cookies.is_empty() {
            request.push_str(&format!("Cookie: {}\r\n", self.cookie_header()));
        }
        for (key, value) in headers {
            request.push_str(&format!("{key}: {value}\r\n"));
        }
        if method == "POST" {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        let response = raw(&self.address, &[request.as_bytes(), body].concat());
        for (key, value) in &response.headers {
            if key == "set-cookie" {
                let (name, rest) = value.split_once('=').unwrap();
                let value = rest.split(';').next().unwrap();
                self.cookies.retain(|(known, _)| known != name);
                if !value.is_empty() {
                    self.cookies.push((name.to_owned(), value.to_owned()));
                }
            }
        }
        response
    }

    pub fn cookie(&self, name: &str) -> Option<String> {
        self.cookies
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
    }
}
