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
    }
}

diesel::table! {
    sessions (token_hash) {
        token_hash -> Binary,
        created_at -> BigInt,
        expires_at -> BigInt,
    }
}

diesel::table! {
    posts (id) {
        id -> BigInt,
        uuid -> Text,
        body -> Text,
        created_at -> BigInt,
        edited_at -> Nullable<BigInt>,
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
