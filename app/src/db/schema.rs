//! The tables as the query builder sees them; `migrations/` is what makes them so.

diesel::table! {
    site (id) {
        id -> BigInt,
        uuid -> Text,
        created_at -> BigInt,
    }
}

diesel::table! {
    owner (id) {
        id -> BigInt,
        password_hash -> Text,
        changed_at -> BigInt,
        totp_secret -> Nullable<Binary>,
        totp_step -> BigInt,
    }
}

diesel::table! {
    recovery_codes (code_hash) {
        code_hash -> Binary,
        created_at -> BigInt,
    }
}

diesel::table! {
    sessions (id) {
        id -> BigInt,
        token_hash -> Binary,
        label -> Text,
        created_at -> BigInt,
        seen_at -> BigInt,
        expires_at -> BigInt,
    }
}

diesel::table! {
    api_tokens (id) {
        id -> BigInt,
        token_hash -> Binary,
        name -> Text,
        scopes -> Text,
        created_at -> BigInt,
        used_at -> Nullable<BigInt>,
        expires_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    posts (id) {
        id -> BigInt,
        uuid -> Text,
        kind -> Text,
        state -> Text,
        visibility -> Text,
        title -> Nullable<Text>,
        slug -> Nullable<Text>,
        link -> Nullable<Text>,
        lang -> Nullable<Text>,
        body -> Text,
        created_at -> BigInt,
        published_at -> Nullable<BigInt>,
        edited_at -> Nullable<BigInt>,
        deleted_at -> Nullable<BigInt>,
        pinned_at -> Nullable<BigInt>,
        reply_to -> Nullable<BigInt>,
        thread -> Nullable<BigInt>,
    }
}

diesel::table! {
    compose_keys (key) {
        key -> Binary,
        body_hash -> Binary,
        post_id -> Nullable<BigInt>,
        created_at -> BigInt,
    }
}

diesel::table! {
    revisions (id) {
        id -> BigInt,
        post_id -> BigInt,
        title -> Nullable<Text>,
        link -> Nullable<Text>,
        body -> Text,
        replaced_at -> BigInt,
    }
}

diesel::table! {
    tags (id) {
        id -> BigInt,
        folded -> Text,
        name -> Text,
    }
}

diesel::table! {
    post_tags (post_id, tag_id) {
        post_id -> BigInt,
        tag_id -> BigInt,
    }
}

diesel::table! {
    media (id) {
        id -> BigInt,
        sha256 -> Binary,
        mime -> Text,
        width -> BigInt,
        height -> BigInt,
        bytes -> BigInt,
        created_at -> BigInt,
    }
}

diesel::table! {
    post_media (post_id, position) {
        post_id -> BigInt,
        position -> BigInt,
        media_id -> BigInt,
        alt -> Text,
    }
}

diesel::table! {
    old_ids (source, old_id) {
        source -> Text,
        old_id -> Text,
        post_id -> BigInt,
    }
}

diesel::table! {
    search_texts (post_id) {
        post_id -> BigInt,
        text -> Text,
    }
}

diesel::table! {
    search_stale (post_id) {
        post_id -> BigInt,
    }
}

diesel::joinable!(search_texts -> posts (post_id));
diesel::joinable!(revisions -> posts (post_id));
diesel::joinable!(post_tags -> posts (post_id));
diesel::joinable!(post_tags -> tags (tag_id));
diesel::joinable!(post_media -> posts (post_id));
diesel::joinable!(post_media -> media (media_id));
diesel::joinable!(old_ids -> posts (post_id));
diesel::allow_tables_to_appear_in_same_query!(
    posts,
    tags,
    post_tags,
    media,
    post_media,
    revisions,
    old_ids,
    search_texts
);
