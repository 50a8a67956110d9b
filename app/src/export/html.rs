//! A mirror of what readers see: the blog itself answers, without a socket, and every address that a page leads to is
//! followed. So the pages are those of the blog, whatever those are.

use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};

use actix_web::body::to_bytes;
use actix_web::dev::Service;
use actix_web::http::header;
use actix_web::test::{TestRequest, init_service};

use super::{Exported, links};
use crate::archive::Tree;
use crate::cli::Failure;
use crate::db::queries::integrity;
use crate::db::{Alone, Db};
use crate::domain::{hex, random};
use crate::import::progress::Progress;
use crate::settings::Settings;
use crate::startup;

/// Writes the mirror to `to`. Posts that only the owner sees, and unlisted ones, are not in it.
pub fn run(settings: &Settings, to: &Path, progress: &mut Progress) -> Result<Exported, Failure> {
    let tree = Tree::create(to)?;
    // A copy, so that every page shows the same moment.
    let copy = Copy::of(&settings.database, to)?;
    let db = Db::open(&copy.database())?;
    let out = actix_web::rt::System::new().block_on(crawl(settings, db, tree, progress));
    drop(copy);
    out
}

async fn crawl(settings: &Settings, db: Db, mut tree: Tree, progress: &mut Progress) -> Result<Exported, Failure> {
    let state = startup::for_readers(settings, db)?;
    let service = init_service(startup::app(state)).await;
    let mut out = Exported::default();
    let mut files = HashSet::new();
    let mut seen = HashSet::new();
    let mut waiting: VecDeque<String> = VecDeque::new();
    for first in ["/", "/feed.atom", "/feed.rss", "/feed.json", "/twtxt.txt"] {
        seen.insert(first.to_owned());
        waiting.push_back(first.to_owned());
    }
    while let Some(address) = waiting.pop_front() {
        let name = links::file(&address);
        // Two addresses that differ only in what a file's name cannot say show the same.
        if !files.insert(name.clone()) {
            continue;
        }
        let request = TestRequest::get()
            .uri(&address)
            .insert_header((header::HOST, "localhost"))
            .to_request();
        let response = service
            .call(request)
            .await
            .map_err(|error| Failure::fatal(format!("cannot make the page {address}: {error}")))?;
        let status = response.status();
        if !status.is_success() {
            out.problems.push(format!("{address} answers {status}"));
            continue;
        }
        let kind = response
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok());
        let is_page = kind.is_some_and(|kind| kind.starts_with("text/html"));
        let is_image = kind.is_some_and(|kind| kind.starts_with("image/"));
        let body = to_bytes(response.into_body())
            .await
            .map_err(|error| Failure::fatal(format!("cannot make the page {address}: {error}")))?;
        if !is_page {
            tree.add(&name, &mut &*body, !is_image)?;
            out.images += u64::from(is_image);
            continue;
        }
        let html = String::from_utf8_lossy(&body);
        let page = links::rewrite(&html, &address, &settings.base_url, |next| {
            if seen.insert(next.clone()) {
                waiting.push_back(next);
            }
        });
        tree.add(&name, &mut page.as_bytes(), true)?;
        out.posts += u64::from(address.starts_with("/posts/"));
        progress.at(files.len() as u64, seen.len() as u64);
    }
    (out.files, out.bytes) = (tree.files, tree.bytes);
    out.sums = tree.finish()?;
    Ok(out)
}

/// A copy of the database that goes away again.
struct Copy(PathBuf);

impl Copy {
    fn of(database: &str, to: &Path) -> Result<Self, Failure> {
        let token = random::bytes::<8>().map_err(|error| Failure::fatal(error.to_string()))?;
        let copy = Self(to.with_file_name(format!(".export-{}", hex::encode(&token))));
        std::fs::create_dir(&copy.0)
            .map_err(|error| Failure::usage(format!("cannot write beside {}: {error}", to.display()), ""))?;
        let mut open = Alone::existing(database)?;
        integrity::copy_into(open.connection(), &copy.database()).map_err(|error| {
            Failure::usage(
                format!("cannot copy the database to {}: {error}", copy.0.display()),
                "an export of pages needs as much room again as the database has",
            )
        })?;
        Ok(copy)
    }

    fn database(&self) -> String {
        self.0.join("blog.db").to_string_lossy().into_owned()
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
