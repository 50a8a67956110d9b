//! `GET /media/{sha256}.{jpg|png|webp}`: an image, as data and nothing else.

use actix_web::http::header::{self, ETag, EntityTag, IfNoneMatch};
use actix_web::{HttpRequest, HttpResponse, web};

use super::body::FileBody;
use crate::auth::Visitor;
use crate::db::queries;
use crate::domain::hex;
use crate::error::AppError;
use crate::media::store::parse_name;
use crate::routes::Answer;
use crate::startup::AppState;

pub async fn show(
    request: HttpRequest,
    state: web::Data<AppState>,
    name: web::Path<String>,
    visitor: Visitor,
) -> Answer {
    let (hash, format) = parse_name(&name).ok_or(AppError::NotFound)?;
    let found = state
        .db
        .read(move |connection| match queries::media::find(connection, &hash)? {
            Some(medium) => Ok(Some((queries::media::is_readable(connection, medium.id)?, medium))),
            None => Ok(None),
        })
        .await?;
    let (readable, _) = found
        .filter(|(_, medium)| medium.format() == format)
        .ok_or(AppError::NotFound)?;
    // What only private posts, drafts and the trash show is for the owner.
    if !readable && visitor.0.is_none() {
        return Err(AppError::NotFound);
    }

    // The name is made of the bytes, so they never change.
    let tag = EntityTag::new_strong(hex::encode(&hash));
    let known = request
        .headers()
        .get(header::IF_NONE_MATCH)
        .is_some_and(|_| match header::Header::parse(&request) {
            Ok(IfNoneMatch::Any) => true,
            Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|sent| sent.weak_eq(&tag)),
            Err(_) => false,
        });
    let mut response = if known {
        HttpResponse::NotModified()
    } else {
        HttpResponse::Ok()
    };
    response
        .insert_header(ETag(tag))
        .insert_header((header::CONTENT_TYPE, format.mime()))
        // Should a browser ever take it for a page, then for one that may do nothing.
        .insert_header((header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"))
        .insert_header((
            header::CACHE_CONTROL,
            if readable {
                "public, max-age=31536000, immutable"
            } else {
                "no-store"
            },
        ));
    if known {
        return Ok(response.finish());
    }
    let store = state.media.clone();
    let opened = web::block(move || {
        let file = store.file(&hash, format)?;
        let length = file.metadata()?.len();
        Ok::<_, std::io::Error>((file, length))
    });
    let (file, length) = opened.await?.map_err(|error| AppError::Internal(Box::new(error)))?;
    Ok(response.body(FileBody::new(file, length)))
}
