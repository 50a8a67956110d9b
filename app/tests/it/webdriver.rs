//! A real Chromium without a window, driven by WebDriver (<https://www.w3.org/TR/webdriver2/>) over plain TCP.
//!
//! Every test has a driver and a browser of its own; both end with it.

// Not every method has a test that needs it today; together they are what a person does.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::require::program;

/// What WebDriver calls an element in its JSON.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Where screenshots lie after a run, to be looked at.
pub fn screenshots() -> PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/screenshots");
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

pub struct Chromium {
    driver: Child,
    port: u16,
    session: String,
    /// Its own; nothing of the user's is read.
    profile: TempDir,
}

#[derive(Clone, Debug)]
pub struct Element(String);

impl Chromium {
    /// `None` where there is no browser or no driver for it.
    pub fn start(javascript: bool) -> Option<Self> {
        let browser = program(&["chromium", "chromium-browser", "google-chrome"])?;
        let driver = program(&["chromedriver"])?;
        let profile = tempfile::tempdir().unwrap();
        let mut driver = Command::new(driver)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = loop {
            let line = lines.next().expect("chromedriver does not start").unwrap();
            if let Some((_, port)) = line.split_once("successfully on port ") {
                break port.trim_end_matches('.').parse().unwrap();
            }
        };
        // Whatever else it says must not fill the pipe.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        let mut chromium = Self {
            driver,
            port,
            session: String::new(),
            profile,
        };
        let profile = chromium.profile.path().display().to_string();
        let preferences = match javascript {
            true => json!({}),
            false => json!({ "profile.managed_default_content_settings.javascript": 2 }),
        };
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": {
                "binary": browser,
                "prefs": preferences,
                "args": [
                    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                    "--disable-background-networking", "--disable-component-update", "--disable-default-apps",
                    "--disable-sync", "--disable-extensions", "--disable-domain-reliability", "--no-pings",
                    "--hide-scrollbars", "--force-device-scale-factor=1", "--window-size=1000,900",
                    format!("--user-data-dir={profile}"),
                ],
            },
        } } });
        let answer = chromium.call("POST", "/session", &capabilities);
        chromium.session = answer["sessionId"].as_str().unwrap().to_owned();
        Some(chromium)
    }

    pub fn open(&mut self, url: &str) {
        self.post("/url", &json!({ "url": url }));
    }

    pub fn url(&mut self) -> String {
        self.get("/url").as_str().unwrap().to_owned()
    }

    pub fn title(&mut self) -> String {
        self.get("/title").as_str().unwrap().to_owned()
    }

    pub fn source(&mut self) -> String {
        self.get("/source").as_str().unwrap().to_owned()
    }

    pub fn back(&mut self) {
        self.post("/back", &json!({}));
    }

    pub fn reload(&mut self) {
        self.post("/refresh", &json!({}));
    }

    pub fn find(&mut self, css: &str) -> Element {
        self.find_by("css selector", css)
    }

    /// A link by its whole text.
    pub fn link(&mut self, text: &str) -> Element {
        self.find_by("link text", text)
    }

    fn find_by(&mut self, using: &str, value: &str) -> Element {
        let answer = self.post("/element", &json!({ "using": using, "value": value }));
        Element(answer[ELEMENT].as_str().unwrap().to_owned())
    }

    pub fn count(&mut self, css: &str) -> usize {
        let answer = self.post("/elements", &json!({ "using": "css selector", "value": css }));
        answer.as_array().unwrap().len()
    }

    pub fn click(&mut self, element: &Element) {
        self.post(&format!("/element/{}/click", element.0), &json!({}));
    }

    /// Clicks what leads to another page, and waits until this one is gone. The driver waits for a page that loads already, not for
    /// one that will.
    pub fn follow(&mut self, element: &Element) {
        let page = self.find("html");
        self.click(element);
        let path = format!("/session/{}/element/{}/name", self.session, page.0);
        for _ in 0..600 {
            if self.exchange("GET", &path, &Value::Null).0 != 200 {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("no other page came after the click");
    }

    /// Types; for a file field the text is the path of the file.
    pub fn type_into(&mut self, element: &Element, text: &str) {
        self.post(&format!("/element/{}/value", element.0), &json!({ "text": text }));
    }

    pub fn clear(&mut self, element: &Element) {
        self.post(&format!("/element/{}/clear", element.0), &json!({}));
    }

    pub fn text(&mut self, element: &Element) -> String {
        let answer = self.get(&format!("/element/{}/text", element.0));
        answer.as_str().unwrap().to_owned()
    }

    pub fn attribute(&mut self, element: &Element, name: &str) -> Option<String> {
        let answer = self.get(&format!("/element/{}/attribute/{name}", element.0));
        answer.as_str().map(str::to_owned)
    }

    /// Runs the body of a function in the page; a promise is waited for. The page's own policy does not apply to it.
    pub fn run(&mut self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// A command of the DevTools protocol.
    pub fn devtools(&mut self, command: &str, parameters: &Value) -> Value {
        self.post("/goog/cdp/execute", &json!({ "cmd": command, "params": parameters }))
    }

    pub fn resize(&mut self, width: u32, height: u32) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
    }

    pub fn dark(&mut self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": value }]);
        self.devtools(
            "Emulation.setEmulatedMedia",
            &json!({ "media": "", "features": features }),
        );
    }

    pub fn print(&mut self) {
        self.devtools(
            "Emulation.setEmulatedMedia",
            &json!({ "media": "print", "features": [] }),
        );
    }

    /// The whole page, not only what fits into the window, as `target/screenshots/NAME.png`.
    pub fn screenshot(&mut self, name: &str) {
        let answer = self.devtools("Page.captureScreenshot", &json!({ "captureBeyondViewport": true }));
        let bytes = base64(answer["data"].as_str().unwrap());
        assert!(bytes.starts_with(b"\x89PNG"));
        std::fs::write(screenshots().join(format!("{name}.png")), bytes).unwrap();
    }

    /// What assistive programs are told: a line for each role and name, indented as they are nested.
    pub fn accessibility(&mut self) -> String {
        let answer = self.devtools("Accessibility.getFullAXTree", &json!({}));
        let nodes = answer["nodes"].as_array().unwrap();
        let mut out = String::new();
        let root = nodes.iter().find(|node| node["parentId"].is_null()).unwrap();
        outline(nodes, root, 0, &mut out);
        out
    }

    fn get(&mut self, path: &str) -> Value {
        self.call("GET", &format!("/session/{}{path}", self.session), &Value::Null)
    }

    fn post(&mut self, path: &str, body: &Value) -> Value {
        self.call("POST", &format!("/session/{}{path}", self.session), body)
    }

    fn call(&mut self, method: &str, path: &str, body: &Value) -> Value {
        let (status, answer) = self.exchange(method, path, body);
        assert_eq!(status, 200, "{method} {path}: {}", answer["message"]);
        answer
    }

    fn exchange(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\
             Content-Type: application/json; charset=utf-8\r\nContent-Length: {}\r\n\r\n{body}",
            self.port,
            body.len()
        );
        stream.write_all(request.as_bytes()).unwrap();
        // The driver leaves the connection open, so the length says where the answer ends.
        let mut reader = BufReader::new(stream);
        let (mut head, mut length) = (String::new(), 0);
        while reader.read_line(&mut head).unwrap() > 2 {
            let line = head.lines().next_back().unwrap().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let mut answer: Value = serde_json::from_slice(&body).unwrap();
        (status, answer["value"].take())
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            // Not `call`: a panic while a panic unwinds would abort the whole run.
            let session = format!("/session/{}", self.session);
            let closing = std::panic::AssertUnwindSafe(|| self.exchange("DELETE", &session, &Value::Null));
            let _ = std::panic::catch_unwind(closing);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
        // A browser whose driver never answered is still there: whoever has this profile in its arguments is ours.
        let profile = self.profile.path().display().to_string();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let arguments = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&arguments).contains(&profile) {
                let _ = Command::new("kill").arg("-9").arg(entry.file_name()).status();
            }
        }
    }
}

