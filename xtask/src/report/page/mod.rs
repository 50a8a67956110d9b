//! The report as one HTML page: no script, no request, nothing but this file. Every chart is a table whose rows carry a bar, so
//! the figures are there for whoever does not see the bars, and at any width.

mod parts;

use std::fmt::Write;

use super::history::REFERENCES;
use super::{Bandwidth, Crates, ImageSize, Report};
use parts::{Bar, escape, instructions, seconds, shares_of, since, size, tight};

const STYLE: &str = include_str!("style.css");

/// The page. The same report gives the same bytes.
pub fn page(report: &Report) -> String {
    let mut html = String::from(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>What each image costs</title>\n<style>\n",
    );
    html.push_str(STYLE);
    html.push_str("</style>\n</head>\n<body>\n<main>\n");
    head(&mut html, report);
    pulled(&mut html, report);
    unpacked(&mut html, report);
    deploy(&mut html, report);
    since(&mut html, report);
    history(&mut html, report);
    for image in &report.images {
        inside(&mut html, image);
    }
    foot(&mut html, report);
    html.push_str("</main>\n</body>\n</html>\n");
    html
}

fn head(html: &mut String, report: &Report) {
    html.push_str("<header>\n<h1>What each image costs</h1>\n");
    if let Some(least) = report.images.first() {
        let base = if least.base_size.compressed == 0 {
            ""
        } else {
            ", base included"
        };
        let _ = writeln!(
            html,
            "<p class=\"lead\">A Pi Zero W pulls <strong>{}</strong> for <b>{}</b>{base}, and has it in {} at {}.</p>",
            size(least.pull),
            escape(&least.image),
            seconds(least.deploy.first.seconds),
            tight(&report.bandwidth.to_string())
        );
    } else {
        html.push_str("<p class=\"lead\">There is no image in this report.</p>\n");
    }
    if !report.over.is_empty() {
        html.push_str("<ul class=\"over\">\n");
        for breach in &report.over {
            let _ = writeln!(html, "<li>Over budget: {}</li>", escape(&breach.message));
        }
        html.push_str("</ul>\n");
    }
    html.push_str("</header>\n");
}

/// Opens a section with a table in it.
fn open(html: &mut String, title: &str, text: &str, heads: &[&str]) {
    let _ = writeln!(html, "<section>\n<h2>{title}</h2>\n<p>{text}</p>");
    open_table(html, title, heads);
}

fn open_table(html: &mut String, caption: &str, heads: &[&str]) {
    let _ = writeln!(html, "<table>\n<caption>{caption}</caption>\n<thead><tr>");
    for (i, head) in heads.iter().enumerate() {
        let class = match *head {
            "App" => " class=\"app\"",
            "Base" => " class=\"base\"",
            _ if i == 0 => " class=\"name\"",
            _ => "",
        };
        let _ = write!(html, "<th scope=\"col\"{class}>{head}</th>");
    }
    html.push_str("</tr></thead>\n<tbody>\n");
}

fn close(html: &mut String) {
    html.push_str("</tbody>\n</table>\n</section>\n");
}

/// A row of figures. Each cell carries its column's head, for screens that are too narrow for columns.
fn figures(html: &mut String, heads: &[&str], name: &str, cells: &[String]) {
    let _ = write!(html, "<tr><th scope=\"row\">{name}</th>");
    for (cell, head) in cells.iter().zip(&heads[1..]) {
        let _ = write!(html, "<td data-head=\"{head}\">{cell}</td>");
    }
    html.push_str("</tr>\n");
}

/// A row of figures, and its bar below.
fn row(html: &mut String, heads: &[&str], name: &str, cells: &[String], bar: &Bar) {
    figures(html, heads, name, cells);
    let _ = write!(
        html,
        "<tr class=\"bar\" aria-hidden=\"true\"><td colspan=\"{}\">",
        cells.len() + 1
    );
    bar.write(html);
    html.push_str("</td></tr>\n");
}

fn named(image: &ImageSize) -> String {
    format!("{} <small>{}</small>", escape(&image.image), escape(&image.platform))
}

fn pulled(html: &mut String, report: &Report) {
    let text = "Compressed, as a registry counts: manifest, configuration and layers. The base is pulled once; when only the \
                app has changed, the Pi pulls the update.";
    let heads = ["Image", "All", "App", "Base", "Update", "Of budget"];
    open(html, "What a Pi pulls", text, &heads);
    let most = report.images.iter().map(|image| image.pull).max().unwrap_or(0);
    for image in &report.images {
        let cells = [
            format!("<strong>{}</strong>", size(image.pull)),
            size(image.app_size.compressed),
            size(image.base_size.compressed),
            size(image.update),
            image.share_of_budget().map_or("none".to_owned(), |share| match share {
                0..=100 => tight(&format!("{share} %")),
                _ => format!("<strong class=\"grew\">{share}\u{a0}%</strong>"),
            }),
        ];
        let bar = Bar::new(most)
            .app(image.app_size.compressed)
            .base(image.base_size.compressed);
        row(html, &heads, &named(image), &cells, &bar);
    }
    close(html);
}

fn unpacked(html: &mut String, report: &Report) {
    let text = "The content of all files, once the layers are unpacked. The program is part of the app.";
    let heads = ["Image", "All", "App", "Base", "Program"];
    open(html, "Unpacked", text, &heads);
    let most = report.images.iter().map(ImageSize::unpacked).max().unwrap_or(0);
    for image in &report.images {
        let cells = [
            format!("<strong>{}</strong>", size(image.unpacked())),
            size(image.app_size.unpacked),
            size(image.base_size.unpacked),
            image
                .program
                .as_ref()
                .map_or("none".to_owned(), |program| size(program.bytes)),
        ];
        let bar = Bar::new(most)
            .app(image.app_size.unpacked)
            .base(image.base_size.unpacked);
        row(html, &heads, &named(image), &cells, &bar);
    }
    close(html);
}

