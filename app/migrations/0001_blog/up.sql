-- 'blog' in ASCII: tells this file from any other SQLite database.
PRAGMA application_id = 1651273575;

-- Who this blog is, whatever its address: the feed id is made of it, so a new onion key delivers nothing twice.
CREATE TABLE site (
    id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    uuid TEXT NOT NULL CHECK (length(uuid) = 36),
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE owner (
    id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    password_hash TEXT NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT;

-- Only the SHA-256 of a session's token is kept: reading the file signs nobody in.
CREATE TABLE sessions (
    token_hash BLOB PRIMARY KEY NOT NULL CHECK (length(token_hash) = 32),
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT;

-- AUTOINCREMENT: the address of a deleted post is never given to another one.
CREATE TABLE posts (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    uuid TEXT NOT NULL UNIQUE CHECK (length(uuid) = 36),
    body TEXT NOT NULL CHECK (length(body) > 0),
    created_at INTEGER NOT NULL,
    edited_at INTEGER CHECK (edited_at >= created_at)
) STRICT;

CREATE INDEX posts_newest_first ON posts (created_at DESC, id DESC);

-- One row per compose form that was sent: the same form sent again finds its row and posts nothing.
-- The row outlives its post, so a form resent after a deletion does not bring the post back.
CREATE TABLE compose_keys (
    key BLOB PRIMARY KEY NOT NULL CHECK (length(key) = 16),
    body_hash BLOB NOT NULL CHECK (length(body_hash) = 32),
    post_id INTEGER REFERENCES posts (id) ON DELETE SET NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE INDEX compose_keys_post ON compose_keys (post_id);
