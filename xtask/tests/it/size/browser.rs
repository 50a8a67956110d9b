//! The page in a real browser: nothing overflows, and everything can be read, in light and dark, at 320 and 1200 pixels.

use std::fs;

use serde_json::Value;
use xtask::report::page;
use xtask::shell::Shell;

use super::page::fixed;
use crate::require::require;

/// Measures in the browser what no parser can tell: the width that the content takes, and the contrast of every text. The page
/// itself has no script; this one sits in a frame around it.
const MEASURE: &str = r#"
const luminance = c => { const f = c.slice(0, 3).map(v => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
  return 0.2126 * f[0] + 0.7152 * f[1] + 0.0722 * f[2]; };
const colour = text => (text.match(/[\d.]+/g) || []).map(Number);
const contrast = (a, b) => { const [x, y] = [luminance(a), luminance(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
addEventListener('load', () => {
  const result = [];
  for (const frame of document.querySelectorAll('iframe')) {
    const page = frame.contentDocument, view = frame.contentWindow;
    page.querySelectorAll('details').forEach(d => d.open = true);
    const paper = colour(view.getComputedStyle(page.documentElement).backgroundColor);
    let least = 99, bars = 99, texts = 0, outside = 0;
    for (const element of page.querySelectorAll('body *')) {
      const style = view.getComputedStyle(element), box = element.getBoundingClientRect();
      if (element.matches('.bar i')) {
        if (!element.matches('.past')) bars = Math.min(bars, contrast(colour(style.backgroundColor), paper));
        if (box.width < 1 || box.height < 3) bars = 0;
      }
      if ([...element.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) {
        texts += 1;
        least = Math.min(least, contrast(colour(style.color), paper));
        if (style.position !== 'absolute' && box.right > page.documentElement.clientWidth + 0.5) outside += 1;
      }
    }
    result.push({ width: page.documentElement.clientWidth, scroll: page.documentElement.scrollWidth, least, bars, texts, outside, paper,
      dark: view.matchMedia('(prefers-color-scheme: dark)').matches });
  }
  document.body.innerHTML = '<pre id="result"></pre>';
  document.getElementById('result').textContent = JSON.stringify(result);
});
"#;

fn browser() -> Option<std::path::PathBuf> {
    let shell = Shell::default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = names.iter().find_map(|name| shell.which(name));
    require("a Chromium", found.is_some()).then_some(found).flatten()
}

#[test]
fn the_page_fits_and_can_be_read_in_light_and_dark() {
    let Some(browser) = browser() else { return };
    let temp = tempfile::tempdir().unwrap();
    let html = page(&fixed()).replace('&', "&amp;").replace('"', "&quot;");
    let frames: String = [320, 375, 700, 1200]
        .iter()
        .map(|width| {
            format!("<iframe width=\"{width}\" height=\"900\" style=\"border:0\" srcdoc=\"{html}\"></iframe>\n")
        })
        .collect();
    let file = temp.path().join("frames.html");
    fs::write(
        &file,
        format!("<!DOCTYPE html><body>\n{frames}<script>{MEASURE}</script></body>"),
    )
    .unwrap();
    for (scheme, dark) in [("1", false), ("0", true)] {
        let output = Shell::default()
            .command(&browser)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
            ])
            .arg(format!("--user-data-dir={}", temp.path().join("profile").display()))
            .arg(format!("--blink-settings=preferredColorScheme={scheme}"))
            .args(["--virtual-time-budget=20000", "--dump-dom"])
            .arg(format!("file://{}", file.display()))
            .output()
            .unwrap();
        let dom = output.text();
        let result = dom
            .split_once("<pre id=\"result\">")
            .and_then(|(_, rest)| rest.split_once("</pre>"));
        let (result, _) = result.unwrap_or_else(|| panic!("{}\n{}", dom.len(), output.error_text()));
        let frames: Vec<Value> = serde_json::from_str(result).unwrap();
        assert_eq!(frames.len(), 4);
        for frame in frames {
            assert_eq!(frame["dark"], dark, "{frame}");
            assert_eq!(
                frame["scroll"], frame["width"],
                "nothing is wider than the screen: {frame}"
            );
            assert_eq!(frame["outside"], 0, "no text ends beyond it: {frame}");
            assert!(frame["texts"].as_u64().unwrap() > 100, "{frame}");
            // WCAG 2.2, 1.4.3 and 1.4.11.
            assert!(frame["least"].as_f64().unwrap() >= 4.5, "text: {frame}");
            assert!(frame["bars"].as_f64().unwrap() >= 3.0, "bars: {frame}");
        }
    }
}