fn deploy(html: &mut String, report: &Report) {
    let assumed = if report.bandwidth == Bandwidth::default() {
        ", which is an assumption: the Zero W has 802.11n with one stream at 2.4 GHz, 72 Mbit/s on the air at best"
    } else {
        ""
    };
    let text = format!(
        "Seconds are for the network alone, at {}{assumed}. Bytes on the SD card are a model: ext4 with blocks of 4096 bytes, each \
         layer written once as it is pulled and once unpacked. The overlay2 store keeps what is unpacked; containerd’s keeps all \
         that was written.",
        tight(&report.bandwidth.to_string())
    );
    let heads = [
        "Image",
        "First",
        "Update",
        "Written",
        "By an update",
        "Kept",
        "Unpack work",
    ];
    open(html, "A deploy on a Pi Zero W", &text, &heads);
    let most = report
        .images
        .iter()
        .map(|image| image.deploy.first.card.written)
        .max()
        .unwrap_or(0);
    for image in &report.images {
        let (first, update) = (&image.deploy.first, &image.deploy.update);
        let work = match &image.deploy.unpack {
            None => "not measured".to_owned(),
            Some(work) => format!("{} instructions", instructions(work.instructions)),
        };
        let cells = [
            format!("<strong>{}</strong>", seconds(first.seconds)),
            seconds(update.seconds),
            size(first.card.written),
            size(update.card.written),
            size(first.card.overlay2),
            work,
        ];
        let base = first.card.written.saturating_sub(update.card.written);
        row(
            html,
            &heads,
            &named(image),
            &cells,
            &Bar::new(most).app(update.card.written).base(base),
        );
    }
    close(html);
    if let Some(work) = report.images.iter().find_map(|image| image.deploy.unpack.as_ref()) {
        let note = format!(
            "<p class=\"note\">Unpack work: {}.</p>\n</section>\n",
            escape(&work.method)
        );
        html.truncate(html.len() - "</section>\n".len());
        html.push_str(&note);
    }
}

fn history(html: &mut String, report: &Report) {
    let text = "Hatched: base images of 2018 as Docker Hub showed them then, compressed, in whole megabytes, without any program. \
                They are history, from the talk that this began with (Rust LT #2, 2018), and were not measured here.";
    let heads = ["Image", "Pull"];
    open(html, "Beside the bases of 2018", text, &heads);
    let most = REFERENCES.iter().map(|reference| reference.pull);
    let most = most
        .chain(report.images.iter().map(|image| image.pull))
        .max()
        .unwrap_or(0);
    let ours = report.images.iter().map(|image| (image.pull, Some(image), None));
    let theirs = REFERENCES
        .iter()
        .map(|reference| (reference.pull, None, Some(reference)));
    let mut rows: Vec<_> = ours.chain(theirs).collect();
    rows.sort_by_key(|(pull, ..)| *pull);
    for (pull, image, reference) in rows {
        if let Some(image) = image {
            let bar = Bar::new(most)
                .app(image.app_size.compressed)
                .base(image.base_size.compressed);
            row(
                html,
                &heads,
                &named(image),
                &[format!("<strong>{}</strong>", size(pull))],
                &bar,
            );
        } else if let Some(reference) = reference {
            let name = format!(
                "<i>{}</i> <small>2018, base alone; {}</small>",
                escape(reference.name),
                escape(reference.note)
            );
            row(
                html,
                &heads,
                &name,
                &[tight(&format!("{} MB", pull / 1_000_000))],
                &Bar::new(most).past(pull),
            );
        }
    }
    close(html);
}

fn inside(html: &mut String, image: &ImageSize) {
    let _ = writeln!(html, "<section>\n<h2>Inside {}</h2>", named(image));
    let facts: Vec<String> = [
        image.origin.as_ref().map(|origin| format!("base: {}", escape(origin))),
        image
            .source
            .as_ref()
            .map(|source| format!("source: {}", escape(source))),
        Some(format!("manifest {}", escape(&image.digest))),
    ]
    .into_iter()
    .flatten()
    .collect();
    let _ = writeln!(html, "<p class=\"facts\">{}</p>", facts.join("<br>\n"));
    shares_of(html, image);
    if let Some(program) = &image.program {
        let title = format!("Crates in {}", escape(&program.path));
        match &program.crates {
            Crates::Known(pieces) => parts::pieces(html, &title, "Crate", pieces),
            Crates::Unknown(reason) => {
                let _ = writeln!(html, "<h3>{title}</h3>\n<p>Not known: {}.</p>", escape(reason));
            }
        }
        let title = format!("Sections of {}", escape(&program.path));
        if program.sections.is_empty() {
            let _ = writeln!(html, "<h3>{title}</h3>\n<p>It is not an ELF file.</p>");
        } else {
            parts::pieces(html, &title, "Section", &program.sections);
        }
    }
    html.push_str("</section>\n");
}

fn foot(html: &mut String, report: &Report) {
    let _ = writeln!(
        html,
        "<footer>\n<p>Sizes are in powers of ten, as registries count: 1 kB is 1000 bytes. What a file takes of a compressed \
         layer was read off the stream itself, as far as the decompressor had come when its last byte was out; so all shares add \
         up to the layer, and compression across files counts where it happened. Layers in zstd are divided by size.</p>\n\
         <p>Made by <code>cargo xtask size --html</code> from a report with the schema {} {}.</p>\n</footer>",
        escape(&report.schema),
        report.version
    );
}