fn outline(nodes: &[Value], node: &Value, depth: usize, out: &mut String) {
    let role = node["role"]["value"].as_str().unwrap_or_default();
    // Boxes of lines and what has no meaning of its own; its children take its place.
    let shown = node["ignored"] != true && !matches!(role, "InlineTextBox" | "none" | "generic" | "LineBreak" | "");
    let mut inner = depth;
    if shown {
        let name = node["name"]["value"].as_str().unwrap_or_default();
        out.push_str(&"  ".repeat(depth));
        out.push_str(role);
        for property in node["properties"].as_array().into_iter().flatten() {
            if property["name"] == "level" && role == "heading" {
                out.push_str(&format!(" {}", property["value"]["value"]));
            }
        }
        if !name.is_empty() {
            out.push_str(&format!(" {name:?}"));
        }
        out.push('\n');
        inner += 1;
    }
    for child in node["childIds"].as_array().into_iter().flatten() {
        if let Some(child) = nodes.iter().find(|node| &node["nodeId"] == child) {
            // The text of a link or heading is its name already.
            if child["role"]["value"] == "StaticText" && child["name"]["value"] == node["name"]["value"] {
                continue;
            }
            outline(nodes, child, inner, out);
        }
    }
}

fn base64(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        other => panic!("{other} is not base64"),
    };
    let (mut bits, mut held, mut out) = (0u32, 0, Vec::with_capacity(text.len() * 3 / 4));
    for byte in text.trim_end_matches('=').bytes() {
        bits = bits << 6 | u32::from(value(byte));
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held & 0xff) as u8);
        }
    }
    out
}
