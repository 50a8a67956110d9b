//! Everything that can be reached from the first page, and what a parser that others wrote sees in it.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::http::{Browser, Response, exchange, split};
use crate::python;

/// The address that the blog believes to have, in all tests that crawl.
pub const BASE: &str = "http://example.onion";

/// An answer with its address.
pub struct Page {
    pub path: String,
    pub head: Response,
    pub body: Vec<u8>,
}

impl Page {
    /// Without parameters.
    pub fn kind(&self) -> &str {
        let kind = self.head.header("content-type").unwrap_or_default();
        kind.split(';').next().unwrap_or_default()
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// Asks for `start` and for every address of the blog that is in any answer, whether it is a link or not, as long as
/// `wanted` lets it. Pages that are not there count as well: they are pages.
pub fn crawl(browser: &Browser, start: &[&str], wanted: impl Fn(&str) -> bool) -> Vec<Page> {
    let mut known: BTreeSet<String> = start.iter().map(|path| (*path).to_owned()).collect();
    let mut todo: Vec<String> = known.iter().cloned().collect();
    let mut pages = Vec::new();
    while let Some(path) = todo.pop() {
        let page = get(browser, &path);
        if !page.kind().starts_with("image/") {
            for address in addresses(page.text()) {
                if wanted(&address) && known.insert(address.clone()) {
                    todo.push(address);
                }
            }
        }
        assert!(known.len() < 2000, "it goes on and on: {path}");
        pages.push(page);
    }
    pages
}

fn get(browser: &Browser, path: &str) -> Page {
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nCookie: {}\r\n\r\n",
        browser.address,
        browser.cookie_header()
    );
    let answer = exchange(&browser.address, request.as_bytes());
    let (head, body) = split(&answer);
    Page {
        path: path.to_owned(),
        head,
        body: body.to_vec(),
    }
}

/// Whatever looks like an address of the blog.
fn addresses(text: &str) -> Vec<String> {
    let text = text.replace("&quot;", "\"").replace("&#34;", "\"");
    let text = text.replace("&amp;", "&").replace("&#38;", "&").replace("\\/", "/");
    let words = text.split(['"', '\'', '<', '>', '(', ')', '\\', ' ', '\n', '\t', '\u{2028}']);
    let own = words.filter_map(|word| {
        let path = word.strip_prefix(BASE).unwrap_or(word);
        let path = path.split('#').next().unwrap_or_default();
        let plain = path.bytes().all(|byte| byte.is_ascii_graphic()) && !path.contains(['{', '`']);
        (path.starts_with('/') && !path.starts_with("//") && plain).then(|| path.to_owned())
    });
    own.collect()
}

/// An element of a page, of a feed, or of the HTML inside a feed.
#[derive(Debug)]
pub struct Element {
    pub path: String,
    /// `html:a`, `xml:link`, `json:url`.
    pub name: String,
    pub attributes: Vec<(String, String)>,
    /// What stands directly in it.
    pub text: String,
}

impl Element {
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let mut attributes = self.attributes.iter();
        attributes.find_map(|(key, value)| (key == name).then_some(value.as_str()))
    }
}

const PARSE: &str = "
import sys, json, html5lib, xml.etree.ElementTree as ET
out = []
def html(path, text, fragment=True):
    parse = html5lib.parseFragment if fragment else html5lib.parse
    tree = parse(text, treebuilder='etree', namespaceHTMLElements=False)
    for element in tree.iter():
        if not isinstance(element.tag, str):
            out.append([path, 'html:!comment', {}, element.text or ''])
        elif element.tag != 'DOCUMENT_FRAGMENT':
            attributes = {str(name): value for name, value in element.attrib.items()}
            out.append([path, 'html:' + element.tag, attributes, element.text or ''])
def feed(path, text):
    for element in ET.fromstring(text.encode()).iter():
        name = element.tag.split('}')[-1]
        attributes = {key.split('}')[-1]: value for key, value in element.attrib.items()}
        out.append([path, 'xml:' + name, attributes, element.text or ''])
        if name in ('content', 'summary', 'description', 'encoded') and attributes.get('type') != 'text':
            html(path, element.text or '')
def tree(path, key, value):
    if isinstance(value, dict):
        for name, inner in value.items(): tree(path, name, inner)
    elif isinstance(value, list):
        for inner in value: tree(path, key, inner)
    else:
        out.append([path, 'json:' + key, {}, str(value)])
        if key == 'content_html': html(path, value)
for path, kind, text in json.load(sys.stdin):
    if kind == 'text/html': html(path, text, False)
    elif kind.endswith('xml'): feed(path, text)
    elif kind.endswith('json'): tree(path, '', json.loads(text))
json.dump(out, sys.stdout)
";

/// All elements of these pages: path, type, text. `None`: there is no Python.
pub fn elements<'a>(pages: impl Iterator<Item = (&'a str, &'a str, &'a str)>) -> Option<Vec<Element>> {
    let pages: Vec<_> = pages.collect();
    let said = python::judge(PARSE, &serde_json::to_string(&pages).unwrap())?;
    let all: Vec<(String, String, serde_json::Map<String, Value>, String)> = serde_json::from_str(&said).unwrap();
    let all = all.into_iter().map(|(path, name, attributes, text)| Element {
        path,
        name,
        attributes: attributes
            .into_iter()
            .map(|(name, value)| (name, value.as_str().unwrap_or_default().to_owned()))
            .collect(),
        text,
    });
    Some(all.collect())
}

/// The same for what was crawled.
pub fn elements_of(pages: &[Page]) -> Option<Vec<Element>> {
    let texts = pages.iter().filter(|page| !page.kind().starts_with("image/"));
    elements(texts.map(|page| (page.path.as_str(), page.kind(), page.text())))
}
