//! What `cargo xtask bench` holds the blog against: actix-web with one answer of a few bytes, and nothing around it. It has
//! the blog's bounds, so that the two differ in what they do for a request.
//!
//! Usage: `hello [ADDR:PORT]`; without an address it takes BLOG_LISTEN, as the blog does.

use std::time::Duration;

use actix_web::{App, HttpServer, web};

fn main() -> std::io::Result<()> {
    let given = std::env::args().nth(1).or_else(|| std::env::var("BLOG_LISTEN").ok());
    let address = given.unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    actix_web::rt::System::new().block_on(async {
        let hello = async || "Hello, world!\n";
        HttpServer::new(move || {
            App::new()
                .route("/", web::get().to(hello))
                .route("/healthz", web::get().to(hello))
        })
        .workers(1)
        .max_connections(64)
        .worker_max_blocking_threads(4)
        .backlog(64)
        .keep_alive(Duration::from_secs(15))
        .bind(&address)?
        .run()
        .await
    })
}
